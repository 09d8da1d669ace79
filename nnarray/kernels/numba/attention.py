"""What attention and normalisation over the last axis do to rows, compiled by Numba: threads share the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import exp
from nnarray.kernels.numba.memory import empty, summed
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

MANY_ENTRIES = 100_000  # of a thread's part at least
LOWEST = np.float32(-3e38)


@compiled
def _weights(
    scores: Any, normaliser: Any, seen: Any, each: int, period: int, last: int, rows: Any, known: bool
) -> None:
    """Scores <- the weights of some rows. Row r sees the keys up to `last` + r modulo `period` that `seen` names.

    With `known`, normalisers are read; otherwise they are written. `each` rows share a row of `seen`.
    """
    for r in range(rows[0], rows[1]):
        row, mask = scores[r], seen[r // each]
        count = min(row.size, last + r % period + 1)
        largest = LOWEST
        if not known:
            for j in range(count):
                row[j] = row[j] if mask[j] else np.float32(-np.inf)
            for j in range(count):
                largest = max(largest, row[j])
            total = np.float32(0)
            for j in range(count):
                weight = exp(row[j] - largest) if row[j] > LOWEST else np.float32(0)
                row[j] = weight
                total += weight
            some = total > np.float32(0)
            normaliser[r] = largest + np.log(total) if some else np.float32(0)
            scale = np.float32(1) / total if some else np.float32(0)
            for j in range(count):
                row[j] *= scale
        else:
            largest = normaliser[r]
            for j in range(count):
                row[j] = exp(row[j] - largest) if mask[j] else np.float32(0)
        for j in range(count, row.size):
            row[j] = np.float32(0)


@compiled
def _score_gradients(weights: Any, dweights: Any, along: Any, scale: Any, rows: Any) -> None:
    """Dweights <- weights (dweights - along) scale, over some rows."""
    for r in range(rows[0], rows[1]):
        w, d, a = weights[r], dweights[r], along[r]
        for j in range(w.size):
            d[j] = w[j] * (d[j] - a) * scale


@compiled
def _normalised(x: Any, epsilon: float, rows: Any, z: Any, moments: Any) -> None:
    """Z <- (x - mean) / sqrt(variance + epsilon) of each row; moments <- 1 / sqrt(...), mean and variance."""
    size = x.shape[1]
    for r in range(rows[0], rows[1]):
        v, w = x[r], z[r]
        total = np.float32(0)
        for k in range(size):
            total += v[k]
        mean = total / np.float32(size)
        squares = np.float32(0)
        for k in range(size):
            d = v[k] - mean
            squares += d * d
        variance = squares / np.float32(size)
        inverse = np.float32(1.0 / np.sqrt(variance + epsilon))
        for k in range(size):
            w[k] = (v[k] - mean) * inverse
        moments[0, r], moments[1, r], moments[2, r] = inverse, mean, variance


@compiled
def _pullback(dy: Any, z: Any, weight: Any, inverse: Any, rows: Any, dx: Any, sums: Any) -> None:
    """Dx of each row; sums += dy z and dy."""
    size = dy.shape[1]
    for r in range(rows[0], rows[1]):
        d, v, w = dy[r], z[r], dx[r]
        total, along = np.float32(0), np.float32(0)
        for k in range(size):
            dz = d[k] * weight[k]
            total += dz
            along += dz * v[k]
        total, along = total / np.float32(size), along / np.float32(size)
        for k in range(size):
            w[k] = inverse[r] * (d[k] * weight[k] - total - v[k] * along)
        for k in range(size):
            sums[0, k] += d[k] * v[k]
            sums[1, k] += d[k]


def takes(*arrays: Any) -> bool:
    """Whether these are in float32, as they lie."""
    return all(x.dtype == np.float32 and x.flags.c_contiguous and x.flags.aligned and x.size > 0 for x in arrays)


def _by_rows(work: Callable[[tuple[int, int]], None], rows: int, size: int) -> None:
    shared(lambda start, stop: work((start, stop)), rows, MANY_ENTRIES // size + 1)


def weights(scores: Any, normaliser: Any, seen: Any, period: int, last: int, *, known: bool) -> None:
    """Scores, (rows, keys), become weights, as `_weights`."""
    each = scores.shape[0] // seen.shape[0]
    _by_rows(lambda part: _weights(scores, normaliser, seen, each, period, last, part, known), *scores.shape)


def score_gradients(weights: Any, dweights: Any, along: Any, scale: float) -> None:
    """Dweights, (rows, keys), become the gradients of scores."""
    number = np.float32(scale)
    _by_rows(lambda part: _score_gradients(weights, dweights, along, number, part), *weights.shape)


def normalise(x: Any, epsilon: float) -> tuple[Any, Any]:
    """Z, and 1 / sqrt(variance + epsilon), mean and variance of each row."""
    z, moments = empty(x.shape), np.empty((3, x.shape[0]), np.float32)
    _by_rows(lambda part: _normalised(x, epsilon, part, z, moments), *x.shape)
    return z, moments


def layer_norm_pullback(dy: Any, z: Any, weight: Any, inverse: Any) -> tuple[Any, Any, Any]:
    """Dx, dw and db."""
    dx = empty(dy.shape)

    def some(start: int, stop: int) -> Any:
        sums = np.zeros((2, dy.shape[1]))
        _pullback(dy, z, weight, inverse, (start, stop), dx, sums)
        return sums

    dw, db = summed(some, dy.shape[0], MANY_ENTRIES // dy.shape[1] + 1)
    return dx, dw.astype(np.float32), db.astype(np.float32)
