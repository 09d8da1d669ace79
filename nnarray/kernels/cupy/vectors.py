"""Vectors of many arrays for CuPy: one launch for many parts, where the library copies each by itself."""

from __future__ import annotations

import functools
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.kernels.cupy.sources import REGISTERS, Code

cp: Any = cupy

TOGETHER = 32  # parts of one launch: the arguments of a kernel have 4096 bytes, and a part takes 40


def source_of_joined(count: int) -> Code:
    """Of so many parts; part k fills the entries before `end<k>`."""
    inputs = ", ".join(f"raw T x{k}, int64 end{k}" for k in range(count))
    starts = ["0", *(f"end{k}" for k in range(count - 1))]
    lines = [f"if (i < end{k}) y = x{k}[i - {starts[k]}];" for k in range(count)]
    return Code(inputs, "T y", "\nelse ".join(lines))


@functools.cache
def _launch(count: int) -> Any:
    return cp.ElementwiseKernel(*source_of_joined(count), f"nnarray_joined_{count}")


@kernels.joined.fast("cupy")
def joined(*parts: Any) -> Any:
    """In one launch for each 32 parts."""
    dtypes = {part.dtype for part in parts}
    if len(dtypes) > 1:
        return kernels.joined.definition(*parts)
    flat, start = [part.reshape(-1) for part in parts if part.size], 0
    result = cp.empty(sum(part.size for part in flat), dtype=dtypes.pop())
    for k in range(0, len(flat), TOGETHER):
        group, ends = flat[k : k + TOGETHER], [0]
        for part in group:
            ends.append(ends[-1] + part.size)
        arguments = [each for pair in zip(group, ends[1:], strict=True) for each in pair]
        _launch(len(group))(*arguments, result[start : start + ends[-1]])
        start += ends[-1]
    return result


@kernels.stacked.fast("cupy")
def stacked(like: Any, *numbers: Any) -> Any:
    """As `joined`."""
    return joined(*numbers)


ALL_FINITE = ("T x", "bool y", "isfinite(x)", "a && b", "y = a", "true", "nnarray_all_finite")
"""Of CuPy's ReductionKernel: what is taken of an entry, how two are joined, the result, and that of none."""

_all_finite = cp.ReductionKernel(*ALL_FINITE, reduce_type="bool")


@kernels.all_finite.fast("cupy")
def all_finite(x: Any) -> Any:
    """In one launch."""
    return _all_finite(x) if x.dtype.kind == "f" else kernels.all_finite.definition(x)


LARGEST = ("T x", "T y", "fabs(x)", "a > b || a != a ? a : b", "y = a == 0 ? T(1) : T(0.25) * a", "0", "nnarray_size")
"""As `ALL_FINITE`: what to divide by before squaring, which is the `scale_of` all of x."""

LENGTH = ("T x, raw T size", "T y", "x / size[0] * (x / size[0])", "a + b", "y = sqrt(a)", "0", "nnarray_length")
"""As `ALL_FINITE`: the Euclidean norm of x / size."""

SHORTENED = Code(
    "T x, raw T size, raw T length, float64 norm",
    "T y",
    f"""{REGISTERS}
    const R s = size[0], l = length[0], limit = R(norm) / (l < R(1) ? R(1) : l);
    y = s > limit ? T(R(x) / s * limit) : x;
    """,
)

_size, _length = cp.ReductionKernel(*LARGEST), cp.ReductionKernel(*LENGTH)
_shortened = cp.ElementwiseKernel(*SHORTENED, "nnarray_shortened")


@kernels.shortened.fast("cupy")
def shortened(x: Any, *, norm: float) -> Any:
    """In three launches."""
    if x.dtype.itemsize < 4:
        return kernels.shortened.definition(x, norm=norm)
    size = _size(x)
    return _shortened(x, size, _length(x, size), norm)


CODES = {"shortened": SHORTENED, **{f"joined_{count}": source_of_joined(count) for count in (1, 3)}}
