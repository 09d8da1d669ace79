"""Callbacks between the epochs of a training: the protocol, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nnarray.arguments import explain_settings
from nnarray.checks import integer, is_several, numbers_of_python, real
from nnarray.metrics import LOW, METRICS
from nnarray.names import shown
from nnarray.schedules import better
from nnarray.training.history import History
from nnarray.typing import Array


@dataclass
class Run:
    """A running training, as callbacks see it."""

    model: Any
    history: History
    epochs: int
    stopped: str | None = None
    columns: tuple[str, ...] = ()
    """The columns that the history gets from `fit`, known before the first step."""
    _loss: Callable[[], float] | None = field(default=None, repr=False)
    _memory: Callable[[], dict[str, Array]] | None = field(default=None, repr=False)

    @property
    def step(self) -> int:
        """How many steps are finished, in all epochs."""
        return self.history.steps

    @property
    def loss(self) -> float:
        """The loss of the step that has just ended, on its batch and before its update. Waits for the device.

        Raises
        ------
        RuntimeError
            Elsewhere than in `on_step_end`.
        """
        if self._loss is None:
            raise RuntimeError("run.loss is that of a step, in on_step_end; between epochs, read run.last['loss'].")
        return self._loss()

    @property
    def memory(self) -> dict[str, Array]:
        """A copy of the optimizer's memory: its slots, by name. An optimizer of your own may begin with them.

        Raises
        ------
        RuntimeError
            Before the first step and after the last one, and with "lbfgs", which keeps its memory in SciPy.
        """
        if self._memory is None:
            raise RuntimeError(
                "run.memory is the optimizer's between two steps: read it in on_epoch_end; L-BFGS has none."
            )
        return self._memory()

    @contextmanager
    def with_memory(self, memory: Callable[[], dict[str, Array]]) -> Generator[None]:
        """The time in which the optimizer's memory may be asked for."""
        self._memory = memory
        try:
            yield
        finally:
            self._memory = None

    @contextmanager
    def in_step(self, loss: Callable[[], float]) -> Generator[None]:
        """The time in which the loss of a step may be asked for."""
        self._loss = loss
        try:
            yield
        finally:
            self._loss = None

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.history.columns.get("epoch", []))

    @property
    def last(self) -> dict[str, float]:
        """The row of the last finished epoch; empty before the first."""
        return {name: column[-1] for name, column in self.history.columns.items() if column}

    def stop(self, reason: str) -> None:
        """Stop the training after this epoch."""
        self.stopped = reason


class Callback:
    """The base class of callbacks: override the methods that you need. A function of a `Run` is called after epochs.

    Examples
    --------
    >>> import nnarray as nn
    >>> class StopAt(nn.Callback):
    ...     def on_epoch_end(self, run):
    ...         if run.history["loss"][-1] < 0.1:
    ...             run.stop("the loss is below 0.1")
    """

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        for name in vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name):
                raise TypeError(f"{cls.__name__}.{name} would never be called. {_hook_for(name)}")

    def state_dict(self) -> dict[str, Any]:
        """The state of the callback between epochs, for a checkpoint: strings, numbers and arrays by name."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from `state_dict`; called after `on_fit_start` when a training is resumed."""

    def on_fit_start(self, run: Run) -> None:
        """Called before the first epoch."""

    def on_step_end(self, run: Run) -> None:
        """After each step, of which `run.step` counts them and `run.loss` is the loss, if it is read.

        `run.model` has the parameters after the step, for which they are copied; what defines no such method costs
        nothing. Where steps of an epoch gave NaN and are taken again by other means, they are seen again. With such a
        callback, JAX takes single steps, which is slower. `engine="graph"`, a cluster and L-BFGS refuse it.
        """

    def on_epoch_end(self, run: Run) -> None:
        """Called after each epoch; `run.history` has its row, and `run.model` its parameters."""

    def on_fit_end(self, run: Run) -> None:
        """Called after the last epoch, even if the training was interrupted or failed."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def _hook_for(name: str) -> str:
    """What to write instead of a method of another library."""
    words = name.split("_")
    at_start = words[-1] in ("begin", "start")
    if {"step", "batch", "iteration"} & {*words} and not at_start:
        return "Call it on_step_end(self, run)."
    if {"epoch", "validation", "test", "evaluate", "step", "batch", "iteration"} & {*words}:
        nothing = "Nothing is called before an epoch or a step: use" if at_start else "Call it"
        return f"{nothing} {'on_fit_start and on_epoch_end' if at_start else 'on_epoch_end(self, run)'}."
    if words[-1] in ("begin", "start", "end"):
        return f"Call it on_fit_{'start' if at_start else 'end'}(self, run)."
    return f"The hooks are {', '.join(HOOKS)}."


@explain_settings
@dataclass
class EarlyStopping(Callback):
    """Stop if a column of the history has not improved for more than `patience` epochs; restore the best epoch.

    Parameters
    ----------
    monitor : str
        The column to monitor; "val_loss" needs `validation=`.
    patience : int
        The number of epochs in a row without improvement that are accepted. The next one stops the training. It counts
        like `schedules.Plateau`, and like `n_iter_no_change` in the estimators.
    min_delta : float
        A value is an improvement if it is better by more than this, in units of the column. NaN never is.
    mode : {"auto", "min", "max"}
        Whether lower or higher values are better. "auto" works for losses and the metrics of this package.
    restore_best : bool
        Whether the model gets the parameters of the best epoch at the end.

    References
    ----------
    .. [1] Prechelt (1998), Early stopping - but when? Neural Networks: Tricks of the Trade, 55-69.
    """

    monitor: str = "val_loss"
    patience: int = 10
    min_delta: float = 0.0
    mode: str = "auto"
    restore_best: bool = True
    best: float = field(default=math.nan, init=False)
    best_epoch: int = field(default=0, init=False)
    _kept: tuple[Array, Array] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        numbers_of_python(self)
        if self.mode not in ("auto", "min", "max"):
            raise ValueError(f"EarlyStopping mode must be 'auto', 'min' or 'max'; got {shown(self.mode)}.")
        if self.mode == "auto":
            self.mode = _mode_of(self.monitor)
        integer(self.patience, "EarlyStopping patience", 0, usual=10)
        real(self.min_delta, "EarlyStopping min_delta", least=0.0, usual=0.0)

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far, and its parameters if they are to be restored."""
        kept = {} if self._kept is None else dict(zip(("theta", "state"), self._kept, strict=True))
        return {"best": self.best, "best_epoch": self.best_epoch, **kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best epoch so far."""
        self.best = float(state["best"])
        self.best_epoch = int(state["best_epoch"])
        self._kept = (state["theta"], state["state"]) if "theta" in state else None

    def on_fit_start(self, run: Run) -> None:
        """Reset the state of an earlier training; refuse a column that `fit` will not write."""
        if run.columns and _is_of_fit(self.monitor):
            self._refuse_missing(run.columns)
        self.best, self.best_epoch, self._kept = math.nan, 0, None

    def on_epoch_end(self, run: Run) -> None:
        """Compare with the best epoch so far."""
        self._refuse_missing(run.history)
        value, sign = run.history[self.monitor][-1], 1.0 if self.mode == "min" else -1.0
        if better(sign * value, sign * self.best, self.min_delta):
            self.best, self.best_epoch = value, run.epoch
            self._kept = run.model.snapshot() if self.restore_best else None
        elif self.is_over(run):
            run.stop(self.reason)

    def is_over(self, run: Run) -> bool:
        """Whether there were more epochs without improvement than the patience allows."""
        return run.epoch - self.best_epoch > self.patience

    @property
    def reason(self) -> str:
        """Why it stops."""
        since = f"not improved since epoch {self.best_epoch}" if self.best_epoch else "been NaN all the time"
        return f"{self.monitor} has {since}"

    def _refuse_missing(self, columns: Collection[str]) -> None:
        """Refuse to monitor a column that is not there."""
        if self.monitor not in columns:
            metric = self.monitor.removeprefix("val_")
            asked = "" if metric == "loss" else f"metrics=[{metric!r}]"
            held_out = "validation=0.2" if metric != self.monitor else ""
            raise ValueError(
                f"EarlyStopping monitors {self.monitor!r}, but the history has {', '.join(columns)}. Pass "
                f"{' and '.join(filter(None, (asked, held_out)))} to fit, or monitor one of these."
            )

    def on_fit_end(self, run: Run) -> None:
        """Restore the best epoch."""
        if self._kept is not None:
            run.model.restore(self._kept)
            self._kept = None


def _is_of_fit(monitor: str) -> bool:
    """Whether only `fit` writes this column; another one may come from a callback."""
    metric = str(monitor).removeprefix("val_")
    return metric == "loss" or metric in METRICS or metric.startswith("top_")


def _mode_of(monitor: str) -> str:
    """Whether lower or higher is better in a column of the history."""
    metric = str(monitor).removeprefix("val_")
    if metric == "loss" or metric in LOW:
        return "min"
    if _is_of_fit(monitor):
        return "max"
    raise ValueError(
        f"EarlyStopping does not know {shown(monitor)}: pass mode='min' or mode='max', whichever is better."
    )


class EachEpoch(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def on_epoch_end(self, run: Run) -> None:
        """Call the function with the training context."""
        self.function(run)


def step_watchers(callbacks: Iterable[Callback]) -> list[Callback]:
    """Those that look at each step."""
    return [each for each in callbacks if type(each).on_step_end is not Callback.on_step_end]


def as_callbacks(callbacks: Any) -> list[Callback]:
    """One or several callbacks as a list."""
    several = isinstance(callbacks, Iterable) and not isinstance(callbacks, Callback | type) and is_several(callbacks)
    return [as_callback(each) for each in (callbacks if several else [callbacks])]


def as_callback(callback: Any) -> Callback:
    """A callback; a function of a `Run` becomes one."""
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, type) or not callable(callback):
        raise TypeError(
            f"a callback must be a Callback or a function of a Run; got {shown(callback)}. "
            f"{f'Write {callback.__name__}().' if isinstance(callback, type) else 'Leave callbacks out for none.'}"
        )
    return EachEpoch(callback)
