"""Products of matrices, and what else a matrix has."""

from __future__ import annotations

import math
from typing import Any

from nnarray.onnx.writing.elementwise import both, dtype_of
from nnarray.onnx.writing.operations import Operation
from nnarray.onnx.writing.reductions import reduced
from nnarray.onnx.writing.shapes import argument, shape_of
from nnarray.onnx.writing.sizes import Size
from nnarray.onnx.writing.table import kernel_row, row
from nnarray.onnx.writing.writer import Unwritable, Writer


@row("matmul", "linalg.matmul")
def matmul(w: Writer, op: Operation) -> str:
    """One operator, which multiplies stacks of matrices too."""
    return w.add("MatMul", *both(w, op, dtype_of(op)))


@row("vecdot", "linalg.vecdot")
def vecdot(w: Writer, op: Operation) -> str:
    """The sum of the products along an axis."""
    axis = int(op.settings.get("axis", -1))
    product = w.add("Mul", *both(w, op, dtype_of(op)))
    return w.add("ReduceSum", product, w.integers([axis]), keepdims=0)


@row("tensordot", "linalg.tensordot")
def tensordot(w: Writer, op: Operation) -> str:
    """A product of two matrices: the axes that are summed are the columns of the one and the rows of the other."""
    x, y = op.arguments[:2]
    axes = argument(op, 2, "axes", 2)
    if isinstance(axes, int):
        axes = tuple(range(len(x.shape) - axes, len(x.shape))), tuple(range(axes))
    of_x, of_y = ([axis % len(each.shape) for axis in part] for each, part in zip((x, y), axes, strict=True))
    left, right = ([axis for axis in range(len(each.shape)) if axis not in own] for each, own in ((x, of_x), (y, of_y)))
    summed = [x.shape[axis] for axis in of_x]
    if any(isinstance(n, Size) for n in summed):
        raise Unwritable("tensordot over an axis of any size cannot be written; use xp.matmul")
    count = math.prod(summed)
    rows = w.reshaped(w.permuted(x, [*left, *of_x]), [_product(w, [x.shape[axis] for axis in left]), count])
    columns = w.reshaped(w.permuted(y, [*of_y, *right]), [count, _product(w, [y.shape[axis] for axis in right])])
    dtype = dtype_of(op)
    names = (name if each.dtype == dtype else w.cast(name, dtype) for name, each in ((rows, x), (columns, y)))
    return w.reshaped(w.add("MatMul", *names), shape_of(op))


def _product(w: Writer, sizes: Any) -> Any:
    """The number of rows; -1, which is what is left, if a size is not fixed."""
    return -1 if any(isinstance(n, Size) for n in sizes) else math.prod(sizes)


@row("linalg.outer")
def outer(w: Writer, op: Operation) -> str:
    """A column times a row."""
    dtype = dtype_of(op)
    x, y = (w.tensor(each, dtype) for each in op.arguments[:2])
    return w.add("Mul", w.add("Unsqueeze", x, w.integers([1])), w.add("Unsqueeze", y, w.integers([0])))


@row("linalg.det")
def det(w: Writer, op: Operation) -> str:
    """One operator."""
    return w.add("Det", w.tensor(op.arguments[0]))


@row("linalg.slogdet")
def slogdet(w: Writer, op: Operation) -> tuple[str, str]:
    """Of the determinant, which may overflow."""
    y = w.add("Det", w.tensor(op.arguments[0]))
    return w.add("Sign", y), w.add("Log", w.add("Abs", y))


@row("linalg.diagonal")
def diagonal(w: Writer, op: Operation) -> str:
    """Entries of the flat matrices, by number."""
    x, offset = op.arguments[0], int(op.settings.get("offset", 0))
    *stack, rows, columns = x.shape
    if isinstance(rows, Size) or isinstance(columns, Size):
        raise Unwritable("a diagonal of matrices of any size cannot be written")
    first = max(-offset, 0) * columns + max(offset, 0)
    count = shape_of(op)[-1]
    index = first + w.xp.arange(count, dtype=w.xp.int64) * (columns + 1)
    flat = w.reshaped(w.tensor(x), [*stack, rows * columns], x.shape)
    return w.add("Gather", flat, w.constant(index), axis=len(stack))


@row("linalg.trace")
def trace(w: Writer, op: Operation) -> str:
    """The sum of the entries on a diagonal, of which the others are no part."""
    x, offset = op.arguments[0], int(op.settings.get("offset", 0))
    rows, columns = x.shape[-2:]
    if isinstance(rows, Size) or isinstance(columns, Size):
        raise Unwritable("the trace of matrices of any size cannot be written")
    mask = w.xp.eye(rows, columns, k=offset, dtype=w.xp.bool)
    dtype = dtype_of(op)
    kept = w.add("Where", w.constant(mask), w.tensor(x, dtype), w.number(0, dtype))
    return w.add("ReduceSum", kept, w.integers([-2, -1]), keepdims=0)


@row("linalg.cross")
def cross(w: Writer, op: Operation) -> str:
    """Entries 1, 2, 0 of the one times 2, 0, 1 of the other, less the converse."""
    axis = int(op.settings.get("axis", -1))
    x, y = both(w, op, dtype_of(op))
    parts = [
        [w.add("Gather", each, w.integers(order), axis=axis) for each in (x, y)] for order in ([1, 2, 0], [2, 0, 1])
    ]
    (x1, y1), (x2, y2) = parts
    return w.add("Sub", w.add("Mul", x1, y2), w.add("Mul", x2, y1))


@row("linalg.matrix_power")
def matrix_power(w: Writer, op: Operation) -> str:
    """As many products."""
    x, n = op.arguments[0], int(argument(op, 1, "n"))
    if n < 1:
        raise Unwritable(f"a power of {n} of a matrix cannot be written; it must be at least 1")
    base, result = w.tensor(x), ""
    while n:
        if n % 2:
            result = w.add("MatMul", result, base) if result else base
        n //= 2
        base = w.add("MatMul", base, base) if n else base
    return w.add("Identity", result)


@row("linalg.vector_norm")
def vector_norm(w: Writer, op: Operation) -> str:
    """By the absolute values: their sum, root of squares, extremes, number above 0, or another power."""
    order, axis = op.settings.get("ord", 2), op.settings.get("axis")
    keepdims, dtype = bool(op.settings.get("keepdims")), dtype_of(op)
    x = w.add("Abs", w.tensor(op.arguments[0], dtype))
    operator = {math.inf: "ReduceMax", -math.inf: "ReduceMin", 1: "ReduceL1", 2: "ReduceL2"}.get(order)
    if operator:
        return reduced(w, x, operator, axis, keepdims=keepdims)
    if order == 0:
        return reduced(w, w.add("Sign", x), "ReduceSum", axis, keepdims=keepdims)
    powers = w.add("Pow", x, w.number(float(order), dtype))
    return w.add("Pow", reduced(w, powers, "ReduceSum", axis, keepdims=keepdims), w.number(1.0 / float(order), dtype))


@row("linalg.matrix_norm")
def matrix_norm(w: Writer, op: Operation) -> str:
    """The root of all squares, or the largest or smallest sum of a column or a row."""
    order, keepdims, dtype = op.settings.get("ord", "fro"), bool(op.settings.get("keepdims")), dtype_of(op)
    x = w.tensor(op.arguments[0], dtype)
    if order == "fro":
        return reduced(w, x, "ReduceL2", (-2, -1), keepdims=keepdims)
    if order not in (1, -1, math.inf, -math.inf):
        raise Unwritable(f"the norm {order!r} needs singular values, for which there is no operator")
    along, others = ((-2,), (-1,)) if abs(order) == 1 else ((-1,), (-2,))
    sums = reduced(w, x, "ReduceL1", along, keepdims=True)
    y = reduced(w, sums, "ReduceMax" if order > 0 else "ReduceMin", others, keepdims=True)
    return y if keepdims else w.add("Squeeze", y, w.integers([-2, -1]))


@kernel_row("affine")
def affine(w: Writer, op: Operation) -> str:
    """Gemm for rows; a product and a sum for more axes."""
    x, weight, bias = op.arguments
    dtype = dtype_of(op)
    if len(x.shape) == 2 and len(weight.shape) == 2:
        arrays = [x, weight] if bias is None else [x, weight, bias]
        return w.add("Gemm", *(w.tensor(each, dtype) for each in arrays))
    product = w.add("MatMul", w.tensor(x, dtype), w.tensor(weight, dtype))
    return product if bias is None else w.add("Add", product, w.tensor(bias, dtype))
