"""Operators, one file for each family, all in `table.TABLE`."""

# pyright: reportUnusedImport=false

from nnarray.onnx.operators import (
    activations,
    attention,
    control,
    convolution,
    elementwise,
    indexing,
    linear,
    losses,
    normalisation,
    pooling,
    quantised,
    recurrent,
    reductions,
    resampling,
    sampling,
    shapes,
    signals,
)
from nnarray.onnx.operators.table import TABLE, Operator, operator_for, register
