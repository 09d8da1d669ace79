"""A graph of operators as data: names, attributes and constants, but no code and no arrays of a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nnarray.layers.tensors import Tensor

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
}
"""The numbers that files have for dtypes."""
FLOATS = ("float16", "float32", "float64")


class Value(NamedTuple):
    """An input or an output: its dtype, "" if it is not known, and its sizes, where a name stands for any size."""

    name: str
    dtype: str = ""
    shape: tuple[Any, ...] | None = None


class Node(NamedTuple):
    """One operator with its inputs and outputs by name; "" is an optional one that is left out."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = {}
    bodies: Mapping[str, Graph] = {}
    """The graphs inside it, such as the branches of If."""
    domain: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """The operator as errors name it."""
        kind = f"{self.domain}.{self.op}" if self.domain else self.op
        return f"{kind} {self.name or ', '.join(filter(None, self.outputs))!r}"


class Graph(NamedTuple):
    """Operators in an order in which they can be computed, and the constants that they read."""

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    constants: Mapping[str, Tensor] = {}
    name: str = ""

    def __repr__(self) -> str:
        return f"<graph {self.name!r}, {len(self.nodes)} nodes>"


def rebuilt(graph: Any) -> Graph:
    """The graph whose parts are plain tuples, as a file of settings has them.

    Raises
    ------
    ValueError
        If they are the parts of something else.
    """
    if isinstance(graph, Graph):
        return graph
    try:
        nodes, inputs, outputs, constants, name = graph
        made = Graph(
            tuple(_node(*each) for each in nodes),
            tuple(Value(*each) for each in inputs),
            tuple(Value(*each) for each in outputs),
            constants,
            name,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the graph is damaged: {error}") from error
    if not all(isinstance(each, Tensor) for each in made.constants.values()):
        raise ValueError("the graph is damaged: its constants are not arrays")
    return made


def _node(op: str, inputs: Any, outputs: Any, attributes: Any, bodies: Any, domain: str, name: str) -> Node:
    return Node(op, inputs, outputs, attributes, {key: rebuilt(each) for key, each in bodies.items()}, domain, name)


def every_node(graph: Graph) -> Iterator[tuple[Node, str]]:
    """All nodes, also of graphs inside nodes, each with the place where it stands."""
    for node in graph.nodes:
        yield node, ""
        for key, body in node.bodies.items():
            for inner, where in every_node(body):
                yield inner, f" in {key} of {node.label}{where}"


def names_read(graph: Graph) -> set[str]:
    """The names that a graph reads from around it: those that none of its own parts defines."""
    known = {value.name for value in graph.inputs} | {*graph.constants}
    outside: set[str] = set()
    for node in graph.nodes:
        wanted = {*node.inputs}.union(*(names_read(body) for body in node.bodies.values()))
        outside |= wanted - known
        known |= {*node.outputs}
    outside |= {value.name for value in graph.outputs} - known
    return outside - {""}


def needed(graph: Graph, output: Value) -> Graph:
    """The part of a graph that one output needs."""
    wanted, kept = {output.name}, list[Node]()
    for node in reversed(graph.nodes):
        if not wanted.isdisjoint(node.outputs):
            kept.append(node)
            wanted.update(node.inputs, *(names_read(body) for body in node.bodies.values()))
    constants = {name: tensor for name, tensor in graph.constants.items() if name in wanted}
    inputs = tuple(value for value in graph.inputs if value.name in wanted)
    return Graph(tuple(reversed(kept)), inputs, (output,), constants, graph.name)
