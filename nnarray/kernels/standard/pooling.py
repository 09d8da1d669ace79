"""The largest or the mean entry of each window, channel by channel, and the pullbacks."""

from __future__ import annotations

import math

from nnarray.backends import device_of, namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard import numerics
from nnarray.kernels.standard.windows import Window, cropped, padded, spread
from nnarray.typing import Array


@kernel
def max_pool(x: Array, *, window: Window) -> Array:
    """y[n, p, q, c] = max over i, j of x[n, p s + i d, q s + j d, c]; padding is ignored, and nan is the largest.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels)
    """
    xp, output_size = namespace(x), window.output_size(x.shape[1:3])
    padded_x = padded(x, window.padding, -math.inf)
    y: Array | None = None
    for tap in window.taps():
        seen = padded_x[:, *window.seen_by(tap, output_size), :]
        y = seen if y is None else xp.maximum(y, seen)
    assert y is not None
    return y


@kernel
def max_pool_pullback(dy: Array, x: Array, y: Array, *, window: Window) -> Array:
    """dy goes to the first entry of each window, row by row, that is the largest."""
    xp, output_size = namespace(x), window.output_size(x.shape[1:3])
    padded_x = padded(x, window.padding, -math.inf)
    wide_dy = numerics.at_least_float32(dy)
    free = xp.ones(y.shape, dtype=xp.bool, device=device_of(y))
    dx: Array | None = None
    for tap in window.taps():
        won = (padded_x[:, *window.seen_by(tap, output_size), :] == y) & free
        free = free & ~won
        term = spread(xp.where(won, wide_dy, 0.0), window, tap, padded_x.shape)
        dx = term if dx is None else dx + term
    assert dx is not None
    return xp.astype(cropped(dx, window.padding), dy.dtype, copy=False)


@kernel
def mean_pool(x: Array, counts: Array, *, window: Window) -> Array:
    """y[n, p, q, c] = sum over i, j of x[n, p s + i d, q s + j d, c] / counts[p, q], with x padded by zeros.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels)
    counts : array, shape (positions down, positions across, 1), dtype of x
        How many entries of each window count.
    """
    output_size = window.output_size(x.shape[1:3])
    padded_x = padded(numerics.at_least_float32(x), window.padding)
    y: Array | None = None
    for tap in window.taps():
        seen = padded_x[:, *window.seen_by(tap, output_size), :]
        y = seen if y is None else y + seen
    assert y is not None
    return namespace(x).astype(y / counts, x.dtype, copy=False)


@kernel
def mean_pool_pullback(dy: Array, x: Array, counts: Array, *, window: Window) -> Array:
    """Each entry of a window gets dy / counts."""
    scaled_dy = numerics.at_least_float32(dy) / counts
    padded_shape = (x.shape[0], x.shape[1] + sum(window.padding[0]), x.shape[2] + sum(window.padding[1]), x.shape[3])
    dx: Array | None = None
    for tap in window.taps():
        term = spread(scaled_dy, window, tap, padded_shape)
        dx = term if dx is None else dx + term
    assert dx is not None
    return namespace(x).astype(cropped(dx, window.padding), dy.dtype, copy=False)
