"""The demo of images: a small convolutional network learns to distinguish drawn cats from drawn dogs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnarray import datasets, kernels, metrics, plotting
from nnarray.backends import Backend, backend_of
from nnarray.datasets.pets import NAMES
from nnarray.model import Model
from nnarray.models import cnn
from nnarray.optimizers import Adam
from nnarray.plotting import GREEN, VERMILLION, on_host
from nnarray.schedules import Cosine
from nnarray.training.callbacks import History, Run
from nnarray.training.inputs import pick
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEW_IMAGES, SIZE, BATCH, RATE = 1000, 64, 64, 0.005


@dataclass(frozen=True)
class PetsFit:
    """A trained network, and what it predicts for images that it has not seen."""

    model: Model
    history: History
    X: Array
    y: Array
    probabilities: Array

    @property
    def confusion(self) -> np.ndarray:
        """How many of each class (row) were predicted to be of each (column)."""
        return on_host(metrics.confusion_matrix(self.probabilities, self.y))

    @property
    def accuracy(self) -> float:
        """The fraction of right answers."""
        return float(metrics.accuracy(self.probabilities, self.y))


def fit_pets(
    be: Backend, *, images: int, epochs: int, seed: int, watch: Callable[[Run], None] | None = None
) -> PetsFit:
    """Draw the images, train, and predict the classes of new ones."""
    X, y = datasets.pets(images, size=SIZE, seed=seed, backend=be)
    unseen, truth = datasets.pets(NEW_IMAGES, size=SIZE, seed=seed + 1, backend=be)
    model = cnn(2).init((SIZE, SIZE, 3), seed=seed, backend=be, dtype="float32")
    history = model.fit(
        X,
        y,
        optimizer=Adam(Cosine(RATE, epochs)),
        epochs=epochs,
        batch_size=min(BATCH, images),
        metrics=["accuracy"],
        seed=seed,
        callbacks=[watch] if watch else [],
        progress=False,
    )
    outputs = model.predict(unseen, batch_size=200)
    return PetsFit(model, history, unseen, truth, kernels.softmax(outputs))


class _Seen(NamedTuple):
    """What the network predicts for the new images, on the host."""

    images: np.ndarray
    truth: np.ndarray
    answers: np.ndarray
    sure: np.ndarray

    @classmethod
    def of(cls, fit: PetsFit) -> _Seen:
        p = on_host(fit.probabilities)
        return cls(on_host(fit.X), on_host(fit.y), p.argmax(axis=1), p.max(axis=1))


def draw_pets(fit: PetsFit) -> Figure:
    """Draw the answers, the wrong ones, their sensitive pixels, the first filters, and the confusion matrix."""
    seen = _Seen.of(fit)
    wrong = np.flatnonzero(seen.answers != seen.truth)
    doubtful = np.argsort(seen.sure)  # the least sure first
    with plotting.picture(12.5, 13.0) as figure:
        figure.suptitle(
            f"A convolutional network looks at {len(seen.truth)} pets that it has not seen: {fit.accuracy:.1%} right"
        )
        parts: Any = figure.subfigures(3, 1, height_ratios=[3.1, 2.55, 1.6])
        top, middle, bottom = parts
        left, right = top.subplots(1, 2, width_ratios=[2.1, 1])
        _draw_answers(seen, left, np.arange(24), 8, "The first ones, with its answer and certainty")
        right.set_title("How often it was right")
        plotting.plot_confusion(fit.confusion, NAMES, ax=right)
        mistakes, lit = middle.subplots(1, 2)
        if len(wrong):
            worst = wrong[np.argsort(-seen.sure[wrong])][:6]
            _draw_answers(seen, mistakes, worst, 3, f"Wrong: {len(worst)} of {len(wrong)}, the surest first")
        else:
            _draw_answers(seen, mistakes, doubtful[:6], 3, "None was wrong; it was least sure of these")
        surest = [doubtful[seen.answers[doubtful] == k][::-1][:3] for k in (0, 1)]
        _light_up(fit, seen, lit, np.concatenate(surest))
        filters, curve = bottom.subplots(1, 2)
        filters.set_title("The filters of its first layer")
        plotting.plot_filters(fit.model.params["0.weight"], ax=filters)
        curve.set_title("The loss while it learnt")
        plotting.plot_history(fit.history, ax=curve)
    return figure


def _draw_answers(seen: _Seen, axes: Any, which: np.ndarray, columns: int, title: str) -> None:
    """Images with the predicted classes: green where they are right."""
    labels = [f"{NAMES[seen.answers[i]]} {seen.sure[i]:.0%}" for i in which]
    colours = [GREEN if seen.answers[i] == seen.truth[i] else VERMILLION for i in which]
    axes.set_title(title)
    plotting.plot_images(seen.images[which], labels, colours=colours, columns=columns, ax=axes)


def _light_up(fit: PetsFit, seen: _Seen, axes: Any, which: np.ndarray) -> None:
    """Images, dark except where a change of a pixel would change the answer most."""
    gradient = fit.model.input_gradient(pick(fit.X, backend_of(fit.X).asarray(which)))
    light = _smooth(np.abs(on_host(gradient)).sum(axis=-1))
    light /= np.quantile(light, 0.985, axis=(1, 2), keepdims=True)
    images = seen.images[which] * (0.18 + 0.82 * np.clip(light, 0.0, 1.0)[..., None])
    axes.set_title("What lights up the answer")
    plotting.plot_images(images, [NAMES[k] for k in seen.answers[which]], columns=3, ax=axes)


def _smooth(x: np.ndarray, passes: int = 3) -> np.ndarray:
    """Each pixel averaged with its neighbours, a few times, since single pixels are noisy."""
    for _ in range(passes):
        for axis in (1, 2):
            x = (np.roll(x, 1, axis) + 2.0 * x + np.roll(x, -1, axis)) / 4.0
    return x
