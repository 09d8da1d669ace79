"""Batch normalisation, ReLU and pooling in one pass, beside the layers one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.functional.hooks import with_hooks
from nnarray.kernels.engines import computing
from nnarray.kernels.standard.windows import Window
from tests.tolerances import close

RNG = np.random.default_rng(0)
WINDOWS = {
    "none": None,
    "side by side": Window((2, 2), (2, 2)),
    "uneven": Window((3, 2), (3, 2)),
    "overlapping": Window((3, 3), (2, 2), ((1, 1), (1, 1))),
}


def drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype="float32")


def results(function: Any, x: np.ndarray, dy: np.ndarray | None, window: Window | None) -> tuple[np.ndarray, ...]:
    weight, bias = np.linspace(-1.0, 1.5, x.shape[-1]).astype(x.dtype), np.linspace(0.4, -0.3, x.shape[-1])
    y, mean, variance, pullback = function(x, weight, bias.astype(x.dtype), epsilon=1e-5, window=window)
    dy = np.linspace(-1.0, 2.0, y.size).reshape(y.shape).astype(x.dtype) if dy is None else dy
    return y, mean, variance, *pullback(dy), *pullback(dy)


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("shape", [(3, 7, 9, 16), (40, 33, 30, 8), (5, 8, 8, 20), (2, 6, 6, 300)])
@pytest.mark.parametrize("window", WINDOWS)
def test_one_pass_is_the_layers(engine: str, shape: tuple[int, ...], window: str) -> None:
    """Threads share the large ones; gradients reach entries that are below zero, and beside all windows, too."""
    x = np.round(32.0 * drawn(*shape)) / 16.0 + 3.0  # entries that differ do so clearly: rounding does not decide
    with computing(engine):
        got = results(kernels.normalised_relu, x, None, WINDOWS[window])
    want = results(kernels.normalised_relu.definition, x.astype(float), None, WINDOWS[window])
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        scale = max(np.abs(w).max(), 1.0) if i > 2 else 1.0  # sums of many numbers
        close(g / scale, w / scale, "float32", c=300.0)


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("window", ["none", "side by side"])
def test_extreme_numbers_are_those_of_the_definition(engine: str, value: float, window: str) -> None:
    """No thread warns of them."""
    x = drawn(80, 12, 12, 16)
    x[1, 2, 3, 5] = x[-1, 2, 3, 6] = value
    with np.errstate(invalid="ignore", over="ignore"), computing(engine):
        got = results(kernels.normalised_relu, x, None, WINDOWS[window])
        want = results(kernels.normalised_relu.definition, x, None, WINDOWS[window])
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-3, atol=1e-4)


def test_gradients_that_are_no_numbers_reach_their_channel_only() -> None:
    x, dy = drawn(4, 6, 6, 16), drawn(4, 3, 3, 16)
    dy[0, 0, 0, 3] = np.inf
    got, want = (
        results(f, x, dy, WINDOWS["side by side"])
        for f in (kernels.normalised_relu, kernels.normalised_relu.definition)
    )
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.isfinite(g), np.isfinite(w))


def both(ours: Any, theirs: Any, *names: str) -> list[tuple[Any, Any]]:
    """The arrays of these layers in two trees."""
    return [(ours[name][key], theirs[name][key]) for name in names for key in theirs[name]]


@pytest.mark.parametrize("pooled", [False, True])
def test_training_merges_the_layers_and_hooks_part_them(be: nn.Backend, pooled: bool) -> None:
    """Outputs, gradients and running statistics are the same."""
    pool = [nn.MaxPool2D(2)] if pooled else []
    net = nn.Network(nn.Conv2D(8, 3), nn.BatchNorm(), nn.Activation("relu"), *pool, nn.GlobalAvgPool(), nn.Dense(2))
    model = net.init((8, 8, 3), seed=0, backend=be, dtype="float32")
    x = be.asarray(drawn(5, 8, 8, 3), dtype="float32")
    params, state = model.wiring.params.tree(model.theta), model.wiring.state.tree(model.state)
    ctx, passages = nn.Context(training=True, state=state), {}
    merged, apart = net.forward(params, x, ctx), with_hooks(net, passages).forward(params, x, ctx)
    assert len(net._merged) == len(net.layers) - 1 - pooled
    assert passages["2"].y.shape == (5, 6, 6, 8)
    dy = be.asarray(drawn(5, 2), dtype="float32")
    pairs = [(merged.y, apart.y), *both(merged.pullback(dy)[1], apart.pullback(dy)[1], "0", "1")]
    pairs += both(merged.state, apart.state, "1")
    for got, want in pairs:
        close(be.to_numpy(got), be.to_numpy(want).astype(float), "float32", c=200.0)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("window", ["none", "side by side"])
def test_gradients_of_another_dtype_are_read_as_what_they_are(engine: str, window: str, dtype: str) -> None:
    x = np.round(32.0 * drawn(4, 6, 6, 16)) / 16.0
    shape = (4, 6, 6, 16) if window == "none" else (4, 3, 3, 16)
    dy = np.round(16.0 * drawn(*shape)) / 16.0
    with computing(engine):
        got = results(kernels.normalised_relu, x, dy.astype(dtype), WINDOWS[window])
    want = results(kernels.normalised_relu.definition, x.astype(float), dy.astype(float), WINDOWS[window])
    for g, w in zip(got[3:], want[3:], strict=True):
        close(g / np.abs(w).max(), w / np.abs(w).max(), "float16" if dtype == "float16" else "float32", c=300.0)
