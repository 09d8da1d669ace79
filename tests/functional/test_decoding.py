"""Sequences decoded in parts: the outputs are those of the whole sequence."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.functional.decoding import decode
from tests.tolerances import to_host

TOKENS = np.asarray([[3, 1, 4, 1, 5, 2, 6], [2, 7, 1, 8, 2, 8, 1]])


@dataclass(frozen=True)
class Total(nn.Layer):
    """y_t = x_0 + ... + x_t."""

    def initial_cache(self, shape, length):
        return {"total": nn.Spec(shape[1:])}

    def forward(self, params, x, ctx):
        xp, t = nn.namespace(x), x.shape[1]
        y = xp.matmul(xp.tril(xp.ones((t, t), dtype=x.dtype, device=nn.device_of(x))), x)
        if ctx.cache is None:
            return nn.Out(y)
        y = y + ctx.cache["total"][:, None, ...]
        return nn.Out(y, cache={"total": y[:, -1, ...]})


@dataclass(frozen=True)
class Position(nn.Layer):
    """y_t = x_t + t."""

    def initial_cache(self, shape, length):
        return {}

    def forward(self, params, x, ctx):
        xp = nn.namespace(x)
        t = xp.arange(x.shape[1], device=nn.device_of(x)) + ctx.position
        return x + xp.astype(t, x.dtype)[:, None]


def network() -> nn.Network:
    return nn.Network(
        nn.Embedding(9, 4),
        Total(),
        nn.Residual(nn.Dense(4, "tanh"), Total(), shortcut=nn.Network(Total(), nn.Dense(4))),
        nn.Auxiliary(Total(), nn.Dense(5)),
        nn.Branches(Total(), nn.Network(Position(), nn.Dense(3), Total())),
        nn.Network(nn.Dropout(0.5), Total(), nn.Dense(5), recompute=True),
    )


PARTS = [(7,), (1, 1, 1, 1, 1, 1, 1), (3, 1, 2, 1)]


def decoded(model: nn.Model, tokens: Any, parts: tuple[int, ...], length: int | None = None) -> Any:
    """The outputs for the parts, next to each other, and the last cache."""
    cache, ys, first = model.new_cache(tokens.shape[0], length), [], 0
    for count in parts:
        y, cache = model.decode(tokens[:, first : first + count], cache)
        ys.append(y)
        first += count
    return nn.namespace(tokens).concat(ys, axis=1), cache


@pytest.mark.parametrize("parts", PARTS)
def test_parts_give_the_outputs_of_the_whole(be: nn.Backend, parts: tuple[int, ...]) -> None:
    model = network().init((7,), seed=1, backend=be)
    tokens = be.asarray(TOKENS)
    y, cache = decoded(model, tokens, parts)
    nn.testing.assert_close(y, to_host(be, model(tokens)))
    assert (cache.position, cache.batch, cache.length) == (7, 2, 7)


def test_the_function_is_pure(be: nn.Backend) -> None:
    """Position and cache are arguments; with the position as an array it can be compiled once for all positions."""
    model = network().init((7,), seed=1, backend=be)
    tokens, cache = be.asarray(TOKENS), model.new_cache(2)
    tree, position = model.wiring.params.tree(model.theta), be.asarray(np.asarray(0, dtype=np.int32))
    want = to_host(be, model(tokens))
    layers = cache.layers
    for i in range(7):
        y, layers = decode(model.wiring, tree, model.state, tokens[:, i : i + 1], layers, position + i)
        nn.testing.assert_close(y, want[:, i : i + 1])


def test_a_cache_has_the_arrays_of_its_layers(be: nn.Backend) -> None:
    model = network().init((7,), seed=0, backend=be, dtype="float32")
    cache = model.new_cache(3)
    assert set(cache.layers) == {"1", "2", "4", "5"}  # the head of Auxiliary does not run
    assert set(cache.layers["2"]) == {"1", "shortcut"}
    total = cache.layers["2"]["shortcut"]["0"]["total"]
    assert (tuple(total.shape), total.dtype) == ((3, 4), be.dtype("float32"))
    assert not to_host(be, total).any()


def test_a_model_that_has_decoded_can_be_copied(be: nn.Backend) -> None:
    import copy
    import pickle

    model = nn.Network(nn.Embedding(9, 4), nn.Dense(9)).init((7,), backend=be)
    tokens = be.asarray(TOKENS)
    want = to_host(be, decoded(model, tokens, (3, 4))[0])
    for other in (copy.copy(model), pickle.loads(pickle.dumps(model))):
        nn.testing.assert_close(decoded(other, tokens, (3, 4))[0], want)


def test_more_positions_than_the_cache_has(host: nn.Backend) -> None:
    model = network().init((7,))
    _, cache = decoded(model, TOKENS, (3, 2), length=5)
    with pytest.raises(ValueError, match=r"room for 5 positions: it holds 5, and got 1 more.*new_cache\(batch, length"):
        model.decode(TOKENS[:, :1], cache)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (TOKENS[0], r"tokens must have shape \(batch, t, \.\.\.\).*got \(7,\).*tokens\[None, \.\.\.\]"),
        (TOKENS[:, :0], r"at least one position; got shape \(2, 0\)"),
        (TOKENS[:1], r"the cache is for 2 sequences; got 1 in tokens.*model\.new_cache\(1\)"),
        (TOKENS[:, :, None], r"expects \(batch, 7\)|the network expects"),
    ],
)
def test_tokens_that_do_not_fit(host: nn.Backend, tokens: Any, message: str) -> None:
    model = network().init((7,))
    with pytest.raises(ValueError, match=message):
        model.decode(tokens, model.new_cache(2))


def test_what_cannot_be_decoded_says_so(host: nn.Backend) -> None:
    pooled = nn.Network(nn.Embedding(9, 4), nn.Network(nn.Dense(3), nn.GlobalAvgPool())).init((7,))
    with pytest.raises(ValueError, match=r"Network 2 of 2: GlobalAvgPool 2 of 2: it needs all positions .* at once"):
        pooled.new_cache()
    with pytest.raises(ValueError, match=r"only a network of sequences.*examples of shape \(3,\)"):
        nn.Network(nn.Dense(2)).init((3,)).new_cache()
    with pytest.raises(TypeError, match=r"cache must be one of model\.new_cache\(batch\); got None"):
        network().init((7,)).decode(TOKENS, None)  # type: ignore[arg-type]


def test_several_inputs_are_decoded_together(be: nn.Backend) -> None:
    net = nn.Network(nn.Inputs({"a": nn.Embedding(9, 4), "b": nn.Network(Total(), nn.Dense(3))}), Total(), nn.Dense(2))
    model = net.init({"a": (7,), "b": (7, 2)}, backend=be)
    inputs = {"a": be.asarray(TOKENS), "b": be.asarray(np.random.default_rng(0).normal(size=(2, 7, 2)))}
    cache, ys = model.new_cache(2), []
    for part in (slice(0, 4), slice(4, 7)):
        y, cache = model.decode({name: x[:, part, ...] for name, x in inputs.items()}, cache)
        ys.append(y)
    nn.testing.assert_close(be.xp.concat(ys, axis=1), to_host(be, model(inputs)))
    with pytest.raises(ValueError, match="the same number of positions"):
        model.decode({"a": inputs["a"][:, :1], "b": inputs["b"][:, :2, ...]}, model.new_cache(2))


@pytest.mark.parametrize("kind", ["attention", "recurrent"])
def test_a_sequence_is_continued_in_several_ways(be: nn.Backend, kind: str) -> None:
    """Only with a copy: some libraries write the next positions into the arrays of the cache."""
    layer = nn.MultiHeadAttention(2, causal=True) if kind == "attention" else nn.GRU(8)
    model = nn.Network(nn.Embedding(9, 8), layer, nn.Dense(9)).init((5,), seed=0, backend=be)

    def further(tokens: list[int], cache: Any) -> Any:
        return model.decode(be.asarray([tokens]), cache)

    _, begun = further([1, 2, 3], model.new_cache())
    ends = [further([4], begun.copy())[1], further([5], begun)[1]]
    for second, cache in zip((4, 5), ends, strict=True):
        y, _ = further([6], cache)
        nn.testing.assert_close(y[:, 0, ...], to_host(be, model(be.asarray([[1, 2, 3, second, 6]])))[:, -1])
    for call in (lambda: further([7], begun), begun.copy):
        with pytest.raises(ValueError, match=r"of 3 positions, was consumed .*copy it before: .*cache\.copy\(\)"):
            call()


def test_a_call_that_fails_consumes_nothing(host: nn.Backend) -> None:
    model = network().init((7,))
    cache = model.new_cache(2)
    for wrong in (TOKENS[:1], np.concat([TOKENS, TOKENS], axis=1)):
        with pytest.raises(ValueError, match="the cache"):
            model.decode(wrong, cache)
    assert model.decode(TOKENS, cache)[1].position == 7


def test_what_is_compiled_consumes_nothing() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")
    model = nn.Network(nn.Embedding(9, 8), nn.MultiHeadAttention(2, causal=True), nn.Dense(9)).init((5,), backend=be)
    cache = model.new_cache()
    further = jax.jit(lambda tokens: model.decode(tokens, cache)[0])
    for tokens in ([[1, 2]], [[1, 2, 3]], [[4, 5]]):  # compiled once for each length
        nn.testing.assert_close(
            further(be.asarray(tokens))[0, -1], to_host(be, model.decode(be.asarray(tokens), cache.copy())[0])[0, -1]
        )


# --- What is in a cache ----------------------------------------------------------------------------------------------


def reader(be: nn.Backend) -> nn.Model:
    return nn.Network(nn.LSTM(4), nn.Dense(1)).init((5, 3), seed=0, backend=be, dtype="float32")


def test_states_of_other_names_shapes_or_dtypes_are_refused(be: nn.Backend) -> None:
    """A layer that finds no state would begin with zeros."""
    model, X = reader(be), be.asarray(np.ones((2, 5, 3)), dtype="float32")
    h = be.asarray(np.random.default_rng(0).normal(size=(2, 1, 4)), dtype="float32")
    other = be.asarray(np.ones((2, 1, 4)), dtype="float16" if be.name == "numpy" else "int32")

    def begun(layers: Any) -> Any:
        return to_host(be, model.decode(X, model.new_cache(2)._replace(layers=layers))[0])

    right = {"hidden": h, "cell": h}
    assert not np.allclose(begun({"0": right, "1": {}}), begun(model.new_cache(2).layers))
    for layers, error, message in (
        ({"0": {"h": h, "c": h}}, ValueError, r"layers\['0'\] of the cache has 'h', 'c', where .* 'hidden', 'cell'"),
        ({"0": {"hidden": h}}, ValueError, r"layers\['0'\] of the cache has 'hidden', where"),
        (
            {"lstm": right},
            ValueError,
            r"layers of the cache has 'lstm', where the network has '0'\. .*new_cache\(2, 5\)",
        ),
        ({}, ValueError, r"layers of the cache has nothing, where"),
        ({"0": h}, TypeError, r"layers\['0'\] of the cache must be a dict with 'hidden', 'cell'"),
        (right | {"0": right}, ValueError, r"layers of the cache has 'hidden', 'cell', '0'"),
        ({"0": {"hidden": h, "cell": h[:1, ...]}}, ValueError, r"\['cell'\] of the cache has shape \(1, 1, 4\), where"),
        (
            {"0": {"hidden": other, "cell": h}},
            TypeError,
            r"\['hidden'\] of the cache is .*, where the network has float32",
        ),
        ({"0": {"hidden": [1.0], "cell": h}}, TypeError, r"\['hidden'\] of the cache must be an array; got \[1\.0\]"),
    ):
        with pytest.raises(error, match=message):
            begun(layers)
    changed = model.new_cache(2)
    changed.layers["0"] = {"h": h, "c": h}
    with pytest.raises(ValueError, match="of the cache has 'h', 'c', where"):
        model.decode(X, changed)


def test_the_cache_of_another_network_is_refused(be: nn.Backend) -> None:
    model, tokens = reader(be), be.asarray([[1], [2]])
    attention = nn.Network(nn.Embedding(5, 4), nn.MultiHeadAttention(2, causal=True), nn.Dense(5))
    other = attention.init((5,), seed=0, backend=be, dtype="float32")
    with pytest.raises(ValueError, match=r"has '0', where the network has '1'"):
        other.decode(tokens, model.new_cache(2))
    wider = nn.Network(nn.Embedding(5, 8), nn.MultiHeadAttention(2, causal=True), nn.Dense(5))
    with pytest.raises(ValueError, match=r"\['keys'\] of the cache has shape \(2, 2, 5, 4\), where .* \(2, 2, 5, 2\)"):
        other.decode(tokens, wider.init((5,), seed=0, backend=be, dtype="float32").new_cache(2))


def test_a_cache_of_another_library_is_refused(host: nn.Backend) -> None:
    model = reader(nn.backend("strict"))
    with pytest.raises(TypeError, match=r"of the cache is an array of numpy .* and theta one of strict"):
        model.decode(nn.backend("strict").asarray(np.ones((2, 1, 3)), dtype="float32"), reader(host).new_cache(2))


def test_copies_of_a_cache_fit(host: nn.Backend) -> None:
    model, X = reader(host), np.ones((2, 1, 3), dtype="float32")
    _, cache = model.decode(X, model.new_cache(2))
    want = model.decode(X, cache.copy())[0]
    for other in (pickle.loads(pickle.dumps(cache)), copy.deepcopy(cache), cache.copy()):
        assert np.array_equal(model.decode(X, other)[0], want)
