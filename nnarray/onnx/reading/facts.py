"""What a file has, for people."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from nnarray.onnx.graph import Value, every_node
from nnarray.onnx.reading.bits import opened
from nnarray.onnx.reading.file import Content
from nnarray.onnx.weights import constants_of, weights_of


def facts_of(content: Content) -> dict[str, Any]:
    """Inputs, outputs, operators, parameters and notes, as JSON values."""
    graph = content.graph
    counts = Counter(f"{node.domain}.{node.op}" if node.domain else node.op for node, _ in every_node(graph))
    constants, trained = constants_of(graph), opened(graph, content.versions)
    return {
        "graph": graph.name,
        "inputs": {value.name: described(value) for value in graph.inputs},
        "outputs": {value.name: described(value) for value in graph.outputs},
        "versions of operators": {domain or "the usual domain": n for domain, n in content.versions.items()},
        "operators": dict(counts.most_common()),
        "parameters": sum(math.prod(each.shape) for each in weights_of(trained, content.versions)),
        "bytes of constants": sum(math.prod(each.shape) * each.dtype.itemsize for each in constants.values()),
        "notes": dict(content.notes),
    }


def described(value: Value) -> str:
    """The dtype and the sizes of an input or output: "float32 (batch, 3, 224, 224)"."""
    if value.shape is None:
        return value.dtype or "any"
    return f"{value.dtype} ({', '.join(str('any' if n is None else n) for n in value.shape)})"
