"""Sums, means and other reductions, and normalisation."""

from __future__ import annotations

from typing import Any

from nnarray.onnx.writing.elementwise import dtype_of
from nnarray.onnx.writing.operations import Operation
from nnarray.onnx.writing.shapes import argument
from nnarray.onnx.writing.sizes import Size
from nnarray.onnx.writing.table import kernel_row, row
from nnarray.onnx.writing.writer import Unwritable, Writer

REDUCTIONS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd"}


def reduced(w: Writer, name: str, operator: str, axis: Any, *, keepdims: bool) -> str:
    """A reduction along an axis, several, or all if it is None."""
    axes = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if axis is not None and not axes:
        return name
    places = [w.integers([int(each) for each in axes])] if axes else []
    return w.add(operator, name, *places, keepdims=int(keepdims))


@row(*REDUCTIONS)
def reduction(w: Writer, op: Operation) -> str:
    """One operator, in the dtype of the result."""
    x = w.tensor(op.arguments[0], dtype_of(op))
    keepdims = bool(op.settings.get("keepdims"))
    return reduced(w, x, REDUCTIONS[op.name], argument(op, 1, "axis"), keepdims=keepdims)


@row("count_nonzero")
def count_nonzero(w: Writer, op: Operation) -> str:
    """The sum of the truth values."""
    numbers = w.cast(w.tensor(op.arguments[0], w.xp.bool), dtype_of(op))
    keepdims = bool(op.settings.get("keepdims"))
    return reduced(w, numbers, "ReduceSum", argument(op, 1, "axis"), keepdims=keepdims)


@row("any", "all")
def truth(w: Writer, op: Operation) -> str:
    """The largest or the smallest of numbers 0 and 1."""
    numbers = w.cast(w.tensor(op.arguments[0], w.xp.bool), w.xp.int32)
    operator = "ReduceMax" if op.name == "any" else "ReduceMin"
    keepdims = bool(op.settings.get("keepdims"))
    return w.cast(reduced(w, numbers, operator, argument(op, 1, "axis"), keepdims=keepdims), w.xp.bool)


@row("var", "std")
def variance(w: Writer, op: Operation) -> str:
    """The mean of the squared deviations; with a correction, their sum divided by less."""
    x, axis, keepdims = w.tensor(op.arguments[0]), argument(op, 1, "axis"), bool(op.settings.get("keepdims"))
    centred = w.add("Sub", x, reduced(w, x, "ReduceMean", axis, keepdims=True))
    y = reduced(w, w.add("Mul", centred, centred), "ReduceMean", axis, keepdims=keepdims)
    correction = float(op.settings.get("correction", 0.0))
    if correction:
        y = w.add("Mul", y, w.number(_bessel(op, axis, correction), dtype_of(op)))
    return y if op.name == "var" else w.add("Sqrt", y)


def _bessel(op: Operation, axis: Any, correction: float) -> float:
    shape, count = op.arguments[0].shape, 1
    for each in range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis:
        if isinstance(shape[each], Size):
            raise Unwritable("a variance with a correction over an axis of any size cannot be written")
        count *= shape[each]
    return count / (count - correction)


@row("cumulative_sum")
def cumulative_sum(w: Writer, op: Operation) -> str:
    """One operator; without an axis, along the only one."""
    axis = int(argument(op, 1, "axis") or 0)
    y = w.add("CumSum", w.tensor(op.arguments[0], dtype_of(op)), w.constant(w.xp.asarray(axis)))
    return _with_initial(w, op, y, axis, 0)


@row("cumulative_prod")
def cumulative_prod(w: Writer, op: Operation) -> str:
    """Of each position, the product of the entries up to it: a matrix of them, with 1 in the place of later ones."""
    x, dtype = op.arguments[0], dtype_of(op)
    axis = int(argument(op, 1, "axis") or 0) % len(x.shape)
    n, one, more = x.shape[axis], w.number(1, dtype), len(x.shape) - 1 - axis
    if isinstance(n, Size):
        raise Unwritable("cumulative_prod along an axis of any size cannot be written")
    mask = w.xp.reshape(w.xp.tril(w.xp.ones((n, n), dtype=w.xp.bool)), (n, n, *[1] * more))
    table = w.add("Where", w.constant(mask), w.add("Unsqueeze", w.tensor(x, dtype), w.integers([axis])), one)
    y = w.add("ReduceProd", table, w.integers([axis + 1]), keepdims=0)
    return _with_initial(w, op, y, axis, 1)


def _with_initial(w: Writer, op: Operation, y: str, axis: int, number: int) -> str:
    """With the result for no entries before the others, if it is asked for."""
    if not op.settings.get("include_initial"):
        return y
    return w.add("Pad", y, w.integers([1, 0]), w.number(number, dtype_of(op)), w.integers([axis]))


# --- Kernels ---------------------------------------------------------------------------------------------------------


def _inverse(w: Writer, mean_of_squares: str, epsilon: float, dtype: Any) -> str:
    return w.add("Reciprocal", w.add("Sqrt", w.add("Add", mean_of_squares, w.number(epsilon, dtype))))


def _normalised(w: Writer, op: Operation, axes: Any, epsilon: float) -> tuple[str, str, str, str]:
    """z in the dtype of x, and the others in that of the second result."""
    first, second = op.results[:2]
    assert first is not None
    assert second is not None
    x = w.tensor(op.arguments[0], second.dtype)
    mean = reduced(w, x, "ReduceMean", axes, keepdims=True)
    centred = w.add("Sub", x, mean)
    deviation = reduced(w, w.add("Mul", centred, centred), "ReduceMean", axes, keepdims=True)
    inverse = _inverse(w, deviation, epsilon, second.dtype)
    z = w.add("Mul", centred, inverse)
    return z if first.dtype == second.dtype else w.cast(z, first.dtype), inverse, mean, deviation


@kernel_row("normalise")
def normalise(w: Writer, op: Operation) -> tuple[str, ...]:
    """By the mean of squares."""
    return _normalised(w, op, op.settings["axes"], op.settings["epsilon"])


@kernel_row("layer_norm")
def layer_norm(w: Writer, op: Operation) -> tuple[str, ...]:
    """The operator in float32, which is what its numbers are; else by the mean of squares."""
    _, weight, bias = op.arguments
    dtype, epsilon = dtype_of(op), float(op.settings["epsilon"])
    if dtype == w.xp.float32:
        arrays = [w.tensor(each, dtype) for each in op.arguments]
        return w.add_many("LayerNormalization", 3, *arrays, axis=-1, epsilon=epsilon)
    z, inverse, mean, _ = _normalised(w, op, (-1,), epsilon)
    scaled = w.add("Mul", z, w.tensor(weight, dtype))
    return w.add("Add", scaled, w.tensor(bias, dtype)), mean, inverse


@kernel_row("rms_normalise")
def rms_normalise(w: Writer, op: Operation) -> tuple[str, str]:
    """By the mean of squares."""
    first, second = op.results
    assert first is not None
    assert second is not None
    x = w.tensor(op.arguments[0], second.dtype)
    square = reduced(w, w.add("Mul", x, x), "ReduceMean", (-1,), keepdims=True)
    inverse = _inverse(w, square, op.settings["epsilon"], second.dtype)
    z = w.add("Mul", x, inverse)
    return z if first.dtype == second.dtype else w.cast(z, first.dtype), inverse
