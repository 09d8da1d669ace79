"""The losses of the estimators: sums over the outputs, as in scikit-learn. The others are means.

They stand here, and not beside the estimators, so that a file of an estimator's network is read without them.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnarray.backends import is_traced, same_place
from nnarray.losses.base import Loss
from nnarray.losses.classification import BinaryCrossEntropy
from nnarray.typing import Array, DType, Shape


@dataclass(frozen=True)
class HalfSquaredError(Loss):
    """L_n = sum over the outputs of (o - t)^2 / 2."""

    def per_example(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """The losses, and the gradient o - t."""
        xp, d = same_place(outputs=outputs, target=target), outputs - target
        return xp.sum(d * d, axis=tuple(range(1, d.ndim))) * 0.5, d


@dataclass(frozen=True)
class HalfPoissonDeviance(Loss):
    """L_n = sum over the outputs of t ln(t / p) - t + p, p = exp(o): outputs o are logarithms, targets not negative."""

    out_activation = "exp"

    def prepare(self, target: Array, shape: Shape, dtype: DType) -> tuple[Array, Array | None]:
        """The target, checked not to be negative."""
        target, _ = super().prepare(target, shape, dtype)
        xp = same_place(target=target)
        if not is_traced(target) and not bool(xp.all(target >= 0)):
            raise ValueError(f"loss 'poisson' needs targets that are not negative; got {float(xp.min(target)):g}.")
        return target, None

    def per_example(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """The losses, and the gradient p - t."""
        xp = same_place(outputs=outputs, target=target)
        p, one = xp.exp(outputs), xp.ones_like(target)
        logs = target * xp.log(xp.where(target > 0, target, one))
        return xp.sum(logs - target * outputs - target + p, axis=tuple(range(1, p.ndim))), p - target


@dataclass(frozen=True)
class SummedBinaryCrossEntropy(BinaryCrossEntropy):
    """L_n = -sum over the labels of t ln p + (1 - t) ln(1 - p), p = logistic(z)."""

    def per_example(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """The losses of `BinaryCrossEntropy` and their gradient, times the number of labels."""
        losses, gradient = super().per_example(outputs, target)
        return losses * outputs.shape[1], gradient * outputs.shape[1]
