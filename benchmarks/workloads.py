"""What is timed: shapes, batches and rules. A further workload is one more entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def moons(rng: np.random.Generator, count: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two half circles that interlock, with noise."""
    labels = rng.integers(0, 2, count)
    angle = np.pi * rng.random(count)
    across = np.where(labels == 0, np.cos(angle), 1.0 - np.cos(angle))
    up = np.where(labels == 0, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack([across, up], axis=1) + 0.1 * rng.normal(size=(count, 2)), labels


def clusters(rng: np.random.Generator, count: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """One cloud of points a class."""
    labels = rng.integers(0, sizes[-1], count)
    centres = rng.normal(size=(sizes[-1], sizes[0]))
    return centres[labels] + rng.normal(size=(count, sizes[0])), labels


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A dense network of these sizes, trained on batches that are taken in order."""

    title: str
    points: Callable[[np.random.Generator, int, tuple[int, ...]], tuple[np.ndarray, np.ndarray]]
    sizes: tuple[int, ...]
    activation: str
    batch: int
    batches: int  # of one epoch
    optimizer: str  # "sgd" on the summed loss with an L2 penalty, or "adam" on the mean loss
    lr: float
    decay: float = 0.0
    epochs: tuple[int, int]  # of a short and of a long run: their difference is the time of the steps alone

    @property
    def reduction(self) -> str:
        return "sum" if self.optimizer == "sgd" else "mean"

    def data(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        x, labels = self.points(np.random.default_rng(0), self.batch * self.batches, self.sizes)
        return x.astype(dtype), labels

    def params(self, dtype: str) -> list[np.ndarray]:
        """W1, b1, W2, b2, ...: the same for everyone."""
        rng = np.random.default_rng(1)
        made: list[np.ndarray] = []
        for fan_in, units in zip(self.sizes, self.sizes[1:], strict=False):
            made += [(rng.normal(size=(fan_in, units)) * (2.0 / fan_in) ** 0.5).astype(dtype), np.zeros(units, dtype)]
        return made


WORKLOADS = {
    "W1": Workload(
        title="moons, 2-5-2 tanh, 200 points at once, gradient descent",
        points=moons,
        sizes=(2, 5, 2),
        activation="tanh",
        batch=200,
        batches=1,
        optimizer="sgd",
        lr=0.01,
        decay=0.01,
        epochs=(500, 2500),
    ),
    "W2": Workload(
        title="784-512-256-10 ReLU, batches of 128, Adam",
        points=clusters,
        sizes=(784, 512, 256, 10),
        activation="relu",
        batch=128,
        batches=50,
        optimizer="adam",
        lr=1e-3,
        epochs=(1, 5),
    ),
}
