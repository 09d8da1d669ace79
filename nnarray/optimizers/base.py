"""The base class of optimizers: a gradient goes through transforms, and then the rule takes the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from nnarray.arguments import explain_classes
from nnarray.backends import as_data, copy, dtype_name, namespace, same_place
from nnarray.checks import above_zero, in_range, numbers_of_python
from nnarray.functional.layout import Layout
from nnarray.kernels.engines import computing
from nnarray.kernels.rules import Update
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.names import shown
from nnarray.optimizers.groups import Group, groups_of, settings_in
from nnarray.optimizers.transforms import ClipNorm, ClipValue, Decay, DecoupledDecay, Freeze, Info, Slots, Transform
from nnarray.schedules import Schedule, nominal, schedule
from nnarray.typing import Array

IF_SET = {"shown": "if set"}
"""Metadata of a field that `repr` leaves out if it has its default value."""


class Minimiser:
    """What training needs to know of every optimizer."""

    weight_decay: float
    stepwise = True
    """Whether it takes steps on batches. If not, it takes all examples at once, and chooses its own steps."""
    decoupled = False
    """Whether weight decay is decoupled: it shrinks the weights directly, not through the gradient of a penalty."""

    @property
    def penalty(self) -> float:
        """The factor of sum of w^2 / 2 that it adds to the loss."""
        return 0.0 if self.decoupled else self.weight_decay


@dataclass(frozen=True, repr=False)
class Optimizer(Minimiser):
    """Settings of a rule theta <- theta - rate d(g). Its memory, the slots, is an argument and a result of each step.

    The gradient g goes through `transforms` first: freezing, clipping, weight decay.

    An optimizer of your own defines `apply`, and `slot_names` if it has slots. If it needs the position of each
    parameter in theta, it defines `apply_in` instead.

    Parameters
    ----------
    lr : float or Schedule
        The learning rate.
    weight_decay : float
        Adds `weight_decay * w` to the gradient of weights, not of biases: the gradient of an L2 penalty
        `weight_decay / 2 * sum of w^2`.
    clip_norm : float, optional
        The largest Euclidean norm of the gradient; a longer gradient is scaled down to it.
    clip_value : float, optional
        Each entry of the gradient is limited to -clip_value and clip_value, before `clip_norm`.
    groups : mapping of str to mapping, optional
        Other values of "lr" and "weight_decay" for some parameters. The keys are names of parameters or layers, or
        patterns, where `*` stands for any letters: `{"head": {"lr": 0.01}, "*.bias": {"weight_decay": 0.1}}`. With a
        schedule, the rate of a group keeps the ratio of its "lr" to the schedule's. The weight decay of a group does
        not apply to biases, unless its pattern fits only biases.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    lr: float | Schedule
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True, metadata=IF_SET)
    groups: Mapping[str, Mapping[str, float]] | tuple[Group, ...] = field(default=(), kw_only=True, metadata=IF_SET)

    slot_names = ()
    kernel: ClassVar[Update | None] = None
    """The rule, if it is an elementwise kernel of theta, the gradient and the slots; its settings are the fields."""

    def __post_init__(self) -> None:
        numbers_of_python(self)
        schedule(self.lr)
        in_range(self.weight_decay, "weight_decay", 0, math.inf)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                above_zero(getattr(self, name), name)
        object.__setattr__(self, "groups", groups_of(self.groups))  # a tuple: a frozen dataclass must hash
        if any(each.lr is not None for each in self._groups):
            nominal(self.lr)

    @property
    def _groups(self) -> tuple[Group, ...]:
        return groups_of(self.groups)

    def __repr__(self) -> str:
        own = [each for each in fields(self) if each.repr]
        shown = [each for each in own if not each.metadata or getattr(self, each.name) != each.default]
        return f"{type(self).__name__}({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in shown)})"

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transforms of the gradient before the rule, in this order."""
        decay, unit = DecoupledDecay if self.decoupled else Decay, self.unit_of_decay
        return (
            Freeze(),
            *([] if self.clip_value is None else [ClipValue(self.clip_value)]),
            *([] if self.clip_norm is None else [ClipNorm(self.clip_norm)]),
            *([decay(unit)] if unit else []),
        )

    @property
    def unit_of_decay(self) -> float:
        """What `decays` counts in: the weight decay, or 1 if groups alone have one."""
        return self.weight_decay or float(any(each.weight_decay for each in self._groups))

    def decays(self, layout: Layout, theta: Array) -> Array | None:
        """How much weight decay shrinks each entry, in units of `unit_of_decay`; all alike if None.

        Raises
        ------
        ValueError
            If a pattern of `groups` fits nothing, or two patterns do not agree.
        """
        own, unit = settings_in(self._groups, layout, "weight_decay"), self.unit_of_decay
        if not unit:
            return None
        if not own:
            return layout.decays(theta)
        weights = {slot.name for slot in layout.slots if slot.param.decay}
        shrunk = dict.fromkeys(weights, self.weight_decay / unit)
        for group in self._groups:
            fitting = {slot.name for slot in layout.slots if group.fits(slot.path)}
            if group.weight_decay is not None:
                shrunk |= dict.fromkeys(fitting & weights or fitting, group.weight_decay / unit)
        return layout.spread(shrunk, 0.0, at_least_float32(theta))

    def rate_factors(self, layout: Layout, theta: Array) -> Array | None:
        """By what the rate is multiplied for each entry; None if all are alike."""
        own = settings_in(self._groups, layout, "lr")
        if not own:
            return None
        return layout.spread({name: lr / nominal(self.lr) for name, lr in own.items()}, 1.0, at_least_float32(theta))

    @property
    def is_one_kernel(self) -> bool:
        """Whether only its kernel uses the numbers of a step."""
        whole = type(self).apply is Optimizer.apply and type(self).apply_in is Optimizer.apply_in
        alone = not self.groups and not (self.decoupled and self.weight_decay)
        return whole and self.kernel is not None and alone

    @property
    def is_by_entry(self) -> bool:
        """Whether each entry of theta is updated on its own, so that parameters may be updated one by one."""
        methods = ("apply", "apply_in", "update", "transforms")
        whole = all(getattr(type(self), name) is getattr(Optimizer, name) for name in methods)
        return whole and self.kernel is not None and self.clip_norm is None

    @property
    def all_slot_names(self) -> tuple[str, ...]:
        """The names of the slots of the rule and of its transforms."""
        return (*self.slot_names, *(name for stage in self.transforms for name in stage.slot_names))

    def slots(self, theta: Array, layout: Layout | None = None) -> Slots:
        """The initial slots of the rule and of its transforms."""
        own: Slots = {name: namespace(theta).zeros_like(at_least_float32(theta)) for name in self.slot_names}
        for stage in self.transforms:
            own |= stage.init(layout, theta)
        return own

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        """The numbers that change from step to step (counted from 1), computed on the host.

        With precision "float16", `step` is an array of shape (), and so are numbers computed from it.
        """
        return {"rate": rate}

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        """The rule itself: by default, its `kernel`. May consume its array arguments."""
        if self.kernel is None:
            raise NotImplementedError(
                f"{type(self).__name__} needs a method apply(self, theta, gradient, slots, numbers), which returns "
                f"(theta, slots)."
            )
        settings = {name: getattr(self, name) for name in self.kernel.settings}
        found = self.kernel(theta, gradient, *(slots[name] for name in self.slot_names), **settings, **numbers)
        theta, *vectors = found if isinstance(found, tuple) else (found,)
        return theta, dict(zip(self.slot_names, vectors, strict=True))

    def apply_in(self, theta: Array, gradient: Array, slots: Slots, info: Info) -> tuple[Array, Slots]:
        """As `apply`, for a rule that needs the position of each parameter. May consume its array arguments."""
        return self.apply(theta, gradient, slots, info.numbers)

    def update(
        self,
        theta: Array,
        gradient: Array,
        slots: Slots,
        numbers: dict[str, Any],
        *,
        layout: Layout | None = None,
        decays: Array | None = None,
        frozen: Array | None = None,
        rate_factors: Array | None = None,
    ) -> tuple[Array, Slots]:
        """One step: the transforms of the gradient, then the rule. Consumes its array arguments.

        Parameters
        ----------
        theta, gradient : array, shape (size,)
        slots : dict of arrays, from `slots` or the step before
        numbers : dict, from `numbers`
        layout : Layout, optional
            The position of each parameter in theta; if None, theta is a single parameter.
        decays : array of 0 and 1, dtype of theta, shape (size,), optional
            How much weight decay applies to each entry; the same for all if None. With `groups`, from `decays`.
        frozen : array of bool, shape (size,), optional
            The entries that must not change; they stay bitwise equal.
        rate_factors : array, shape (size,), optional
            With `groups`, from `rate_factors`.
        """
        if rate_factors is not None:
            numbers = numbers | {"rate": numbers["rate"] * rate_factors}
        info, own = Info(numbers, layout, decays, frozen), dict(slots)
        kept: Slots = {}
        after, gradient = (
            at_least_float32(theta),
            at_least_float32(gradient),
        )  # squares of gradients overflow in half precision
        for stage in self.transforms:
            known: Slots = {name: own.pop(name) for name in stage.slot_names}
            gradient, after, known = stage.apply(gradient, after, known, info)
            kept |= known
        after, own = self._promised(self.apply_in(after, gradient, own, info))
        after = namespace(theta).astype(after, theta.dtype, copy=False)
        return after if frozen is None else namespace(theta).where(frozen, theta, after), kept | own

    def _promised(self, answer: Any) -> tuple[Array, Slots]:
        """The result of the rule, checked to be the new theta and a vector for each slot."""
        rule = f"{type(self).__name__}.apply must return (theta, slots), slots by name"
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], Mapping):
            raise TypeError(f"{rule}; got {shown(answer)}. Without slots: return theta, {{}}.")
        if set(answer[1]) != set(self.slot_names):
            raise ValueError(f"{rule}; got {list(answer[1])}, but slot_names is {self.slot_names!r}. Make them equal.")
        return answer

    def step(self, model: Any, gradient: Array, slots: Slots, step: Any, *, rate: Any = None) -> tuple[Array, Slots]:
        """One step in a training loop of your own: the new theta and slots, as in `Model.fit`. It changes nothing.

        Parameters
        ----------
        model : Model
            The step starts from its theta. Frozen parameters do not change, and weight decay leaves biases alone.
        gradient : array, shape (size,)
        slots : dict of arrays
            Those of `slots(model.theta)` in the first step, then those of the step before.
        step : int or array of an integer, shape ()
            The number of the step, counted from 0.
        rate : float, optional
            The learning rate; `lr` if None.

        Raises
        ------
        TypeError, ValueError
            If `lr` is a schedule and no rate is given, or the gradient does not fit the model.
        """
        if not hasattr(model, "wiring"):
            raise TypeError(
                f"a step needs a model; got {type(model).__name__}. Pass the model itself: "
                f"optimizer.step(model, gradient, slots, step)."
            )
        if rate is None:
            if isinstance(self.lr, Schedule):
                step_too = ", step=step" if self.lr.by_step else ""
                raise ValueError(f"lr is the schedule {self.lr!r}: pass rate=optimizer.lr(epoch{step_too}).")
            rate = self.lr
        if not isinstance(slots, Mapping) or set(slots) != set(self.all_slot_names):
            needed = ", ".join(self.all_slot_names) or "no entries"
            raise (ValueError if isinstance(slots, Mapping) else TypeError)(
                f"slots must be a dict with {needed}; got {shown(slots)}. Begin with slots = "
                f"optimizer.slots(model.theta), then pass those that the step before returned."
            )
        theta, layout = model.theta, model.wiring.params
        xp = same_place(model=theta, gradient=as_data(gradient, "gradient"))
        if gradient.shape != theta.shape or not xp.isdtype(gradient.dtype, "real floating"):
            raise ValueError(
                f"gradient must be real floating of shape {tuple(theta.shape)}, one entry per parameter; got dtype "
                f"{dtype_name(gradient.dtype)} and shape {tuple(gradient.shape)}. Take it from nn.training_step."
            )
        with computing(model.engine):
            return self.update(
                copy(theta),
                copy(gradient),
                {name: copy(slot) for name, slot in slots.items()},
                self.numbers(rate, step + 1),
                layout=layout,
                decays=self.decays(layout, theta),
                frozen=layout.frozen(model.frozen, theta),
                rate_factors=self.rate_factors(layout, theta),
            )


explain_classes(__name__)
