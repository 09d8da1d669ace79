"""Checks of a graph that was read: every name is defined before it is read, and every operator is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nnarray.onnx.graph import Graph, Node, every_node
from nnarray.onnx.operators import TABLE, operator_for
from nnarray.onnx.operators.table import NEWEST

MOST = 10
"""How many faults of a kind are named."""


OF_TEXTS = frozenset(
    [("", "RegexFullMatch"), ("", "StringConcat"), ("", "StringSplit"), ("ai.onnx.ml", "LabelEncoder")]
)
"""Operators that are shown, and not computed."""
NUMBERED = ("keys_int64s", "keys_floats")
"""Attributes of such an operator that takes numbers."""


def check(graph: Graph, versions: Mapping[str, int], given: Iterable[str] = (), *, texts: bool = False) -> None:
    """Refuse a graph that cannot be computed; `given` are the names of parameters, which replace constants.

    With `texts`, operators of texts are fine, too.

    Raises
    ------
    ValueError
        If a name is read before it is defined, is defined twice, or an operator or its version is not known.
    """
    version = versions.get("", 0)
    if version > NEWEST:
        raise ValueError(
            f"it uses version {version} of the operators, and the newest known here is {NEWEST}. Export it with "
            f"opset_version={NEWEST}"
        )
    _check_names(graph, {*given})
    _check_operators(graph, versions, OF_TEXTS if texts else frozenset())


def _check_bodies(node: Node) -> None:
    """The graphs inside a branch or a loop have as many inputs and outputs as the node asks for."""
    if node.domain or node.op not in ("If", "Loop"):
        return
    wanted = ("then_branch", "else_branch") if node.op == "If" else ("body",)
    missing = [name for name in wanted if name not in node.bodies]
    if missing:
        raise ValueError(f"{node.label} has no graph {missing[0]!r}")
    carried = max(len(node.inputs) - 2, 0)
    for name in wanted:
        body = node.bodies[name]
        least = len(node.outputs) if node.op == "If" else max(len(node.outputs), carried) + 1
        if len(body.outputs) < least or (node.op == "Loop" and len(body.inputs) != carried + 2):
            raise ValueError(
                f"{node.label} does not fit its graph {name!r}, which has {len(body.inputs)} inputs and "
                f"{len(body.outputs)} outputs"
            )


def _check_names(graph: Graph, around: set[str]) -> None:
    known = around | {*graph.constants}
    for value in graph.inputs:
        if not value.name or value.name in graph.constants:
            raise ValueError(f"an input has the name {value.name!r}, which is empty or that of a constant")
        known.add(value.name)
    later = {name for node in graph.nodes for name in node.outputs}
    own: set[str] = set()
    for node in graph.nodes:
        for name in node.inputs:
            if name and name not in known:
                fault = (
                    "is computed from its own results, or stands before them" if name in later else "nothing defines"
                )
                raise ValueError(f"{node.label} reads {name!r}, which {fault}: the graph has a cycle or is damaged")
        _check_bodies(node)
        for body in node.bodies.values():
            _check_names(body, known)
        for name in filter(None, node.outputs):
            if name in own or name in graph.constants:
                raise ValueError(f"{node.label} defines {name!r}, which is defined before")
            own.add(name)
            known.add(name)
    if not graph.outputs:
        raise ValueError("a graph has no outputs")
    missing = [value.name for value in graph.outputs if value.name not in known]
    if missing:
        raise ValueError(f"nothing defines the output {missing[0]!r}")


def _check_operators(graph: Graph, versions: Mapping[str, int], also: frozenset[tuple[str, str]]) -> None:
    unknown: dict[str, list[str]] = {}
    for node, where in every_node(graph):
        kind = f"{node.domain}.{node.op}" if node.domain else node.op
        if node.domain not in versions:
            raise ValueError(f"{node.label}{where} is of the domain {node.domain!r}, whose version is not given")
        operator = operator_for(node.domain, node.op, versions[node.domain])
        if (node.domain, node.op) in also:
            continue
        if operator is None and (node.domain, node.op) in OF_TEXTS and {*node.attributes}.isdisjoint(NUMBERED):
            raise ValueError(
                f"{node.label}{where} computes with texts, and nnarray computes with numbers only. If nnarray export "
                f"wrote the file, use the model that it was made from"
            )
        if operator is None:
            since = TABLE.get((node.domain, node.op))
            first = f" (known from version {since[0].since} of the operators on)" if since else ""
            unknown.setdefault(f"{kind}{first}", []).append(f"{node.name or node.outputs[0]!r}{where}")
        elif operator.attributes is not None:
            more = [each for each in (*node.attributes, *node.bodies) if each not in operator.attributes]
            if more:
                raise ValueError(
                    f"{node.label}{where} has the attribute {more[0]!r}, which is not known here; it may have "
                    f"{', '.join(sorted(operator.attributes)) or 'none'}"
                )
    if unknown:
        named = "; ".join(f"{kind} at {', '.join(map(str, at[:3]))}" for kind, at in list(unknown.items())[:MOST])
        raise ValueError(
            f"it has {len(unknown)} unknown {'operator' if len(unknown) == 1 else 'operators'}: {named}. Write a "
            f"function for each, and add it with nn.onnx.register(name, function, domain=...)"
        )
