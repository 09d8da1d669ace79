"""Optimizers with a step length for each entry, from the size of its gradients so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nnarray import kernels
from nnarray.optimizers.base import Optimizer, Slots, above_zero, in_range
from nnarray.schedules import Schedule
from nnarray.typing import Array


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  theta <- theta - lr m' / (sqrt(v') + epsilon).

    m' = m / (1 - b1^t), v' = v / (1 - b2^t) in step t, counted from 1.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization. ICLR.
    """

    lr: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    slot_names = ("mean", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.beta1, "beta1", low=0.0, high=1.0)
        in_range(self.beta2, "beta2", low=0.0, high=1.0)
        above_zero(self.epsilon, "epsilon")

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return {
            "rate": rate,
            "correction1": 1.0 - self.beta1**step,
            "correction2": 1.0 - self.beta2**step,
        }

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        theta, mean, square = kernels.adam_update(
            theta,
            gradient,
            slots["mean"],
            slots["square"],
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            **numbers,
        )
        return theta, {"mean": mean, "square": square}


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay: theta <- (1 - lr weight_decay) theta before the step, weights only.

    References
    ----------
    .. [1] Loshchilov & Hutter (2019), Decoupled weight decay regularization. ICLR.
    """

    weight_decay: float = field(default=0.01, kw_only=True)

    decoupled = True


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

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.decay, "decay", low=0.0, high=1.0)
        above_zero(self.epsilon, "epsilon")

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        theta, square = kernels.rmsprop_update(
            theta, gradient, slots["square"], decay=self.decay, epsilon=self.epsilon, **numbers
        )
        return theta, {"square": square}


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

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self.epsilon, "epsilon")

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        theta, square = kernels.adagrad_update(theta, gradient, slots["square"], epsilon=self.epsilon, **numbers)
        return theta, {"square": square}
