"""Gradient descent: steps along the gradient or along its running sum."""

from __future__ import annotations

from dataclasses import dataclass

from nnarray import kernels
from nnarray.checks import in_range
from nnarray.kernels.rules import Update
from nnarray.optimizers.base import Optimizer
from nnarray.schedules import Schedule


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

    @property
    def kernel(self) -> Update:  # type: ignore[override]
        return kernels.momentum_update if self.momentum else kernels.sgd_update


@dataclass(frozen=True, repr=False)
class Lion(Optimizer):
    """c = b1 m + (1 - b1) g;  theta <- theta - lr sign(c);  m <- b2 m + (1 - b2) g. All entries move by lr.

    Weight decay is decoupled: theta <- (1 - lr weight_decay) theta before the step, weights only. Choose a rate that is
    3 to 10 times lower than for Adam, and a weight decay that is higher by the same factor.

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
    kernel = kernels.lion_update
    decoupled = True

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.beta1, "beta1", 0, 1)
        in_range(self.beta2, "beta2", 0, 1)
