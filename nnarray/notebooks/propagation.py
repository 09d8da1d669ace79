"""The figures of notebook 2, "A dataset and the forward propagation": each function draws one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nnarray.drawing.canvas import BLUE, ORANGE, VERMILLION, on_host
from nnarray.drawing.curves import plot_activation
from nnarray.notebooks.panels import panels
from nnarray.plotting import plot_boundary, plot_data
from nnarray.typing import Array

PLANE = (-2.0, 3.0, -1.5, 2.0)
"""Left, right, bottom and top of what is shown of the moons."""


def moons(datasets: Mapping[float, tuple[Array, Array]]) -> None:
    """Datasets side by side, by their noise."""
    with panels(len(datasets), max(3.4 * len(datasets), 6), 3.2, share=True) as axes:
        for each, (noise, (X, y)) in zip(axes, datasets.items(), strict=True):
            plot_data(X, y, ax=each)
            each.set(title=f"noise {noise:.2f}", aspect="equal", xlim=PLANE[:2], ylim=PLANE[2:])
            each.label_outer()


def neurons(X: Array, y: Array, weights: Sequence[tuple[float, float, float]]) -> None:
    """What logistic neurons say of the plane, by their w1, w2 and b: blue for class 0, orange for class 1.

    The black line is where they cannot decide, and the arrow the vector of weights.
    """
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("shades", [BLUE, "white", ORANGE])
    across, upward = np.linspace(*PLANE[:2], 101)[None, :], np.linspace(*PLANE[2:], 71)[:, None]
    with panels(len(weights), max(3.7 * len(weights), 7), 3.4 if len(weights) > 1 else 4.6, share=True) as axes:
        for each, (w1, w2, b) in zip(axes, weights, strict=True):
            values = 1 / (1 + np.exp(-(w1 * across + w2 * upward + b)))
            each.imshow(values, origin="lower", extent=PLANE, cmap=shades, vmin=0, vmax=1, alpha=0.5)
            if values.min() < 0.5 < values.max():
                each.contour(values, levels=[0.5], extent=PLANE, colors="black")
            plot_data(X, y, ax=each)
            each.arrow(0.5, 0.25, w1 / 4, w2 / 4, width=0.04, color="black", zorder=5)
            says_1 = on_host(X) @ np.asarray([w1, w2]) + b > 0
            right = int((says_1 == (on_host(y) == 1)).sum())
            each.set(xlim=PLANE[:2], ylim=PLANE[2:])
            each.set_title(f"w = ({w1:.1f}, {w2:.1f}), b = {b:.1f}: {right} right", fontsize=12)
            each.label_outer()


def activations(names: Sequence[str]) -> None:
    """Activation functions and their derivatives, four in a row."""
    with panels(len(names), 12, 2.8 * len(names) / 4, rows=len(names) // 4) as axes:
        for each, name in zip(axes, names, strict=True):
            plot_activation(name, ax=each)
            each.get_legend().remove()
            each.set(title=name, xlabel="z", ylabel="", ylim=(-1.3, 2.3))
        handles, _ = axes[0].get_legend_handles_labels()
        labels = ["function f", "its derivative"]
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=2)


def curves(x: Array, neurons: Sequence[tuple[str, float, float, Array, Array]]) -> None:
    """Neurons of one input side by side: name, w, b, the curve of w = 1 and b = 0 in grey, and their own."""
    with panels(len(neurons), max(3.7 * len(neurons), 6.5), 3, share=True) as axes:
        for each, (name, w, b, plain, moved) in zip(axes, neurons, strict=True):
            each.plot(on_host(x), on_host(plain), color="0.75", linewidth=5)
            each.plot(on_host(x), on_host(moved), color=BLUE)
            each.set(title=f"{name}, w = {w:.1f}, b = {b:.1f}", xlabel="x", ylim=(-1.1, 1.1))


def network(sizes: Sequence[int], names: Sequence[str], titles: Sequence[str], *, marked: int) -> None:
    """Neurons as circles, layer by layer, and weights as lines; those of one neuron of the first layer stand out."""
    with panels(1, 7, 4) as (axes,):
        for layer, (before, after) in enumerate(pairwise(sizes)):
            for j, end in enumerate(_heights(after)):
                stands_out = layer == 0 and j == marked
                look: Any = {"color": VERMILLION, "linewidth": 3} if stands_out else {"color": "0.6"}
                for start in _heights(before):
                    axes.plot([layer, layer + 1], [start, end], zorder=1, **look)
        for layer, (name, title) in enumerate(zip(names, titles, strict=True)):
            for k, height in enumerate(_heights(sizes[layer])):
                axes.plot(layer, height, "o", markersize=26, color="white", markeredgecolor="black")
                axes.text(layer, height, f"${name}_{k + 1}$", ha="center", va="center")
            axes.text(layer, max(sizes) / 2 + 0.2, title, ha="center")
        axes.set(xlim=(-0.4, len(sizes) - 0.6), ylim=(-max(sizes) / 2, max(sizes) / 2 + 0.5))
        axes.axis("off")


def _heights(count: int) -> list[float]:
    return [(count - 1) / 2 - k for k in range(count)]


def probabilities(examples: Sequence[tuple[Sequence[float], Array]]) -> None:
    """Logits and the probabilities that the softmax makes of them, as bars."""
    with panels(len(examples), max(3.7 * len(examples), 6), 3.2, share=True) as axes:
        for each, (logits, p) in zip(axes, examples, strict=True):
            names = [f"$z_{k + 1}$ = {z:.1f}" for k, z in enumerate(logits)]
            values = [float(v) for v in on_host(p).ravel()]
            bars = each.bar(names, values)
            for bar, colour, hatch in zip(bars, (BLUE, ORANGE, VERMILLION), ("", "//", ".."), strict=True):
                bar.set(facecolor=colour, hatch=hatch, edgecolor="white")
            each.bar_label(bars, [f"{value:.2f}" for value in values])
            each.set(ylim=(0, 1.1), ylabel="probability")
            each.label_outer()


def boundaries(models: Mapping[str, Any], X: Array, y: Array) -> None:
    """The boundaries of networks side by side, by what is written above them."""
    with panels(len(models), max(3.7 * len(models), 6.5), 3.4 if len(models) > 1 else 4, share=True) as axes:
        for each, (title, model) in zip(axes, models.items(), strict=True):
            plot_boundary(model, X, y, ax=each, resolution=80)
            each.set_title(title, fontsize=12)
            each.label_outer()
