"""Tokenizers: text and back, saved and read again, and what the published ones give."""

from __future__ import annotations

import errno
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.text.splitting import pattern
from tests.tolerances import to_host

TEXT = (
    "The quick brown fox isn't here; they've said we'll go.\n\nNaïve café 123 ½ 東京 😀!  Two  blanks\tand a tab. " * 5
)
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "quick", "bro", "##wn", "##s", ",", "!", "東", "cafe", "a")
TOKENIZERS: list[nn.text.Tokenizer] = [
    nn.text.CharacterTokenizer.of(TEXT),
    nn.text.ByteTokenizer(),
    nn.text.BytePairTokenizer.train(TEXT, 300),
    nn.text.WordPieceTokenizer(WORDS),
]
EXACT = TOKENIZERS[:3]


@pytest.mark.parametrize("tokenizer", EXACT, ids=repr)
@pytest.mark.parametrize("text", [TEXT, "", " ", "é", "a\n", "😀"])
def test_text_comes_back(tokenizer: nn.text.Tokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert all(0 <= token < len(tokenizer) for token in tokens)
    read = tokenizer.decoder()
    assert "".join(map(read, tokens)) == text


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=repr)
def test_it_is_the_same_after_json_and_a_file(tokenizer: nn.text.Tokenizer, tmp_path: Path) -> None:
    again = nn.text.tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert (again, type(again), hash(again)) == (tokenizer, type(tokenizer), hash(tokenizer))
    tokenizer.save(tmp_path / "t.json")
    assert nn.text.load(tmp_path / "t.json") == tokenizer
    assert again.encode("the quick") == tokenizer.encode("the quick")


def test_tokens_of_arrays_are_decoded(be: nn.Backend) -> None:
    tokenizer = nn.text.ByteTokenizer()
    assert tokenizer.decode(be.asarray(np.asarray([104, 195, 169]))) == "hé"


def test_a_part_of_a_character_waits() -> None:
    read = nn.text.ByteTokenizer().decoder()
    assert [read(byte) for byte in "aé😀".encode()] == ["a", "", "é", "", "", "", "😀"]


def test_bytes_that_are_no_text_are_marked() -> None:
    assert nn.text.ByteTokenizer().decode([0x61, 0xFF]) == "a\ufffd"


# --- Byte pairs ------------------------------------------------------------------------------------------------------


def test_words_are_split_as_by_gpt2() -> None:
    said = pattern().findall("they've  said 'tis 42nd café_x\x1c!?\n\n end \u00a0x½")
    first = ["they", "'ve", " ", " said", " '", "tis", " 42", "nd", " café", "_", "x", "\x1c!?"]
    assert said == [*first, "\n\n", " end", " ", "\u00a0", "x", "½"]


def test_every_character_is_of_one_kind() -> None:
    """The pattern leaves out no character, whatever its category."""
    kept = [chr(code) for code in range(0x30000) if unicodedata.category(chr(code)) != "Cs"]
    assert "".join(pattern().findall("".join(kept))) == "".join(kept)
    for character in kept[::7]:
        category, parts = unicodedata.category(character)[0], pattern().findall(f"a{character}1")
        wanted = {"L": [f"a{character}", "1"], "N": ["a", f"{character}1"]}.get(category, ["a", character, "1"])
        assert parts == wanted, f"U+{ord(character):04X}"


def test_pairs_are_learned_by_how_often_they_occur() -> None:
    tokenizer = nn.text.BytePairTokenizer.train("ab ab abc bc", size=259)
    assert tokenizer.merges == ("a b", "Ġ ab")
    assert (len(tokenizer), tokenizer.end) == (259, 258)
    assert tokenizer.encode("abc") == [256, ord("c") - 33]
    assert nn.text.BytePairTokenizer.train("abc", size=300).merges == ()  # nothing occurs twice


def test_pairs_of_lower_rank_come_first() -> None:
    alphabet = nn.text.BytePairTokenizer.train("", size=256, specials=()).vocabulary
    tokenizer = nn.text.BytePairTokenizer((*alphabet, "bc", "ab", "aa", "bca"), ("b c", "a b", "a a", "bc a"))
    spelled = [[tokenizer.vocabulary[t] for t in tokenizer.encode(text)] for text in ("abc", "aaa", "bcab", "abbca")]
    assert spelled == [["a", "bc"], ["aa", "a"], ["bc", "ab"], ["ab", "bca"]]


def test_a_long_word_takes_no_square_of_its_length() -> None:
    tokenizer = nn.text.BytePairTokenizer.train("abab " * 9, 260)
    assert tokenizer.decode(tokenizer.encode("ab" * 50_000)) == "ab" * 50_000


def test_special_tokens_are_text_unless_asked_for() -> None:
    tokenizer = nn.text.BytePairTokenizer.train(TEXT, 300)
    text = "one<|endoftext|>two"
    assert tokenizer.end not in tokenizer.encode(text)
    assert tokenizer.encode(text, special=True).count(299) == 1
    assert tokenizer.decode(tokenizer.encode(text, special=True)) == text


def test_the_files_of_gpt2_are_read(tmp_path: Path) -> None:
    tokenizer = nn.text.BytePairTokenizer.train(TEXT, 300)
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokenizer.vocabulary)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(tokenizer.merges) + "\n", encoding="utf-8")
    assert nn.text.BytePairTokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt") == tokenizer
    (tmp_path / "merges.txt").write_text("q z\n")
    with pytest.raises(ValueError, match=r"merges.txt' with .*vocab.json'.*needs the token 'qz'.*both files from one"):
        nn.text.BytePairTokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 2}')
    with pytest.raises(ValueError, match=r"numbers 0 to 1; 'b' has 2 in the place of 1\. Is the file complete"):
        nn.text.BytePairTokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")


# --- Word pieces -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, WORLD!", ["hello", ",", "world", "!"]),
        ("Crème brûlée İstanbul", ["creme", "brulee", "istanbul"]),
        ("東京 and 한국", ["東", "京", "and", unicodedata.normalize("NFD", "한국")]),
        ("a\u200db\x00c\ufffdd", ["abcd"]),
        ("a\u2028b\u00a0c\td", ["a", "b", "c", "d"]),
        ("$5.00 x^2 “q” —", ["$", "5", ".", "00", "x", "^", "2", "“", "q", "”", "—"]),
        ("ΟΔΟΣ ẞ", ["οδοσ", "ß"]),
    ],
)
def test_words_are_those_of_bert(text: str, words: list[str]) -> None:
    assert TOKENIZERS[3].words(text) == words  # type: ignore[attr-defined]


def test_accents_and_case_may_stay() -> None:
    assert nn.text.WordPieceTokenizer(WORDS, lower=False).words("Café") == ["Café"]
    assert nn.text.WordPieceTokenizer(WORDS, strip_accents=False).words("Café") == ["café"]
    assert nn.text.WordPieceTokenizer(WORDS, lower=False, strip_accents=True).words("Café") == ["Cafe"]


def test_words_become_the_longest_pieces() -> None:
    tokenizer = nn.text.WordPieceTokenizer(WORDS, ends=False)
    spelled = [
        [WORDS[token] for token in tokenizer.encode(text)] for text in ("Browns, the cafés!", "quickest", "a" * 101)
    ]
    assert spelled == [["bro", "##wn", "##s", ",", "the", "cafe", "##s", "!"], ["[UNK]"], ["[UNK]"]]
    assert tokenizer.decode(tokenizer.encode("the browns!")) == "the browns !"


def test_a_text_that_is_cut_keeps_its_end() -> None:
    tokens, mask = TOKENIZERS[3].batch(["the quick browns", "a"], length=4)
    assert tokens.tolist() == [[2, 4, 5, 3], [2, 13, 3, 0]]
    assert mask.tolist() == [[True] * 4, [True, True, True, False]]


def test_a_vocabulary_without_a_mark() -> None:
    with pytest.raises(ValueError, match=r"needs \[CLS\] and \[SEP\], and has none\. Add them, or pass ends=False"):
        nn.text.WordPieceTokenizer(("[UNK]", "a"))


# --- Batches ---------------------------------------------------------------------------------------------------------


def test_rows_are_padded_on_every_backend(be: nn.Backend) -> None:
    tokens, mask = nn.text.padded([[5, 3], [], [2, 8, 9]], value=7, backend=be)
    assert to_host(be, tokens).tolist() == [[5, 3, 7], [7, 7, 7], [2, 8, 9]]
    assert to_host(be, mask).tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert be.xp.isdtype(tokens.dtype, "integral")
    assert be.xp.isdtype(mask.dtype, "bool")
    assert nn.text.padded([[1, 2, 3]], length=2, backend=be).tokens.shape == (1, 2)
    assert nn.text.padded([[]], backend=be).tokens.shape == (1, 0)


def test_rows_without_a_token_have_their_dtypes(be: nn.Backend) -> None:
    tokens, mask = nn.text.padded([[], []], backend=be)
    assert tuple(tokens.shape) == tuple(mask.shape) == (2, 0)
    assert be.xp.isdtype(tokens.dtype, "integral")
    assert be.xp.isdtype(mask.dtype, "bool")


@pytest.mark.parametrize("rows", [[[1.5]], ["ab"], [[True]], [["a"]]])
def test_rows_of_anything_but_integers(rows: Any) -> None:
    for call in (lambda: nn.text.padded(rows), lambda: nn.text.packed(rows, 2)):
        with pytest.raises(TypeError, match=r"tokens must be integers; got .*Encode text first"):
            call()


def test_texts_are_padded_with_a_token_that_none_has(be: nn.Backend) -> None:
    pairs = nn.text.BytePairTokenizer.train("", 258, specials=("<|padding|>", "<|endoftext|>"))
    for tokenizer, padding in (
        (nn.text.CharacterTokenizer.of("\0 abc"), 0),
        (nn.text.CharacterTokenizer("ab\0c"), 2),
        (nn.text.ByteTokenizer(), 0),
        (pairs, 256),
    ):
        tokens, mask = tokenizer.batch(["ab", "cab"], length=4, backend=be)
        rows = [[*tokenizer.encode(text), *[padding] * (4 - len(text))] for text in ("ab", "cab")]
        assert (tokenizer.padding, to_host(be, tokens).tolist()) == (padding, rows)
        assert to_host(be, mask).tolist() == [[True, True, False, False], [True, True, True, False]]


@pytest.mark.parametrize("tokenizer", [nn.text.CharacterTokenizer("ab\0c"), nn.text.ByteTokenizer()], ids=repr)
def test_texts_with_padding_are_refused(tokenizer: Any) -> None:
    for settings in ({}, {"length": 2}, {"value": tokenizer.padding}):
        with pytest.raises(ValueError, match=r"texts: 'a.x00b', number 1, has '.x00' at position 1, .*replace\("):
            tokenizer.batch(iter(["ab", "a\0b"]), **settings)
    with pytest.raises(ValueError, match=r"number 0, .*position 0"):  # also without others, which would be equal to it
        tokenizer.batch(["\0"])
    assert tokenizer.batch(["a\0", "b"], length=1).tokens.tolist() == [tokenizer.encode("a"), tokenizer.encode("b")]
    assert tokenizer.batch(["a\0", "b"], value=-1).tokens.tolist()[1][1] == -1


def test_names_of_special_tokens_are_no_padding() -> None:
    """In byte pairs and word pieces, they are text like any other."""
    pairs = nn.text.BytePairTokenizer.train("", 257, specials=("[PAD]",))
    pieces = nn.text.WordPieceTokenizer(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[", "]", "pad", "PAD"), lower=False)
    for tokenizer in (pairs, pieces):
        texts = ["[PAD]", "\0[PAD]"]
        assert all(tokenizer.padding not in tokenizer.encode(text) for text in texts)
        assert tokenizer.batch(texts).tokens.shape[0] == 2


def test_without_a_padding_token_only_rows_of_equal_length(be: nn.Backend) -> None:
    tokenizer = nn.text.CharacterTokenizer("abc")
    assert to_host(be, tokenizer.batch(["ab", "ca"], backend=be).tokens).tolist() == [[0, 1], [2, 0]]
    assert to_host(be, tokenizer.batch(["ab", "cab"], length=2, backend=be).tokens).tolist() == [[0, 1], [2, 0]]
    assert to_host(be, tokenizer.batch(["a", "ca"], value=-1, backend=be).tokens).tolist() == [[0, -1], [2, 0]]
    for settings in ({}, {"length": 3}):
        with pytest.raises(
            ValueError, match=r"rows have 1 to . tokens, .*token 0 is 'a', which texts may have.*value="
        ):
            tokenizer.batch(["a", "ca"], backend=be, **settings)


def test_rows_are_packed(be: nn.Backend) -> None:
    tokens, mask = nn.text.packed([[5, 3], [7], [2, 8, 9]], 4, end=1, value=6, backend=be)
    assert to_host(be, tokens).tolist() == [[5, 3, 1, 7], [1, 2, 8, 9], [1, 6, 6, 6]]
    assert to_host(be, mask).sum() == 9


@pytest.mark.parametrize(
    ("name", "says"),
    [("BertTokenizer", "WordPieceTokenizer"), ("pad_sequences", "padded"), ("ByteTokeniser", "ByteTokenizer")],
)
def test_names_of_other_libraries(name: str, says: str) -> None:
    with pytest.raises(AttributeError, match=says):
        getattr(nn.text, name)


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: TOKENIZERS[0].encode("the\nZ"),
            ValueError,
            r"'Z' \(U\+005A\) at position 4, line 2, is not in the vocab",
        ),
        (lambda: TOKENIZERS[1].encode("a\ud800"), ValueError, r"half a character, U\+D800, at position 1"),
        (lambda: TOKENIZERS[1].encode(b"a"), TypeError, r"text must be a str; got b'a'\. Decode it first"),
        (
            lambda: TOKENIZERS[1].decode([1, 256]),
            ValueError,
            r"tokens: 256 at position 1 is not in the vocab.* 0 to 255",
        ),
        (lambda: TOKENIZERS[1].decode("ab"), TypeError, r"tokens must be integers; got text, 'ab'\. Encode it"),
        (
            lambda: TOKENIZERS[1].decode([1.5]),
            TypeError,
            r"tokens must be integers along one axis; got 1\.5 at position 0",
        ),
        (lambda: TOKENIZERS[1].batch("ab"), TypeError, r"texts must be several texts; got one, 'ab'\. Pass \[text\]"),
        (
            lambda: nn.text.BytePairTokenizer.train("ab", 300, specials="<|end|>"),
            TypeError,
            r"specials must be several texts; got one, '<\|end\|>'\. Pass \('<\|end\|>',\)",
        ),
        (lambda: TOKENIZERS[1].batch([]), ValueError, r"there are no sequences to pad"),
        (lambda: TOKENIZERS[1].save("t.txt"), ValueError, r"saved as a \.json file; got 't\.txt'"),
        (
            lambda: nn.text.CharacterTokenizer("aba"),
            ValueError,
            r"characters: a token 'a' is there twice \(numbers 0 and 2",
        ),
        (lambda: nn.text.CharacterTokenizer.of(""), ValueError, r"the text is empty"),
        (
            lambda: nn.text.BytePairTokenizer.train("a", 100),
            ValueError,
            r"size must be at least 257, 256 bytes and 1 spec",
        ),
        (lambda: nn.text.packed([], 4), ValueError, r"there are no tokens to pack"),
        (lambda: nn.text.tokenizer_from_json(3), TypeError, r"described by a dict with its kind, as by to_json; got 3"),
        (
            lambda: nn.text.tokenizer_from_json({"kind": "byts"}),
            ValueError,
            r"unknown kind of tokenizer.*Did you mean 'bytes'|use one of",
        ),
        (
            lambda: nn.text.tokenizer_from_json({"kind": "characters", "characters": 3}),
            ValueError,
            r"the description of the tokenizer is damaged: characters must be a text",
        ),
        (
            lambda: nn.text.tokenizer_from_json({"kind": "bytes", "size": 3}),
            ValueError,
            r"the description of the tokenizer is damaged: unknown settings size",
        ),
    ],
)
def test_what_is_wrong_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "is not a file of Tokenizer.save"),
        ("[1", "it is not JSON"),
        ('{"format": "nnarray tokenizer"}', "with its kind"),
    ],
)
def test_files_that_are_no_tokenizer(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        nn.text.load(tmp_path / "t.json")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        nn.text.load(tmp_path / "other.json")


def test_a_file_of_a_tokenizer_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, file = nn.text.CharacterTokenizer("ab"), nn.text.CharacterTokenizer("abcé"), tmp_path / "t.json"
    old.save(file)

    def full(part: Path, data: bytes) -> int:
        with part.open("wb") as opened:
            opened.write(data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as limited:
        limited.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"cannot write '.*t\.json': .*free some space"):
            new.save(file)
    assert nn.text.load(file) == old
    new.save(file)
    assert nn.text.load(file) == new
    assert [each.name for each in tmp_path.iterdir()] == ["t.json"]


@pytest.mark.parametrize(
    "make",
    [
        lambda half: nn.text.CharacterTokenizer(f"ab{half}"),
        lambda half: nn.text.CharacterTokenizer.of(f"{half}ba"),
        lambda half: nn.text.WordPieceTokenizer(("[UNK]", "a", f"b{half}c"), ends=False),
        lambda half: nn.text.BytePairTokenizer(("a", "b", half), ()),
        lambda half: nn.text.BytePairTokenizer.train("ab", 257, specials=[half]),
        lambda half: nn.text.tokenizer_from_json({"kind": "characters", "characters": f"ab{half}"}),
    ],
)
def test_half_a_character_is_no_token(make: Any) -> None:
    """Some files and terminals give them for bytes that they cannot read; no file can hold them."""
    for half in ("\udce9", "\ud800"):
        code = f"{ord(half):04X}"
        with pytest.raises(
            ValueError, match=rf"token \d+ has half a character, U\+{code}, .*Read the text with its own"
        ):
            make(half)
    assert nn.text.CharacterTokenizer("a\U0001f600").encode("\U0001f600") == [1]
