"""Attention and what stands around it, beside PyTorch's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels, random
from nnarray.layers.base import Context
from tests.tolerances import as_called, to_host

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}

LAYERS = {
    "attention": (nn.MultiHeadAttention(2), (5, 4)),
    "causal": (nn.MultiHeadAttention(2, causal=True, dropout=0.3), (5, 4)),
    "grouped-rotary": (nn.MultiHeadAttention(4, causal=True, kv_heads=2, rotary=100.0, bias=False), (3, 8)),
    "one-position": (nn.MultiHeadAttention(1), (1, 3)),
    "learned-positions": (nn.LearnedPositions(), (5, 4)),
    "more-learned-positions": (nn.LearnedPositions(9), (5, 4)),
    "sinusoidal-positions": (nn.SinusoidalPositions(), (5, 3)),
    "rms": (nn.RMSNorm(), (5, 4)),
    "groups": (nn.GroupNorm(2), (5, 4)),
    "one-group": (nn.GroupNorm(1), (3, 2, 4)),
    "pre": (nn.TransformerBlock(4, 2, causal=True, dropout=0.2), (5, 4)),
    "post": (nn.TransformerBlock(4, 2, order="post", hidden=3, norm="rms"), (5, 4)),
    "parallel": (nn.TransformerBlock(4, 2, order="parallel", activation="swiglu", bias=False), (5, 4)),
    "tied": (nn.Tied(nn.Embedding(7, 4), nn.LearnedPositions(), nn.LayerNorm()), (5,)),
    "tied-and-padded": (nn.Tied(nn.Embedding(7, 4, padding_index=0), nn.MultiHeadAttention(2), nn.Dense(4)), (5,)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_right(be: nn.Backend, case: str) -> None:
    layer, shape = LAYERS[case]
    nn.testing.check_layer(layer, shape, backends=[be])


# --- Beside PyTorch ---------------------------------------------------------------------------------------------------

SETTINGS = {
    "plain": {"heads": 3},
    "one-head": {"heads": 1, "causal": True},
    "causal-grouped": {"heads": 6, "kv_heads": 2, "causal": True},
    "rotary": {"heads": 3, "causal": True, "rotary": 50.0},
    "no-bias": {"heads": 2, "bias": False},
    "dropout": {"heads": 2, "dropout": 0.4, "causal": True},
}
FEATURES = 12


def masked(mask: str, batch: int, count: int) -> Any:
    """None; or a mask with padding in each row, and a row of padding only."""
    if mask == "none":
        return None
    counts = np.arange(count)[None, :] < np.asarray([[count], [max(count - 2, 1)], [0]])[:batch]
    return counts if mask == "end" else counts[:, ::-1].copy()


def by_pytorch(torch: Any, layer: Any, params: Any, x: Any, mask: Any, kept: Any) -> Any:
    """The formula in PyTorch's functions, whose autograd gives the gradients."""
    heads, groups = layer.heads, layer.groups
    size, (batch, count, features) = x.shape[2] // heads, x.shape
    z = x @ params["weight"] + params.get("bias", 0.0)
    parts = z.split([heads * size, groups * size, groups * size], dim=2)
    q, k, v = (part.reshape(batch, count, -1, size).transpose(1, 2) for part in parts)
    if layer.rotary:
        angle = torch.arange(count)[:, None] / layer.rotary ** (2 * torch.arange(size // 2, dtype=x.dtype) / size)
        turn = torch.polar(torch.ones_like(angle), angle)
        q, k = (_turned(torch, part, turn) for part in (q, k))
    k, v = (part.repeat_interleave(heads // groups, dim=1) for part in (k, v))
    scores = q @ k.transpose(2, 3) / math.sqrt(size)
    seen = torch.ones((batch, 1, count, count), dtype=torch.bool)
    seen = seen if mask is None else seen & torch.tensor(mask)[:, None, None, :]
    seen = seen.tril() if layer.causal else seen
    weights = torch.softmax(scores.masked_fill(~seen, -1e300), dim=-1).masked_fill(~seen, 0.0)
    if kept is not None:
        weights = weights * torch.tensor(kept) / (1.0 - layer.dropout)
    return (weights @ v).transpose(1, 2).reshape(batch, count, features) @ params["out_weight"] + params.get(
        "out_bias", 0.0
    )


def _turned(torch: Any, x: Any, turn: Any) -> Any:
    """The pairs of the two halves as complex numbers, rotated."""
    half = x.shape[-1] // 2
    y = torch.complex(x[..., :half], x[..., half:]) * turn
    return torch.cat([y.real, y.imag], dim=-1)


@pytest.mark.parametrize(("count", "mask"), [(7, "end"), (7, "begin"), (7, "none"), (1, "end")])
@pytest.mark.parametrize("case", SETTINGS)
def test_attention_equals_pytorch(be: nn.Backend, dtype: str, case: str, count: int, mask: str) -> None:
    compare_with_pytorch(be, dtype, case, count, mask)


@pytest.mark.parametrize("mask", ["end", "none"])
@pytest.mark.parametrize("case", SETTINGS)
def test_many_queries_equal_pytorchs(host: nn.Backend, case: str, mask: str) -> None:
    """More than a block."""
    compare_with_pytorch(host, "float64", case, 131, mask)


def compare_with_pytorch(be: nn.Backend, dtype: str, case: str, count: int, mask: str) -> None:
    torch = pytest.importorskip("torch")
    layer: Any = nn.MultiHeadAttention(**SETTINGS[case])
    rng, batch = np.random.default_rng(1), 3
    params = {name: rng.normal(size=p.shape) / 3 for name, p in layer.params((count, FEATURES)).items()}
    x, dy = rng.normal(size=(batch, count, FEATURES)), rng.normal(size=(batch, count, FEATURES))
    seen, key = masked(mask, batch, count), nn.Key(5)
    host = nn.backend("numpy")
    shape = (batch, layer.heads, count, count)
    kept = random.bernoulli(key, shape, 1 - layer.dropout, xp=host.xp, device=host.device) if layer.dropout else None

    ours = {name: be.asarray(p, dtype=dtype) for name, p in params.items()}
    given = be.asarray(x, dtype=dtype), be.asarray(dy, dtype=dtype), None if seen is None else be.asarray(seen)

    def both_ways(params: Any, x: Any, dy: Any, mask: Any) -> Any:
        out = layer.forward(params, x, Context(True, root=key, mask=mask))
        return out.y, *out.pullback(dy)

    y, dx, gradients = as_called(be, both_ways)(ours, *given)
    theirs = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}
    x_ = torch.tensor(x, requires_grad=True)
    want = by_pytorch(torch, layer, theirs, x_, seen, kept)
    want.backward(torch.tensor(dy))
    for name, got, expected in [
        ("y", y, want.detach()),
        ("dx", dx, x_.grad),
        *((name, gradients[name], p.grad) for name, p in theirs.items()),
    ]:
        error = np.abs(to_host(be, got) - expected.numpy()).max() / max(np.abs(expected.numpy()).max(), 1.0)
        assert error < TOLERANCE[dtype], f"{name}: {error}"


def test_no_positions_and_no_examples(be: nn.Backend) -> None:
    layer = nn.MultiHeadAttention(2, causal=True, rotary=100.0)
    params = {name: be.asarray(np.ones(p.shape), dtype="float32") for name, p in layer.params((3, 4)).items()}
    for shape in ((2, 0, 4), (0, 3, 4)):
        x = be.xp.zeros(shape, dtype=be.xp.float32, device=be.device)
        out = layer.forward(params, x, Context())
        assert tuple(out.y.shape) == shape
        dx, gradients = out.pullback(out.y)
        assert tuple(dx.shape) == shape
        assert all(not to_host(be, each).any() for each in gradients.values())


def test_padding_changes_nothing(be: nn.Backend) -> None:
    """A padded sequence has the outputs of the one without padding; and no number is nan, even if all is padding."""
    net = nn.Network(
        nn.Embedding(9, 8, padding_index=0), nn.TransformerBlock(8, 2), nn.TransformerBlock(8, 2), nn.GlobalAvgPool()
    )
    model = net.init((6,), seed=3, backend=be)
    tokens = np.asarray([[3, 1, 4, 0, 0, 0], [0, 0, 0, 0, 0, 0], [5, 5, 2, 8, 1, 1]])
    y = to_host(be, model(be.asarray(tokens)))
    assert np.isfinite(y).all()
    short = net.init((3,), seed=3, backend=be)
    np.testing.assert_allclose(to_host(be, short(be.asarray(tokens[:1, :3]))), y[:1], atol=1e-5)
    _, gradient = nn.value_and_grad(model, be.asarray(tokens), be.asarray(np.zeros((3, 8))), loss="mse")
    assert np.isfinite(to_host(be, gradient)).all()


@pytest.mark.parametrize("order", ["pre", "post"])
def test_block_equals_pytorchs(be: nn.Backend, dtype: str, order: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.TransformerEncoderLayer(
        12, 3, 20, dropout=0.0, activation="gelu", batch_first=True, norm_first=order == "pre", dtype=torch.float64
    )
    block = nn.TransformerBlock(12, 3, hidden=20, order=order)
    weights = {name: p.detach().numpy() for name, p in theirs.state_dict().items()}
    pre = order == "pre"
    names = {
        "attention.heads.weight": "self_attn.in_proj_weight",
        "attention.heads.bias": "self_attn.in_proj_bias",
        "attention.heads.out_weight": "self_attn.out_proj.weight",
        "attention.heads.out_bias": "self_attn.out_proj.bias",
        "mlp.hidden.weight": "linear1.weight",
        "mlp.hidden.bias": "linear1.bias",
        "mlp.out.weight": "linear2.weight",
        "mlp.out.bias": "linear2.bias",
        "attention.norm.weight" if pre else "attention_norm.weight": "norm1.weight",
        "attention.norm.bias" if pre else "attention_norm.bias": "norm1.bias",
        "mlp.norm.weight" if pre else "mlp_norm.weight": "norm2.weight",
        "mlp.norm.bias" if pre else "mlp_norm.bias": "norm2.bias",
    }
    model = nn.Network(block).init((5, 12), backend=be, dtype=dtype)
    model.set_params({f"0.{ours}": weights[name].T for ours, name in names.items()})
    x = np.random.default_rng(0).normal(size=(2, 5, 12))
    want = theirs(torch.tensor(x)).detach().numpy()
    got = to_host(be, model(be.asarray(x, dtype=dtype)))
    assert np.abs(got - want).max() < TOLERANCE[dtype]


def test_norms_equal_pytorchs(be: nn.Backend, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(3, 5, 6)), rng.normal(size=6), rng.normal(size=6)
    given = be.asarray(x, dtype=dtype)
    params = {"weight": be.asarray(w, dtype=dtype), "bias": be.asarray(b, dtype=dtype)}
    x_, w_, b_ = map(torch.tensor, (x, w, b))
    rms = torch.nn.functional.rms_norm(x_, (6,), w_, 1e-6)
    groups = torch.nn.functional.group_norm(x_.transpose(1, 2), 3, w_, b_, 1e-5).transpose(1, 2)
    for layer, want in ((nn.RMSNorm(), rms), (nn.GroupNorm(3), groups)):
        got = to_host(be, layer.forward(params, given, Context()).y)
        assert np.abs(got - want.numpy()).max() < TOLERANCE[dtype]


# --- Decoding ---------------------------------------------------------------------------------------------------------

CAUSAL = {
    "gpt": (nn.LearnedPositions(), nn.TransformerBlock(8, 2, causal=True), nn.TransformerBlock(8, 2, causal=True)),
    "rotary": (
        nn.TransformerBlock(8, 4, causal=True, kv_heads=2, rotary=100.0, norm="rms", activation="swiglu", bias=False),
    ),
    "parallel": (nn.SinusoidalPositions(), nn.TransformerBlock(8, 2, causal=True, order="parallel")),
}


@pytest.mark.parametrize("padding", [None, 0])
@pytest.mark.parametrize("case", CAUSAL)
def test_decoding_gives_the_outputs_of_whole_sequences(be: nn.Backend, case: str, padding: int | None) -> None:
    layers = nn.Tied(nn.Embedding(9, 8, padding_index=padding), *CAUSAL[case], nn.LayerNorm())
    model = nn.Network(layers).init((7,), seed=2, backend=be, dtype="float32")
    tokens = be.asarray(np.asarray([[0, 0, 4, 1, 5, 2, 6], [2, 7, 1, 8, 2, 0, 0]]))
    want, cache, ys, first = to_host(be, model(tokens)), model.new_cache(2, 7), [], 0
    for count in (3, 1, 1, 2):
        y, cache = model.decode(tokens[:, first : first + count], cache)
        ys.append(to_host(be, y))
        first += count
    np.testing.assert_allclose(np.concatenate(ys, axis=1), want, atol=2e-5)


def test_what_cannot_be_decoded_says_so(host: nn.Backend) -> None:
    both = nn.Network(nn.Embedding(9, 8), nn.MultiHeadAttention(2)).init((7,))
    with pytest.raises(ValueError, match=r"MultiHeadAttention 2 of 2: without causal=True, .*Set causal=True in Multi"):
        both.new_cache()
    rotary = nn.Network(nn.Embedding(9, 8), nn.MultiHeadAttention(2, causal=True, rotary=1e4)).init((7,))
    with pytest.raises(ValueError, match=r"made for 7 positions, and rotary positions beyond .*length of 8.*at most 7"):
        rotary.new_cache(length=8)
    learned = nn.Network(nn.Embedding(9, 8), nn.LearnedPositions(9), nn.Dense(9)).init((7,))
    learned.new_cache(length=9)
    with pytest.raises(ValueError, match=r"has learned 9 positions; got a length of 10\. Use at most 9, or make"):
        learned.new_cache(length=10)


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MultiHeadAttention(0), "heads must be an integer of at least 1; got 0"),
        (lambda: nn.MultiHeadAttention(4, kv_heads=3), "kv_heads must divide heads, 4; got 3"),
        (lambda: nn.MultiHeadAttention(4, dropout=1.0), r"0 <= dropout < 1; got 1\.0.*dropout=0"),
        (lambda: nn.MultiHeadAttention(4, rotary=0.0), "rotary must be"),
        (lambda: nn.TransformerBlock(6, 4), "number of heads, 4, must divide the features; got 6"),
        (lambda: nn.TransformerBlock(8, 4, order="mid"), "unknown order 'mid'; use one of pre, post, parallel"),
        (lambda: nn.TransformerBlock(8, 4, norm="batch"), "unknown norm 'batch'; use one of layer, rms"),
        (lambda: nn.TransformerBlock(8, 4, activation="rleu"), "unknown activation 'rleu'"),
        (lambda: nn.TransformerBlock(6, 2, rotary=1e4), "rotary positions rotate pairs.*each head has 3"),
        (lambda: nn.LearnedPositions(0), "length must be an integer of at least 1"),
        (lambda: nn.GroupNorm(3).out_shape((4,)), "number of groups, 3, must divide the channels; got 4"),
        (lambda: nn.MultiHeadAttention(2).out_shape((4,)), r"expects sequences, \(positions, features\); got.*\(4,\)"),
        (
            lambda: nn.TransformerBlock(8, 2).out_shape((3, 4)),
            r"sequences of 8 features, \(positions, 8\); got \(3, 4\)",
        ),
        (lambda: nn.LearnedPositions(3).out_shape((4, 2)), "has learned 3 positions; got a length of 4"),
        (lambda: nn.Network(nn.Tied(nn.Embedding(5, 4), nn.Dense(3))).init((2,)), "needs outputs of 4 features"),
    ],
)
def test_settings_that_do_not_fit(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_only_an_embedding_can_be_tied() -> None:
    with pytest.raises(TypeError, match=r"Tied begins with nn\.Embedding.*got Dense 1 of 2"):
        nn.Tied(nn.Dense(3), nn.Dense(3))


def test_a_mask_of_features_is_refused(host: nn.Backend) -> None:
    layer, x = nn.MultiHeadAttention(2), np.ones((1, 2, 4))
    params = {name: np.ones(p.shape) for name, p in layer.params((2, 4)).items()}
    with pytest.raises(ValueError, match=r"needs a mask of positions, \(batch, positions\); got \(1, 2, 4\)"):
        layer.forward(params, x, Context(mask=x == 1.0))


def test_networks_with_blocks_are_saved_and_shown(tmp_path: Any) -> None:
    net = nn.Network(nn.Tied(nn.Embedding(9, 8), nn.TransformerBlock(8, 2, causal=True), nn.RMSNorm()))
    model = net.init((6,), seed=0)
    model.save(tmp_path / "blocks.safetensors")
    again = nn.load(tmp_path / "blocks.safetensors")
    tokens = np.asarray([[1, 2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(again(tokens), model(tokens))
    assert repr(again) == repr(model)
    assert "TransformerBlock(8, 2, causal=True)" in repr(model)
    assert "MultiHeadAttention(2, causal=True)" in str(model.summary())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("where", ["q", "k"])
def test_what_is_no_number_stays_visible(be: nn.Backend, where: str, causal: bool) -> None:
    """A query of nan has outputs of nan, also where all its scores are nan: broken weights must not look like zeros."""
    rng = np.random.default_rng(0)
    parts = {name: rng.normal(size=(1, 2, 5, 4)) for name in "qkv"}
    parts[where][0, 0, 0] = np.nan
    q, k, v = (be.asarray(x, dtype="float32") for x in parts.values())
    y = be.to_numpy(kernels.attention(q, k, v, None, None, causal=causal)[0])
    wrong = np.isnan(y).any(axis=-1)
    assert wrong[0, 0].tolist() == ([True] * 5 if where == "k" else [True, False, False, False, False])
    assert not wrong[0, 1].any()
