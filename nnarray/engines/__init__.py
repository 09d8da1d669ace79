"""Faster implementations of a whole network for training and inference, prepared once.

Each engine is a file of this folder, and none of them is needed: without an engine, the layers compute.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from nnarray.kernels.engines import LAYERS


class Stepper(Protocol):
    """Training steps, prepared for one training; they write into the parameters and slots that they were made with."""

    def run(self, x: Any, target: Any, weights: Any, rates: Sequence[float], first: int) -> tuple[Any, Any]:
        """Take one step on these examples for each rate, beginning with step `first`; returns losses and outputs."""
        ...

    def release(self) -> None:
        """Free the memory that the steps keep."""


class Predictor(Protocol):
    """Computes the outputs of a network, prepared for its present parameters."""

    def __call__(self, x: Any, y: Any = None, first: int = 0) -> Any:
        """The outputs for the inputs x, shape (n, ...); with y, they are written into its channels from `first`."""
        ...


class Decoder(Protocol):
    """Computes the next position of some sequences, prepared for some parameters and one cache."""

    @property
    def plan(self) -> Any:
        """None if the layers compute."""
        ...

    def fits(self, theta: Any, layers: Any, engine: str) -> bool:
        """Whether these are still the parameters, the arrays of the cache and the engine."""
        ...

    def __call__(self, tokens: Any, position: int) -> Any:
        """The outputs for tokens of shape (batch, 1); the cache has this position then."""
        ...


def steps_of(*task: Any, engine: str, **settings: Any) -> Stepper | None:
    """Prepared steps, made by `training`; None if nothing is faster than the layers."""
    way = None if engine == LAYERS else _way("training")
    return way and way.steps_of(*task, **settings)


def prepared(*task: Any, engine: str) -> Predictor | None:
    """A prepared network, made by `inference`; None if nothing is faster than the layers."""
    way = None if engine == LAYERS else _way("inference")
    return way and way.prepared(*task, engine)


def decoder_of(*task: Any, engine: str) -> Decoder | None:
    """A prepared computation of the next position, made by `decoding`; None if that engine is missing."""
    way = _way("decoding")
    return way and way.decoder_of(*task, engine)


def _way(name: str) -> Any:
    """A module of this folder; None if it or one of its dependencies is missing."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(f"{__name__.partition('.')[0]}."):
            raise
        return None
