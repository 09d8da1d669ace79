"""The product of one row with many weights, compiled by Numba: as fast as the weights are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.kernels.numba.memory import empty
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

LARGE = 2**18  # weights from which it pays
PART = 2**18  # weights of a thread's part at least
BLOCKS = 4  # of rows of weights, whose sums are added in order: the result does not depend on the number of threads


@compiled
def _scores(x: Any, vectors: Any, rows: Any, y: Any) -> None:
    """Y <- the products of x with some vectors."""
    for r in range(rows[0], rows[1]):
        vector, total = vectors[r], np.float32(0)
        for k in range(x.size):
            total += x[k] * vector[k]
        y[r] = total


@compiled
def _sums(x: Any, weight: Any, blocks: Any, sums: Any) -> None:
    """Some rows of sums <- the sums of a block of rows of weights, by x: each row is read as it lies in memory."""
    for block in range(blocks[0], blocks[1]):
        total = sums[block]
        total[:] = np.float32(0)
        for k in range(block * x.size // BLOCKS, (block + 1) * x.size // BLOCKS):
            factor, vector = x[k], weight[k]
            for j in range(total.size):
                total[j] += factor * vector[j]


def takes(x: Any, weight: Any) -> bool:
    """Whether x is a single row, and the weights are many that lie one after the other, or so transposed."""
    plain = x.dtype == weight.dtype == np.float32 and weight.flags.aligned and weight.ndim == 2
    lies = weight.flags.c_contiguous or weight.flags.f_contiguous
    return plain and lies and x.size == x.shape[-1] == weight.shape[0] and weight.size >= LARGE


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """X weight + bias, shape (..., columns)."""
    row, vectors = np.ascontiguousarray(x).reshape(-1), weight.T
    if vectors.flags.c_contiguous:
        y, least = np.empty(len(vectors), np.float32), PART // vectors.shape[1] + 1
        shared(lambda start, stop: _scores(row, vectors, (start, stop), y), len(vectors), least)
    else:
        sums = empty((BLOCKS, weight.shape[1]))
        shared(lambda start, stop: _sums(row, weight, (start, stop), sums), BLOCKS, PART * BLOCKS // weight.size + 1)
        y = (sums[0] + sums[1]) + (sums[2] + sums[3])
    return (y if bias is None else np.add(y, bias, out=y)).reshape(*x.shape[:-1], -1)
