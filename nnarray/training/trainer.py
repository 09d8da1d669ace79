"""One running training: its data, its rule and its state, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice
from operator import and_
from typing import Any, NamedTuple, Self

from nnarray import kernels, random
from nnarray.backends import copy, device_of, library_of, namespace, same_place
from nnarray.engines import Stepper, steps_of
from nnarray.functional.freezing import frozen_in
from nnarray.functional.propagation import Wiring
from nnarray.kernels.compilation import compiled, quiet
from nnarray.kernels.engines import AUTO, LAYERS, RECORDING, resolved
from nnarray.kernels.loops import NotRecorded, read
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.layers.base import Context
from nnarray.losses import Loss
from nnarray.optimizers import Optimizer
from nnarray.optimizers.transforms import LossScale
from nnarray.random import Key
from nnarray.schedules import schedule
from nnarray.training.ahead import read_ahead
from nnarray.training.augmenting import Augmentation
from nnarray.training.data import Data, mass_of
from nnarray.training.inputs import in_a_batch
from nnarray.training.recorded import (
    RecordedSteps,
    SingleSteps,
    Taken,
    Task,
    in_memory,
    recorded_steps,
    single_steps,
    warn_of,
)
from nnarray.training.rule import Masks, Rule, WholeUpdate
from nnarray.training.state import TrainingState
from nnarray.training.streamed import Streamed
from nnarray.training.trainee import Trainee
from nnarray.typing import Array


class Finished(NamedTuple):
    """The results of the steps of an epoch, on the device."""

    losses: list[Array]
    masses: list[Any]
    rows: list[Any]
    outputs: list[Array]


@dataclass
class Trainer:
    """The data, rule and state of one training; `at` is the state after the last finished step."""

    wiring: Wiring
    data: Data | Streamed
    loss: Loss
    optimizer: Optimizer
    batch_size: int
    shuffle: bool
    key: Key
    at: TrainingState
    decays: Array | None
    frozen: Array | None
    rate_factors: Array | None
    """By what the rate is multiplied for each entry, if groups have rates of their own."""
    engine: str
    keep_outputs: bool = False
    accumulate: int = 1
    """The number of batches per step."""
    ema: float | None = None
    """The decay of the moving average of theta per step, if there is one."""
    precision: str | None = None
    """The dtype in which the layers compute, if not theta's."""
    augment: Augmentation | None = None
    """A function that changes each batch at random, if there is one."""
    plan: Stepper | None = None
    """Prepared steps that write into theta and slots; None if the layers' own steps are taken."""
    recorded: RecordedSteps | None = None
    """The recorded steps of the layers; None before the first epoch, and if steps are not recorded."""
    single: SingleSteps | None = None
    """Steps on single batches with the bits of recorded ones, if there are such."""
    watch: Callable[[Finished], None] | None = None
    """A function that is called after each step, if there is one."""

    @classmethod
    def of(
        cls,
        model: Trainee,
        data: Data | Streamed,
        loss: Loss,
        optimizer: Optimizer,
        *,
        batch_size: int | None,
        **settings: Any,
    ) -> Self:
        """A trainer of the model's network, with its frozen parameters and those without weight decay."""
        layout, theta = model.wiring.params, model.theta
        return cls(
            wiring=frozen_in(model.wiring, model.frozen),
            data=data,
            loss=loss,
            optimizer=optimizer,
            batch_size=data.size_of_batches(batch_size),
            decays=optimizer.decays(layout, theta),
            frozen=layout.frozen(model.frozen, theta),
            rate_factors=optimizer.rate_factors(layout, theta),
            **settings,
        )

    def __post_init__(self) -> None:
        self.rates = schedule(self.optimizer.lr)
        self.rule = Rule(self.wiring, self.loss, self.optimizer, self.ema, self.precision, self.augment)
        self.masks = Masks(self.decays, self.frozen, self.rate_factors)
        self.step, self.gather, self.advance = (
            compiled(each, self.at.theta, self.rule.key(each.__name__))
            for each in (self.rule.step, self.rule.gather, self.rule.advance)
        )
        self.summed_up = compiled(_with_finite, self.at.theta, _with_finite)
        layers = self.key.fold("layers")
        self.words = (layers.word0, layers.word1)
        self.batch = self.data.batch
        self.prepare()

    def prepare(self) -> None:
        """Make a plan for the present theta and slots."""
        usual = self.accumulate == 1 and self.precision is None and self.augment is None
        if usual and self.data.is_flat and not self.at.plain:
            norm = self.rule.norm if self.frozen is None else None
            rule = self.rule if norm is None else replace(self.rule, optimizer=replace(self.optimizer, clip_norm=None))
            self.plan = steps_of(
                self.wiring,
                self.loss,
                WholeUpdate(rule),
                self.at.theta,
                self.at.slots,
                self.masks._asdict(),
                keep_outputs=self.keep_outputs,
                norm=norm,
                engine=self.engine,
            )

    @property
    def scaling(self) -> LossScale | None:
        """The loss scale, if there is one."""
        return self.rule.scaling

    @property
    def is_prepared(self) -> bool:
        """Whether steps are computed by anything but the layers."""
        return self.plan is not None or self.recorded is not None

    def follow(self, model: Trainee, shown: tuple[Array, Array], *, watched: bool) -> None:
        """Continue from the model's parameters if they were replaced, for example by a callback.

        Some libraries allow writes into arrays, which cannot be detected. So after callbacks (`watched`), the
        parameters are taken each time, unless there is an average. A plan is made again only for other numbers.
        """
        changed = model.theta is not shown[0] or model.state is not shown[1]
        if not changed and watched and self.plan is not None and self.ema is None:
            changed = self._is_written(model.theta)
        if changed or (watched and self.plan is None and self.ema is None):
            self.at = self.at.from_here(copy(model.theta), copy(model.state))
        if changed:
            self.prepare()

    def _is_written(self, theta: Array) -> bool:
        """Whether other numbers were written into the model's parameters; NumPy's are read-only."""
        owner = library_of(theta)
        return owner is not None and not owner.is_host and bool(namespace(theta).any(theta != self.at.theta))

    @quiet
    def prove(self) -> None:
        """Check before the first step that the layers can train on a single example, if a batch will have only one.

        Raises
        ------
        ValueError
            If they cannot.
        """
        count, size = self.data.examples, self.batch_size
        if self.plan is not None or (count % size or size) > 1:
            return
        tree = self.wiring.params.tree(self.at.theta)
        ctx = Context(True, self.wiring.state.tree(self.at.state), root=self.key)
        x: Any = self.data.inputs.rows(slice(0, 1))
        try:
            self.wiring.network.forward(tree, x, ctx)
        except ValueError as error:
            fits = next((each for each in range(size + 1, count + 1) if count % each != 1), None)
            remedy = f"use batch_size={fits}" if fits else "pass at least two"
            raise ValueError(f"{error} batch_size={size} leaves one of {count} examples alone: {remedy}.") from error

    def release(self) -> None:
        """Free all memory at once: reference cycles would wait for Python's garbage collection."""
        for prepared in (self.plan, self.recorded):
            if prepared is not None:
                prepared.release()
        del self.step, self.gather, self.advance, self.summed_up, self.plan, self.recorded, self.single

    def kept(self, *, whole: bool) -> TrainingState:
        """A copy of the state; slots are copied only if going back may need them, or with `whole`."""
        return self.at.copied(slots=whole or self.is_prepared or self.steps_per_epoch > 1)

    def memory(self) -> dict[str, Array]:
        """A copy of the optimizer's slots, by name."""
        names = self.optimizer.all_slot_names
        return {name: copy(slot) for name, slot in self.at.slots.items() if name in names}

    def go_back(self, saved: TrainingState) -> None:
        """Return to an earlier state, and continue with the same kind of steps."""
        self.at = saved
        self.prepare()

    def back_to(self, saved: TrainingState) -> None:
        """Return to an earlier state, and continue with the layers' own steps."""
        self.at, self.plan, self.recorded, self.single = saved._replace(plain=True), None, None, None

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches of an epoch; the last batch may be smaller."""
        return -(-self.data.examples // self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps of an epoch; the last step may have fewer batches."""
        return -(-self.batches_per_epoch // self.accumulate)

    @quiet
    def epochs(self, number: int, rates: list[float], check: Callable[[], None], limit: int | None = None) -> Finished:
        """The steps of one epoch, or the first `limit` of them; `check` is called after each.

        With a plan and one step per epoch, it runs as many epochs as there are rates.
        """
        done, order = Finished([], [], [], []), self._order(number)
        taken = self._take_recorded(rates, order, check, limit, done)
        begun, size = taken * self.accumulate, self.accumulate
        with self._coming(number, order, begun, None if limit is None else limit * size - begun) as batches:
            while group := [*islice(batches, size)]:
                now = self.in_steps(rates)
                if self.plan is not None:
                    self._planned(group[0], now, done)
                elif len(group) == 1:
                    for rate in now:
                        self.one_step(group[0], rate, done)
                else:
                    self._joint_step(group, now[0], done)
                self.ended(done, check)
        return done

    def in_steps(self, rates: list[float]) -> list[float]:
        """The rates of the next steps, of the rates of their epochs."""
        return [self.rates.within(rate, self.at.step + i) for i, rate in enumerate(rates)]

    def ended(self, done: Finished, check: Callable[[], None]) -> None:
        """What follows a step."""
        if self.watch is not None:
            self.watch(done)
        check()

    def loss_since(self, done: Finished, first: int) -> float:
        """The loss over the batches from this one on, which made one step. Waits for the device."""
        losses = done.losses[first:]
        if len(losses) == 1:
            return float(losses[0])
        return float(self._mean(self._in_a_row(losses), done.masses[first:]))

    @contextmanager
    def _coming(self, number: int, order: Array | None, first: int, limit: int | None) -> Generator[Iterator[Any]]:
        """The rows of this many batches of an epoch, from number `first`; a thread may read them ahead."""
        places = [*islice(self._places(), first, None if limit is None else first + limit)]
        batches = [self._rows(order, place) for place in places]
        with self._reading(order, places, batches):
            yield iter(batches)

    @contextmanager
    def _reading(self, order: Array | None, places: list[slice], batches: list[Any]) -> Generator[None]:
        """The batches whose rows are at these positions of the order; a thread may read them ahead."""
        assert isinstance(self.data, Data)
        try:
            with read_ahead(self.data, order, places, batches) as self.batch:
                yield
        finally:
            self.batch = self.data.batch

    def _take_recorded(
        self, rates: list[float], order: Array | None, check: Callable[[], None], limit: int | None, done: Finished
    ) -> int:
        """Take the steps on whole batches if they are recorded; returns the number of steps taken."""
        steps = self._recorded()
        if steps is None:
            return 0
        rows = self._whole_batches(order, limit)
        rates = rates if rows is None else rates * rows.shape[0]
        try:
            loads = steps.loads(self.at, self.in_steps(rates), rows)
        except NotRecorded:
            if self.engine != AUTO:
                raise
            self.engine, self.recorded, self.single = LAYERS, None, None
            return 0
        for load in loads:
            try:
                for _ in steps.take(self.at, load):
                    check()
            finally:  # also if it was interrupted
                self.at = steps.after(self.at)
            self._note_recorded(done, load.rows, steps.taken(load.steps))
        return 1 if rows is None else len(rates)

    def _whole_batches(self, order: Array | None, limit: int | None) -> Array | None:
        """The rows of the full batches, shape (batches, batch size); their first rows, shape (batches,), in own order.

        None if all examples form one batch.
        """
        if self.batches_per_epoch == 1:
            return None
        count = min(self.data.examples // self.batch_size, self.batches_per_epoch if limit is None else limit)
        xp, device = same_place(theta=self.at.theta), device_of(self.at.theta)
        if order is None:
            return xp.arange(count, dtype=xp.int32, device=device) * self.batch_size
        return xp.reshape(order[: count * self.batch_size], (count, self.batch_size))

    def _recorded(self) -> RecordedSteps | None:
        """The recorded steps of the layers, made at first use, if the engine records them."""
        engine = resolved(self.engine, self.at.theta)
        if self.recorded is None and self.single is None and engine in RECORDING and not self.at.plain:
            size = None if self.batches_per_epoch == 1 else self.batch_size
            joint, alone = self.accumulate > 1, self.watch is not None or not in_memory(self.data.inputs)
            task = Task(
                self.rule, self.masks, self.data, self.words, size, self.shuffle, self.keep_outputs, joint, alone
            )
            self.single = single_steps(task, self.at)
            if not alone or self.single is None:
                self.recorded = recorded_steps(task, self.at, engine, requested=self.engine != AUTO)
                self.single = self.single if self.recorded else None
            self.engine = self.engine if self.recorded or self.single else LAYERS
        return self.recorded

    def _planned(self, rows: Any, rates: list[float], done: Finished) -> None:
        assert self.plan is not None
        batch = self.batch(rows)
        losses, outputs = self.plan.run(*batch, rates, self.at.step + 1)
        self.at = self.at._replace(step=self.at.step + len(losses))
        self._note(done, rows, batch, losses, outputs)

    def one_step(self, rows: Any, rate: float, done: Finished) -> None:
        """One step on these examples, computed by the layers."""
        batch = self.batch(rows)
        self.at, loss, outputs = self._stepped(batch, rate)
        self._note(done, rows, batch, [loss], outputs)

    def _stepped(self, batch: tuple[Any, ...], rate: float) -> tuple[TrainingState, Array, Any]:
        """The state after a step, its loss and its outputs; with the bits of recorded steps if there are such."""
        at = self.at
        if self.single is not None:
            try:
                return self.single.step(at, batch, rate)
            except NotRecorded as error:
                if self.engine != AUTO:
                    warn_of(self.engine, str(error))
                self.engine, self.single = LAYERS, None
        theta, state, slots, loss, outputs = self.step(
            self.masks,
            at.theta,
            at.state,
            at.slots,
            *batch,
            self.rule.numbers(rate, at.step),
            self.words,
            at.step * self.accumulate,
        )
        return at._replace(theta=theta, state=state, slots=slots, step=at.step + 1), loss, outputs

    def _joint_step(self, group: list[Any], rate: float, done: Finished) -> None:
        """One step on several batches, as if they were one."""
        at, first, mass = self.at, self.at.step * self.accumulate, 0.0
        gradient, state = same_place(theta=at.theta).zeros_like(at_least_float32(at.theta)), at.state
        for i, rows in enumerate(group):
            batch = self.batch(rows)
            gradient, mass, state, loss, outputs = self.gather(
                at.theta, state, gradient, mass, *batch, self.words, first + i, self.rule.scale(at.slots)
            )
            self._note(done, rows, batch, [loss], outputs)
        before, numbers = (at.theta, at.state, at.slots), self.rule.numbers(rate, self.at.step)
        theta, state, slots = self.advance(self.masks, before, gradient, state, numbers, at.step)
        self.at = at._replace(theta=theta, state=state, slots=slots, step=at.step + 1)

    def _note(self, done: Finished, rows: Any, batch: tuple[Any, ...], losses: list[Array], outputs: Any) -> None:
        _, target, weights = batch
        done.losses.extend(losses)
        done.masses.append(target.shape[0] if weights is None else mass_of(weights))
        if self.keep_outputs:
            done.rows.append(rows)
            done.outputs.append(outputs)

    def _note_recorded(self, done: Finished, rows: Array | None, taken: Taken) -> None:
        """As `_note`, for several steps; their losses stay in one array."""
        count = taken.losses.shape[0]
        done.losses.append(taken.losses)
        done.masses.extend([self.batch_size] * count if taken.masses is None else [taken.masses])
        if taken.outputs is not None:
            done.rows.extend(
                [None] if rows is None else [in_a_batch(rows[i, ...], self.batch_size) for i in range(count)]
            )
            done.outputs.extend(taken.outputs[i, ...] for i in range(count))

    def batches(self, number: int) -> Iterator[Any]:
        """The rows of each batch of an epoch: None for all, a slice, or indices on the device."""
        order = self._order(number)
        return (self._rows(order, place) for place in self._places())

    def _order(self, number: int) -> Array | None:
        """The order of the examples in an epoch; None for their own order."""
        if self.batches_per_epoch == 1 or not self.shuffle:
            return None
        xp, device = same_place(target=self.data.target), device_of(self.data.target)
        return random.permutation(self.key.fold("shuffle").fold(number), self.data.examples, xp=xp, device=device)

    def _places(self) -> Iterator[slice]:
        """The positions of the rows of each batch in the order of an epoch."""
        count = self.data.examples
        return (slice(start, min(start + self.batch_size, count)) for start in range(0, count, self.batch_size))

    def _rows(self, order: Array | None, place: slice) -> Any:
        """The rows at these positions: indices on the device, a slice, or None for all."""
        if order is not None:
            return order[place]
        return None if place == slice(0, self.data.examples) else place

    @quiet
    def outcome(self, done: Finished) -> tuple[list[float], bool]:
        """The loss of each epoch, weighted by the reduction, and whether everything is finite: the host waits once."""
        alone = self._was_one_batch(done)
        if self.plan is not None and alone:
            return [float(loss) for loss in done.losses], self.finite()
        if alone and any(loss.ndim and loss.shape[0] > 1 for loss in done.losses):
            # How many epochs there are depends on the time that they took: no compiler must see their number.
            return [loss for several in done.losses for loss in read(several)], self.finite()
        losses = done.losses if alone else [self._mean(self._in_a_row(done.losses), done.masses)]
        *means, good = read(self.summed_up(losses, self._checked))
        return means, good == 1.0

    def _was_one_batch(self, done: Finished) -> bool:
        """Whether each epoch was one batch."""
        return self.batches_per_epoch == 1

    def _mean(self, losses: Array, masses: list[Any]) -> Array:
        xp = same_place(theta=self.at.theta)
        if self.loss.reduction == "sum":
            return xp.sum(losses)
        if isinstance(masses[0], int):
            total = sum(masses)
            weights = xp.asarray([m / total for m in masses], dtype=losses.dtype, device=device_of(losses))
            return xp.sum(losses * weights)
        spread = xp.astype(self._in_a_row(masses), losses.dtype)
        return xp.sum(losses * spread) / xp.sum(spread)

    def _in_a_row(self, numbers: list[Any]) -> Array:
        """One vector of all losses, some of which may already be in one array."""
        alone = not any(getattr(number, "ndim", 0) for number in numbers)  # floats, too
        return kernels.stacked(self.at.theta, *numbers) if alone else kernels.joined(*numbers)

    def finite(self) -> bool:
        """Whether parameters, state and slots are finite. Waits for the device once."""
        return bool(self._is_finite())

    def _is_finite(self) -> Array:
        return _all_finite(self._checked)

    @property
    def _checked(self) -> list[Array]:
        """Everything that must be finite."""
        others = [x for x in (self.at.state, *self.at.slots.values()) if math.prod(x.shape)]
        return [self.at.theta, *others]

    def overflown(self) -> str:
        """The name of the one that is not finite; if all are, it is the sum of an epoch's losses."""
        parts = {
            "a parameter": [self.at.theta],
            "a running mean or a running variance": [self.at.state],
            "the optimizer's memory": [*self.at.slots.values()],
        }
        over = (name for name, arrays in parts.items() if not all(bool(kernels.all_finite(x)) for x in arrays))
        return next(over, "the sum of the losses")


def _all_finite(arrays: list[Array]) -> Array:
    return reduce(and_, map(kernels.all_finite, arrays))


def _with_finite(losses: list[Array], arrays: list[Array]) -> Array:
    """The losses, and 1 if all numbers of the arrays are finite, else 0: one vector, for which the host waits once."""
    xp = namespace(losses[0])
    return kernels.joined(*losses, xp.astype(_all_finite(arrays), losses[0].dtype))
