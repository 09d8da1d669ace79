"""What a call of `Model.fit` asks for, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nnarray.backends import copy
from nnarray.checks import integer, real, switch
from nnarray.functional.layout import Layout
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import Loss, loss_named
from nnarray.metrics import Metric, metrics_named
from nnarray.optimizers import optimizer_named
from nnarray.random import Key
from nnarray.training.callbacks import Callback, as_callbacks
from nnarray.training.precision import checked_precision, engine_in_precision, scaling_in
from nnarray.training.state import AVERAGE, TrainingState
from nnarray.typing import Array


@dataclass(frozen=True)
class FitSettings:
    """The arguments of `Model.fit`, which describes them, but for the examples; names are looked up."""

    loss: Loss
    optimizer: Any
    epochs: int
    batch_size: int | None
    validation: Any
    metrics: dict[str, Metric]
    callbacks: list[Callback]
    sample_weight: Any
    shuffle: bool
    seed: int
    progress: bool | None
    check_finite: bool
    checkpoint: Any
    resume: Any
    engine: str
    accumulate: int
    ema: float | None
    precision: str | None

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> FitSettings:
        """Those of arguments by name, of which others are left out.

        Raises
        ------
        TypeError, ValueError
            If one is out of its range, or unknown.
        """
        size = call["batch_size"]
        looked_up: dict[str, Any] = {
            "epochs": integer(call["epochs"], "epochs", 1, usual=10),
            "batch_size": None if size is None else integer(size, "batch_size", 1, usual=32),
            "loss": loss_named(call["loss"]),
            "optimizer": optimizer_named(call["optimizer"]),
            "metrics": metrics_named(call["metrics"]),
            "callbacks": as_callbacks(call["callbacks"]),
            "accumulate": integer(call["accumulate"], "accumulate", 1, usual=4),
            "ema": None if call["ema"] is None else real(call["ema"], "ema", least=0.0, below=1.0, usual=0.999),
            "precision": checked_precision(call["precision"]),
            "shuffle": switch(call["shuffle"], "shuffle"),
            "progress": None if call["progress"] is None else switch(call["progress"], "progress"),
            "check_finite": switch(call["check_finite"], "check_finite"),
            "engine": call["engine"] if call["precision"] is None else engine_in_precision(call["engine"]),
        }
        if not looked_up["optimizer"].stepwise and (looked_up["accumulate"] > 1 or looked_up["ema"] is not None):
            raise ValueError(
                f"{type(looked_up['optimizer']).__name__} takes all examples at once: leave out accumulate and ema."
            )
        if not looked_up["optimizer"].stepwise and looked_up["precision"] is not None:
            raise ValueError(
                f"{type(looked_up['optimizer']).__name__} needs gradients of full precision: leave out precision, or "
                f"take another optimizer."
            )
        return cls(**{each.name: call[each.name] for each in fields(cls)} | looked_up)

    @property
    def key(self) -> Key:
        """Of the seed."""
        return Key(self.seed)

    @property
    def written(self) -> dict[str, Any]:
        """What decides the numbers of a training, as the history keeps it: a training goes on with the same only."""
        return {
            "loss": repr(self.loss),
            "optimizer": repr(self.optimizer),
            "batch_size": self.batch_size,
            "metrics": list(self.metrics),
            "shuffle": bool(self.shuffle),
            "seed": int(self.seed),
            **({"accumulate": self.accumulate} if self.accumulate > 1 else {}),
            **({} if self.ema is None else {"ema": self.ema}),
            **({} if self.precision is None else {"precision": self.precision}),
        }

    def start(self, theta: Array, state: Array, layout: Layout) -> TrainingState:
        """Where a training begins; `theta` and `state` are the model's own."""
        average = {} if self.ema is None else {AVERAGE: copy(at_least_float32(theta))}
        scaling = scaling_in(self.precision)
        scale = {} if scaling is None else scaling.init(layout, theta)
        return TrainingState(theta, state, self.optimizer.slots(theta, layout) | average | scale)
