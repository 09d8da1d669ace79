"""Losses of real values."""

from __future__ import annotations

from dataclasses import dataclass

from nnarray.backends import (
    namespace,
)
from nnarray.checks import (
    above_zero,
)
from nnarray.kernels.standard.numerics import clamp
from nnarray.losses.base import Loss
from nnarray.typing import Array


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """L_n = mean over the outputs of (o - t)^2.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.losses.MeanSquaredError()(be.asarray([[1.0], [3.0]]), be.asarray([[0.0], [1.0]])))
    2.5
    """

    def entry(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """d^2 and 2 d."""
        d = outputs - target
        return d * d, 2.0 * d


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """L_n = mean over the outputs of |o - t|."""

    def entry(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """|d| and sign d, which is taken as 0 at 0."""
        xp, d = namespace(outputs), outputs - target
        return xp.abs(d), xp.sign(d)


@dataclass(frozen=True)
class Huber(Loss):
    """L_n = mean over the outputs of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = o - t.

    Parameters
    ----------
    delta : float
        The error from which on the loss is linear, in units of the target; above 0.

    References
    ----------
    .. [1] Huber (1964), Annals of Mathematical Statistics 35(1), 73-101.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self.delta, "Huber delta")
        object.__setattr__(self, "delta", float(self.delta))  # a number of NumPy's would lend arrays its dtype

    def entry(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """c (d - c / 2) and c, where c is d limited to -delta and delta."""
        d = outputs - target
        c = clamp(d, -self.delta, self.delta)
        return c * (d - 0.5 * c), c
