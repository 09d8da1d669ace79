"""The common texts and drawings of all demos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nnarray.model import Model
from nnarray.training.callbacks import Run
from nnarray.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Watch = Callable[[Run], None]
"""Called after every epoch."""


def speed(history: History) -> float:
    """Steps per second, without the first epoch, in which libraries compile and warm up."""
    epochs, seconds = len(history["seconds"]), history["seconds"]
    if epochs == 1:
        return history.steps / seconds[0]
    return history.steps * (epochs - 1) / epochs / (seconds[-1] - seconds[0])


def shape_of(model: Model) -> str:
    """The sizes of the layers, such as "2-5-2"."""
    sizes = [*model.input_shape, *(layer.units for layer in getattr(model.network, "layers", ()))]
    return "-".join(str(size) for size in sizes)


def percent(fraction: float) -> str:
    """A fraction such as 0.985 as "98.5 %"; rounded, but only 1 becomes 100 %."""
    return "100 %" if fraction >= 1 else f"{min(100 * fraction, 99.9):.1f} %"


def counted(number: int, what: str) -> str:
    """A number with a noun: "1 epoch", "2 epochs"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def legend(figure: Figure, axes: Sequence[Axes], spare: Axes | None = None) -> None:
    """One legend for all axes: below them, or in a free place between them."""
    by_label = {label: handle for each in axes for handle, label in zip(*each.get_legend_handles_labels(), strict=True)}
    order = sorted(by_label, key=lambda label: not label.startswith("class"))
    handles = [by_label[label] for label in order]
    if spare is None:
        figure.legend(handles, order, loc="outside lower center", ncols=len(order))
    else:
        spare.legend(handles, order, loc="center", fontsize=14)
