"""Transpositions move behind the operators that do not mind them, and meet others that undo them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnarray.onnx.writing.elementwise import BINARY, COMPARISONS, LOGIC, SAME, UNARY
from nnarray.onnx.writing.writer import Made, Writer

OF_EACH_ENTRY = frozenset(
    {*UNARY.values(), *BINARY.values(), *COMPARISONS.values(), *LOGIC.values(), *SAME.values()}
    | {"Cast", "Elu", "Erf", "LeakyRelu", "Selu", "Sum", "Where"}
)
"""The operators that compute each entry by itself."""


class _Source:
    """An array that another one is a transposition of."""

    def __init__(self, name: str, perm: tuple[int, ...]) -> None:
        self.name, self.perm = name, perm


def settled(w: Writer) -> list[Made]:
    """Nodes that compute the same. Some of them may no longer be needed."""
    constants = w.constants
    numbers = {name for name, each in constants.items() if math.prod(each.shape) == 1}
    sources: dict[str, _Source] = {}
    same: dict[str, str] = {}
    made: list[Made] = []
    for node in w.nodes:
        node = node._replace(inputs=tuple(same.get(name, name) for name in node.inputs))
        if node.op == "Transpose":
            source = _composed(node, sources)
            if source.perm == tuple(range(len(source.perm))):
                same[node.outputs[0]] = source.name
                continue
            sources[node.outputs[0]] = source
            node = _transposition(source, node.outputs[0])
        else:
            perm = _common(node, sources, numbers, constants)
            if perm is not None:
                inner = w.free(f"{node.outputs[0]}.before")
                made.append(_moved(node, sources, perm, inner))
                sources[node.outputs[0]] = _Source(inner, perm)
                node = _transposition(sources[node.outputs[0]], node.outputs[0])
        made.append(node)
    return made


def _composed(node: Made, sources: Mapping[str, _Source]) -> _Source:
    """A transposition of a transposition as one."""
    perm = tuple(node.attributes["perm"])
    before = sources.get(node.inputs[0])
    if before is None:
        return _Source(node.inputs[0], perm)
    return _Source(before.name, tuple(before.perm[axis] for axis in perm))


def _transposition(source: _Source, name: str) -> Made:
    return Made("Transpose", (source.name,), (name,), {"perm": list(source.perm)})


def _common(
    node: Made, sources: Mapping[str, _Source], numbers: set[str], constants: Mapping[str, Any]
) -> tuple[int, ...] | None:
    """The order of axes of all inputs of an operator that can be computed before it; single numbers have none."""
    if node.op not in OF_EACH_ENTRY and node.op != "Concat":
        return None
    is_joined = node.op == "Concat"
    perms = {
        sources[name].perm if name in sources else None for name in node.inputs if is_joined or name not in numbers
    }
    if len(perms) != 1 or None in perms:
        return None
    (perm,) = perms
    assert perm is not None
    fits = all(len(constants[name].shape) <= len(perm) for name in node.inputs if name in numbers)
    return perm if fits else None


def _moved(node: Made, sources: Mapping[str, _Source], perm: tuple[int, ...], output: str) -> Made:
    inputs = tuple(sources[name].name if name in sources else name for name in node.inputs)
    attributes = dict(node.attributes)
    if node.op == "Concat":
        attributes["axis"] = perm[attributes["axis"]]
    return node._replace(inputs=inputs, outputs=(output,), attributes=attributes)
