"""What is kept from one training to the next: parameters that fit another network, and the optimizer's memory."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

from nnarray.apps.playground.settings import TrainingSettings
from nnarray.backends import device_of, namespace
from nnarray.model import Model
from nnarray.typing import Array


def overlaid(new: Array, old: Array) -> Array:
    """The new array, with the entries of the old one where both have some; another number of axes has none."""
    if new.ndim != old.ndim or new.shape[:-2] != old.shape[:-2]:
        return new
    xp, columns = namespace(new), min(new.shape[-1], old.shape[-1])
    if new.ndim == 1:
        return xp.concat([xp.astype(old[:columns], new.dtype), new[columns:]], axis=0)
    rows = min(new.shape[-2], old.shape[-2])
    top = xp.concat([xp.astype(old[..., :rows, :columns], new.dtype), new[..., :rows, columns:]], axis=-1)
    return xp.concat([top, new[..., rows:, :]], axis=-2)


def keep(new: Model, old: Model) -> Model:
    """The new model, with the numbers of the old one where both have some, by the names of the layers."""
    numbers, before = new.state_dict(), old.state_dict()
    both = {name: overlaid(numbers[name], before[name]) for name in numbers if name in before}
    return new.load_state_dict(numbers | both)


def set_number(model: Model, name: str, index: tuple[int, ...], value: float) -> Model:
    """The model, with another number at an index of a parameter."""
    xp, array = namespace(model.theta), model.params[name]
    count = xp.arange(math.prod(array.shape), device=device_of(array))
    position = index[0] if len(index) == 1 else index[0] * array.shape[1] + index[1]
    return model.set_params({name: xp.where(xp.reshape(count, array.shape) == position, value, array)})


@dataclass(frozen=True)
class Remembered:
    """The memory of an optimizer after a training: its slots, of which parameters, and after how many steps."""

    optimizer: str
    layout: tuple[Any, ...]
    slots: dict[str, Array]
    steps: int

    @classmethod
    def of(cls, training: TrainingSettings, model: Model, slots: dict[str, Array], steps: int) -> Remembered:
        """The memory that a training of the model has left."""
        return cls(training.optimizer, _layout(model), slots, steps)

    def fits(self, training: TrainingSettings, model: Model, optimizer: Any) -> bool:
        """Whether another training of that model may begin with it: the same rule, parameters and slots."""
        alike = (self.optimizer, self.layout) == (training.optimizer, _layout(model))
        return alike and bool(self.slots) and {*optimizer.made.all_slot_names} == {*self.slots} and self.steps > 0


def _layout(model: Model) -> tuple[Any, ...]:
    """The dtype of the parameters, their names and shapes."""
    slots = model.wiring.params.slots
    return (model.theta.dtype, *((slot.name, slot.param.shape) for slot in slots))


def code() -> str:
    """The functions in the Python of a script."""
    written = "\n\n\n".join(inspect.getsource(each).rstrip() for each in (overlaid, keep, set_number))
    for typed in (": Array", ": Model", ": str", ": tuple[int, ...]", ": float", " -> Array", " -> Model"):
        written = written.replace(typed, "")
    return written.replace("namespace(", "nn.namespace(").replace("device_of(", "nn.device_of(")
