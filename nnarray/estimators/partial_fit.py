"""The training that `partial_fit` continues with each call."""

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
    """Steps that continue after the last call; prepared and compiled steps are reused.

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
        The state of an earlier training: its slots and counts are kept, and the parameters are the model's.
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
        """Whether only the learning rate changed, which is an argument of each call."""
        was, trainer = self.trainer.optimizer, self.trainer
        alike = type(was) is type(rule) and replace(was, lr=1.0) == replace(rule, lr=1.0)
        same = model is self.model and model.frozen == self.frozen
        return alike and same and loss == trainer.loss and shuffle == trainer.shuffle

    def run(self, data: Data, rule: Optimizer, batch_size: int, losses: list[float]) -> tuple[float, TrainingState]:
        """One epoch over these examples: its loss and the new state. The model gets the parameters at the end.

        Raises
        ------
        DivergenceError
            If the loss or a parameter becomes NaN or infinite; the model does not change.
        """
        model, trainer = self.model, self.trainer
        trainer.follow(model, self.shown, watched=True)  # code between the calls may have changed it
        trainer.data, trainer.batch_size = data, min(batch_size, data.examples)
        trainer.prove()
        epoch = trainer.at.epoch
        done = trainer.epochs(epoch, [schedule(rule.lr).of_epoch(epoch, losses)], lambda: None)
        (value, *_), finite = trainer.outcome(done)
        if not (finite and math.isfinite(value)):
            raise DivergenceError(
                "the loss, a parameter, a running variance or the optimizer's memory became NaN or infinite in this "
                "call of partial_fit, which was undone. Standardise X and real targets y, or lower the learning rate."
            )
        model.restore((trainer.at.theta, trainer.at.state))
        self.shown = model.theta, model.state
        trainer.at = trainer.at._replace(epoch=epoch + 1)
        return value, trainer.at.copied()._replace(theta=model.theta, state=model.state)
