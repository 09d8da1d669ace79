"""Scores of predictions, computed on their own device, and equal to scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence

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

    They are drawn on the device. Of each class as many are held out as scikit-learn's `train_test_split` holds out.
    """
    xp, device = same_place(like=like), device_of(like)
    order = random.permutation(key, count, xp=xp, device=device)
    rank, most = xp.arange(count, dtype=order.dtype, device=device), part
    if classes is not None:
        order = xp.take(order, xp.argsort(xp.take(classes, order), stable=True))
        in_order = xp.take(classes, order)
        every = xp.arange(int(in_order[-1]) + 1, dtype=in_order.dtype, device=device)
        starts, ends = (xp.searchsorted(in_order, every, side=side) for side in ("left", "right"))
        parts = parts_of([int(size) for size in ends - starts], part)
        rank = rank - xp.take(xp.astype(starts, rank.dtype), in_order)
        most = xp.take(xp.asarray(parts, dtype=rank.dtype, device=device), in_order)
    last = xp.argsort(xp.astype(rank < most, xp.int8), stable=True)
    return xp.sort(xp.take(order, last[: count - part])), xp.take(order, last[count - part :])


def parts_of(sizes: Sequence[int], part: int) -> list[int]:
    """How many of `part` examples are of each class, if the classes have these sizes: their fractions, rounded down.

    The rest goes to the largest remainders, at last to the classes of which no example would be left to train on.
    Python's integers do not overflow; int32 would, with 150,000 examples of which a tenth is held out.
    """
    count = sum(sizes)
    parts = [size * part // count for size in sizes]
    order = sorted(range(len(sizes)), key=lambda k: (parts[k] + 1 >= sizes[k], -(sizes[k] * part % count)))
    rest = {*order[: part - sum(parts)]}
    return [each + (k in rest) for k, each in enumerate(parts)]
