"""Entries by number: read, written, sorted."""

from __future__ import annotations

import math
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of
from nnarray.kernels.standard.numerics import at_least_float32_dtype
from nnarray.recording.traced import Traced, stripped
from nnarray.typing import Namespace


def getitem(xp: Namespace, x: Any, key: Any) -> Any:
    """x[key]; the gradient is put where the entries came from, and added up where one was read more than once."""
    key = _constant_key(key)

    def pullback(xp: Namespace, g: Any) -> Any:
        zeros = xp.zeros(x.shape, dtype=g.dtype, device=device_of(g))
        if is_basic(key):
            bare = _without_new_axes(key)
            return xp.put_at(zeros, bare, xp.reshape(g, x[bare].shape))
        numbers = _numbers(xp, x)[key]
        rows = xp.reshape(g, (-1, 1))
        return xp.reshape(xp.sum_at(rows, xp.reshape(numbers, (-1,)), math.prod(x.shape)), x.shape)

    return x[key], (pullback,)


def is_basic(key: Any) -> bool:
    """Whether each entry is read at most once for sure: the key has numbers, slices, None and ... only."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is ... or isinstance(part, (int, slice)) for part in parts)


def _without_new_axes(key: Any) -> tuple[Any, ...]:
    return tuple(part for part in (key if isinstance(key, tuple) else (key,)) if part is not None)


def _constant_key(key: Any) -> Any:
    return tuple(map(stripped, key)) if isinstance(key, tuple) else stripped(key)


def _numbers(xp: Namespace, x: Any) -> Any:
    """The number of each entry of x, in its shape."""
    return xp.reshape(stripped(xp.arange(math.prod(x.shape), device=device_of(x))), x.shape)


def put(xp: Namespace, x: Any, key: Any, value: Any) -> Any:
    """A new array, x with `value` at `key`: what `x[key] = value` makes of a traced array."""
    key = _constant_key(key)
    y = kernels.put(xp.as_constant(x) if isinstance(value, Traced) else x, key, value)

    def of_value(xp: Namespace, g: Any) -> Any:
        if is_basic(key) or (hasattr(key, "dtype") and xp.isdtype(key.dtype, "bool")):
            return g[key]
        last = _is_last(xp, _numbers(xp, x), key)
        return xp.where(last, g[key], xp.zeros(last.shape, dtype=g.dtype, device=device_of(g)))

    return y, (lambda xp, g: xp.put_at(g, key, 0.0), None, of_value)


def _is_last(xp: Namespace, numbers: Any, key: Any) -> Any:
    """Where a value that is written at `key` stays: an entry that is written more than once has the last one."""
    shape = numbers[key].shape
    order = xp.plain.reshape(xp.plain.arange(math.prod(shape), device=device_of(numbers)), shape)
    return kernels.put(numbers, key, order)[key] == order


def sum_at(xp: Namespace, rows: Any, index: Any, count: int) -> Any:
    """The kernel `scatter_add`: y[k] is the sum of the rows whose index is k."""
    return kernels.scatter_add(rows, index, count=count), (lambda xp, g: xp.take(g, index, axis=0),)


def take(xp: Namespace, x: Any, indices: Any, *, axis: int | None = None) -> Any:
    if axis is None and x.ndim != 1:
        raise ValueError(f"take needs the axis of an array of shape {x.shape}. Pass axis=, or xp.reshape(x, (-1,)).")
    indices, along = stripped(indices), 0 if axis is None else axis % x.ndim

    def pullback(xp: Namespace, g: Any) -> Any:
        g, size = xp.moveaxis(g, along, 0), x.shape[along]
        sums = xp.sum_at(
            xp.reshape(g, (g.shape[0], math.prod(g.shape[1:]))), xp.where(indices < 0, indices + size, indices), size
        )
        return xp.moveaxis(xp.reshape(sums, (size, *g.shape[1:])), 0, along)

    return xp.take(x, indices, axis=along), (pullback,)


def take_along_axis(xp: Namespace, x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """x[..., indices[...], ...], by the numbers of the entries."""
    axis, indices = axis % x.ndim, stripped(indices)
    shape = tuple(
        i if at == axis else max(i, n) if n != i and i == 1 else i
        for at, (n, i) in enumerate(zip(x.shape, indices.shape, strict=True))
    )
    numbers = xp.plain.take_along_axis(_numbers(xp, x), xp.plain.broadcast_to(indices, shape), axis=axis)
    flat = xp.take(xp.reshape(x, (-1,)), xp.plain.reshape(numbers, (-1,)), axis=0)
    return xp.reshape(flat, shape)


def sort(xp: Namespace, x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    order = xp.plain.argsort(stripped(x), axis=axis, descending=descending, stable=stable)
    y = xp.moveaxis(take_along_axis(xp, x, order, axis=axis), axis, -1)
    return xp.moveaxis(xp.shared(y), -1, axis)


def shared(xp: Namespace, y: Any) -> Any:
    """The same array; neighbours in the last axis that are equal share their gradient in equal parts, as in `max`."""

    def pullback(xp: Namespace, g: Any) -> Any:
        bare, flat = stripped(y), xp.reshape(g, (-1, 1))
        is_first = xp.plain.concat([bare[..., :1] == bare[..., :1], bare[..., 1:] != bare[..., :-1]], axis=-1)
        group = xp.plain.cumulative_sum(xp.plain.astype(xp.plain.reshape(is_first, (-1,)), _numbers(xp, y).dtype)) - 1
        ones = xp.plain.ones_like(stripped(flat), dtype=at_least_float32_dtype(xp, g.dtype))  # float16 counts to 2048
        means = xp.sum_at(flat, group, math.prod(y.shape)) / xp.sum_at(ones, group, math.prod(y.shape))
        return xp.reshape(xp.take(means, group, axis=0), y.shape)

    return y, (pullback,)


def repeat(xp: Namespace, x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    if axis is None:
        x, axis = xp.reshape(x, (-1,)), 0
    numbers = stripped(xp.arange(x.shape[axis], device=device_of(x)))
    return xp.take(x, xp.plain.repeat(numbers, stripped(repeats)), axis=axis)


RULES = {"getitem": getitem, "put_at": put, "shared": shared, "sum_at": sum_at, "take": take}
COMPOSED = {"repeat": repeat, "sort": sort, "take_along_axis": take_along_axis}
