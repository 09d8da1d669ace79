"""From settings to the objects of the library, each with the Python that makes an equal one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from nnarray.apps.playground import catalog
from nnarray.apps.playground.checking import Wrong
from nnarray.apps.playground.points import Examples
from nnarray.apps.playground.settings import LayerSettings, NetworkSettings, Settings, TrainingSettings
from nnarray.backends import copy, namespace
from nnarray.functional.layout import Layout
from nnarray.layers import Activation, BatchNorm, Conv2D, Dense, Dropout, GlobalAvgPool, MaxPool2D
from nnarray.network import Network
from nnarray.optimizers import OPTIMIZERS, Optimizer
from nnarray.optimizers.transforms import Info, Slots
from nnarray.schedules import Schedule
from nnarray.typing import Array

OUTPUT = "output"
SMALLEST = 4
"""Pixels along a side that are halved."""


@dataclass(frozen=True)
class Call:
    """A call of something of the library, by its name there."""

    function: Any
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict[str, Any])
    name: str = ""
    """How Python writes the function, if not as `nn.` and its own name."""

    @property
    def made(self) -> Any:
        """What it returns."""
        return self.function(*map(_made, self.positional), **{name: _made(each) for name, each in self.named.items()})

    @property
    def code(self) -> str:
        """The call in Python."""
        arguments = [*map(_code, self.positional), *(f"{name}={_code(each)}" for name, each in self.named.items())]
        return f"{self.name or f'nn.{self.function.__name__}'}({', '.join(arguments)})"


def _made(value: Any) -> Any:
    return value.made if isinstance(value, Call | Name) else value


def _code(value: Any) -> str:
    return value.code if isinstance(value, Call | Name) else repr(value)


# --- The network -----------------------------------------------------------------------------------------------------


def network_call(settings: NetworkSettings, outputs: int, shape: tuple[int, ...]) -> Call:
    """The network with this many outputs, for examples of this shape: of dense layers, or for images of filters.

    Layers have names, so that their weights are found again. After filters, the largest of each two by two outputs is
    kept, as long as there are four; at the end the mean of each filter. So no weight depends on the size of the images.
    """
    init: dict[str, Any] = {} if settings.init == catalog.AUTO else {"init": settings.init}
    layers: list[Call] = []
    side = shape[0] if len(shape) == 3 else 0
    for name, each in zip(hidden_names(settings), settings.layers, strict=True):
        layers += _hidden(each, name, init, is_of_filters=side > 0)
        if side >= SMALLEST:
            layers.append(Call(MaxPool2D, (2,), {"name": f"{name}_pool"}))
            side //= 2
    if side:
        layers.append(Call(GlobalAvgPool, (), {"name": "mean"}))
    return Call(Network, (*layers, Call(Dense, (outputs,), {**init, "name": OUTPUT})))


def _hidden(each: LayerSettings, name: str, init: dict[str, Any], *, is_of_filters: bool) -> list[Call]:
    """A hidden layer, with what belongs to it."""
    activation = "identity" if each.batch_norm else each.activation
    if is_of_filters:
        named = {"padding": "same", "activation": activation, **init, "name": name}
        layers = [Call(Conv2D, (each.units, each.kernel), named)]
    else:
        positional = (each.units,) if each.batch_norm else (each.units, activation)
        layers = [Call(Dense, positional, {**init, "name": name})]
    if each.batch_norm:
        layers.append(Call(BatchNorm, (), {"name": f"{name}_norm"}))
        layers.append(Call(Activation, (each.activation,), {"name": f"{name}_activation"}))
    if each.dropout:
        layers.append(Call(Dropout, (each.dropout,), {"name": f"{name}_dropout"}))
    return layers


def hidden_names(settings: NetworkSettings) -> list[str]:
    """The names of the hidden layers."""
    return [f"hidden{i + 1}" for i in range(len(settings.layers))]


def shown_paths(settings: NetworkSettings) -> dict[str, str]:
    """For each layer that is shown, the path of the one that gives its outputs."""
    layers = zip(hidden_names(settings), settings.layers, strict=True)
    return {name: f"{name}_activation" if each.batch_norm else name for name, each in layers} | {OUTPUT: OUTPUT}


# --- The loss --------------------------------------------------------------------------------------------------------


def loss_for(settings: TrainingSettings, examples: Examples) -> str:
    """The name of the loss.

    Raises
    ------
    Wrong
        If it does not fit the task.
    """
    usual = {catalog.CLASSES: "cross_entropy", catalog.VALUES: "mse"}[examples.task]
    chosen = usual if settings.loss == catalog.AUTO else settings.loss
    if chosen not in catalog.BY_TASK[examples.task]:
        names = ", ".join(catalog.BY_TASK[examples.task])
        raise Wrong(f"must be one of {names} for data with {examples.task}; got {chosen!r}.", "training.loss")
    if is_of_one_output(chosen) and len(examples.classes) != 2:
        raise Wrong(f"{chosen!r} is for two classes; here are {len(examples.classes)}.", "training.loss")
    return chosen


def with_a_loss(settings: Settings, examples: Examples) -> Settings:
    """The settings; for examples that their loss does not fit, with the usual loss."""
    try:
        loss_for(settings.training, examples)
    except Wrong:
        return settings.changed({"training": {"loss": catalog.AUTO}})
    return settings


def is_of_one_output(loss: str) -> bool:
    """Whether two classes are one output, and labels a column."""
    return loss == "binary_cross_entropy"


def outputs_for(loss: str, examples: Examples) -> int:
    """The number of outputs of the network."""
    return 1 if is_of_one_output(loss) else max(len(examples.classes), 1)


# --- The optimizer ---------------------------------------------------------------------------------------------------


class L1:
    """The gradient of l1 times the sum of |w| over the weights, added to that of an optimizer."""

    l1: float

    def decays(self, layout: Layout, theta: Array) -> Array | None:
        """1 for weights, 0 for biases."""
        own = super().decays(layout, theta)  # type: ignore[misc]
        return layout.decays(theta) if own is None else own

    def apply_in(self, theta: Array, gradient: Array, slots: Slots, info: Info) -> tuple[Array, Slots]:
        """The optimizer's own step."""
        weights = 1.0 if info.decays is None else namespace(theta).astype(info.decays > 0.0, theta.dtype)
        penalty = self.l1 * weights * namespace(theta).sign(theta)
        return super().apply_in(theta, gradient + penalty, slots, info)  # type: ignore[misc]


@cache
def with_l1(kind: type[Optimizer]) -> type[Optimizer]:
    """The optimizer with an L1 penalty, its last setting."""
    body = {"__annotations__": {"l1": "float"}, "l1": field(default=0.0, kw_only=True)}
    made: Any = type("WithL1", (L1, kind), body)
    return dataclass(frozen=True, repr=False)(made)


L1_CODE = '''
@dataclass(frozen=True, repr=False)
class WithL1({kind}):
    """The gradient of l1 times the sum of |w| over the weights, added to that of {kind}."""

    l1: float = field(default=0.0, kw_only=True)

    def decays(self, layout, theta):
        own = super().decays(layout, theta)
        return layout.decays(theta) if own is None else own

    def apply_in(self, theta, gradient, slots, info):
        xp = nn.namespace(theta)
        weights = 1.0 if info.decays is None else xp.astype(info.decays > 0.0, theta.dtype)
        return super().apply_in(theta, gradient + self.l1 * weights * xp.sign(theta), slots, info)
'''


class Memory:
    """An optimizer that begins with the memory of an earlier training, and counts its steps."""

    memory: Mapping[str, Array]
    steps: int

    def slots(self, theta: Array, layout: Layout | None = None) -> Slots:
        """Copies of those of the earlier training."""
        own: Slots = super().slots(theta, layout)  # type: ignore[misc]
        return own | {name: copy(slot) for name, slot in self.memory.items()}

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        """Those of a step that is counted from the first one of all."""
        return super().numbers(rate, self.steps + step)  # type: ignore[misc]


@cache
def with_memory(kind: type[Optimizer]) -> type[Optimizer]:
    """The optimizer with a memory to begin with, its last settings."""
    memory = field(default_factory=dict[str, Array], kw_only=True, repr=False, compare=False)
    body = {
        "__annotations__": {"memory": "Mapping[str, Array]", "steps": "int"},
        "memory": memory,
        "steps": field(default=0, kw_only=True),
    }
    made: Any = type("WithMemory", (Memory, kind), body)
    return dataclass(frozen=True, repr=False)(made)


REMEMBER_CODE = '''
memory = {}


def remember(run):
    """Keep the optimizer's memory for the next training."""
    if run.epoch == run.epochs:
        memory.update(run.memory)
'''

MEMORY_CODE = '''
@dataclass(frozen=True, repr=False)
class WithMemory({kind}):
    """{kind} that begins with the memory of an earlier training, and counts its steps."""

    memory: dict = field(default_factory=dict, kw_only=True, repr=False, compare=False)
    steps: int = field(default=0, kw_only=True)

    def slots(self, theta, layout=None):
        own = {{name: xp.asarray(slot, copy=True) for name, slot in self.memory.items()}}
        return super().slots(theta, layout) | own

    def numbers(self, rate, step):
        return super().numbers(rate, self.steps + step)
'''


@dataclass(frozen=True)
class Name:
    """A name in Python, and what it stands for here."""

    code: str
    made: Any


def remembering(call: Call, memory: Any, steps: int) -> Call:
    """The call of an optimizer, which begins with a memory after so many steps."""
    own = {"memory": Name("memory", memory), "steps": steps}
    return Call(with_memory(call.function), (), {**call.named, **own}, name="WithMemory")


def optimizer_call(settings: TrainingSettings, lr: Any = None) -> Call:
    """The optimizer; `lr` takes the place of its learning rate."""
    kind = OPTIMIZERS[settings.optimizer]
    options = whole_numbers(settings.options, catalog.STEPPERS[settings.optimizer])
    rate = options.pop("lr", catalog.STEPPERS[settings.optimizer]["lr"])
    named = {"lr": _schedule(settings, rate) if lr is None else lr, **options, "weight_decay": settings.l2}
    if settings.l1:
        return Call(with_l1(kind), (), named | {"l1": settings.l1}, name="WithL1")  # type: ignore[arg-type]
    return Call(kind, (), named)


def rate_of(settings: TrainingSettings) -> float:
    """The learning rate that is set."""
    return float(settings.options.get("lr", catalog.STEPPERS[settings.optimizer]["lr"]))


def _schedule(settings: TrainingSettings, rate: float) -> Any:
    if settings.schedule == "constant":
        return rate
    kind, usual = catalog.RATES[settings.schedule], catalog.SCHEDULES[settings.schedule]
    options = whole_numbers(usual | dict(settings.schedule_options), usual)
    start = {"then": rate} if settings.schedule == "warm_up" else {"lr": rate}
    return Call(kind, (), {**start, **options}, name=f"nn.schedules.{kind.__name__}")


def whole_numbers(options: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Options in the type of their default values, because JSON has one kind of numbers."""
    return {
        name: int(value) if type(usual.get(name)) is int and isinstance(value, float) and value.is_integer() else value
        for name, value in options.items()
    }


@dataclass(frozen=True)
class Rates(Schedule):
    """Learning rates that were set by hand, each with the epoch from which it holds."""

    changes: tuple[tuple[int, float], ...]

    def rate(self, epoch: int, losses: Any) -> float:
        """The last one that was set."""
        return [rate for begin, rate in self.changes if begin <= epoch][-1]


RATES_CODE = '''
@dataclass(frozen=True)
class Rates(nn.schedules.Schedule):
    """Learning rates that were set by hand, each with the epoch from which it holds."""

    changes: tuple

    def rate(self, epoch, losses):
        return [rate for begin, rate in self.changes if begin <= epoch][-1]
'''


def checked_optimizer(settings: TrainingSettings) -> Call:
    """The optimizer, whose numbers the library has checked.

    Raises
    ------
    Wrong
        If one is out of range.
    """
    call = optimizer_call(settings)
    try:
        _ = call.made
    except (ValueError, TypeError) as error:
        raise Wrong(f"are refused: {error}", "training.options") from None
    return call
