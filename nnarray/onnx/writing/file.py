"""A network with its numbers as the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnarray import files
from nnarray.kernels.compilation import quiet
from nnarray.names import shown
from nnarray.onnx.writing import beside, elementwise, images, indexing, linear, recurrent, reductions, shapes
from nnarray.onnx.writing.axes import axes_of
from nnarray.onnx.writing.checking import CLOSE, check
from nnarray.onnx.writing.message import Content, content_of, message_of, package
from nnarray.onnx.writing.record import Source
from nnarray.onnx.writing.writer import OUTPUT

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


def source_of(model: Any, notes: dict[str, str], dynamic_axes: Any = None, *, keeps_names: bool = False) -> Source:
    """What is written of a model on the host; raises as `axes_of`.

    With `keeps_names`, the model of a file has the names of inputs and output that the file has.
    """
    inputs, output, ports = model.inputs, OUTPUT, getattr(model.network, "port_names", None)
    if keeps_names and ports is not None:
        names, output = ports
        inputs = inputs if isinstance(inputs, Mapping) else {names[0]: inputs}
    return Source(model.wiring, model.theta, model.state, inputs, notes, axes_of(inputs, dynamic_axes), output)


@quiet  # the random inputs need not be such that each function is defined there
def write(file: Path, source: Source, batch: int | None, *, is_checked: bool) -> None:
    """Write a file that computes what the network computes; above 2 GiB, with its constants in a second one.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    TypeError, ValueError
        If the network cannot be written, or the file computes something else. Then there is no file.
    OSError
        If the folder does not exist, may not be written to or is full.
    """
    package()
    content = content_of(source, batch)
    if not beside.is_needed(content.constants):
        data = _bytes(content, source, batch, is_checked=is_checked)
        files.replace_by(file, data)
        beside.sweep(file)
        return

    def model(places: Mapping[str, beside.Place], part: Path) -> None:
        part.write_bytes(message_of(content, places).SerializeToString())
        package().checker.check_model(str(part), full_check=False)
        if is_checked:
            check(part, source, batch)

    beside.replace_both(file, content.constants, model)


def contents(source: Source, batch: int | None, *, is_checked: bool) -> bytes:
    """The bytes of a file, of a model that is smaller than 2 GiB; raises as `write`."""
    package()
    content = content_of(source, batch)
    if beside.is_needed(content.constants):
        raise ValueError(
            "the file would be larger than 2 GiB, which a single ONNX file cannot be. Write the network alone, with "
            "model.to_onnx(path), which puts its constants into a second file."
        )
    return _bytes(content, source, batch, is_checked=is_checked)


@quiet
def _bytes(content: Content, source: Source, batch: int | None, *, is_checked: bool) -> bytes:
    message = message_of(content)
    package().checker.check_model(message, full_check=False)
    data = message.SerializeToString()
    if is_checked:
        check(data, source, batch)
    return data
