"""A demo: a network learns to separate classes of points in the plane."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nnarray import datasets, kernels, metrics, plotting
from nnarray.apps.demos.words import Watch, counted, legend, percent, shape_of
from nnarray.backends import Backend
from nnarray.layers import Dense
from nnarray.losses import CrossEntropy
from nnarray.model import Model
from nnarray.names import named
from nnarray.network import Network
from nnarray.optimizers import Adam
from nnarray.plotting import on_host
from nnarray.training.history import History
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Usual(NamedTuple):
    """Settings with which a network learns a dataset in about a second."""

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
    """The scores of a classifier on the training points and on new points."""

    loss: float
    accuracy: float
    new_accuracy: float


@dataclass(frozen=True)
class Start:
    """A dataset and an untrained network for it, with the results of its forward propagation."""

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
        """The number of classes."""
        return self.logits.shape[1]

    @property
    def optimizer(self) -> Adam:
        """The optimizer of the training on all points at once."""
        return Adam(DATASETS[self.dataset].rate)


@dataclass(frozen=True)
class Trained:
    """The result of the training."""

    start: Start
    model: Model
    history: History
    scores: Scores


def hidden_of(dataset: str) -> tuple[int, ...]:
    """The default sizes of the hidden layers for the dataset of that name."""
    return named(dataset, DATASETS, "dataset").hidden


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
    """Points in the plane, and an untrained network to distinguish their classes.

    Parameters
    ----------
    be : Backend
    dataset : str
        A name in `DATASETS`.
    hidden : sequence of int, optional
        The sizes of the hidden layers; the dataset's default if None.
    activation : str
        The activation of the hidden layers.
    noise : float, optional
        The dataset's default if None.
    seed : int
        The seed of the points and of the initial parameters.
    epochs : int, optional
        The dataset's default if None.

    Raises
    ------
    ValueError
        If a name is unknown or a number is out of range.
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
    """The decision boundary before and after training, and the loss during training."""
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
