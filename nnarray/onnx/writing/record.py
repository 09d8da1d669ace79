"""A record of a forward pass for examples of any number, and the layer of an operation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

from nnarray.backends import host_backend
from nnarray.functional.propagation import Wiring
from nnarray.layers.base import Context, Layer, Out
from nnarray.layers.kinds import Spec, arrays_in, mapped
from nnarray.layers.wrapped import Wrapped
from nnarray.onnx.writing.recurrent import RECURRENCE, is_plain
from nnarray.onnx.writing.sizes import Differs, merged, merged_operations
from nnarray.onnx.writing.table import kept
from nnarray.random import Key, normal, uniform
from nnarray.recording.graph import Graph, Operation, Value, graph_of
from nnarray.typing import Array, Tree

COUNTS = 2, 3
"""The numbers of examples of two records, from which sizes that follow from them are found."""


class Source(NamedTuple):
    """What is written: a network with its numbers on the host, and notes."""

    wiring: Wiring
    theta: Array
    state: Array
    inputs: Any
    notes: dict[str, str]


class Recording(NamedTuple):
    """The operations of a forward pass in order, with a `Size` where they depend on the number of examples."""

    inputs: dict[str, Value]
    operations: list[Operation]
    output: Any
    parameters: dict[str, Array]
    """The parameters and the state by name: the same arrays that are in the operations."""
    whole: frozenset[str]
    """The kernels that are one operation."""


def examples(source: Source, count: int, key: Key) -> Any:
    """Random inputs that the network takes."""
    host, dtype, number = host_backend(), source.theta.dtype, itertools.count()
    place = {"xp": host.xp, "device": host.device, "dtype": host.xp.float64}

    def drawn(spec: Spec) -> Any:
        shape, own = (count, *spec.shape), key.fold(next(number))
        if spec.kind.name == "real":
            return host.xp.astype(normal(own, shape, **place), dtype)
        if spec.kind.name == "boolean":
            return uniform(own, shape, **place) < 0.5
        return host.xp.astype(uniform(own, shape, **place) * (spec.kind.below or 10), host.xp.int64)

    return mapped(drawn, source.inputs)


def recording_of(source: Source, batch: int | None) -> Recording:
    """The record for any number of examples, or for a fixed one.

    Raises
    ------
    TypeError
        If the computation depends on values, see `graph_of`.
    ValueError
        If it depends on the number of examples in a way that no file can express.
    """
    params, state = source.wiring.params.tree(source.theta), source.wiring.state.tree(source.state)
    views = {**_named(params), **_named(state)}
    counts = COUNTS if batch is None else (batch,)
    whole = kept(source.theta.dtype)
    graphs = [_graph(source, source.wiring.network, params, state, count, whole) for count in counts]
    if not all(is_plain(op) for op in graphs[0].operations if op.name == RECURRENCE):
        whole -= {RECURRENCE}
        graphs = [_graph(source, source.wiring.network, params, state, count, whole) for count in counts]
    one = graphs[0]
    inputs, operations, output = one.inputs, one.operations, one.outputs
    if batch is None:
        other = graphs[1]
        try:
            operations = merged_operations(one.operations, other.operations, COUNTS)
            inputs, output = (merged(getattr(one, n), getattr(other, n), COUNTS) for n in ("inputs", "outputs"))
        except Differs as error:
            raise ValueError(
                f"this network cannot be written for any number of examples: {error}. Write it for a fixed one, "
                f"to_onnx(path, batch=1)."
            ) from error
    return Recording(by_name(inputs[0]), _needed(operations, output), output, views, whole)


def _graph(source: Source, network: Layer, params: Tree, state: Tree, count: int, whole: frozenset[str]) -> Graph:
    def outputs(x: Any) -> Any:
        first: Any = next(arrays_in(x))
        space = first.space
        ctx = Context(False, space.as_constant(state), False, False)
        return network.forward(space.as_constant(params), x, ctx).y

    return graph_of(outputs, examples(source, count, Key(0)), kept=whole)


def _named(tree: Any, path: str = "") -> dict[str, Any]:
    if hasattr(tree, "dtype"):
        return {path: tree}
    parts = [_named(each, f"{path}.{name}" if path else name) for name, each in tree.items()]
    return {name: each for part in parts for name, each in part.items()}


def by_name(x: Any, path: str = "") -> dict[str, Any]:
    """Inputs as a file has them: one is named X, several have their own names."""
    if hasattr(x, "dtype"):
        return {path or "X": x}
    parts = [by_name(each, f"{path}.{name}" if path else name) for name, each in x.items()]
    return {name: each for part in parts for name, each in part.items()}


def values_in(x: Any) -> list[Value]:
    """The arrays of the graph among arguments."""
    if isinstance(x, Value):
        return [x]
    if isinstance(x, slice):
        return values_in((x.start, x.stop, x.step))
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
    return [each for part in parts for each in values_in(part)]


def _needed(operations: list[Operation], output: Any) -> list[Operation]:
    """The operations that the output depends on."""
    wanted, kept_ones = {each.number for each in values_in(output)}, list[Operation]()
    for op in reversed(operations):
        if wanted.isdisjoint(each.number for each in op.results if each is not None):
            continue
        kept_ones.append(op)
        wanted |= {each.number for each in values_in((op.arguments, op.settings))}
    return kept_ones[::-1]


# --- The layer of an operation ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Marked(Wrapped):
    """A layer that notes which numbers of the graph were made inside it."""

    path: str
    spans: list[tuple[int, int, str, Layer]]

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        notes: Any = next(filter(None, (getattr(each, "tape", None) for each in arrays_in(x))), None)
        first = notes.count if notes is not None else 0
        out = self.inner.forward(params, x, ctx)
        if notes is not None:
            self.spans.append((first, notes.count, self.path, self.inner))
        return out


def _marked(layer: Layer, spans: list[Any], path: str = "") -> Layer:
    inside = {name: _marked(each, spans, f"{path}.{name}" if path else name) for name, each in layer.named_layers}
    return _Marked(layer.with_layers(inside), path, spans)


def layer_of(source: Source, op: Operation, whole: frozenset[str]) -> str:
    """The innermost layer that an operation belongs to, in words; "" if it is not known."""
    spans: list[tuple[int, int, str, Layer]] = []
    params, state = source.wiring.params.tree(source.theta), source.wiring.state.tree(source.state)
    _graph(source, _marked(source.wiring.network, spans), params, state, COUNTS[0], whole)
    number = next(each.number for each in op.results if each is not None)
    inside = [each for each in spans if each[0] <= number < each[1]]
    if not inside:
        return ""
    _, _, path, layer = min(inside, key=lambda each: (each[1] - each[0], -len(each[2])))
    return f"layer {path!r} ({type(layer).__name__})" if path else type(layer).__name__
