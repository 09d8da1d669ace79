"""The loss of one output with its numbers, and where backpropagation begins."""

from __future__ import annotations

import math

from nnarray.backends import namespace
from nnarray.explanations.numbers import at, first, near, number, rows_of, shortened, signed
from nnarray.explanations.records import NO_ARITHMETIC, Arithmetic
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import Loss, differentiated
from nnarray.typing import Array


def loss_arithmetic(loss: Loss, outputs: Array, target: Array, weights: Array | None, gradient: Array) -> Arithmetic:
    """The loss of the first example, or of its first output, and where backpropagation begins.

    Written out for the cross-entropy of labels and for losses that compare entry by entry; with weights for none.
    """
    if weights is not None or math.prod(outputs.shape) == 0:
        return NO_ARITHMETIC
    mean = loss.reduction == "mean"
    if loss.is_cross_entropy and target.ndim == outputs.ndim - 1:
        return _cross_entropy(outputs, target, math.prod(target.shape) if mean else 1, gradient)
    if type(loss).entry is Loss.entry or target.shape != outputs.shape:
        return NO_ARITHMETIC
    index = first(outputs)
    pair = loss.entry(outputs, target)
    if not isinstance(pair, tuple):
        pair = differentiated(loss.entry, outputs, target, f"{loss.label}.entry")
    value, slope = map(at, pair)
    size = outputs.shape[0] if mean else 1
    size *= math.prod(outputs.shape[1:])
    if not near(float(slope) / size, gradient[(0,) * gradient.ndim]):  # a reduction of its own
        return NO_ARITHMETIC
    given = f"o = {at(outputs)}, t = {at(target)}"
    return Arithmetic(
        (f"for the first output, {given}: the loss is {value}",),
        (f"dL/do{index}: the slope at {given} is {slope}, and {signed(slope)} / {size} = {at(gradient)}",),
    )


def _cross_entropy(outputs: Array, target: Array, count: int, gradient: Array) -> Arithmetic:
    """The loss of the first label: of the first example, at its first position if there are several."""
    label, where = int(target[(0,) * target.ndim]), ", ".join("0" * target.ndim)
    row = at_least_float32(rows_of(outputs)[0, :])
    xp = namespace(row)
    shares = xp.exp(row - xp.max(row))
    p = shares / xp.sum(shares)
    below = shortened((f"e^{signed(row[k])}" for k in range(row.shape[0])), row.shape[0])
    t = 1 if label == 0 else 0
    true, start = float(p[label]), (float(p[0]) - t) / count
    if not near(start, gradient[(0,) * gradient.ndim]) or true == 0:  # a loss derived from it; or too far off
        return NO_ARITHMETIC
    whose = "the first example" if target.ndim == 1 else "the first position of the first example"
    of_first = f"({number(p[0])} - {t})"
    return Arithmetic(
        (
            f"p[{where}, {label}] = e^{signed(row[label])} / ({below}) = {number(true)}",
            f"{whose} is of class {label}: -ln {number(true)} = {number(-math.log(true))}",
        ),
        (f"dL/dy[{where}, 0] = (p[{where}, 0] - t[{where}, 0]) / {count} = {of_first} / {count} = {at(gradient)}",),
    )
