"""Normalisation over the last axis, compiled by Numba: threads share the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.kernels.numba.memory import empty, summed
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

MANY_ENTRIES = 100_000  # of a thread's part at least


@compiled
def _normalised(x: Any, weight: Any, bias: Any, epsilon: float, rows: Any, y: Any, means: Any, inverses: Any) -> None:
    """Y <- w (x - mean) / sqrt(variance + epsilon) + b of each row."""
    size = x.shape[1]
    for r in range(rows[0], rows[1]):
        v, w = x[r], y[r]
        total = np.float32(0)
        for k in range(size):
            total += v[k]
        mean = total / np.float32(size)
        squares = np.float32(0)
        for k in range(size):
            d = v[k] - mean
            squares += d * d
        inverse = np.float32(1.0 / np.sqrt(squares / np.float32(size) + epsilon))
        for k in range(size):
            w[k] = (v[k] - mean) * inverse * weight[k] + bias[k]
        means[r], inverses[r] = mean, inverse


@compiled
def _pullback(dy: Any, x: Any, weight: Any, mean: Any, inverse: Any, rows: Any, dx: Any, sums: Any) -> None:
    """Dx of each row; sums += dy z and dy."""
    size = dy.shape[1]
    for r in range(rows[0], rows[1]):
        d, v, w = dy[r], x[r], dx[r]
        centre, scale = mean[r], inverse[r]
        total, along = np.float32(0), np.float32(0)
        for k in range(size):
            dz, z = d[k] * weight[k], (v[k] - centre) * scale
            total += dz
            along += dz * z
            sums[0, k] += d[k] * z
            sums[1, k] += d[k]
        total, along = total / np.float32(size), along / np.float32(size)
        for k in range(size):
            w[k] = scale * (d[k] * weight[k] - total - (v[k] - centre) * scale * along)


def takes(*arrays: Any) -> bool:
    """Whether these are in float32, as they lie."""
    return all(x.dtype == np.float32 and x.flags.c_contiguous and x.flags.aligned and x.size > 0 for x in arrays)


def layer_norm(x: Any, weight: Any, bias: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Y, and mean and 1 / sqrt(variance + epsilon) of each row."""
    y, mean, inverse = empty(x.shape), *np.empty((2, x.shape[0]), np.float32)

    def some(start: int, stop: int) -> None:
        _normalised(x, weight, bias, epsilon, (start, stop), y, mean, inverse)

    shared(some, x.shape[0], MANY_ENTRIES // x.shape[1] + 1)
    return y, mean, inverse


def layer_norm_pullback(dy: Any, x: Any, weight: Any, mean: Any, inverse: Any) -> tuple[Any, Any, Any]:
    """Dx, dw and db."""
    dx = empty(dy.shape)

    def some(start: int, stop: int) -> Any:
        sums = np.zeros((2, dy.shape[1]))
        _pullback(dy, x, weight, mean, inverse, (start, stop), dx, sums)
        return sums

    dw, db = summed(some, dy.shape[0], MANY_ENTRIES // dy.shape[1] + 1)
    return dx, dw.astype(np.float32), db.astype(np.float32)
