"""Plans of decoding: a token by one call gives what the layers give, and the plan follows what changes."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.kernels import threads
from nnarray.recording.trees import mapped
from tests.tolerances import to_host

LENGTH, COUNT = 24, 60
TOKENS = np.random.default_rng(0).integers(0, COUNT, (2, LENGTH))

NETWORKS: dict[str, dict[str, Any]] = {
    "gpt-2": {"activation": "gelu_tanh"},
    "llama": {
        "norm": "rms",
        "rotary": 10_000.0,
        "kv_heads": 2,
        "activation": "swiglu",
        "bias": False,
        "tied": False,
    },
    "post": {"order": "post", "activation": "relu", "dropout": 0.1},
    "parallel": {"order": "parallel", "kv_heads": 1},
}


def model_of(be: Any, engine: str = "auto", dtype: str = "float32", **settings: Any) -> nn.Model:
    """A small language model whose parameters are all in use: biases and shifts begin with 0 otherwise."""
    model = nn.models.gpt(COUNT, 32, 2, 4, **settings).init((LENGTH,), seed=1, backend=be, dtype=dtype)
    added = np.random.default_rng(1).normal(0, 0.05, model.theta.shape)
    model.theta = be.asarray(to_host(be, model.theta) + added, dtype=dtype)
    model.engine = engine
    return model


def decoded(model: Any, tokens: Any, first: int = 5, cache: Any = None) -> tuple[Any, Any]:
    """The outputs of a prompt of `first` tokens, and then of one token at a time; and the cache."""
    cache = model.new_cache(tokens.shape[0]) if cache is None else cache
    y, cache = model.decode(tokens[:, :first], cache)
    ys = [y]
    for i in range(first, tokens.shape[1]):
        y, cache = model.decode(tokens[:, i : i + 1], cache)
        ys.append(y)
    return nn.namespace(tokens).concat(ys, axis=1), cache


@pytest.fixture(params=["numpy", "torch"])
def planned(request: Any) -> nn.Backend:
    """The libraries with plans."""
    if request.param == "torch":
        pytest.importorskip("torch")
    return nn.backend(request.param)


@pytest.fixture(params=["numba", "numpy"])
def engine(request: Any) -> str:
    """Numba's loops, and NumPy's calls alone."""
    if request.param == "numba":
        pytest.importorskip("numba")
    return request.param


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS)
def test_a_token_at_a_time_is_the_whole(be: nn.Backend, settings: dict[str, Any]) -> None:
    model, tokens = model_of(be, **settings), be.asarray(TOKENS)
    y, cache = decoded(model, tokens)
    assert cache.position == LENGTH
    nn.testing.assert_close(y, to_host(be, model(tokens)), c=200)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_plan_computes_them(
    planned: nn.Backend, engine: str, settings: dict[str, Any], batch: int, dtype: str
) -> None:
    model, tokens = model_of(planned, engine, dtype, **settings), planned.asarray(TOKENS[:batch])
    layers = model_of(planned, "layers", dtype, **settings)
    (y, cache), (want, plain) = decoded(model, tokens), decoded(layers, tokens)
    assert cache.decoder.plan is not None
    assert plain.decoder.plan is None
    nn.testing.assert_close(y, to_host(planned, want), c=200)


@pytest.mark.parametrize("settings", [NETWORKS["gpt-2"], NETWORKS["llama"]], ids=["gpt-2", "llama"])
def test_the_text_is_that_of_the_layers(planned: nn.Backend, engine: str, settings: dict[str, Any]) -> None:
    """Beyond the length of the model too, where another token becomes the first one."""
    model, prompt, texts = model_of(planned, **settings), planned.asarray(TOKENS[0, :18]), list[list[int]]()
    for each in (engine, "layers"):
        model.engine = each
        texts.append(model.generate(prompt, max_tokens=10).tolist())
    assert texts[0] == texts[1]


def test_other_layers(planned: nn.Backend, engine: str) -> None:
    """Sines of the position, a shortcut, branches that are added, a function by itself, layers in layers."""
    inner = nn.Network(nn.MultiHeadAttention(4, causal=True, bias=False), nn.Dropout(0.1))
    model = nn.Network(
        nn.Embedding(COUNT, 16),
        nn.SinusoidalPositions(),
        nn.Residual(inner, nn.Dense(24), shortcut=nn.Dense(24, "tanh"), activation="relu"),
        nn.Branches(nn.Dense(20), nn.Network(nn.Dense(7), nn.Activation("silu"), nn.Dense(20)), join="add"),
        nn.Dense(COUNT),
    ).init((LENGTH,), seed=2, backend=planned, dtype="float32", engine=engine)
    tokens = planned.asarray(TOKENS)
    y, cache = decoded(model, tokens)
    assert cache.decoder.plan is not None
    nn.testing.assert_close(y, to_host(planned, model(tokens)), c=200)


class Own(nn.Dense):
    """A derived class may compute something else."""

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        return nn.Out(2.0 * super().forward(params, x, ctx).y)


@pytest.mark.parametrize(
    ("layers", "dtype"),
    [
        ([Own(8)], "float32"),
        ([nn.LSTM(8)], "float32"),
        ([nn.Branches(nn.Dense(4), nn.Dense(5))], "float32"),
        ([nn.Dense(8)], "float16"),
    ],
    ids=["derived", "lstm", "concatenated", "float16"],
)
def test_the_layers_compute_what_no_plan_knows(host: nn.Backend, layers: Any, dtype: str) -> None:
    model = nn.Network(nn.Embedding(COUNT, 8), *layers, nn.Dense(COUNT)).init((LENGTH,), seed=0, dtype=dtype)
    y, cache = decoded(model, TOKENS)
    assert cache.decoder.plan is None
    nn.testing.assert_close(y, model(TOKENS), c=200)


def test_padding_and_many_sequences_are_for_the_layers(host: nn.Backend) -> None:
    padded = nn.Network(
        nn.Embedding(COUNT, 8, padding_index=0), nn.MultiHeadAttention(2, causal=True), nn.Dense(COUNT)
    ).init((LENGTH,), seed=0, dtype="float32")
    tokens = TOKENS.copy()
    tokens[0, :7] = 0
    y, cache = decoded(padded, tokens)
    assert cache.decoder.plan is None
    cache, ys = padded.new_cache(2), []
    for i in range(LENGTH):
        y_i, cache = padded.decode(tokens[:, i : i + 1], cache)
        ys.append(y_i)
    nn.testing.assert_close(np.concatenate(ys, axis=1), y, c=200)
    model, many = model_of(host), np.repeat(TOKENS, 20, axis=0)
    y, cache = decoded(model, many)
    nn.testing.assert_close(y, model(many), c=200)


def test_a_copy_goes_its_own_way(planned: nn.Backend, engine: str) -> None:
    model, tokens = model_of(planned, engine), planned.asarray(TOKENS)
    _, cache = decoded(model, tokens[:, :10])
    copies = [cache.copy(), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache)), cache]
    for i, each in enumerate(copies):  # the others are continued differently, and do not see it
        other = planned.asarray(np.roll(TOKENS[:, 10:], i, axis=1))
        y, _ = decoded(model, other, 1, each)
        whole = planned.asarray(np.concatenate([TOKENS[:, :10], np.roll(TOKENS[:, 10:], i, axis=1)], axis=1))
        nn.testing.assert_close(y, to_host(planned, model(whole))[:, 10:], c=200)


def test_a_prompt_may_follow_tokens(planned: nn.Backend, engine: str) -> None:
    model, tokens = model_of(planned, engine, **NETWORKS["llama"]), planned.asarray(TOKENS)
    cache, ys = model.new_cache(2), []
    for part in (slice(0, 1), slice(1, 2), slice(2, 8), slice(8, 9), slice(9, 20), slice(20, 21)):
        y, cache = model.decode(tokens[:, part], cache)
        ys.append(y)
    y = nn.namespace(tokens).concat(ys, axis=1)
    nn.testing.assert_close(y, to_host(planned, model(tokens))[:, :21], c=200)


def test_parameters_may_change_between_tokens(planned: nn.Backend, engine: str) -> None:
    model, tokens = model_of(planned, engine), planned.asarray(TOKENS)

    def newest(cache: Any) -> Any:
        return model.decode(tokens[:, 8:9], cache)[0]

    for change in (
        lambda: setattr(model, "theta", 1.5 * model.theta),
        lambda: model.set_params({"tied.tokens.weight": 0.5 * model.params["tied.tokens.weight"]}),
        lambda: model.fit(tokens, tokens, epochs=1, progress=False),
    ):
        _, cache = decoded(model, tokens[:, :8])
        kept = cache.copy()
        change()
        got = newest(cache)
        model.engine = "layers"
        want, model.engine = newest(kept), engine
        nn.testing.assert_close(got, to_host(planned, want), c=200)


def test_arrays_of_a_cache_may_be_replaced(planned: nn.Backend, engine: str) -> None:
    """As in a search of beams, which goes on from one of the sequences."""
    model, tokens = model_of(planned, engine), planned.asarray(TOKENS)
    _, cache = decoded(model, tokens[:, :8])

    def first_twice(tree: Any) -> None:
        for name, each in tree.items():
            if isinstance(each, dict):
                first_twice(each)
            else:
                tree[name] = nn.namespace(each).concat([each[:1, ...], each[:1, ...]])

    first_twice(cache.layers)
    y, _ = model.decode(planned.asarray(TOKENS[[0, 0], 8:9]), cache)
    want = to_host(planned, model(tokens[:1]))[:, 8:9]
    nn.testing.assert_close(y, np.concatenate([want, want]), c=200)


def test_outputs_are_not_written_again(planned: nn.Backend, engine: str) -> None:
    model, tokens = model_of(planned, engine), planned.asarray(TOKENS)
    _, cache = decoded(model, tokens[:, :8])
    first, cache = model.decode(tokens[:, 8:9], cache)
    before = to_host(planned, first).copy()
    model.decode(tokens[:, 9:10], cache)
    np.testing.assert_array_equal(to_host(planned, first), before)


def test_tokens_without_a_vector(planned: nn.Backend, engine: str) -> None:
    model = model_of(planned, engine)
    y, _ = model.decode(planned.asarray([[3], [COUNT]]), model.new_cache(2))
    bad = np.isnan(to_host(planned, y)).all(axis=2)[:, 0]
    assert bad.tolist() == [False, True]


def test_the_bits_do_not_depend_on_the_threads(planned: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.models.gpt(500, 256, 2, 4)
    model = network.init((LENGTH,), seed=0, backend=planned, dtype="float32")
    tokens, found = planned.asarray(TOKENS[:1]), []
    for count in (1, 2, 3, 5):
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        threads._team.cache_clear()
        found.append(to_host(planned, decoded(model, tokens)[0])[:, 5:])
    threads._team.cache_clear()
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_no_plan_writes_into_what_cannot_be_written(engine: str) -> None:
    model = model_of(nn.backend("numpy"), engine)
    _, cache = model.decode(TOKENS[:, :3], model.new_cache(2))
    kept: list[tuple[bytes, np.ndarray]] = []

    def of_bytes(x: np.ndarray) -> np.ndarray:
        kept.append((x.tobytes(), x.copy()))
        return np.frombuffer(kept[-1][0], x.dtype).reshape(x.shape)

    with pytest.raises(ValueError, match="read-only"):
        model.decode(TOKENS[:, 3:4], cache._replace(layers=mapped(of_bytes, cache.layers)))
    assert all(memory == x.tobytes() for memory, x in kept)


@pytest.mark.parametrize("engine", ["numpy", "numba", "layers"])
def test_sequences_that_share_memory_are_not_mixed(engine: str) -> None:
    torch = pytest.importorskip("torch")
    model = model_of(nn.backend("torch"), engine)
    _, cache = model.decode(torch.asarray(TOKENS[:1, :3]), model.new_cache(1))
    shared = cache._replace(layers=mapped(lambda x: x.expand(2, *x.shape[1:]), cache.layers), batch=2)
    with pytest.raises(RuntimeError, match="single memory location"):
        model.decode(torch.asarray(TOKENS[:, 3:4]), shared)


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_squares_of_large_numbers_do_not_overflow(engine: str, norm: str) -> None:
    model = model_of(nn.backend("numpy"), engine, norm=norm)
    params = model.params
    name = next(name for name, each in params.items() if each.shape == (COUNT, 32))
    model.set_params({name: params[name] * np.float32(1e21)})
    got, _ = decoded(model, TOKENS[:, :6], first=1)
    model.engine = "layers"
    want, _ = decoded(model, TOKENS[:, :6], first=1)
    assert np.isfinite(want).all()
    assert np.abs(want).max() > 0
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


def test_an_interrupted_token_leaves_no_thread_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = pytest.importorskip("nnarray.kernels.numba.decoding", reason="Numba is not installed")
    others = list[threading.Thread]()

    def interrupted(work: Any, most: int) -> None:
        others.append(threading.Thread(target=work, args=(1, 2)))
        others[0].start()
        raise KeyboardInterrupt

    model = model_of(nn.backend("numpy"), "numba")
    _, cache = decoded(model, TOKENS[:, :8])
    monkeypatch.setattr(loops, "together", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.decode(TOKENS[:, 8:9], cache)
    others[0].join(60)
    assert not others[0].is_alive()
    with pytest.raises(ValueError, match="was consumed"):
        model.decode(TOKENS[:, 8:9], cache)
