"""Faster versions of the kernels behind embeddings, for NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.standard.numerics import at_least_float32_dtype

MANY = 16_384  # entries from which compiled loops pay


@kernels.lookup.fast("numpy")
def lookup(table: Any, index: Any) -> Any:
    """Rows as they are, where a look finds that all are there."""
    if index.size and (index.min() < 0 or index.max() >= table.shape[0]):
        return kernels.lookup.definition(table, index)
    return np.take(table, index, axis=0)


@kernels.scatter_add.fast("numpy")
def scatter_add(rows: Any, index: Any, *, count: int) -> Any:
    """Compiled, where that pays; else equal integers sorted next to each other, and each run added in its order."""
    loops = numba_pieces("labels") if rows.size > MANY else None
    if loops and loops.takes(rows, index, count):
        return loops.summed(rows, index, count)
    inside = (index >= 0) & (index < count)
    if not inside.all():
        rows, index = rows[inside], index[inside]
    result = np.zeros((count, rows.shape[1]), dtype=rows.dtype)
    if index.size:
        order = np.argsort(index, kind="stable")
        index = index[order]
        starts = np.flatnonzero(np.concatenate(([True], index[1:] != index[:-1])))
        result[index[starts]] = np.add.reduceat(
            rows[order], starts, axis=0, dtype=at_least_float32_dtype(np, rows.dtype)
        )
    return result


@kernels.inserted.fast("numpy")
def inserted(x: Any, part: Any, first: Any, *, axis: int) -> Any:
    """Written into x."""
    x[(slice(None),) * (axis % x.ndim) + (slice(first, first + part.shape[axis]),)] = part
    return x
