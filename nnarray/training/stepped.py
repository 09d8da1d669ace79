"""A training that is continued call by call: the epochs of `Model.fit`, with pauses, and batches one by one."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from nnarray.kernels.engines import computing
from nnarray.schedules import Schedule, schedule
from nnarray.training.automatic import decided
from nnarray.training.callbacks import Run
from nnarray.training.context import TrainingContext
from nnarray.training.data import prepare
from nnarray.training.history import History
from nnarray.training.loop import next_epochs, trainer_of
from nnarray.training.settings import FitSettings
from nnarray.training.state import TrainingState
from nnarray.training.trainee import Trainee
from nnarray.typing import Array


class SteppedFit:
    """`model.fit(X, y, ...)` on arrays in memory, an epoch or a batch at a time.

    After n epochs, the model and the losses are those of `model.fit(X, y, epochs=n, ...)`, bit for bit. There is
    neither a progress bar nor a checkpoint, and nothing is validated.

    Parameters
    ----------
    model : Model
        It changes with each call.
    X, y : array
        As for `Model.fit`.
    settings : dict
        The other arguments of `Model.fit`, by name; `epochs` is the largest number.

    Attributes
    ----------
    history : History
        The finished epochs.
    rates : Schedule
        The learning rates; another one may be set between two epochs.
    """

    def __init__(self, model: Any, X: Array, y: Array, **settings: Any) -> None:
        call = inspect.signature(type(model).fit).bind(model, X, y, **settings)
        call.apply_defaults()
        given = FitSettings.of(call.arguments | {"engine": model.engine_for(call.arguments["engine"])})
        X, loss = decided(given.loss, model, X, y)
        given = replace(given, loss=loss)
        data = prepare(model, X, y, None, loss)
        self.model: Trainee = model
        self.engine = given.engine
        self.run = Run(model, History(), given.epochs)
        self.run.history.settings = given.written
        model.loss, model.history = loss, self.run.history
        self._context = TrainingContext(model, data, None, given, self.run, lambda row, epochs: None)
        with computing(self.engine):
            self._trainer = trainer_of(self._context)
            self._trainer.prove()
        self.rates: Schedule = schedule(given.optimizer.lr)
        self._begun: TrainingState | None = None
        self.batch = 0

    @property
    def history(self) -> History:
        """The finished epochs."""
        return self.run.history

    @property
    def memory(self) -> dict[str, Array]:
        """A copy of the optimizer's memory: its slots, by name."""
        return self._trainer.memory()

    @property
    def batches(self) -> int:
        """The number of batches of an epoch."""
        return self._trainer.batches_per_epoch

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        rate = self.rates.of_epoch(self.run.epoch, self._context.monitored)
        return self.rates.within(rate, self._trainer.at.step)

    def epoch(self) -> float:
        """Take the next epoch, or the rest of one that batches have begun. Returns its loss.

        Raises
        ------
        DivergenceError
            If a number became NaN or infinite; the model has its last finite parameters.
        """
        self._to_begin_of_epoch()
        with computing(self.engine):
            while not next_epochs(self._context, self._trainer, self.rates, _nothing):
                pass
        return self.history["loss"][-1]

    def batch_more(self, count: int = 1) -> None:
        """Take the next batches, at most to the end of the epoch.

        An epoch that is complete is taken again as a whole, so that its loss and its parameters are those of `epoch`.

        Raises
        ------
        DivergenceError
            As `epoch`.
        """
        wanted = self.batch + count
        if wanted >= self.batches:
            self.epoch()
            return
        self._to_begin_of_epoch()
        self._begun = self._trainer.kept(whole=True)
        rate = self.rates.of_epoch(self.run.epoch, self._context.monitored)
        with computing(self.engine):
            self._trainer.epochs(self.run.epoch, [rate], _nothing, limit=wanted)
            finite = self._trainer.finite()
        if not finite:
            self.epoch()  # which says what happened
            return
        self.batch = wanted
        self.model.restore(self._trainer.at.shown)

    def release(self) -> None:
        """Free the memory of the prepared steps."""
        self._trainer.release()

    def _to_begin_of_epoch(self) -> None:
        """Undo the batches of an epoch that is not finished."""
        if self._begun is None:
            return
        trainer, self._begun, begun, self.batch = self._trainer, None, self._begun, 0
        trainer.go_back(begun)
        self.model.restore(begun.shown)


def _nothing() -> None:
    """What happens between two steps."""
