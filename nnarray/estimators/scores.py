"""Scores of predictions, computed on their own device, and equal to scikit-learn's."""

from __future__ import annotations

from nnarray import metrics, random
from nnarray.backends import device_of, same_place
from nnarray.random import Key
from nnarray.typing import Array


def accuracy(predicted: Array, true: Array, weights: Array | None = None) -> float:
    """The fraction of examples with the right class, or with all of their labels right."""
    xp = same_place(predicted=predicted, true=true)
    right = predicted == true
    right = xp.all(right, axis=1) if right.ndim == 2 else right
    hits = xp.astype(right, xp.float32 if weights is None else weights.dtype)
    if weights is None:
        return float(xp.mean(hits))
    return float(xp.sum(hits * weights) / xp.sum(weights))


def r2(predicted: Array, true: Array, weights: Array | None = None) -> float:
    """1 - sum of w (t - p)^2 / sum of w (t - mean of t)^2, mean over the outputs; constant t: 1 if exact, else 0."""
    xp = same_place(predicted=predicted, true=true)
    return float(metrics.r2(predicted, xp.reshape(true, predicted.shape), weights))


def split(count: int, part: int, classes: Array | None, key: Key, like: Array) -> tuple[Array, Array]:
    """The training examples and `part` held-out ones, in random order, stratified by class if there are classes.

    They are drawn on the device: every (count / part)-th of a random order that is sorted by class.
    """
    xp, device = same_place(like=like), device_of(like)
    order = random.permutation(key, count, xp=xp, device=device)
    if classes is not None:
        order = xp.take(order, xp.argsort(xp.take(classes, order), stable=True))
    # Python integers do not overflow; int32 would, with 150,000 examples of which a tenth is held out.
    positions = xp.asarray([i * count // part for i in range(part)], dtype=order.dtype, device=device)
    numbers = xp.arange(count, dtype=order.dtype, device=device)
    nearest = xp.searchsorted(positions, numbers)
    held = xp.take(positions, xp.where(nearest < part, nearest, 0)) == numbers
    last = xp.argsort(xp.astype(held, xp.int8), stable=True)
    return xp.sort(xp.take(order, last[: count - part])), xp.take(order, last[count - part :])
