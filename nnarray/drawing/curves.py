"""Curves: losses and metrics over the epochs of a training, and activation functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.backends import host_backend
from nnarray.checks import real
from nnarray.drawing.canvas import (
    BLUE,
    COLOURS,
    MARKERS,
    VERMILLION,
    axes_for,
    log_scale,
    name_axes,
    on_host,
    whole_numbers,
)
from nnarray.layers import Activation, Context
from nnarray.layers.activations import activation
from nnarray.names import named, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _refuse_others(history: Any, name: str) -> None:
    """Refuse anything but a history, such as the model that has it."""
    if not isinstance(history, Mapping):
        remedy = f" Pass its history: {name}(model.history)." if hasattr(history, "history") else ""
        raise TypeError(f"{name} takes the history that fit returns; got {shown(history)}.{remedy}")


def plot_history(
    history: Mapping[str, Sequence[float]] | Mapping[str, Mapping[str, Sequence[float]]], *, ax: Axes | None = None
) -> Axes:
    """Draw the loss over the epochs, and the validation loss if there is one.

    The axis of the loss is logarithmic if the values span a factor of 10 or more.

    Parameters
    ----------
    history : History, or mapping of str to History
        A history of at least one epoch; or several by name, {"lr 0.01": first, "lr 0.1": second}, each in a colour of
        its own.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If the history has no epochs.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,))
    >>> axes = model.fit(X, y, epochs=5).plot()  # doctest: +SKIP
    """
    several = isinstance(history, Mapping) and any(isinstance(each, Mapping) for each in history.values())
    runs: Mapping[str, Any] = history if several else {"": history}
    for run in runs.values():
        _refuse_others(run, "plot_history")
        if "loss" not in run:
            raise ValueError("the history has no epochs to draw; train the model first.")
    curves = [curve for i, name in enumerate(runs) for curve in _curves_of(runs[name], name, i if several else None)]
    axes = axes_for(ax)
    for epochs, losses, look in curves:
        axes.plot(epochs, losses, marker="o" if len(losses) == 1 else "", **look)
    values = [value for _, losses, _ in curves for value in losses]
    if min(values) > 0 and max(values) >= 10 * min(values):
        log_scale(axes, max(values) / min(values))
    whole_numbers(axes)
    name_axes(axes, "epoch", "loss")
    if len(curves) > 1:
        axes.legend()
    return axes


def _curves_of(
    run: Mapping[str, Sequence[float]], name: str, number: int | None
) -> list[tuple[Sequence[float], Sequence[float], dict[str, Any]]]:
    """The curves of a training: epochs, losses, and how they look; one of several has a colour by its number."""
    colours = (BLUE, VERMILLION) if number is None else (COLOURS[number % len(COLOURS)],) * 2
    labels = ("training", "validation") if number is None else (name, f"{name}, validation")
    kinds = zip(("loss", "val_loss"), labels, colours, ("-", "--"), strict=True)
    return [
        (run["epoch"], run[column], {"label": label, "color": colour, "linestyle": dashes})
        for column, label, colour, dashes in kinds
        if column in run
    ]


def plot_rates(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw losses over learning rates, measured and smoothed, with a line at the suggested rate, if there is one."""
    axes = axes_for(ax)
    axes.plot(rates, losses, color=BLUE, alpha=0.3, label="each batch")
    axes.plot(rates, smoothed, color=BLUE, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color=VERMILLION, linestyle="--", label=f"{suggestion:.2g}")
    axes.set_xscale("log")
    top, low = 2.0 * max(smoothed[0], min(smoothed)), min(losses)
    axes.set_ylim(low - 0.05 * (top - low), top)
    name_axes(axes, "learning rate", "loss")
    axes.legend()
    return axes


NO_METRICS = frozenset({"epoch", "loss", "lr", "seconds"})


def plot_metrics(
    history: Mapping[str, Sequence[float]], names: Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the metrics over the epochs: solid for training, dashed and in another colour for validation.

    Parameters
    ----------
    history : History
        The history of a training with `metrics=`.
    names : sequence of str, optional
        The metrics to draw, such as ("accuracy",); all if None.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the history has no epochs, no metrics, or no metric of a given name.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,))
    >>> history = model.fit(X, y, epochs=5, metrics=["accuracy"], validation=0.2)
    >>> axes = nn.plotting.plot_metrics(history)  # doctest: +SKIP
    """
    metrics = {name: name for name in history if name not in NO_METRICS and not name.startswith("val_")}
    if not metrics:
        raise ValueError("the history has no metrics to draw; train the model with metrics=, such as 'accuracy'.")
    chosen = list(metrics) if names is None else [named(name, metrics, "metric of this history") for name in names]
    axes = axes_for(ax)
    epochs = history["epoch"]
    every = max(len(epochs) // 8, 1)  # enough marks to distinguish curves where there is no colour
    curves = [each for name in chosen for each in ((name, "-", name), (f"val_{name}", "--", f"{name}, validation"))]
    present = [curve for curve in curves if curve[0] in history]
    for i, (column, dashes, label) in enumerate(present):
        look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        look |= {"markersize": 6.0, "markevery": (i * every // len(present), every)}
        axes.plot(epochs, history[column], linestyle=dashes, label=label, **look)
    whole_numbers(axes)
    name_axes(axes, "epoch", chosen[0] if len(chosen) == 1 else "metric")
    axes.legend()
    return axes


# --- Activation functions ------------------------------------------------------------------------------------

STEP = 0.01
JUMP = 0.1
"""The derivative has a jump where it changes by more than this in one step."""


def plot_activation(function: str | Activation, *, ax: Axes | None = None, span: float = 4.0) -> Axes:
    """Draw an activation function y = f(x) and its derivative dy/dx, from -span to span.

    The derivative is computed by the pullback of the layer, for dy = 1. Its line is interrupted where it jumps.

    Parameters
    ----------
    function : str or Activation
        A name, such as "tanh", or a layer with a function of your own.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if None.
    span : float
        The range of x is from -span to span; below 1000.

    Returns
    -------
    matplotlib Axes
        The first two lines are the function and the derivative.

    Raises
    ------
    ValueError
        If the name is unknown, or the function is not elementwise (softmax, log_softmax).
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> axes = nn.plotting.plot_activation("gelu")  # doctest: +SKIP
    """
    layer = activation(function)
    if layer.function in ("softmax", "log_softmax"):
        raise ValueError(f"plot_activation draws elementwise functions; {layer.function} works along an axis.")
    end = real(span, "span", least=STEP, below=1000.0, usual=4.0)
    host = host_backend()
    x = host.asarray(np.linspace(-end, end, 2 * round(end / STEP) + 1))
    y, pullback, *_ = layer.forward({}, x, Context())
    derivative = np.array(on_host(pullback(host.xp.ones_like(x))[0]))
    derivative[1:][np.abs(np.diff(derivative)) > JUMP] = np.nan
    axes = axes_for(ax)
    axes.plot(on_host(x), on_host(y), color=BLUE, label="f(x)")
    axes.plot(on_host(x), derivative, color=VERMILLION, linestyle="--", label="f '(x)")
    for line in (axes.axhline, axes.axvline):
        line(0.0, color="0.6", linewidth=0.8, zorder=0)
    name_axes(axes, "x", "")
    axes.set_title(axes.get_title() or (layer.function if isinstance(layer.function, str) else "f"))
    axes.legend()
    return axes
