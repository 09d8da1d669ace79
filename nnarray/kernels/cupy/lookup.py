"""Rows of a table by their numbers for CuPy, and sums of rows by number: without sorting, which would wait."""

from __future__ import annotations

from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.kernels.cupy.sources import REGISTERS, Code

cp: Any = cupy

MOST = 8192  # integers that are compared with each other, each by a thread; more are sorted

LOOKUP = Code(
    "raw T table, raw I index, int64 rows, int64 size",
    "T y",
    'const I row = index[i / size]; y = row >= 0 && row < rows ? table[row * size + i % size] : T(nan(""));',
)
NEIGHBOURS = Code(
    "raw I index, int64 count",
    "bool first, int32 next",
    """
    long long before = i - 1, after = i + 1;
    while (before >= 0 && index[before] != index[i]) --before;
    while (after < count && index[after] != index[i]) ++after;
    first = before < 0;
    next = after;
    """,
)
"""Whether there is no equal integer before this one, and where the next one is; at the end there is none."""

SCATTER_ADD = Code(
    "raw T rows, raw I index, raw bool first, raw int32 next, int64 count, int64 size, int64 numbers",
    "raw T sums",
    f"""{REGISTERS}
    const long long n = i / size, column = i % size;
    const I number = index[n];
    if (first[n] && number >= 0 && number < numbers) {{
        R sum = 0;
        for (long long m = n; m < count; m = next[m]) sum += R(rows[m * size + column]);
        sums[number * size + column] = T(sum);
    }}
    """,
)
CODES = {"lookup": LOOKUP, "neighbours": NEIGHBOURS, "scatter_add": SCATTER_ADD}
_LAUNCH = {name: cp.ElementwiseKernel(*code, f"nnarray_{name}") for name, code in CODES.items()}


@kernels.lookup.fast("cupy")
def lookup(table: Any, index: Any) -> Any:
    """In one launch."""
    rows, size = table.shape
    return _LAUNCH["lookup"](table, index, rows, size, cp.empty((*index.shape, size), dtype=table.dtype))


@kernels.scatter_add.fast("cupy")
def scatter_add(rows: Any, index: Any, *, count: int) -> Any:
    """In two launches: equal integers are chained, and the thread of the first one adds, from the first to the last."""
    many, size = rows.shape
    if many > MOST:
        return kernels.scatter_add.definition(rows, index, count=count)
    sums = cp.zeros((count, size), dtype=rows.dtype)
    if rows.size:
        chained = _LAUNCH["neighbours"](index, many, size=many)
        _LAUNCH["scatter_add"](rows, index, *chained, many, size, count, sums, size=rows.size)
    return sums


@kernels.inserted.fast("cupy")
def inserted(x: Any, part: Any, first: Any, *, axis: int) -> Any:
    """Written into x."""
    x[(slice(None),) * (axis % x.ndim) + (slice(first, first + part.shape[axis]),)] = part
    return x
