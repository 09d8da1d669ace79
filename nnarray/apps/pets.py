"""The image demo: a small convolutional network learns to distinguish drawn cats from drawn dogs."""

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
from nnarray.training.callbacks import Run
from nnarray.training.history import History
from nnarray.training.inputs import pick
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEW_IMAGES, SIZE, BATCH, RATE = 1000, 64, 64, 0.005


@dataclass(frozen=True)
class PetsFit:
    """A trained network, and its predictions for new images."""

    model: Model
    history: History
    X: Array
    y: Array
    probabilities: Array

    @property
    def confusion(self) -> np.ndarray:
        """The number of images of each class (rows) by predicted class (columns)."""
        return on_host(metrics.confusion_matrix(self.probabilities, self.y))

    @property
    def accuracy(self) -> float:
        """The fraction of correct predictions."""
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
    """The predictions of the network for the new images, on the host."""

    images: np.ndarray
    truth: np.ndarray
    answers: np.ndarray
    sure: np.ndarray

    @classmethod
    def of(cls, fit: PetsFit) -> _Seen:
        p = on_host(fit.probabilities)
        return cls(on_host(fit.X), on_host(fit.y), p.argmax(axis=1), p.max(axis=1))


def draw_pets(fit: PetsFit) -> Figure:
    """Draw predictions, the wrong ones, sensitive pixels, the confusion matrix, and the first filters."""
    seen = _Seen.of(fit)
    wrong = np.flatnonzero(seen.answers != seen.truth)
    doubtful = np.argsort(seen.sure)  # the least certain first
    with plotting.picture(12.5, 11.4) as figure:
        figure.suptitle(
            f"Predictions of a convolutional network for {len(seen.truth)} new pets: {fit.accuracy:.1%} correct"
        )
        parts: Any = figure.subfigures(3, 1, height_ratios=[2.9, 4.9, 2.9])
        top, middle, bottom = parts
        _draw_answers(seen, top.subplots(), np.arange(24), 12, "The first images, with predicted class and probability")
        mistakes, lit = middle.subplots(1, 2)
        if len(wrong):
            worst = wrong[np.argsort(-seen.sure[wrong])][:6]
            _draw_answers(
                seen, mistakes, worst, 3, f"Wrong predictions: {len(worst)} of {len(wrong)}, the most certain first"
            )
        else:
            _draw_answers(seen, mistakes, doubtful[:6], 3, "None was wrong; the least certain predictions")
        surest = [doubtful[seen.answers[doubtful] == k][::-1][:3] for k in (0, 1)]
        _light_up(fit, seen, lit, np.concatenate(surest))
        counts, filters, curve = bottom.subplots(1, 3, width_ratios=[1.0, 1.0, 1.6])
        counts.set_title("Confusion matrix")
        plotting.plot_confusion(fit.confusion, NAMES, ax=counts)
        filters.set_title("Filters of the first layer")
        plotting.plot_filters(fit.model.params["0.weight"], ax=filters)
        curve.set_title("Loss of the training")
        plotting.plot_history(fit.history, ax=curve)
    return figure


def _draw_answers(seen: _Seen, axes: Any, which: np.ndarray, columns: int, title: str) -> None:
    """Images with the predicted classes, in green if correct."""
    labels = [f"{NAMES[seen.answers[i]]} {seen.sure[i]:.0%}" for i in which]
    colours = [GREEN if seen.answers[i] == seen.truth[i] else VERMILLION for i in which]
    axes.set_title(title)
    plotting.plot_images(seen.images[which], labels, colours=colours, columns=columns, ax=axes)


def _light_up(fit: PetsFit, seen: _Seen, axes: Any, which: np.ndarray) -> None:
    """Images, dark except at the pixels to which the prediction is most sensitive."""
    gradient = fit.model.input_gradient(pick(fit.X, backend_of(fit.X).asarray(which)))
    light = _smooth(np.abs(on_host(gradient)).sum(axis=-1))
    light /= np.quantile(light, 0.985, axis=(1, 2), keepdims=True)
    images = seen.images[which] * (0.18 + 0.82 * np.clip(light, 0.0, 1.0)[..., None])
    axes.set_title("The pixels that change the prediction most")
    plotting.plot_images(images, [NAMES[k] for k in seen.answers[which]], columns=3, ax=axes)


def _smooth(x: np.ndarray, passes: int = 3) -> np.ndarray:
    """Each pixel averaged with its neighbours, a few times, because single pixels are noisy."""
    for _ in range(passes):
        for axis in (1, 2):
            x = (np.roll(x, 1, axis) + 2.0 * x + np.roll(x, -1, axis)) / 4.0
    return x
