"""A graph that was read as a layer, with the numbers of its parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nnarray.backends import host_backend
from nnarray.layers.tensors import Tensor
from nnarray.names import named, shown
from nnarray.onnx.graph import Graph, Node, Value, needed
from nnarray.onnx.layer import OnnxGraph
from nnarray.onnx.reading.bits import computed, opened
from nnarray.onnx.reading.file import Content
from nnarray.onnx.weights import KEPT, Weight, constants_of, main_float, nested, origin_of, weights_of


class Imported(NamedTuple):
    """A layer, the shape of its inputs, and its parameters on the host."""

    layer: OnnxGraph
    shape: Any
    params: dict[str, Any]


def imported(content: Content, shape: Any, output: str | None, fixed: Mapping[str, Any]) -> Imported:
    """The layer of one output.

    Raises
    ------
    ValueError
        If a name is unknown, or the shape of an input is not known.
    """
    graph = _with_fixed(content.graph, fixed)
    names = {value.name: value for value in graph.outputs}
    chosen = named(output, names, "output") if output is not None else graph.outputs[0]
    graph = needed(graph, chosen)
    graph = _parted(needed(opened(graph, content.versions), chosen), content.versions)
    if not graph.inputs:
        raise ValueError(f"the output {chosen.name!r} depends on no input. Choose another one with output=")
    constants, main = constants_of(graph), main_float(graph)
    weights = weights_of(graph, content.versions)
    layer = OnnxGraph(_without(graph, weights), content.versions, weights, chosen.name, main)
    params = {each.name: constants[each.name].values for each in weights}
    return Imported(layer, _shape(graph, shape), nested(params, layer.paths))


def _parted(graph: Graph, versions: Mapping[str, int]) -> Graph:
    """The graph in which states and statistics are constants of their own.

    Programs write equal arrays once, so that a state of 0 may have the name of a bias.
    """
    constants, weights = constants_of(graph), {each.name for each in weights_of(graph, versions)}
    made = {name: node for node in graph.nodes for name in node.outputs}
    taken = {*constants, *made, *(value.name for value in graph.inputs)}
    own: dict[str, Tensor] = {}

    def kept(name: str) -> str:
        if origin_of(name, made) not in weights:
            return name
        new = f"{name} as it is"
        while new in taken:
            new += "_"
        own[new] = constants[name] if name in constants else computed(graph, name, versions)
        return new

    def parted(node: Node) -> Node:
        places = () if node.domain else KEPT.get(node.op, ())
        return node._replace(inputs=tuple(kept(each) if i in places else each for i, each in enumerate(node.inputs)))

    nodes = tuple(map(parted, graph.nodes))
    return graph._replace(nodes=nodes, constants={**graph.constants, **own})


def classes_of(notes: Mapping[str, str]) -> list[str] | None:
    """The names of the classes in the notes of a file, as `to_onnx` writes them; None if there are none."""
    try:
        found = json.loads(notes.get("classes", ""))
    except (ValueError, RecursionError):  # the notes of another program
        return None
    return found if isinstance(found, list) and all(isinstance(name, str) for name in found) else None


def _with_fixed(graph: Graph, fixed: Mapping[str, Any]) -> Graph:
    """The graph with constants in place of some inputs."""
    inputs = {value.name: value for value in graph.inputs}
    constants = dict(graph.constants)
    for name, value in fixed.items():
        wanted: Value = named(name, inputs, "input")
        host = host_backend()
        array = host.asarray(value)
        constants[name] = Tensor(host.xp.astype(array, host.dtype(wanted.dtype)) if wanted.dtype else array)
    left = tuple(value for value in graph.inputs if value.name not in fixed)
    return graph._replace(inputs=left, constants=constants)


def _without(graph: Graph, weights: Iterable[Weight]) -> Graph:
    """The graph without the constants that are parameters."""
    names = {each.name for each in weights}
    constants = {name: tensor for name, tensor in graph.constants.items() if name not in names}
    nodes = tuple(node for node in graph.nodes if node.op != "Constant" or node.outputs[0] not in names)
    return graph._replace(constants=constants, nodes=nodes)


def _shape(graph: Graph, given: Any) -> Any:
    """The shape of an example, or those of all inputs by name: from the file, or as given."""
    names = [value.name for value in graph.inputs]
    if given is not None and not isinstance(given, Mapping):
        if len(names) > 1:
            raise ValueError(
                f"it has the inputs {', '.join(names)}: pass shape as a mapping by name; got {shown(given)}"
            )
        given = {names[0]: given}
    unknown = [name for name in given or {} if name not in names]
    if unknown:
        raise ValueError(f"it has no input {unknown[0]!r}, but {', '.join(names)}")
    shapes = {value.name: (given or {}).get(value.name, _own_shape(value)) for value in graph.inputs}
    missing = [value for value in graph.inputs if shapes[value.name] is None]
    if missing:
        example = ", ".join(f"{value.name!r}: {_example(value)}" for value in missing)
        written = f"{{{example}}}" if len(names) > 1 else _example(missing[0])
        raise ValueError(
            f"it leaves the shape of the examples open: pass it without the batch axis, such as shape={written}"
        )
    shapes = {name: tuple(int(n) for n in shape) for name, shape in shapes.items()}
    return shapes if len(names) > 1 else shapes[names[0]]


def _own_shape(value: Value) -> Any:
    if value.shape is None:
        return None
    if not value.shape:
        raise ValueError(
            f"the input {value.name!r} is one number, without a batch axis: fix it, with fixed={{{value.name!r}: ...}}"
        )
    return value.shape[1:] if all(isinstance(n, int) for n in value.shape[1:]) else None


def _example(value: Value) -> str:
    sizes = [n if isinstance(n, int) else 128 for n in (value.shape or (1, None))[1:]]
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
