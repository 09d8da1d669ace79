"""The layers' own steps as turns of a recorded loop: one call launches all operations of a step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

from nnarray.backends import copy, device_of, namespace
from nnarray.kernels.engines import GRAPH
from nnarray.kernels.loops import Loop, NotRecorded, recorded
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.training.data import Data, mass_of
from nnarray.training.inputs import InMemory, Named
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


@dataclass
class Step:
    """A step of a training as a function of arrays only.

    Attributes
    ----------
    update : function
        (theta, state, slots, x, target, weights, numbers, words, index) -> (theta, state, slots, loss, outputs).
    numbers : function
        (rate, index) -> the numbers of an update, by name.
    data : Data
    words : tuple
        The key of the layers' draws.
    batch_size : int, optional
        None if each step takes all examples.
    keep_outputs : bool
    joint : bool
        Whether several batches form a step.
    exact : bool
        Whether the update takes its numbers in float64, like Python's; otherwise they must not widen theta.
    """

    update: Callable[..., tuple[Any, ...]]
    numbers: Callable[[float, int], dict[str, Any]]
    data: Data | Streamed
    words: tuple[Any, Any]
    batch_size: int | None
    keep_outputs: bool
    joint: bool
    exact: bool


def recorded_steps(step: Step, at: TrainingState) -> RecordedSteps | None:
    """The recorded steps; None, with a warning, if recording is not possible."""
    if step.joint:
        reason = "with accumulate, a step has several batches"
    elif not _in_memory(step.data.inputs):
        reason = "X is read batch by batch"
    else:
        try:
            return RecordedSteps(step, at)
        except NotRecorded as error:
            reason = str(error)
    warnings.warn(
        f"engine={GRAPH!r} cannot record a step of this training ({reason}). The layers compute one by one instead, "
        f"with the same results. Pass engine='layers' to avoid this warning.",
        RuntimeWarning,
        stacklevel=11,  # the caller of fit
    )
    return None


class RecordedSteps:
    """Steps on complete batches; parameters, state and slots are written in place.

    Raises
    ------
    NotRecorded
        If a step cannot be recorded, or its result differs in any bit.
    """

    def __init__(self, step: Step, at: TrainingState) -> None:
        self.step, self.names, self.numbers = step, tuple(at.slots), tuple(step.numbers(0.0, 0))
        xp, size = namespace(at.theta), step.batch_size
        rows = None if size is None else xp.arange(2 * size, device=device_of(at.theta))
        rows = rows if rows is None else xp.reshape(rows % step.data.examples, (2, size))
        self.length = _length(step)
        self.loop: Loop = recorded(self._turn, self._carry(at), self._tables(at, [0.1, 0.2], rows), self.length)

    def parts(self, count: int) -> Iterator[slice]:
        """Parts of this many steps, each taken at once."""
        return (slice(start, min(start + self.length, count)) for start in range(0, count, self.length))

    def take(self, at: TrainingState, rates: Sequence[float], rows: Array | None) -> Iterator[TrainingState]:
        """Take a step for each rate, on rows of shape (steps, batch), or on all examples if None; return each state.

        There are at most `length` steps.
        """
        self.loop.load(self._carry(at), self._tables(at, rates, rows))
        theta, state, *slots = self.loop.carry
        by_name = dict(zip(self.names, slots, strict=True))
        for step in range(at.step + 1, at.step + 1 + len(rates)):
            self.loop.launch()
            yield at._replace(theta=theta, state=state, slots=by_name, step=step)

    def taken(self, count: int) -> Taken:
        """The results of this many last steps."""
        losses, *others = (copy(each[:count, ...]) for each in self.loop.outputs)
        outputs = others.pop() if self.step.keep_outputs else None
        return Taken(losses, others[0] if others else None, outputs)

    def release(self) -> None:
        """Free the memory that the steps keep."""
        self.loop.release()

    def _carry(self, at: TrainingState) -> list[Array]:
        return [at.theta, at.state, *(at.slots[name] for name in self.names)]

    def _tables(self, at: TrainingState, rates: Sequence[float], rows: Array | None) -> list[Array]:
        """The data of each step: its index, the numbers of its update, and the rows of its batch."""
        xp, device = namespace(at.theta), device_of(at.theta)
        numbers = [self._numbers(rate, at.step + i) for i, rate in enumerate(rates)]
        dtype = xp.float64 if self.step.exact else at_least_float32(at.theta).dtype
        return [
            xp.arange(at.step, at.step + len(rates), dtype=xp.int32, device=device),
            xp.asarray(numbers, dtype=dtype, device=device),
            *([] if rows is None else [rows]),
        ]

    def _numbers(self, rate: float, index: int) -> list[float]:
        """The numbers of an update, in the order in which the recorded step reads them."""
        numbers = self.step.numbers(rate, index)
        if set(numbers) != set(self.numbers):
            raise NotRecorded(f"the optimizer's numbers are {[*self.numbers]} in one step but {[*numbers]} in another")
        for name, number in numbers.items():
            if not isinstance(number, Real):
                raise NotRecorded(f"the optimizer's {name!r} is not a number: {number!r}")
        return [numbers[name] for name in self.numbers]

    def _turn(self, carry: Sequence[Array], row: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        (theta, state, *slots), (index, numbers, *rows), step = carry, row, self.step
        batch = step.data.batch(rows[0] if rows else None)
        by_name = {name: numbers[i] for i, name in enumerate(self.numbers)}
        before = dict(zip(self.names, slots, strict=True))
        theta, state, after, loss, outputs = step.update(theta, state, before, *batch, by_name, step.words, index)
        mass = [] if batch[2] is None else [mass_of(batch[2])]
        kept = [outputs] if step.keep_outputs else []
        return [theta, state, *(after[name] for name in self.names)], [loss, *mass, *kept]


def _length(step: Step) -> int:
    """The number of steps loaded at once: at most those of an epoch, if outputs are kept."""
    if step.batch_size is None:
        return 2 if step.keep_outputs else LENGTH
    return max(2, min(LENGTH, step.data.examples // step.batch_size))


def _in_memory(inputs: Any) -> bool:
    if isinstance(inputs, Named):
        return all(map(_in_memory, inputs.inputs.values()))
    return isinstance(inputs, InMemory)
