"""NumPy's convolution by tiles and its gradients are those of the definition, however a batch is divided into parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnarray import kernels
from nnarray.kernels import compilation, threads
from nnarray.kernels.numpy import images, winograd
from nnarray.kernels.standard.windows import Window
from tests.tolerances import close

TILES = 400.0  # as numbers of a tile are multiplied, added and taken away, twice
SAME = Window((3, 3), padding=((1, 1), (1, 1)))
CASES = {  # shape of the inputs, filters and window
    "small images together": ((64, 8, 8, 16), 24, SAME),
    "a prime number of images": ((7, 9, 6, 17), 16, SAME),
    "no padding": ((6, 11, 12, 16), 16, Window((3, 3))),
    "uneven padding": ((4, 14, 13, 32), 16, Window((3, 3), padding=((0, 2), (2, 1)))),
    "one image": ((1, 37, 41, 16), 20, SAME),
}


def arrays(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, Window]:
    shape, filters, window = CASES[name]
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=shape), rng.normal(size=(3, 3, shape[3], filters))
    dy = rng.normal(size=(shape[0], *window.output_size(shape[1:3]), filters))
    return *(each.astype("float32") for each in (x, weight, dy)), window


def alike(got: Any, want: Any) -> None:
    """Within rounding of the largest, as sums may cancel."""
    scale = np.abs(want).max()
    close(got / scale, want / scale, "float32", c=TILES)


@pytest.fixture(autouse=True)
def numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "_imported", lambda part: None)


@pytest.mark.parametrize("entries", [1, 20_000, 10**9])
@pytest.mark.parametrize("name", CASES)
def test_parts_of_any_size_give_what_the_definition_gives(
    monkeypatch: pytest.MonkeyPatch, name: str, entries: int
) -> None:
    monkeypatch.setattr(winograd, "ENTRIES", entries)
    monkeypatch.setattr(winograd, "TOGETHER", 4 * entries)
    x, weight, dy, window = arrays(name)
    exact = [each.astype(float) for each in (dy, x, weight)]
    y = np.empty(dy.shape, "float32")
    assert winograd.convolution(x, winograd.transformed(weight), window, y)
    alike(y, kernels.convolution.definition(exact[1], exact[2], None, window=window))
    _, dw, _ = kernels.convolution_pullback.definition(*exact, window=window)
    alike(winograd.weight_gradient(dy, x, window), dw)


@pytest.mark.parametrize("name", CASES)
def test_the_pullback_is_that_of_the_definition(name: str) -> None:
    x, weight, dy, window = arrays(name)
    assert images.is_tiled(x, dy, window, 1)
    got = kernels.convolution_pullback(dy, x, weight, window=window)
    want = kernels.convolution_pullback.definition(*(each.astype(float) for each in (dy, x, weight)), window=window)
    for ours, theirs in zip(got, want, strict=True):
        alike(ours, theirs)


def test_nan_and_infinity_do_not_spread_over_a_tile() -> None:
    x, weight, dy, window = arrays("small images together")
    x[3, 2, 2, 5], dy[4, 1, 1, 2] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        got = kernels.convolution_pullback(dy, x, weight, window=window)
        want = kernels.convolution_pullback.definition(dy, x, weight, window=window)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs))


@pytest.mark.parametrize("name", ["small images together", "one image"])
def test_the_bits_do_not_depend_on_the_threads_that_are_free(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    x, weight, dy, window = arrays(name)
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        threads._team.cache_clear()
        found.append(kernels.convolution_pullback(dy, x, weight, window=window))
    threads._team.cache_clear()
    for dx, dw, db in found[1:]:
        np.testing.assert_array_equal(dx, found[0][0])
        np.testing.assert_array_equal(dw, found[0][1])
        np.testing.assert_array_equal(db, found[0][2])
