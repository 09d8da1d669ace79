"""Generation: the choice of a token, and texts that continue a prompt with a cache and without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.generation.continuing import _first
from nnarray.generation.sampling import NO_NUMBER, Sampling, gumbel
from nnarray.generation.stopping import Text
from nnarray.kernels.compilation import compiled
from tests.tolerances import to_host

LENGTH = 8
TEXT = "to be or not to be, that is the question: "


@dataclass(frozen=True)
class Mean(nn.Layer):
    """y_t = mean of x_0, ..., x_t: a layer that looks back."""

    def initial_cache(self, shape: Any, length: int) -> dict[str, Any]:
        return {"total": nn.Spec(shape[1:])}  # type: ignore[attr-defined]

    def forward(self, params: Any, x: Any, ctx: Any) -> nn.Out:
        xp, before = nn.namespace(x), getattr(ctx, "cache", None)
        past = xp.tril(xp.ones((x.shape[1], x.shape[1]), dtype=x.dtype, device=nn.device_of(x)))
        total = xp.matmul(past, x)
        first = 0 if before is None else ctx.position
        if before is not None:
            total = total + before["total"][:, None, ...]
        count = xp.astype(xp.arange(1, x.shape[1] + 1, device=nn.device_of(x)) + first, x.dtype)
        y = total / count[:, None]
        return nn.Out(y) if before is None else nn.Out(y, cache={"total": total[:, -1, ...]})


TOKENIZER = nn.text.CharacterTokenizer.of(TEXT)


def model(be: nn.Backend, seed: int = 3, size: int = len(TOKENIZER)) -> nn.Model:
    """Untrained, with strong opinions: each draw depends on all tokens that it sees."""
    net = nn.Network(
        nn.Branches(nn.Embedding(size, 8), nn.Network(nn.Embedding(size, 8), Mean())),
        nn.Dense(16, "tanh"),
        nn.Dense(size),
    )
    made = net.init((LENGTH,), seed=seed, backend=be, dtype="float32")
    made.theta = made.theta * 3.0
    return made


def text_model(be: nn.Backend) -> nn.Model:
    made = model(be)
    made.tokenizer = TOKENIZER
    return made


# --- The choice ------------------------------------------------------------------------------------------------------


def chosen(be: nn.Backend, logits: Any, count: int = 1, seen: Any = None, **settings: Any) -> np.ndarray:
    """`count` draws for each row of logits."""
    z = be.asarray(np.asarray(logits, dtype="float32"))
    mask = be.asarray(np.zeros(z.shape, dtype=bool) if seen is None else np.asarray(seen))
    keys = [nn.Key(5).fold(i) for i in range(count)]
    choose = compiled(Sampling(**settings).tokens, z)
    words = [[be.asarray(word, dtype="int32") for word in (key.word0, key.word1)] for key in keys]
    draws = [choose(z, mask, *each) for each in words]
    return np.stack([to_host(be, draw) for draw in draws]).astype(int)


def test_draws_have_the_probabilities_of_the_logits(host: nn.Backend) -> None:
    rows = np.broadcast_to(np.log([0.5, 0.25, 0.15, 0.1]), (20_000, 4))
    found = np.bincount(chosen(host, rows)[0], minlength=4) / 20_000
    np.testing.assert_allclose(found, [0.5, 0.25, 0.15, 0.1], atol=0.015)  # four standard deviations
    sharp = np.bincount(chosen(host, rows, temperature=0.5)[0], minlength=4) / 20_000
    want = np.asarray([0.5, 0.25, 0.15, 0.1]) ** 2
    np.testing.assert_allclose(sharp, want / want.sum(), atol=0.015)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"top_k": 2}, {0, 2}),
        ({"top_k": 1}, {2}),
        ({"top_p": 0.45}, {2}),
        ({"top_p": 0.6}, {0, 2}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"top_k": 3, "top_p": 0.88}, {0, 2}),  # of the three, two have 0.89
        ({"temperature": 0}, {2}),
        ({"top_k": 9}, {0, 1, 2, 3}),
    ],
)
def test_only_likely_tokens_are_left(be: nn.Backend, settings: Any, left: set[int]) -> None:
    rows = np.broadcast_to(np.log([0.3, 0.1, 0.5, 0.1]), (300, 4))
    assert set(chosen(be, rows, **settings)[0]) == left


@pytest.mark.parametrize(
    "settings", [{}, {"top_k": 4}, {"top_p": 1.0}, {"temperature": 0}, {"top_k": 1}, {"top_p": 0.2}]
)
@pytest.mark.parametrize("never", [{1}, {0, 2}])
def test_tokens_without_probability_are_not_chosen(be: nn.Backend, never: set[int], settings: Any) -> None:
    """They are left out first: the most likely ones are those of the others."""
    z, others = np.asarray([1.0, 3.0, 2.5, -np.inf, 0.5]), {0, 1, 2, 4} - never
    rows, hidden = np.broadcast_to(z, (300, 5)), frozenset(never)
    is_one = settings in ({"temperature": 0}, {"top_k": 1}, {"top_p": 0.2})
    want = {max(others, key=z.__getitem__)} if is_one else others
    assert set(chosen(be, rows, never=hidden, **settings)[0]) == want
    penalised = chosen(be, rows, never=hidden, seen=rows > 1, repetition_penalty=2.0, **settings)
    assert not never & set(penalised[0])


def test_equal_tokens_are_not_more_than_k(be: nn.Backend) -> None:
    assert set(chosen(be, np.zeros((200, 5)), top_k=2)[0]) == {0, 1}


def test_repeated_tokens_are_less_likely(be: nn.Backend) -> None:
    seen = [[True, False, False, False]]
    assert chosen(be, [[2.0, 1.5, -9, -9]], seen=seen, temperature=0).item() == 0
    assert chosen(be, [[2.0, 1.5, -9, -9]], seen=seen, temperature=0, repetition_penalty=1.5).item() == 1
    assert chosen(be, [[-1.0, -1.2, -9, -9]], seen=seen, temperature=0, repetition_penalty=1.5).item() == 1


def test_extreme_logits_and_temperatures(be: nn.Backend) -> None:
    rows = [[3e38, -3e38, 0.0], [-np.inf, 1.0, -np.inf]]
    for settings in ({}, {"temperature": 1e-30}, {"temperature": 1e30, "top_k": 1}, {"top_p": 1e-9}):
        assert chosen(be, rows, **settings).tolist() == [[0, 1]]
    assert chosen(be, [[np.nan, 0.0], [1.0, 0.0]], temperature=0).tolist() == [[NO_NUMBER, 0]]


def test_the_noise_is_the_same_on_every_backend(be: nn.Backend, host: nn.Backend) -> None:
    got, want = (to_host(b, gumbel(b.asarray(np.zeros((40, 500)), dtype="float32"), nn.Key(1))) for b in (be, host))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert np.isfinite(got).all()
    assert got.mean() == pytest.approx(np.euler_gamma, abs=0.03)
    assert got.std() == pytest.approx(np.pi / 6**0.5, abs=0.03)


# --- Texts -----------------------------------------------------------------------------------------------------------

SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"seed": 1},
    {"seed": 2, "temperature": 0.8, "top_k": 5},
    {"seed": 3, "top_p": 0.9, "repetition_penalty": 1.3},
]


@cache
def on_numpy(settings: tuple[tuple[str, Any], ...]) -> str:
    return text_model(nn.backend("numpy")).generate("to b", max_tokens=30, cache=False, **dict(settings))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("cached", [False, None])
def test_the_same_seed_gives_the_same_text_on_every_backend(be: nn.Backend, settings: Any, cached: Any) -> None:
    """Also past the positions that the model was made for, and with a cache and without."""
    found = text_model(be).generate("to b", max_tokens=30, cache=cached, **settings)
    assert found == on_numpy(tuple(settings.items()))
    assert len(found) == 30


def test_a_model_sees_the_end_of_a_long_text() -> None:
    seen = [(count, _first(count, 8)) for count in (1, 8, 9, 12, 13, 16, 17)]
    assert seen == [(1, 0), (8, 0), (9, 4), (12, 4), (13, 8), (16, 8), (17, 12)]
    assert [_first(count, 1) for count in (1, 2, 3)] == [0, 1, 2]


def test_each_token_is_the_most_likely_of_what_the_model_sees(host: nn.Backend) -> None:
    made, tokens = model(host), [1, 2, 3]
    found = made.generate(tokens, max_tokens=20, temperature=0, cache=False)
    for token in found.tolist():
        seen = tokens[_first(len(tokens), LENGTH) :]
        X = np.asarray([seen + [7] * (LENGTH - len(seen))])
        assert token == int(made(X)[0, len(seen) - 1].argmax())
        tokens.append(token)


def test_several_sequences_and_arrays(be: nn.Backend) -> None:
    made = model(be)
    prompt = be.asarray(np.asarray([[1, 2, 3], [4, 5, 6]]))
    found = made.generate(prompt, max_tokens=5, temperature=0)
    assert tuple(found.shape) == (2, 5)
    assert be.xp.isdtype(found.dtype, "integral")
    for i in range(2):
        one = made.generate(prompt[i, ...], max_tokens=5, temperature=0)
        assert to_host(be, one).tolist() == to_host(be, found)[i].tolist()
    assert to_host(be, made.generate([[1, 2, 3]], max_tokens=2, temperature=0)).shape == (1, 2)


def test_a_sequence_that_has_stopped_repeats_its_token(host: nn.Backend) -> None:
    made, prompt = model(host), [[1, 2, 3], [4, 5, 6]]
    free = made.generate(prompt, max_tokens=12, seed=1).tolist()
    stop = free[0][2]
    first = [row.index(stop) if stop in row else 12 for row in free]
    found = made.generate(prompt, max_tokens=12, seed=1, stop=stop).tolist()
    for row, all_of_it, at in zip(found, free, first, strict=True):
        assert row[: at + 1] == all_of_it[: at + 1][: len(row)]
        assert set(row[at:]) <= {stop}
    assert len(found[0]) == min(max(first) + 1, 12)


def test_text_comes_in_pieces_and_ends_at_a_stop(host: nn.Backend) -> None:
    made, pieces, tokens = text_model(host), list[str](), list[int]()
    whole = made.generate("to b", max_tokens=40, seed=1)
    assert made.generate("to b", max_tokens=40, seed=1, stream=pieces.append) == whole == "".join(pieces)
    assert len(pieces) == 40
    stop = whole[9:12]
    pieces.clear()
    cut = made.generate("to b", max_tokens=40, seed=1, stop=["zz", stop], stream=pieces.append)
    assert cut == whole[: whole.index(stop)] == "".join(pieces)
    token = TOKENIZER.encode(whole[5])[0]
    assert made.generate("to b", max_tokens=40, seed=1, stop=token) == whole[: whole.index(whole[5])]
    made.generate([1, 2], max_tokens=3, seed=1, stream=tokens.append)
    assert all(isinstance(each, int) for each in tokens)


def test_the_end_token_ends_a_text(host: nn.Backend) -> None:
    tokenizer = nn.text.BytePairTokenizer.train("a b", 257)
    net = nn.Network(nn.Embedding(257, 4), nn.Dense(257, bias_init=nn.initializers.Constant(0.0)))
    made = net.init((4,), seed=0)
    made.set_params({"1.bias": np.eye(257)[256] * 100.0})
    made.tokenizer = tokenizer
    assert made.generate("a") == ""
    assert made.generate("") == ""  # from the end token
    assert made.generate([5]).tolist() == [256]


WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "sleep", "##s", "two", ".")


def of_words(be: nn.Backend, likely: int | None = None) -> nn.Model:
    """A model of word pieces; one token may be the most likely everywhere."""
    made = model(be, size=len(WORDS))
    if likely is not None:
        made.set_params({"2.bias": np.eye(len(WORDS))[likely] * 1e3})
    made.tokenizer = nn.text.WordPieceTokenizer(WORDS)
    return made


def test_a_text_is_continued_and_not_what_is_behind_its_end(be: nn.Backend) -> None:
    """The mark that begins texts stands before the prompt, but none that ends them behind it."""
    made, tokenizer = of_words(be), nn.text.WordPieceTokenizer(WORDS)
    assert tokenizer.encode_prompt("a cat") == [2, 4, 5]
    for seed in range(3):
        text = made.generate("a cat", max_tokens=6, seed=seed)
        assert text == tokenizer.decode(made.generate([2, 4, 5], max_tokens=6, seed=seed))
        assert made.generate("", max_tokens=6, seed=seed) == tokenizer.decode(
            made.generate([2], max_tokens=6, seed=seed)
        )


def test_the_separator_of_word_pieces_ends_a_text(be: nn.Backend) -> None:
    made = of_words(be, likely=3)
    assert made.generate("a cat", temperature=0) == ""
    assert to_host(be, made.generate([2, 4], max_tokens=9, temperature=0)).tolist() == [3]
    assert nn.text.WordPieceTokenizer(("[UNK]",), ends=False).end is None


def test_what_may_begin_a_stop_is_not_shown_yet() -> None:
    shown = list[str]()
    text = Text(("END", "Enough"), shown.append)
    for piece in ("a", "E", "x", "EN", "N", "E", "ND", "z"):
        if not text.ended:
            text.add(piece)
    assert (shown, text.finish(), text.ended) == (["a", "Ex", "ENN"], "aExENN", True)
    rest = Text(("END",))
    rest.add("E")
    assert rest.finish() == "E"


def test_the_tokenizer_is_saved_with_the_model(host: nn.Backend, tmp_path: Path) -> None:
    made = nn.Network(nn.Embedding(len(TOKENIZER), 8), nn.Dense(len(TOKENIZER))).init((LENGTH,), seed=0)
    made.tokenizer = TOKENIZER
    made.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert again.tokenizer == TOKENIZER
    assert again.copy().tokenizer == TOKENIZER
    assert again.generate("to", seed=4) == made.generate("to", seed=4)
    again.tokenizer = None
    assert again.tokenizer is None


def test_a_tokenizer_with_another_padding_is_refused(host: nn.Backend) -> None:
    tokenizer = nn.text.WordPieceTokenizer(("[UNK]", "[PAD]", "z"), ends=False)
    for padding, fits in ((None, True), (1, True), (0, False)):
        inner = nn.Network(nn.Dropout(0.5), nn.Dense(3))
        made = nn.Network(nn.Network(nn.Embedding(3, 4, padding_index=padding)), inner).init((LENGTH,), seed=0)
        if fits:
            made.tokenizer = tokenizer
            continue
        with pytest.raises(
            ValueError, match=r"fills rows up with token 1, but the model leaves out token 0.*index=1\)"
        ):
            made.tokenizer = tokenizer
        assert "tokenizer" not in made.metadata


PAIRS = nn.text.BytePairTokenizer.train("", 258, specials=("<pad>", "<|endoftext|>"))


@pytest.mark.parametrize(
    ("tokenizer", "masked", "wrong"),
    [
        (
            nn.text.CharacterTokenizer("abc"),
            0,
            r"token 0 as padding, but that is 'a' .*CharacterTokenizer\.of\('.0' \+",
        ),
        (nn.text.CharacterTokenizer("a\0b"), 1, ""),
        (nn.text.ByteTokenizer(), 0, ""),
        (nn.text.ByteTokenizer(), 32, r"fills rows up with token 0, but the model leaves out token 32"),
        (PAIRS, 256, ""),
        (PAIRS, 0, r"fills rows up with token 256, but the model leaves out token 0"),
        (nn.text.BytePairTokenizer.train("", 257), 256, ""),  # no text has <|endoftext|>
        (nn.text.BytePairTokenizer.train("", 257), 0, r"that is '!' .*specials=\('<\|padding\|>'"),
        (nn.text.WordPieceTokenizer(("[UNK]", "z"), ends=False), 1, r"that is 'z' .*WordPieceTokenizer\(\('\[PAD\]'"),
    ],
)
def test_a_network_masks_no_token_that_texts_have(
    host: nn.Backend, tmp_path: Path, tokenizer: Any, masked: int, wrong: str
) -> None:
    size = len(tokenizer)
    made = nn.Network(nn.Embedding(size, 4, padding_index=masked), nn.Dense(size)).init((LENGTH,), seed=0)
    if not wrong:
        made.tokenizer = tokenizer
        made.save(tmp_path / "m.safetensors")
        assert nn.load(tmp_path / "m.safetensors").tokenizer == tokenizer
        return
    with pytest.raises(ValueError, match=wrong):
        made.tokenizer = tokenizer


def test_padding_is_not_continued(be: nn.Backend) -> None:
    """Neither if the network masks it, nor if the tokenizer pads with it."""
    network = nn.Network(nn.Embedding(10, 8, padding_index=0), nn.LSTM(8), nn.Dense(10))
    by_network, by_tokenizer = network.init((LENGTH,), seed=0, backend=be), of_words(be)
    tokens, _ = by_tokenizer.tokenizer.batch(["a cat", "a cat sleeps"], backend=be)
    for made in (by_network, by_tokenizer):
        with pytest.raises(ValueError, match=r"token 0 at position 4 of row 0 is padding.*one after the other"):
            made.generate(tokens)
        with pytest.raises(ValueError, match=r"token 0 at position 0 of row 0 is padding"):
            made.generate([0, 4])
        assert made.generate([4, 5], max_tokens=1).shape == (1,)
    by_network.tokenizer = nn.text.CharacterTokenizer("\0abcdefghi")
    with pytest.raises(ValueError, match=r"token 0 at position 1 of row 0 is padding"):
        by_network.generate("a\0")


MASKED = {
    "recurrent": (nn.LSTM(8),),
    "attention": (nn.MultiHeadAttention(2, causal=True),),
    "each token alone": (nn.Dense(8, "tanh"),),
}


def with_padding(
    be: nn.Backend, inner: tuple[nn.Layer, ...] = (nn.LSTM(8),), size: int = 10, padding: int = 0
) -> nn.Model:
    """Untrained, and padding is the most likely token by far."""
    network = nn.Network(nn.Embedding(size, 8, padding_index=padding), *inner, nn.Dense(size))
    made = network.init((LENGTH,), seed=0, backend=be, dtype="float32")
    bias = [*made.params][-1]
    made.set_params({bias: be.asarray(np.where(np.arange(size) == padding, 30, 0).astype("float32"))})
    return made


@pytest.mark.parametrize("inner", MASKED)
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("settings", [{"temperature": 0}, {"seed": 1}, {"top_k": 1}, {"top_p": 0.9}])
def test_padding_is_not_written(be: nn.Backend, inner: str, cache: bool, settings: Any) -> None:
    made = with_padding(be, MASKED[inner])
    rows = to_host(be, made.generate([[4, 5], [1, 2]], max_tokens=LENGTH + 3, cache=cache, **settings))
    assert rows.shape == (2, LENGTH + 3)
    assert not (rows == 0).any()
    made.tokenizer = nn.text.CharacterTokenizer("\0abcdefghi")
    assert "\0" not in made.generate("abc", max_tokens=5, cache=cache, **settings)


def test_padding_that_ends_a_text_ends_it(be: nn.Backend) -> None:
    """A special token may be both; nothing is continued from it."""
    assert to_host(be, with_padding(be).generate([4, 5], temperature=0, stop=0)).tolist() == [0]
    tokenizer = nn.text.BytePairTokenizer.train("", 257, specials=("<|endoftext|>",))
    made = with_padding(be, size=len(tokenizer), padding=tokenizer.end)
    made.tokenizer = tokenizer
    assert made.generate("ab", temperature=0) == ""


@pytest.mark.parametrize("prompt", ["to b", "to be or not t"])
@pytest.mark.parametrize(
    "tokenizer", [nn.text.ByteTokenizer(), nn.text.BytePairTokenizer.train(TEXT * 5, 270), TOKENIZER], ids=repr
)
def test_a_text_and_its_tokens_are_continued_alike(host: nn.Backend, tokenizer: Any, prompt: str) -> None:
    """Also if the last token is only a part of a character."""
    made = model(host, size=len(tokenizer))
    made.tokenizer = tokenizer
    for seed in range(5):
        pieces: list[str] = []
        text = made.generate(prompt, max_tokens=9, seed=seed, stream=pieces.append)
        assert (
            text
            == "".join(pieces)
            == tokenizer.decode(made.generate(tokenizer.encode(prompt), max_tokens=9, seed=seed))
        )


def test_a_file_may_have_the_tokenizer_of_another_model(host: nn.Backend) -> None:
    made = model(host)
    made.metadata["tokenizer"] = nn.text.ByteTokenizer().to_json()
    with pytest.raises(ValueError, match="the tokenizer has 256 tokens, but the model has"):
        made.generate("to")
    made.metadata["tokenizer"] = {"kind": "characters", "characters": "aa"}
    with pytest.raises(ValueError, match="the description of the tokenizer is damaged"):
        made.generate("to")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.generate("", cache=False), ValueError, r"the prompt is empty"),
        (lambda m: m.generate("Z"), ValueError, r"character 'Z' .* is not in the vocabulary"),
        (
            lambda m: m.generate([1, 99]),
            ValueError,
            r"prompt: 99 at position 1 is not in the vocabulary, which has 0 to",
        ),
        (lambda m: m.generate([1, 0.5]), TypeError, r"prompt must be integers along one axis; got 0\.5"),
        (lambda m: m.generate([]), ValueError, r"prompt must have at least one token"),
        (lambda m: m.generate([[1], [1, 2]]), ValueError, r"all its rows as many; got rows of \[1, 2\]"),
        (lambda m: m.generate(3), TypeError, r"prompt must be text, or tokens of shape \(length,\)"),
        (lambda m: m.generate("to", temperature=-1), ValueError, r"temperature must be a finite number of at least 0"),
        (lambda m: m.generate("to", top_k=0), ValueError, r"top_k must be an integer of at least 1; got 0"),
        (lambda m: m.generate("to", top_p=0), ValueError, r"top_p must satisfy 0 < p <= 1; got 0"),
        (
            lambda m: m.generate("to", repetition_penalty=0),
            ValueError,
            r"repetition_penalty must be a finite number above",
        ),
        (lambda m: m.generate("to", max_tokens=0), ValueError, r"max_tokens must be an integer of at least 1"),
        (lambda m: m.generate("to", stop=99), ValueError, r"stop: token 99 is not in the vocabulary"),
        (lambda m: m.generate("to", cache="no"), TypeError, r"cache must be True or False; got 'no'"),
        (lambda m: m.generate("to", stream=3), TypeError, r"stream must be a function of the next piece.*got 3"),
        (lambda m: m.generate("to", stop=""), ValueError, r"stop: a text that is empty is everywhere"),
        (
            lambda m: m.generate("to", stop=1.5),
            TypeError,
            r"stop must be a token, a text that is not empty, or several",
        ),
        (lambda m: m.generate([1], stop="a"), ValueError, r"stop: 'a' is text, but the prompt is tokens"),
        (lambda m: m.generate("to", max_new_tokens=3), TypeError, r"Did you mean max_tokens="),
        (lambda m: setattr(m, "tokenizer", nn.text.ByteTokenizer()), ValueError, r"has 256 tokens, but the model has"),
        (lambda m: setattr(m, "tokenizer", "abc"), TypeError, r"tokenizer must be one of nn\.text"),
    ],
)
def test_what_is_wrong_is_named(host: nn.Backend, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(text_model(host))


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (nn.Network(nn.Dense(2)), (3,), r"generate needs a model of tokens.*takes real numbers of shape \(batch, 3\)"),
        (
            nn.Network(nn.Embedding(5, 2), nn.GlobalAvgPool(), nn.Dense(5)),
            (3,),
            r"shape \(3, 5\); this model has \(5,\)",
        ),
        (nn.Network(nn.Embedding(5, 2), nn.Dense(4)), (3,), r"End the network with nn\.Dense\(5\)"),
        (nn.Network(nn.Inputs({"a": nn.Dense(2)})), {"a": (3,)}, r"inputs by name, a"),
    ],
)
def test_models_that_cannot_continue(host: nn.Backend, network: nn.Network, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.init(shape).generate([1, 2])


def test_a_model_without_a_tokenizer_and_one_with_nan(host: nn.Backend) -> None:
    with pytest.raises(ValueError, match=r"no tokenizer, so the prompt must be tokens.*Or set model\.tokenizer"):
        model(host).generate("to")
    made = nn.Network(nn.Embedding(4, 2), nn.Dense(4), nn.Lambda(lambda x: x + np.nan)).init((4,))
    with pytest.raises(ValueError, match=r"outputs of the model have NaN"):
        made.generate([1], cache=False)


READ_LATER: dict[str, tuple[tuple[nn.Layer, ...], str]] = {
    "attention": ((nn.MultiHeadAttention(2),), r"MultiHeadAttention 2 of 3: without causal=True.*Set causal=True"),
    "block": ((nn.TransformerBlock(8, 2),), r"TransformerBlock 2 of 3: .*Set causal=True in .* or TransformerBlock"),
    "bidirectional": ((nn.LSTM(4, bidirectional=True),), r"LSTM 2 of 3: .*Leave out bidirectional=True"),
    "convolution": ((nn.Conv1D(4, 3, padding="same"),), r'Conv1D 2 of 3: .*padding="causal"'),
    "window": ((nn.Flatten(), nn.Dense(64), nn.Reshape((8, 8))), r"Flatten 2 of 5: it needs all positions"),
    "own": ((nn.Lambda(lambda x: x + x[:, -1:, ...]),), r"Lambda 2 of 3: it needs all positions"),
}


@pytest.mark.once_a_library
@pytest.mark.parametrize("cached", [False, None])
@pytest.mark.parametrize("kind", READ_LATER)
def test_models_that_read_later_tokens_are_refused(be: nn.Backend, kind: str, cached: Any) -> None:
    """Also with as many tokens as the model sees: the next one would be out of its sight."""
    layers, message = READ_LATER[kind]
    made = nn.Network(nn.Embedding(9, 8), *layers, nn.Dense(9)).init((8,), seed=0, backend=be)
    for prompt in ([1, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8]):
        with pytest.raises(ValueError, match=rf"change with later tokens, which are not there yet\. {message}"):
            made.generate(prompt, max_tokens=2, cache=cached)


@pytest.mark.parametrize("layer", [nn.Conv1D(8, 1), nn.Lambda(lambda x: 2 * x)], ids=["convolution", "own"])
def test_layers_that_do_not_say_what_they_read_may_read_earlier_tokens(host: nn.Backend, layer: nn.Layer) -> None:
    made = nn.Network(nn.Embedding(9, 8), layer, nn.Dense(9)).init((8,), seed=0)
    assert len(made.generate([1, 2, 3], max_tokens=12)) == 12


NETWORKS: dict[str, nn.Network] = {
    "gpt": nn.models.gpt(11, 8, 2, 2, init=nn.initializers.Normal(0.0, 0.5)),
    "llama": nn.models.gpt(
        *(11, 8, 2, 4),
        kv_heads=2,
        rotary=1e4,
        norm="rms",
        activation="swiglu",
        bias=False,
        tied=False,
        init=nn.initializers.Normal(0.0, 0.5),
    ),
    "char_rnn": nn.models.char_rnn(11, 8, 2, cell="gru"),
}


@pytest.mark.once_a_library
@pytest.mark.parametrize("kind", NETWORKS)
def test_greedy_text_is_the_same_with_a_cache_far_beyond_the_positions_of_the_model(be: nn.Backend, kind: str) -> None:
    made = NETWORKS[kind].init((8,), seed=5, backend=be, dtype="float32")
    prompt, settings = be.asarray(np.asarray([[3, 1, 4], [1, 5, 9]])), {"max_tokens": 22, "temperature": 0}
    with_it, without = (to_host(be, made.generate(prompt, cache=cache, **settings)) for cache in (True, False))
    np.testing.assert_array_equal(with_it, without)
    assert len(np.unique(with_it)) > 1
