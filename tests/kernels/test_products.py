"""The compiled products of rows with weights, beside their definition in float64."""

from __future__ import annotations

import numpy as np
import pytest

from nnarray import kernels
from tests.packages import package

package("numba")

SHAPES = [  # rows, inputs, units: panels that are not full, strips that are not, and several blocks of each
    ((12, 64), 128, 65),
    ((769,), 67, 131),
    ((1, 257), 129, 512),
    ((100,), 600, 300),
    ((3000,), 33, 17),
]


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(got: np.ndarray, want: np.ndarray, length: int) -> bool:
    """Within the rounding of sums of so many products."""
    return got.dtype == np.float32 and np.abs(got - want).max() <= 2e-7 * length**0.5 * max(np.abs(want).max(), 1)


@pytest.mark.parametrize("turned", [False, True], ids=["as it lies", "transposed"])
@pytest.mark.parametrize(("rows", "inner", "units"), SHAPES, ids=str)
def test_products_are_those_of_the_definition(rows, inner, units, turned):
    from nnarray.kernels.numba import products

    x, weight, bias = drawn((*rows, inner)), drawn((inner, units), 1), drawn((units,), 2)
    weight = np.ascontiguousarray(weight.T).T if turned else weight
    dy = drawn((*rows, units), 3)
    assert products.takes(x, weight)
    x64, dy64 = x.reshape(-1, inner).astype(float), dy.reshape(-1, units).astype(float)
    y = kernels.affine(x, weight, bias)
    assert close(y.reshape(-1, units), x64 @ weight + bias, inner)
    dx, dw, db = kernels.affine_pullback(dy, x, weight)
    assert close(dx.reshape(-1, inner), dy64 @ weight.T, units)
    assert close(dw, x64.T @ dy64, len(x64))
    assert close(db, dy64.sum(axis=0), len(x64))
    assert y.shape == dy.shape
    assert dx.shape == x.shape


@pytest.mark.parametrize(("inner", "units"), [(128, 96), (128, 300), (300, 128)], ids=["rows", "panels", "strips"])
def test_products_depend_neither_on_the_number_of_threads_nor_on_other_rows(inner, units, monkeypatch):
    from nnarray.kernels import threads

    x, weight, dy = drawn((800, inner)), drawn((inner, units)), drawn((800, units))
    want = kernels.affine(x, weight, None), *kernels.affine_pullback(dy, x, weight)
    for count in (1, 2, 3):
        threads._team.cache_clear()
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        got = kernels.affine(x, weight, None), *kernels.affine_pullback(dy, x, weight)
        assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
    threads._team.cache_clear()
    assert np.array_equal(kernels.affine(x[100:503], weight, None), want[0][100:503])


def test_nan_and_infinity_stay_where_they_are():
    x, weight = drawn((500, 64)), drawn((64, 64))
    x[7, 3], x[9, 0] = np.nan, np.inf
    y = kernels.affine(x, weight, None)
    assert np.isnan(y[7]).all()
    assert not np.isfinite(y[9]).any()
    assert np.isfinite(np.delete(y, [7, 9], axis=0)).all()


@pytest.mark.parametrize("turned", [False, True], ids=["as it lies", "transposed"])
@pytest.mark.parametrize(("inner", "units"), [(768, 769), (3001, 100), (3, 100_000)], ids=str)
def test_one_row_is_that_of_the_definition(inner, units, turned, monkeypatch):
    from nnarray.kernels import threads
    from nnarray.kernels.numba import row

    x, weight, bias = drawn((1, 1, inner)), drawn((inner, units), 1), drawn((units,), 2)
    weight = np.ascontiguousarray(weight.T).T if turned else weight
    assert row.takes(x, weight)
    y = kernels.affine(x, weight, bias)
    assert y.shape == (1, 1, units)
    assert close(y[0], x[0].astype(float) @ weight + bias, inner)
    assert close(kernels.affine(x, weight, None)[0], x[0].astype(float) @ weight, inner)
    for count in (1, 2, 3):
        threads._team.cache_clear()
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        assert np.array_equal(kernels.affine(x, weight, bias), y)
    threads._team.cache_clear()


def test_one_row_of_tensors_is_computed_in_their_memory():
    torch = package("torch")
    x, weight, bias = drawn((1, 1, 600)), drawn((600, 500), 1), drawn((500,), 2)
    got = kernels.affine(*map(torch.from_numpy, (x, weight, bias)))
    assert np.array_equal(got.numpy(), kernels.affine(x, weight, bias))


@pytest.mark.parametrize("turned", [False, True], ids=["as it lies", "transposed"])
@pytest.mark.parametrize(("inner", "units"), [(129, 512), (1024, 100), (1500, 33)], ids=["plain", "clashing", "odd"])
def test_weights_laid_out_once_give_each_row_the_same_for_any_number_of_rows_and_threads(
    inner, units, turned, monkeypatch
):
    from nnarray.kernels import threads
    from nnarray.kernels.numba import products

    x, weight, bias = drawn((95, inner)), drawn((inner, units), 1), drawn((units,), 2)
    weight = np.ascontiguousarray(weight.T).T if turned else weight
    assert products.lays_out(weight)
    kept = products.Kept(weight, bias, [])
    want = kept(x)
    assert close(want, x.astype(float) @ weight + bias, inner)
    for rows in range(2, 96):
        assert kept.takes(x[:rows])
        assert np.array_equal(kept(x[:rows]), want[:rows])
    for count in (1, 2, 3):
        threads._team.cache_clear()
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        assert np.array_equal(kept(x[None, 40:71])[0], want[40:71])
    threads._team.cache_clear()
    x[5, 7] = np.nan
    got = kept(x[:20])
    assert np.isnan(got[5]).all()
    assert np.array_equal(np.delete(got, 5, axis=0), np.delete(want[:20], 5, axis=0))


def test_weights_that_are_laid_out_share_memory_and_not_their_places():
    from nnarray.kernels.numba.memory import part_of

    room: list[np.ndarray] = []
    parts = [part_of(room, size) for size in (100, 7, 2**18, 5, 2**20, 2**20 + 1, 300)]
    for i, part in enumerate(parts):
        assert part.__array_interface__["data"][0] % 64 == 0
        part[...] = i
    assert all((part == i).all() for i, part in enumerate(parts))
    assert parts[-1].base is parts[-2].base
    assert len(room) == 1
