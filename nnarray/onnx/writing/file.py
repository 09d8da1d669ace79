"""A network with its numbers as the bytes of an ONNX file."""

from __future__ import annotations

from nnarray.onnx.writing import elementwise, images, indexing, linear, reductions, shapes
from nnarray.onnx.writing.checking import check
from nnarray.onnx.writing.message import written
from nnarray.onnx.writing.record import Source

FAMILIES = elementwise, images, indexing, linear, reductions, shapes
"""The files that fill the table."""


def contents(source: Source, batch: int | None, *, is_checked: bool) -> bytes:
    """The bytes of a file that computes what the network computes.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    TypeError, ValueError
        If the network cannot be written, or the file computes something else.
    """
    data = written(source, batch)
    if is_checked:
        check(data, source, batch)
    return data
