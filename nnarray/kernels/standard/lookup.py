"""Rows of a table by number, and sums of rows by number, for embeddings; parts of an array, read and replaced."""

from __future__ import annotations

from typing import Any

from nnarray.backends import device_of, namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.typing import Array


def whole(index: Array) -> Array:
    """Integers in the library's index dtype; values that do not fit there are out of range of every table."""
    xp = namespace(index)
    kind = xp.__array_namespace_info__().default_dtypes(device=device_of(index))["integral"]
    return xp.astype(index, kind, copy=False)


@kernel
def lookup(table: Array, index: Array) -> Array:
    """y[n, ...] = table[index[n, ...]]; NaN if there is no such row, so that no check has to wait.

    Parameters
    ----------
    table : array, shape (rows, size), real floating
    index : array of integers, any shape

    Returns
    -------
    array, shape (*index.shape, size), dtype of `table`
    """
    xp, rows, index = namespace(table), table.shape[0], whole(index)
    inside = xp.logical_and(index >= 0, index < rows)
    flat = xp.reshape(xp.where(inside, index, xp.zeros_like(index)), (-1,))
    result = xp.reshape(xp.take(table, flat, axis=0), (*index.shape, table.shape[1]))
    return xp.where(inside[..., None], result, xp.asarray(xp.nan, dtype=table.dtype, device=device_of(table)))


@kernel
def scatter_add(rows: Array, index: Array, *, count: int) -> Array:
    """y[k] = sum of rows[n] over all n with index[n] = k, for k < count; other integers are ignored.

    The order of summation is fixed, so that the same rows give bitwise the same result. Equal integers are sorted
    next to each other, and each pass adds to a row the row at twice the distance before it, if it has the same
    integer.

    Parameters
    ----------
    rows : array, shape (N, size), real floating
        Added in at least float32.
    index : array of integers, shape (N,)
    count : int

    Returns
    -------
    array, shape (count, size), dtype of `rows`

    References
    ----------
    .. [1] Hillis & Steele (1986), Data parallel algorithms. Communications of the ACM 29(12), 1170-1183.
    """
    xp, device = namespace(rows), device_of(rows)
    if rows.shape[0] == 0:
        return xp.zeros((count, rows.shape[1]), dtype=rows.dtype, device=device)
    index = whole(index)
    order = xp.argsort(index, stable=True)
    index, sums, distance = xp.take(index, order), at_least_float32(xp.take(rows, order, axis=0)), 1
    while distance < index.shape[0]:
        same = index[distance:] == index[:-distance]
        before = xp.where(same[:, None], sums[:-distance, :], xp.zeros_like(sums[:-distance, :]))
        sums = xp.concat([sums[:distance, :], sums[distance:, :] + before], axis=0)
        distance = 2 * distance
    each = xp.arange(count, dtype=index.dtype, device=device)
    last = xp.astype(xp.searchsorted(index, each, side="right"), index.dtype) - 1
    at = xp.where(last >= 0, last, xp.zeros_like(last))
    there = xp.logical_and(last >= 0, xp.take(index, at) == each)
    result = xp.take(sums, at, axis=0)
    return xp.astype(xp.where(there[:, None], result, xp.zeros_like(result)), rows.dtype, copy=False)


@kernel
def block(x: Array, first: Array, *, count: int) -> Array:
    """y[n, ...] = x[first + n, ...] for n < count; all these rows must exist.

    Parameters
    ----------
    x : array, shape (rows, ...), any dtype
    first : array of shape (), int32
    """
    xp = namespace(x)
    return xp.take(x, whole(first) + xp.arange(count, device=device_of(x)), axis=0)


@kernel
def inserted(x: Array, part: Array, first: Any, *, axis: int) -> Array:
    """x, with `part` in place of its entries first, first + 1, ... along the axis. Consumes x.

    Parameters
    ----------
    x : array, any shape and dtype
        A faster version may write into it.
    part : array, shape and dtype of x, but shorter along the axis; not empty
        All of its entries must have a place in x.
    first : int, or array of shape (), int32
    """
    xp, count = namespace(x), part.shape[axis]
    index = xp.arange(x.shape[axis], device=device_of(x)) - (first if isinstance(first, int) else whole(first))
    inside = xp.logical_and(index >= 0, index < count)
    taken = xp.take(part, xp.where(inside, index, xp.zeros_like(index)), axis=axis)
    along = tuple(-1 if i == axis % x.ndim else 1 for i in range(x.ndim))
    return xp.where(xp.reshape(inside, along), taken, x)
