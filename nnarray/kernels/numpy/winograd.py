"""Winograd's convolution with 3 x 3 windows: four outputs along an axis from six inputs, with six products.

y = A^T ((G w) (B^T x)) along each axis: polynomials through six points, five numbers and infinity [1]_.

References
----------
.. [1] Lavin & Gray (2016), Fast algorithms for convolutional neural networks. CVPR.
"""

from __future__ import annotations

import math
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
COLUMNS = 200  # at most; 36 x 36 x 200 multiply-adds are below the 2^18 from which OpenBLAS takes more threads


def convolution(x: Any, filters: Any, window: Window, y: Any) -> bool:
    """Write the convolution of x with transformed filters into y: some rows of tiles at a time, shared by threads.

    Returns whether all are finite: nan and infinity spread over a tile, and have to be computed in another way.
    """
    rows, columns = tiles_of(y.shape[1:3])
    some = min(max(ENTRIES // (POINTS * POINTS * columns * max(x.shape[3], y.shape[3])), 1), rows)
    parts = -(-rows // some)
    finite: list[bool] = []

    def work(start: int, stop: int) -> None:
        memory = _Memory(some, columns, x.shape[3], y.shape[3])
        for part in range(start, stop):
            finite.append(
                memory.compute(x[part // parts], filters, window.padding, y[part // parts], part % parts * some * TILE)
            )

    with np.errstate(over="ignore", invalid="ignore"):
        shared(work, x.shape[0] * parts, 1)
    return all(finite)


def _columns(x: Any, side: int) -> Any:
    """Matrices of side^2 rows whose products are so small that NumPy's library computes them on the calling thread.

    Larger ones it would share between threads of its own, for which our threads would wait.
    """
    width = x.shape[-1]
    pieces = -(-width // COLUMNS)
    pieces += next(more for more in range(width) if width % (pieces + more) == 0)
    return x.reshape(side * side, -1, width // pieces).transpose(1, 0, 2)


class _Memory:
    """What lies between the products, for some rows of tiles."""

    def __init__(self, rows: int, columns: int, channels: int, units: int) -> None:
        tiles = rows * columns
        self.padded = np.empty((TILE * rows + 2, TILE * columns + 2, channels), np.float32)
        self.patches = np.empty((POINTS, POINTS, rows, columns, channels), np.float32)
        (h, w, c), steps = self.padded.strides, np.lib.stride_tricks.as_strided
        self.seen = steps(self.padded, self.patches.shape, (h, w, TILE * h, TILE * w, c), writeable=False)
        self.v = np.empty((POINTS * POINTS, tiles, channels), np.float32)
        self.m = np.empty((POINTS * POINTS, tiles, units), np.float32)
        self.y = np.empty((TILE * TILE, tiles, units), np.float32)
        self.turned = self.y.reshape(TILE, TILE, rows, columns, units).transpose(2, 0, 3, 1, 4)
        self.whole = np.empty((rows, TILE, columns, TILE, units), np.float32)

    def compute(self, x: Any, filters: Any, padding: Any, y: Any, first: int) -> bool:
        """A^T (U (B^T d B)) A, for the rows of y from the first one on; whether all are finite."""
        top, left = first - padding[0][0], padding[1][0]
        self.padded[...] = 0.0
        seen = x[max(top, 0) : max(top + self.padded.shape[0], 0)]
        into = self.padded[max(-top, 0) : max(-top, 0) + len(seen), left : left + x.shape[1]]
        into[...] = seen[:, : into.shape[1]]
        np.copyto(self.patches, self.seen)
        np.matmul(BOTH_INPUTS, _columns(self.patches, POINTS), out=_columns(self.v, POINTS))
        np.matmul(self.v, filters, out=self.m)
        np.matmul(BOTH_FORWARD, _columns(self.m, POINTS), out=_columns(self.y, TILE))
        np.copyto(self.whole, self.turned)
        kept = self.whole.reshape(-1, self.whole.shape[2] * TILE, self.whole.shape[4])[: y.shape[0] - first]
        y[first : first + len(kept)] = kept[:, : y.shape[1]]
        flat = self.y.reshape(-1)
        return math.isfinite(np.dot(flat, flat))
