"""A matrix product with its numbers: which row and which column make which entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.checks import integer
from nnarray.drawing.canvas import axes_for, on_host, signed_colours
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 12
"""Rows or columns of a matrix whose numbers can still be read."""

SIGN = 1.0  # room for a sign between two matrices, in the width of an entry


def plot_product(
    A: Array | np.ndarray,
    B: Array | np.ndarray,
    *,
    bias: Array | np.ndarray | None = None,
    entry: tuple[int, int] = (0, 0),
    names: tuple[str, ...] = (),
    digits: int = 2,
    ax: Axes | None = None,
) -> Axes:
    """Draw C = A B, or A B + b, with its numbers; the row, the column and the entry that they make are framed.

    C[i, j] = sum over k of A[i, k] B[k, j], plus b[j]; below the matrices this sum is written out for one entry.

    Parameters
    ----------
    A : array, shape (m, k)
    B : array, shape (k, n)
    bias : array, shape (n,), optional
        b, which is added to each row.
    entry : pair of int
        The row and the column of the framed entry of C.
    names : tuple of str, optional
        What is written above A, B, b if there is one, and C; may be mathematics such as "$W_1$".
    digits : int
        After the point.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the shapes do not fit, a matrix has more than 12 rows or columns, there is no such entry, or names are
        missing.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> axes = nn.plotting.plot_product([[1.0, 2.0]], [[3.0, 5.0], [4.0, 6.0]], entry=(0, 1))  # doctest: +SKIP
    """
    given = [on_host(A), on_host(B)]
    _check_shapes(*given)
    digits = integer(digits, "digits", 0, usual=2)
    b = None if bias is None else _checked_bias(on_host(bias), given[1].shape[1])
    left, right = given
    product = left @ right if b is None else left @ right + b
    row, column = _checked_entry(entry, product.shape)
    tables = [left, right, *([] if b is None else [b[None, :]]), product]
    frames = [(row, None), (None, column), *([] if b is None else [(0, column)]), (row, column)]
    titles = _titles(names, with_bias=b is not None)
    widths = [table.shape[1] for table in tables]
    tallest = max(table.shape[0] for table in tables)
    axes = axes_for(ax, size=(0.62 * (sum(widths) + SIGN * (len(tables) - 1)) + 0.4, 0.42 * (tallest + 2.6)))
    largest = max(float(np.abs(table[np.isfinite(table)]).max(initial=0.0)) for table in tables) or 1.0
    at = 0.0
    for table, frame, title, sign in zip(tables, frames, titles, _signs(len(tables)), strict=True):
        if sign:
            axes.text(at - SIGN / 2, 0, sign, ha="center", va="center", fontsize=16)
        _draw_table(axes, table, at, frame, title, largest, digits)
        at += table.shape[1] + SIGN
    axes.text(
        (at - SIGN) / 2, tallest / 2 + 0.45, _sum(tables, row, column, digits), ha="center", va="top", fontsize=11
    )
    axes.set(xlim=(-0.1, at - SIGN + 0.1), ylim=(tallest / 2 + 1.3, -tallest / 2 - 1.1), aspect="auto")
    axes.set_axis_off()
    return axes


def _check_shapes(A: np.ndarray, B: np.ndarray) -> None:
    shapes = f"got A of shape {A.shape} and B of shape {B.shape}"
    if A.ndim != 2 or B.ndim != 2 or A.shape[1] != B.shape[0] or not A.size or not B.size:
        raise ValueError(
            f"plot_product needs two matrices, of which the first has as many columns as the second has rows; {shapes}."
        )
    if max(*A.shape, *B.shape) > MOST:
        raise ValueError(
            f"plot_product draws at most {MOST} rows and columns; {shapes}. Give a part, such as A[:6, :]."
        )


def _checked_bias(b: np.ndarray, columns: int) -> np.ndarray:
    if b.shape != (columns,):
        raise ValueError(f"plot_product needs a bias of shape ({columns},), one number a column of B; got {b.shape}.")
    return b


def _checked_entry(entry: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    pair = entry if isinstance(entry, tuple | list) and len(entry) == 2 else (-1, -1)
    row, column = (int(i) if isinstance(i, int | np.integer) else -1 for i in pair)
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise ValueError(f"entry must be a row and a column of the product, which has shape {shape}; got {entry!r}.")
    return row, column


def _titles(names: tuple[str, ...], *, with_bias: bool) -> tuple[str, ...]:
    usual = ("A", "B", "b", "A B + b") if with_bias else ("A", "B", "A B")
    if names and len(names) != len(usual):
        raise ValueError(f"plot_product needs {len(usual)} names, one a table; got {names!r}.")
    return tuple(names) or usual


def _signs(count: int) -> tuple[str, ...]:
    return ("", "@", "+", "=") if count == 4 else ("", "@", "=")


def _draw_table(
    axes: Axes,
    table: np.ndarray,
    left: float,
    frame: tuple[int | None, int | None],
    title: str,
    largest: float,
    digits: int,
) -> None:
    """One matrix, its numbers, its name above, and a frame around a row, a column or an entry."""
    from matplotlib.patches import Rectangle

    rows, columns = table.shape
    top, colours = -rows / 2, signed_colours()
    for i in range(rows):
        for j in range(columns):
            value = float(table[i, j])
            shade = colours(0.5 + 0.3 * value / largest) if np.isfinite(value) else "0.8"
            axes.add_patch(Rectangle((left + j, top + i), 1, 1, facecolor=shade, edgecolor="white"))
            axes.text(left + j + 0.5, top + i + 0.5, f"{value:.{digits}f}", ha="center", va="center", fontsize=10)
    row, column = frame
    corner = (left + (column or 0), top + (row or 0))
    size = (columns if column is None else 1, rows if row is None else 1)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="black", linewidth=2.5, zorder=3))
    axes.text(left + columns / 2, top - 0.2, title, ha="center", va="bottom", fontsize=13)


def _sum(tables: list[np.ndarray], row: int, column: int, digits: int) -> str:
    """The framed entry as a sum of products."""
    A, B, *b, product = tables

    def number(x: Any) -> str:
        return f"({x:.{digits}f})" if x < 0 else f"{x:.{digits}f}"

    terms = [f"{number(a)} · {number(w)}" for a, w in zip(A[row, :], B[:, column], strict=True)]
    terms += [number(each[0, column]) for each in b]
    return f"{' + '.join(terms)} = {product[row, column]:.{digits}f}"
