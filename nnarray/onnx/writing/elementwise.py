"""Functions of each entry, comparisons, and choices."""

from __future__ import annotations

import math
from typing import Any

from nnarray.onnx.writing.operations import Operation, Value
from nnarray.onnx.writing.sizes import Repeated
from nnarray.onnx.writing.table import kernel_row, row
from nnarray.onnx.writing.writer import Unwritable, Writer

UNARY = {
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "exp": "Exp",
    "floor": "Floor",
    "isnan": "IsNaN",
    "log": "Log",
    "logical_not": "Not",
    "negative": "Neg",
    "reciprocal": "Reciprocal",
    "round": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
}
BINARY = {
    "add": "Add",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "multiply": "Mul",
    "pow": "Pow",
    "subtract": "Sub",
}
COMPARISONS = {
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
}
LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
BITS = {
    "bitwise_and": ("And", "BitwiseAnd"),
    "bitwise_or": ("Or", "BitwiseOr"),
    "bitwise_xor": ("Xor", "BitwiseXor"),
}


def common(w: Writer, *parts: Any) -> Any:
    """The dtype in which arrays meet; numbers take that of the arrays."""
    return w.xp.result_type(*(each.dtype for each in parts if hasattr(each, "dtype")))


def both(w: Writer, op: Operation, dtype: Any = None) -> list[str]:
    """The arguments, in the dtype in which they meet."""
    dtype = dtype or common(w, *op.arguments)
    return [part_of(w, op, each, dtype) for each in op.arguments]


def part_of(w: Writer, op: Operation, x: Any, dtype: Any) -> str:
    """An argument. One entry of a constant stands for all examples, where another argument has all of them."""
    (result, *_) = op.results
    has_all = any(
        isinstance(each, Value) and result is not None and each.shape == result.shape for each in op.arguments
    )
    if has_all and op.name in BINARY and _is_whole(w, x, result):
        x = Repeated(x[:1, ...] if bool(w.xp.all(x == x[:1, ...])) else x, tuple(x.shape))
    if not has_all or not isinstance(x, Repeated):
        return w.tensor(x, dtype)
    one = x.part[(0,) * x.part.ndim] if op.name in BINARY and 0 not in x.part.shape else None
    if one is not None and bool(w.xp.all(x.part == one)):
        return w.constant(w.xp.astype(one, dtype))  # such as the first state of a sequence, which is no parameter
    return w.part(x, dtype)


def _is_whole(w: Writer, x: Any, result: Value | None) -> bool:
    """Whether a constant has an entry for each of the result, as a state of a fixed number of examples, and no name."""
    if result is None or isinstance(x, (Value, Repeated)) or getattr(x, "ndim", 0) < 2 or w.is_parameter(x):
        return False
    return tuple(x.shape) == tuple(result.shape) and 0 not in x.shape


@row(*UNARY)
def unary(w: Writer, op: Operation) -> str:
    """One operator."""
    return w.add(UNARY[op.name], w.tensor(op.arguments[0]))


@row(*BINARY)
def binary(w: Writer, op: Operation) -> str:
    """One operator, of two arrays in the dtype of the result."""
    return w.add(BINARY[op.name], *both(w, op, dtype_of(op)))


def dtype_of(op: Operation) -> Any:
    """The dtype of the first result."""
    (first, *_) = op.results
    assert first is not None
    return first.dtype


@row(*COMPARISONS)
def comparison(w: Writer, op: Operation) -> str:
    """One operator, of two arrays in one dtype."""
    return w.add(COMPARISONS[op.name], *both(w, op))


@row("not_equal")
def not_equal(w: Writer, op: Operation) -> str:
    """What is not equal."""
    return w.add("Not", w.add("Equal", *both(w, op)))


@row(*LOGIC)
def logic(w: Writer, op: Operation) -> str:
    """One operator of truth values."""
    return w.add(LOGIC[op.name], *both(w, op, w.xp.bool))


@row(*BITS)
def bits(w: Writer, op: Operation) -> str:
    """Of truth values or integers."""
    return w.add(BITS[op.name][dtype_of(op) != w.xp.bool], *both(w, op, dtype_of(op)))


@row("bitwise_invert")
def invert(w: Writer, op: Operation) -> str:
    """Of truth values or integers."""
    return w.add("Not" if dtype_of(op) == w.xp.bool else "BitwiseNot", w.tensor(op.arguments[0]))


@row("where")
def where(w: Writer, op: Operation) -> str:
    """A choice, in the dtype of the result."""
    condition, *others = op.arguments
    return w.add("Where", part_of(w, op, condition, w.xp.bool), *(part_of(w, op, x, dtype_of(op)) for x in others))


@row("astype")
def astype(w: Writer, op: Operation) -> str:
    """Another dtype."""
    return w.cast(w.tensor(op.arguments[0]), dtype_of(op))


@row("positive", "asarray", "to_device", "real", "conj")
def same(w: Writer, op: Operation) -> str:
    """The array as it is, or in the dtype that is asked for."""
    return w.tensor(op.arguments[0], dtype_of(op))


@row("square")
def square(w: Writer, op: Operation) -> str:
    """x x."""
    x = w.tensor(op.arguments[0])
    return w.add("Mul", x, x)


@row("expm1")
def expm1(w: Writer, op: Operation) -> str:
    """exp(x) - 1."""
    return w.add("Sub", w.add("Exp", w.tensor(op.arguments[0])), w.number(1.0, dtype_of(op)))


@row("log1p")
def log1p(w: Writer, op: Operation) -> str:
    """ln(1 + x)."""
    return w.add("Log", w.add("Add", w.tensor(op.arguments[0]), w.number(1.0, dtype_of(op))))


@row("log2", "log10")
def other_log(w: Writer, op: Operation) -> str:
    """ln x / ln of the base."""
    base = 2.0 if op.name == "log2" else 10.0
    return w.add("Div", w.add("Log", w.tensor(op.arguments[0])), w.number(math.log(base), dtype_of(op)))


@row("isfinite")
def isfinite(w: Writer, op: Operation) -> str:
    """|x| < infinity, which nan is not."""
    x = op.arguments[0]
    return w.add("Less", w.add("Abs", w.tensor(x)), w.number(math.inf, x.dtype))


@row("isinf")
def isinf(w: Writer, op: Operation) -> str:
    """|x| = infinity."""
    x = op.arguments[0]
    return w.add("Equal", w.add("Abs", w.tensor(x)), w.number(math.inf, x.dtype))


@row("clip")
def clip(w: Writer, op: Operation) -> str:
    """The bounds, one after the other."""
    x, *bounds = op.arguments
    low, high = (*bounds, None, None)[:2]
    low, high = op.settings.get("min", low), op.settings.get("max", high)
    y = w.tensor(x, dtype_of(op))
    for name, bound in (("Max", low), ("Min", high)):
        y = y if bound is None else w.add(name, y, w.tensor(bound, dtype_of(op)))
    return y


@row("trunc")
def trunc(w: Writer, op: Operation) -> str:
    """The whole number towards 0."""
    x = w.tensor(op.arguments[0])
    return w.add("Mul", w.add("Sign", x), w.add("Floor", w.add("Abs", x)))


@row("hypot")
def hypot(w: Writer, op: Operation) -> str:
    """The root of the sum of squares."""
    squares = [w.add("Mul", each, each) for each in both(w, op, dtype_of(op))]
    return w.add("Sqrt", w.add("Add", *squares))


@row("atan2")
def atan2(w: Writer, op: Operation) -> str:
    """The arc tangent of y / x, on the other side where x < 0; 0 where both are 0."""
    dtype = dtype_of(op)
    y, x = both(w, op, dtype)
    zero, half = w.number(0.0, dtype), [w.number(sign * math.pi, dtype) for sign in (-1.0, 1.0)]
    is_origin = w.add("And", w.add("Equal", x, zero), w.add("Equal", y, zero))
    angle = w.add("Atan", w.add("Div", y, w.add("Where", is_origin, w.number(1.0, dtype), x)))
    other = w.add("Add", angle, w.add("Where", w.add("Less", y, zero), *half))
    return w.add("Where", w.add("Less", x, zero), other, angle)


@row("logaddexp")
def logaddexp(w: Writer, op: Operation) -> str:
    """The larger one, and ln(1 + exp(-|a - b|))."""
    a, b = both(w, op, dtype_of(op))
    e = w.add("Exp", w.add("Neg", w.add("Abs", w.add("Sub", a, b))))
    return w.add("Add", w.add("Max", a, b), w.add("Log", w.add("Add", e, w.number(1.0, dtype_of(op)))))


@row("floor_divide")
def floor_divide(w: Writer, op: Operation) -> str:
    """The quotient, rounded down; of integers, the exact quotient of what the remainder leaves."""
    a, b = both(w, op, dtype_of(op))
    if w.xp.isdtype(dtype_of(op), "integral"):
        return w.add("Div", w.add("Sub", a, w.add("Mod", a, b)), b)
    return w.add("Floor", w.add("Div", a, b))


@row("remainder")
def remainder(w: Writer, op: Operation) -> str:
    """x - floor(x / y) y, with the sign of y."""
    a, b = both(w, op, dtype_of(op))
    if w.xp.isdtype(dtype_of(op), "integral"):
        return w.add("Mod", a, b)
    return w.add("Sub", a, w.add("Mul", w.add("Floor", w.add("Div", a, b)), b))


@row("signbit")
def signbit(w: Writer, op: Operation) -> str:
    """x < 0, or 1 / x < 0, as of -0."""
    x = op.arguments[0]
    return _is_negative(w, w.tensor(x), x.dtype)


def _is_negative(w: Writer, x: str, dtype: Any) -> str:
    zero = w.number(0.0, dtype)
    return w.add("Or", w.add("Less", x, zero), w.add("Less", w.add("Reciprocal", x), zero))


@row("copysign")
def copysign(w: Writer, op: Operation) -> str:
    """|a| with the sign of b."""
    a, b = both(w, op, dtype_of(op))
    size = w.add("Abs", a)
    return w.add("Where", _is_negative(w, b, dtype_of(op)), w.add("Neg", size), size)


@row("bitwise_left_shift", "bitwise_right_shift")
def shift(w: Writer, op: Operation) -> str:
    """Times a power of 2, or divided by it and rounded down."""
    dtype = dtype_of(op)
    a, b = both(w, op, dtype)
    power = w.add("Pow", w.number(2, dtype), b)
    if op.name == "bitwise_left_shift":
        return w.add("Mul", a, power)
    return w.add("Div", w.add("Sub", a, w.add("Mod", a, power)), power)


# --- Kernels ---------------------------------------------------------------------------------------------------------

SAME = {"relu": "Relu", "logistic": "Sigmoid", "softplus": "Softplus", "softsign": "Softsign", "mish": "Mish"}


def _one(name: str) -> None:
    @kernel_row(name, narrow=name in ("softplus", "softsign", "mish"))
    def one(w: Writer, op: Operation) -> str:
        return w.add(SAME[op.name], w.tensor(op.arguments[0]))


for _name in SAME:
    _one(_name)


@kernel_row("leaky_relu", narrow=True)
def leaky_relu(w: Writer, op: Operation) -> str:
    """The operator, with the slope as a setting."""
    return w.add("LeakyRelu", w.tensor(op.arguments[0]), alpha=float(op.settings.get("slope", 0.01)))


@kernel_row("elu", narrow=True)
def elu(w: Writer, op: Operation) -> str:
    """The operator, with alpha as a setting."""
    return w.add("Elu", w.tensor(op.arguments[0]), alpha=float(op.settings.get("alpha", 1.0)))


@kernel_row("selu", narrow=True)
def selu(w: Writer, op: Operation) -> str:
    """The operator; its numbers are those of the paper."""
    return w.add("Selu", w.tensor(op.arguments[0]))


@kernel_row("erfc", narrow=True)
def erfc(w: Writer, op: Operation) -> str:
    """1 - erf(x)."""
    x = op.arguments[0]
    return w.add("Sub", w.number(1.0, dtype_of(op)), w.add("Erf", w.tensor(x)))


@kernel_row("softmax")
def softmax(w: Writer, op: Operation) -> str:
    """Along the last axis."""
    return w.add("Softmax", w.tensor(op.arguments[0]), axis=-1)


@kernel_row("log_softmax")
def log_softmax(w: Writer, op: Operation) -> str:
    """Along the last axis."""
    return w.add("LogSoftmax", w.tensor(op.arguments[0]), axis=-1)


def whole_numbers(w: Writer, x: Any) -> str:
    """Indices, in a dtype that operators take.

    Raises
    ------
    Unwritable
        If they are no integers.
    """
    dtype = x.dtype if isinstance(x, Value) or hasattr(x, "dtype") else w.xp.int64
    if not w.xp.isdtype(dtype, "integral"):
        raise Unwritable("an array of truth values as a key has no fixed number of results")
    return w.tensor(x, w.xp.int64)
