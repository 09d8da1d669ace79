"""Transforms: what a gradient goes through before an optimizer's rule takes its step."""

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
    """What is known of a step besides its gradient.

    Attributes
    ----------
    numbers : dict
        What changes from step to step, from the optimizer's `numbers`; "rate" is the learning rate.
    layout : Layout, optional
        Where each parameter lies in theta.
    decays : array, optional
        How much weight decay shrinks each entry, 0 or 1 but for groups; all alike if None.
    frozen : array of bool, optional
        Which entries stay as they are; none if None.
    """

    numbers: dict[str, Any]
    layout: Layout | None = None
    decays: Array | None = None
    frozen: Array | None = None


@dataclass(frozen=True)
class Transform:
    """Settings of one stage between the gradient and the update; its memory goes in and comes out.

    One of your own defines `apply`, and `slot_names` if it remembers vectors.
    """

    slot_names = ()

    def init(self, layout: Layout | None, theta: Array) -> Slots:
        """What it remembers, at its start: a vector of zeros for each of `slot_names`."""
        return {name: namespace(theta).zeros_like(at_least_float32(theta)) for name in self.slot_names}

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        """The gradient and the theta that the next stage sees, and what is to be remembered. Writes into nothing."""
        raise NotImplementedError


@dataclass(frozen=True)
class Freeze(Transform):
    """Frozen entries count as 0, so that no later stage notices them; `Optimizer.update` puts them back."""

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        if info.frozen is None:
            return gradient, theta, slots
        xp = namespace(theta)
        return xp.where(info.frozen, 0.0, gradient), xp.where(info.frozen, 0.0, theta), slots


@dataclass(frozen=True)
class ClipNorm(Transform):
    """g <- g min(1, norm / |g|), with the Euclidean norm; infinity and NaN stay, so that they are seen."""

    norm: float

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.norm, "ClipNorm norm")

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        return (kernels.shortened(gradient, norm=self.norm) if gradient.shape[0] else gradient), theta, slots


@dataclass(frozen=True)
class ClipValue(Transform):
    """g <- min(max(g, -limit), limit), entry by entry; infinity and NaN stay, so that they are seen."""

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
    """Coupled weight decay, through the gradient: g <- g + decay w, of weights only."""

    decay: float

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.decay, "decay", or_zero=True)

    def apply(self, gradient: Array, theta: Array, slots: Slots, info: Info) -> tuple[Array, Array, Slots]:
        return kernels.decayed(gradient, theta, info.decays, decay=self.decay), theta, slots


@dataclass(frozen=True)
class DecoupledDecay(Transform):
    """Weight decay beside the gradient: w <- (1 - rate decay) w, of weights only.

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
        shrink = factor * theta if info.decays is None else theta * (factor * info.decays)
        return gradient, theta - shrink, slots


@dataclass(frozen=True)
class LossScale(Transform):
    """g <- g / scale, where the loss was multiplied by the scale so that small gradients do not vanish in float16.

    The scale begins at `start`. It is halved when a gradient is not finite, and doubled after every `patience` good
    ones in a row. A gradient that is not finite becomes 0; whoever takes the step leaves it out, see `is_good`.

    References
    ----------
    .. [1] Micikevicius et al. (2018), Mixed precision training. ICLR, section 3.2.
    """

    start: float = 2.0**16
    patience: int = 2000

    slot_names = ("loss_scale", "good_steps", "taken_steps")
    """The scale, and how many steps are good since the last one that was not, and in all; each of shape ()."""
    most = 2.0**32
    least = 2.0**-14

    def __post_init__(self) -> None:
        numbers_of_python(self)
        above_zero(self.start, "LossScale start")
        integer(self.patience, "LossScale patience", 1, usual=2000)

    def init(self, layout: Layout | None, theta: Array) -> Slots:
        """The scale at its start, and no steps."""
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
        """Whether no scale has helped. Waits for the device."""
        return bool(slots["loss_scale"] < self.least)
