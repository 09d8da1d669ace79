"""Transforms: changes of the gradient before an optimizer's rule takes its step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from nnarray import kernels
from nnarray.backends import device_of, namespace
from nnarray.checks import above_zero, integer, numbers_of_python
from nnarray.functional.layout import Layout
from nnarray.kernels.standard.numerics import at_least_float32, at_least_float32_dtype, clamp
from nnarray.typing import Array

Slots = dict[str, Array]


class Info(NamedTuple):
    """The other data of a step, next to its gradient.

    Attributes
    ----------
    numbers : dict
        The numbers that change from step to step, from the optimizer's `numbers`; "rate" is the learning rate.
    layout : Layout, optional
        The position of each parameter in theta.
    decays : array, optional
        How much weight decay applies to each entry: 0 or 1, except for groups; the same for all if None.
    frozen : array of bool, optional
        The entries that must not change; none if None.
    """

    numbers: dict[str, Any]
    layout: Layout | None = None
    decays: Array | None = None
    frozen: Array | None = None


@dataclass(frozen=True)
class Transform:
    """Settings of one stage between the gradient and the update. Its slots are an argument and a result.

    A transform of your own defines `apply`, and `slot_names` if it has slots.
    """

    slot_names = ()

    def init(self, layout: Layout | None, theta: Array) -> Slots:
        """Its initial slots: a vector of zeros for each of `slot_names`."""
        return {name: namespace(theta).zeros_like(at_least_float32(theta)) for name in self.slot_names}

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        """The gradient and theta for the next stage, and the new slots. It writes into no argument."""
        raise NotImplementedError


@dataclass(frozen=True)
class Freeze(Transform):
    """Sets frozen entries to 0, so that they do not affect later stages; `Optimizer.update` restores them."""

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        if info.frozen is None:
            return gradient, theta, slots
        xp = namespace(theta)
        return xp.where(info.frozen, 0.0, gradient), xp.where(info.frozen, 0.0, theta), slots


@dataclass(frozen=True)
class ClipNorm(Transform):
    """g <- g min(1, norm / |g|), with the Euclidean norm; infinity and NaN are kept, so that they are detected."""

    norm: float

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.norm, "ClipNorm norm")

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        return (kernels.shortened(gradient, norm=self.norm) if gradient.shape[0] else gradient), theta, slots


@dataclass(frozen=True)
class ClipValue(Transform):
    """g <- min(max(g, -limit), limit), elementwise; infinity and NaN are kept, so that they are detected."""

    limit: float

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.limit, "ClipValue limit")

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        xp = namespace(gradient)
        clipped = clamp(gradient, -self.limit, self.limit)
        return xp.where(xp.isfinite(gradient), clipped, gradient), theta, slots


@dataclass(frozen=True)
class Decay(Transform):
    """Coupled weight decay, through the gradient: g <- g + decay w, for weights only."""

    decay: float

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.decay, "decay", or_zero=True)

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        return kernels.decayed(gradient, theta, info.decays, decay=self.decay), theta, slots


@dataclass(frozen=True)
class DecoupledDecay(Transform):
    """Decoupled weight decay: w <- (1 - rate decay) w, for weights only.

    References
    ----------
    .. [1] Loshchilov & Hutter (2019), Decoupled weight decay regularization. ICLR.
    """

    decay: float

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.decay, "decay", or_zero=True)

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        factor = info.numbers["rate"] * self.decay
        if info.decays is None:
            return gradient, theta - factor * theta, slots
        return gradient, kernels.shrunk(theta, info.decays, factor=factor), slots


@dataclass(frozen=True)
class LossScale(Transform):
    """g <- g / scale. The loss was multiplied by the scale, so that small gradients do not vanish in float16.

    The scale begins at `start`. It is halved when a gradient is not finite, and doubled after each `patience` finite
    gradients in a row. A gradient that is not finite becomes 0, and its step is left out, see `is_good`.

    References
    ----------
    .. [1] Micikevicius et al. (2018), Mixed precision training. ICLR, section 3.2.
    """

    start: float = 2.0**16
    patience: int = 2000

    slot_names = ("loss_scale", "good_steps", "taken_steps")
    """The scale, the number of good steps since the last bad one, and that of all good steps; each of shape ()."""
    most = 2.0**32
    least = 2.0**-14

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.start, "LossScale start")
        integer(self.patience, "LossScale patience", 1, usual=2000)

    def init(self, layout: Layout | None, theta: Array) -> Slots:
        """The initial scale, and no steps."""
        xp = namespace(theta)
        numbers = zip(self.slot_names, (self.start, 0.0, 0.0), strict=True)
        return {
            name: xp.full((), x, dtype=at_least_float32_dtype(xp, theta.dtype), device=device_of(theta))
            for name, x in numbers
        }

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        xp, scale = namespace(gradient), slots["loss_scale"]
        good = kernels.all_finite(gradient)
        in_a_row = xp.where(good, slots["good_steps"] + 1.0, 0.0)
        grown = xp.where(in_a_row % float(self.patience) == 0.0, xp.minimum(2.0 * scale, self.most), scale)
        found = {
            "loss_scale": xp.where(good, grown, 0.5 * scale),
            "good_steps": in_a_row,
            "taken_steps": xp.where(good, slots["taken_steps"] + 1.0, slots["taken_steps"]),
        }
        return xp.where(good, gradient / scale, 0.0), theta, found

    def is_good(self, slots: Slots) -> Array:
        """Whether the last gradient was finite, as an array: nothing waits for the device."""
        return slots["good_steps"] > 0.0

    def has_taken_none(self, slots: Slots) -> bool:
        """Whether all steps were left out. Waits for the device."""
        return bool(slots["taken_steps"] == 0.0)

    def is_lost(self, slots: Slots) -> bool:
        """Whether the scale has fallen without success. Waits for the device."""
        return bool(slots["loss_scale"] < self.least)
