"""A network with its numbers as the bytes of an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnarray.kernels.compilation import quiet
from nnarray.names import shown
from nnarray.onnx.writing import elementwise, images, indexing, linear, recurrent, reductions, shapes
from nnarray.onnx.writing.checking import CLOSE, check
from nnarray.onnx.writing.message import written
from nnarray.onnx.writing.record import Source

FAMILIES = elementwise, images, indexing, linear, recurrent, reductions, shapes
"""The files that fill the table."""
SUFFIX = ".onnx"


def named_file(path: Any, dtype: str) -> Path:
    """The path of a file to be written, for a model of this dtype.

    Raises
    ------
    TypeError, ValueError
        If it is not a path, or has another ending; or if the dtype cannot be written.
    """
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"path must be the path of an {SUFFIX} file; got {shown(path)}.") from None
    if file.suffix != SUFFIX:
        raise ValueError(f"the file must end in {SUFFIX}; got {str(file)!r}. Use {file.stem + SUFFIX!r}.")
    if dtype not in CLOSE:
        raise ValueError(
            f"a model of {', '.join(CLOSE)} can be written as ONNX; got one of {dtype}. Convert it first, "
            f"model.to(backend, dtype='float32')."
        )
    return file


def source_of(model: Any, notes: dict[str, str]) -> Source:
    """What is written of a model on the host."""
    return Source(model.wiring, model.theta, model.state, model.inputs, notes)


@quiet  # the random inputs need not be such that each function is defined there
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
