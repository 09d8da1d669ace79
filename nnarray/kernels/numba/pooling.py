"""The largest entry of each window, compiled by Numba, and its pullback."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import piece
from nnarray.kernels.numba.memory import empty, flat
from nnarray.kernels.numba.vectors import LANES, MANY, compiled, largest1, largest4, to_first
from nnarray.kernels.standard.windows import Window
from nnarray.kernels.threads import shared

MANY_ENTRIES = 100_000  # of a thread's part at least: in the pullback
COMPARISONS = 1_500_000 // 8  # and of the values: some 30 us


@piece
def _largest(
    x: Any, at: int, down: int, across: int, rows: int, columns: int, y: Any, to: int, channels: int
) -> None:  # fmt: skip
    """The largest entries of a window, LANES channels or more."""
    lanes = MANY * LANES if channels >= MANY * LANES else LANES
    for lane in range(0, channels, lanes):
        k = min(lane, channels - lanes)  # the last lanes go back to where they are full
        if lanes == LANES:
            largest1(x, at + k, down, across, rows, columns, y, to + k)
        else:
            largest4(x, at + k, down, across, rows, columns, y, to + k)


@compiled
def _max_pool(x: Any, y: Any, at: int, step: int, sizes: Any, window: Any, lines: Any) -> None:
    """Rows of y, `step` entries apart, LANES channels or more; sizes are height, width, channels and positions."""
    height, width, channels, down, across = sizes
    taps_down, taps_across, stride_down, stride_across, above, beside = window
    columns = np.empty(width * channels if stride_across == 1 and taps_across > 2 else 0, dtype=np.float32)
    for line in range(lines[0], lines[1]):
        top = line % down * stride_down - above
        first, last = max(top, 0), min(top + taps_down, height)
        start, out = (line // down * height + first) * width * channels, at + line * across * step
        if columns.size:  # down first: the windows beside each other share the largest of a column
            for j in range(width):
                offset = start + j * channels
                _largest(x, offset, width * channels, channels, last - first, 1, columns, j * channels, channels)
        for q in range(across):
            left = q * stride_across - beside
            begin, end = max(left, 0), min(left + taps_across, width)
            offset, to = begin * channels, out + q * step
            if columns.size:
                _largest(columns, offset, 0, channels, 1, end - begin, y, to, channels)
            else:
                _largest(x, start + offset, width * channels, channels, last - first, end - begin, y, to, channels)


@compiled
def _max_pool_pullback(dy: Any, x: Any, y: Any, dx: Any, sizes: Any, window: Any, images: Any) -> None:
    """dx <- dy at the first entry of each window that is the largest, channel by channel, else 0."""
    height, width, channels, down, across = sizes
    taps_down, taps_across, stride_down, stride_across, above, beside = window
    size, vectors = height * width * channels, channels // LANES * LANES
    for n in range(images[0], images[1]):
        dx[n * size : (n + 1) * size] = np.float32(0)
        for p in range(down):
            first, last = max(p * stride_down - above, 0), min(p * stride_down - above + taps_down, height)
            for q in range(across):
                begin, end = max(q * stride_across - beside, 0), min(q * stride_across - beside + taps_across, width)
                if first >= last or begin >= end:  # all of it is padding
                    continue
                at, to = n * size + (first * width + begin) * channels, ((n * down + p) * across + q) * channels
                for k in range(0, vectors, LANES):
                    to_first(x, at + k, width * channels, channels, last - first, end - begin, y, dy, to + k, dx)  # pyright: ignore[reportCallIssue]
                for k in range(vectors, channels):
                    best = at + k
                    for i in range(last - first):
                        for j in range(end - begin):
                            each = at + (i * width + j) * channels + k
                            best = each if x[each] > x[best] else best
                    dx[best] += dy[to + k] if x[best] == y[to + k] else np.float32(0)


def takes_pool(x: Any, window: Window) -> bool:
    """Whether the largest entries can be found here."""
    return x.dtype == np.float32 and window.dilation == (1, 1) and x.size > 0 and x.shape[3] >= LANES


def _numbers(window: Window) -> tuple[int, ...]:
    return (*window.size, *window.stride, window.padding[0][0], window.padding[1][0])


def max_pool(x: Any, window: Window, y: Any = None, first: int = 0) -> Any:
    """The largest entries; written into the channels of y from the first one on, if y is given."""
    n, height, width, channels = x.shape
    down, across = window.output_size((height, width))
    if y is None:
        y = empty((n, down, across, channels))
    sizes, entries = (height, width, channels, down, across), y.reshape(-1)
    numbers = _numbers(window)

    def some(start: int, stop: int) -> None:
        _max_pool(flat(x), entries, first, y.shape[3], sizes, numbers, (start, stop))

    shared(some, n * down, COMPARISONS // (across * channels * math.prod(window.size)) + 1)
    return y


def max_pool_pullback(dy: Any, x: Any, y: Any, window: Window) -> Any:
    """dx."""
    dx = empty(x.shape)
    sizes, numbers = (*x.shape[1:], *y.shape[1:3]), _numbers(window)

    def some(start: int, stop: int) -> None:
        _max_pool_pullback(flat(dy), flat(x), flat(y), dx.reshape(-1), sizes, numbers, (start, stop))

    shared(some, x.shape[0], MANY_ENTRIES // (x[0].size or 1) + 1)
    return dx
