"""Windows over small images, drawn at random, on every backend: one filter, one channel, one pixel, one example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.kernels.standard.windows import Window
from tests.tolerances import close, to_host

COUNTS = {"numpy": 400, "torch": 400}  # elsewhere each new shape is compiled, or takes long
OTHERS = 12


def drawn(rng: np.random.Generator) -> tuple[tuple[int, ...], int, int, Window]:
    """The shape of images, the filters, the groups, and a window that fits."""
    while True:
        batch, groups = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        channels, filters = (groups * int(rng.choice([1, 1, 2, 3])) for _ in range(2))
        height, width = (int(n) for n in rng.choice([1, 1, 2, 5, 7], size=2))
        size, stride, dilation = (tuple(int(n) for n in rng.integers(1, most, size=2)) for most in (4, 4, 3))
        before, after = rng.integers(0, 2, size=(2, 2))
        if rng.integers(2):
            after = before  # which libraries can add themselves
        padding = tuple((int(a), int(b)) for a, b in zip(before, after, strict=True))
        dilation = tuple(d if n > 1 else 1 for d, n in zip(dilation, size, strict=True))
        window = Window(size, stride, padding, dilation)  # type: ignore[arg-type]
        if min(window.output_size((height, width))) > 0:
            return (batch, height, width, channels), filters, groups, window


def cases(be: nn.Backend) -> list[tuple[tuple[int, ...], int, int, Window]]:
    rng = np.random.default_rng(0)
    return [drawn(rng) for _ in range(COUNTS.get(be.library.name, OTHERS))]


def agree(be: nn.Backend, dtype: str, kernel: Any, arrays: list[np.ndarray], case: Any, **options: Any) -> None:
    """The kernel on this backend gives what its definition gives in float64."""
    rounded = [x.astype(dtype) for x in arrays]
    got = kernel(*(be.asarray(x) for x in rounded), **options)
    want = kernel.definition(*(x.astype(float) for x in rounded), **options)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for ours, theirs in pairs:
        try:
            close(to_host(be, ours), theirs, dtype, c=200)  # sums of 100 products at most
        except AssertionError as error:
            raise AssertionError(f"{kernel.__name__} of {case}") from error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions_equal_their_definition(be: nn.Backend, dtype: str) -> None:
    if dtype not in be.dtypes:
        pytest.skip(f"no {dtype}")
    rng = np.random.default_rng(1)
    for case in cases(be):
        shape, filters, groups, window = case
        x, bias = rng.normal(size=shape), rng.normal(size=filters)
        weight = rng.normal(size=(*window.size, shape[3] // groups, filters))
        dy = rng.normal(size=(shape[0], *window.output_size(shape[1:3]), filters))
        agree(be, dtype, kernels.convolution, [x, weight, bias], case, window=window, groups=groups)
        agree(be, dtype, kernels.convolution_pullback, [dy, x, weight], case, window=window, groups=groups)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pools_equal_their_definition(be: nn.Backend, dtype: str) -> None:
    if dtype not in be.dtypes:
        pytest.skip(f"no {dtype}")
    rng = np.random.default_rng(2)
    for case in cases(be):
        shape, _, _, window = case
        positions = window.output_size(shape[1:3])
        x, dy = rng.normal(size=shape).astype(dtype).astype(float), rng.normal(size=(shape[0], *positions, shape[3]))
        y, counts = (
            kernels.max_pool.definition(x, window=window),
            rng.integers(1, 5, size=(*positions, 1)).astype(float),
        )
        agree(be, dtype, kernels.max_pool, [x], case, window=window)
        agree(be, dtype, kernels.max_pool_pullback, [dy, x, y], case, window=window)
        agree(be, dtype, kernels.mean_pool, [x, counts], case, window=window)
        agree(be, dtype, kernels.mean_pool_pullback, [dy, x, counts], case, window=window)


def test_one_filter_over_two_channels_trains(be: nn.Backend) -> None:
    X = np.random.default_rng(0).normal(size=(8, 4, 4, 2)).astype("float32")
    y = X.mean(axis=(1, 2, 3))[:, None]
    layers = nn.Conv2D(1, 3, activation="tanh"), nn.Flatten(), nn.Dense(1)
    model = nn.Network(*layers).init((4, 4, 2), seed=0, backend=be, dtype="float32")
    losses = model.fit(be.asarray(X), be.asarray(y), loss="mse", epochs=3, seed=0)["loss"]
    assert losses[-1] < losses[0]
