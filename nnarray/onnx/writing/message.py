"""The bytes of a file: nodes, constants, inputs and outputs as a message of ONNX."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from nnarray.onnx.writing.beside import Place
from nnarray.onnx.writing.operations import Operation
from nnarray.onnx.writing.record import Recording, Source, layer_of, recording_of
from nnarray.onnx.writing.sizes import BATCH, Size
from nnarray.onnx.writing.table import ROWS
from nnarray.onnx.writing.transpositions import settled
from nnarray.onnx.writing.writer import Made, Unwritable, Writer, code
from nnarray.version import __version__

IR = {18: 8, 19: 9, 20: 9}
"""The version of the format that came with a version of the operators."""


def package() -> Any:
    """The package onnx.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ImportError("writing ONNX files needs the package 'onnx'; pip install 'nnarray[onnx]'.") from error


class Content(NamedTuple):
    """What a file will have."""

    writer: Writer
    recording: Recording
    output: str
    notes: Mapping[str, str]

    @property
    def constants(self) -> dict[str, Any]:
        """Those that a node reads, by name."""
        read = {name for node in self.writer.nodes for name in node.inputs}
        return {name: each for name, each in self.writer.constants.items() if name in read}


def content_of(source: Source, batch: int | None) -> Content:
    """Nodes and constants.

    Raises
    ------
    ValueError
        If an operation has no row in the table, or depends on the number of examples; it names the layer.
    """
    recording = recording_of(source, batch)
    places = {each.name: each.places[0] for each in recording.axes if each.name != BATCH}
    writer = Writer(recording.parameters, list(recording.inputs), places, source.output)
    for name, value in recording.inputs.items():
        writer.has(value, name)
    for op in recording.operations:
        _write(writer, op, source, recording.whole)
    last = writer.add("Identity", writer.tensor(recording.output))
    writer.nodes[:] = _renamed(_used(settled(writer), last), last, writer.output)
    return Content(writer, recording, writer.output, source.notes)


def _write(writer: Writer, op: Operation, source: Source, whole: frozenset[str]) -> None:
    try:
        if op.name not in ROWS:
            raise Unwritable("there is no operator for it in the table")
        names = ROWS[op.name](writer, op)
    except Unwritable as error:
        where = layer_of(source, op, whole)
        raise ValueError(
            f"{op.name!r}{' in ' + where if where else ''} cannot be written as ONNX: {error}. Write the layer with "
            f"other functions of the array API standard."
        ) from error
    names = (names,) if isinstance(names, str) else names
    for value, name in zip(op.results, names, strict=False):
        if value is not None:
            writer.has(value, name)


def _used(nodes: list[Made], last: str) -> list[Made]:
    """The nodes that the output depends on."""
    wanted, kept = {last}, list[Made]()
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    return kept[::-1]


def _renamed(nodes: list[Made], last: str, output: str) -> list[Made]:
    """The output with its name; the node that only copies it is left out, if another one made it."""
    *others, copy = nodes
    (source,) = copy.inputs
    made = [node for node in others if source in node.outputs]
    names = {source: output} if made else {last: output}
    kept = others if made else nodes
    return [
        node._replace(
            inputs=tuple(names.get(n, n) for n in node.inputs), outputs=tuple(names.get(n, n) for n in node.outputs)
        )
        for node in kept
    ]


def message_of(content: Content, places: Mapping[str, Place] | None = None) -> Any:
    """The message; constants that have a place in another file are not in it.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    """
    onnx = package()
    helper, writer, recording = onnx.helper, content.writer, content.recording
    nodes = [
        helper.make_node(node.op, list(node.inputs), list(node.outputs), name=f"{node.op}_{i}", **node.attributes)
        for i, node in enumerate(writer.nodes)
    ]
    arrays = [_constant(onnx, writer, name, each, places or {}) for name, each in content.constants.items()]
    inputs = [_info(helper, name, value) for name, value in recording.inputs.items()]
    graph = helper.make_graph(nodes, "nnarray", inputs, [_info(helper, content.output, recording.output)], arrays)
    sets = [helper.make_opsetid("", writer.opset)]
    message = helper.make_model(
        graph, opset_imports=sets, ir_version=IR[writer.opset], producer_name="nnarray", producer_version=__version__
    )
    helper.set_model_props(message, dict(content.notes))
    return message


def _constant(onnx: Any, writer: Writer, name: str, array: Any, places: Mapping[str, Place]) -> Any:
    if name not in places:
        return onnx.numpy_helper.from_array(writer.xp.asarray(array, copy=True), name)
    tensor = onnx.TensorProto(name=name, dims=array.shape, data_type=code(array.dtype))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in places[name]._asdict().items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _info(helper: Any, name: str, value: Any) -> Any:
    shape = [str(n) or f"size {axis} of {name}" if isinstance(n, Size) else n for axis, n in enumerate(value.shape)]
    return helper.make_tensor_value_info(name, code(value.dtype), shape)
