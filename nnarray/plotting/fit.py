"""A figure of a regression with one input: the data, and the prediction as a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.checks import integer
from nnarray.drawing.canvas import COLOURS, axes_for, on_host
from nnarray.plotting.plane import check_examples, check_order, plot_data, span, values_at
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_fit(
    model: Any,
    X: Array,
    y: Array | None = None,
    *,
    ax: Axes | None = None,
    resolution: int = 200,
    label: str = "prediction",
) -> Axes:
    """Draw the prediction y = f(x) of a regression with one input as a curve, and the data as points.

    Parameters
    ----------
    model : Model or estimator
        A model with 1 input and 1 output, or a fitted estimator with scikit-learn's `predict`.
    X : array, shape (N, 1)
        The curve spans these points and a margin of 12 %.
    y : array, shape (N,) or (N, 1), optional
        The values of the points; without them no points are drawn.
    ax : matplotlib Axes, optional
        Where to draw; a new figure, with a legend, if None. Each curve on the same axes has another colour.
    resolution : int
        The number of points of the curve. The outputs are computed on the device of the model.
    label : str
        The name of the curve in the legend. To compare models, pass the same `ax`, a label each, and y only once.

    Returns
    -------
    matplotlib Axes
        Its last line is the prediction.

    Raises
    ------
    TypeError
        If the model is not first, or is neither a Model nor such an estimator.
    ValueError
        If X or the model does not have one feature, the model has several outputs, or the lengths differ.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.sine(100, noise=0.1, seed=0)
    >>> model = nn.Network(nn.Dense(16, "tanh"), nn.Dense(1)).init((1,))
    >>> axes = nn.plotting.plot_fit(model, X, y)  # doctest: +SKIP
    """
    check_order(model, "plot_fit")
    points = on_host(X)
    values = points if y is None else on_host(y)
    check_examples(points, values, "plot_fit", (1,))
    if values.size != len(points):
        raise ValueError(f"y must have one entry per example, {len(points)}; got shape {values.shape}.")
    x: np.ndarray = span(points[:, 0], integer(resolution, "resolution", 2, usual=200))
    predicted = values_at(model, x[:, None], "plot_fit")
    axes = axes_for(ax)
    axes.plot(x, predicted, color=COLOURS[len(axes.lines) % len(COLOURS)], linewidth=2.0, zorder=3, label=label)
    if y is not None:
        plot_data(X, values, ax=axes)
    if ax is None:
        axes.legend()
    return axes
