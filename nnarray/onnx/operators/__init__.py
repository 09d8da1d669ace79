"""Operators, one file for each family, all in `table.TABLE`."""

# pyright: reportUnusedImport=false

from nnarray.onnx.operators import (
    activations,
    control,
    convolution,
    elementwise,
    indexing,
    linear,
    normalisation,
    pooling,
    quantised,
    recurrent,
    reductions,
    shapes,
)
from nnarray.onnx.operators.table import TABLE, Operator, operator_for, register
