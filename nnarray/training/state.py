"""The state of a training: everything that is needed to continue it."""

from __future__ import annotations

from typing import NamedTuple

from nnarray.backends import Backend, copy, namespace
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.typing import Array

AVERAGE = "average"
"""The slot of the moving average of theta, if there is one."""


class TrainingState(NamedTuple):
    """A training between two steps; checkpoints, resuming and `partial_fit` store nothing else.

    Orders and draws are functions of the seed, the epoch and the step, so there is no generator to store.

    Attributes
    ----------
    theta, state : array
        The parameters, and the numbers that training updates without gradients.
    slots : dict of arrays
        The slots of the optimizer and its transforms, and the average of theta.
    step : int
        The number of steps taken.
    epoch : int
        The number of finished epochs, which used all examples: the next epoch starts at the beginning of its order.
    plain : bool
        Whether the layers' own steps are taken from now on, because prepared ones gave NaN.
    """

    theta: Array
    state: Array
    slots: dict[str, Array]
    step: int = 0
    epoch: int = 0
    plain: bool = False

    def copied(self, *, slots: bool = True) -> TrainingState:
        """A copy with its own arrays; the slots are copied only if `slots` is True."""
        kept = {name: copy(slot) for name, slot in self.slots.items()} if slots else self.slots
        return self._replace(theta=copy(self.theta), state=copy(self.state), slots=kept)

    def on(self, be: Backend, like: TrainingState) -> TrainingState:
        """A copy on a backend, with the dtypes of the arrays in `like`."""
        slots = {name: be.asarray(slot, dtype=like.slots[name].dtype) for name, slot in self.slots.items()}
        theta, state = (be.asarray(each, dtype=like.theta.dtype) for each in (self.theta, self.state))
        return self._replace(theta=theta, state=state, slots=slots).copied()

    @property
    def shown(self) -> tuple[Array, Array]:
        """The parameters and the state for the model: the average of theta, if there is one."""
        if AVERAGE not in self.slots:
            return self.theta, self.state
        return namespace(self.theta).astype(self.slots[AVERAGE], self.theta.dtype), self.state

    def from_here(self, theta: Array, state: Array) -> TrainingState:
        """The state with other parameters; the average starts again from them."""
        slots = self.slots | {AVERAGE: copy(at_least_float32(theta))} if AVERAGE in self.slots else self.slots
        return self._replace(theta=theta, state=state, slots=slots)
