"""The training loop: epochs of steps, and what is done when something goes wrong between them."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from nnarray import random
from nnarray.backends import OutOfDeviceMemory, as_data, backend_of, device_of, is_traced, place, same_place
from nnarray.callbacks import History, Run, as_callback
from nnarray.checks import integer, refuse_non_finite
from nnarray.kernels.compilation import compiled
from nnarray.losses import Loss, combined_weights, loss_named
from nnarray.metrics import Metric, metrics_named
from nnarray.optimizers import LBFGS, Optimizer, optimizer_named
from nnarray.propagation import Wiring, loss_and_gradient
from nnarray.random import Key
from nnarray.schedules import schedule
from nnarray.typing import Array, Shape

FINITE_REMEDY = "Remove or repair these entries, or pass check_finite=False."


class DivergenceError(FloatingPointError):
    """The loss or a parameter became NaN or infinite; the model keeps its last finite parameters."""


class Trainee(Protocol):
    """What the loop needs of a model."""

    wiring: Wiring
    state: Array
    frozen: frozenset[str]
    history: History

    @property
    def theta(self) -> Array: ...
    @property
    def input_shape(self) -> Shape: ...
    @property
    def output_shape(self) -> Shape: ...
    def predict(self, X: Array, *, batch_size: int | None = None, check_finite: bool = True) -> Array: ...
    def snapshot(self) -> tuple[Array, Array]: ...
    def restore(self, kept: tuple[Array, Array]) -> None: ...


class Data(NamedTuple):
    """Examples as a step reads them: inputs in the model's dtype, the target as the loss prepared it."""

    x: Array
    target: Array
    weights: Array | None
    y: Array

    @property
    def examples(self) -> int:
        """How many there are."""
        return self.x.shape[0]


def check_inputs(model: Trainee, X: Any, name: str = "X") -> Array:
    """`X` in the model's dtype, if it has the model's library, device and input shape.

    Raises
    ------
    TypeError
        If it is no array, of another library, or not made of real numbers.
    ValueError
        If it is on another device or has another shape.
    """
    X = as_data(X, name)
    xp = same_place(model=model.theta, **{name: X})
    if X.shape[1:] != model.input_shape or X.ndim == 0:
        batch = "(batch, " + ", ".join(map(str, model.input_shape)) + ")"
        hint = " For a single example, use X[None, ...]." if X.shape == model.input_shape else ""
        raise ValueError(
            f"the network expects {batch}, examples of shape {model.input_shape}; "
            f"got {name} of shape {tuple(X.shape)}.{hint}"
        )
    return X if X.dtype == model.theta.dtype else xp.astype(X, model.theta.dtype)


def prepare(
    model: Trainee,
    X: Any,
    y: Any,
    weights: Any,
    loss: Loss,
    *,
    check_finite: bool = True,
    names: str = "X y sample_weight",
) -> Data:
    """Check the examples once, where they enter, and bring them into the form that a step reads."""
    x_name, y_name, w_name = names.split()
    x = check_inputs(model, X, x_name)
    y = as_data(y, y_name)
    weights = None if weights is None else as_data(weights, w_name)
    xp = same_place(**{x_name: x, y_name: y, w_name: weights})
    if x.shape[0] == 0:
        raise ValueError(f"{x_name} holds no examples: its shape is {tuple(X.shape)}. At least one is needed.")
    if y.ndim == 0 or y.shape[0] != x.shape[0]:
        raise ValueError(
            f"{x_name} has {x.shape[0]} examples and {y_name} has shape {tuple(y.shape)}; make their lengths equal."
        )
    if check_finite and not is_traced(x):
        refuse_non_finite(x, x_name, FINITE_REMEDY)
    target, own = loss.prepare(y, (x.shape[0], *model.output_shape), x.dtype)
    return Data(x, target, combined_weights(xp, own, weights, x.shape[0], x.dtype), y)


class Finished(NamedTuple):
    """What the steps of an epoch gave; everything still on the device."""

    losses: list[Array]
    masses: list[Any]
    rows: list[Any]
    outputs: list[Array]


@dataclass
class Trainer:
    """Data, rule and position of one training; `theta`, `state` and `slots` are those of the last finished step."""

    wiring: Wiring
    data: Data
    loss: Loss
    optimizer: Optimizer
    batch_size: int
    shuffle: bool
    key: Key
    keep_outputs: bool
    theta: Array
    state: Array
    slots: dict[str, Array]
    decays: Array | None
    frozen: Array | None
    steps: int = 0

    def __post_init__(self) -> None:
        self.step = compiled(self._step, self.theta)
        layers = self.key.fold("layers")
        self.words = (layers.word0, layers.word1)

    def _step(
        self,
        theta: Array,
        state: Array,
        slots: dict[str, Array],
        x: Array,
        target: Array,
        weights: Array | None,
        numbers: dict[str, Any],
        words: tuple[Any, Any],
        index: Any,
    ) -> tuple[Any, ...]:
        """One update: a pure function of its arguments, but for those that the optimizer consumes."""
        found = loss_and_gradient(
            self.wiring,
            theta,
            state,
            x,
            target,
            weights,
            self.loss,
            training=True,
            key=Key(*words),
            step=index,
        )
        theta, slots = self.optimizer.update(
            theta, found.gradient, slots, numbers, decays=self.decays, frozen=self.frozen
        )
        return theta, found.state, slots, found.loss, found.outputs

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.data.examples // self.batch_size)

    def epoch(self, number: int, rate: float, check: Callable[[], None], limit: int | None = None) -> Finished:
        """The steps of one epoch, or the first `limit` of them; `check` is called after each."""
        done = Finished([], [], [], [])
        for rows in self._batches(number, limit):
            x, target = _pick(self.data.x, rows), _pick(self.data.target, rows)
            weights = None if self.data.weights is None else _pick(self.data.weights, rows)
            self.theta, self.state, self.slots, loss, outputs = self.step(
                self.theta,
                self.state,
                self.slots,
                x,
                target,
                weights,
                self.optimizer.numbers(rate, self.steps + 1),
                self.words,
                self.steps,
            )
            self.steps += 1
            done.losses.append(loss)
            done.masses.append(x.shape[0] if weights is None else same_place(w=weights).sum(weights))
            if self.keep_outputs:
                done.rows.append(rows)
                done.outputs.append(outputs)
            check()
        return done

    def _batches(self, number: int, limit: int | None) -> Iterator[Any]:
        """The rows of each batch: None for all, a slice, or indices on the device."""
        count = self.data.examples
        batches = self.steps_per_epoch if limit is None else limit
        if self.steps_per_epoch == 1:
            yield from [None] * batches
            return
        order = None
        if self.shuffle:
            xp, device = same_place(x=self.data.x), device_of(self.data.x)
            order = random.permutation(self.key.fold("shuffle").fold(number), count, xp=xp, device=device)
        for start in range(0, batches * self.batch_size, self.batch_size):
            rows = slice(start, min(start + self.batch_size, count))
            yield rows if order is None else order[rows]

    def mean_loss(self, done: Finished) -> float:
        """The loss over the epoch, the one number for which the host waits: weighted as the reduction says."""
        xp = same_place(theta=self.theta)
        losses = xp.stack(done.losses)
        if self.loss.reduction == "sum":
            return float(xp.sum(losses))
        masses = done.masses
        if isinstance(masses[0], int):
            shares = xp.asarray([m / sum(masses) for m in masses], dtype=losses.dtype, device=device_of(losses))
            return float(xp.sum(losses * shares))
        spread = xp.astype(xp.stack(masses), losses.dtype)
        return float(xp.sum(losses * spread) / xp.sum(spread))

    def finite(self) -> bool:
        """Whether all parameters are."""
        xp = same_place(theta=self.theta)
        return bool(xp.all(xp.isfinite(self.theta)))


class Saved(NamedTuple):
    """The trainer at the start of an epoch, to go back to."""

    theta: Array
    state: Array
    slots: dict[str, Array]
    steps: int

    @classmethod
    def of(cls, trainer: Trainer) -> Saved:
        slots = trainer.slots if trainer.steps_per_epoch == 1 else {k: copy(v) for k, v in trainer.slots.items()}
        return cls(copy(trainer.theta), copy(trainer.state), slots, trainer.steps)


def copy(x: Array) -> Array:
    """The same numbers in other memory."""
    return same_place(x=x).asarray(x, copy=True)


def _pick(x: Array, rows: Any) -> Array:
    if rows is None:
        return x
    return x[rows, ...] if isinstance(rows, slice) else same_place(x=x).take(x, rows, axis=0)


def fit(
    model: Trainee,
    X: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    epochs: int,
    batch_size: int | None,
    validation: Any,
    metrics: Any,
    callbacks: Sequence[Any],
    sample_weight: Any,
    shuffle: bool,
    seed: int,
    progress: bool | None,
    check_finite: bool,
) -> History:
    """Train `model` in place; `Model.fit` has the description."""
    if is_traced(X) or is_traced(model.theta):
        raise ValueError(
            "fit cannot run inside jax.jit: it looks at values. Call it outside, and jit model(X) instead."
        )
    epochs = integer(epochs, "epochs", 1, usual=10)
    batch_size = None if batch_size is None else integer(batch_size, "batch_size", 1, usual=32)
    loss, rule, chosen = loss_named(loss), optimizer_named(optimizer), metrics_named(metrics)
    key = Key(seed)
    X, y, sample_weight, validation = _validation_split(X, y, sample_weight, validation, key)
    data = prepare(model, X, y, sample_weight, loss, check_finite=check_finite)
    held_out = _held_out(model, validation, loss, check_finite)
    run = Run(model, History(), epochs)
    model.history = run.history
    watchers = [as_callback(c) for c in ([callbacks] if callable(callbacks) else callbacks)]
    judge = Judge(model, loss, chosen, held_out, batch_size)
    frozen = model.wiring.params.mask(set(model.frozen), model.theta) if model.frozen else None
    with _progress_bar(epochs, progress) as show, _memory_errors(model.theta, batch_size):
        for watcher in watchers:
            watcher.on_fit_start(run)
        try:
            if isinstance(rule, LBFGS):
                from nnarray.lbfgs import minimise

                _whole_batch(batch_size, data.examples)
                minimise(rule, model, data, loss, run, judge, watchers, show, frozen)
            else:
                trainer = Trainer(
                    model.wiring,
                    data,
                    loss,
                    rule,
                    min(batch_size or data.examples, data.examples),
                    shuffle,
                    key,
                    bool(chosen),
                    copy(model.theta),
                    copy(model.state),
                    rule.slots(model.theta),
                    decay_mask(model) if rule.weight_decay else None,
                    frozen,
                )
                _descend(trainer, run, judge, watchers, show)
        finally:
            for watcher in watchers:
                watcher.on_fit_end(run)
    return run.history


def _descend(
    trainer: Trainer, run: Run, judge: Judge, watchers: list[Any], show: Callable[[dict[str, float]], None]
) -> None:
    """Epochs of steps until the last one, or until a callback stops."""
    rates, started = schedule(trainer.optimizer.lr), time.perf_counter()
    with _interrupts_between_steps() as check:
        for number in range(run.epochs):
            rate = rates(number, run.history.columns.get(judge.monitored, ()))
            saved = Saved.of(trainer)
            try:
                done = trainer.epoch(number, rate, check)
            finally:
                run.history.steps = trainer.steps
                run.model.restore((trainer.theta, trainer.state))
            mean = trainer.mean_loss(done)
            if not (math.isfinite(mean) and trainer.finite()):
                raise _diverged(trainer, saved, done, run, number, rate)
            row = {
                "epoch": float(number + 1),
                "loss": mean,
                **judge.on_training(trainer.data, done),
                **judge.held_out_row(),
            }
            run.history.append({**row, "lr": rate, "seconds": time.perf_counter() - started})
            show(row)
            for watcher in watchers:
                watcher.on_epoch_end(run)
            if run.stopped:
                return
            if run.model.theta is not trainer.theta:  # a callback gave the model other parameters
                trainer.theta, trainer.state = copy(run.model.theta), copy(run.model.state)
            check()


def _diverged(trainer: Trainer, saved: Saved, done: Finished, run: Run, number: int, rate: float) -> DivergenceError:
    """Go back to the last parameters with a finite loss, by running the epoch again up to them; say what happened."""
    finite = [math.isfinite(float(loss)) for loss in done.losses]
    first = finite.index(False) if False in finite else len(finite)
    trainer.theta, trainer.state, trainer.slots, trainer.steps = saved
    if first > 1:
        trainer.epoch(number, rate, lambda: None, limit=first - 1)
    if not trainer.finite():
        trainer.theta, trainer.state = saved.theta, saved.state
    run.model.restore((trainer.theta, trainer.state))
    run.history.steps = trainer.steps
    what = "the loss became NaN or infinite" if first < len(finite) else "a parameter became NaN or infinite"
    last = f"{float(done.losses[first - 1]):.6g}" if first else "none in this epoch"
    return DivergenceError(
        f"{what} in epoch {number + 1}, step {min(first + 1, len(finite))} of {len(finite)} "
        f"(learning rate {rate:g}, last finite loss: {last}). Likely causes: a learning rate that is too high, inputs "
        f"that are not standardised, or a loss with reduction='sum' over many examples. Lower lr, standardise X, or "
        f"set clip_norm. The model keeps its last finite parameters."
    )


@dataclass
class Judge:
    """Computes the columns of a history."""

    model: Trainee
    loss: Loss
    metrics: dict[str, Metric]
    held_out: Data | None
    batch_size: int | None

    @property
    def monitored(self) -> str:
        """The column that schedules look at."""
        return "loss" if self.held_out is None else "val_loss"

    def on_training(self, data: Data, done: Finished) -> dict[str, float]:
        """The metrics over the outputs that the epoch's steps gave, in their order."""
        if not self.metrics:
            return {}
        xp = same_place(x=data.x)
        outputs = xp.concat(done.outputs, axis=0)
        target = xp.concat([_pick(data.y, rows) for rows in done.rows], axis=0)
        return {name: float(metric(outputs, target)) for name, metric in self.metrics.items()}

    def held_out_row(self) -> dict[str, float]:
        """Loss and metrics on the validation data."""
        held = self.held_out
        if held is None:
            return {}
        outputs = self.model.predict(
            held.x, batch_size=self.batch_size and max(self.batch_size, 1024), check_finite=False
        )
        losses, slopes = self.loss.per_example(outputs, held.target)
        row = {"val_loss": float(self.loss.reduced(losses, slopes, held.weights)[0])}
        return row | {f"val_{name}": float(metric(outputs, held.y)) for name, metric in self.metrics.items()}


def decay_mask(model: Trainee) -> Array | None:
    """1 where weight decay shrinks, 0 where it does not; None if it shrinks everything."""
    places = model.wiring.params.places
    chosen = {p.name for p in places if p.param.decay}
    if len(chosen) == len(places):
        return None
    xp = same_place(theta=model.theta)
    return xp.astype(model.wiring.params.mask(chosen, model.theta), model.theta.dtype)


def _whole_batch(batch_size: int | None, count: int) -> None:
    if batch_size is not None and batch_size < count:
        raise ValueError(
            f"LBFGS needs all {count} examples in one batch; got batch_size={batch_size}. Pass batch_size=None."
        )


def _held_out(model: Trainee, validation: Any, loss: Loss, check_finite: bool) -> Data | None:
    if validation is None:
        return None
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        raise TypeError("validation must be a fraction, (X, y) or (X, y, sample_weight); got " + repr(type(validation)))
    X, y, weights = (*validation, None)[:3]
    names = "validation_X validation_y validation_weight"
    return prepare(model, X, y, weights, loss, check_finite=check_finite, names=names)


def _validation_split(X: Any, y: Any, weights: Any, validation: Any, key: Key) -> tuple[Any, Any, Any, Any]:
    """A fraction becomes a random part of the examples."""
    if not isinstance(validation, float):
        return X, y, weights, validation
    X, y = as_data(X, "X"), as_data(y, "y")
    count = X.shape[0]
    part = round(validation * count)
    if not 0 < part < count:
        raise ValueError(
            f"validation={validation!r} of {count} examples leaves {part} to validate and {count - part} to train."
        )
    xp = same_place(X=X, y=y)
    order = random.permutation(key.fold("validation"), count, xp=xp, device=device_of(X))
    held, kept = order[:part], order[part:]
    held_out = (_pick(X, held), _pick(y, held)) + (() if weights is None else (_pick(weights, held),))
    return _pick(X, kept), _pick(y, kept), None if weights is None else _pick(weights, kept), held_out


@contextmanager
def _interrupts_between_steps() -> Generator[Callable[[], None]]:
    """Ctrl-C waits for the end of the step under way, so that no update is left half done; a second one does not."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None
        return
    pending: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pending:
            signal.default_int_handler(number, frame)
        pending.append(number)

    def check() -> None:
        if pending:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _memory_errors(theta: Array, batch_size: int | None) -> Generator[None]:
    """Each library's own error for a full device as one."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfDeviceMemory) or not backend_of(theta).library.out_of_memory(error):
            raise
        raise OutOfDeviceMemory(
            f"no memory left on {place(theta)} ({error}). Reduce batch_size (now {batch_size or 'all'}) or the "
            f"network; the model is as it was after the last finished step."
        ) from error


@contextmanager
def _progress_bar(epochs: int, wanted: bool | None) -> Generator[Callable[[dict[str, float]], None]]:
    """tqdm's bar: None shows it in a terminal and in a notebook, not in a pipe."""
    from tqdm import auto, notebook

    shown = wanted if wanted is not None else issubclass(auto.tqdm, notebook.tqdm) or None
    with auto.tqdm(total=epochs, unit="epoch", disable=None if shown is None else not shown) as bar:

        def show(row: dict[str, float]) -> None:
            if not bar.disable:
                bar.set_postfix({k: f"{v:.4g}" for k, v in row.items() if k != "epoch"}, refresh=False)
                bar.update()

        yield show
