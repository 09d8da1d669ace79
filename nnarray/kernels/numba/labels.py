"""Rows of labels, compiled by Numba: the cross-entropy of logits, and rows summed by their labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import exp
from nnarray.kernels.numba.memory import empty
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

MANY_ENTRIES = 20_000  # exponentials of a thread's part at least: some 20 us
HALF = np.float32(np.finfo(np.float32).max / 2)  # as in `within`


@compiled
def _cross_entropy(logits: Any, labels: Any, scale: Any, rows: Any, losses: Any, gradient: Any) -> None:
    """Losses <- ln sum exp z - z_label, and gradient <- scale (softmax(z) - 1 at the label), of some rows."""
    classes = logits.shape[1]
    for n in range(rows[0], rows[1]):
        z, out, largest, total = logits[n], gradient[n], -HALF, np.float32(0)
        for k in range(classes):
            entry = z[k]
            entry = -HALF if entry < -HALF else entry
            out[k] = HALF if entry > HALF else entry  # nan stays nan
        for k in range(classes):
            largest = max(largest, out[k])
        at_label = out[labels[n]] - largest
        for k in range(classes):
            out[k] = exp(out[k] - largest)
        for k in range(classes):
            total += out[k]
        losses[n], factor = np.log(total) - at_label, scale / total
        for k in range(classes):
            out[k] *= factor
        out[labels[n]] -= scale


@compiled
def _summed(rows: Any, labels: Any, columns: Any, sums: Any) -> None:
    """Sums[k] += the rows of label k, in their order, of some columns."""
    for n in range(labels.size):
        k, row = labels[n], rows[n]
        total = sums[k]
        for i in range(columns[0], columns[1]):
            total[i] += row[i]


def takes(rows: Any, labels: Any, count: int) -> bool:
    """Whether these are rows in float32, and labels from 0 to `count` - 1."""
    alike = rows.dtype == np.float32 and rows.flags.carray and labels.dtype.kind in "iu"
    return alike and labels.size > 0 and labels.min() >= 0 and labels.max() < count


def _numbers(labels: Any) -> Any:
    """In a row, and of the one dtype that loops are compiled for."""
    return np.array(labels.reshape(-1), dtype=np.int64)


def cross_entropy(logits: Any, labels: Any, total: float) -> tuple[Any, Any]:
    """The loss of each row, and the gradient of their sum / `total`."""
    flat, losses = logits.reshape(-1, logits.shape[-1]), np.empty(labels.size, np.float32)
    gradient, fixed = empty(flat.shape), (flat, _numbers(labels), np.float32(1.0 / total))

    def some(start: int, stop: int) -> None:
        _cross_entropy(*fixed, (start, stop), losses, gradient)

    shared(some, labels.size, MANY_ENTRIES // flat.shape[1] + 1)
    return losses.reshape(labels.shape), gradient.reshape(logits.shape)


def summed(rows: Any, labels: Any, count: int) -> Any:
    """The sum of the rows of each label, shape (count, columns)."""
    sums, numbers = np.zeros((count, rows.shape[1]), np.float32), _numbers(labels)

    def some(start: int, stop: int) -> None:
        _summed(rows, numbers, (start, stop), sums)

    shared(some, rows.shape[1], 4 * MANY_ENTRIES // labels.size + 1)
    return sums
