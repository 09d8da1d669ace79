"""Losses and updates of optimizers, which graphs for training have."""

from __future__ import annotations

import math
from typing import Any

from nnarray.kernels.standard.lookup import whole as as_index
from nnarray.onnx.operators.activations import log_softmax
from nnarray.onnx.operators.common import space, whole
from nnarray.onnx.operators.table import operator
from nnarray.recording import stop_gradient

TRAINING = "ai.onnx.preview.training"


@operator("NegativeLogLikelihoodLoss", 12)
def negative_log_likelihood_loss(
    x: Any, target: Any, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Any:
    """Minus the logarithms of the probabilities of the classes that are there, weighted."""
    xp, labels = space(x), as_index(stop_gradient(target))
    plain = space(labels)
    counts = plain.ones_like(labels, dtype=plain.bool) if ignore_index is None else labels != ignore_index
    labels = plain.where(counts, labels, plain.zeros_like(labels))
    chosen = xp.take_along_axis(x, plain.expand_dims(labels, axis=1), axis=1)[:, 0, ...]
    if weight is None:
        each = plain.astype(counts, x.dtype)
    else:
        each = xp.reshape(xp.take(weight, plain.reshape(labels, (-1,))), tuple(labels.shape))
        each = xp.where(counts, each, xp.zeros_like(each))
    loss = -chosen * each
    if reduction == "none":
        return loss
    total = xp.sum(loss)
    return total / xp.sum(each) if reduction == "mean" else total


@operator("SoftmaxCrossEntropyLoss", 12)
def softmax_cross_entropy_loss(
    x: Any, target: Any, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Any:
    """The loss of the softmax along the second axis, and its logarithm."""
    logs = log_softmax(x, axis=1)
    settings: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    return negative_log_likelihood_loss(logs, target, weight, **settings), logs


@operator("Adagrad", domain=TRAINING, reads=(1,))
def adagrad(
    rate: Any, step: Any, *arrays: Any, norm_coefficient: float = 0.0, decay_factor: float = 0.0, epsilon: float = 0.0
) -> Any:
    """A step of Adagrad for some arrays: values, gradients, sums of squares."""
    count = len(arrays) // 3
    factor = rate / (1.0 + whole(step)[0] * decay_factor)
    values: list[Any] = []
    sums: list[Any] = []
    for x, g, h in zip(arrays[:count], arrays[count : 2 * count], arrays[2 * count :], strict=True):
        g = norm_coefficient * x + g
        sums.append(h + g * g)
        values.append(x - factor * g / (space(x).sqrt(sums[-1]) + epsilon))
    return *values, *sums


@operator("Momentum", domain=TRAINING, reads=(1,))
def momentum(rate: Any, step: Any, *arrays: Any, alpha: float, beta: float, mode: str, norm_coefficient: float) -> Any:
    """A step with momentum for some arrays: values, gradients, momenta."""
    count, values, momenta = len(arrays) // 3, list[Any](), list[Any]()
    factor = beta if whole(step)[0] > 0 else 1.0
    for x, g, v in zip(arrays[:count], arrays[count : 2 * count], arrays[2 * count :], strict=True):
        g = norm_coefficient * x + g
        v = alpha * v + factor * g
        momenta.append(v)
        values.append(x - rate * (g + alpha * v if mode == "nesterov" else v))
    return *values, *momenta


@operator("Adam", domain=TRAINING, reads=(1,))
def adam(
    rate: Any,
    step: Any,
    *arrays: Any,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 0.0,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> Any:
    """A step of Adam for some arrays: values, gradients, means, means of squares."""
    count, t = len(arrays) // 4, whole(step)[0]
    factor = rate * (math.sqrt(1.0 - beta**t) / (1.0 - alpha**t)) if t > 0 else rate
    values, means, squares = list[Any](), list[Any](), list[Any]()
    parts = [arrays[i * count : (i + 1) * count] for i in range(4)]
    for x, g, v, h in zip(*parts, strict=True):
        g = norm_coefficient * x + g
        means.append(alpha * v + (1.0 - alpha) * g)
        squares.append(beta * h + (1.0 - beta) * g * g)
        x = x - factor * means[-1] / (space(x).sqrt(squares[-1]) + epsilon)
        values.append((1.0 - norm_coefficient_post) * x)
    return *values, *means, *squares
