"""A demo: a line through noisy points, by gradient descent and by least squares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nnarray import datasets, plotting
from nnarray.apps.demos.words import Watch, counted, legend
from nnarray.backends import Backend, namespace
from nnarray.layers import Dense
from nnarray.losses import MeanSquaredError
from nnarray.model import Model
from nnarray.network import Network
from nnarray.optimizers import SGD
from nnarray.plotting import on_host
from nnarray.training.callbacks import Run
from nnarray.training.history import History
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class LineOf(NamedTuple):
    """A line, and its mean squared error on the points."""

    slope: float
    intercept: float
    error: float


@dataclass(frozen=True)
class LineFit:
    """A line fitted to points: the true one, least squares, and gradient descent epoch by epoch."""

    X: Array
    y: Array
    model: Model
    history: History
    true: LineOf
    least_squares: LineOf
    descent: LineOf
    by_epoch: Mapping[int, LineOf]


LINE_OPTIMIZER = SGD(0.5)
SHOWN_EPOCHS = (0, 1, 3, 10, 30)


def fit_line(
    be: Backend,
    *,
    slope: float = 2.0,
    intercept: float = -1.0,
    noise: float = 0.3,
    points: int = 100,
    seed: int = 0,
    epochs: int = 300,
    watch: Watch | None = None,
) -> LineFit:
    """A line through noisy points: gradient descent on a network of one weight and one bias, and least squares.

    Parameters
    ----------
    be : Backend
    slope, intercept : float
        The true line.
    noise : float
        Standard deviation of the noise.
    points, seed, epochs : int
    watch : callable, optional
    """
    X, y = datasets.line(points, slope=slope, intercept=intercept, noise=noise, seed=seed, backend=be)
    model = Network(Dense(1)).init((1,), seed=seed, backend=be)

    def now() -> LineOf:
        return _line(X, y, float(model.params["0.weight"][0, 0]), float(model.params["0.bias"][0]))

    by_epoch = {0: now()}

    def note(run: Run) -> None:
        if run.epoch in SHOWN_EPOCHS:
            by_epoch[run.epoch] = now()
        if watch:
            watch(run)

    history = model.fit(
        X, y, loss="mse", optimizer=LINE_OPTIMIZER, epochs=epochs, batch_size=None, callbacks=[note], progress=False
    )
    return LineFit(
        X=X,
        y=y,
        model=model,
        history=history,
        true=_line(X, y, slope, intercept),
        least_squares=_line(X, y, *least_squares(X, y)),
        descent=now(),
        by_epoch=by_epoch,
    )


def least_squares(X: Array, y: Array) -> tuple[float, float]:
    """Slope and intercept of the line with the least mean squared error.

    slope = sum (x - mean x)(y - mean y) / sum (x - mean x)^2,  intercept = mean y - slope mean x.

    Parameters
    ----------
    X, y : array, shape (N, 1)
        Points with at least two different x.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.apps.demos import least_squares
    >>> least_squares(*nn.datasets.line(3, slope=2, intercept=1, noise=0))
    (2.0, 1.0)
    """
    xp = namespace(X)
    middle_x, middle_y = xp.mean(X), xp.mean(y)
    slope = xp.sum((X - middle_x) * (y - middle_y)) / xp.sum((X - middle_x) ** 2)
    return float(slope), float(middle_y - slope * middle_x)


def _line(X: Array, y: Array, slope: float, intercept: float) -> LineOf:
    return LineOf(slope, intercept, float(MeanSquaredError()(slope * X + intercept, y)))


def draw_line(fit: LineFit) -> Figure:
    """The points with all lines, and the error as it approaches that of least squares."""
    last = len(fit.history["epoch"])
    early = {epoch: line for epoch, line in fit.by_epoch.items() if epoch < last}
    with plotting.picture(12.5, 5.2) as figure:
        figure.suptitle(f"A line through {len(on_host(fit.X))} noisy points, by gradient descent and by least squares")
        left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
        plotting.plot_data(fit.X, fit.y, ax=left)
        for line in early.values():
            _draw_line(left, line, color=plotting.BLUE, linewidth=1, alpha=0.6)
        _draw_line(left, fit.true, color="black", linestyle=":", zorder=3, label="true line")
        _draw_line(left, fit.least_squares, color=plotting.ORANGE, linewidth=7, label="least squares")
        _draw_line(left, fit.descent, color=plotting.BLUE, label=f"gradient descent, {counted(last, 'epoch')}")
        _name_lines(left, {counted(epoch, "epoch") if epoch else "start": line for epoch, line in early.items()})
        plotting.plot_history(fit.history, ax=right)
        right.axhline(fit.least_squares.error, color=plotting.ORANGE, linewidth=7, zorder=0)
        right.set(ylabel="mean squared error", xscale="log")
        right.xaxis.set_major_formatter("{x:g}")
        right.grid(alpha=0.3)
        legend(figure, [left])
    return figure


def _draw_line(axes: Axes, line: LineOf, **looks: Any) -> None:
    axes.plot((0.0, 1.0), (line.intercept, line.slope + line.intercept), **looks)


def _name_lines(axes: Axes, lines: Mapping[str, LineOf]) -> None:
    """Names at the right ends of the lines, moved apart if they would overlap."""
    low, high = axes.get_ylim()
    at = -math.inf
    for name, line in sorted(lines.items(), key=lambda item: item[1].slope + item[1].intercept):
        at = max(line.slope + line.intercept, at + 0.045 * (high - low))
        axes.text(1.015, at, name, va="center", fontsize=10, color=plotting.BLUE)
