"""How near the rate that `find_lr` suggests is to the best one: `python benchmarks/find_lr.py`, about three minutes.

The best rate of a task has the lowest loss on the training examples: the median of three seeds, after a training with
each rate of a grid. It depends on the number of epochs, as the suggestion does not.
"""

from __future__ import annotations

import math
import statistics
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nnarray as nn

SEEDS = 0, 1, 2
GRID = [10.0 ** (i / 4) for i in range(-16, 7)]  # a factor of 1.8 between rates, from 1e-4 to 32
LIMITS = 2.0, 3.0, 10.0  # times the best rate, in either direction


@dataclass(frozen=True)
class Task:
    """Data, a network, and how long it trains."""

    data: Callable[[], tuple[Any, Any]]
    layers: tuple[nn.Layer, ...]
    epochs: int = 30
    batch_size: int | None = 32

    def model(self, X: Any, seed: int) -> nn.Model:
        """Freshly drawn."""
        return nn.Network(*self.layers).init(X.shape[1:], seed=seed, backend="numpy", dtype="float32")


def column(X: Any, y: Any) -> tuple[Any, Any]:
    """The values as the network predicts them."""
    return X, y[:, None] if y.ndim == 1 else y


def dense(outputs: int, *hidden: int, activation: str = "tanh") -> tuple[nn.Layer, ...]:
    """Dense layers in a row."""
    return *(nn.Dense(units, activation) for units in hidden), nn.Dense(outputs)


IMAGES = nn.Conv2D(8, 3, activation="relu"), nn.MaxPool2D(2), nn.Flatten()
TASKS = {
    "moons": Task(lambda: nn.datasets.moons(200, noise=0.1, dtype="float32"), dense(2, 5)),
    "spirals": Task(lambda: nn.datasets.spirals(300, dtype="float32"), dense(3, 32, 32, activation="relu")),
    "sine": Task(lambda: column(*nn.datasets.sine(200, noise=0.1, dtype="float32")), dense(1, 16)),
    "digits": Task(lambda: some(*nn.datasets.digits(dtype="float32")), (*IMAGES, nn.Dense(10)), epochs=5),
    "circles": Task(lambda: nn.datasets.circles(200, dtype="float32"), dense(2, 10), batch_size=None, epochs=100),
    "blobs": Task(lambda: nn.datasets.blobs(150, classes=3, dtype="float32"), dense(3, 8, activation="relu")),
    "checkerboard": Task(lambda: nn.datasets.checkerboard(600, dtype="float32"), dense(2, 32, 32, activation="relu")),
    "pets": Task(lambda: nn.datasets.pets(200, size=16), (*IMAGES, nn.Dense(2)), epochs=8),
}


def some(X: Any, y: Any) -> tuple[Any, Any]:
    """The first 500 examples."""
    return X[:500, ...], y[:500]


def trained(task: Task, X: Any, y: Any, rule: Callable[[float], nn.Optimizer], rate: float, seed: int) -> float:
    """The loss after a training; infinity if it diverges, NaN without a rate."""
    if math.isnan(rate):
        return math.nan
    model = task.model(X, seed)
    try:
        model.fit(X, y, optimizer=rule(rate), epochs=task.epochs, batch_size=task.batch_size, seed=seed, progress=False)
    except nn.DivergenceError:
        return math.inf
    return model.evaluate(X, y)["loss"]


def suggested(task: Task, X: Any, y: Any, optimizer: str, seed: int) -> float:
    """What `find_lr` suggests; NaN if nothing."""
    try:
        found = task.model(X, seed).find_lr(X, y, optimizer=optimizer, batch_size=task.batch_size, seed=seed)
        return found.suggestion
    except ValueError:
        return math.nan


def main() -> None:
    """A table: for each task, the best rate, what is suggested, the ratio, and what the suggestion costs."""
    warnings.simplefilter("ignore")
    ratios: list[float] = []
    print("| task | optimizer | best rate | suggestions / best | loss: best | with the suggestions |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sys.argv[1:] or TASKS:
        task = TASKS[name]
        X, y = task.data()
        for optimizer, rule in (("adam", nn.Adam), ("sgd", nn.SGD)):
            losses = [statistics.median(trained(task, X, y, rule, rate, seed) for seed in SEEDS) for rate in GRID]
            best = min(losses)
            rate = GRID[losses.index(best)]
            rates = [suggested(task, X, y, optimizer, seed) for seed in SEEDS]
            ratios += (of_task := [each / rate for each in rates])
            reached = [trained(task, X, y, rule, each, seed) for each, seed in zip(rates, SEEDS, strict=True)]
            texts = (", ".join(f"{each:.3g}" for each in values) for values in (of_task, reached))
            print(f"| {name} | {optimizer} | {rate:.2g} | {next(texts)} | {best:.3g} | {next(texts)} |", flush=True)
    found = [each for each in ratios if not math.isnan(each)]
    for limit in LIMITS:
        near = sum(1 / limit <= each <= limit for each in found)
        print(f"\nwithin {limit:g} times: {near} of {len(ratios)}", end="")
    print(f"\nno suggestion: {len(ratios) - len(found)}; median ratio {statistics.median(found):.2g}")


if __name__ == "__main__":
    main()
