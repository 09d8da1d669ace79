"""Products of many rows with weights, and their gradients, compiled by Numba: threads share rows or columns.

NumPy's library is as fast on one thread. But its threads stay awake after a product, and keep the cores from the other
loops of a network. Here all loops share the same threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import piece
from nnarray.kernels.numba.memory import empty, flat, part_of
from nnarray.kernels.numba.rows import packed
from nnarray.kernels.numba.vectors import (
    LANES,
    PANEL,
    ROWS,
    TALL,
    added_product,
    compiled,
    one_moved,
    product,
    tall_product,
    two_moved,
)
from nnarray.kernels.threads import shared

INNER = 512  # products that are summed before the next block: a panel of the weights stays in the cache
TOGETHER = 96  # rows that stay in the cache for all panels
EXAMPLES = 256  # rows of which a gradient is summed at once
FEW, MOST = 96, 2**18  # rows below which, and weights above which NumPy's products are faster
MANY = 2**14  # weights that are worth a copy in another order
MANY_PANELS = 8  # from which threads share them evenly enough
CLASHING = 1024  # entries apart, rows share so few places in the cache that they replace each other
LARGE = 1_500_000  # multiply-adds of a thread's part at least: some 30 us
ENDLESS = np.float32(-np.inf)


@piece
def _panel(
    x: Any, weights: Any, at: int, bias: Any, sizes: Any, inside: Any, rows: Any, panel: int, y: Any, spare: Any
) -> None:
    """Some rows of a panel of y <- x w + b, or what a block of inner rows adds to them; its weights begin at `at`."""
    (inner, columns), (start, count), (first, last) = sizes, inside, rows
    width, parts = min(PANEL, columns - panel), -(-(last - first) // ROWS)
    for part in range(parts):
        row = first + part * (last - first) // parts
        these = first + (part + 1) * (last - first) // parts - row
        to, out, step = y, row * columns + panel, columns
        if width < PANEL:
            to, out, step = spare, 0, PANEL
            for r in range(these):
                for k in range(width):
                    spare[r * PANEL + k] = y[(row + r) * columns + panel + k]
        if start:
            added_product(
                these, x, row * inner + start, inner, 0, 1, weights, at, 0, PANEL,
                to, out, step, 1, count, bias, panel, ENDLESS,
            )  # fmt: skip
        else:
            product(
                these, x, row * inner, inner, 0, 1, weights, at, 0, PANEL,
                to, out, step, 1, count, bias, panel, ENDLESS,
            )  # fmt: skip
        if width < PANEL:
            for r in range(these):
                for k in range(width):
                    y[(row + r) * columns + panel + k] = spare[r * PANEL + k]


@compiled
def _times(x: Any, weight: Any, lies: Any, bias: Any, sizes: Any, rows: Any, panels: Any, y: Any) -> None:
    """Some rows and panels of y <- x w + b; the last columns by way of memory that has room for a whole panel.

    Each thread reads its own panels of the weights in the order of the products: nobody waits for that.
    """
    inner, columns = sizes
    begin, end = panels[0] * PANEL, min(panels[1] * PANEL, columns)
    filled, spare = (panels[1] - panels[0]) * PANEL, np.empty(ROWS * PANEL, np.float32)
    ready = np.empty(min(inner, INNER) * filled, np.float32)
    for start in range(0, inner, INNER):
        count = min(INNER, inner - start)
        packed(weight, start * lies[0] + begin * lies[1], count, end - begin, lies[0], lies[1], ready)
        for first in range(rows[0], rows[1], TOGETHER):
            these = first, min(first + TOGETHER, rows[1])
            for panel in range(begin, end, PANEL):
                at = (panel - begin) * count
                _panel(x, ready, at, bias, sizes, (start, count), these, panel, y, spare)


@compiled
def _laid_out(weight: Any, lies: Any, sizes: Any, laid: Any) -> None:
    """The weights in panels of columns."""
    packed(weight, 0, sizes[0], sizes[1], lies[0], lies[1], laid)


@compiled
def _times_laid_out(x: Any, laid: Any, bias: Any, sizes: Any, panels: Any, y: Any) -> None:
    """Some panels of y <- x w + b, of weights as `_laid_out` gives them.

    A panel comes from memory for its first rows, and from the cache for the others.
    """
    inner, columns = sizes
    rows, spare = len(y) // columns, np.empty(TALL * PANEL, np.float32)
    parts, x_row = -(-rows // TALL), len(x) // rows
    for panel in range(panels[0] * PANEL, min(panels[1] * PANEL, columns), PANEL):
        width = min(PANEL, columns - panel)
        for part in range(parts):
            row = part * rows // parts
            these = (part + 1) * rows // parts - row
            to, out, step = y, row * columns + panel, columns
            if width < PANEL:
                to, out, step = spare, 0, PANEL
            tall_product(
                these, x, row * x_row, x_row, 0, 1, laid, panel * inner, 0, PANEL,
                to, out, step, 1, inner, bias, panel, ENDLESS,
            )  # fmt: skip
            if width < PANEL:
                for r in range(these):
                    for k in range(width):
                        y[(row + r) * columns + panel + k] = spare[r * PANEL + k]


@piece
def _in_strips(x: Any, at: int, strips: Any, size: int, a: Any, to: int, step: int) -> None:
    """Some strips of ROWS numbers of a row and a 1. Each is written with some more, which the next row replaces."""
    column, end = strips[0] * ROWS, min(strips[1] * ROWS, size + 1)
    while column + ROWS <= end and column + LANES <= size:
        one_moved(x, at + column, LANES, a, to, LANES)
        column, to = column + ROWS, to + step
    for k in range(column, end):
        a[to + (k - column) // ROWS * step + (k - column) % ROWS] = x[at + k] if k < size else np.float32(1)


@piece
def _in_panels(dy: Any, at: int, begin: int, end: int, columns: int, b: Any, to: int, step: int) -> None:
    """Some columns of a row in panels, the last one filled up with zeros."""
    for panel in range(begin, end, PANEL):
        if panel + PANEL <= columns:
            two_moved(dy, at + panel, LANES, b, to, LANES)
        else:
            for k in range(PANEL):
                b[to + k] = dy[at + panel + k] if panel + k < columns else np.float32(0)
        to += step


@compiled
def _gradient(x: Any, dy: Any, sizes: Any, strips: Any, panels: Any, dw: Any) -> None:
    """Some strips and panels of dw <- [x, 1]^T dy, whose rows are whole panels: a last row of ones sums dy."""
    count, inner, columns = sizes
    filled, begin, end = -(-columns // PANEL) * PANEL, panels[0] * PANEL, min(panels[1] * PANEL, columns)
    strip, panelled = EXAMPLES * ROWS + LANES, EXAMPLES * PANEL + PANEL  # no power of 2: they share few lines
    a, b, bias = (
        np.empty((strips[1] - strips[0]) * strip, np.float32),
        np.empty((panels[1] - panels[0]) * panelled, np.float32),
        np.zeros(PANEL, np.float32),
    )
    for start in range(0, count, EXAMPLES):
        these = min(EXAMPLES, count - start)
        for n in range(these):
            _in_strips(x, (start + n) * inner, strips, inner, a, n * ROWS, strip)
            _in_panels(dy, (start + n) * columns, begin, end, columns, b, n * PANEL, panelled)
        for panel in range(panels[0], panels[1]):
            from_b = (panel - panels[0]) * panelled
            for i in range(strips[0], strips[1]):
                rows, out, from_a = min(ROWS, inner + 1 - i * ROWS), i * ROWS * filled + panel * PANEL, i - strips[0]
                if start:
                    added_product(
                        rows, a, from_a * strip, 1, 0, ROWS, b, from_b, 0, PANEL,
                        dw, out, filled, 1, these, bias, 0, ENDLESS,
                    )  # fmt: skip
                else:
                    product(
                        rows, a, from_a * strip, 1, 0, ROWS, b, from_b, 0, PANEL,
                        dw, out, filled, 1, these, bias, 0, ENDLESS,
                    )  # fmt: skip


def takes(x: Any, weight: Any) -> bool:
    """Whether these are many rows and not too many weights in float32, which lie in a row or are so transposed."""
    usual = x.dtype == weight.dtype == np.float32 and x.flags.aligned and weight.flags.aligned and weight.ndim == 2
    usual = usual and x.shape[-1] == weight.shape[0]  # where they do not fit, NumPy says so
    rows = x.size // max(x.shape[-1], 1)
    lies = x.flags.c_contiguous and (weight.flags.c_contiguous or weight.flags.f_contiguous)
    pays = rows >= FEW and min(weight.shape) >= PANEL and rows * weight.size >= LARGE and weight.size <= MOST
    return usual and lies and pays


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """x w + b, for x of any number of axes. Threads share panels of the columns, or rows if these are few."""
    inner, columns = sizes = weight.shape
    rows, panels = x.size // inner, -(-columns // PANEL)
    y, (entries, lies) = empty((rows, columns)), _as_it_lies(weight)
    fixed, out = (x.reshape(-1), entries, lies, _filled_up(bias, columns), sizes), y.reshape(-1)
    if panels < MANY_PANELS:
        shared(lambda *part: _times(*fixed, part, (0, panels), out), rows, LARGE // (inner * columns) + 1)
    else:
        shared(lambda *part: _times(*fixed, (0, rows), part, out), panels, LARGE // (x.size * PANEL) + 1)
    return y.reshape(*x.shape[:-1], columns)


def _as_it_lies(weight: Any) -> tuple[Any, tuple[int, int]]:
    """The memory of the weights, and how far apart its rows and columns lie."""
    plain = weight.flags.c_contiguous
    return flat(weight if plain else weight.T), (weight.shape[1], 1) if plain else (1, weight.shape[0])


def _filled_up(bias: Any, columns: int) -> Any:
    """The bias for whole panels."""
    biases = np.zeros(-(-columns // PANEL) * PANEL, np.float32)
    if bias is not None:
        biases[:columns] = bias
    return biases


class Kept:
    """x w + b for some rows, with weights that are laid out once: NumPy's product would do that for each x."""

    least, most = 2, FEW  # rows for which it pays

    def __init__(self, weight: Any, bias: Any, room: list[Any]) -> None:
        self.sizes = inner, columns = weight.shape
        self.biases = _filled_up(bias, columns)
        self.laid = part_of(room, inner * self.biases.size)
        _laid_out(*_as_it_lies(weight), self.sizes, self.laid)

    def takes(self, x: Any) -> bool:
        """Whether these are as many rows, which lie one after the other."""
        rows = x.size // self.sizes[0]
        usual = x.dtype == np.float32 and x.flags.carray and x.size > 0 and x.shape[-1] == self.sizes[0]
        return usual and self.least <= rows < self.most

    def __call__(self, x: Any) -> Any:
        """x w + b; threads share the panels, each of which is read once."""
        inner, columns = self.sizes
        y, entries = np.empty((x.size // inner, columns), np.float32), x.reshape(-1)
        if inner % CLASHING == 0:
            entries = np.zeros((len(y), inner + PANEL), np.float32)
            entries[:, :inner] = x.reshape(-1, inner)
            entries = entries.reshape(-1)
        out, least = y.reshape(-1), LARGE // (x.size * PANEL) + 1
        fixed = entries, self.laid, self.biases, self.sizes
        shared(lambda *part: _times_laid_out(*fixed, part, out), self.biases.size // PANEL, least)
        return y.reshape(*x.shape[:-1], columns)


def lays_out(weight: Any) -> bool:
    """Whether these are many weights in float32, as they lie in memory or transposed."""
    usual = weight.dtype == np.float32 and weight.ndim == 2 and weight.flags.aligned
    lies = usual and (weight.flags.c_contiguous or weight.flags.f_contiguous)
    return lies and min(weight.shape) >= PANEL and weight.size >= MANY


def gradients(dy: Any, x: Any) -> tuple[Any, Any]:
    """Dw and db of the weights and the bias. Threads share its columns or its rows, whichever are more."""
    inner, columns = x.shape[-1], dy.shape[-1]
    panels, strips = -(-columns // PANEL), -(-(inner + 1) // ROWS)
    dw, fixed = empty((inner + 1, panels * PANEL)), (x.reshape(-1), dy.reshape(-1), (x.size // inner, inner, columns))
    out = dw.reshape(-1)
    if panels < MANY_PANELS or inner > columns:
        shared(lambda *part: _gradient(*fixed, part, (0, panels), out), strips, LARGE // (dy.size * ROWS) + 1)
    else:
        shared(lambda *part: _gradient(*fixed, (0, strips), part, out), panels, LARGE // (x.size * PANEL) + 1)
    return dw[:inner, :columns], dw[inner, :columns]
