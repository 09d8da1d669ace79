"""The settings of a call of `Model.fit`, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nnarray.backends import copy
from nnarray.checks import integer, real, switch
from nnarray.functional.layout import Layout
from nnarray.kernels.engines import AUTO, GRAPH, LAYERS
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import Loss
from nnarray.metrics import metrics_named
from nnarray.optimizers import optimizer_named
from nnarray.random import Key
from nnarray.training.augmenting import Augmentation, checked_augment, written
from nnarray.training.automatic import loss_or_auto
from nnarray.training.callbacks import Callback, as_callbacks, step_watchers
from nnarray.training.precision import checked_precision, scaling_in
from nnarray.training.state import AVERAGE, TrainingState
from nnarray.training.weighting import ClassWeight, checked_class_weight
from nnarray.typing import Array

ON_CLUSTER = 8  # default number of grains, and so the largest number of workers that share a batch


@dataclass(frozen=True)
class FitSettings:
    """The arguments of `Model.fit` without the examples, described there; names are looked up."""

    loss: Loss
    optimizer: Any
    epochs: int
    batch_size: int | None
    validation: Any
    metrics: dict[str, Any]
    """Metrics by name; once the loss is known, as `measures`."""
    callbacks: list[Callback]
    sample_weight: Any
    class_weight: ClassWeight
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
    augment: Augmentation | None
    grains: int
    cluster: Any

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> FitSettings:
        """The settings from arguments by name; other arguments are ignored.

        Raises
        ------
        TypeError, ValueError
            If one is out of range or unknown.
        """
        size = call["batch_size"]
        looked_up: dict[str, Any] = {
            "epochs": integer(call["epochs"], "epochs", 1, usual=10),
            "batch_size": None if size is None else integer(size, "batch_size", 1, usual=32),
            "loss": loss_or_auto(call["loss"]),
            "optimizer": optimizer_named(call["optimizer"]),
            "metrics": metrics_named(call["metrics"]),
            "callbacks": as_callbacks(call["callbacks"]),
            "class_weight": checked_class_weight(call["class_weight"]),
            "accumulate": integer(call["accumulate"], "accumulate", 1, usual=4),
            "ema": None if call["ema"] is None else real(call["ema"], "ema", least=0.0, below=1.0, usual=0.999),
            "precision": checked_precision(call["precision"]),
            "augment": checked_augment(call["augment"]),
            "grains": _grains(call["grains"], call["cluster"]),
            "shuffle": switch(call["shuffle"], "shuffle"),
            "progress": None if call["progress"] is None else switch(call["progress"], "progress"),
            "check_finite": switch(call["check_finite"], "check_finite"),
            "engine": call["engine"],
        }
        if looked_up["grains"] > 1:
            looked_up["engine"] = _engine_in_grains(looked_up["engine"])
        if not looked_up["optimizer"].stepwise and (looked_up["accumulate"] > 1 or looked_up["ema"] is not None):
            raise ValueError(
                f"{type(looked_up['optimizer']).__name__} takes all examples at once: leave out accumulate and ema."
            )
        if looked_up["augment"] is not None:
            _refuse_to_augment(looked_up["optimizer"], call["cluster"])
        if not looked_up["optimizer"].stepwise and looked_up["precision"] is not None:
            raise ValueError(
                f"{type(looked_up['optimizer']).__name__} needs gradients of full precision: leave out precision, or "
                f"use another optimizer."
            )
        settings = cls(**{each.name: call[each.name] for each in fields(cls)} | looked_up)
        settings.refuse_grains()
        settings.refuse_step_watchers()
        return settings

    @property
    def evaluated_at_once(self) -> int | None:
        """How many held-out examples are computed at once; None for all."""
        return None if self.batch_size is None else max(self.batch_size, 1024)

    def refuse_step_watchers(self) -> None:
        """Refuse callbacks that look at each step where nobody could call them.

        Raises
        ------
        ValueError
            If there is one; the message names it.
        """
        watchers, kind = step_watchers(self.callbacks), type(self.optimizer).__name__
        reasons = {
            f"engine={GRAPH!r} launches steps without looking at them: pass engine='layers'": self.engine == GRAPH,
            "the workers of a cluster take the steps: leave out cluster": self.cluster is not None,
            f"{kind} finds its own steps: take another optimizer": not self.optimizer.stepwise,
        }
        if watchers and (reason := next((text for text, holds in reasons.items() if holds), None)):
            raise ValueError(
                f"{type(watchers[0]).__name__}.on_step_end cannot be called, for {reason}, or use on_epoch_end."
            )

    def refuse_grains(self) -> None:
        """Refuse settings that steps in grains do not support.

        Raises
        ------
        ValueError
            If there is such a setting; the message names it.
        """
        if self.grains == 1:
            return
        kind = type(self.optimizer).__name__
        if not self.optimizer.stepwise:
            raise ValueError(f"{kind} takes all examples at once, not in grains: leave out grains and cluster.")
        others = {"accumulate": self.accumulate > 1, "precision": self.precision is not None}
        if wrong := next((name for name, given in others.items() if given), None):
            raise ValueError(f"grains={self.grains} cannot be combined with {wrong}: leave out one of the two.")

    @property
    def key(self) -> Key:
        """Of the seed."""
        return Key(self.seed)

    @property
    def written(self) -> dict[str, Any]:
        """The settings that determine the result, as the history records them; resuming needs the same ones."""
        return {
            "loss": repr(self.loss),
            "optimizer": repr(self.optimizer),
            "batch_size": self.batch_size,
            "metrics": list(self.metrics),
            "shuffle": bool(self.shuffle),
            "seed": int(self.seed),
            **({"accumulate": self.accumulate} if self.accumulate > 1 else {}),
            **({} if self.class_weight is None else {"class_weight": repr(self.class_weight)}),
            **({} if self.ema is None else {"ema": self.ema}),
            **({} if self.precision is None else {"precision": self.precision}),
            **({} if self.augment is None else {"augment": written(self.augment)}),
            **({"grains": self.grains} if self.grains > 1 else {}),
        }

    def start(self, theta: Array, state: Array, layout: Layout) -> TrainingState:
        """The initial state of a training; `theta` and `state` are the model's own."""
        average = {} if self.ema is None else {AVERAGE: copy(at_least_float32(theta))}
        scaling = scaling_in(self.precision)
        scale = {} if scaling is None else scaling.init(layout, theta)
        return TrainingState(theta, state, self.optimizer.slots(theta, layout) | average | scale)


def _refuse_to_augment(optimizer: Any, cluster: Any) -> None:
    """Refuse augmentation where each step must see the same examples, or where the function is not known."""
    if not optimizer.stepwise:
        raise ValueError(
            f"{type(optimizer).__name__} needs the same examples in each step: leave out augment, or use another "
            f"optimizer."
        )
    if cluster is not None:
        raise ValueError("the workers of a cluster do not know your function: leave out augment, or cluster.")


def _grains(value: Any, cluster: Any) -> int:
    if value is None:
        return 1 if cluster is None else ON_CLUSTER
    grains = integer(value, "grains", 1 if cluster is None else 2, usual=ON_CLUSTER)
    if grains & (grains - 1):
        below = 1 << (grains.bit_length() - 1)
        raise ValueError(f"grains must be a power of two, such as {below} or {2 * below}; got {grains}.")
    return grains


def _engine_in_grains(engine: str) -> str:
    """The engine "layers", as prepared steps take whole batches."""
    if engine in (AUTO, LAYERS):
        return LAYERS
    raise ValueError(f"engine {engine!r} does not support grains: pass engine='layers', or leave out grains.")
