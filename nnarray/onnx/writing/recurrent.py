"""Recurrent layers as one operator for each pass through the sequence."""

from __future__ import annotations

from typing import Any

from nnarray.backends import dtype_name
from nnarray.onnx.writing.elementwise import dtype_of
from nnarray.onnx.writing.operations import Operation
from nnarray.onnx.writing.shapes import LAST
from nnarray.onnx.writing.table import KERNELS, kernel_row
from nnarray.onnx.writing.writer import Writer

RECURRENCE = "recurrence"
GATES = {"tanh": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}
"""Of each cell, its gates in the order of a file."""
OPERATORS = {"tanh": "RNN", "lstm": "LSTM", "gru": "GRU"}


def is_plain(op: Operation) -> bool:
    """Whether an operation is a pass that one operator computes: without a mask, from states of 0."""
    return op.settings["cell"].name in GATES and all(each is None for each in op.arguments[5:8])


@kernel_row(RECURRENCE)
def recurrence(w: Writer, op: Operation) -> tuple[str, ...]:
    """The positions first, as in a file, and last to first for a pass in that direction."""
    x, weight_ih, weight_hh, bias_ih, bias_hh, *_ = op.arguments
    cell, units = op.settings["cell"].name, weight_hh.shape[0]
    xp, name = w.xp, w.permuted(x, (1, 0, 2))
    name = _reversed(w, name) if op.settings.get("reverse") else name
    matrices = [w.constant(_gates(w, each.T, cell, units)[None, ...], each) for each in (weight_ih, weight_hh)]
    both = [] if bias_ih is None else [_gates(w, each, cell, units) for each in (bias_ih, bias_hh)]
    biases = [w.constant(xp.concat(both, axis=0)[None, :], bias_ih)] if both else []
    settings = {"linear_before_reset": 1} if cell == "gru" else {}
    every, *last = w.add_many(
        OPERATORS[cell], 3 if cell == "lstm" else 2, name, *matrices, *biases, hidden_size=units, **settings
    )
    y = w.add("Squeeze", every, w.integers([1]))
    y = w.add("Transpose", _reversed(w, y) if op.settings.get("reverse") else y, perm=[1, 0, 2])
    assert dtype_of(op) == x.dtype
    return y, *(w.add("Squeeze", each, w.integers([0])) for each in last)


KERNELS[RECURRENCE] = lambda dtype: dtype_name(dtype) == "float32"


def _gates(w: Writer, x: Any, cell: str, units: int) -> Any:
    """The rows of the gates in the order of a file."""
    return w.xp.concat([x[i * units : (i + 1) * units, ...] for i in GATES[cell]], axis=0)


def _reversed(w: Writer, name: str) -> str:
    return w.add("Slice", name, *map(w.integers, ([-1], [-LAST], [0], [-1])))
