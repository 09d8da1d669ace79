"""The context of one training: its data, its history, the report after an epoch, and signals that end it early."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from nnarray.backends import same_place
from nnarray.metrics import measured
from nnarray.training.callbacks import Run
from nnarray.training.checkpoints import CheckpointWriter
from nnarray.training.data import Data
from nnarray.training.evaluation import Answers, scored
from nnarray.training.settings import FitSettings
from nnarray.training.state import TrainingState
from nnarray.training.streamed import Streamed
from nnarray.training.trainee import Trainee
from nnarray.typing import Array

log = logging.getLogger("nnarray")


class DivergenceError(FloatingPointError):
    """The loss, a parameter or a related number became NaN or infinite; the model keeps its last finite parameters.

    Related numbers are the running means and variances of layers, and the slots of the optimizer. The text is the
    arguments in their order: the first one says what happened, the others what may help.
    """

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


UNSOUND = "the parameters were not finite before training. Make a new model with init, or load other parameters."


@dataclass
class TrainingContext:
    """The common part of gradient descent and L-BFGS: reading examples, and reporting an epoch."""

    model: Trainee
    data: Data | Streamed
    held_out: Data | None
    settings: FitSettings
    run: Run
    show: Callable[[dict[str, float], int], None]
    writer: CheckpointWriter | None = None
    """The checkpoint writer, if there is one."""
    begun: TrainingState | None = None
    """The state from which it continues, if it is resumed."""
    started: float = field(init=False)

    def __post_init__(self) -> None:
        before = self.run.history.columns.get("seconds", [])
        self.started = time.perf_counter() - (before[-1] if before else 0.0)

    @property
    def monitored(self) -> list[float]:
        """The loss of each epoch that schedules use: the validation loss, if there is one."""
        return self.run.history.columns.get("loss" if self.held_out is None else "val_loss", [])

    @property
    def unobserved(self) -> bool:
        """Whether nothing observes the training between two epochs."""
        return not (self.settings.callbacks or self.settings.metrics or self.held_out or self.writer)

    def end_epochs(self, losses: list[float], rates: list[float], outputs: list[Array], rows: list[Any]) -> None:
        """As `end_epoch`, for several epochs that were not observed; they share the time that they took."""
        if len(losses) == 1:
            self.end_epoch(losses[0], rates[0], outputs, rows)
            return
        history, count = self.run.history, len(losses)
        begun, first = history["seconds"][-1], self.run.epoch + 1
        seconds_each = (time.perf_counter() - self.started - begun) / count
        history.extend(
            {
                "epoch": [float(first + i) for i in range(count)],
                "loss": losses,
                "lr": rates,
                "seconds": [begun + (i + 1) * seconds_each for i in range(count)],
            }
        )
        self.show({"loss": losses[-1]}, count)

    def end_epoch(self, loss: float, rate: float, outputs: list[Array], rows: list[Any]) -> bool:
        """Write the epoch to the history and call the callbacks. Returns whether to continue.

        `outputs` are those of the steps of the epoch, and `rows` the examples to which they belong.
        """
        row = {"epoch": float(self.run.epoch + 1), "loss": loss, **self._on_training(outputs, rows), **self._held_out()}
        self.run.history.append({**row, "lr": rate, "seconds": time.perf_counter() - self.started})
        self.show(row, 1)
        log.debug("epoch %d: %s", self.run.epoch, self.run.last)
        for callback in self.settings.callbacks:
            callback.on_epoch_end(self.run)
        return self.run.stopped is None

    def _on_training(self, outputs: list[Array], rows: list[Any]) -> dict[str, float]:
        if not self.settings.metrics:
            return {}
        labels, weights = zip(*(self.data.labels(each) for each in rows), strict=True)
        xp = same_place(y=labels[0])
        together, y = xp.concat(outputs, axis=0), xp.concat(labels, axis=0)
        counts = None if weights[0] is None else xp.concat(weights, axis=0)
        return {name: measured(name, metric, together, y, counts) for name, metric in self.settings.metrics.items()}

    def _held_out(self) -> dict[str, float]:
        held = self.held_out
        if held is None:
            return {}
        size, engine = self.settings.evaluated_at_once, self.settings.engine
        outputs = self.model.predict(held.inputs, batch_size=size, check_finite=False, engine=engine)
        answers = Answers(outputs, held.target, held.weights, held.y, held.sample_weight)
        scores = scored(self.settings.loss, self.settings.metrics, answers)
        return {f"val_{name}": value for name, value in scores.items()}


# --- Signals that end it ---------------------------------------------------------------------------------------------

TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """Ends the program as Ctrl-C does; `number` is the number of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Ending:
    """A signal handler that raises `Terminated` and records it, as an import in progress may swallow the exception.

    The same signal again ends the process at once, except for Ctrl-C.
    """

    def __init__(self) -> None:
        self.arrived: list[int] = []

    def __call__(self, number: int, frame: object) -> NoReturn:
        """Record the signal `number` and raise `Terminated`."""
        if number in self.arrived and number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.arrived.append(number)
        raise Terminated(number)

    def check(self) -> None:
        """Raise `Terminated` again, if a signal has arrived."""
        if self.arrived:
            raise Terminated(self.arrived[0])


def check_signals() -> None:
    """Raise `Terminated` again if a signal has arrived and its exception was lost."""
    for number in (signal.SIGINT, *TERMINATING):
        handler = signal.getsignal(number)
        if isinstance(handler, Ending):
            handler.check()


@contextmanager
def interrupts_between_steps() -> Generator[Callable[[], None]]:
    """Delay Ctrl-C and `Ending` until the yielded function is called, so that steps are complete; a second one is not.

    This applies to each signal separately. Other handlers are not changed.
    """
    handlers: dict[int, Callable[[int, Any], object]] = {}
    pending: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pending:
            handlers[number](number, frame)
        if isinstance(handlers[number], Ending):
            signal.signal(number, signal.SIG_DFL)
        pending.append(number)

    def check() -> None:
        if pending:
            handlers[pending[0]](pending[0], None)

    if threading.current_thread() is threading.main_thread():
        check_signals()
        installed: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, *TERMINATING)}
        ours = {
            number: each
            for number, each in installed.items()
            if each is signal.default_int_handler or isinstance(each, Ending)
        }
        handlers |= ours
    try:
        for number in handlers:
            signal.signal(number, note)
        yield check
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
    check()


@contextmanager
def saved_if_interrupted(writer: CheckpointWriter | None, at: TrainingState | None) -> Generator[None]:
    """The row of the last finished epoch before this state."""
    try:
        yield
    except KeyboardInterrupt:
        if writer is not None:
            writer.interrupt(at)
        raise
