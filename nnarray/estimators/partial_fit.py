"""One training that `partial_fit` goes on with, call by call."""

from __future__ import annotations

import math
from dataclasses import replace

from nnarray.losses import Loss
from nnarray.model import Model
from nnarray.optimizers import Optimizer
from nnarray.random import Key
from nnarray.schedules import schedule
from nnarray.training.context import DivergenceError
from nnarray.training.data import Data
from nnarray.training.state import TrainingState
from nnarray.training.trainer import Trainer


class PartialFit:
    """Steps from where the last call ended; what was prepared or compiled for them is used again.

    Parameters
    ----------
    model : Model
    data : Data
        The examples of the first call.
    loss : Loss
    rule : Optimizer
    batch_size : int
    shuffle : bool
    seed : int
    before : TrainingState, optional
        Of a training that was put away; its slots and its counts go on, the parameters are the model's.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        loss: Loss,
        rule: Optimizer,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        before: TrainingState | None,
    ) -> None:
        start = rule.slots(model.theta, model.wiring.params)
        if before is None or set(before.slots) != set(start):  # of another optimizer
            before = TrainingState(model.theta, model.state, start)
        self.model, self.frozen = model, model.frozen
        self.trainer = Trainer.of(
            model,
            data,
            loss,
            rule,
            batch_size=batch_size,
            shuffle=shuffle,
            key=Key(seed),
            at=before._replace(theta=model.theta, state=model.state).copied(),
            engine=model.engine,
        )
        self.shown = model.theta, model.state

    def suits(self, model: Model, loss: Loss, rule: Optimizer, *, shuffle: bool) -> bool:
        """Whether nothing changed but the learning rate, which comes with each call."""
        was, trainer = self.trainer.optimizer, self.trainer
        alike = type(was) is type(rule) and replace(was, lr=1.0) == replace(rule, lr=1.0)
        same = model is self.model and model.frozen == self.frozen
        return alike and same and loss == trainer.loss and shuffle == trainer.shuffle

    def run(self, data: Data, rule: Optimizer, batch_size: int, losses: list[float]) -> tuple[float, TrainingState]:
        """One epoch over these examples: its loss, and what is to be remembered. The model gets the parameters last.

        Raises
        ------
        DivergenceError
            If the loss or a parameter becomes NaN or infinite; the model is as it was.
        """
        model, trainer = self.model, self.trainer
        trainer.follow(model, self.shown, watched=True)  # by whoever called in between
        trainer.data, trainer.batch_size = data, min(batch_size, data.examples)
        trainer.prove()
        epoch = trainer.at.epoch
        done = trainer.epochs(epoch, [schedule(rule.lr).of_epoch(epoch, losses)], lambda: None)
        (value, *_), finite = trainer.outcome(done)
        if not (finite and math.isfinite(value)):
            raise DivergenceError(
                "the loss, a parameter, a running variance or the optimizer's memory became NaN or infinite in this "
                "partial_fit, which is undone. Standardise X, and real targets y, or lower the learning rate."
            )
        model.restore((trainer.at.theta, trainer.at.state))
        self.shown = model.theta, model.state
        trainer.at = trainer.at._replace(epoch=epoch + 1)
        return value, trainer.at.copied()._replace(theta=model.theta, state=model.state)
