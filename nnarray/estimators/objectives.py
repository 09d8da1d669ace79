"""The loss of an estimator, by its setting and the kind of labels."""

from __future__ import annotations

from typing import Any

from nnarray.losses import ALSO, LOSSES, BinaryCrossEntropy, CrossEntropy, Loss, loss_named
from nnarray.losses.summed import HalfPoissonDeviance, HalfSquaredError, SummedBinaryCrossEntropy
from nnarray.names import named

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
