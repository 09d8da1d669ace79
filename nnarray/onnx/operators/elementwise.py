"""Functions of each entry, and of pairs of entries, which are broadcast."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from nnarray.backends import device_of
from nnarray.onnx.graph import DTYPES
from nnarray.onnx.operators.common import Call, is_float, kind, scalar, space
from nnarray.onnx.operators.table import operator

UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "BitwiseNot": "bitwise_invert",
    "Cos": "cos",
    "Cosh": "cosh",
    "Exp": "exp",
    "IsNaN": "isnan",
    "Log": "log",
    "Neg": "negative",
    "Not": "logical_not",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
"""Operators that are functions of the standard."""
ROUNDED = {"Ceil": "ceil", "Floor": "floor", "Round": "round"}
BINARY = {
    "And": "logical_and",
    "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Or": "logical_or",
    "Xor": "logical_xor",
}
LEARNED = {"Add": "zeros", "Mul": "ones", "Sub": "zeros", "Div": "ones"}
"""Arithmetic with an array of the file, which may be a bias or a scale, and what new ones begin with."""
ARITHMETIC = {"Add": "add", "Mul": "multiply", "Sub": "subtract"}


def _unary(function: str) -> Callable[..., Any]:
    return lambda x: getattr(space(x), function)(x)


def _binary(function: str) -> Callable[..., Any]:
    return lambda a, b: getattr(space(a, b), function)(a, b)


for _name, _function in (UNARY | ROUNDED).items():
    operator(_name)(_unary(_function))
for _name, _function in BINARY.items():
    operator(_name, 7)(_binary(_function))
for _name, _function in ARITHMETIC.items():
    operator(_name, 7, weights={0: LEARNED[_name], 1: LEARNED[_name]})(_binary(_function))


@operator("Div", 7, weights={1: "ones"})
def div(a: Any, b: Any) -> Any:
    """a / b; of integers the whole part, towards 0."""
    xp = space(a, b)
    if is_float(a):
        return xp.divide(a, b)
    quotient, rest = xp.floor_divide(a, b), xp.remainder(a, b)
    is_rounded_down = (rest != 0) & ((a < 0) != (b < 0))
    return xp.where(is_rounded_down, quotient + xp.ones_like(quotient), quotient)


@operator("Mod", 10)
def mod(a: Any, b: Any, *, fmod: int = 0) -> Any:
    """The rest of a division: with the sign of b, or with `fmod` that of a."""
    xp = space(a, b)
    rest = xp.remainder(a, b)
    if not fmod:
        return rest
    if is_float(a):
        size = xp.remainder(xp.abs(a), xp.abs(b))
        return xp.where(a < 0, -size, size)
    return xp.where((rest != 0) & ((a < 0) != (b < 0)), rest - b, rest)


@operator("Pow", 7)
def power(a: Any, b: Any) -> Any:
    """a to the power of b, in the dtype of a."""
    xp = space(a, b)
    if kind(a) == kind(b):
        return xp.pow(a, b)
    if is_float(a):
        return xp.pow(a, xp.astype(b, a.dtype))
    wide = xp.float64 if hasattr(xp, "float64") else xp.float32
    return xp.astype(xp.pow(xp.astype(a, wide), xp.astype(b, wide)), a.dtype)


def _of_many(pair: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda *arrays: functools.reduce(pair, arrays)


operator("Max", 8)(_of_many(_binary("maximum")))
operator("Min", 8)(_of_many(_binary("minimum")))
operator("Sum", 8)(_of_many(_binary("add")))


@operator("Mean", 8)
def mean(*arrays: Any) -> Any:
    """The mean of some arrays."""
    return functools.reduce(_binary("add"), arrays) / len(arrays)


@operator("BitShift", 11)
def bit_shift(a: Any, b: Any, *, direction: str) -> Any:
    """The bits of a, moved by b places."""
    xp = space(a, b)
    return xp.bitwise_left_shift(a, b) if direction == "LEFT" else xp.bitwise_right_shift(a, b)


@operator("Where", 9)
def where(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition is true, else b."""
    return space(a, b).where(condition, a, b)


@operator("Identity")
def identity(x: Any) -> Any:
    """The same array or sequence."""
    return (x,)


@operator("Reciprocal")
def reciprocal(x: Any) -> Any:
    """1 / x."""
    return 1.0 / x


@operator("IsInf", 10)
def is_infinite(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    """Whether x is infinite, with either sign."""
    xp = space(x)
    y = xp.isinf(x)
    if not detect_negative:
        y = y & (x > 0)
    return y if detect_positive else y & (x < 0)


def _bound(x: Any, bound: Any) -> Any:
    return scalar(bound, x) if isinstance(bound, float) else space(x, bound).reshape(bound, ())


@operator("Clip", 1)
def clip_by_settings(x: Any, *, min: float = -math.inf, max: float = math.inf) -> Any:
    """`x`, at least `min` and at most `max`."""
    return clip(x, float(min) if min > -math.inf else None, float(max) if max < math.inf else None)


@operator("Clip", 11)
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """`x`, at least `low` and at most `high`."""
    xp = space(x)
    if low is not None:
        x = xp.maximum(x, _bound(x, low))
    return x if high is None else xp.minimum(x, _bound(x, high))


@operator("Cast", 6)
def cast(call: Call, x: Any, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    """The same numbers in another dtype."""
    return call.cast(x, to)


@operator("CastLike", 15)
def cast_like(call: Call, x: Any, like: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    """The same numbers in the dtype of another array."""
    return x if x.dtype == like.dtype else space(x).astype(x, like.dtype)


@operator("Constant")
def constant(call: Call, **values: Any) -> Any:
    """A constant of the file."""
    (name, value), *_ = values.items()
    if name in ("value_int", "value_ints"):
        return call.array(value, "int64")
    if name in ("value_float", "value_floats"):
        return call.array(value, "float32")
    raise ValueError(f"a constant by the attribute {name!r} is not supported: use one of numbers")


@operator("EyeLike", 9)
def eye_like(call: Call, x: Any, *, dtype: int | None = None, k: int = 0) -> Any:
    """Ones on a diagonal, in the shape of a matrix."""
    rows, columns = x.shape
    wanted = x.dtype if dtype is None else call.dtype(dtype)
    xp = call.backend.xp
    return xp.astype(xp.eye(rows, columns, k=k, device=call.backend.device), wanted)


@operator("Shrink", 9)
def shrink(x: Any, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    """`x` moved towards 0 by the bias, and 0 between -lambd and lambd."""
    xp = space(x)
    if not is_float(x):
        down, up = scalar(int(bias), x), scalar(int(bias), x)
        zero = xp.zeros_like(x)
        wide = xp.astype(x, xp.float32)
        return xp.where(wide > lambd, x - down, xp.where(wide < -lambd, x + up, zero))
    zero = xp.zeros_like(x)
    return xp.where(x > lambd, x - bias, xp.where(x < -lambd, x + bias, zero))


@operator("BitCast", 26, reads=(0,))
def bit_cast(call: Call, x: Any, *, to: int) -> Any:
    """The bit pattern of each number, read as another dtype of its size; on the host, where this exists."""
    return call.backend.asarray(x.view(DTYPES[to]))


def ones_like_shape(x: Any, shape: tuple[int, ...]) -> Any:
    """Ones of a shape, in the place and dtype of `x`."""
    return space(x).ones(shape, dtype=x.dtype, device=device_of(x))
