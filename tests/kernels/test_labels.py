"""The compiled loops over rows of labels, beside their definitions in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnarray import kernels
from nnarray.kernels import threads
from tests.packages import package

package("numba")


def drawn(rows: int, columns: int, labels: int, dtype: str = "int32") -> tuple[Any, Any]:
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, columns)).astype(np.float32), rng.integers(0, labels, rows).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize(("rows", "classes"), [(768, 65), (40, 1001), (17_000, 1)], ids=str)
def test_cross_entropy_of_labels_is_that_of_the_definition(rows, classes, dtype):
    from nnarray.kernels.numba import labels as loops

    logits, labels = drawn(rows, classes, min(classes, 250), dtype)
    labels.flags.writeable = False
    assert loops.takes(logits, labels, classes)
    losses, gradient = kernels.cross_entropy_of_labels(logits, labels)
    want, dz = kernels.cross_entropy_of_labels.definition(logits.astype(float), labels)
    assert losses.dtype == gradient.dtype == np.float32
    assert np.abs(losses - want).max() <= 1e-6 * np.abs(want).max() + 1e-6
    assert np.abs(gradient - dz).max() <= 1e-6
    value, reduced = kernels.reduced_cross_entropy_of_labels(logits, labels, total=rows)
    assert abs(value - want.mean()) <= 1e-6 * want.mean() + 1e-6
    assert np.abs(reduced * rows - dz).max() <= 2e-6


def test_extreme_logits_are_limited_and_nan_stays():
    logits, labels = drawn(400, 65, 65)
    logits[0], logits[1, 3], logits[2, labels[2]], logits[3, 0] = -np.inf, np.inf, 1e38, np.nan
    losses, gradient = kernels.cross_entropy_of_labels(logits, labels)
    want, dz = kernels.cross_entropy_of_labels.definition(logits[:3].astype(float), labels[:3])
    assert np.isfinite(losses[[0, 2]]).all()
    assert np.allclose(gradient[:3], dz, atol=1e-6)
    assert np.allclose(losses[[0, 2]], want[[0, 2]], rtol=1e-6)
    assert np.isnan(losses[3])
    assert np.isnan(gradient[3]).all()
    assert np.isfinite(gradient[4:]).all()


def test_rows_summed_by_their_labels_do_not_depend_on_the_number_of_threads(monkeypatch):
    from nnarray.kernels.numba import labels as loops

    rows, index = drawn(3000, 131, 65)
    want = np.zeros((70, 131))
    np.add.at(want, index, rows.astype(float))
    assert loops.takes(rows, index, 70)
    first = kernels.scatter_add(rows, index, count=70)
    assert np.abs(first - want).max() <= 1e-5 * np.abs(want).max()
    for count in (1, 2, 3):
        threads._team.cache_clear()
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        assert np.array_equal(kernels.scatter_add(rows, index, count=70), first)
    threads._team.cache_clear()


@pytest.mark.parametrize("wrong", [-1, 65])
def test_labels_out_of_range_are_left_to_the_definition(wrong):
    rows, index = drawn(3000, 65, 65)
    index[5] = wrong
    want = kernels.scatter_add.definition(rows.astype(float), index, count=65)
    assert np.abs(kernels.scatter_add(rows, index, count=65) - want).max() <= 1e-4
    want = kernels.cross_entropy_of_labels.definition(rows.astype(float), index)[1]
    assert np.abs(kernels.cross_entropy_of_labels(rows, index)[1] - want).max() <= 1e-6
