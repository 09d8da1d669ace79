"""A graph as boxes one below the other, and branches side by side, for figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nnarray.onnx.graph import Node
from nnarray.onnx.plan import Plan
from nnarray.onnx.steps import DEVICE, Step

FAMILIES = {
    "Conv": "convolution",
    "ConvTranspose": "convolution",
    "ConvInteger": "convolution",
    "QLinearConv": "convolution",
    "Gemm": "dense",
    "MatMul": "dense",
    "MatMulInteger": "dense",
    "Gather": "embedding",
    "MaxPool": "pooling",
    "AveragePool": "pooling",
    "GlobalAveragePool": "pooling",
    "GlobalMaxPool": "pooling",
    "BatchNormalization": "normalisation",
    "LayerNormalization": "normalisation",
    "InstanceNormalization": "normalisation",
    "GroupNormalization": "normalisation",
    "LRN": "normalisation",
    **dict.fromkeys(str.split("Relu Sigmoid Tanh Softmax Gelu Erf LeakyRelu Elu HardSwish Clip"), "activation"),
}
"""The families of layers to which operators belong, by their colours."""

SHARED = 4
"""A value that more steps read is not drawn as a line."""

Outline = list[Any]
"""Boxes (text, family), and branches {"join": text, "branches": [outline, ...]}."""


def outline(plan: Plan, shapes: Mapping[str, Sequence[int]]) -> Outline:
    """The steps that compute with the inputs; what follows from shapes alone is left out."""
    steps = [step for step in plan.steps if step.level == DEVICE]
    counts = Counter(slot for step in steps for slot in {*step.inputs})
    shared = {slot for slot, count in counts.items() if count > SHARED}  # such as a mask, which every layer reads
    steps = [step._replace(inputs=tuple(slot for slot in step.inputs if slot not in shared)) for step in steps]
    return _outlined(steps, {*plan.results}, shapes)


def _outlined(steps: list[Step], wanted: set[int], shapes: Mapping[str, Sequence[int]]) -> Outline:
    found: Outline = []
    block: list[Step] = []
    for i, step in enumerate(steps):
        block.append(step)
        later = wanted.union(*(each.read for each in steps[i + 1 :]))
        made = {slot for each in block for slot in each.outputs}
        before = set[int]() if block[0] is steps[0] else {*steps[steps.index(block[0]) - 1].outputs}
        if (made & later) <= {*step.outputs} and not before & later:
            found.append(_block(block, before, shapes))
            block = []
    return found + [_box(each, shapes) for each in block]


def _block(block: list[Step], before: set[int], shapes: Mapping[str, Sequence[int]]) -> Any:
    """One box, or the branches that the last step joins."""
    *inner, last = block
    if not inner:
        return _box(last, shapes)
    groups: list[list[Step]] = []
    for step in inner:
        touching = [g for g in groups if any({*each.outputs} & step.read for each in g)]
        joined = [each for g in touching for each in g] + [step]
        groups = [g for g in groups if all(g is not other for other in touching)] + [joined]
    branches = [_outlined(group, last.read, shapes) if len(groups) > 1 else _boxes(group, shapes) for group in groups]
    if before & last.read:
        branches.append([])
    return {"join": last.node.op.lower(), "branches": branches}


def _boxes(steps: list[Step], shapes: Mapping[str, Sequence[int]]) -> Outline:
    return [_box(step, shapes) for step in steps]


def _box(step: Step, shapes: Mapping[str, Sequence[int]]) -> tuple[str, str]:
    """The operator, and the shape of its largest parameter."""
    node: Node = step.node
    own = [shapes[name] for name in node.inputs if name in shapes]
    size = max(own, key=len, default=())
    return f"{node.op}\n{' × '.join(map(str, size))}".rstrip(), FAMILIES.get(node.op, "")
