"""The state of a training: all that it needs to go on, whoever takes the next step."""

from __future__ import annotations

from typing import NamedTuple

from nnarray.backends import copy
from nnarray.typing import Array


class TrainingState(NamedTuple):
    """A training between two steps; checkpoints, resuming and `partial_fit` keep nothing else.

    Orders and draws are functions of the seed, the epoch and the step, so that there is no generator to keep.

    Attributes
    ----------
    theta, state : array
        The parameters, and what training changes but gradients do not.
    slots : dict of arrays
        What the optimizer and its transforms remember.
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
