"""Optimizers with a step length for each entry, which follows from the size of its gradients so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of, namespace
from nnarray.checks import above_zero, in_range
from nnarray.functional.layout import Layout
from nnarray.kernels.rules import Update
from nnarray.optimizers.base import IF_SET, Optimizer, Slots
from nnarray.schedules import Schedule
from nnarray.typing import Array


@dataclass(frozen=True, repr=False)
class Moments(Optimizer):
    """The base of Adam and its variants: running means of g and of its square, corrected for their start at 0."""

    lr: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    slot_names = ("mean", "square")
    kernel = kernels.adam_update

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.beta1, "beta1", 0, 1)
        in_range(self.beta2, "beta2", 0, 1)
        above_zero(self.epsilon, "epsilon")

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return {
            "rate": rate,
            "correction1": 1.0 - self.beta1**step,
            "correction2": 1.0 - self.beta2**step,
        }


@dataclass(frozen=True, repr=False)
class Adam(Moments):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  theta <- theta - lr m' / (sqrt(v') + epsilon).

    m' = m / (1 - b1^t), v' = v / (1 - b2^t) in step t, counted from 1.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.
    amsgrad : bool
        Whether the largest v so far is used instead of v [2]_.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization. ICLR.
    .. [2] Reddi, Kale & Kumar (2018), On the convergence of Adam and beyond. ICLR.
    """

    amsgrad: bool = field(default=False, kw_only=True, metadata=IF_SET)

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mean", "square", "largest") if self.amsgrad else ("mean", "square")

    @property
    def kernel(self) -> Update:  # type: ignore[override]
        return kernels.amsgrad_update if self.amsgrad else kernels.adam_update


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay: theta <- (1 - lr weight_decay) theta before the step, weights only.

    Biases, and the scale and shift of normalisation layers, do not decay. `groups` may set another decay for them.

    References
    ----------
    .. [1] Loshchilov & Hutter (2019), Decoupled weight decay regularization. ICLR.
    """

    weight_decay: float = field(default=0.01, kw_only=True)

    decoupled = True


@dataclass(frozen=True, repr=False)
class NAdam(Moments):
    """Adam with Nesterov's look ahead: theta <- theta - lr ((1 - mu_t) g / (1 - M_t) + mu_t+1 m / (1 - M_t+1)) / root.

    mu_t = b1 (1 - 0.96^(t momentum_decay) / 2), M_t = mu_1 ... mu_t, root = sqrt(v') + epsilon.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.
    momentum_decay : float
        How fast the momentum grows from half of `beta1` to `beta1`.

    References
    ----------
    .. [1] Dozat (2016), Incorporating Nesterov momentum into Adam. ICLR workshop.
    """

    lr: float | Schedule = 2e-3
    momentum_decay: float = field(default=4e-3, kw_only=True)

    slot_names = ("mean", "square", "momenta")

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.momentum_decay, "momentum_decay", 0, math.inf)

    def slots(self, theta: Array, layout: Layout | None = None) -> Slots:
        every = super().slots(theta, layout)
        one = namespace(theta).ones((), dtype=every["mean"].dtype, device=device_of(theta))
        return every | {"momenta": one}  # their product so far

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        now, later = (self.beta1 * (1.0 - 0.5 * 0.96 ** (t * self.momentum_decay)) for t in (step, step + 1))
        return {"rate": rate, "correction2": 1.0 - self.beta2**step, "now": now, "later": later}

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        now, later, momenta = numbers["now"], numbers["later"], slots["momenta"] * numbers["now"]
        theta, mean, square = kernels.nadam_update(
            theta,
            gradient,
            slots["mean"],
            slots["square"],
            rate=numbers["rate"] * (1.0 - now) / (1.0 - momenta),
            mean_rate=numbers["rate"] * later / (1.0 - momenta * later),
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            correction2=numbers["correction2"],
        )
        return theta, {"mean": mean, "square": square, "momenta": momenta}


@dataclass(frozen=True, repr=False)
class RAdam(Moments):
    """Adam with short first steps, as v is unreliable after few gradients: no warm-up is needed.

    theta <- theta - lr m' r / (sqrt(v') + epsilon), with r from 0 to 1; theta <- theta - lr m' in the first few steps.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] Liu et al. (2020), On the variance of the adaptive learning rate and beyond. ICLR.
    """

    kernel = kernels.radam_update

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        limit = max(2.0 / (1.0 - self.beta2) - 1.0, 5.0)
        decayed, kept = self.beta2**step, 1.0 - self.beta2**step
        length = 2.0 / (1.0 - self.beta2) - 1.0 - 2.0 * step * decayed / kept
        usual = {"rate": rate, "correction1": 1.0 - self.beta1**step}
        if length <= 5.0:
            return usual | {"trust": 0.0, "plain": 1.0}
        share = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length)
        return usual | {"trust": math.sqrt(share * kept), "plain": 0.0}


@dataclass(frozen=True, repr=False)
class Adamax(Moments):
    """m <- b1 m + (1 - b1) g;  u <- max(b2 u, abs(g) + epsilon);  theta <- theta - lr m' / u, m' = m / (1 - b1^t).

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization, section 7.1. ICLR.
    """

    lr: float | Schedule = 2e-3

    slot_names = ("mean", "largest")
    kernel = kernels.adamax_update

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return {"rate": rate, "correction1": 1.0 - self.beta1**step}


@dataclass(frozen=True, repr=False)
class RMSprop(Optimizer):
    """v <- a v + (1 - a) g^2;  theta <- theta - lr g / (sqrt(v) + epsilon).

    References
    ----------
    .. [1] Tieleman & Hinton (2012), Lecture 6.5, Neural Networks for Machine Learning.
    """

    lr: float | Schedule = 1e-2
    decay: float = 0.99
    epsilon: float = 1e-8

    slot_names = ("square",)
    kernel = kernels.rmsprop_update

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.decay, "decay", 0, 1)
        above_zero(self.epsilon, "epsilon")


@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    """s <- s + g^2;  theta <- theta - lr g / (sqrt(s) + epsilon).

    References
    ----------
    .. [1] Duchi, Hazan & Singer (2011), Adaptive subgradient methods. JMLR 12, 2121-2159.
    """

    lr: float | Schedule = 1e-2
    epsilon: float = 1e-10

    slot_names = ("square",)
    kernel = kernels.adagrad_update

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self.epsilon, "epsilon")


@dataclass(frozen=True, repr=False)
class Adadelta(Optimizer):
    """v <- a v + (1 - a) g^2;  d = sqrt(c + epsilon) / sqrt(v + epsilon) g;  c <- a c + (1 - a) d^2.

    theta <- theta - lr d: the length of a step follows from the steps before it.

    Parameters
    ----------
    lr : float or Schedule
    decay : float
        a, in [0, 1).
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] Zeiler (2012), ADADELTA: an adaptive learning rate method. arXiv:1212.5701.
    """

    lr: float | Schedule = 1.0
    decay: float = 0.9
    epsilon: float = 1e-6

    slot_names = ("square", "change")
    kernel = kernels.adadelta_update

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.decay, "decay", 0, 1)
        above_zero(self.epsilon, "epsilon")
