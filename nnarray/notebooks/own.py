"""The figures of notebook 5, "Your own data": each function draws one."""

from __future__ import annotations

from collections.abc import Sequence

from nnarray.drawing.canvas import BLUE, on_host
from nnarray.drawing.curves import plot_history
from nnarray.drawing.sheets import plot_confusion, plot_images
from nnarray.model import Model
from nnarray.notebooks.digits import SIDE
from nnarray.notebooks.panels import panels
from nnarray.typing import Array


def training(model: Model, matrix: Array, names: Sequence[str]) -> None:
    """The loss while a model learnt, and its confusion matrix on rows that it has not seen."""
    with panels(2, 10, 3.6, ratios=(3, 2)) as (left, right):
        plot_history(model.history, ax=left)
        plot_confusion(matrix, names, ax=right)


def drawings(X: Array, labels: Sequence[str], *, columns: int = 10) -> None:
    """Drawings of 16 squares by 16, in rows: black ink on white paper."""
    rows = -(-len(labels) // columns)
    with panels(1, 10, 1.3 * rows) as (axes,):
        plot_images(1 - on_host(X).reshape(-1, SIDE, SIDE), labels, columns=columns, ax=axes)


def answer(X: Array, p: Array) -> None:
    """One drawing, and the probability of each digit as bars."""
    with panels(2, 8, 3.2, ratios=(1, 2)) as (left, right):
        left.imshow(1 - on_host(X).reshape(SIDE, SIDE), cmap="gray", vmin=0, vmax=1)
        left.set_xticks([])
        left.set_yticks([])
        values = on_host(p).ravel()
        right.bar(range(len(values)), values, color=BLUE)
        right.set(xticks=range(len(values)), xlabel="digit", ylabel="probability", ylim=(0, 1.05))
