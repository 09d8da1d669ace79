"""Entries by number."""

from __future__ import annotations

import math
from typing import Any

from nnarray import kernels
from nnarray.onnx.writing.elementwise import common, dtype_of, whole_numbers
from nnarray.onnx.writing.operations import Operation, Value
from nnarray.onnx.writing.shapes import LAST, argument, shape_of
from nnarray.onnx.writing.sizes import Repeated, Size
from nnarray.onnx.writing.table import kernel_row, row
from nnarray.onnx.writing.writer import Unwritable, Writer


@row("getitem")
def getitem(w: Writer, op: Operation) -> str:
    """Slices and numbers by one operator, an array of integers by another, and then the shape of the result."""
    x, key = op.arguments
    parts = _parts(key, len(x.shape))
    name = _sliced(w, w.tensor(x), parts)
    axis = 0
    arrays = [part for part in parts if _is_array(part)]
    if len(arrays) > 1:
        raise Unwritable("a key with several arrays cannot be written; use xp.take, one axis after the other")
    for part in parts:
        if _is_array(part) or isinstance(part, Size):
            index = w.vector([part]) if isinstance(part, Size) else whole_numbers(w, part)
            name = w.add("Gather", name, index, axis=axis)
        axis += part is not None
    if any(part is None or isinstance(part, (int, Size)) for part in parts):
        name = w.reshaped(name, shape_of(op))
    return w.add("Identity", name) if isinstance(x, Value) and name == w.values[x.number] else name


def _is_array(part: Any) -> bool:
    return isinstance(part, (Value, Repeated)) or hasattr(part, "dtype")


def _parts(key: Any, count: int) -> list[Any]:
    """The key with one part for each axis, and None for each new one."""
    parts = list(key) if isinstance(key, tuple) and not isinstance(key, Value) else [key]
    at = next((i for i, part in enumerate(parts) if part is ...), None)
    if at is None:
        parts, at = [*parts, ...], len(parts)
    missing = count - sum(part is not None and part is not ... for part in parts)
    return [*parts[:at], *[slice(None)] * missing, *parts[at + 1 :]]


def _sliced(w: Writer, name: str, parts: list[Any]) -> str:
    starts: list[int | Size] = []
    ends: list[int | Size] = []
    axes: list[int] = []
    steps: list[int] = []
    for axis, part in enumerate(part for part in parts if part is not None):
        if _is_array(part) or isinstance(part, Size) or part == slice(None):
            continue
        if isinstance(part, int):
            part = slice(part, part + 1 if part != -1 else None)
        step = 1 if part.step is None else part.step
        starts.append((0 if step > 0 else LAST) if part.start is None else part.start)
        ends.append((LAST if step > 0 else -LAST) if part.stop is None else part.stop)
        axes.append(axis)
        steps.append(step)
    if not axes:
        return name
    return w.add("Slice", name, w.vector(starts), w.vector(ends), w.integers(axes), w.integers(steps))


@row("take")
def take(w: Writer, op: Operation) -> str:
    """One operator; without an axis, along the only one."""
    axis = argument(op, 2, "axis")
    return w.add("Gather", w.tensor(op.arguments[0]), whole_numbers(w, op.arguments[1]), axis=int(axis or 0))


@row("take_along_axis")
def take_along_axis(w: Writer, op: Operation) -> str:
    """One operator, whose arrays have the same shape but along the axis."""
    x, indices, axis = op.arguments[0], op.arguments[1], int(argument(op, 2, "axis", -1)) % len(op.arguments[0].shape)
    names = [w.tensor(x), whole_numbers(w, indices)]
    for i, each in enumerate((x, indices)):
        wanted = [each.shape[axis] if j == axis else n for j, n in enumerate(shape_of(op))]
        if [*each.shape] != wanted:
            names[i] = w.add("Expand", names[i], w.vector(wanted))
    return w.add("GatherElements", *names, axis=axis)


@row("searchsorted")
def searchsorted(w: Writer, op: Operation) -> str:
    """How many of the sorted numbers are smaller; with side="right", smaller or the same."""
    x1, x2 = op.arguments[:2]
    dtype, sorter = common(w, x1, x2), op.settings.get("sorter")
    ordered = w.tensor(x1, dtype)
    if sorter is not None:
        ordered = w.add("Gather", ordered, whole_numbers(w, sorter), axis=0)
    each = w.add("Unsqueeze", w.tensor(x2, dtype), w.integers([-1]))
    comparison = "Less" if op.settings.get("side", "left") == "left" else "LessOrEqual"
    smaller = w.cast(w.add(comparison, ordered, each), dtype_of(op))
    return w.add("ReduceSum", smaller, w.integers([-1]), keepdims=0)


@row("isin")
def isin(w: Writer, op: Operation) -> str:
    """Whether any of the others is the same."""
    x1, x2 = op.arguments[:2]
    dtype = common(w, x1, x2)
    each = w.add("Unsqueeze", w.tensor(x1, dtype), w.integers([-1]))
    same = w.add("Equal", each, w.add("Reshape", w.tensor(x2, dtype), w.integers([-1])))
    found = w.cast(w.add("ReduceMax", w.cast(same, w.xp.int32), w.integers([-1]), keepdims=0), w.xp.bool)
    return w.add("Not", found) if op.settings.get("invert") else found


@kernel_row("lookup")
def lookup(w: Writer, op: Operation) -> str:
    """The rows of a table. A number without a row is an error for those who run the file."""
    table, index = op.arguments
    return w.add("Gather", w.tensor(table, dtype_of(op)), whole_numbers(w, index), axis=0)


@row("argmax", "argmin")
def largest(w: Writer, op: Operation) -> str:
    """The number of the first one along an axis, or of all entries."""
    x, axis, keep = w.tensor(op.arguments[0]), argument(op, 1, "axis"), bool(op.settings.get("keepdims"))
    if axis is None:
        if keep:
            raise Unwritable(f"{op.name} with keepdims needs an axis to be written")
        x, axis = w.add("Reshape", x, w.integers([-1])), 0
    return w.add({"argmax": "ArgMax", "argmin": "ArgMin"}[op.name], x, axis=int(axis), keepdims=int(keep))


@row("sort", "argsort")
def sort(w: Writer, op: Operation) -> str:
    """As many largest or smallest ones as there are."""
    x, axis = op.arguments[0], int(argument(op, 1, "axis", -1))
    count, largest_first = w.vector([x.shape[axis]]), int(bool(op.settings.get("descending")))
    found = w.add_many("TopK", 2, w.tensor(x), count, axis=axis, largest=largest_first, sorted=1)
    return found[op.name == "argsort"]


@row("repeat")
def repeat(w: Writer, op: Operation) -> str:
    """Each entry along an axis as often as a number says."""
    x, times, axis = op.arguments[0], argument(op, 1, "repeats"), argument(op, 2, "axis")
    if not isinstance(times, int) or axis is None or isinstance(x.shape[axis], Size):
        raise Unwritable("repeat needs a number, and an axis of a fixed size, to be written")
    index = w.xp.repeat(w.xp.arange(x.shape[axis], dtype=w.xp.int64), times)
    return w.add("Gather", w.tensor(x), w.constant(index), axis=int(axis))


@row("put_at")
def put_at(w: Writer, op: Operation) -> str:
    """The new entries stand behind the old ones, from which each place takes its own by number."""
    x, key, value = op.arguments
    parts = _parts(key, len(x.shape))
    first: list[Any] = [1]
    rest: list[Any] = list(x.shape)
    if isinstance(x.shape[0], Size):
        if _is_array(parts[0]) or parts[0] != slice(None):
            raise Unwritable("x[key] = value for some of the examples cannot be written; use xp.where")
        (*first,), rest, parts = x.shape[:1], rest[1:], parts[1:]
    if any(isinstance(each, (Value, Repeated)) for each in parts):
        raise Unwritable("x[key] = value with a key that depends on the inputs cannot be written; use xp.where")
    if any(isinstance(n, Size) for n in rest):
        raise Unwritable("x[key] = value of an array of any size cannot be written; use xp.where")
    count = math.prod(rest)
    places = w.xp.reshape(w.xp.arange(count, dtype=w.xp.int64), tuple(rest))[tuple(parts)]
    size = math.prod(places.shape)
    flat = w.xp.reshape(places, (size,))
    index = kernels.put(w.xp.arange(count, dtype=w.xp.int64), flat, w.xp.arange(size, dtype=w.xp.int64) + count)
    wide = [*(first if isinstance(first[0], Size) else []), *places.shape]
    new = w.reshaped(w.add("Expand", w.tensor(value, dtype_of(op)), w.vector(wide)), [*first, size])
    both = w.add("Concat", w.reshaped(w.tensor(x), [*first, count]), new, axis=1)
    return w.reshaped(w.add("Gather", both, w.constant(index), axis=1), x.shape)
