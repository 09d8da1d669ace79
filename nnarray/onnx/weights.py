"""Which constants of a graph are parameters, that training changes, and by which names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nnarray.backends import host_backend
from nnarray.layers.tensors import Tensor
from nnarray.onnx.graph import FLOATS, Graph, Node, every_node, names_read
from nnarray.onnx.operators import operator_for
from nnarray.onnx.operators.elementwise import LEARNED

PASSES = frozenset(str.split("Identity Transpose Reshape Unsqueeze Squeeze Flatten Cast"))
"""Operators through which a parameter may reach the operator that it belongs to."""
PRODUCTS = frozenset(str.split("MatMul Gemm Conv ConvTranspose"))
ADDED = frozenset(("Add", "Sub"))
KEPT = {"RNN": (5,), "GRU": (5,), "LSTM": (5, 6), "BatchNormalization": (3, 4)}
"""The inputs of operators with weights that are first states and statistics: they stay as they are."""
FAR = 1e30
"""Larger numbers stand for infinity, as in masks: they are no parameters."""
MASKING = 1e3
"""Numbers of this size among few others, one of which is 0, are those of a mask, such as -10000 ..."""
FEW_NUMBERS = 3
"""... so many different ones at most."""


class Weight(NamedTuple):
    """A parameter: its name in the file, its shape, and the initializer of new ones."""

    name: str
    shape: tuple[int, ...]
    init: str


def constants_of(graph: Graph) -> dict[str, Tensor]:
    """The constants of a graph, also those that nodes define."""
    defined = {
        node.outputs[0]: node.attributes["value"]
        for node in graph.nodes
        if node.op == "Constant" and not node.domain and isinstance(node.attributes.get("value"), Tensor)
    }
    return {**graph.constants, **defined}


def main_float(graph: Graph) -> str:
    """The dtype of most real numbers: of the constants, or else of the inputs."""
    counts = Counter[str]()
    for tensor in constants_of(graph).values():
        counts[str(tensor.dtype)] += math.prod(tensor.shape)
    for value in graph.inputs:
        counts[value.dtype] += 1
    found = [dtype for dtype, _ in counts.most_common() if dtype in FLOATS]
    return found[0] if found else "float32"


def weights_of(graph: Graph, versions: Mapping[str, int]) -> tuple[Weight, ...]:
    """The parameters, in the order in which they are read.

    A constant of the main dtype is one if an operator has it as a weight: filters, matrices, biases, scales. An array
    of one number is one only where it is added after a product, as the bias of one output is. Masks are none, nor are
    first states of 0.
    """
    constants, main = constants_of(graph), main_float(graph)
    made = {name: node for node in graph.nodes for name in node.outputs}
    inside = {name for node in graph.nodes for body in node.bodies.values() for name in names_read(body)}
    found: dict[str, Weight] = {}
    for node in graph.nodes:
        for name, init in _learned(node, versions):
            origin = origin_of(name, made)
            tensor = constants.get(origin)
            if tensor is None or str(tensor.dtype) != main or not math.prod(tensor.shape) or origin in inside:
                continue
            if node.op in LEARNED and not node.domain and not _is_array(node, tensor, made):
                continue
            if not node.domain and _is_switch(node, name, tensor, constants, made):
                continue
            found.setdefault(origin, Weight(origin, tensor.shape, init if len(tensor.shape) > 1 else _flat(init)))
    return tuple(each for each in found.values() if not _is_mask(constants[each.name]))


def _is_switch(
    node: Node, name: str, tensor: Tensor, constants: Mapping[str, Tensor], made: Mapping[str, Node]
) -> bool:
    """Whether an array is a factor of 0 and 1, as a mask has them, or a first state of 0.

    A recurrent layer that is written step by step multiplies its first state by a gate, or by a matrix.
    """
    values, xp = tensor.values, host_backend().xp
    if node.op == "Mul":
        return bool(xp.any(values == 0) and xp.all((values == 0) | (values == 1)))
    is_left = node.op in ("MatMul", "Gemm") and name == node.inputs[0] != node.inputs[1]
    return is_left and origin_of(node.inputs[1], made) in constants and not bool(xp.any(values != 0))


def _is_mask(tensor: Tensor) -> bool:
    """Whether numbers are those of a mask: infinite, or large ones and 0, which are added to scores."""
    xp, values = host_backend().xp, tensor.values
    largest = float(xp.max(xp.abs(values)))
    if not largest < FAR:
        return True
    has_zero = largest >= MASKING and bool(xp.any(values == 0))
    return has_zero and xp.unique_values(values).shape[0] <= FEW_NUMBERS


def learned_names(graph: Graph, versions: Mapping[str, int]) -> Iterator[str]:
    """The names of all inputs at which operators have weights, once each."""
    yield from dict.fromkeys(name for node in graph.nodes for name, _ in _learned(node, versions))


def rows_of(graph: Graph, weights: Sequence[Weight]) -> dict[str, int]:
    """For each input that has indices, the number of rows of the smallest table that it is an index of."""
    shapes: dict[str, Any] = {name: tensor.shape for name, tensor in constants_of(graph).items()}
    shapes |= {each.name: each.shape for each in weights}
    inputs = {value.name for value in graph.inputs}
    nodes = [node for node, _ in every_node(graph)]
    made = {name: node for node in nodes for name in node.outputs}
    found: dict[str, int] = {}
    for node in nodes:
        if node.op != "Gather" or node.domain:
            continue
        shape, axis = shapes.get(origin_of(node.inputs[0], made), ()), node.attributes.get("axis", 0)
        if -len(shape) <= axis < len(shape):
            for index in _choices(node.inputs[1], made) & inputs:
                found[index] = min(shape[axis], found.get(index, shape[axis]))
    return found


def _choices(name: str, made: Mapping[str, Node]) -> set[str]:
    """The names from which the entries of a value come, also through `Where`, as negative indices do."""
    name = origin_of(name, made)
    node = made.get(name)
    if node is None or node.op != "Where" or node.domain:
        return {name}
    return {each for branch in node.inputs[1:] for each in _choices(branch, made)}


def _flat(init: str) -> str:
    return init if init in ("ones", "zeros") else "zeros"


def _learned(node: Node, versions: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    operator = operator_for(node.domain, node.op, versions[node.domain])
    for position, init in (operator.weights if operator else {}).items():
        if position < len(node.inputs) and node.inputs[position]:
            yield node.inputs[position], init


def origin_of(name: str, made: Mapping[str, Node]) -> str:
    """The name from which a value comes without a change of its numbers."""
    while (node := made.get(name)) is not None and node.op in PASSES and not node.domain:
        name = node.inputs[0]
    return name


def _is_array(node: Node, tensor: Tensor, made: Mapping[str, Node]) -> bool:
    if not tensor.shape or math.prod(tensor.shape) > 1:
        return bool(tensor.shape)
    return node.op in ADDED and any(name in made and made[name].op in PRODUCTS for name in node.inputs)


def paths_of(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The names as paths, parted at dots; whole names, if one of them is also the beginning of another one.

    Whole names have underscores in the place of dots. One that another parameter has gets more of them at its end.
    """
    paths = {name: tuple(name.split(".")) for name in names}
    ends = {*paths.values()}
    begins = {path[:i] for path in ends for i in range(1, len(path))}
    if ends & begins or len(ends) < len(names) or any("" in path for path in ends):
        return _whole(names)
    return paths


def _whole(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    taken = {name for name in names if "." not in name}
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        free = name.replace(".", "_")
        while free in taken and free != name:
            free += "_"
        taken.add(free)
        found[name] = (free,)
    return found


def nested(parts: Mapping[str, Any], paths: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """What belongs to each name, as a tree."""
    root: dict[str, Any] = {}
    for name, part in parts.items():
        node = root
        *before, last = paths[name]
        for each in before:
            node = node.setdefault(each, {})
        node[last] = part
    return root


def flattened(tree: Mapping[str, Any], paths: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The inverse of `nested`."""
    found: dict[str, Any] = {}
    for name, path in paths.items():
        node: Any = tree
        for each in path:
            node = node[each]
        found[name] = node
    return found
