"""Faster ways through a network than its layers' own: training and inference, prepared once.

Each way is a file of this folder, and none of them is needed: where one is not there, the layers compute.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from nnarray.kernels.engines import LAYERS


class Stepper(Protocol):
    """Training steps, prepared for one training; they write into the parameters and slots they were made with."""

    def run(self, x: Any, target: Any, weights: Any, rates: Sequence[float], first: int) -> tuple[Any, Any]:
        """Take one step on these examples for each rate, from step `first` on; gives losses and outputs."""
        ...

    def release(self) -> None:
        """Free the memory that the steps keep."""


class Predictor(Protocol):
    """The outputs of a network for some inputs, prepared for its numbers as they are."""

    def __call__(self, x: Any, y: Any = None, first: int = 0) -> Any:
        """The outputs for the inputs x, shape (n, ...); with y, they are written into its channels from `first` on."""
        ...


def steps_of(*task: Any, engine: str, **settings: Any) -> Stepper | None:
    """Prepared steps, as `training` makes them; None where there is no faster way than the layers' own."""
    way = None if engine == LAYERS else _way("training")
    return way and way.steps_of(*task, **settings)


def prepared(*task: Any, engine: str) -> Predictor | None:
    """A prepared network, as `inference` makes it; None where there is no faster way than the layers' own."""
    way = None if engine == LAYERS else _way("inference")
    return way and way.prepared(*task, engine)


def _way(name: str) -> Any:
    """A file of this folder; None where it, or what it is made of, is not there."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(f"{__name__.partition('.')[0]}."):
            raise
        return None
