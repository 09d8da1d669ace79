"""What stands between two convolutions, for NumPy arrays: compiled, or in blocks of images that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces, quiet
from nnarray.kernels.numpy.general import BLOCK, CHUNK, chosen, folded, sum_of_rows
from nnarray.kernels.standard.windows import Window
from nnarray.kernels.threads import shared

AT_ONCE = 2 * BLOCK  # entries of a block: in smaller ones, NumPy's calls take longer than the cache saves
LINE = 1024  # entries of a row with which vectors of channels are combined: NumPy begins a loop for each row
SHORT = 200  # and for few entries, that takes longer than the loop


@kernels.normalised_relu.fast("numpy")
@quiet
def normalised_relu(x: Any, weight: Any, bias: Any, *, epsilon: float, window: Window | None = None) -> Any:
    """Compiled, in one pass after that of the moments; or in two passes over blocks, which threads share."""
    loops, found = numba_pieces("blocks"), None
    if loops and loops.takes(x, weight, bias, window):
        found = loops.normalised_relu(x, weight, bias, epsilon, window)
    elif not loops and _takes(x, weight, bias, window):
        found = _Blocks(x, weight, bias, epsilon, window).results()
    return found or kernels.normalised_relu.definition(x, weight, bias, epsilon=epsilon, window=window)


def _takes(x: Any, weight: Any, bias: Any, window: Window | None) -> bool:
    """Whether these are large enough for blocks, and the windows lie side by side."""
    if not (x.ndim > 1 and x.dtype == weight.dtype == bias.dtype and x.dtype.itemsize >= 4 and x.flags.c_contiguous):
        return False
    if x.size <= CHUNK or _times(x, window) * x.shape[-1] < SHORT or not math.isfinite(weight.sum() + bias.sum()):
        return False
    return window is None or (x.ndim == 4 and window.is_apart and min(window.output_size(x.shape[1:3])) > 0)


def _times(x: Any, window: Window | None) -> int:
    """The number of positions in a row of entries: it divides those of an image, or all if there is no window."""
    positions = math.prod(x.shape[1:-1] if window else x.shape[:-1])
    most = max(LINE // x.shape[-1], 1)
    return next(n for n in range(min(most, positions), 0, -1) if positions % n == 0)


class _Blocks:
    """The moments and the outputs; kept are inputs and outputs alone, as both directions compute equal numbers."""

    def __init__(self, x: Any, weight: Any, bias: Any, epsilon: float, window: Window | None) -> None:
        self.given, self.weight, self.window = x, weight, window or Window((1, 1))
        self.count, self.channels = x.size // x.shape[-1], x.shape[-1]
        self.times = _times(x, window)
        self.x = x if window else x.reshape(-1, 1, self.times, self.channels)
        self.images = max(AT_ONCE // self.x[0].size, 1)
        self.mean = sum_of_rows(x.reshape(-1, self.channels)) / x.dtype.type(self.count)
        self.means = self._repeated(self.mean)
        self.variance = self._variance()
        self.inverse = (1.0 / np.sqrt(self.variance + epsilon)).astype(x.dtype, copy=False)
        self.scale, self.shift = (self._repeated(each) for each in (self.inverse * weight, bias))

    def results(self) -> Any:
        """y, mean, variance and the pullback; None where the variance is too large for the dtype, or nan."""
        if not (self.inverse > 0).all():
            return None
        down, across = self.window.output_size(self.x.shape[1:3])
        y = np.empty((len(self.x), down, across, self.channels), self.x.dtype)

        def write(part: slice) -> None:
            values = self._centred(part)
            self._finish(values)
            self._pool(values.reshape(self.x[part].shape), y[part])

        self._each(write)
        small = (1,) * (self.given.ndim - 1) + (-1,)
        shape = y.shape if self.x is self.given else self.given.shape
        moments = self.mean.reshape(small), self.variance.reshape(small)
        return y.reshape(shape), *moments, lambda dy: self._back(dy.reshape(y.shape), y)

    def _each(self, work: Callable[[slice], None]) -> None:
        """Work on each block of images; threads share them."""
        blocks = -(-len(self.x) // self.images)

        @quiet  # in each thread
        def some(start: int, stop: int) -> None:
            for block in range(start, stop):
                work(slice(block * self.images, (block + 1) * self.images))

        shared(some, blocks, 1)

    def _repeated(self, vector: Any) -> Any:
        """One number of each channel, for each position of a row."""
        return np.tile(vector, self.times)

    def _rows(self, x: Any) -> Any:
        """Entries as rows of `times` positions."""
        return x.reshape(-1, self.times * self.channels)

    def _centred(self, part: slice) -> Any:
        """X - mean of some images."""
        return np.subtract(self._rows(self.x[part]), self.means)

    def _finish(self, centred: Any) -> None:
        """What batch normalisation makes of it, in place."""
        centred *= self.scale
        centred += self.shift

    def _summed(self, of_block: Callable[[slice], Any]) -> Any:
        """The sum of what the blocks give, in their order."""
        found: dict[int, Any] = {}

        def keep(part: slice) -> None:
            found[part.start] = of_block(part)

        self._each(keep)
        return sum(found[start] for start in sorted(found))

    def _variance(self) -> Any:
        def squares(part: slice) -> Any:
            centred = self._centred(part)
            return folded(np.multiply(centred, centred, out=centred).reshape(-1), self.channels)

        return self._summed(squares) / self.x.dtype.type(self.count)

    def _taps(self, images: Any, down: int, across: int) -> Iterator[Any]:
        """The entries at each place of the windows."""
        for tap in self.window.taps():
            yield images[(slice(None), *self.window.seen_by(tap, (down, across)))]

    def _pool(self, values: Any, y: Any) -> None:
        """The largest of 0 and each window: one function of two arguments after the other, of a quarter each."""
        first, *others = self._taps(values, *y.shape[1:3])
        np.maximum(first, 0, out=y)
        for other in others:
            np.maximum(y, other, out=y)

    def _back(self, dy: Any, y: Any) -> tuple[Any, Any, Any]:
        """Dx, dw and db."""
        dx = np.empty_like(self.x)

        def spread(part: slice) -> Any:
            return self._spread(dy[part], y[part], part, dx[part])

        db, along = self._summed(spread)
        scale = self.weight * self.inverse
        dw = along * self.inverse
        factors = scale, -scale * self.inverse * dw / dy.dtype.type(self.count), -scale * db / dy.dtype.type(self.count)
        wide = [self._repeated(each) for each in factors]

        def combine(part: slice) -> None:
            rows, centred = self._rows(dx[part]), self._centred(part)
            centred *= wide[1]
            centred += wide[2]
            rows *= wide[0]
            rows += centred

        self._each(combine)
        return dx.reshape(self.given.shape), dw, db

    def _spread(self, dy: Any, y: Any, part: slice, dx: Any) -> Any:
        """Write dy to the first entry of each window that is y, else 0; the sums of dx and of dx (x - mean)."""
        left = chosen(y > 0, np.ascontiguousarray(dy))
        centred = self._centred(part)
        values = centred.copy()
        self._finish(values)
        bits = left.view(f"i{left.itemsize}")
        if dx.size != y.size * math.prod(self.window.size):
            dx[...] = 0.0
        places = (self._taps(each, *y.shape[1:3]) for each in (values.reshape(dx.shape), dx))
        *others, (_, last) = zip(*places, strict=True)
        for seen, given in others:
            share = chosen(seen == y, left)
            bits ^= share.view(bits.dtype)
            given[...] = share
        last[...] = left  # which no other entry of its window was given
        np.multiply(self._rows(dx), centred, out=centred)
        return np.stack([folded(each.reshape(-1), self.channels) for each in (dx, centred)])
