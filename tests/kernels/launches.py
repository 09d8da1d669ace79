"""What a training step asks of the device, for some networks: the list of the tests and of the page on GPUs.

`python -m tests.kernels.launches` prints what is counted now.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import nnarray as nn
from tests import cupy_on_cpu
from tests.cupy_on_cpu.counts import counted


class Counts(NamedTuple):
    """Of a step: kernels launched, products of matrices, and waits and copies to the host."""

    launches: int
    products: int
    waits: int = 0
    copies: int = 0


@dataclass(frozen=True)
class Case:
    """A network and a training of batches in order, in float32."""

    layers: tuple[Any, ...]
    shape: tuple[int, ...]
    batch: int
    counts: Counts  # of a step
    optimizer: Any = field(default_factory=lambda: nn.Adam(1e-3))
    loss: Any = "cross_entropy"
    classes: int = 10

    def fit(self, batches: int, epochs: int) -> Any:
        """A function that trains."""
        be, rng = nn.backend("cupy"), np.random.default_rng(0)
        X = be.asarray(rng.normal(size=(batches * self.batch, *self.shape)), dtype="float32")
        y = rng.integers(0, self.classes, len(X)) if self.classes else rng.normal(size=(len(X), 1)).astype("float32")
        model = nn.Network(*self.layers).init(self.shape, seed=0, backend=be, dtype="float32")
        settings = {"loss": self.loss, "optimizer": self.optimizer, "batch_size": self.batch, "epochs": epochs}
        target = be.asarray(y)
        return lambda: model.fit(X, target, shuffle=False, progress=False, **settings)

    def counted(self, batches: int, epochs: int) -> Counts:
        run = self.fit(batches, epochs)
        run()  # whatever is compiled or kept is there from now on
        return _counts(counted(run))

    def of_a_step(self) -> Counts:
        """The difference of two trainings, of which one has a step more."""
        return _difference(self.counted(3, 1), self.counted(2, 1))

    def of_an_epoch(self) -> Counts:
        """What an epoch adds to its steps."""
        an_epoch = _difference(self.counted(2, 2), self.counted(2, 1))
        return _difference(an_epoch, Counts(*(2 * each for each in self.of_a_step())))


def _counts(words: Counter[str]) -> Counts:
    return Counts(words["launches"], words["products"], words["waits"], words["copies to the host"])


def _difference(more: Counts, less: Counts) -> Counts:
    return Counts(*(a - b for a, b in zip(more, less, strict=True)))


def _images(*filters: int) -> tuple[Any, ...]:
    parts = [(nn.Conv2D(each, 3, padding="same", activation="relu"), nn.MaxPool2D(2)) for each in filters]
    return *(layer for pair in parts for layer in pair), nn.Flatten(), nn.Dense(10)


CASES = {
    "2-5-2 tanh, SGD with weight decay, sum": Case(
        (nn.Dense(5, "tanh"), nn.Dense(2)),
        (2,),
        200,
        Counts(8, 5),
        nn.SGD(0.01, weight_decay=0.01),
        nn.losses.CrossEntropy(reduction="sum"),
        2,
    ),
    "784-512-256-10 ReLU, Adam": Case(
        (nn.Dense(512, "relu"), nn.Dense(256, "relu"), nn.Dense(10)), (784,), 16, Counts(9, 8)
    ),
    "20-64-64-10 with two dropouts, Adam": Case(
        (nn.Dense(64, "relu"), nn.Dropout(0.2), nn.Dense(64, "relu"), nn.Dropout(0.2), nn.Dense(10)),
        (20,),
        32,
        Counts(17, 8),
    ),
    "20-32-10 with batch normalisation, Adam": Case(
        (nn.Dense(32, bias=False), nn.BatchNorm(), nn.Activation("relu"), nn.Dense(10)), (20,), 32, Counts(16, 5)
    ),
    "20-32-10 GELU with layer normalisation, Adam": Case(
        (nn.Dense(32, "gelu"), nn.LayerNorm(), nn.Dense(10)), (20,), 32, Counts(14, 5)
    ),
    "20-64-10 ReLU, Adam, gradient clipped by its norm": Case(
        (nn.Dense(64, "relu"), nn.Dense(10)), (20,), 32, Counts(10, 5), nn.Adam(1e-3, clip_norm=1.0)
    ),
    "3-8-1, mean absolute error, SGD": Case(
        (nn.Dense(8, "tanh"), nn.Dense(1)), (3,), 32, Counts(10, 5), nn.SGD(1e-2), "mae", 0
    ),
    "two convolutions of 8 and 16 filters with pools, 16 x 16 x 1, Adam": Case(
        _images(8, 16), (16, 16, 1), 8, Counts(19, 8)
    ),
    "models.cnn, 32 x 32 x 3, Adam": Case((nn.models.cnn(2),), (32, 32, 3), 8, Counts(54, 11), classes=2),
}


FORWARD = "forward only: models.googlenet, folded, one image"


def of_googlenet() -> Counts:
    """A forward pass of the folded network; the size of the image changes no count."""
    be = nn.backend("cupy")
    model = nn.models.googlenet(10).init((64, 64, 3), seed=0, backend=be, dtype="float32").fold()
    x = be.asarray(np.random.default_rng(0).normal(size=(1, 64, 64, 3)), dtype="float32")
    model(x)
    return _counts(counted(lambda: model(x)))


GOOGLENET = Counts(185, 58)


def table() -> str:
    """As the page on GPUs has it, with the counts of the list."""
    lines = ["| a training step of | launches | products | waits | copies to the host |", "| --- |" + " ---: |" * 4]
    listed = {name: case.counts for name, case in CASES.items()} | {FORWARD: GOOGLENET}
    lines += [f"| {name} | {' | '.join(map(str, counts))} |" for name, counts in listed.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cupy_on_cpu.use()
    for title, case in CASES.items():
        print(f"{title}: {case.of_a_step()}; an epoch, besides: {case.of_an_epoch()}")
    print(f"{FORWARD}: {of_googlenet()}")
