"""The state of a training: all that it needs to go on, whoever takes the next step."""

from __future__ import annotations

from typing import NamedTuple

from nnarray.backends import Backend, copy, namespace
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.typing import Array

AVERAGE = "average"
"""The slot of the moving average of theta, if there is one."""


class TrainingState(NamedTuple):
    """A training between two steps; checkpoints, resuming and `partial_fit` keep nothing else.

    Orders and draws are functions of the seed, the epoch and the step, so that there is no generator to keep.

    Attributes
    ----------
    theta, state : array
        The parameters, and what training changes but gradients do not.
    slots : dict of arrays
        What the optimizer and its transforms remember, and the average of theta.
    step : int
        How many steps are taken.
    epoch : int
        How many epochs are finished, all of whose examples were met: the next one begins its order at the start.
    plain : bool
        Whether the layers' own steps are taken from here on, because prepared ones gave NaN.
    """

    theta: Array
    state: Array
    slots: dict[str, Array]
    step: int = 0
    epoch: int = 0
    plain: bool = False

    def copied(self, *, slots: bool = True) -> TrainingState:
        """With arrays of its own; those of the optimizer's memory only if `slots`."""
        kept = {name: copy(slot) for name, slot in self.slots.items()} if slots else self.slots
        return self._replace(theta=copy(self.theta), state=copy(self.state), slots=kept)

    def on(self, be: Backend, like: TrainingState) -> TrainingState:
        """In arrays of a backend, its own, that have the dtypes of those in `like`."""
        slots = {name: be.asarray(slot, dtype=like.slots[name].dtype) for name, slot in self.slots.items()}
        theta, state = (be.asarray(each, dtype=like.theta.dtype) for each in (self.theta, self.state))
        return self._replace(theta=theta, state=state, slots=slots).copied()

    @property
    def shown(self) -> tuple[Array, Array]:
        """The parameters and the state that the model gets: the average of theta, if there is one."""
        if AVERAGE not in self.slots:
            return self.theta, self.state
        return namespace(self.theta).astype(self.slots[AVERAGE], self.theta.dtype), self.state

    def from_here(self, theta: Array, state: Array) -> TrainingState:
        """With other numbers to go on from; the average begins anew with them."""
        slots = self.slots | {AVERAGE: copy(at_least_float32(theta))} if AVERAGE in self.slots else self.slots
        return self._replace(theta=theta, state=state, slots=slots)
