"""Made datasets are the same everywhere; what prepares data keeps every row and stays where the data are."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest

import nnarray as nn
from nnarray import datasets
from nnarray.backends import device_of, namespace

CURVES = (datasets.line, datasets.sine)
CLASSES = (
    datasets.moons,
    datasets.circles,
    datasets.spirals,
    datasets.blobs,
    datasets.xor,
    datasets.checkerboard,
)
ALL = CURVES + CLASSES

each = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)


def same(be, got, want) -> bool:
    """Bit for bit, dtype and shape included."""
    got, want = be.to_numpy(got), be.to_numpy(want)
    return got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes()


def lives_on(be, *arrays) -> bool:
    return all(namespace(x) is be.xp and device_of(x) == be.device for x in arrays)


# --- Made datasets ---------------------------------------------------------------------------------------


@each
def test_every_backend_has_the_same_bits(be, host, dtype, make):
    X, y = make(37, noise=0.3, seed=5, dtype=dtype, backend=be)
    want_X, want_y = make(37, noise=0.3, seed=5, dtype="float64", backend=host)
    assert lives_on(be, X, y)
    assert same(be, X, want_X.astype(dtype))  # float32 is the rounded float64
    if make in CURVES:
        assert same(be, y, want_y.astype(dtype))
    else:
        assert y.dtype in (
            be.xp.int64,
            be.xp.__array_namespace_info__().default_dtypes(device=be.device)["integral"],
        )
        assert be.to_numpy(y).tolist() == want_y.tolist()


@each
def test_shapes_and_default_dtypes(be, make):
    for n in (1, 2, 5, np.int32(8)):
        X, y = make(n, backend=be)
        assert X.dtype == be.dtype()
        assert (X.shape, y.shape) == (((n, 1), (n, 1)) if make in CURVES else ((n, 2), (n,)))


@each
def test_a_seed_decides_the_numbers(make):
    first, again, other = (make(50, noise=0.1, seed=s) for s in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    changed = 1 if make in CURVES else 0
    assert not np.array_equal(first[changed], other[changed])


@each
def test_noise_is_the_standard_deviation_in_units_of_the_coordinates(make):
    n, noise = 20_000, 0.25
    noisy, exact = make(n, noise=noise), make(n, noise=0)
    error = (noisy[1] - exact[1]) if make in CURVES else (noisy[0] - exact[0])
    if make in CLASSES:
        assert np.array_equal(noisy[1], exact[1])
    assert abs(error.std() / noise - 1) < 5 / math.sqrt(2 * error.size)  # five standard errors
    assert abs(error.mean()) < 5 * noise / math.sqrt(error.size)
    if make in CLASSES:
        assert abs(np.corrcoef(error.T)[0, 1]) < 5 / math.sqrt(n)


def test_datasets_of_one_seed_have_unlike_noise():
    noise = [make(100, noise=1, seed=0)[0] - make(100, noise=0, seed=0)[0] for make in CLASSES]
    assert all(not np.allclose(a, b) for i, a in enumerate(noise) for b in noise[:i])


@pytest.mark.parametrize("n", [1, 2, 3, 100, 101])
def test_moons_and_circles_are_those_of_scikit_learn(n):
    theirs = pytest.importorskip("sklearn.datasets")
    for got, want in (
        (datasets.moons(n, noise=0), theirs.make_moons(n, shuffle=False)),
        (datasets.circles(n, noise=0, factor=0.3), theirs.make_circles(n, shuffle=False, factor=0.3)),
    ):
        assert np.abs(got[0] - want[0]).max() <= 1e-12
        assert np.array_equal(got[1], want[1])


def test_spirals_are_those_of_lang_and_witbrock():
    i = np.arange(97)
    angle, radius = i * math.pi / 16, 6.5 * (104 - i) / 104
    arm = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    X, y = datasets.spirals(194, turns=3, noise=0)
    assert np.abs(6.5 * X - np.concatenate([arm, -arm])).max() < 1e-12
    assert np.array_equal(y, np.repeat([0, 1], 97))


@pytest.mark.parametrize("make", [datasets.spirals, datasets.blobs], ids=lambda make: make.__name__)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classes_share_the_points_equally(make, classes):
    counts = np.bincount(make(100, classes=classes)[1], minlength=classes)
    assert counts.size == classes
    assert counts.max() - counts.min() <= 1
    assert list(counts) == sorted(counts)


def test_spirals_and_blobs_have_rotational_symmetry():
    turn = np.array(
        [
            [math.cos(2 * math.pi / 5), math.sin(2 * math.pi / 5)],
            [-math.sin(2 * math.pi / 5), math.cos(2 * math.pi / 5)],
        ]
    )
    for make, rotation in ((datasets.spirals, turn.T), (datasets.blobs, turn)):
        arms = make(50, classes=5, noise=0)[0].reshape(5, 10, 2)
        assert np.allclose(arms[1:], arms[:-1] @ rotation, atol=1e-14)


def test_formulas_without_noise():
    X, y = datasets.line(11, slope=-2, intercept=3, noise=0)
    assert np.allclose(X[:, 0], np.arange(11) / 10, atol=1e-15)
    assert np.array_equal(y, 3 - 2 * X)
    X, y = datasets.sine(11, periods=2, noise=0)
    assert np.allclose(y, np.sin(4 * math.pi * X), atol=1e-15)
    X, y = datasets.xor(10, noise=0)
    assert np.array_equal(y, X[:, 0] != X[:, 1])
    assert np.unique(X, axis=0).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    X, y = datasets.checkerboard(4000, cells=3)
    assert np.array_equal(y, (np.floor(3 * X[:, 0]) + np.floor(3 * X[:, 1])) % 2)
    assert X.min() >= 0
    assert X.max() < 1
    assert abs(y.mean() - 4 / 9) < 0.04  # 4 of the 9 fields; five standard errors


@each
@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        ({"n": 0}, ValueError, r"n must be an integer of at least 1; got 0\. Use"),
        ({"n": -3}, ValueError, r"n must .*got -3"),
        ({"n": 10.0}, TypeError, r"n must .*got 10\.0"),
        ({"n": True}, TypeError, r"n must .*got True"),
        ({"n": "10"}, TypeError, r"n must .*got '10'"),
        ({"noise": -0.1}, ValueError, r"noise must be a finite number of at least 0; got -0\.1\. Use"),
        ({"noise": math.nan}, ValueError, r"noise must .*got nan"),
        ({"noise": math.inf}, ValueError, r"noise must .*got inf"),
        ({"noise": 10**400}, ValueError, r"noise must "),
        ({"noise": None}, TypeError, r"noise must .*got None"),
        ({"noise": "0.1"}, TypeError, r"noise must .*got '0\.1'"),
        ({"seed": -1}, ValueError, "seed must"),
        ({"seed": 0.5}, TypeError, "seed must"),
        ({"dtype": "int32"}, ValueError, r"dtype must be real floating.*got 'int32'"),
        ({"dtype": "float63"}, ValueError, "no dtype 'float63'"),
        ({"noise": 1e300, "dtype": "float32"}, ValueError, "does not fit into .*float32"),
        ({"backend": "nunpy"}, ValueError, "Did you mean 'numpy'"),
        ({"backend": 3}, TypeError, "backend must be a flag"),
    ],
    ids=repr,
)
def test_bad_arguments_of_all(make, bad, error, match):
    with pytest.raises(error, match=match):
        make(**bad)


@pytest.mark.parametrize(
    ("make", "bad", "error", "match"),
    [
        (datasets.line, {"slope": math.nan}, ValueError, "slope must be a finite number; got nan"),
        (datasets.line, {"intercept": [1]}, TypeError, r"intercept must .*got \[1\]"),
        (datasets.sine, {"periods": math.inf}, ValueError, "periods must .*got inf"),
        (datasets.circles, {"factor": 1}, ValueError, "factor must .*at least 0 and less than 1; got 1"),
        (datasets.circles, {"factor": -0.1}, ValueError, r"factor must .*got -0\.1"),
        (datasets.spirals, {"classes": 1}, ValueError, "classes must be an integer of at least 2; got 1"),
        (datasets.spirals, {"turns": math.nan}, ValueError, "turns must .*got nan"),
        (datasets.blobs, {"classes": 2.5}, TypeError, r"classes must .*got 2\.5"),
        (datasets.checkerboard, {"cells": 1}, ValueError, "cells must .*got 1"),
    ],
)
def test_bad_arguments_of_one(make, bad, error, match):
    with pytest.raises(error, match=match):
        make(**bad)


def test_all_share_their_last_arguments():
    for make in ALL:
        assert list(inspect.signature(make).parameters)[-4:] == ["noise", "seed", "dtype", "backend"]


# --- Splitting -------------------------------------------------------------------------------------------


def numbered(be, n, dtype="float32"):
    """Rows and labels that say which row they are."""
    rows = be.asarray(np.stack([np.arange(n), -np.arange(n)], axis=1), dtype=dtype)
    return rows, be.asarray(np.arange(n, dtype=np.int32))


@pytest.mark.parametrize("test_size", [0.25, 0.1, 1, np.int64(13), 0.9])
def test_split_is_a_partition_that_keeps_rows_together(be, test_size):
    X, y = numbered(be, 17, "float32")
    parts = datasets.train_test_split(X, y, test_size=test_size, seed=3)
    X_train, X_test, y_train, y_test = (be.to_numpy(part) for part in parts)
    assert lives_on(be, *parts)
    assert [part.dtype for part in parts] == [X.dtype, X.dtype, y.dtype, y.dtype]
    assert sorted([*y_train, *y_test]) == list(range(17))
    assert np.array_equal(X_train[:, 0], y_train)
    assert np.array_equal(X_test[:, 1], -y_test)
    assert len(y_test) == (math.ceil(17 * test_size) if test_size < 1 else test_size)


def test_split_is_the_same_everywhere_and_another_for_another_seed(be, host):
    def order(where, seed):
        return where.to_numpy(datasets.train_test_split(numbered(where, 50)[1], seed=seed)[0]).tolist()

    assert order(be, 1) == order(host, 1)
    assert order(be, 1) != order(be, 2)
    assert order(be, 1) != sorted(order(be, 1))


def test_split_sizes_are_those_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.model_selection")
    for n in range(3, 40):
        y = np.arange(n)
        for size in (0.25, 0.1, 0.5, 0.07, 2):
            want = [len(part) for part in theirs.train_test_split(y, test_size=size)]
            assert [len(part) for part in datasets.train_test_split(y, test_size=size)] == want


@pytest.mark.parametrize(
    ("test_size", "error", "match"),
    [
        (0, ValueError, "test_size must be an integer of at least 1; got 0"),
        (0.0, ValueError, r"test_size=0\.0 of 8 rows gives 8 rows for training and 0 for the test"),
        (1.0, ValueError, r"test_size must .*less than 1; got 1\.0"),
        (0.99, ValueError, r"test_size=0\.99 of 8 rows gives 0 rows for training"),
        (8, ValueError, "test_size=8 of 8 rows gives 0"),
        (9, ValueError, "test_size=9"),
        (-0.5, ValueError, r"test_size must .*got -0\.5"),
        (math.nan, ValueError, "test_size must .*got nan"),
        (True, TypeError, "test_size must .*got True"),
        ("half", TypeError, "test_size must .*got 'half'"),
    ],
)
def test_bad_test_size(be, test_size, error, match):
    with pytest.raises(error, match=match):
        datasets.train_test_split(numbered(be, 8)[0], test_size=test_size)


def test_bad_arrays(be):
    X, y = numbered(be, 8)
    with pytest.raises(TypeError, match="at least one array"):
        datasets.train_test_split()
    with pytest.raises(TypeError, match=r"arrays\[1\] must be an array; got list"):
        datasets.train_test_split(X, [1, 2])
    with pytest.raises(ValueError, match=r"arrays\[0\] and arrays\[1\] .*\(8, 2\) and \(7,\)"):
        datasets.train_test_split(X, y[:7])
    with pytest.raises(ValueError, match=r"arrays\[0\] must have at least one row on axis 0; got shape \(\)"):
        datasets.train_test_split(y[0])
    with pytest.raises(ValueError, match=r"X and y must have the same number of rows"):
        datasets.batches(X, y[:7])
    with pytest.raises(ValueError, match=r"X must have at least one row on axis 0; got shape \(0, 2\)"):
        datasets.batches(X[:0, :])


def test_nothing_moves_between_places(be):
    elsewhere = nn.backend("strict:device2")  # none of those that the tests run on
    X, y = numbered(be, 8)[0], numbered(elsewhere, 8)[1]
    same_library = be.library is elsewhere.library
    error = ValueError if same_library else TypeError
    with pytest.raises(error, match=r"arrays\[0\] is .* and arrays\[1\] .*nothing is moved"):
        datasets.train_test_split(X, y)
    with pytest.raises(error, match=r"X is .* and y .*nothing is moved"):
        datasets.batches(X, y)
    with pytest.raises(error, match=r"others\[0\] is .* and the training data .*nothing is moved"):
        datasets.standardize(X, numbered(elsewhere, 8)[0])


# --- Standardising ---------------------------------------------------------------------------------------


def test_standardize_gives_zero_mean_and_unit_deviation(be, host, dtype):
    X, _ = datasets.moons(101, noise=0.1, dtype=dtype, backend=be)
    train, test = X[:80, ...] * 1000 + 5, X[80:, ...] * 1000 + 5
    got = datasets.standardize(train, test)
    assert lives_on(be, *got)
    assert [x.dtype for x in got] == [X.dtype, X.dtype]
    reference = [host.to_numpy(x).astype("float64") for x in (train, test)]
    for x, want in zip(got, reference, strict=True):
        want = (want - reference[0].mean(axis=0)) / reference[0].std(axis=0)
        nn.testing.assert_close(x, want, c=20)  # the mean over the span, a difference and a quotient
    assert same(be, datasets.standardize(train), got[0])  # one alone comes as itself


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6 / 3, 1e-30, 7.0])
def test_a_constant_column_becomes_zero(be, dtype, value):
    column = np.full((10, 1), value)
    X = be.asarray(np.concatenate([column, np.arange(10.0)[:, None]], axis=1), dtype=dtype)
    Z = be.to_numpy(datasets.standardize(X))
    assert np.array_equal(Z[:, 0], np.zeros(10))
    assert abs(Z[:, 1].std() - 1) < 1e-6


@pytest.mark.parametrize(("at", "steps"), [(1.0, 1), (-1e4, 2), (1e9, 1), (1e20, 3)])
def test_a_column_that_is_constant_but_for_rounding_stays_small_and_is_reported(be, dtype, caplog, at, steps):
    """Its largest and smallest entry are a few numbers of the dtype apart: nothing to enlarge."""
    near = np.asarray([at] * 3 + [at] * 3, dtype=dtype)
    near[::2] += steps * np.spacing(near[0])
    X = be.asarray(np.stack([near, np.arange(6.0)], axis=1), dtype=dtype)
    scaler = datasets.Standardizer.fit(X)
    eps, most = np.finfo(dtype).eps, abs(near).max()
    assert float(scaler.scale[0]) == pytest.approx(max(1.0, 4 * eps * most))
    Z = be.to_numpy(scaler.transform(X))
    assert abs(Z[:, 0]).max() < 1
    assert Z[:, 1].std() == pytest.approx(1)
    assert "1 of 2 columns to standardise are constant up to rounding, the first of them column 0" in caplog.text
    nn.testing.assert_close(scaler.inverse_transform(scaler.transform(X)), X, c=20)


def test_standardising_can_be_differentiated(be):
    X = be.asarray(np.asarray([[1.0, 200.0], [3.0, 500.0]]), dtype="float32")
    scaler = datasets.Standardizer.fit(X)
    for function, factor in ((scaler.transform, 1 / scaler.scale), (scaler.inverse_transform, scaler.scale)):
        gradient = nn.grad(lambda x, f=function: nn.namespace(x).sum(f(x)))(X)
        nn.testing.assert_close(gradient[0, ...], be.to_numpy(factor))


def test_a_small_spread_that_is_more_than_rounding_is_standardised(be, dtype, caplog):
    ones = np.ones(8, dtype=dtype)
    ones[::2] += 20 * np.spacing(ones[0])
    Z = be.to_numpy(datasets.standardize(be.asarray(ones[:, None], dtype=dtype)))
    np.testing.assert_allclose(Z[:, 0], [1, -1] * 4, atol=0.1)
    assert not caplog.text


def test_a_span_that_no_number_holds_is_refused(be):
    widest = be.dtypes[-1]
    largest = float(np.finfo(widest).max)
    X = be.asarray(np.asarray([[1.0, largest], [2.0, -largest]]), dtype=widest)
    with pytest.raises(
        ValueError, match=r"span of each column, max - min, contains .* infinity: row 1. Use another unit"
    ):
        datasets.standardize(X)


@pytest.mark.parametrize("unit", [1e-35, 1e-20, 1e20, 1e37])
def test_the_unit_does_not_matter(be, unit):
    """Squares would overflow, or vanish, in float32."""
    x = np.array([[1.0], [2.0], [5.0], [4.0]])
    Z = datasets.standardize(be.asarray(x * unit, dtype="float32"))
    nn.testing.assert_close(Z, (x - x.mean()) / x.std(), c=20)


def test_an_offset_does_not_cost_digits(be):
    """2**20 + 0..15 is exact in float32, its mean is not: float64 sums it where the device has one."""
    x = np.tile(np.arange(16.0), 500)[:, None]
    Z = datasets.standardize(be.asarray(x + 2**20, dtype="float32"))
    nn.testing.assert_close(Z, (x - x.mean()) / x.std(), c=10 if "float64" in be.dtypes else 2e5)


def test_half_precision_is_summed_in_more(be):
    half = "float16" if "float16" in be.dtypes else "float32"  # the strict library has no halves
    x = be.asarray([[60000.0], [-60000.0]] * 100, dtype=half)
    Z = datasets.standardize(x)
    assert Z.dtype == x.dtype
    assert be.to_numpy(Z)[:, 0].tolist() == [1.0, -1.0] * 100


@pytest.mark.parametrize("kind", ["uint8", "int32", "bool"])
def test_integers_become_the_default_float(be, kind):
    images = (np.arange(5 * 2 * 3).reshape(5, 2, 3) % 7).astype(kind)
    X = be.xp.asarray(images.tolist(), dtype=getattr(be.xp, kind), device=be.device)
    Z = datasets.standardize(X)
    assert Z.dtype == be.dtype()
    assert Z.shape == (5, 2, 3)
    spread = images.std(axis=0)
    want = (images - images.mean(axis=0)) / np.where(spread > 0, spread, 1)
    nn.testing.assert_close(Z, want, c=20)


def test_standardizer_is_kept_for_new_data_and_undone(be, dtype):
    X, _ = datasets.blobs(60, dtype=dtype, backend=be)
    scaler = datasets.Standardizer.fit(X)
    nn.testing.assert_close(scaler.inverse_transform(scaler.transform(X)), X, c=20)
    shifted = scaler.transform(X[:3, ...])
    nn.testing.assert_close(shifted, datasets.standardize(X, X[:3, ...])[1], c=0)
    assert lives_on(be, scaler.mean, scaler.scale)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_standardize_says_where_data_are_not_finite(be, value):
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, value], [value, 6.0]]
    bad, good = be.asarray(rows, dtype="float32"), be.asarray(rows[:2], dtype="float32")
    with pytest.raises(ValueError, match=r"train contains NaN or infinity: row 2, column 1\."):
        datasets.standardize(bad)
    with pytest.raises(ValueError, match=r"row 2\. Remove"):
        datasets.standardize(bad[:, 1])
    with pytest.raises(ValueError, match=r"index \(2, 1, 0\)\."):
        datasets.standardize(be.xp.reshape(bad, (4, 2, 1)))
    later = be.to_numpy(datasets.standardize(good, bad)[1])  # only the training data have to be finite
    assert np.isfinite(later).sum() == 6


def test_a_file_is_standardised_in_parts(be, tmp_path, monkeypatch):
    monkeypatch.setattr("nnarray.datasets.sources.PART", 1000)
    data = np.random.default_rng(0).normal([3.0, -1e6, 0.0], [2.0, 1.0, 0.0], size=(100, 3))
    np.save(tmp_path / "X.npy", data)
    np.save(tmp_path / "spoiled.npy", np.where(np.arange(300).reshape(100, 3) == 250, np.nan, data))
    np.save(tmp_path / "none.npy", data[:0])
    source = datasets.memory_mapped(tmp_path / "X.npy")
    scaler, want = datasets.Standardizer.fit(source), datasets.Standardizer.fit(data)
    np.testing.assert_allclose(scaler.mean, want.mean, rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, want.scale, rtol=1e-9)
    np.testing.assert_allclose(scaler.scale, np.where(data.std(axis=0) > 0, data.std(axis=0), 1.0), rtol=1e-9)
    lazy = scaler.transform(source)
    assert lazy.shape == (100, 3)
    np.testing.assert_array_equal(lazy.rows(slice(5, 9)), scaler.transform(data)[5:9])
    model = nn.Network(nn.Dense(1)).init((3,), backend=be, dtype="float32")
    model.fit(lazy, be.asarray(data[:, :1], dtype="float32"), loss="mse", epochs=1)
    assert model.predict(lazy).shape == (100, 1)
    with pytest.raises(ValueError, match=r"train, from row 82 on, contains NaN or infinity: row 1, column 1\."):
        datasets.Standardizer.fit(datasets.memory_mapped(tmp_path / "spoiled.npy"))
    with pytest.raises(ValueError, match=r"train must have at least one row on axis 0; got shape \(0, 3\)"):
        datasets.Standardizer.fit(datasets.memory_mapped(tmp_path / "none.npy"))


def test_bad_input_of_standardize(be):
    X, _ = numbered(be, 8)
    with pytest.raises(TypeError, match="train must be an array; got list"):
        datasets.standardize([[1.0]])
    with pytest.raises(ValueError, match=r"train must have at least one row on axis 0; got shape \(0, 2\)"):
        datasets.standardize(X[:0, :])
    with pytest.raises(ValueError, match=r"others\[1\] must have shape \(n, 2\).*got \(8, 1\)"):
        datasets.standardize(X, X, X[:, :1])
    with pytest.raises(ValueError, match=r"x must have shape \(n, 2\).*got \(8,\)"):
        datasets.Standardizer.fit(X).transform(X[:, 0])


# --- Batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("batch_size", [1, 4, 5, np.int16(10), 11])
def test_batches_cover_each_row_once(be, batch_size, seed):
    X, y = numbered(be, 10)
    seen = []
    for X_batch, y_batch in datasets.batches(X, y, batch_size=batch_size, seed=seed):
        assert lives_on(be, X_batch, y_batch)
        assert (X_batch.dtype, y_batch.dtype) == (X.dtype, y.dtype)
        assert np.array_equal(be.to_numpy(X_batch)[:, 0], be.to_numpy(y_batch))
        seen.append(be.to_numpy(y_batch).tolist())
    rows = [row for batch in seen for row in batch]
    assert sorted(rows) == list(range(10))
    assert (rows == list(range(10))) == (seed is None)
    assert [len(batch) for batch in seen[:-1]] == [batch_size] * ((10 - 1) // batch_size)


def test_each_epoch_has_its_order_the_same_everywhere(be, host):
    def order(where, **options):
        batches = datasets.batches(numbered(where, 40)[1], batch_size=7, **options)
        return [row for batch in batches for row in where.to_numpy(batch).tolist()]

    assert order(be, seed=1) == order(host, seed=1, epoch=0)
    orders = [order(be, seed=1), order(be, seed=1, epoch=1), order(be, seed=2), order(be)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_drop_last(be):
    X, _ = numbered(be, 10)
    sizes = {
        size: [len(be.to_numpy(b)) for b in datasets.batches(X, batch_size=size, drop_last=True)] for size in (3, 5, 99)
    }
    assert sizes == {3: [3, 3, 3], 5: [5, 5], 99: [10]}


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1; got 0"),
        ({"batch_size": 2.0}, TypeError, r"batch_size must .*got 2\.0"),
        ({"epoch": -1}, ValueError, "epoch must .*at least 0; got -1"),
        ({"seed": "x"}, TypeError, "seed must"),
    ],
)
def test_bad_arguments_of_batches_are_refused_at_the_call(be, bad, error, match):
    with pytest.raises(error, match=match):
        datasets.batches(numbered(be, 4)[0], **bad)


def test_preparation_leaves_its_input_alone(be):
    X, y = numbered(be, 12)
    before = [be.to_numpy(x).copy() for x in (X, y)]
    datasets.standardize(X, X)
    datasets.train_test_split(X, y)
    list(datasets.batches(X, y, seed=0))
    assert all(np.array_equal(be.to_numpy(x), b) for x, b in zip((X, y), before, strict=True))


def test_a_standardizer_is_kept_as_json(be: nn.Backend) -> None:
    X = be.asarray(np.arange(24.0).reshape(4, 3, 2) ** 2 / 7, dtype="float32")
    scaler = datasets.Standardizer.fit(X)
    kept = json.loads(json.dumps(scaler.to_json()))
    again = datasets.Standardizer.from_json(kept, backend=be)
    assert bool(be.xp.all(again.transform(X) == scaler.transform(X)))
    assert again.mean.dtype == scaler.mean.dtype


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"mean": [1.0]}, "has the lists 'mean', 'scale' and 'shape', as to_json gives them"),
        ({"mean": [1.0], "scale": [1.0, 2.0], "shape": [1]}, "must have 1 entries, and each scale be above 0"),
        ({"mean": [1.0], "scale": [0.0], "shape": [1]}, "must have 1 entries, and each scale be above 0"),
        ({"mean": [float("nan")], "scale": [1.0], "shape": [1]}, "mean contains NaN|NaN"),
    ],
)
def test_what_is_no_standardizer_is_refused(kept: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.Standardizer.from_json(kept)


def test_metadata_name_how_a_standardizer_is_stored(tmp_path: Path) -> None:
    model = nn.Network(nn.Dense(2)).init((2,))
    model.metadata["scaler"] = datasets.Standardizer.fit(model.theta[:4].reshape(2, 2))
    with pytest.raises(ValueError, match=r"Of a Standardizer, store to_json\(\)"):
        model.save(tmp_path / "model.safetensors")
