"""Functions that a file defines of other operators: each call of one is replaced by its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnarray.onnx.graph import Graph, Node

MOST = 200_000
"""The most nodes that a file may have after that."""

Function = tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[Node, ...], dict[str, Any]]


def inlined(graph: Graph, versions: Mapping[str, int], functions: list[Function]) -> tuple[Graph, Mapping[str, int]]:
    """The graph with the parts of functions in place of their calls.

    Raises
    ------
    ValueError
        If a function calls itself, or there would be too many parts.
    """
    if not functions:
        return graph, versions
    inliner = _Inliner({(each[0], each[1]): each for each in functions})
    if inliner.size(graph.nodes) > MOST:
        raise ValueError(f"its functions stand for more than {MOST:,} operators, which are too many")
    return inliner.graph(graph), versions


class _Inliner:
    def __init__(self, functions: Mapping[tuple[str, str], Function]) -> None:
        self.functions = functions
        self.sizes: dict[tuple[str, str], int] = {}
        self.open: set[tuple[str, str]] = set()
        self.count = 0

    def size(self, nodes: tuple[Node, ...]) -> int:
        """How many nodes these stand for, before any is made."""
        return sum(self.size_of(node) + sum(self.size(body.nodes) for body in node.bodies.values()) for node in nodes)

    def size_of(self, node: Node) -> int:
        key = node.domain, node.op
        if key not in self.functions:
            return 1
        if key in self.open:
            raise ValueError(f"its function {node.op!r} calls itself")
        if key not in self.sizes:
            self.open.add(key)
            self.sizes[key] = self.size(self.functions[key][4])
            self.open.discard(key)
        return self.sizes[key]

    def graph(self, graph: Graph) -> Graph:
        return graph._replace(nodes=tuple(part for node in graph.nodes for part in self.node(node)))

    def node(self, node: Node) -> list[Node]:
        function = self.functions.get((node.domain, node.op))
        self.count += 1
        if function is None:
            return [node._replace(bodies={key: self.graph(body) for key, body in node.bodies.items()})]
        _, _, inputs, outputs, parts, usual = function
        given = usual | dict(node.attributes)
        called = f"{node.name or node.op}:{self.count}/"
        names = dict.fromkeys(inputs, "") | dict(zip(inputs, node.inputs, strict=False))
        names |= dict(zip(outputs, node.outputs, strict=False))
        renamed = [_renamed(part, names, called, given, dict(node.bodies)) for part in parts]
        return [each for part in renamed for each in self.node(part)]


def _renamed(node: Node, names: dict[str, str], called: str, given: dict[str, Any], bodies: dict[str, Graph]) -> Node:
    def name(each: str) -> str:
        return names.setdefault(each, called + each) if each else ""

    attributes: dict[str, Any] = {}
    inner = {key: _renamed_graph(body, names, called, given) for key, body in node.bodies.items()}
    for key, value in node.attributes.items():
        if isinstance(value, tuple) and len(value) == 2 and value[0] == "attribute":
            if value[1] in given:
                attributes[key] = given[value[1]]
            elif value[1] in bodies:
                inner[key] = bodies[value[1]]
        else:
            attributes[key] = value
    inputs, outputs = tuple(map(name, node.inputs)), tuple(map(name, node.outputs))
    return node._replace(inputs=inputs, outputs=outputs, attributes=attributes, bodies=inner, name=called + node.name)


def _renamed_graph(graph: Graph, names: dict[str, str], called: str, given: dict[str, Any]) -> Graph:
    inner = dict(names)
    for value in graph.inputs:
        inner[value.name] = called + value.name
    constants = {called + name: tensor for name, tensor in graph.constants.items()}
    inner |= {name: called + name for name in graph.constants}
    nodes = tuple(_renamed(node, inner, called, given, {}) for node in graph.nodes)
    inputs = tuple(value._replace(name=inner[value.name]) for value in graph.inputs)
    outputs = tuple(value._replace(name=inner.get(value.name, called + value.name)) for value in graph.outputs)
    return Graph(nodes, inputs, outputs, constants, graph.name)
