"""Gradient descent: steps along the gradient, or along its running sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnarray import kernels
from nnarray.checks import in_range
from nnarray.kernels.standard.updates import Rule
from nnarray.optimizers.base import Optimizer, Slots
from nnarray.schedules import Schedule
from nnarray.typing import Array


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Gradient descent: v <- mu v + g;  theta <- theta - lr v, or - lr (g + mu v) with Nesterov's look ahead.

    Parameters
    ----------
    lr : float or Schedule
    momentum : float
        mu, in [0, 1).
    nesterov : bool

    References
    ----------
    .. [1] Robbins & Monro (1951), A stochastic approximation method. Ann. Math. Statist. 22(3), 400-407.
    .. [2] Sutskever, Martens, Dahl & Hinton (2013), ICML.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.SGD(0.1, momentum=0.9).momentum
    0.9
    """

    lr: float | Schedule = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.momentum, "momentum", 0, 1)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs momentum above 0.")

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("velocity",) if self.momentum else ()

    def elementwise(self) -> Rule:
        if self.momentum:
            return Rule(momentum=self.momentum, nesterov=self.nesterov, coupled=self.weight_decay)
        return Rule(decoupled=self.weight_decay)  # the same without momentum

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        if not self.momentum:
            return kernels.sgd_update(theta, gradient, **numbers), {}
        theta, velocity = kernels.momentum_update(
            theta, gradient, slots["velocity"], momentum=self.momentum, nesterov=self.nesterov, **numbers
        )
        return theta, {"velocity": velocity}


@dataclass(frozen=True, repr=False)
class Lion(Optimizer):
    """c = b1 m + (1 - b1) g;  theta <- theta - lr sign(c);  m <- b2 m + (1 - b2) g. All entries move by lr.

    Weight decay is decoupled: theta <- (1 - lr weight_decay) theta before the step, weights only. The rate is to be 3
    to 10 times lower than Adam's, and the weight decay as much higher.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).

    References
    ----------
    .. [1] Chen et al. (2023), Symbolic discovery of optimization algorithms. NeurIPS.
    """

    lr: float | Schedule = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99

    slot_names = ("mean",)
    decoupled = True

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.beta1, "beta1", 0, 1)
        in_range(self.beta2, "beta2", 0, 1)

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        theta, mean = kernels.lion_update(theta, gradient, slots["mean"], beta1=self.beta1, beta2=self.beta2, **numbers)
        return theta, {"mean": mean}
