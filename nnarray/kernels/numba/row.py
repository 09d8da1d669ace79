"""The product of one row with many weights, compiled by Numba: as fast as the weights are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

LARGE = 2**20  # weights from which it pays
PART = 2**18  # weights of a thread's part at least


@compiled
def _scores(x: Any, vectors: Any, rows: Any, y: Any) -> None:
    """Y <- the products of x with some vectors."""
    for r in range(rows[0], rows[1]):
        vector, total = vectors[r], np.float32(0)
        for k in range(x.size):
            total += x[k] * vector[k]
        y[r] = total


def takes(x: Any, vectors: Any) -> bool:
    """Whether x is a single row, and the vectors are many that lie one after the other."""
    plain = x.dtype == vectors.dtype == np.float32 and vectors.flags.c_contiguous and vectors.flags.aligned
    return plain and x.size == x.shape[-1] and vectors.size >= LARGE


def scores(x: Any, vectors: Any) -> Any:
    """X vectors^T, shape (..., number of vectors)."""
    y, row = np.empty(len(vectors), np.float32), np.ascontiguousarray(x).reshape(-1)
    least = PART // vectors.shape[1] + 1
    shared(lambda start, stop: _scores(row, vectors, (start, stop), y), len(vectors), least)
    return y.reshape(*x.shape[:-1], -1)
