"""What batch normalisation does to rows of channels, (rows, channels), compiled by Numba.

A loop over few channels has no time to fill the vector registers. So several rows are read as one wide row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.numba.memory import empty, summed
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

WIDE = 256  # entries of a wide row
PATCH = 4096  # entries that are summed in float32, before they are added to what is summed in float64
LEAST = 32  # but rows of them


@compiled
def _sums(x: Any, z: Any, rows: Any, total: Any, along: Any) -> None:
    """total += sum of x and along += sum of x z, over some rows."""
    few, few_along = np.zeros(total.size, np.float32), np.zeros(total.size, np.float32)
    patch = max(PATCH // total.size, LEAST)
    for start in range(rows[0], rows[1], patch):
        few[:], few_along[:] = np.float32(0), np.float32(0)
        for r in range(start, min(start + patch, rows[1])):
            v, w = x[r], z[r]
            for k in range(v.size):
                few[k] += v[k]
                few_along[k] += v[k] * w[k]
        for k in range(total.size):
            total[k] += few[k]
            along[k] += few_along[k]


@compiled
def _moments(x: Any, rows: Any, mean: Any, square: Any) -> None:
    """The mean of some rows, and the sum of their squared deviations from it: those of patches in the cache, joined."""
    few, few_squares = np.zeros(mean.size, np.float32), np.zeros(mean.size, np.float32)
    patch = max(PATCH // mean.size, LEAST)
    for start in range(rows[0], rows[1], patch):
        count, before = min(patch, rows[1] - start), start - rows[0]
        few[:], few_squares[:] = np.float32(0), np.float32(0)
        for r in range(start, start + count):
            v = x[r]
            for k in range(v.size):
                few[k] += v[k]
        for k in range(mean.size):
            few[k] = few[k] / np.float32(count)
        for r in range(start, start + count):
            v = x[r]
            for k in range(v.size):
                d = v[k] - few[k]
                few_squares[k] += d * d
        for k in range(mean.size):
            between = few[k] - mean[k]
            mean[k] += between * (count / (before + count))
            square[k] += few_squares[k] + between * between * (count * before / (before + count))


@compiled
def _normalised(x: Any, mean: Any, inverse: Any, rows: Any, z: Any) -> None:
    """z <- (x - mean) inverse, over some rows."""
    for r in range(rows[0], rows[1]):
        v, w = x[r], z[r]
        for k in range(v.size):
            w[k] = (v[k] - mean[k]) * inverse[k]


@compiled
def _scaled(z: Any, factor: Any, shift: Any, rows: Any, y: Any) -> None:
    """y <- z factor + shift, over some rows."""
    for r in range(rows[0], rows[1]):
        v, w = z[r], y[r]
        for k in range(v.size):
            w[k] = v[k] * factor[k] + shift[k]


@compiled
def _combined(x: Any, z: Any, a: Any, b: Any, c: Any, rows: Any, y: Any) -> None:
    """y <- x a + z b + c, over some rows."""
    for r in range(rows[0], rows[1]):
        v, w, u = x[r], z[r], y[r]
        for k in range(v.size):
            u[k] = v[k] * a[k] + w[k] * b[k] + c[k]


MANY_ENTRIES = 100_000  # of a thread's part at least


def takes_rows(*arrays: Any) -> bool:
    """Whether these are rows of channels in float32, as they lie."""
    return all(x.dtype == np.float32 and x.flags.c_contiguous and x.flags.aligned and x.size > 0 for x in arrays)


def repeated(x: Any, vectors: Any) -> tuple[Any, Any]:
    """Rows of channels as wide rows, as many of them as divide the count; and vectors of channels as often."""
    channels = x.shape[-1]
    times = math.gcd(x.size // channels, 1 << max(WIDE // channels, 1).bit_length() - 1)
    return x.reshape(-1, times * channels), None if vectors is None else np.tile(vectors, times)


def by_rows(work: Callable[[tuple[int, int]], None], x: Any) -> None:
    """Work on some rows at a time."""
    shared(lambda start, stop: work((start, stop)), x.shape[0], MANY_ENTRIES // x.shape[1] + 1)


def summed_rows(work: Callable[..., None], x: Any, channels: int) -> Any:
    """Two sums for each channel, in float64; `work` adds those of some wide rows."""

    def some(start: int, stop: int) -> Any:
        moments = np.zeros((2, x.shape[1]))
        work((start, stop), moments[0], moments[1])
        return moments

    return summed(some, x.shape[0], MANY_ENTRIES // x.shape[1] + 1).reshape(2, -1, channels).sum(axis=1)


def sums(x: Any, z: Any) -> tuple[Any, Any]:
    """The sums over the rows of x and of x z, in float64."""
    (rows, _), (others, _) = repeated(x, None), repeated(z, None)
    total, along = summed_rows(lambda part, total, along: _sums(rows, others, part, total, along), rows, x.shape[1])
    return total, along


def normalise(x: Any, epsilon: float) -> tuple[Any, Any, Any, Any]:
    """z, 1 / sqrt(variance + epsilon), mean and variance of each channel."""
    z = empty(x.shape)
    mean, variance = mean_and_variance(x)
    inverse = (1.0 / np.sqrt(variance + epsilon)).astype(np.float32)
    mean = mean.astype(np.float32)
    rows, (means, inverses) = repeated(x, np.stack([mean, inverse]))
    by_rows(lambda part: _normalised(rows, means, inverses, part, z.reshape(rows.shape)), rows)
    return z, inverse, mean, variance.astype(np.float32)


def mean_and_variance(x: Any) -> tuple[Any, Any]:
    """Those of each channel, in float64: joined from those of the parts [1]_.

    References
    ----------
    .. [1] Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance. The American Statistician 37(3).
    """
    rows, _ = repeated(x, None)
    parts: dict[int, Any] = {}

    def some(start: int, stop: int) -> None:
        moments = np.zeros((2, rows.shape[1]))
        _moments(rows, (start, stop), moments[0], moments[1])
        parts[start] = np.full(rows.shape[1], stop - start), *moments

    shared(some, rows.shape[0], MANY_ENTRIES // rows.shape[1] + 1)
    found = zip(*(parts[start] for start in sorted(parts)), strict=True)
    counts, means, squares = (np.stack(each).reshape(-1, x.shape[1]) for each in found)
    mean = (counts * means).sum(axis=0) / x.shape[0]
    return mean, (squares + counts * (means - mean) ** 2).sum(axis=0) / x.shape[0]


def batch_norm_pullback(dy: Any, z: Any, weight: Any, inverse: Any) -> tuple[Any, Any, Any]:
    """dx, dw and db."""
    count, dx = dy.shape[0], empty(dy.shape)
    db, dw = sums(dy, z)
    a = (weight * inverse).astype(np.float32)
    b, c = (-a * dw / count).astype(np.float32), (-a * db / count).astype(np.float32)
    rows, (a, b, c) = repeated(dy, np.stack([a, b, c]))
    others, given = z.reshape(rows.shape), dx.reshape(rows.shape)
    by_rows(lambda part: _combined(rows, others, a, b, c, part, given), rows)
    return dx, dw.astype(np.float32), db.astype(np.float32)


def scaled(z: Any, weight: Any, bias: Any) -> Any:
    """z w + b."""
    y = empty(z.shape)
    rows, (factors, summands) = repeated(z, np.stack([weight, bias]))
    by_rows(lambda part: _scaled(rows, factors, summands, part, y.reshape(rows.shape)), rows)
    return y
