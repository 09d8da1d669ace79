"""What is timed: shapes, batches and rules. A further workload is one more entry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A dense network of these sizes, trained on batches that are taken in order."""

    title: str
    sizes: tuple[int, ...]
    activation: str
    batch: int
    batches: int  # how many different ones there are
    optimizer: str  # "sgd" on the summed loss with an L2 penalty, or "adam" on the mean loss
    lr: float
    decay: float
    steps: tuple[int, int]  # a short and a long run: their difference is the time of the steps alone

    @property
    def reduction(self) -> str:
        return "sum" if self.optimizer == "sgd" else "mean"

    def data(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        count = self.batch * self.batches
        labels = rng.integers(0, self.sizes[-1], count)
        centres = rng.normal(size=(self.sizes[-1], self.sizes[0]))
        return (centres[labels] + rng.normal(size=(count, self.sizes[0]))).astype(dtype), labels

    def params(self, dtype: str) -> list[np.ndarray]:
        """W1, b1, W2, b2, ...: the same for everyone."""
        rng = np.random.default_rng(1)
        made: list[np.ndarray] = []
        for fan_in, units in zip(self.sizes, self.sizes[1:], strict=False):
            made += [(rng.normal(size=(fan_in, units)) * (2.0 / fan_in) ** 0.5).astype(dtype), np.zeros(units, dtype)]
        return made


WORKLOADS = {
    "W1": Workload(
        "moons-sized 2-5-2 tanh, 200 points, gradient descent",
        (2, 5, 2),
        "tanh",
        200,
        1,
        "sgd",
        0.01,
        0.01,
        (500, 2500),
    ),
    "W2": Workload(
        "784-512-256-10 ReLU, batch 128, Adam", (784, 512, 256, 10), "relu", 128, 100, "adam", 1e-3, 0.0, (20, 100)
    ),
}
