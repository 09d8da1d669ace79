"""Sums, means, extremes and orders along axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnarray.backends import device_of
from nnarray.onnx.operators.common import (
    Call,
    at,
    axes_of,
    axis_of,
    is_float,
    refuse_written,
    room,
    scalar,
    space,
    whole,
)
from nnarray.onnx.operators.table import operator
from nnarray.recording import stop_gradient


def _total(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    return space(x).sum(x, axis=axes, keepdims=keep, dtype=x.dtype)


def _extreme(name: str, empty: float) -> Callable[..., Any]:
    def reduced(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        xp = space(x)
        if not math.prod(x.shape):
            shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
            value = empty if is_float(x) else _end(x, smallest=empty < 0)
            return xp.full(tuple(shape), value, dtype=x.dtype, device=device_of(x))
        if xp.isdtype(x.dtype, "bool"):
            return (xp.any if empty < 0 else xp.all)(x, axis=axes, keepdims=keep)
        return getattr(xp, name)(x, axis=axes, keepdims=keep)

    return reduced


def _end(x: Any, *, smallest: bool) -> Any:
    """The largest or smallest number of the dtype."""
    xp = space(x)
    if xp.isdtype(x.dtype, "bool"):
        return not smallest
    return xp.iinfo(x.dtype).min if smallest else xp.iinfo(x.dtype).max


def _log_sum_exp(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    xp = space(x)
    if not math.prod(x.shape):
        return xp.log(_total(x, axes, keep))
    wide = x if is_float(x) else xp.astype(x, xp.float32)
    largest = stop_gradient(xp.max(wide, axis=axes, keepdims=True))
    largest = xp.where(xp.isfinite(largest), largest, xp.zeros_like(largest))
    total = xp.log(xp.sum(xp.exp(wide - largest), axis=axes, keepdims=True)) + largest
    kept = total if keep else xp.squeeze(total, axis=axes)
    return xp.astype(kept, x.dtype, copy=False)


REDUCED: dict[str, tuple[Callable[..., Any], int]] = {
    "ReduceL1": (lambda x, axes, keep: _total(space(x).abs(x), axes, keep), 18),
    "ReduceL2": (lambda x, axes, keep: space(x).sqrt(_total(x * x, axes, keep)), 18),
    "ReduceLogSum": (lambda x, axes, keep: space(x).log(_total(x, axes, keep)), 18),
    "ReduceLogSumExp": (_log_sum_exp, 18),
    "ReduceMax": (_extreme("max", -math.inf), 18),
    "ReduceMean": (lambda x, axes, keep: space(x).mean(x, axis=axes, keepdims=keep), 18),
    "ReduceMin": (_extreme("min", math.inf), 18),
    "ReduceProd": (lambda x, axes, keep: space(x).prod(x, axis=axes, keepdims=keep, dtype=x.dtype), 18),
    "ReduceSum": (_total, 13),
    "ReduceSumSquare": (lambda x, axes, keep: _total(x * x, axes, keep), 18),
}
"""Each with the version from which the axes are an input."""


def _by_attribute(reduced: Callable[..., Any]) -> Callable[..., Any]:
    def function(x: Any, *, axes: Any = None, keepdims: int = 1) -> Any:
        return reduced(x, axes_of(axes, x.ndim), bool(keepdims))

    return function


def _by_input(reduced: Callable[..., Any]) -> Callable[..., Any]:
    def function(x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        chosen = () if axes is None else whole(axes)
        if not chosen and noop_with_empty_axes:
            return reduced(x, (), True)
        return reduced(x, axes_of(chosen or None, x.ndim), bool(keepdims))

    return function


for _name, (_reduced, _since) in REDUCED.items():
    operator(_name)(_by_attribute(_reduced))
    operator(_name, _since, reads=(1,))(_by_input(_reduced))


def _arg(name: str) -> Callable[..., Any]:
    def function(call: Call, x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        xp, axis = space(x), axis_of(axis, x.ndim)
        found = getattr(xp, name)(xp.flip(x, axis=axis) if select_last_index else x, axis=axis, keepdims=bool(keepdims))
        found = call.cast(found, "int64")
        return x.shape[axis] - 1 - found if select_last_index else found

    return function


operator("ArgMax")(_arg("argmax"))
operator("ArgMin")(_arg("argmin"))


def _cumulative(name: str) -> Callable[..., Any]:
    def function(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
        xp, along = space(x), axis_of(whole(axis)[0], x.ndim)
        x = xp.flip(x, axis=along) if reverse else x
        if name == "cumulative_sum":
            y = xp.cumulative_sum(x, axis=along, dtype=x.dtype)
            empty = 0
        else:
            y, empty = xp.cumulative_prod(x, axis=along, dtype=x.dtype), 1
        if exclusive:
            first = xp.full_like(y[at(along, slice(0, 1))], empty)
            y = xp.concat([first, y[at(along, slice(0, y.shape[along] - 1))]], axis=along)
        return xp.flip(y, axis=along) if reverse else y

    return function


operator("CumSum", 11, reads=(1,))(_cumulative("cumulative_sum"))
operator("CumProd", 26, reads=(1,))(_cumulative("cumulative_prod"))


@operator("TopK", 1)
def top_k_by_setting(call: Call, x: Any, *, k: int, axis: int = -1) -> Any:
    """The largest entries along an axis, and where they are."""
    return _top(call, x, k, axis, largest=1)


@operator("TopK", 10, reads=(1,))
def top_k(call: Call, x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """The largest or smallest entries along an axis, and where they are."""
    return _top(call, x, whole(k)[0], axis, largest)


def _top(call: Call, x: Any, k: int, axis: int, largest: int) -> Any:
    xp, axis = space(x), axis_of(axis, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"k must be between 0 and the size {x.shape[axis]} of the axis; got {k}")
    bare = stop_gradient(x)
    order = space(bare).argsort(bare, axis=axis, descending=bool(largest), stable=True)
    chosen = order[at(axis, slice(0, k))]
    return xp.take_along_axis(x, chosen, axis=axis), call.cast(chosen, "int64")


@operator("LpNormalization")
def lp_normalization(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    """`x` divided by its norm along an axis, where that is above 0."""
    xp = space(x)
    norm = xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True)) if p == 2 else xp.sum(xp.abs(x), axis=axis, keepdims=True)
    return x / xp.where(norm == 0, xp.ones_like(norm), norm)


@operator("Unique", 11, dynamic=True)
def unique(call: Call, x: Any, *, axis: int | None = None, sorted: int = 1) -> Any:
    """The different entries, or parts along an axis: themselves, where they are first, their numbers, their counts."""
    refuse_written(x)
    xp = space(x)
    flat = xp.reshape(x, (-1, 1)) if axis is None else xp.moveaxis(x, axis, 0)
    rows = xp.reshape(flat, room((flat.shape[0], math.prod(flat.shape[1:]))))
    numbers = xp.arange(rows.shape[0], device=device_of(x))
    order = numbers
    for column in range(rows.shape[1] - 1, -1, -1):  # the last sort is by the first column
        order = xp.take(order, xp.argsort(xp.take(rows[:, column], order), stable=True))
    ordered = xp.take(rows, order, axis=0)
    is_new = xp.any(ordered[1:, :] != ordered[:-1, :], axis=1)
    is_new = xp.concat([xp.ones((1,), dtype=xp.bool, device=device_of(x)), is_new])
    group = xp.cumulative_sum(xp.astype(is_new, numbers.dtype)) - 1
    inverse = xp.take(group, xp.argsort(order, stable=True))
    first = xp.take(order, xp.nonzero(is_new)[0])  # stable sorting: the first of a group stands first
    if not sorted:
        turn = xp.argsort(first, stable=True)
        place = xp.argsort(turn, stable=True)
        first, inverse = xp.take(first, turn), xp.take(place, inverse)
    each = xp.arange(first.shape[0], device=device_of(x))
    counts = xp.sum(xp.astype(inverse[None, :] == each[:, None], xp.int32), axis=1)
    chosen = xp.take(x, first, axis=axis) if axis is not None else xp.take(xp.reshape(x, (-1,)), first)
    return chosen, *(call.cast(each, "int64") for each in (first, inverse, counts))


@operator("Det", 11)
def det(x: Any) -> Any:
    """The determinant of matrices."""
    return space(x).linalg.det(x)


def largest_of(x: Any, axis: int) -> Any:
    """The largest entry along an axis, of a size that may be 0."""
    return _extreme("max", -math.inf)(x, (axis,), True)


__all__ = ["REDUCED", "largest_of", "scalar"]
