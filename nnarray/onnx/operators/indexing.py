"""Entries by number: read, written, counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnarray.backends import device_of
from nnarray.kernels.standard.lookup import whole as as_index
from nnarray.onnx.operators.common import Call, at, axis_of, is_float, refuse_written, room, space, whole
from nnarray.onnx.operators.table import operator
from nnarray.recording import stop_gradient


def _counted(index: Any, size: int) -> Any:
    """Numbers of entries, counted from the first one."""
    xp, index = space(index), as_index(stop_gradient(index))
    return xp.where(index < 0, index + size, index)


@operator("Gather", weights={0: "normal"})
def gather(call: Call, x: Any, indices: Any, *, axis: int = 0) -> Any:
    """The parts of an axis with these numbers."""
    xp, axis = space(x), axis_of(axis, x.ndim)
    room((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), max(call.place.most, math.prod(x.shape)))
    numbers = xp.reshape(_counted(indices, x.shape[axis]), (-1,))
    found = xp.take(x, numbers, axis=axis)
    return xp.reshape(found, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@operator("GatherElements", 11)
def gather_elements(x: Any, indices: Any, *, axis: int = 0) -> Any:
    """y[i, j] = x[indices[i, j], j], along an axis."""
    xp, axis = space(x), axis_of(axis, x.ndim)
    key = tuple(slice(None) if i == axis else slice(0, n) for i, n in enumerate(indices.shape))
    return xp.take_along_axis(x[key], _counted(indices, x.shape[axis]), axis=axis)


def _rows(x: Any, indices: Any, batch: int) -> tuple[Any, Any, tuple[int, ...]]:
    """x as rows, which row each index means, and the shape of a row: the last axis of indices has positions in x."""
    xp, depth = space(x), indices.shape[-1]
    if batch + depth > x.ndim:
        raise ValueError(f"indices of {depth} positions do not fit an array with {x.ndim - batch} axes")
    sizes, rest = x.shape[batch : batch + depth], tuple(x.shape[batch + depth :])
    groups = math.prod(x.shape[:batch])
    index = as_index(stop_gradient(indices))
    row = space(index).zeros(index.shape[:-1], dtype=index.dtype, device=device_of(index))
    for i, size in enumerate(sizes):
        row = row * size + _counted(index[..., i], size)
    if batch:
        first = space(row).arange(groups, dtype=row.dtype, device=device_of(row)) * math.prod(sizes)
        row = row + space(row).reshape(first, (*x.shape[:batch], *[1] * (row.ndim - batch)))
    return xp.reshape(x, room((groups * math.prod(sizes), math.prod(rest)))), row, rest


@operator("GatherND", 11)
def gather_nd(x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    """The parts of an array at positions."""
    xp = space(x)
    rows, row, rest = _rows(x, indices, batch_dims)
    found = xp.take(rows, space(row).reshape(row, (-1,)), axis=0)
    return xp.reshape(found, (*row.shape, *rest))


PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda a, b: b,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "max": lambda a, b: space(a, b).maximum(a, b),
    "min": lambda a, b: space(a, b).minimum(a, b),
}


def merged(rows: Any, index: Any, updates: Any, reduction: str) -> Any:
    """Rows, with each update combined with the row of its index; of several without a reduction, the last counts.

    Updates with equal indices are sorted next to each other. Then each pass combines a row with the one at twice the
    distance before it.
    """
    if reduction not in PAIRS:
        raise ValueError(f"the reduction must be one of {', '.join(PAIRS)}; got {reduction!r}")
    if not updates.shape[0] or not rows.shape[0]:
        return rows
    xp, pair = space(rows, updates), PAIRS[reduction]
    plain = space(index)
    order = plain.argsort(index, stable=True)
    index, values, distance = plain.take(index, order), xp.take(updates, order, axis=0), 1
    while reduction != "none" and distance < index.shape[0]:
        same = (index[distance:] == index[:-distance])[:, None]
        after = xp.where(same, pair(values[:-distance, :], values[distance:, :]), values[distance:, :])
        values, distance = xp.concat([values[:distance, :], after], axis=0), 2 * distance
    each = plain.arange(rows.shape[0], dtype=index.dtype, device=device_of(index))
    last = plain.astype(plain.searchsorted(index, each, side="right"), index.dtype) - 1
    place = plain.where(last >= 0, last, plain.zeros_like(last))
    is_there = plain.logical_and(last >= 0, plain.take(index, place) == each)
    return xp.where(is_there[:, None], pair(rows, xp.take(values, place, axis=0)), rows)


def _truths(function: Callable[..., Any], x: Any, indices: Any, updates: Any, **settings: Any) -> Any:
    """Truth values as small integers, of which there are sums."""
    xp = space(x)
    if not xp.isdtype(x.dtype, "bool"):
        return function(x, indices, updates, **settings)
    return xp.astype(function(xp.astype(x, xp.int8), indices, xp.astype(updates, xp.int8), **settings), xp.bool)


def _scatter_nd(x: Any, indices: Any, updates: Any, *, reduction: str) -> Any:
    xp = space(x, updates)
    rows, row, rest = _rows(x, indices, 0)
    parts = xp.reshape(updates, room((math.prod(row.shape), math.prod(rest))))
    return xp.reshape(merged(rows, space(row).reshape(row, (-1,)), parts, reduction), tuple(x.shape))


@operator("ScatterND", 11)
def scatter_nd(x: Any, indices: Any, updates: Any, *, reduction: str = "none") -> Any:
    """A copy of an array with other parts at some positions."""
    return _truths(_scatter_nd, x, indices, updates, reduction=reduction)


def _scatter_elements(x: Any, indices: Any, updates: Any, *, axis: int, reduction: str) -> Any:
    xp, axis = space(x, updates), axis_of(axis, x.ndim)
    index = _counted(indices, x.shape[axis])
    plain = space(index)
    numbers = plain.reshape(plain.arange(math.prod(x.shape), dtype=index.dtype, device=device_of(x)), tuple(x.shape))
    key = tuple(slice(None) if i == axis else slice(0, n) for i, n in enumerate(indices.shape))
    flat = plain.reshape(plain.take_along_axis(numbers[key], index, axis=axis), (-1,))
    changed = merged(xp.reshape(x, (-1, 1)), flat, xp.reshape(updates, (-1, 1)), reduction)
    return xp.reshape(changed, tuple(x.shape))


def _scatter(x: Any, indices: Any, updates: Any, *, axis: int = 0, reduction: str = "none") -> Any:
    """A copy of an array with y[indices[i, j], j] = updates[i, j], along an axis."""
    return _truths(_scatter_elements, x, indices, updates, axis=axis, reduction=reduction)


operator("ScatterElements", 11)(_scatter)
operator("Scatter", 9)(_scatter)


@operator("OneHot", 9, reads=(1,))
def one_hot(call: Call, indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    """One value at the position of each index along a new axis, another one elsewhere."""
    xp, size = space(values), int(whole(depth)[0])
    axis = axis_of(axis, indices.ndim + 1)
    call.room((*indices.shape, size))
    numbers = space(indices).expand_dims(indices, axis=axis)
    numbers = space(numbers).where(numbers < 0, numbers + _full(numbers, size), numbers)
    shape = [1] * (indices.ndim + 1)
    shape[axis] = size
    each = space(numbers).arange(size, device=device_of(indices))
    each = space(numbers).astype(space(numbers).reshape(each, tuple(shape)), numbers.dtype)
    is_there = numbers == each
    return xp.where(is_there, values[1], values[0])


def _full(like: Any, value: int) -> Any:
    return space(like).full((), value, dtype=like.dtype, device=device_of(like))


@operator("NonZero", 9, dynamic=True)
def non_zero(call: Call, x: Any) -> Any:
    """The positions of the entries that are not 0: one row for each axis."""
    refuse_written(x)
    xp = space(x)
    x = stop_gradient(x)
    if x.ndim == 0:
        count = int(x != 0)
        return call.full((0, count), 0, call.dtype("int64"))
    return call.cast(space(x).stack(list(space(x).nonzero(x)), axis=0), "int64") if xp else x


@operator("Compress", 9, dynamic=True)
def compress(x: Any, condition: Any, *, axis: int | None = None) -> Any:
    """The parts of an axis, or of all entries, at which a condition is true."""
    refuse_written(condition)
    xp = space(x)
    chosen = space(condition).nonzero(condition)[0]
    if axis is None:
        return xp.take(xp.reshape(x, (-1,)), chosen, axis=0)
    return xp.take(x, chosen, axis=axis_of(axis, x.ndim))


@operator("TensorScatter", 24)
def tensor_scatter(past: Any, update: Any, first: Any = None, *, axis: int = -2, mode: str = "linear") -> Any:
    """A cache with an update along an axis, from a position of its own for each example."""
    xp, axis = space(past, update), axis_of(axis, past.ndim)
    size, length = past.shape[axis], update.shape[axis]
    along, batch = [1] * past.ndim, [1] * past.ndim
    along[axis], batch[0] = size, past.shape[0]
    place = space(update).arange(size, device=device_of(past))
    step = xp.reshape(place, tuple(along))
    if first is not None:
        step = step - xp.reshape(xp.astype(first, step.dtype), tuple(batch))
    if mode == "circular":
        step = xp.remainder(step, xp.full((), size, dtype=step.dtype, device=device_of(past)))
    is_new = (step >= 0) & (step < length)
    chosen = xp.broadcast_to(xp.where(is_new, step, xp.zeros_like(step)), tuple(past.shape))
    return xp.where(is_new, xp.take_along_axis(update, chosen, axis=axis), past)


@operator("ArrayFeatureExtractor", domain="ai.onnx.ml")
def array_feature_extractor(x: Any, numbers: Any) -> Any:
    """Columns by number."""
    xp = space(x)
    found = xp.take(x, space(numbers).reshape(numbers, (-1,)), axis=x.ndim - 1)
    return found if x.ndim > 1 else xp.reshape(found, (1, -1))


@operator("Binarizer", domain="ai.onnx.ml")
def binarizer(x: Any, *, threshold: float = 0.0) -> Any:
    """1 where x is above a threshold, else 0."""
    return space(x).astype(x > threshold, x.dtype)


__all__ = ["at", "is_float", "merged"]
