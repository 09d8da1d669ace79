"""The table from the names of functions and kernels to what is written for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from nnarray.backends import dtype_name
from nnarray.onnx.writing.operations import Operation
from nnarray.onnx.writing.writer import Writer

Row: TypeAlias = Callable[[Writer, Operation], Any]
"""It adds nodes for an operation, and returns the name of its result, or the names of all."""

ROWS: dict[str, Row] = {}
KERNELS: dict[str, Callable[[Any], bool]] = {}
"""The kernels that are one operation, each with the question whether it is for a model of a dtype."""


def row(*names: str) -> Callable[[Row], Row]:
    """Register what is written for functions of the array API standard."""

    def register(function: Row) -> Row:
        for name in names:
            ROWS[name] = function
        return function

    return register


def kernel_row(name: str, *, narrow: bool = False) -> Callable[[Row], Row]:
    """Register what is written for a kernel. `narrow`: not for float64, as its settings are float32 in a file."""

    def register(function: Row) -> Row:
        ROWS[name] = function
        KERNELS[name] = lambda dtype: not narrow or dtype_name(dtype) != "float64"
        return function

    return register


def kept(dtype: Any) -> frozenset[str]:
    """The names of the kernels that are one operation in models of this dtype."""
    return frozenset(name for name, fits in KERNELS.items() if fits(dtype))
