"""Guards that keep sums and differences of real numbers inside their range."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.typing import Array, DType, Namespace


def at_least_float32_dtype(xp: Namespace, dtype: DType) -> DType:
    """`dtype`, or float32 if it is narrower."""
    return xp.float32 if xp.finfo(dtype).bits < 32 else dtype


def at_least_float32(x: Array) -> Array:
    """`x`, or in float32 if it is narrower: exponentials, and sums of many, need the range."""
    xp = namespace(x)
    return xp.astype(x, at_least_float32_dtype(xp, x.dtype), copy=False)


def clamp(x: Array, low: float, high: float) -> Array:
    """min(max(x, low), high), handing on nan: `clip`, which in array-api-strict puts its bounds on another device."""
    xp = namespace(x)
    return xp.minimum(xp.maximum(x, low), high)


def most(x: Array) -> float:
    """The largest number of the dtype of x, with room for what rounding adds to a square of its root."""
    return float(namespace(x).finfo(x.dtype).max) * (1.0 - 2.0**-9)


def scale_of(x: Array, axis: Any = None) -> Array:
    """What to divide x by before it is squared: a quarter of the largest magnitude over the axes, or 1 if that is 0.

    A quarter, for the reciprocal of the largest number is subnormal, and XLA takes that for 0.
    """
    xp = namespace(x)
    quarter = 0.25 * xp.max(xp.abs(x), axis=axis, keepdims=True)
    return xp.where(quarter == 0, 1.0, quarter)


def scaled(x: Array) -> tuple[Array, Array, Array]:
    """x / size, with the `scale_of` all of x as its size; the size; and the Euclidean norm of x / size."""
    xp, size = namespace(x), scale_of(x)
    x = x / size
    return x, size, xp.sqrt(xp.sum(x * x, keepdims=True))


def sum_of_rows(rows: Array) -> Array:
    """The sum over the first axis, in the dtype of the rows; half precision is summed in float32."""
    xp = namespace(rows)
    total = xp.sum(rows, axis=0, dtype=at_least_float32_dtype(xp, rows.dtype))
    return xp.astype(total, rows.dtype, copy=False)


def within(x: Array) -> Array:
    """`x` with everything beyond half the largest number, infinity too, limited: no difference of two overflows."""
    xp = namespace(x)
    half = float(xp.finfo(x.dtype).max) / 2
    return clamp(x, -half, half)
