"""The figures of notebook 3, "Training": each function draws one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nnarray.drawing.canvas import BLUE, GREEN, ORANGE, VERMILLION, on_host
from nnarray.drawing.curves import plot_history
from nnarray.notebooks.panels import panels
from nnarray.plotting import Film, plot_boundary
from nnarray.typing import Array

LOOKS = ((ORANGE, ":"), (GREEN, "-."), (BLUE, "-"), (VERMILLION, "--"))
"""Colour and dashes of curves side by side."""

CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}


# --- The tiny graph --------------------------------------------------------------------------------------------------


def graph(w: float, b: float, x: float = 2.0, t: float = 1.0) -> None:
    """One neuron as a graph: values to the right, derivatives of the loss to the left."""
    u, z, a = w * x, w * x + b, math.tanh(w * x + b)
    da = 2 * (a - t)
    dz = da * (1 - a**2)
    with panels(1, 10, 3.6) as (axes,):
        for place, name, value, derivative in (
            (0, "$u = w x$", u, dz),
            (3, "$z = u + b$", z, dz),
            (6, r"$a = \tanh z$", a, da),
            (9, "$L = (a - t)^2$", (a - t) ** 2, 1.0),
        ):
            _node(axes, name, value, derivative, (place, 0), "round,pad=0.5", -1)
        for left in (0, 3, 6):
            _arrow(axes, (left + 0.95, 0.1), (left + 1.9, 0.1), BLUE, "-")
            _arrow(axes, (left + 1.9, -0.12), (left + 0.95, -0.12), VERMILLION, "--")
        for name, value, derivative, at, foot in (
            ("$w$", w, dz * x, -0.7, -0.15),
            ("$x$", x, None, 0.7, 0.3),
            ("$b$", b, dz, 3, 3),
            ("$t$", t, None, 9, 9),
        ):
            _node(axes, name, value, derivative, (at, 1.2), "circle", 1)
            _arrow(axes, (at, 0.9), (foot, 0.3), BLUE, "-")
            if derivative is not None:
                _arrow(axes, (foot - 0.2, 0.3), (at - 0.2, 0.9), VERMILLION, "--")
        axes.text(6, 1.9, "blue: the value", color=BLUE, fontsize=12, **CENTRED)
        axes.text(6, 1.6, "vermillion: dL/d(value)", color=VERMILLION, fontsize=12, **CENTRED)
        axes.set(xlim=(-1.6, 10.6), ylim=(-1.1, 2.3))
        axes.set_axis_off()


def _node(
    axes: Any, name: str, value: float, derivative: float | None, at: tuple[float, float], shape: str, up: int
) -> None:
    frame = {"facecolor": "white", "edgecolor": "black", "boxstyle": shape}
    axes.text(*at, name, fontsize=13, bbox=frame, **CENTRED)
    axes.text(at[0], at[1] + 0.5 * up, f"{value:.3f}", color=BLUE, fontsize=12, **CENTRED)
    if derivative is not None:
        axes.text(at[0], at[1] + 0.8 * up, f"{derivative:.3f}", color=VERMILLION, fontsize=12, **CENTRED)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str, dashes: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 2, "ls": dashes})


# --- Gradients -------------------------------------------------------------------------------------------------------


def gradients(by_hand: Array, by_trying: Array, parts: Mapping[str, int]) -> None:
    """Two gradients, entry by entry: bars and dots; `parts` says where each parameter begins."""
    bars, dots = on_host(by_hand), on_host(by_trying)
    with panels(1, 9, 3.4) as (axes,):
        axes.bar(range(len(bars)), bars, color="#9ecae9", label="by the chain rule")
        axes.plot(range(len(dots)), dots, "o", color="black", markersize=4, label="by finite differences")
        for name, edge in parts.items():
            axes.axvline(edge - 0.5, color="0.6", linewidth=0.8)
            axes.text(edge - 0.3, 1.01, name, transform=axes.get_xaxis_transform())
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(xlabel="number of the parameter", ylabel="dL / d(parameter)", xlim=(-0.8, len(bars) - 0.2))
        axes.legend()


def errors(steps: Sequence[float], worst: Sequence[float]) -> None:
    """How far finite differences are off, for each step h."""
    with panels(1, 6, 3.2) as (axes,):
        axes.loglog(steps, worst, "o-", color=BLUE)
        axes.set(xlabel="h", ylabel="largest error", title="how far off finite differences are")
        axes.grid(alpha=0.3)


# --- Descents --------------------------------------------------------------------------------------------------------


def ahead(rates: Sequence[float], losses: Sequence[float], derivative: float) -> None:
    """The loss along the way that the gradient points out, and what its derivative at the start promises."""
    with panels(1, 6.5, 3.6) as (axes,):
        axes.plot(rates, losses, color=BLUE, label="the loss, if we go that far")
        near = [rate for rate in rates if rate < 1.2]
        axes.plot(near, [losses[0] + derivative * rate for rate in near], "--", color=VERMILLION)
        axes.lines[-1].set_label("what the gradient promises")
        axes.plot(0, losses[0], "o", color="black", label="here")
        axes.set(xlabel="learning rate of one step", ylabel="loss")
        axes.legend()


def losses(named: Mapping[str, Sequence[float]], *, label: str = "step") -> None:
    """Losses of several trainings, with a logarithmic axis."""
    with panels(1, 7, 3.6) as (axes,):
        for (name, values), (colour, dashes) in zip(named.items(), LOOKS[-len(named) :], strict=True):
            axes.plot(values, color=colour, linestyle=dashes, label=name)
        axes.set(xlabel=label, ylabel="loss", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend()


def descent(model: Any, values: Sequence[float], X: Array, y: Array) -> None:
    """The boundary after a descent, and the loss on the way."""
    with panels(2, 10, 3.8) as (left, right):
        plot_boundary(model, X, y, ax=left, resolution=80)
        left.set_title(f"after {len(values)} steps")
        right.plot(values, color=BLUE)
        right.set(xlabel="step", ylabel="loss", ylim=(0, max(values[0], values[-1]) * 1.2))


# --- Boundaries ------------------------------------------------------------------------------------------------------


def frames(film: Film, numbers: Sequence[int]) -> None:
    """Frames of a film side by side."""
    with panels(len(numbers), 3.25 * len(numbers), 3.3, share=True) as axes:
        for each, number in zip(axes, numbers, strict=True):
            film.draw(number, ax=each, resolution=80)
            each.label_outer()


def boundaries(models: Mapping[str, Any], X: Array, y: Array, *, width: float = 3.4, height: float = 3.5) -> None:
    """The boundaries of networks side by side, by what is written above them."""
    with panels(len(models), width * len(models), height, share=True) as axes:
        for each, (title, model) in zip(axes, models.items(), strict=True):
            plot_boundary(model, X, y, ax=each, resolution=100)
            each.set(title=title)
            each.label_outer()


def sizes(found: Mapping[int, tuple[Any, float, float]], X: Array, y: Array) -> None:
    """By the number of hidden neurons: the boundary with its accuracy; last, the losses as bars."""
    with panels(8, 13, 6.2, rows=2) as axes:
        for each, (size, (model, _, accuracy)) in zip(axes[:-1], found.items(), strict=True):
            plot_boundary(model, X, y, ax=each, resolution=80)
            each.set(title=f"{size} hidden: {accuracy:.1%}", xlabel="", ylabel="")
        axes[-1].bar(range(len(found)), [loss for _, loss, _ in found.values()], color=BLUE)
        axes[-1].set_xticks(range(len(found)), list(found))
        axes[-1].set(title="loss after training", xlabel="hidden neurons")


def overfitting(models: Mapping[str, Any], X: Array, y: Array) -> None:
    """Of each model, its boundary among the training points, and its losses while it learnt."""
    with panels(2 * len(models), 11, 3.75 * len(models), rows=len(models)) as axes:
        for left, right, (name, model) in zip(axes[::2], axes[1::2], models.items(), strict=True):
            plot_boundary(model, X, y, ax=left, resolution=120)
            left.set_title(f"{name}, {X.shape[0]} training points")
            plot_history(model.history, ax=right)
            right.set(title="loss while it learns", ylim=(2e-3, 2), yscale="log")
