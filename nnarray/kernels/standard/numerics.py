"""Guards that keep sums and differences of real numbers inside their range."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.typing import Array, DType, Namespace


def wide_dtype(xp: Namespace, dtype: DType) -> DType:
    """`dtype`, or float32 if it is narrower."""
    return xp.float32 if xp.finfo(dtype).bits < 32 else dtype


def wide(x: Array) -> Array:
    """`x`, or in float32 if it is narrower: exponentials, and sums of many, need the range."""
    xp = namespace(x)
    return xp.astype(x, wide_dtype(xp, x.dtype), copy=False)


def clamp(x: Array, low: float, high: float) -> Array:
    """min(max(x, low), high), handing on nan: `clip`, which in array-api-strict puts its bounds on another device."""
    xp = namespace(x)
    return xp.minimum(xp.maximum(x, low), high)


def most(x: Array) -> float:
    """The largest number of the dtype of x, with room for what rounding adds to a square of its root."""
    return float(namespace(x).finfo(x.dtype).max) * (1.0 - 2.0**-9)


def largest(x: Array, axis: Any = None) -> Array:
    """The largest magnitude over the axes, which are kept; 1 where all are 0. Divide by it before you square."""
    xp = namespace(x)
    found = xp.max(xp.abs(x), axis=axis, keepdims=True)
    return xp.where(found == 0, 1.0, found)


def within(x: Array) -> Array:
    """`x` with everything beyond half the largest number, infinity too, drawn in: no difference of two overflows."""
    xp = namespace(x)
    half = float(xp.finfo(x.dtype).max) / 2
    return clamp(x, -half, half)
