"""What the demos of the command line compute, and their pictures. Nothing here prints.

Each demo is a function from settings to a small frozen dataclass, and a `draw_...` from that to a figure.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nnarray import datasets, kernels, metrics, plotting
from nnarray.backends import Backend, namespace
from nnarray.layers import Dense
from nnarray.layers.initializers import Normal
from nnarray.losses import CrossEntropy, MeanSquaredError
from nnarray.model import Model
from nnarray.names import named
from nnarray.network import Network
from nnarray.optimizers import SGD, Adam
from nnarray.plotting import on_host
from nnarray.schedules import Cosine
from nnarray.training.callbacks import History, Run
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Watch = Callable[[Run], None]
"""Called at the end of every epoch."""


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


# --- Telling classes apart -----------------------------------------------------------------------------------


class Usual(NamedTuple):
    """Settings with which a dataset is learnt in about a second."""

    make: Callable[..., tuple[Array, Array]]
    title: str
    hidden: tuple[int, ...] = (5,)
    epochs: int = 500
    points: int = 200
    rate: float = 0.05


DATASETS = {
    "moons": Usual(datasets.moons, "two moons"),
    "circles": Usual(datasets.circles, "two circles", hidden=(10,)),
    "spirals": Usual(datasets.spirals, "two spirals", hidden=(20, 20)),
    "blobs": Usual(datasets.blobs, "three blobs", epochs=200),
    "xor": Usual(datasets.xor, "exclusive or"),
    "checkerboard": Usual(datasets.checkerboard, "a checkerboard", hidden=(20, 20), epochs=1000, points=600, rate=0.02),
}
NEW_POINTS = 1000


@dataclass(frozen=True)
class Scores:
    """How good a classifier is: on the points it learns from, and on points it never sees."""

    loss: float
    accuracy: float
    new_accuracy: float


@dataclass(frozen=True)
class Start:
    """A dataset and an untrained network for it, with what its forward propagation gives."""

    dataset: str
    noise: float
    seed: int
    hidden: tuple[int, ...]
    activation: str
    epochs: int
    X: Array
    y: Array
    new: tuple[Array, Array]
    model: Model
    logits: Array
    probabilities: Array
    scores: Scores

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.logits.shape[1]

    @property
    def optimizer(self) -> Adam:
        """The rule that will train the network, on all points at once."""
        return Adam(DATASETS[self.dataset].rate)


@dataclass(frozen=True)
class Trained:
    """What the training made of it."""

    start: Start
    model: Model
    history: History
    scores: Scores


def untrained(
    be: Backend,
    dataset: str = "moons",
    *,
    hidden: Sequence[int] | None = None,
    activation: str = "tanh",
    noise: float | None = None,
    seed: int = 0,
    epochs: int | None = None,
) -> Start:
    """Points in the plane and an untrained network that shall tell their classes apart.

    Parameters
    ----------
    be : Backend
    dataset : str
        Of `DATASETS`.
    hidden : sequence of int, optional
        The sizes of the hidden layers; the dataset's usual ones if None.
    activation : str
        Of the hidden layers.
    noise : float, optional
        The dataset's own if None.
    seed : int
        Of the points and of the first parameters.
    epochs : int, optional
        The dataset's usual number if None.

    Raises
    ------
    ValueError
        If a name is unknown or a number out of its range.
    """
    usual = named(dataset, DATASETS, "dataset")
    noise = float(inspect.signature(usual.make).parameters["noise"].default) if noise is None else noise
    hidden = usual.hidden if hidden is None else tuple(hidden)
    X, y = usual.make(usual.points, noise=noise, seed=seed, backend=be)
    new = usual.make(NEW_POINTS, noise=noise, seed=seed + 1, backend=be)
    classes = int(be.xp.max(y)) + 1
    layers = [Dense(units, activation) for units in hidden]
    model = Network(*layers, Dense(classes)).init((2,), seed=seed, backend=be)
    logits = model(X)
    return Start(
        dataset=dataset,
        noise=noise,
        seed=seed,
        hidden=hidden,
        activation=activation,
        epochs=usual.epochs if epochs is None else epochs,
        X=X,
        y=y,
        new=new,
        model=model,
        logits=logits,
        probabilities=kernels.softmax(logits),
        scores=_scores(model, X, y, new),
    )


def train(start: Start, watch: Watch | None = None) -> Trained:
    """Train a copy of the network by gradient descent on all points at once."""
    model = start.model.copy()
    history = model.fit(
        start.X,
        start.y,
        optimizer=start.optimizer,
        epochs=start.epochs,
        batch_size=None,
        callbacks=[watch] if watch else [],
        progress=False,
    )
    return Trained(start, model, history, _scores(model, start.X, start.y, start.new))


def _scores(model: Model, X: Array, y: Array, new: tuple[Array, Array]) -> Scores:
    logits = model(X)
    return Scores(
        loss=float(CrossEntropy()(logits, y)),
        accuracy=float(metrics.accuracy(logits, y)),
        new_accuracy=float(metrics.accuracy(model(new[0]), new[1])),
    )


def draw_training(done: Trained) -> Figure:
    """The decision boundary before and after training, and the loss between the two."""
    start = done.start
    with plotting.picture(13.0, 4.6) as figure:
        figure.suptitle(
            f"A {shape_of(start.model)} {start.activation} network learns {DATASETS[start.dataset].title}: "
            f"{len(on_host(start.X))} points, {counted(start.epochs, 'epoch')} of Adam"
        )
        before, after, loss = figure.subplots(1, 3, width_ratios=[1.15, 1.15, 1])
        for axes, model, scores, title in (
            (before, start.model, start.scores, "before training"),
            (after, done.model, done.scores, "after"),
        ):
            plotting.plot_boundary(model, start.X, start.y, ax=axes)
            axes.set_title(f"{title}: accuracy {percent(scores.accuracy)}")
        after.set_ylabel("")
        after.tick_params(labelleft=False)
        plotting.plot_history(done.history, ax=loss)
        loss.set(title=f"loss: {start.scores.loss:.2g} to {done.scores.loss:.2g}", ylabel="cross-entropy (nats)")
        loss.grid(alpha=0.3)
        legend(figure, [before, after])
    return figure


def draw_sizes(results: Sequence[Trained]) -> Figure:
    """One decision boundary for each size of the hidden layer."""
    start, count = results[0].start, len(results)
    columns = min(count, 4)
    rows = -(-count // columns)
    with plotting.picture(max(3.4 * columns, 6.0), 3.0 * rows + (0.5 if count < rows * columns else 1.0)) as figure:
        figure.suptitle(f"How many hidden units does it take to learn {DATASETS[start.dataset].title}?")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for i, (axes, done) in enumerate(zip(grid, results, strict=False)):
            plotting.plot_boundary(done.model, start.X, start.y, ax=axes)
            axes.set_title(f"{counted(done.start.hidden[0], 'unit')}: accuracy {percent(done.scores.accuracy)}")
            axes.set(xlabel="$x_1$" if i + columns >= len(grid) else "", ylabel="" if i % columns else "$x_2$")
        for axes in grid[count:]:
            axes.set_axis_off()
        legend(figure, list(grid[:count]), spare=grid[count] if count < len(grid) else None)
    return figure


def percent(share: float) -> str:
    """A share such as 0.985 as "98.5 %"; rounded, but only all is called 100 %."""
    return "100 %" if share >= 1 else f"{min(100 * share, 99.9):.1f} %"


def counted(number: int, what: str) -> str:
    """A number of things in words: "1 epoch", "2 epochs"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def legend(figure: Figure, axes: Sequence[Axes], spare: Axes | None = None) -> None:
    """One legend for all axes: under them, or in a spare place among them."""
    entries = {label: handle for each in axes for handle, label in zip(*each.get_legend_handles_labels(), strict=True)}
    order = sorted(entries, key=lambda label: not label.startswith("class"))
    handles = [entries[label] for label in order]
    if spare is None:
        figure.legend(handles, order, loc="outside lower center", ncols=len(order))
    else:
        spare.legend(handles, order, loc="center", fontsize=14)


# --- A line --------------------------------------------------------------------------------------------------


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
    course: Mapping[int, LineOf]


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
        Of the true line.
    noise : float
        Standard deviation of the points around it.
    points, seed, epochs : int
    watch : callable, optional
    """
    X, y = datasets.line(points, slope=slope, intercept=intercept, noise=noise, seed=seed, backend=be)
    model = Network(Dense(1)).init((1,), seed=seed, backend=be)

    def now() -> LineOf:
        return _line(X, y, float(model.params["0.weight"][0, 0]), float(model.params["0.bias"][0]))

    course = {0: now()}

    def note(run: Run) -> None:
        if run.epoch in SHOWN_EPOCHS:
            course[run.epoch] = now()
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
        course=course,
    )


def least_squares(X: Array, y: Array) -> tuple[float, float]:
    """Slope and intercept of the line with the least mean squared error.

    slope = sum (x - mean x)(y - mean y) / sum (x - mean x)^2,  intercept = mean y - slope mean x.

    Parameters
    ----------
    X, y : array, shape (N, 1)
        With at least two different x.

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
    """The points with all lines, and the error on its way to that of least squares."""
    last = len(fit.history["epoch"])
    early = {epoch: line for epoch, line in fit.course.items() if epoch < last}
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
    """Names at the right ends of the lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    at = -math.inf
    for name, line in sorted(lines.items(), key=lambda item: item[1].slope + item[1].intercept):
        at = max(line.slope + line.intercept, at + 0.045 * (high - low))
        axes.text(1.015, at, name, va="center", fontsize=10, color=plotting.BLUE)


# --- A sine --------------------------------------------------------------------------------------------------

SINE_POINTS = 200


class Errors(NamedTuple):
    """How far an approximation is from the sine, over a fine grid."""

    rms: float
    largest: float


@dataclass(frozen=True)
class SineFit:
    """A sine approximated by a network, and by straight lines between 2, 3, ... samples of it."""

    model: Model
    history: History
    samples: int
    grid: Array
    truth: Array
    output: Array
    network: Errors
    interpolated: Mapping[int, Array]
    interpolation: Mapping[int, Errors]


def fit_sine(
    be: Backend,
    *,
    hidden: Sequence[int] = (20,),
    activation: str = "tanh",
    samples: int = 15,
    seed: int = 0,
    epochs: int = 3000,
    watch: Watch | None = None,
) -> SineFit:
    """A network that approximates one period of a sine, and piecewise linear interpolation to compare it with.

    Parameters
    ----------
    be : Backend
    hidden : sequence of int
        The sizes of the hidden layers.
    activation : str
    samples : int
        Interpolation is tried between 2, 3, ... and this many samples.
    seed, epochs : int
    watch : callable, optional

    Notes
    -----
    The biases of the hidden units start spread out, so that the units bend at different places.
    """
    if samples < 2:
        raise ValueError(f"samples must be at least 2, the ends of a line; got {samples}.")
    x, y = datasets.sine(SINE_POINTS, noise=0, backend=be)
    grid, truth = datasets.sine(1001, noise=0, backend=be)
    inputs, inputs_of_grid = datasets.standardize(x, grid)
    layers = [Dense(units, activation, bias_init=Normal(0.0, 1.0)) for units in hidden]
    model = Network(*layers, Dense(1)).init((1,), seed=seed, backend=be)
    history = model.fit(
        inputs,
        y,
        loss="mse",
        optimizer=Adam(Cosine(0.05, epochs, lowest=5e-5)),
        epochs=epochs,
        batch_size=None,
        callbacks=[watch] if watch else [],
        progress=False,
    )
    output = model(inputs_of_grid)
    lines = {n: interpolate(*datasets.sine(n, noise=0, backend=be), grid) for n in range(2, samples + 1)}
    return SineFit(
        model=model,
        history=history,
        samples=SINE_POINTS,
        grid=grid,
        truth=truth,
        output=output,
        network=_errors(output, truth),
        interpolated=lines,
        interpolation={n: _errors(values, truth) for n, values in lines.items()},
    )


def interpolate(x: Array, y: Array, at: Array) -> Array:
    """Straight lines between samples at even distances h: the sum of hats  y_k max(0, 1 - |at - x_k| / h).

    Parameters
    ----------
    x, y : array, shape (n, 1), n at least 2
    at : array, shape (N, 1)

    Returns
    -------
    array, shape (N, 1)

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.apps.demos import interpolate
    >>> be = nn.backend("numpy")
    >>> interpolate(be.asarray([[0.0], [1.0]]), be.asarray([[1.0], [3.0]]), be.asarray([[0.25]]))
    array([[1.5]])
    """
    xp = namespace(x)
    h = x[1, 0] - x[0, 0]
    hats = 1.0 - xp.abs(at - x.T) / h
    return xp.matmul(xp.where(hats > 0, hats, xp.zeros_like(hats)), y)


def _errors(values: Array, truth: Array) -> Errors:
    xp = namespace(values)
    distance = xp.abs(values - truth)
    return Errors(float(xp.sqrt(xp.mean(distance**2))), float(xp.max(distance)))


def shown_counts(fit: SineFit) -> list[int]:
    """The numbers of samples that are drawn and tabled: a few, the largest among them."""
    most = max(fit.interpolation)
    return sorted({n for n in (3, 5, 8) if n < most} | {most})


def draw_sine(fit: SineFit) -> Figure:
    """Interpolation between a few samples, the network, and the error over the number of samples."""
    counts = shown_counts(fit)
    columns = 2 if len(counts) == 2 else 3
    rows = -(-(len(counts) + 2) // columns)
    with plotting.picture(4.3 * columns, 3.2 * rows + 0.6) as figure:
        figure.suptitle("A sine wave, by straight lines between samples and by a network")
        panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for axes, n in zip(panels, counts, strict=False):
            _draw_curve(axes, fit, fit.interpolated[n], plotting.ORANGE)
            nearest = [round(k * 1000 / (n - 1)) for k in range(n)]
            x, y = on_host(fit.grid)[nearest, 0], on_host(fit.interpolated[n])[nearest, 0]
            axes.plot(x, y, "o", color="black", markersize=5)
            axes.set_title(f"{n} samples: error {fit.interpolation[n].rms:.2g}")
        network, error, *spare = panels[len(counts) :]
        _draw_curve(network, fit, fit.output, plotting.BLUE)
        network.set_title(f"{shape_of(fit.model)} network: error {fit.network.rms:.2g}")
        for i, axes in enumerate(panels[: len(counts) + 1]):
            axes.tick_params(labelleft=i % columns == 0)
            axes.set_ylabel("" if i % columns else "y")
        _draw_errors(error, fit)
        for axes in spare:
            axes.set_axis_off()
    return figure


def _draw_curve(axes: Axes, fit: SineFit, values: Array, colour: str) -> None:
    x, truth, y = (on_host(v)[:, 0] for v in (fit.grid, fit.truth, values))
    axes.plot(x, truth, color="0.75", linewidth=7)
    axes.fill_between(x, truth, y, color=colour, alpha=0.25, linewidth=0)
    axes.plot(x, y, color=colour)
    axes.set(xlabel="x", ylim=(-1.25, 1.25), xticks=(0, 0.25, 0.5, 0.75, 1), yticks=(-1, 0, 1))


def _draw_errors(axes: Axes, fit: SineFit) -> None:
    counts = list(fit.interpolation)
    errors = [fit.interpolation[n].rms for n in counts]
    axes.plot(counts, errors, "o-", color=plotting.ORANGE, label="straight lines")
    axes.axhline(fit.network.rms, color=plotting.BLUE, linestyle="--", label="network")
    axes.set(title="root mean square error", xlabel="samples")
    plotting.whole_numbers(axes)
    plotting.log_scale(axes, max(errors) / min(*errors, fit.network.rms))
    axes.grid(alpha=0.3)
    axes.legend()
