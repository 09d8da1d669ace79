"""A graph from an ONNX file: its parts as plain data, checked."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnarray.onnx.graph import DTYPES, Graph, Node, Value
from nnarray.onnx.reading.arrays import Files, array_of, text_or_array_of
from nnarray.onnx.reading.checks import check
from nnarray.onnx.reading.functions import inlined

DEEPEST = 16
"""How many graphs may stand inside one another."""
USUAL = ("", "ai.onnx")


@dataclass(frozen=True)
class Content:
    """What a file has: the graph, the versions of the operator sets, and notes."""

    graph: Graph
    versions: Mapping[str, int]
    notes: Mapping[str, str]


def read_file(path: str | os.PathLike[str], *, texts: bool = False) -> Content:
    """The contents of a file, completely checked.

    `texts` allows constants and operators of texts too, which can be shown, and not computed.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or cannot be read.
    ImportError
        If the package that reads such files is not installed.
    ValueError
        If the file is damaged, or has something that is not supported; the message names the file and the fault.
    """
    file = Path(path)
    data = _bytes_of(file)
    return read_bytes(data, file.parent, repr(str(file)), texts=texts)


def read_bytes(data: bytes, folder: Path, name: str, *, texts: bool = False) -> Content:
    """The contents of a file that was read; raises as `read_file`."""
    try:
        return _content(_message(data), folder, texts)
    except (ValueError, RecursionError, OverflowError, UnicodeDecodeError) as error:
        fault = "its graphs stand inside one another too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{name} cannot be read: {fault.rstrip('.')}.") from error


def _bytes_of(file: Path) -> bytes:
    if file.is_dir():
        raise IsADirectoryError(f"{str(file)!r} is a folder; pass the path of an .onnx file.")
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {str(file)!r}; check the path.") from error


def _message(data: bytes) -> Any:
    try:
        from google.protobuf.message import DecodeError
        from onnx import ModelProto
    except ImportError as error:
        raise ImportError("reading ONNX files needs the package 'onnx'; pip install 'nnarray[onnx]'.") from error
    message = ModelProto()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"it is not an ONNX file, or it is damaged ({error})") from error
    if not message.HasField("graph"):
        raise ValueError("it has no graph; it may be another kind of file, or damaged")
    return message


def _content(message: Any, folder: Path, texts: bool) -> Content:
    versions = {("" if each.domain in USUAL else each.domain): int(each.version) for each in message.opset_import}
    if not versions:
        raise ValueError("it does not say which version of the operators it uses")
    reader = _Reader(Files(folder), texts)
    graph = reader.graph(message.graph, 0)
    graph, versions = inlined(graph, versions, [reader.function(each) for each in message.functions])
    check(graph, versions, texts=texts)
    notes = {each.key: each.value for each in message.metadata_props}
    return Content(graph, versions, notes)


class _Reader:
    """Messages as plain data."""

    def __init__(self, files: Files, texts: bool = False) -> None:
        self.files, self.read = files, text_or_array_of if texts else array_of

    def graph(self, message: Any, depth: int) -> Graph:
        """One graph, and those inside of it."""
        _refuse_twins([each.name for each in message.initializer])
        if depth > DEEPEST:
            raise ValueError(f"its graphs stand inside one another more than {DEEPEST} deep")
        if message.sparse_initializer:
            raise ValueError("it has sparse constants, which are not supported. Export it with dense ones")
        constants = {each.name: self.read(each, self.files) for each in message.initializer}
        nodes = tuple(self.node(each, depth) for each in message.node)
        inputs = tuple(self.value(each) for each in message.input if each.name not in constants)
        return Graph(nodes, inputs, tuple(map(self.value, message.output)), constants, message.name)

    def node(self, message: Any, depth: int) -> Node:
        """One operator."""
        attributes: dict[str, Any] = {}
        bodies: dict[str, Graph] = {}
        for each in message.attribute:
            if each.type == each.GRAPH:
                bodies[each.name] = self.graph(each.g, depth + 1)
            else:
                attributes[each.name] = self.attribute(each)
        domain = "" if message.domain in USUAL else message.domain
        inputs, outputs = tuple(message.input), tuple(message.output)
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        return Node(message.op_type, inputs, outputs, attributes, bodies, domain, message.name)

    def attribute(self, message: Any) -> Any:
        """The value of an attribute."""
        if message.ref_attr_name:
            return ("attribute", message.ref_attr_name)
        kind = message.type
        if kind == message.FLOAT:
            return _number(message.f)
        if kind == message.INT:
            return int(message.i)
        if kind == message.STRING:
            return message.s.decode()
        if kind == message.TENSOR:
            return array_of(message.t, self.files)
        if kind == message.FLOATS:
            return tuple(map(_number, message.floats))
        if kind == message.INTS:
            return tuple(map(int, message.ints))
        if kind == message.STRINGS:
            return tuple(each.decode() for each in message.strings)
        if kind == message.TENSORS:
            return tuple(array_of(each, self.files) for each in message.tensors)
        if kind == message.TYPE_PROTO:
            return None
        raise ValueError(f"attribute {message.name!r} has a type that is not supported ({kind})")

    def value(self, message: Any) -> Value:
        """The name, the dtype and the shape of an input or output."""
        kind = message.type.WhichOneof("value")
        if kind != "tensor_type":
            return Value(message.name, "")
        tensor = message.type.tensor_type
        shape = tuple(map(_size, tensor.shape.dim)) if tensor.HasField("shape") else None
        for n in shape or ():
            if isinstance(n, int) and n < 0:
                raise ValueError(f"{message.name!r} has the shape {shape}, but sizes are at least 0")
        return Value(message.name, DTYPES.get(tensor.elem_type, ""), shape)

    def function(
        self, message: Any
    ) -> tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[Node, ...], dict[str, Any]]:
        """A function of the file: domain, name, inputs, outputs, nodes, and attributes that have usual values."""
        usual = {each.name: self.attribute(each) for each in message.attribute_proto}
        nodes = tuple(self.node(each, 1) for each in message.node)
        domain = "" if message.domain in USUAL else message.domain
        return domain, message.name, tuple(message.input), tuple(message.output), nodes, usual


def _refuse_twins(names: list[str]) -> None:
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ValueError(f"it has two constants with the name {twins[0]!r}")


def _number(x: float) -> Any:
    """A real number as JSON can have it: others are texts, which `float` takes."""
    return float(x) if math.isfinite(x) else str(float(x))


def _size(message: Any) -> Any:
    which = message.WhichOneof("value")
    return int(message.dim_value) if which == "dim_value" else message.dim_param or None


def values_of(graph: Graph) -> Iterator[Value]:
    """All inputs and outputs."""
    yield from graph.inputs
    yield from graph.outputs
