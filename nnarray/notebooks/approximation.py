"""The figures of notebook 1, "Approximating a function": each function draws one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

from nnarray.drawing.canvas import BLUE, COLOURS, GREEN, ORANGE, VERMILLION, on_host
from nnarray.notebooks.panels import panels
from nnarray.plotting import plot_data
from nnarray.typing import Array

LOOKS = ((BLUE, "-"), (VERMILLION, "--"), (GREEN, "-."))
"""Colour and dashes of curves side by side."""


def _squares(X: Array, y: Array, slope: float, intercept: float) -> float:
    return float(((slope * on_host(X) + intercept - on_host(y)) ** 2).mean())


def network(model: Callable[[Array], Array], X: Array, y: Array) -> None:
    """The points, and what a network of one input makes of them."""
    with panels(1, 6.5, 3.8) as (axes,):
        plot_data(X, y, ax=axes)
        order = on_host(X)[:, 0].argsort()
        axes.plot(on_host(X)[order, 0], on_host(model(X))[order, 0], color=VERMILLION, label="the network")
        axes.legend()


def line(X: Array, y: Array, slope: float, intercept: float, truth: tuple[float, float] | None = None) -> None:
    """A line among the points with its errors, thin strokes; dotted, the true line if it is given."""
    with panels(1, 6.5, 4) as (axes,):
        _line(axes, X, y, slope, intercept)
        if truth is not None:
            axes.lines[0].set_label("least squares")
            axes.plot([0, 1], [truth[1], sum(truth)], color="black", linestyle=":", label="the true line")
            axes.legend()
        axes.set(xlabel=f"x\nmean squared error {_squares(X, y, slope, intercept):.4f}", ylim=(-2.2, 2.2))


def lines(X: Array, y: Array, candidates: Sequence[tuple[float, float]]) -> None:
    """Several lines side by side, each with its errors; a candidate is a slope and an intercept."""
    with panels(len(candidates), 3.4 * len(candidates), 3.8, share=True) as axes:
        for each, (slope, intercept) in zip(axes, candidates, strict=True):
            _line(each, X, y, slope, intercept)
            each.set(xlabel=f"x\nmean squared error {_squares(X, y, slope, intercept):.2f}")
            each.label_outer()


def line_and_error(X: Array, y: Array, slope: float, intercept: float) -> None:
    """A line with its errors, and its mean squared error as a bar."""
    with panels(2, 7.5, 4, ratios=(6, 1)) as (left, right):
        _line(left, X, y, slope, intercept)
        error = _squares(X, y, slope, intercept)
        right.bar(["error"], [error], color=VERMILLION)
        right.set(ylim=(0, 3), title=f"{error:.3f}")


def _line(axes: Any, X: Array, y: Array, slope: float, intercept: float) -> None:
    plot_data(X, y, ax=axes)
    x, measured = on_host(X)[:, 0], on_host(y)[:, 0]
    drawn = slope * x + intercept
    axes.vlines(x, measured, drawn, color=VERMILLION, linewidth=1)
    axes.plot(x, drawn, color=BLUE)
    axes.set(title=f"slope {slope:.1f}, intercept {intercept:.1f}", ylim=(-3.2, 3.2))


def curves(x: Array, named: Mapping[str, Array], *, y_label: str = "y") -> None:
    """Curves over the same x; the first is thick and grey if there are two."""
    with panels(1, 6.5, 3.6) as (axes,):
        for k, (name, values) in enumerate(named.items()):
            thick = k == 0 and len(named) == 2
            colour, dashes = LOOKS[max(k - (len(named) == 2), 0)]
            look = {"color": "0.75", "linewidth": 7} if thick else {"color": colour, "linestyle": dashes}
            axes.plot(on_host(x).ravel(), on_host(values).ravel(), label=name, **look)
        axes.set(xlabel="x" if y_label == "y" else "error e", ylabel=y_label)
        axes.legend()


def hats(x: Array, wave: Array, columns: Array, nodes: Array, values: Array) -> None:
    """The hats, each hat times its sample, and the sum of them."""
    grid, table, heights = on_host(x)[:, 0], on_host(columns), on_host(values)[:, 0]
    with panels(3, 10, 3.2, share=True) as axes:
        for k, dashes in zip(range(table.shape[1]), cycle(["-", "--"]), strict=False):
            axes[0].plot(grid, table[:, k], color=COLOURS[k], linestyle=dashes)
            axes[1].plot(grid, heights[k] * table[:, k], color=COLOURS[k], linestyle=dashes)
        axes[2].plot(grid, on_host(wave)[:, 0], color="0.75", linewidth=7)
        axes[2].plot(grid, table @ heights, color=BLUE)
        for each, title in zip(axes, ("six hats", "each times its sample", "their sum, and the sine"), strict=True):
            each.axhline(0, color="0.4", linewidth=2, zorder=2.5)
            each.set(title=title, xlabel="x")
        for each in axes[1:]:
            each.plot(on_host(nodes)[:, 0], heights, "o", color="black")


def interpolations(x: Array, wave: Array, guesses: Mapping[int, tuple[Array, Array, Array]]) -> None:
    """Guesses between samples: by the number of samples, the nodes, the values there, and the guess on x."""
    grid, truth = on_host(x)[:, 0], on_host(wave)[:, 0]
    with panels(len(guesses), max(3.3 * len(guesses), 6), 3.6, share=True) as axes:
        for each, (samples, (nodes, values, guess)) in zip(axes, guesses.items(), strict=True):
            drawn = on_host(guess)[:, 0]
            each.plot(grid, truth, color="0.75", linewidth=7)
            each.plot(grid, drawn, color=BLUE)
            each.plot(on_host(nodes)[:, 0], on_host(values)[:, 0], "o", color="black")
            error = float(((drawn - truth) ** 2).mean())
            each.set(title=f"{samples} samples", xlabel=f"x\nmean squared error {error:.2g}")


def fits(X: Array, y: Array, found: Mapping[str, tuple[float, float]]) -> None:
    """The best line of each loss among the points, and the true line."""
    with panels(1, 7, 4) as (axes,):
        plot_data(X, y, ax=axes)
        axes.plot([0, 1], [-1, 1], color="black", linestyle=":", label="the true line")
        for (name, (slope, intercept)), (colour, dashes) in zip(found.items(), LOOKS, strict=False):
            label = f"{name}: slope {slope:.2f}"
            axes.plot([0, 1], [intercept, slope + intercept], color=colour, linestyle=dashes, label=label)
        axes.legend(loc="lower left", fontsize=10)


def loss_map(slopes: Array, intercepts: Array, losses: Array, points: Mapping[tuple[float, float], float]) -> None:
    """The loss of every line as a map with contour lines; some lines as dots, the lowest place as a star."""
    with panels(1, 6, 4.6) as (axes,):
        _map(axes, slopes, intercepts, losses)
        for (slope, intercept), error in points.items():
            axes.plot(slope, intercept, "o", color=BLUE)
            axes.text(slope, intercept + 0.12, f"{error:.2f}", color=BLUE, ha="center")
        axes.set_title("mean squared error of every line")


def descents(
    slopes: Array, intercepts: Array, losses: Array, paths: Mapping[float, Sequence[tuple[float, float]]]
) -> None:
    """Ways down on the map of the losses, by their learning rate; each starts at the black square."""
    with panels(len(paths), max(3.7 * len(paths), 6), 4, share=True) as axes:
        for each, (rate, path) in zip(axes, paths.items(), strict=True):
            _map(each, slopes, intercepts, losses)
            each.plot(*zip(*path, strict=True), "o-", color=BLUE, markersize=4, linewidth=1)
            each.plot(*path[0], "s", color="black")
            each.set_title(f"rate {rate:.2f}, {len(path) - 1} steps")
            each.label_outer()


def _map(axes: Any, slopes: Array, intercepts: Array, losses: Array) -> None:
    a, b, heights = on_host(slopes), on_host(intercepts), on_host(losses)
    levels = [0.12, 0.2, 0.4, 0.8, 1.5, 3, 6]
    drawn = axes.contour(a, b, heights.T, levels=levels, colors="0.55", linewidths=1)
    axes.clabel(drawn, fontsize=8)
    lowest = divmod(int(heights.argmin()), heights.shape[1])
    axes.plot(a[lowest[0]], b[lowest[1]], "*", color=ORANGE, markersize=16, zorder=4)
    axes.set(xlabel="slope a", ylabel="intercept b", xlim=(-3, 4), ylim=(-3, 2))
