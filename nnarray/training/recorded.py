"""The layers' own steps as turns of a recorded or compiled loop: few calls launch all operations of an epoch."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, NamedTuple

from nnarray import kernels
from nnarray.backends import device_of, namespace
from nnarray.caller import warn
from nnarray.kernels.loops import Loop, NotRecorded, loop_for
from nnarray.kernels.rules import counted, rows_of
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.training.data import Data, mass_of
from nnarray.training.inputs import InMemory, Named, in_a_batch, pick
from nnarray.training.keys import is_ours
from nnarray.training.rule import Masks, Rule
from nnarray.training.state import TrainingState
from nnarray.training.streamed import Streamed
from nnarray.typing import Array

LENGTH = 1024
"""The largest number of steps loaded at once; there is memory for the results of this many."""


class Taken(NamedTuple):
    """The results of some steps, one row each, on the device."""

    losses: Array
    masses: Array | None
    outputs: Array | None


class Load(NamedTuple):
    """The data of some steps that are loaded at once, `rows` being the examples of each, None for all."""

    steps: int
    tables: list[Array]
    rows: Array | None


@dataclass(frozen=True)
class Steps:
    """Steps of a training as the turns of a loop: settings alone, as in `Rule`.

    The carry is theta, the state, and the slots of these names. A row is the index of the step, the numbers of its
    update, which have these names, and the rows of its batch: one number if they follow one another, none for all.
    """

    rule: Rule
    slots: tuple[str, ...]
    numbers: tuple[str, ...]
    batch_size: int | None
    """None if each step takes all examples."""
    keep_outputs: bool
    by_parameter: bool
    """Whether each parameter is an array of its own: no step cuts theta, or joins the gradients."""

    def key(self) -> Hashable | None:
        """The key of the compiled loop; None if it cannot be kept."""
        return self.rule.key(*(getattr(self, each.name) for each in fields(self) if each.name != "rule"))

    def begin(self, carry: Sequence[Array], fixed: Any) -> tuple[Any, Any]:
        """theta, state and slots, and the data with the masks; divided if steps are by parameter."""
        (theta, state, *slots), (data, masks, words) = carry, fixed
        if not self.by_parameter:
            return (theta, state, dict(zip(self.slots, slots, strict=True))), fixed
        divided = self.rule.wiring.params.divided
        parts = divided(theta)
        own = [dict(zip(self.slots, each, strict=True)) for each in _transposed(map(divided, slots), len(parts))]
        every = ([None] * len(parts) if mask is None else divided(mask) for mask in masks)
        return (parts, state, own), (data, [Masks(*each) for each in _transposed(every, len(parts))], words)

    def turn(self, inside: Any, row: Sequence[Array], fixed: Any) -> tuple[Any, list[Array]]:
        """A step, and its results: the loss, with weights their sum, and the outputs if they are kept."""
        (data, masks, words), (index, numbers, *rows) = fixed, row
        x, target, weights = (None if each is None else pick(each, self._chosen(rows)) for each in data)
        by_name = {name: numbers[i] for i, name in enumerate(self.numbers)}
        take: Any = self.rule.step_by_parameter if self.by_parameter else self.rule.step
        *inside, loss, outputs = take(masks, *inside, x, target, weights, by_name, words, index)
        mass = [] if weights is None else [mass_of(weights)]
        return tuple(inside), [loss, *mass, *([outputs] if self.keep_outputs else [])]

    def end(self, inside: Any) -> list[Array]:
        """The carry."""
        theta, state, slots = inside
        if not self.by_parameter:
            return [theta, state, *(slots[name] for name in self.slots)]
        return [kernels.joined(*theta), state, *(kernels.joined(*(own[n] for own in slots)) for n in self.slots)]

    def _chosen(self, rows: list[Array]) -> Any:
        return in_a_batch(rows[0], self.batch_size) if rows else None


def _transposed(columns: Any, count: int) -> list[Any]:
    """One row for each of `count` entries of the columns, also if there are no columns."""
    given = list(columns)
    return list(zip(*given, strict=True)) if given else [()] * count


class Task(NamedTuple):
    """A training whose steps are to be recorded."""

    rule: Rule
    masks: Masks
    data: Data | Streamed
    words: tuple[Any, Any]
    """The key of the layers' draws."""
    batch_size: int | None
    """None if each step takes all examples."""
    shuffle: bool
    keep_outputs: bool
    joint: bool
    """Whether several batches form a step."""
    alone: bool
    """Whether each step is taken alone, because a callback looks at it, or X is read batch by batch."""


def recorded_steps(task: Task, at: TrainingState, engine: str, *, requested: bool) -> RecordedSteps | None:
    """The recorded steps; None if recording is not possible, with a warning if it was requested."""
    if task.joint:
        reason = "with accumulate, a step has several batches"
    elif task.alone:
        reason = "X is read batch by batch"
    else:
        try:
            return RecordedSteps(task, at)
        except NotRecorded as error:
            reason = str(error)
    if requested:
        warn_of(engine, reason)
    return None


def warn_of(engine: str, reason: str) -> None:
    """Warn that the layers compute, where recorded steps were requested."""
    warn(
        f"engine={engine!r} cannot record a step of this training ({reason}). The layers compute one by one "
        f"instead, with the same results. Pass engine='layers' to avoid this warning.",
    )


def steps_in(task: Task, at: TrainingState, size: int | None) -> Steps:
    """The steps of a task as turns, on batches of this size."""
    rule, kind = task.rule, loop_for(at.theta)
    divided = kind.by_parameter and rule.is_by_parameter and bool(rule.wiring.params.slots)
    return Steps(rule, tuple(at.slots), tuple(rule.numbers(0.1, 0)), size, task.keep_outputs, divided)


class Numbers:
    """The numbers of updates, in the order in which turns read them."""

    def __init__(self, rule: Rule) -> None:
        self.rule, self.names = rule, tuple(rule.numbers(0.1, 0))
        self.together = rows_of(self._counted_from_1) if is_ours(type(rule.optimizer)) else None

    def rows(self, rates: Sequence[float], first: int, length: int) -> Any:
        """A row for each rate, from step `first` on; perhaps more, but at most `length`.

        Raises
        ------
        NotRecorded
            If an optimizer of the user's returns other numbers in one step than in another, or not only numbers.
        """
        if self.together is not None:  # as many as the table has, so that a compiled step has one shape
            return self.together([*rates, *[rates[-1]] * (length - len(rates))], first + 1)
        return [self._of(rate, first + i) for i, rate in enumerate(rates)]

    def _counted_from_1(self, rate: Any, step: Any) -> dict[str, Any]:
        return self.rule.numbers(rate, step - 1)

    def _of(self, rate: float, index: int) -> list[float]:
        numbers = self.rule.numbers(rate, index)
        if set(numbers) != set(self.names):
            raise NotRecorded(f"the optimizer's numbers are {[*self.names]} in one step but {[*numbers]} in another")
        for name, number in numbers.items():
            if not isinstance(number, Real):
                raise NotRecorded(f"the optimizer's {name!r} is not a number: {number!r}")
        return [float(numbers[name]) for name in self.names]


class SingleSteps:
    """Steps that are taken one by one, each on a batch of its own, with the bits of a loop."""

    def __init__(self, task: Task, at: TrainingState) -> None:
        self.task, self.steps, self.numbers = task, steps_in(task, at, None), Numbers(task.rule)
        self.one = loop_for(at.theta).single(self.steps, self.steps.key())

    def step(self, at: TrainingState, batch: tuple[Any, ...], rate: float) -> tuple[TrainingState, Array, Any]:
        """The state after a step on the inputs, the target and the weights of a batch; its loss and outputs.

        Raises
        ------
        NotRecorded
            If a step cannot be a turn of a loop.
        """
        xp, device, dtype = namespace(at.theta), device_of(at.theta), at_least_float32(at.theta).dtype
        row = [
            xp.asarray(at.step, dtype=xp.int32, device=device),
            xp.asarray(self.numbers.rows([rate], at.step, 1)[0], dtype=dtype, device=device),
        ]
        names, fixed = self.steps.slots, (batch, self.task.masks, self.task.words)
        carry, (loss, *others) = self.one(carried(at, names), row, fixed)
        return after(at, names, carry, 1), loss, others[-1] if self.steps.keep_outputs else None


def single_steps(task: Task, at: TrainingState) -> SingleSteps | None:
    """Steps that are taken one by one; None if the layers' own are not other ones."""
    return None if task.joint or loop_for(at.theta).single is None else SingleSteps(task, at)


def carried(at: TrainingState, names: Sequence[str]) -> list[Array]:
    """The carry of a loop whose slots have these names."""
    return [at.theta, at.state, *(at.slots[name] for name in names)]


def after(at: TrainingState, names: Sequence[str], carry: Sequence[Array], count: int) -> TrainingState:
    """The state with this carry, after so many steps."""
    theta, state, *slots = carry
    return at._replace(theta=theta, state=state, slots=dict(zip(names, slots, strict=True)), step=at.step + count)


class RecordedSteps:
    """Steps on complete batches.

    Raises
    ------
    NotRecorded
        If a step cannot be recorded, or its result differs in any bit where recording keeps them all.
    """

    def __init__(self, task: Task, at: TrainingState) -> None:
        self.task, self.numbers, kind, rule = task, Numbers(task.rule), loop_for(at.theta), task.rule
        self.exact = kind.exact and rule.scaling is None and rule.optimizer.is_one_kernel
        data, size = task.data, task.batch_size
        self.length = 2 if size is None and task.keep_outputs else LENGTH
        if size is not None:
            self.length = max(2, min(LENGTH, data.examples // size))
        steps = steps_in(task, at, size)
        self.names = steps.slots
        fixed = (data.x, data.target, data.weights), task.masks, task.words
        example = [table[:2, ...] for table in self._tables(at, at.step, [0.1, 0.2], self._rows_of_two(at))]
        self.loop: Loop = kind(steps, carried(at, self.names), example, fixed, self.length, steps.key())

    def loads(self, at: TrainingState, rates: Sequence[float], rows: Array | None) -> list[Load]:
        """A step for each rate, on rows of shape (steps, batch), or from rows of shape (steps,) on, or on all."""
        parts = (slice(start, start + self.length) for start in range(0, len(rates), self.length))
        return [self._load(at, part, rates[part], None if rows is None else rows[part, ...]) for part in parts]

    def _load(self, at: TrainingState, part: slice, rates: Sequence[float], rows: Array | None) -> Load:
        return Load(len(rates), self._tables(at, at.step + part.start, rates, rows), rows)

    def take(self, at: TrainingState, load: Load) -> Iterator[int]:
        """Take these steps; pause after some, and return how many have been taken."""
        self.loop.load(carried(at, self.names), load.tables)
        count = 0
        while count < load.steps:
            count += self.loop.launch(load.steps - count)
            yield count

    def after(self, at: TrainingState) -> TrainingState:
        """The state after all steps that have been taken from `at` on; they are counted once."""
        count, self.loop.taken = self.loop.taken, 0
        return after(at, self.names, self.loop.carry, count) if count else at

    def taken(self, count: int) -> Taken:
        """The results of this many last steps."""
        losses, *others = self.loop.results(count)
        outputs = others.pop() if self.task.keep_outputs else None
        return Taken(losses, others[0] if others else None, outputs)

    def release(self) -> None:
        """Free the memory that the steps keep."""
        self.loop.release()

    def _rows_of_two(self, at: TrainingState) -> Array | None:
        """The rows of two batches, as an example."""
        data, size = self.task.data, self.task.batch_size
        if size is None:
            return None
        xp, device = namespace(at.theta), device_of(at.theta)
        if not self.task.shuffle:
            return xp.zeros(2, dtype=xp.int32, device=device)
        return xp.reshape(xp.arange(2 * size, device=device) % data.examples, (2, size))

    def _tables(self, at: TrainingState, first: int, rates: Sequence[float], rows: Array | None) -> list[Array]:
        """The data of each step: its index, the numbers of its update, and the rows of its batch."""
        xp, device = namespace(at.theta), device_of(at.theta)
        dtype = xp.float64 if self.exact else at_least_float32(at.theta).dtype
        return [
            xp.asarray(counted(first, self.length), dtype=xp.int32, device=device),
            xp.asarray(self.numbers.rows(rates, first, self.length), dtype=dtype, device=device),
            *([] if rows is None else [rows]),
        ]


def in_memory(inputs: Any) -> bool:
    """Whether all examples are there at once."""
    if isinstance(inputs, Named):
        return all(map(in_memory, inputs.inputs.values()))
    return isinstance(inputs, InMemory)
