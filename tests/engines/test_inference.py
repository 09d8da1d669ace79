"""Inference prepared once, and the convolutions that it runs on, against the definitions."""

from __future__ import annotations

import copy
import os
import pickle
import platform
import time
from collections.abc import Callable

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels, losses
from nnarray.functional.propagation import forward
from nnarray.kernels import compilation, threads
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.numpy import images as pictures
from nnarray.kernels.standard.windows import Window
from tests.tolerances import close

RNG = np.random.default_rng(0)
# Winograd's tiles add and take away numbers that are larger than their results: measured up to 60 eps of the largest.
TILES = 400.0


@pytest.fixture(params=["numba", "numpy"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the compiled loops, where Numba is installed, and without."""
    if request.param == "numba":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(compilation, "_imported", lambda part: None)
    return request.param


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


# --- Convolutions ----------------------------------------------------------------------------------------------------

# pictures, height, width, channels, filters, window
SHAPES = {
    "a tile": (1, 4, 4, 64, 64, Window((3, 3), padding=((1, 1), (1, 1)))),
    "tiles cut off": (2, 15, 22, 64, 72, Window((3, 3), padding=((1, 1), (1, 1)))),
    "many pictures": (9, 6, 5, 65, 130, Window((3, 3))),
    "few channels": (3, 30, 17, 9, 7, Window((3, 3), padding=((0, 2), (2, 1)))),
    "one channel": (2, 30, 17, 1, 33, Window((3, 3))),
    "small": (1, 3, 3, 8, 1, Window((3, 3))),
    "strides": (2, 23, 18, 3, 40, Window((7, 5), (2, 3), ((3, 3), (2, 0)))),
    "pointwise": (3, 7, 5, 100, 17, Window((1, 1))),
    "pointwise, padded": (1, 7, 5, 4, 17, Window((1, 1), padding=((1, 0), (0, 2)))),
    "many filters, few places": (1, 3, 2, 70, 150, Window((3, 3), padding=((1, 1), (1, 1)))),
    "wide": (1, 1, 90, 5, 20, Window((1, 9), padding=((0, 0), (4, 4)))),
    "many blocks": (5, 40, 33, 16, 20, Window((3, 3), padding=((2, 1), (0, 2)))),
    "even": (2, 9, 8, 6, 5, Window((2, 4), padding=((1, 0), (1, 3)))),
    "padded by more than the window": (1, 5, 6, 3, 4, Window((2, 3), padding=((2, 3), (4, 3)))),
    "dilated": (1, 20, 20, 16, 16, Window((3, 3), dilation=(2, 2))),
}


@pytest.mark.parametrize("name", SHAPES)
def test_convolution_is_its_definition(fast: str, name: str) -> None:
    n, height, width, channels, filters, window = SHAPES[name]
    x, w, b = numbers(n, height, width, channels), numbers(3, 3, channels, filters), numbers(filters)
    w = numbers(*window.size, channels, filters) / np.float32(np.sqrt(channels))
    want = kernels.convolution.definition(*(a.astype(float) for a in (x, w, b)), window=window)
    close(kernels.convolution(x, w, b, window=window), want, "float32", c=TILES)
    dy = numbers(*want.shape)
    gradients = kernels.convolution_pullback.definition(*(a.astype(float) for a in (dy, x, w)), window=window)
    for got, wanted in zip(kernels.convolution_pullback(dy, x, w, window=window), gradients, strict=True):
        scale = np.float32(np.abs(wanted).max())
        close(got / scale, wanted / scale, "float32", c=TILES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_not_finite_stays_where_it_belongs(fast: str, bad: float) -> None:
    """A tile would spread it over its neighbours."""
    window = Window((3, 3), padding=((1, 1), (1, 1)))
    x, w, b = numbers(2, 24, 24, 64), numbers(3, 3, 64, 64), numbers(64)
    x[0, 9, 11, 5] = bad
    with np.errstate(all="ignore"):
        want = kernels.convolution.definition(x, w, b, window=window)
        got = kernels.convolution(x, w, b, window=window)
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        gradients = kernels.convolution_pullback.definition(got * 0 + 1, x, w, window=window)
        for gradient, wanted in zip(
            kernels.convolution_pullback(got * 0 + 1, x, w, window=window), gradients, strict=True
        ):
            np.testing.assert_array_equal(np.isfinite(gradient), np.isfinite(wanted))


def test_any_memory_is_read(fast: str) -> None:
    """Read-only, turned, with gaps, backwards and not aligned."""
    window = Window((3, 3), padding=((1, 1), (1, 1)))
    x, w, b = numbers(2, 12, 12, 64), numbers(3, 3, 64, 64), numbers(64)
    want, fixed = kernels.convolution(x, w, b, window=window), x.copy()
    fixed.flags.writeable = False
    bytes_ = np.zeros(x.nbytes + 1, dtype=np.uint8)
    shifted = bytes_[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    gaps = np.zeros((2, 12, 12, 128), np.float32)
    gaps[..., ::2] = x
    turned = np.ascontiguousarray(x.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)
    for same in (fixed, shifted, gaps[..., ::2], turned, x[::-1].copy()[::-1]):
        np.testing.assert_allclose(kernels.convolution(same, w, b, window=window), want, rtol=1e-4, atol=1e-4)
        pooled = kernels.max_pool(same, window=window)
        np.testing.assert_array_equal(pooled, kernels.max_pool.definition(x, window=window))


@pytest.mark.parametrize("shape", [(1000, 3), (7000, 16), (3, 9), (2, 300, 2, 33), (5, 20_000)])
def test_rows_of_channels(fast: str, shape: tuple[int, ...]) -> None:
    """Batch normalisation, its pullback, and scale and shift."""
    x, dy = 3.0 * numbers(*shape) + 5.0, numbers(*shape)
    w, b = numbers(shape[-1]), numbers(shape[-1])
    axes = tuple(range(len(shape) - 1))
    want = kernels.normalise.definition(x.astype(float), axes=axes, epsilon=1e-5)
    got = kernels.normalise(x, axes=axes, epsilon=1e-5)
    for g, wanted in zip(got, want, strict=True):
        close(g, wanted, "float32", c=100)
    z, inverse = (each.astype(np.float32) for each in want[:2])
    for g, wanted in zip(
        kernels.batch_norm_pullback(dy, z, w, inverse),
        kernels.batch_norm_pullback.definition(*(a.astype(float) for a in (dy, z, w, inverse))),
        strict=True,
    ):
        close(g, wanted, "float32", c=500)
    close(kernels.scale_and_shift(z, w, b), z.astype(float) * w + b, "float32")


def test_variance_far_from_zero(fast: str) -> None:
    """Numbers whose mean is 1,000 times their deviation, and a first row that is far from the others."""
    x = numbers(3000, 7) + 1e3
    x[0] = -1e4
    want = kernels.normalise.definition(x.astype(float), axes=(0,), epsilon=1e-5)
    for got, wanted in zip(kernels.normalise(x, axes=(0,), epsilon=1e-5), want, strict=True):
        close(got, wanted, "float32", c=300)


@pytest.mark.parametrize("size", [10, 300_001])
def test_relu_of_few_and_many(fast: str, size: int) -> None:
    x, dy = numbers(size), numbers(size)
    x[:4], dy[:4] = (np.nan, np.inf, -np.inf, 0.0), (1.0, np.inf, np.nan, np.nan)
    y = kernels.relu(x)
    np.testing.assert_array_equal(y, kernels.relu.definition(x))
    np.testing.assert_array_equal(kernels.relu_pullback(dy, x, y), kernels.relu_pullback.definition(dy, x, y))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 70, 999), (90_001, 1), (1, 8193 * 9)])
def test_losses_of_many_entries(fast: str, shape: tuple[int, ...], dtype: str) -> None:
    """As the definition, on each example; what is not finite stays in its own."""
    outputs, target = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype)
    for loss in (losses.MeanSquaredError(), losses.Huber(0.7)):
        want = kernels.mean_of_entries.definition(outputs.astype(float), target.astype(float), loss.entry)
        for got, wanted in zip(kernels.mean_of_entries(outputs, target, loss.entry), want, strict=True):
            assert got.dtype == dtype
            close(got, wanted, dtype, c=100)
    outputs[0, -1] = np.inf
    with np.errstate(all="ignore"):
        found, gradient = kernels.mean_of_entries(outputs, target, losses.MeanSquaredError().entry)
    assert not np.isfinite(found[0])
    assert np.isfinite(found[1:]).all()
    assert np.isfinite(gradient[1:]).all()


def test_a_loss_that_is_not_elementwise_says_so_of_many_entries(fast: str) -> None:
    with pytest.raises(TypeError, match="must return two arrays of the outputs' shape"):
        kernels.mean_of_entries(
            numbers(2, 90_000), numbers(2, 90_000), lambda outputs, target: (outputs - target)[0, :]
        )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_stays_with_the_process() -> None:
    resource = pytest.importorskip("resource")
    before = 0
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(2**20) for _ in range(3)]
        del arrays
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2**22 // 4096


@pytest.mark.parametrize("name", ["relu", "identity", "tanh", "silu"])
def test_convolution_with_its_function(fast: str, name: str) -> None:
    function, window = FUNCTIONS[name], Window((3, 3), padding=((1, 1), (1, 1)))
    inputs = numbers(2, 9, 9, 16), numbers(3, 3, 16, 32), numbers(32)
    z, y = kernels.activated_convolution(*inputs, function=function, window=window)
    wide = kernels.activated_convolution.definition(
        *(a.astype(float) for a in inputs), function=function, window=window
    )
    assert (z is None) == (wide[0] is None)
    close(y, wide[1], "float32", c=TILES)


@pytest.mark.parametrize("channels", [1, 7, 8, 20, 32, 45])
@pytest.mark.parametrize(
    "window", [Window((3, 3), (2, 2), ((0, 1), (1, 2))), Window((2, 3), (1, 1)), Window((1, 1)), Window((2, 2), (2, 3))]
)
def test_max_pool_is_its_definition(fast: str, channels: int, window: Window) -> None:
    x = numbers(2, 11, 9, channels)
    x[0, 3, 4, 0], x[1, 0, 0, -1], x[1, 5, 5, 0] = np.nan, np.inf, -np.inf
    y = kernels.max_pool(x, window=window)
    np.testing.assert_array_equal(y, kernels.max_pool.definition(x, window=window))
    dy = numbers(*y.shape)
    got, want = (f(dy, x, y, window=window) for f in (kernels.max_pool_pullback, kernels.max_pool_pullback.definition))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_threads_share_the_work(fast: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One, two or five: the same to the last bit, for each output is computed by one of them."""
    found = []
    x, w = numbers(5, 20, 20, 64), numbers(3, 3, 64, 64)
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        threads._team.cache_clear()
        found.append(kernels.convolution(x, w, None, window=Window((3, 3))))
    threads._team.cache_clear()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("where", [0, 5])
def test_an_error_in_a_thread_is_reported(fast: str, monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    """In the calling one and in the other; both go on working."""
    monkeypatch.setattr(threads, "_threads", lambda: 2)
    threads._team.cache_clear()

    def work(start: int, stop: int) -> None:
        if start == where:
            raise MemoryError("full")

    done: list[int] = []
    for _ in range(3):
        with pytest.raises(MemoryError, match="full"):
            threads.shared(work, 10, 1)
    threads.shared(lambda start, stop: done.append(stop - start), 10, 1)
    assert done == [5, 5]
    threads._team.cache_clear()


def test_helpers_sleep_and_wake(fast: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called at once, and after the moment for which they stay awake."""
    monkeypatch.setattr(threads, "_threads", lambda: 3)
    threads._team.cache_clear()
    for pause in (0.0, 0.0, 0.02, 0.0, 0.02):
        time.sleep(pause)
        done: list[int] = []
        threads.shared(lambda start, stop, done=done: done.extend(range(start, stop)), 100, 1)
        assert sorted(done) == list(range(100))
    threads._team.cache_clear()


# --- Models ----------------------------------------------------------------------------------------------------------

NETWORKS = {
    "dense": (nn.Network(nn.Dense(5, "tanh"), nn.Dropout(0.5), nn.Dense(4, "relu"), nn.Dense(3, "softmax")), (2,)),
    "dense, higher": (nn.Network(nn.Dense(5, "gelu"), nn.Flatten(), nn.Dense(3), nn.Activation("relu")), (4, 2)),
    "lenet": (nn.models.lenet5(), (28, 28, 1)),
    "residual": (
        nn.Network(
            nn.Conv2D(8, 3, padding=1, bias=False),
            nn.BatchNorm(),
            nn.Activation("tanh"),
            nn.Residual(nn.Conv2D(8, 3, padding=1), nn.BatchNorm(), activation="relu"),
            nn.Residual(nn.Conv2D(6, 1), shortcut=nn.Network(nn.Conv2D(6, 1), nn.BatchNorm())),
            nn.Residual(nn.Dropout(0.5)),
            nn.Conv2D(4, 3, groups=2, activation="silu"),
            nn.GlobalAvgPool(),
        ),
        (9, 11, 3),
    ),
    "branches": (
        nn.Network(
            nn.Branches(
                nn.Conv2D(5, 3, padding=1, activation="relu"),
                nn.Network(nn.MaxPool2D(3, 1, 1), nn.Conv2D(3, 1, activation="tanh")),
                nn.MaxPool2D(3, 1, 1),
                nn.Network(nn.Dropout(0.1)),
                nn.Branches(nn.Conv2D(2, 1), nn.Conv2D(2, 1), join="add"),
                nn.Network(nn.Conv2D(9, 5, padding=2), nn.BatchNorm(), nn.Activation("leaky_relu")),
            ),
            nn.Auxiliary(nn.Flatten(), nn.Dense(2)),
            nn.Flatten(),
            nn.Dense(2),
        ),
        (8, 9, 11),
    ),
}


def of_layers(model: nn.Model, X: np.ndarray) -> np.ndarray:
    """What the layers themselves give."""
    return forward(model.wiring, model.wiring.params.tree(model.theta), model.state, X)


def made(name: str, dtype: str) -> tuple[nn.Model, np.ndarray]:
    network, shape = NETWORKS[name]
    model = network.init(shape, backend="numpy", dtype=dtype)
    model.state = (model.state + 0.2 * RNG.random(model.state.shape)).astype(dtype)
    return model, numbers(3, *shape, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_prepared_gives_what_the_layers_give(fast: str, name: str, dtype: str) -> None:
    model, X = made(name, dtype)
    X.flags.writeable = False
    want = of_layers(model, X).astype(float)
    for _ in range(3):
        close(model(X), want, dtype, c=TILES)
    assert model._prepared.stage("auto") is not None
    close(model(X[:0]), want[:0], dtype)
    close(model(X[1:2]), want[1:2], dtype, c=TILES)


@pytest.mark.parametrize("name", NETWORKS)
def test_changed_parameters_are_never_missed(fast: str, name: str) -> None:
    model, X = made(name, "float64")
    model(X)
    model(X)
    changes = {
        "theta": lambda: setattr(model, "theta", model.theta * 0.9),
        "set_params": lambda: model.set_params({next(iter(model.params)): next(iter(model.params.values())) + 0.1}),
        "restore": lambda: model.restore((model.theta * 1.2, model.state * 1.1)),
        "state": lambda: setattr(model, "state", model.state * 1.3),
    }
    for what, change in changes.items():
        change()
        for _ in range(3):
            got, want = model(X), of_layers(model, X)
            assert np.abs(got - want).max() < 1e-9 * np.abs(want).max(), what


@pytest.mark.parametrize("name", NETWORKS)
def test_nobody_writes_into_the_numbers_of_a_model(fast: str, name: str) -> None:
    """Not into what it gives out, and not through the arrays that it was given."""
    model, X = made(name, "float64")
    mine, still = model.theta.copy(), model.state.copy()
    model.theta, model.state = mine, still
    other = model.with_theta(mine, still)
    want = model(X)
    mine[:], still[:] = 7.0, 7.0
    for each in (model, other, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(each(X), want)
        for vector in (each.theta, each.state, *each.params.values()):
            assert not vector.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        model.theta[0] = 1.0


def test_a_layer_of_ones_own_computes_itself(fast: str) -> None:
    class Doubled(nn.Dense):
        def forward(self, params, x, ctx):
            out = super().forward(params, x, ctx)
            return out._replace(y=2.0 * out.y)

    class Twice(nn.Network):
        def propagate(self, params, x, ctx):
            return super().propagate(params, super().propagate(params, x, ctx).y, ctx)

    model = nn.Network(Doubled(2, "relu"), Twice(nn.Dense(2), nn.Activation("relu"))).init((2,), backend="numpy")
    X = numbers(4, 2, dtype="float64")
    for _ in range(3):
        close(model(X), of_layers(model, X), "float64")


def test_outputs_are_never_shared(fast: str) -> None:
    """Nor is the input written to: what one call gives, the next does not change."""
    for name in NETWORKS:
        model, X = made(name, "float32")
        before = X.copy()
        model(X), model(X)
        first = model(X)
        kept = first.copy()
        model(X + 1)
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_array_equal(X, before)


def test_threads_may_call_one_model(fast: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model, X = made("branches", "float32")
    model(X), model(X)
    each = [numbers(2, *X.shape[1:]) for _ in range(16)]
    want = [model(x) for x in each]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(model, each), want, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnarray.kernels.numpy import winograd

    window = Window((3, 3), padding=((1, 1), (1, 1)))
    x, w = numbers(2, 21, 13, 64), numbers(3, 3, 64, 64)
    y = np.empty((2, 21, 13, 64), np.float32)
    found = []
    for entries in (1, 40_000, 10**9):
        monkeypatch.setattr(winograd, "ENTRIES", entries)
        assert winograd.convolution(x, winograd.transformed(w), window, y)
        found.append(y.copy())
    scale = np.abs(found[2]).max()  # sums of 576 products, which may cancel
    for got in found[:2]:
        close(got / scale, found[2] / scale, "float32", c=TILES)
    assert pictures.is_tiled(x, y, window, 1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_a_model_that_has_predicted(name: str, copied: Callable[[nn.Model], nn.Model]) -> None:
    model, X = made(name, "float64")
    want = model(X)
    other = copied(model)
    np.testing.assert_array_equal(other(X), want)
    other.theta = other.theta * 1.21
    close(other(X), of_layers(other, X), "float64", c=TILES)
    np.testing.assert_array_equal(model(X), want)


class Loud(nn.BatchNorm):
    def forward(self, params, x, ctx):
        out = super().forward(params, x, ctx)
        return out._replace(y=3.0 * out.y)


class LoudDense(nn.Dense):
    family = "dense"  # for figures; what is computed is another thing

    def forward(self, params, x, ctx):
        out = super().forward(params, x, ctx)
        return out._replace(y=3.0 * out.y)


class Backwards(nn.Row):
    def propagate(self, params, x, ctx):
        for name, layer in reversed(list(zip(self.names, self.layers, strict=True))):
            x = layer.forward(params.get(name, {}), x, ctx.child(name)).y
        return nn.Out(x, lambda dy: (dy, {}))


@pytest.mark.parametrize(
    "layers", [(nn.Dense(2), Loud()), (LoudDense(2), nn.BatchNorm()), (Backwards(nn.Dense(2), nn.BatchNorm()),)]
)
def test_layers_derived_from_those_that_fold_do_not(fast: str, layers: tuple[nn.Layer, ...]) -> None:
    model, X = nn.Network(*layers).init((2,), backend="numpy"), numbers(5, 2, dtype="float64")
    model.state = model.state + RNG.random(model.state.shape)
    want = of_layers(model, X)
    close(model(X), want, "float64")
    close(model.fold()(X), want, "float64")


def test_a_shallow_copy_has_parameters_of_its_own() -> None:
    model, X = made("residual", "float64")
    model.set_params({})
    want = model(X)
    other = copy.copy(model)
    other.theta = 0.0 * other.theta
    np.testing.assert_array_equal(model(X), want)
    close(model(X), of_layers(model, X), "float64", c=TILES)


@pytest.mark.parametrize("where", ["begin", "work", "end"])
def test_an_interrupt_leaves_no_helper_behind(fast: str, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Wherever it comes, the next work is shared again."""
    monkeypatch.setattr(threads, "_threads", lambda: 2)
    threads._team.cache_clear()
    (before,) = threads._team(os.getpid(), compilation.numba_pieces())

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def work(start: int, stop: int) -> None:
        if where == "work" and start == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if where != "work":
            patch.setattr(before, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.shared(work, 10, 1)
    before.join(timeout=10)
    assert not before.is_alive()
    done: list[int] = []
    threads.shared(lambda start, stop: done.append(stop - start), 10, 1)
    assert done == [5, 5]
    assert not threads._team(os.getpid(), compilation.numba_pieces())[0].free.locked()
    threads._team.cache_clear()
