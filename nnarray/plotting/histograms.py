"""Histograms of the weights and of the outputs of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnarray.backends import without_record
from nnarray.drawing.canvas import BLUE, GREEN, axes_for, name_axes, on_host
from nnarray.functional.hooks import Passage, with_hooks
from nnarray.layers import Context
from nnarray.model import Model
from nnarray.plotting.plane import check_order
from nnarray.training.inputs import check_inputs
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW, MANY = 12, 60
"""The smallest and the largest number of bins."""


class Ridge(NamedTuple):
    """One row of a figure of histograms."""

    name: str
    values: np.ndarray
    note: str


def plot_weight_histograms(model: Model, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the weights of each layer: one histogram per layer, one above the other.

    All share the axis of values; each fills the height of its row. The standard deviation is on the right. Biases and
    other parameters without weight decay are left out.

    Parameters
    ----------
    model : Model
    ax : matplotlib Axes, optional
        Where to draw; if None, a new figure whose height suits the number of layers.

    Returns
    -------
    matplotlib Axes
        It has one filled outline per layer (in `collections`), the first layer on top.

    Raises
    ------
    TypeError
        If the model is not first.
    ValueError
        If the model has no weights, or one is not finite.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.models.lenet5(10).init((28, 28, 1))
    >>> axes = nn.plotting.plot_weight_histograms(model)  # doctest: +SKIP
    """
    check_order(model, "plot_weight_histograms")
    weights = {slot.name for slot in model.wiring.params.slots if slot.param.decay}
    rows = [_ridge(name, w) for name, w in model.params.items() if name in weights]
    if not rows:
        raise ValueError("the model has no weights to draw: no layer has parameters to which weight decay applies.")
    return _ridges(rows, "weight", BLUE, ax)


def plot_activation_histograms(model: Model, X: Array, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the outputs of each layer for the given examples: one histogram per layer.

    All share the axis of values; each fills the height of its row. On the right are the standard deviation and, if
    there are any, the fraction of entries that are exactly 0, such as inactive units of a relu.

    Parameters
    ----------
    model : Model
        The model, which runs at inference. Layers that do not change entries (dropout, flatten, reshape) are left out.
    X : array, shape (N, ...)
        The examples. A few hundred are enough: the outputs of all layers are kept in memory.
    ax : matplotlib Axes, optional
        Where to draw; if None, a new figure whose height suits the number of layers.

    Returns
    -------
    matplotlib Axes
        It has one filled outline per layer (in `collections`), the first layer on top.

    Raises
    ------
    TypeError, ValueError
        As when the model is called, or if an output is not finite.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,))
    >>> axes = nn.plotting.plot_activation_histograms(model, X)  # doctest: +SKIP
    """
    check_order(model, "plot_activation_histograms")
    passages: dict[str, Passage] = {}
    ctx = Context(False, model.wiring.state.tree(model.state), False, False)
    inputs = check_inputs(model, X)
    with_hooks(model.network, passages).forward(model.wiring.params.tree(without_record(model.theta)), inputs, ctx)
    shown = [
        line.name
        for line in model.summary().lines
        if line.name in passages and not line.layer.named_layers and line.layer.family not in ("dropout", "reshape")
    ]
    return _ridges([_ridge(name, passages[name].y) for name in shown], "output", GREEN, ax)


def _ridge(name: str, x: Array) -> Ridge:
    values = on_host(x).ravel().astype(float)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} contains NaN or infinity, which a histogram cannot show; train with a lower rate.")
    zeros = float(np.mean(values == 0)) if values.size else 0.0
    return Ridge(name, values, f"std {values.std():.2g}" + (f", {zeros:.0%} zero" if zeros >= 0.005 else ""))


def _ridges(rows: list[Ridge], what: str, colour: str, ax: Axes | None) -> Axes:
    """Histograms one above the other on one axis of values, the first on top."""
    axes = axes_for(ax, size=(7.0, 1.2 + 0.55 * max(len(rows), 3)))
    low, high = min(float(row.values.min()) for row in rows), max(float(row.values.max()) for row in rows)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    bins = int(np.clip(2.0 * max(row.values.size for row in rows) ** 0.5, FEW, MANY))
    width = (high - low) / bins
    for i, row in enumerate(rows):
        counts, edges = _histogram(row.values, width)
        foot = len(rows) - 1 - i
        heights = foot + 0.85 * counts / counts.max()
        look: dict[str, Any] = {"facecolor": f"{colour}66", "edgecolor": colour, "linewidth": 1.2, "zorder": 2}
        axes.fill_between(edges, np.append(heights, heights[-1]), foot, step="post", **look)
        axes.text(1.01, foot + 0.3, row.note, transform=axes.get_yaxis_transform(), fontsize=9, va="center")
    axes.axvline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_yticks([len(rows) - 0.7 - i for i in range(len(rows))], [row.name for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(low, high), ylim=(-0.05, len(rows)))
    name_axes(axes, what, "layer")
    return axes


def _histogram(values: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts, and edges from the smallest value to the largest, about `width` apart: no bar of a tanh goes beyond 1."""
    low, high = float(values.min()), float(values.max())
    bins = max(round((high - low) / width), 1)
    if high == low:
        low, high = low - width / 2, high + width / 2
    return np.histogram(values, np.linspace(low, high, bins + 1))
