"""Guards that keep sums and differences of real numbers inside their range."""

from __future__ import annotations

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


def within(x: Array) -> Array:
    """`x` with everything beyond half the largest number, infinity too, drawn in: no difference of two overflows."""
    xp = namespace(x)
    half = float(xp.finfo(x.dtype).max) / 2
    return clamp(x, -half, half)
