"""What is timed: shapes, batches and rules. A further workload is one more entry of the table at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Points = Callable[[np.random.Generator, int, tuple[int, ...]], tuple[np.ndarray, np.ndarray]]
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}  # how far results may lie apart, relative to the largest entry
STREAM = "stream"
REHEARSED = bool(os.environ.get("NNARRAY_REHEARSAL"))  # whether what is for a GPU runs on the host, cut short


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What workloads of all kinds have."""

    title: str
    cases: tuple[str, ...] = ("",)  # each is checked, timed and shown on its own
    dtypes: tuple[str, ...] = ("float32",)
    most_turns: int | None = None
    limit: str = "products alone"  # what no implementation on the same library can beat
    gpu: bool = False
    tf32: bool = False  # whether products on the GPU may round float32 inputs to TF32

    def unit(self, case: str) -> tuple[str, float]:
        """In what times are shown, and how many of them are a second."""
        return "ms a call", 1e3

    def tolerance(self, dtype: str) -> float:
        return 1e-2 if self.tf32 else TOLERANCE[dtype]


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
class DenseNet(Workload):
    """A network of dense layers of these sizes."""

    sizes: tuple[int, ...]
    activation: str = "relu"

    def params(self, dtype: str) -> list[np.ndarray]:
        """W1, b1, W2, b2, ...: the same for everyone."""
        rng = np.random.default_rng(1)
        made: list[np.ndarray] = []
        for fan_in, units in zip(self.sizes, self.sizes[1:], strict=False):
            made += [(rng.normal(size=(fan_in, units)) * (2.0 / fan_in) ** 0.5).astype(dtype), np.zeros(units, dtype)]
        return made


@dataclass(frozen=True, kw_only=True)
class Training(DenseNet):
    """A dense network trained on batches that are taken in order; the time is that of a step."""

    points: Points
    batch: int
    batches: int  # of one epoch
    optimizer: str  # "sgd" on the summed loss with an L2 penalty, or "adam" on the mean loss
    lr: float
    decay: float = 0.0
    epochs: tuple[int, int]  # of a short and of a long run: their difference is the time of the steps alone
    dtypes: tuple[str, ...] = ("float32", "float64")

    def unit(self, case: str) -> tuple[str, float]:
        return "us a step", 1e6

    @property
    def reduction(self) -> str:
        return "sum" if self.optimizer == "sgd" else "mean"

    @property
    def multiply_adds(self) -> int:
        """Of a step: three products a layer, and two for the first, whose inputs need no gradient."""
        layers = [a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return self.batch * (3 * sum(layers) - layers[0])

    def data(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        x, labels = self.points(np.random.default_rng(0), self.batch * self.batches, self.sizes)
        return x.astype(dtype), labels


@dataclass(frozen=True, kw_only=True)
class Forward(DenseNet):
    """A dense network at inference: calls with batches of one size ("batch 64"), and a stream of rows in batches."""

    streamed: int  # rows of a batch of the stream

    def batch_of(self, case: str) -> int:
        return self.streamed if case == STREAM else int(case.split()[1])

    def unit(self, case: str) -> tuple[str, float]:
        return ("s for 1,000,000 rows" if case == STREAM else "us a call"), 1e6

    def rows(self, count: int) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((count, self.sizes[0]), dtype="float32")


@dataclass(frozen=True, kw_only=True)
class Images(Workload):
    """Convolutions: one alone, GoogLeNet, and training steps of it and of the network of `nnarray demo pets`."""

    size: int  # of the pictures of the convolution alone, and how many channels go in and come out
    channels: int
    batch: int  # of the training
    batches: int  # of one epoch
    optimizer: str = "adam"
    lr: float
    epochs: tuple[int, int]

    def unit(self, case: str) -> tuple[str, float]:
        return ("ms a call" if ", batch " in case else "ms a step"), 1e3

    def tolerance(self, dtype: str) -> float:
        return 1e-2 if self.tf32 else 1e-3  # fast convolutions round more, and GoogLeNet has 57 of them


@dataclass(frozen=True, kw_only=True)
class Start(DenseNet):
    """From the start of a process to its first result."""

    limit: str = "NumPy alone"

    def unit(self, case: str) -> tuple[str, float]:
        return "ms", 1e3


@dataclass(frozen=True, kw_only=True)
class Growth(Workload):
    """A training step as the batch, the width and the depth of the network grow; each in a fresh process."""

    def unit(self, case: str) -> tuple[str, float]:
        return "us a step", 1e6

    def step(self, case: str) -> Training:
        """The workload of one point, such as "width 256"; an epoch is about a tenth of a second of products."""
        what, value = case.split()
        n, batch, sizes = int(value), 128, (784, 512, 256, 10)
        if what == "batch":
            batch = n
        elif what == "width":
            sizes = (784, n, n // 2, 10)
        else:
            sizes = (784, *(256,) * n, 10)
        made = Training(
            title=case,
            points=clusters,
            sizes=sizes,
            batch=batch,
            batches=1,
            optimizer="adam",
            lr=1e-5,  # so small that deep networks do not diverge
            epochs=(1, 3),
        )
        return replace(made, batches=min(max(5 * 10**9 // made.multiply_adds, 1), 200))


WORKLOADS: dict[str, Workload] = {
    "W1": Training(
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
    "W2": Training(
        title="784-512-256-10 ReLU, batches of 128, Adam",
        points=clusters,
        sizes=(784, 512, 256, 10),
        batch=128,
        batches=50,
        optimizer="adam",
        lr=1e-3,
        epochs=(1, 5),
    ),
    "W3": Forward(
        title="784-512-256-10 ReLU, forward",
        sizes=(784, 512, 256, 10),
        cases=("batch 1", "batch 64", "batch 4096", STREAM),
        streamed=4096,
    ),
    "W4": Training(
        title="54-100-7 ReLU, 100,000 rows in batches of 200, Adam",
        points=clusters,
        sizes=(54, 100, 7),
        batch=200,
        batches=500,
        optimizer="adam",
        lr=1e-3,
        epochs=(1, 2),
    ),
    "W5": Images(
        title="pictures",
        cases=(
            "convolution, batch 1",
            "convolution, batch 8",
            "gradient, batch 1",
            "gradient, batch 8",
            "googlenet, batch 1",
            "googlenet, batch 8",
            "pets",
        ),
        size=56,
        channels=64,
        batch=64,
        batches=4,
        lr=0.005,
        epochs=(1, 3),
    ),
    "W6": Start(
        title="from the start of a process to the end of",
        cases=("import", "first prediction of a saved model", "fit of one epoch"),
        sizes=(784, 512, 256, 10),
    ),
    "W7": Growth(
        title="784-512-256-10 ReLU, Adam, grown one way at a time",
        cases=(
            *(f"batch {8**n}" for n in range(6)),
            "batch 65536",
            *(f"width {4**n}" for n in range(2, 7)),
            *(f"depth {n}" for n in (1, 3, 10, 30, 100)),
        ),
        most_turns=1,
    ),
}

# On a GPU: the same networks, a wide one, GoogLeNet and its training; in float32, and with TF32 where products count.
# A graph takes long to begin and little for a step: the longer run has many steps.
_ON_GPU = {
    "G1": replace(WORKLOADS["W1"], epochs=(500, 5500)),
    "G2": replace(WORKLOADS["W2"], epochs=(2, 22)),
    "G3": replace(
        WORKLOADS["W2"],
        title="4096-4096-4096-10 ReLU, batches of 8192, Adam",
        sizes=(4096, 4096, 4096, 10),
        batch=8192,
        batches=4,
        epochs=(1, 11),
    ),
    "G4": replace(WORKLOADS["W3"], cases=("batch 1", "batch 64", "batch 4096")),
    "G5": replace(WORKLOADS["W5"], title="images", cases=("googlenet, batch 64",)),
    "G6": replace(WORKLOADS["W5"], title="images", cases=("pets",), epochs=(1, 26)),
    "G7": replace(WORKLOADS["W5"], title="images", cases=("training of GoogLeNet",), lr=1e-4, epochs=(1, 6)),
}
_CUT: dict[str, dict[str, object]] = {
    "G1": {"epochs": (2, 6)},
    "G2": {"epochs": (1, 2), "sizes": (64, 32, 16, 10), "batch": 8, "batches": 2},
    "G3": {"epochs": (1, 2), "sizes": (64, 64, 64, 10), "batch": 64, "batches": 2},
    "G4": {"cases": ("batch 1", "batch 64")},
    "G5": {"cases": ("googlenet, batch 1",)},
    "G6": {"epochs": (1, 2), "batch": 4, "batches": 2},
    "G7": {"epochs": (1, 2), "batch": 2, "batches": 1},
}
for _name, _work in _ON_GPU.items():
    _work = replace(_work, gpu=True, dtypes=("float32",), **(_CUT[_name] if REHEARSED else {}))
    WORKLOADS[_name] = _work
    if _name != "G1":
        WORKLOADS[f"{_name}-tf32"] = replace(_work, title=f"{_work.title}, TF32", tf32=True)
