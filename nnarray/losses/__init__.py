"""Losses: the distance of outputs from targets, and its gradients with respect to the outputs."""

# pyright: reportUnusedImport=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnarray.arguments import attribute_errors, explain_classes
from nnarray.losses.base import Loss, checked, combined_weights, differentiated, prepared, refuse_records
from nnarray.losses.classification import BinaryCrossEntropy, CrossEntropy
from nnarray.losses.own import Custom, custom
from nnarray.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError
from nnarray.losses.targets import MANY, checked_labels, classes_in
from nnarray.names import also, named, shown

LOSSES: dict[str, type[Loss]] = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
}


ALSO = also(
    mse="l2 l2_loss mse_loss mean_squared_error",
    mae="l1 l1_loss mae_loss mean_absolute_error absolute_error",
    huber="huber_loss smooth_l1 smooth_l1_loss",
    binary_cross_entropy="bce bce_loss bce_with_logits bce_with_logits_loss binary_cross_entropy_with_logits "
    "binary_cross_entropy_loss sigmoid_cross_entropy",
    cross_entropy="ce cross_entropy_loss log_loss softmax_cross_entropy categorical_cross_entropy "
    "sparse_categorical_cross_entropy",
    absent="rmse root_mean_squared_error squared_error half_squared_error mape mean_absolute_percentage_error msle "
    "mean_squared_logarithmic_error log_cosh nll nll_loss kl_div kl_divergence hinge squared_hinge categorical_hinge "
    "focal focal_loss binary_focal_cross_entropy categorical_focal_cross_entropy dice ctc poisson poisson_nll "
    "gaussian_nll quantile pinball cosine cosine_similarity triplet contrastive",
)


def loss_named(loss: Any) -> Loss:
    """The loss of that name, or the one given."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if callable(loss):
        raise TypeError(
            f"a loss must be a name or an nn.Loss, such as nn.losses.Huber(0.5); got {shown(loss)}. For a loss of your "
            f"own, pass nn.losses.custom(f), where f(outputs, target) returns the loss of each example."
        )
    return named(loss, LOSSES, "loss", ALSO)()


explain_classes(__name__)

if not TYPE_CHECKING:  # a type checker would accept every name
    __getattr__ = attribute_errors(
        __name__,
        (each.__name__ for each in LOSSES.values()),
        {other: LOSSES[entry].__name__ for other, entry in ALSO.items() if entry},
    )
