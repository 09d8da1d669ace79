"""The largest or the mean entry of windows along any number of axes, channels first."""

from __future__ import annotations

import math
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of
from nnarray.onnx.operators.common import Call, is_float, scalar, space, whole, widened
from nnarray.onnx.operators.convolution import window_of
from nnarray.onnx.operators.indexing import merged
from nnarray.onnx.operators.table import operator
from nnarray.onnx.operators.windows import Windows
from nnarray.recording import custom_gradient, stop_gradient


@operator("MaxPool")
def max_pool(
    call: Call,
    x: Any,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    kernel_shape: Any,
    pads: Any = None,
    storage_order: int = 0,
    strides: Any = None,
) -> Any:
    """The largest entry of each window, and the numbers of these entries."""
    windows = Windows.over(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil=bool(ceil_mode))
    if call.outputs == 1 and x.ndim == 4 and is_float(x) and not ceil_mode:
        xp = space(x)
        return xp.permute_dims(_of_images(xp.permute_dims(x, (0, 2, 3, 1)), windows), (0, 3, 1, 2))
    return _largest(call, x, windows, storage_order)


def _of_images(x: Any, windows: Windows) -> Any:
    window = window_of(windows)

    @custom_gradient
    def largest(x: Any) -> Any:
        y = kernels.max_pool(x, window=window)
        return y, lambda dy: kernels.max_pool_pullback(dy, x, y, window=window)

    return largest(x)


def _largest(call: Call, x: Any, windows: Windows, storage_order: int) -> Any:
    xp, shape = space(x), tuple(x.shape[2:])
    lowest: Any = -math.inf if is_float(x) else int(xp.iinfo(x.dtype).min)
    sides = ((0, 0), (0, 0), *windows.padding_for(shape))
    padded = widened(x, sides, lowest)
    if call.outputs == 1:
        best = None
        for tap in windows.taps():
            seen = padded[(slice(None), slice(None), *windows.key(tap))]
            best = seen if best is None else xp.maximum(best, seen)
        return best
    numbers = widened(_numbers(call, x, storage_order), sides, -1)
    best = place = None
    for tap in windows.taps():
        key = (slice(None), slice(None), *windows.key(tap))
        seen, number = padded[key], numbers[key]
        if best is None:
            best, place = seen, number
        else:
            wins = stop_gradient(seen) > stop_gradient(best)
            best, place = xp.where(wins, seen, best), call.backend.xp.where(wins, number, place)
    return best, place


def _numbers(call: Call, x: Any, storage_order: int) -> Any:
    """The number of each entry, in rows or in columns."""
    shape, dtype = tuple(x.shape), call.dtype("int64")
    xp = call.backend.xp
    if not storage_order:
        return xp.reshape(call.arange(math.prod(shape), dtype=dtype), shape)
    turned = xp.reshape(call.arange(math.prod(shape), dtype=dtype), (*shape[:2], *shape[:1:-1]))
    return xp.permute_dims(turned, (0, 1, *range(len(shape) - 1, 1, -1)))


@operator("AveragePool")
def average_pool(
    x: Any,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Any = None,
    kernel_shape: Any,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """The mean of each window."""
    windows = Windows.over(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil=bool(ceil_mode))
    total = _total(x, windows)
    for axis, counts in enumerate(windows.counts(x.shape[2:], with_padding=bool(count_include_pad)), start=2):
        total = total / (counts[0] if len({*counts}) == 1 else _along(counts, total, axis))
    return total


def _along(numbers: list[int], like: Any, axis: int) -> Any:
    shape = [1] * like.ndim
    shape[axis] = len(numbers)
    return space(like).reshape(scalar([float(n) for n in numbers], like), tuple(shape))


def _total(x: Any, windows: Windows) -> Any:
    padded = widened(x, ((0, 0), (0, 0), *windows.padding_for(x.shape[2:])))
    total = None
    for tap in windows.taps():
        seen = padded[(slice(None), slice(None), *windows.key(tap))]
        total = seen if total is None else total + seen
    return total


@operator("LpPool")
def lp_pool(
    x: Any,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    kernel_shape: Any,
    p: int = 2,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """The norm of each window."""
    windows = Windows.over(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil=bool(ceil_mode))
    return _total(space(x).abs(x) ** float(p), windows) ** (1.0 / p)


@operator("GlobalAveragePool")
def global_average_pool(x: Any) -> Any:
    """The mean of each channel."""
    return space(x).mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(x: Any) -> Any:
    """The largest entry of each channel."""
    return space(x).max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("GlobalLpPool", 2)
def global_lp_pool(x: Any, *, p: int = 2) -> Any:
    """The norm of each channel."""
    xp = space(x)
    return xp.sum(xp.abs(x) ** float(p), axis=tuple(range(2, x.ndim)), keepdims=True) ** (1.0 / p)


@operator("MaxUnpool", 9, reads=(2,))
def max_unpool(
    call: Call, x: Any, numbers: Any, shape: Any = None, *, kernel_shape: Any, pads: Any = None, strides: Any = None
) -> Any:
    """Each entry where MaxPool found it, and zeros elsewhere."""
    xp, ndim = space(x), x.ndim - 2
    steps, sides = strides or (1,) * ndim, pads or (0,) * (2 * ndim)
    own = [
        (n - 1) * s + k - sides[i] - sides[i + ndim]
        for i, (n, s, k) in enumerate(zip(x.shape[2:], steps, kernel_shape, strict=True))
    ]
    full = tuple(whole(shape)) if shape is not None else (*x.shape[:2], *own)
    if shape is not None:  # the numbers are those in the smaller array, of which the larger one has the first entries
        numbers = _renumbered(numbers, (*x.shape[:2], *own), full)
    call.room(full)
    zeros = xp.zeros((math.prod(full), 1), dtype=x.dtype, device=device_of(x))
    flat = xp.reshape(x, (-1, 1))
    return xp.reshape(merged(zeros, space(numbers).reshape(numbers, (-1,)), flat, "none"), full)


def _renumbered(numbers: Any, old: tuple[int, ...], new: tuple[int, ...]) -> Any:
    xp, place, rest, step = space(numbers), None, numbers, 1
    for n, m in zip(reversed(old), reversed(new), strict=True):
        size = xp.full((), n, dtype=numbers.dtype, device=device_of(numbers))
        term = xp.remainder(rest, size) * step
        rest, step = xp.floor_divide(rest, size), step * m
        place = term if place is None else place + term
    return place
