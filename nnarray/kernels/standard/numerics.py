"""Guards that keep sums and differences of real numbers inside their range."""

from __future__ import annotations

from nnarray.backends import namespace
from nnarray.typing import Array


def wide(x: Array) -> Array:
    """`x`, or in float32 if it is narrower: exponentials and their sums need the range."""
    xp = namespace(x)
    return xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits < 32 else x


def clamp(x: Array, low: float, high: float) -> Array:
    """min(max(x, low), high), handing on nan: `clip`, which in array-api-strict puts its bounds on another device."""
    xp = namespace(x)
    return xp.minimum(xp.maximum(x, low), high)


def within(x: Array) -> Array:
    """`x` with everything beyond half the largest number, infinity too, drawn in: no difference of two overflows."""
    xp = namespace(x)
    half = float(xp.finfo(x.dtype).max) / 2
    return clamp(x, -half, half)
