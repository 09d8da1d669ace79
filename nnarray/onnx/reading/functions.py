"""Functions that a file defines of other operators: each call of one is replaced by its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnarray.onnx.graph import Graph, Node

DEEPEST = 32
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
    return _Inliner({(each[0], each[1]): each for each in functions}).graph(graph), versions


class _Inliner:
    def __init__(self, functions: Mapping[tuple[str, str], Function]) -> None:
        self.functions = functions
        self.count = 0

    def graph(self, graph: Graph, depth: int = 0) -> Graph:
        nodes = [part for node in graph.nodes for part in self.node(node, depth)]
        return graph._replace(nodes=tuple(nodes))

    def node(self, node: Node, depth: int) -> list[Node]:
        function = self.functions.get((node.domain, node.op))
        self.count += 1
        if depth > DEEPEST or self.count > MOST:
            raise ValueError(f"its function {node.op!r} calls itself, or has too many parts")
        if function is None:
            return [node._replace(bodies={k: self.graph(body, depth) for k, body in node.bodies.items()})]
        _, _, inputs, outputs, parts, usual = function
        given = usual | dict(node.attributes)
        called = f"{node.name or node.op}:{self.count}/"
        names = dict.fromkeys(inputs, "") | dict(zip(inputs, node.inputs, strict=False))
        names |= dict(zip(outputs, node.outputs, strict=False))
        renamed = [_renamed(part, names, called, given, dict(node.bodies)) for part in parts]
        return [each for part in renamed for each in self.node(part, depth + 1)]


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
