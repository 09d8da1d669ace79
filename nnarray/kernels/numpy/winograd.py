"""Winograd's convolution with 3 x 3 windows: four outputs along an axis from six inputs, with six products.

y = A^T ((G w) (B^T x)) along each axis: polynomials through six points, five numbers and infinity [1]_.

References
----------
.. [1] Lavin & Gray (2016), Fast algorithms for convolutional neural networks. CVPR.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnarray.kernels.standard.windows import Window
from nnarray.kernels.threads import shared

TILE = 4  # positions along an axis that are computed at once
WIDE = 3  # entries of a window along an axis
POINTS = TILE + WIDE - 1
NUMBERS = (0.0, 0.625, -0.625, 1.5, -1.5)  # whose powers and differences round least in float32


def _matrices() -> tuple[Any, Any, Any]:
    """A^T of shape (4, 6), G of shape (6, 3) and B^T of shape (6, 6)."""
    powers = np.vander(NUMBERS, TILE, increasing=True).T
    forward = np.concatenate([powers, np.eye(TILE)[:, -1:]], axis=1)
    filters, inputs = np.zeros((POINTS, 3)), np.zeros((POINTS, POINTS))
    for j, point in enumerate(NUMBERS):
        others = [p for p in NUMBERS if p != point]
        filters[j] = np.power(point, range(3)) / np.prod([point - p for p in others])
        inputs[j, :-1] = np.poly(others)[::-1]
    filters[-1, -1] = 1.0
    inputs[-1] = np.poly(NUMBERS)[::-1]
    return forward, filters, inputs


FORWARD, FILTERS, INPUTS = _matrices()
BOTH_FORWARD, BOTH_FILTERS, BOTH_INPUTS = (
    np.kron(each, each).astype(np.float32) for each in (FORWARD, FILTERS, INPUTS)
)
"""The matrices for both axes at once: they multiply a small image that is written as one column."""


def fits(window: Window) -> bool:
    """Whether these are windows that can be computed so."""
    return window.size == (3, 3) and window.stride == window.dilation == (1, 1)


def tiles_of(output_size: tuple[int, int]) -> tuple[int, int]:
    """How many tiles cover the positions, down and across."""
    return -(-output_size[0] // TILE), -(-output_size[1] // TILE)


def transformed(weight: Any) -> Any:
    """G w G^T, shape (36, channels, filters)."""
    return np.matmul(BOTH_FILTERS, weight.reshape(9, -1)).reshape(POINTS * POINTS, *weight.shape[2:])


ENTRIES = 65_536  # of each array between two products: a quarter of a megabyte, which stays in the cache
TOGETHER = 4 * ENTRIES  # where these are several small images: fewer calls save more than the cache
ONE_THREAD = 2**18  # multiply-adds from which OpenBLAS takes more threads
COLUMNS = 200  # at most; 36 x 36 x 200 multiply-adds are below that


def convolution(x: Any, filters: Any, window: Window, y: Any) -> bool:
    """Write the convolution of x with transformed filters into y: some rows of tiles at a time, shared by threads.

    Returns whether all are finite: nan and infinity spread over a tile, and have to be computed in another way.
    """
    parts = _Parts(x, y)
    finite: list[bool] = []

    def work(start: int, stop: int) -> None:
        memory = parts.memory()
        for images, first in parts.between(start, stop):
            memory.read(x[images], window.padding, first)
            finite.append(memory.multiply(filters, y[images], first))

    with np.errstate(over="ignore", invalid="ignore"):
        shared(work, parts.count, 1)
    return all(finite)


AT_ONCE = 12  # tiles from whose product on it pays to add it to the sums
CHUNKS = 8  # sums of their own, whoever computes them: their order does not depend on which threads are free


def pays_back(x: Any, dy: Any) -> bool:
    """Whether so many tiles are multiplied at once that the gradient of the filters is faster by tiles."""
    parts = _Parts(x, dy)
    return parts.images * parts.some * parts.columns >= AT_ONCE


def weight_gradient(dy: Any, x: Any, window: Window) -> Any:
    """dW = G^T (sum over tiles of (B^T x B) (A dy A^T)) G, shape (3, 3, channels, filters).

    Where one of its entries is not finite, nan and infinity may have spread over a tile.
    """
    parts = _Parts(x, dy)
    chunks = min(CHUNKS, parts.count)
    sums = np.zeros((chunks, POINTS * POINTS, x.shape[3], dy.shape[3]), np.float32)

    def work(start: int, stop: int) -> None:
        memory = parts.memory()
        for chunk in range(start, stop):
            for images, first in parts.between(chunk * parts.count // chunks, (chunk + 1) * parts.count // chunks):
                memory.read(x[images], window.padding, first)
                memory.read_back(dy[images], first)
                sums[chunk] += np.matmul(memory.v.transpose(0, 2, 1), memory.m)

    with np.errstate(over="ignore", invalid="ignore"):
        shared(work, chunks, 1)
        total = sums.sum(axis=0).reshape(POINTS * POINTS, -1)
        return np.matmul(BOTH_FILTERS.T, total).reshape(WIDE, WIDE, x.shape[3], dy.shape[3])


def _columns(x: Any, side: int) -> Any:
    """Matrices of side^2 rows whose products are so small that NumPy's library computes them on the calling thread.

    Larger ones it would share between threads of its own, for which our threads would wait.
    """
    rows = x.reshape(side * side, -1)
    pieces = -(-rows.shape[1] // COLUMNS)
    pieces += next(more for more in range(rows.shape[1]) if rows.shape[1] % (pieces + more) == 0)
    return rows.reshape(side * side, pieces, -1).transpose(1, 0, 2)


class _Parts:
    """A batch in parts, each of some rows of tiles of one image, or of all tiles of some images."""

    def __init__(self, x: Any, y: Any) -> None:
        self.rows, self.columns = tiles_of(y.shape[1:3])
        self.channels, self.units = x.shape[3], y.shape[3]
        of_row = POINTS * POINTS * self.columns * max(self.channels, self.units)  # of tiles
        products = self.rows * self.columns * self.channels * self.units
        self.some = min(max(ENTRIES // of_row, 1), self.rows)
        most = max(min(TOGETHER // (of_row * self.rows), ONE_THREAD // products, len(x)), 1)
        self.images = next(n for n in range(most, 0, -1) if len(x) % n == 0) if self.some == self.rows else 1
        self.of_image = -(-self.rows // self.some)
        self.count = len(x) // self.images * self.of_image

    def memory(self) -> _Memory:
        """The memory for one part."""
        return _Memory(self.images, self.some, self.columns, self.channels, self.units)

    def between(self, start: int, stop: int) -> Iterator[tuple[slice, int]]:
        """The images of these parts, and their first rows of outputs."""
        for part in range(start, stop):
            first = part // self.of_image * self.images
            yield slice(first, first + self.images), part % self.of_image * self.some * TILE


class _Memory:
    """What lies between the products, for some rows of tiles of some images."""

    def __init__(self, images: int, rows: int, columns: int, channels: int, units: int) -> None:
        tiles = images * rows * columns
        self.padded = np.zeros((images, TILE * rows + 2, TILE * columns + 2, channels), np.float32)
        self.patches = np.empty((POINTS, POINTS, images, rows, columns, channels), np.float32)
        (n, h, w, c), steps = self.padded.strides, np.lib.stride_tricks.as_strided
        self.seen = steps(self.padded, self.patches.shape, (h, w, n, TILE * h, TILE * w, c), writeable=False)
        self.v = np.empty((POINTS * POINTS, tiles, channels), np.float32)
        self.m = np.empty((POINTS * POINTS, tiles, units), np.float32)
        self.y = np.empty((TILE * TILE, tiles, units), np.float32)
        self.turned = self.y.reshape(TILE, TILE, images, rows, columns, units).transpose(2, 3, 0, 4, 1, 5)
        self.whole = np.zeros((images, rows, TILE, columns, TILE, units), np.float32)

    def read(self, x: Any, padding: Any, first: int) -> None:
        """V <- B^T d B, for the rows of outputs from the first one on."""
        top, left, height = first - padding[0][0], padding[1][0], self.padded.shape[1]
        seen, begin = x[:, max(top, 0) : max(top + height, 0)], max(-top, 0)
        end = begin + seen.shape[1]
        into = self.padded[:, begin:end, left : left + x.shape[2]]
        into[...] = seen[:, :, : into.shape[2]]  # the columns beside it stay 0
        self.padded[:, :begin] = self.padded[:, end:] = 0.0
        np.copyto(self.patches, self.seen)
        np.matmul(BOTH_INPUTS, _columns(self.patches, POINTS), out=_columns(self.v, POINTS))

    def multiply(self, filters: Any, y: Any, first: int) -> bool:
        """A^T (U V) A, written into the rows of y from the first one on; whether all are finite."""
        np.matmul(self.v, filters, out=self.m)
        np.matmul(BOTH_FORWARD, _columns(self.m, POINTS), out=_columns(self.y, TILE))
        np.copyto(self.whole, self.turned)
        rows = y[:, first : first + self._rows.shape[1]]
        rows[...] = self._rows[:, : rows.shape[1], : y.shape[2]]
        flat = self.y.reshape(-1)
        return math.isfinite(np.dot(flat, flat))

    def read_back(self, dy: Any, first: int) -> None:
        """M <- A dy A^T, for the rows of dy from the first one on."""
        rows = dy[:, first : first + self._rows.shape[1]]
        self._rows[:, : rows.shape[1], : dy.shape[2]] = rows  # the columns beside it stay 0
        self._rows[:, rows.shape[1] :] = 0.0
        np.copyto(self.turned, self.whole)
        np.matmul(BOTH_FORWARD.T, _columns(self.y, TILE), out=_columns(self.m, POINTS))

    @property
    def _rows(self) -> Any:
        """The outputs as images."""
        images, rows, _, columns, _, units = self.whole.shape
        return self.whole.reshape(images, rows * TILE, columns * TILE, units)
