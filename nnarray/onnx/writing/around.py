"""A network inside a larger file, which takes raw inputs and gives answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nnarray.onnx.writing.message import BATCH, IR, package
from nnarray.onnx.writing.writer import CODES, OUTPUT, Made, Writer
from nnarray.version import __version__

TEXT = "text"
TEXT_CODE = 8
ML, ML_VERSION = "ai.onnx.ml", 3
"""The domain of operators for texts and tables, and the version of it that is written."""


class Port(NamedTuple):
    """An input or an output of a file; its first axis counts the examples."""

    name: str
    dtype: str
    """Of numbers, or "text"."""
    shape: tuple[int, ...] = ()
    """Of one example."""


After = Callable[[Writer, str], Mapping[Port, str]]
"""It adds nodes from the outputs of the network to each output of the file, whose names it returns."""


class Shell(NamedTuple):
    """What is around a network."""

    inputs: Sequence[Port]
    before: Callable[[Writer], str]
    """It adds nodes from the inputs to the input of the network, and returns its name."""
    after: After
    opset: int = 18
    """The lowest version of the operators that its nodes need."""


def inside(name: str) -> str:
    """The name of an input of the file while its nodes are made, which no node and no constant has."""
    return f"input {name}"


def texts(w: Writer, entries: Sequence[str]) -> str:
    """A constant vector of texts."""
    name = f"texts.{len(w.constants)}"
    same = [known for known, each in w.constants.items() if isinstance(each, list) and each == [*entries]]
    w.constants |= {} if same else {name: [*entries]}
    return same[0] if same else name


def numbered(w: Writer, text: str, numbers: Mapping[str, int], other: int) -> str:
    """The number of each text, int64."""
    keys, values = list(numbers), list(numbers.values())
    return w.add("LabelEncoder", text, domain=ML, keys_strings=keys, values_int64s=values, default_int64=other)


def fails_where(w: Writer, wrong: str, dtype: str) -> str:
    """0 of a shape; where a truth value says so, the computation fails: an entry that does not exist is asked for."""
    zero = w.constant(w.xp.zeros(1, dtype=w.xp.dtype(dtype)))
    return w.add("Gather", zero, w.cast(wrong, w.xp.int64), axis=0)


def around(network: bytes, shell: Shell, notes: Mapping[str, str], batch: int | None) -> bytes:
    """The bytes of a file that has all nodes of a network with one input, and those of its shell."""
    onnx = package()
    model = onnx.load_from_string(network)
    graph = model.graph
    writer = Writer({}, [inside(port.name) for port in shell.inputs])
    entry = shell.before(writer)
    first = len(writer.nodes)
    answers = shell.after(writer, OUTPUT)
    ports = [*shell.inputs, *answers]
    inner = _free_names(_values(graph), {port.name for port in ports})
    own = {name for node in writer.nodes for name in node.outputs} | writer.constants.keys()
    outer = _free_names(own, {*inner.values(), *(port.name for port in ports)})
    outer |= {inside(port.name): port.name for port in shell.inputs}
    outer |= {OUTPUT: inner[graph.output[0].name]} | {name: port.name for port, name in answers.items()}
    inner[graph.input[0].name] = outer[entry]
    nodes = [_node(onnx, node, outer) for node in writer.nodes]
    for node in graph.node:
        _rename(node, inner)
    arrays = [_constant(onnx, writer, each, outer[name]) for name, each in writer.constants.items()]
    for each in graph.initializer:
        each.name = inner[each.name]
    whole = onnx.helper.make_graph(
        [*nodes[:first], *graph.node, *nodes[first:]],
        "nnarray",
        [_info(onnx, port, batch) for port in shell.inputs],
        [_info(onnx, port, batch) for port in answers],
        [*arrays, *graph.initializer],
    )
    versions = {each.domain: each.version for each in model.opset_import}
    versions[""] = max(versions[""], shell.opset)
    if any(node.domain == ML for node in whole.node):
        versions[ML] = ML_VERSION
    made = onnx.helper.make_model(
        whole,
        opset_imports=[onnx.helper.make_opsetid(*each) for each in versions.items()],
        ir_version=max(model.ir_version, IR[shell.opset]),
        producer_name="nnarray",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(made, dict(notes))
    onnx.checker.check_model(made, full_check=False)
    return made.SerializeToString()


def _values(graph: Any) -> set[str]:
    """The names of the values of a graph."""
    named = {name for node in graph.node for name in (*node.input, *node.output)} - {""}
    return named | {each.name for part in (graph.input, graph.output, graph.initializer) for each in part}


def _free_names(names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """A name for each of these that is not taken."""
    found: dict[str, str] = {}
    for name in sorted(names):
        free = name
        while free in taken:
            free += "_"
        found[name] = free
        taken = taken | {free}
    return found


def _node(onnx: Any, node: Made, names: Mapping[str, str]) -> Any:
    inputs, outputs = ([names.get(each, each) for each in part] for part in (node.inputs, node.outputs))
    return onnx.helper.make_node(node.op, inputs, outputs, name=outputs[0], **node.attributes)


def _rename(node: Any, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(each, each) for each in node.input]
    node.output[:] = [names.get(each, each) for each in node.output]


def _constant(onnx: Any, writer: Writer, array: Any, name: str) -> Any:
    """Numbers, or a list of texts."""
    if isinstance(array, list):
        return onnx.helper.make_tensor(name, TEXT_CODE, [len(array)], [each.encode() for each in array])
    return onnx.numpy_helper.from_array(writer.xp.asarray(array, copy=True), name)


def _info(onnx: Any, port: Port, batch: int | None) -> Any:
    code = TEXT_CODE if port.dtype == TEXT else CODES[port.dtype]
    return onnx.helper.make_tensor_value_info(port.name, code, [batch or BATCH, *port.shape])
