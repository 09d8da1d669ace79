"""The losses of scikit-learn's networks: sums over the outputs. The losses of this package are means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnarray.backends import is_traced, same_place
from nnarray.losses import ALSO, LOSSES, BinaryCrossEntropy, CrossEntropy, Loss, loss_named
from nnarray.names import named
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


REGRESSION: dict[str, type[Loss]] = {"squared_error": HalfSquaredError, "poisson": HalfPoissonDeviance}
REGRESSION |= {name: LOSSES[name] for name in ("mse", "mae", "huber")}


def regression_loss(loss: Any) -> Loss:
    """The loss of that name, of scikit-learn or this package; a `Loss` is returned unchanged."""
    return named(loss, REGRESSION, "loss", ALSO)() if isinstance(loss, str) else loss_named(loss)


def classification_loss(setting: Any, *, multilabel: bool, classes: int, outputs: int | None) -> tuple[Loss, int]:
    """The loss and the number of outputs that it needs; "log_loss" suits labels of every kind.

    Parameters
    ----------
    setting : str or Loss
    multilabel : bool
    classes : int
    outputs : int, optional
        The number of outputs of a network that already exists.

    Raises
    ------
    ValueError
        If labels, loss and outputs do not fit.
    """
    if isinstance(setting, str):
        names = {"log_loss": None, "cross_entropy": CrossEntropy(), "binary_cross_entropy": BinaryCrossEntropy()}
        setting = named(setting, names, "loss", ALSO)
    single = classes <= 2 and not multilabel
    if setting is None:
        one_each = multilabel or (single and outputs in (None, 1))
        loss: Loss = SummedBinaryCrossEntropy() if one_each else CrossEntropy()
    else:
        loss = loss_named(setting)
    binary = loss.out_activation == "logistic"
    if binary and not (single or multilabel):
        raise ValueError(
            f"{loss.label} is for two classes or for several labels; y has {classes} classes. Use 'log_loss'."
        )
    if loss.out_activation == "softmax" and multilabel:
        raise ValueError(f"{loss.label} is for one class per example; y has several labels. Use 'log_loss'.")
    wanted = classes if multilabel else 1 if binary else max(classes, 2)
    if outputs not in (None, wanted):
        raise ValueError(
            f"the network has {outputs} outputs, but {loss.label} of {classes} {'labels' if multilabel else 'classes'} "
            f"needs {wanted}. Change the last layer, or pass a function of the number of outputs as network."
        )
    return loss, wanted
