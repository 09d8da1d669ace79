"""Products of many rows with weights, and their gradients, compiled by Numba: threads share rows or columns.

NumPy's library is as fast on one thread. But its threads stay awake after a product, and keep the cores from the other
loops of a network. Here all loops share the same threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import piece
from nnarray.kernels.numba.memory import empty, flat
from nnarray.kernels.numba.rows import packed
from nnarray.kernels.numba.vectors import LANES, PANEL, ROWS, added_product, compiled, one_moved, product
from nnarray.kernels.threads import shared

INNER = 512  # products that are summed before the next block: a panel of the weights stays in the cache
TOGETHER = 96  # rows that stay in the cache for all panels
EXAMPLES = 256  # rows of which a gradient is summed at once
FEW, MOST = 96, 2**18  # rows below which, and weights above which NumPy's products are faster
MANY = 2**14  # weights that are worth a copy in another order
LARGE = 1_500_000  # multiply-adds of a thread's part at least: some 30 us
ENDLESS = np.float32(-np.inf)


@compiled
def _pack(weight: Any, sizes: Any, down: int, across: int, panels: Any) -> None:
    """Blocks of rows of the weights, each in panels of columns."""
    inner, columns = sizes
    filled = -(-columns // PANEL) * PANEL
    for start in range(0, inner, INNER):
        count = min(INNER, inner - start)
        packed(weight, start * down, count, columns, down, across, panels[start * filled :])


@compiled
def _times(x: Any, panels: Any, bias: Any, sizes: Any, rows: Any, span: Any, y: Any) -> None:
    """Some rows and columns of y <- x w + b; the last columns by way of memory that has room for a whole panel."""
    inner, columns = sizes
    filled, spare = -(-columns // PANEL) * PANEL, np.empty(ROWS * PANEL, np.float32)
    for start in range(0, inner, INNER):
        count = min(INNER, inner - start)
        for first in range(rows[0], rows[1], TOGETHER):
            last = min(first + TOGETHER, rows[1])
            parts = -(-(last - first) // ROWS)
            for panel in range(span[0], span[1], PANEL):
                weights, width = start * filled + panel * count, min(PANEL, columns - panel)
                for part in range(parts):
                    begin = first + part * (last - first) // parts
                    these = first + (part + 1) * (last - first) // parts - begin
                    to, out, step = y, begin * columns + panel, columns
                    if width < PANEL:
                        to, out, step = spare, 0, PANEL
                        for r in range(these):
                            for k in range(width):
                                spare[r * PANEL + k] = y[(begin + r) * columns + panel + k]
                    if start:
                        added_product(
                            these, x, begin * inner + start, inner, 0, 1, panels, weights, 0, PANEL,
                            to, out, step, 1, count, bias, panel, ENDLESS,
                        )  # fmt: skip
                    else:
                        product(
                            these, x, begin * inner, inner, 0, 1, panels, weights, 0, PANEL,
                            to, out, step, 1, count, bias, panel, ENDLESS,
                        )  # fmt: skip
                    if width < PANEL:
                        for r in range(these):
                            for k in range(width):
                                y[(begin + r) * columns + panel + k] = spare[r * PANEL + k]


@piece
def _in_strips(x: Any, at: int, size: int, a: Any, to: int, step: int) -> None:
    """A row and a 1 in strips of ROWS numbers. Each is written with some more, which the next row replaces."""
    column = 0
    while column + LANES <= size:
        one_moved(x, at + column, LANES, a, to, LANES)
        column, to = column + ROWS, to + step
    for k in range(column, size + 1):
        a[to + (k - column) // ROWS * step + (k - column) % ROWS] = x[at + k] if k < size else np.float32(1)


@compiled
def _gradient(x: Any, dy: Any, sizes: Any, panels: Any, dw: Any) -> None:
    """Some panels of dw <- [x, 1]^T dy, whose rows are whole panels: a last row of ones sums dy."""
    count, inner, columns = sizes
    filled, strips = -(-columns // PANEL) * PANEL, -(-(inner + 1) // ROWS)
    strip = EXAMPLES * ROWS + LANES
    a, b, bias = (
        np.empty(strips * strip, np.float32),
        np.empty(EXAMPLES * PANEL, np.float32),
        np.zeros(PANEL, np.float32),
    )
    for start in range(0, count, EXAMPLES):
        these = min(EXAMPLES, count - start)
        for n in range(these):
            _in_strips(x, (start + n) * inner, inner, a, n * ROWS, strip)
        for panel in range(panels[0] * PANEL, min(panels[1] * PANEL, columns), PANEL):
            packed(dy, start * columns + panel, these, min(PANEL, columns - panel), columns, 1, b)
            for i in range(strips):
                rows, out = min(ROWS, inner + 1 - i * ROWS), i * ROWS * filled + panel
                if start:
                    added_product(
                        rows, a, i * strip, 1, 0, ROWS, b, 0, 0, PANEL, dw, out, filled, 1, these, bias, 0, ENDLESS
                    )
                else:
                    product(rows, a, i * strip, 1, 0, ROWS, b, 0, 0, PANEL, dw, out, filled, 1, these, bias, 0, ENDLESS)


def takes(x: Any, weight: Any) -> bool:
    """Whether these are many rows and not too many weights in float32, which lie in a row or are so transposed."""
    usual = x.dtype == weight.dtype == np.float32 and x.flags.aligned and weight.flags.aligned and weight.ndim == 2
    rows = x.size // max(x.shape[-1], 1)
    lies = x.flags.c_contiguous and (weight.flags.c_contiguous or weight.flags.f_contiguous)
    pays = rows >= FEW and min(weight.shape) >= PANEL and rows * weight.size >= LARGE and weight.size <= MOST
    return usual and lies and pays


def _laid_out(weight: Any, bias: Any) -> tuple[Any, Any]:
    """The weights in panels, and the bias filled up to whole panels."""
    inner, columns = weight.shape
    filled = -(-columns // PANEL) * PANEL
    panels, biases = empty((inner * filled,)), np.zeros(filled, np.float32)
    if bias is not None:
        biases[:columns] = bias
    lies = (columns, 1) if weight.flags.c_contiguous else (1, inner)
    _pack(flat(weight if weight.flags.c_contiguous else weight.T), weight.shape, *lies, panels)
    return panels, biases


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """x w + b, for x of any number of axes."""
    return _by_rows(x, weight.shape, *_laid_out(weight, bias))


def _by_rows(x: Any, sizes: tuple[int, int], panels: Any, biases: Any) -> Any:
    """x w + b; threads share the rows."""
    inner, columns = sizes
    rows = x.size // inner
    y = empty((rows, columns))
    entries, out = x.reshape(-1), y.reshape(-1)
    shared(
        lambda start, stop: _times(entries, panels, biases, sizes, (start, stop), (0, columns), out),
        rows,
        LARGE // (inner * columns) + 1,
    )
    return y.reshape(*x.shape[:-1], columns)


class Kept:
    """x w + b for some rows, with weights that are laid out once: NumPy's product would do that for each x."""

    least, most = 2, FEW  # rows for which it pays

    def __init__(self, weight: Any, bias: Any) -> None:
        self.sizes = weight.shape
        self.panels, self.biases = _laid_out(weight, bias)

    def takes(self, x: Any) -> bool:
        """Whether these are as many rows, which lie one after the other."""
        rows = x.size // self.sizes[0]
        return self.least <= rows < self.most and x.dtype == np.float32 and x.flags.carray and x.size > 0

    def __call__(self, x: Any) -> Any:
        """x w + b; threads share the panels, each of which is read once."""
        inner, columns = self.sizes
        rows, width = x.size // inner, -(-columns // PANEL)
        y = empty((rows, columns))
        entries, out = x.reshape(-1), y.reshape(-1)

        def some(start: int, stop: int) -> None:
            span = start * PANEL, min(stop * PANEL, columns)
            _times(entries, self.panels, self.biases, self.sizes, (0, rows), span, out)

        shared(some, width, LARGE // (rows * inner * PANEL) + 1)
        return y.reshape(*x.shape[:-1], columns)


def lays_out(weight: Any) -> bool:
    """Whether these are many weights in float32, as they lie in memory or transposed."""
    usual = weight.dtype == np.float32 and weight.ndim == 2 and weight.flags.aligned
    lies = usual and (weight.flags.c_contiguous or weight.flags.f_contiguous)
    return lies and min(weight.shape) >= PANEL and weight.size >= MANY


def gradients(dy: Any, x: Any) -> tuple[Any, Any]:
    """Dw and db of the weights and the bias."""
    inner, columns = x.shape[-1], dy.shape[-1]
    sizes, filled = (x.size // inner, inner, columns), -(-columns // PANEL) * PANEL
    dw, entries = empty((inner + 1, filled)), (x.reshape(-1), dy.reshape(-1))
    out = dw.reshape(-1)
    shared(
        lambda start, stop: _gradient(*entries, sizes, (start, stop), out),
        filled // PANEL,
        LARGE // (x.size * PANEL) + 1,
    )
    return dw[:inner, :columns], dw[inner, :columns]
