"""Products of matrices."""

from __future__ import annotations

from nnarray.onnx.writing.elementwise import both, dtype_of
from nnarray.onnx.writing.table import kernel_row, row
from nnarray.onnx.writing.writer import Writer
from nnarray.recording.graph import Operation


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
