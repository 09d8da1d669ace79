"""Weights that a file has in few bits, q scale or (q - zero point) scale, as the real numbers that they stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nnarray.backends import host_backend
from nnarray.layers.tensors import Tensor
from nnarray.onnx.graph import FLOATS, Graph, Node, Value, needed
from nnarray.onnx.operators.common import FEW, Place
from nnarray.onnx.plan import Memory, Plan
from nnarray.onnx.weights import PASSES, constants_of, learned_names

OPENS = PASSES | {"Mul", "Sub", "Div", "DequantizeLinear"}
"""Operators that make real numbers of integers; of those that pass numbers on, the first input counts."""
DEEPEST = 8


def opened(graph: Graph, versions: Mapping[str, int]) -> Graph:
    """The graph with real numbers in place of weights that are computed from integers, so that they can be trained."""
    constants, made = constants_of(graph), {name: node for node in graph.nodes for name in node.outputs}
    found: dict[str, Tensor] = {}
    for name in learned_names(graph, versions):
        leaves = _leaves(name, made, constants, 0)
        if leaves is None or name in constants or not any(str(each.dtype) not in FLOATS for each in leaves):
            continue
        y = computed(graph, name, versions)
        if math.prod(y.shape) <= max(math.prod(each.shape) for each in leaves):
            found[name] = y
    if not found:
        return graph
    nodes = tuple(node for node in graph.nodes if not (node.outputs and node.outputs[0] in found))
    return graph._replace(nodes=nodes, constants={**graph.constants, **found})


def _leaves(name: str, made: Mapping[str, Node], constants: Mapping[str, Tensor], depth: int) -> list[Tensor] | None:
    """The constants of which a value is computed by a few products and differences; None if it depends on more."""
    if name in constants:
        return [constants[name]]
    node = made.get(name)
    if node is None or node.op not in OPENS or node.domain or depth > DEEPEST:
        return None
    if node.op in ("Mul", "Sub", "Div") and not _stays_small([constants.get(each) for each in node.inputs]):
        return None
    every: list[Tensor] = []
    for each in node.inputs[: 1 if node.op in PASSES else None]:
        leaves = _leaves(each, made, constants, depth + 1)
        if leaves is None:
            return None
        every += leaves
    return every


def _stays_small(pair: list[Tensor | None]) -> bool:
    """Whether broadcasting makes no array that is larger than both: one of them has few entries or the same axes."""
    shapes = [each.shape for each in pair if each is not None]
    if len(shapes) < 2:
        return True
    ndim = max(map(len, shapes))
    padded = [(1,) * (ndim - len(shape)) + shape for shape in shapes]
    return math.prod(map(max, *padded)) <= max(map(math.prod, padded))


def computed(graph: Graph, name: str, versions: Mapping[str, int]) -> Tensor:
    """The value of a name that follows from constants."""
    part = needed(graph, Value(name))
    host = host_backend()
    (y,) = Plan(part, versions, {}).run(Place(host, most=FEW), {}, Memory())
    return Tensor(y)
