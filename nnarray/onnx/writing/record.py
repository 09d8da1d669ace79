"""A record of a forward pass for examples of any number, and the layer of an operation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nnarray.backends import dtype_name, host_backend
from nnarray.functional.propagation import Wiring
from nnarray.layers.base import Context, Layer, Out
from nnarray.layers.kinds import Spec, arrays_in, mapped
from nnarray.layers.wrapped import Wrapped
from nnarray.onnx.operators.common import DependsOnValues
from nnarray.onnx.writing.operations import Graph, Operation, Value, graph_of
from nnarray.onnx.writing.recurrent import RECURRENCE, is_plain
from nnarray.onnx.writing.sizes import BATCH, Axis, Differs, Records, merged, merged_operations, pairs_of
from nnarray.onnx.writing.table import kept
from nnarray.onnx.writing.writer import OUTPUT
from nnarray.random import Key, normal, uniform
from nnarray.typing import Array, Tree

EXAMPLES = Axis(BATCH, 3)
"""The numbers of examples of two records are 2 and 3; sizes that follow from them are found by comparing."""


COUNTED = frozenset(str.split("nonzero unique_all unique_counts unique_inverse unique_values"))
"""Functions whose results have a size that depends on values."""


class Source(NamedTuple):
    """What is written: a network with its numbers on the host, and notes."""

    wiring: Wiring
    theta: Array
    state: Array
    inputs: Any
    notes: dict[str, str]
    axes: tuple[Axis, ...] = ()
    """Those that may have any size, besides that of the examples."""
    output: str = OUTPUT


class Recording(NamedTuple):
    """The operations of a forward pass in order, with a `Size` where they depend on the sizes of the inputs."""

    inputs: dict[str, Value]
    operations: list[Operation]
    output: Any
    parameters: dict[str, Array]
    """The parameters and the state by name: the same arrays that are in the operations."""
    whole: frozenset[str]
    """The kernels that are one operation."""
    axes: tuple[Axis, ...]
    """All axes that may have any size, with their places."""


def examples(source: Source, sizes: Mapping[str, int], key: Key) -> Any:
    """Random inputs that the network takes, with a size for the number of examples and for each axis that has any."""
    host, dtype, number = host_backend(), source.theta.dtype, itertools.count()
    place = {"xp": host.xp, "device": host.device, "dtype": host.xp.float64}
    names = list(by_name(source.inputs))
    free = {each: axis for axis in source.axes for each in axis.places}

    def drawn(spec: Spec) -> Any:
        i = next(number)
        own = key.fold(i)
        shape = tuple(
            sizes[free[names[i], axis].name] if (names[i], axis) in free else n
            for axis, n in enumerate((sizes[BATCH], *spec.shape))
        )
        if spec.kind.name == "real":
            return host.xp.astype(normal(own, shape, **place), dtype)
        if spec.kind.name == "boolean":
            return uniform(own, shape, **place) < 0.5
        return host.xp.astype(uniform(own, shape, **place) * spec.kind.drawn_below, host.xp.int64)

    return mapped(drawn, source.inputs)


def recording_of(source: Source, batch: int | None) -> Recording:
    """The record for any number of examples, or for a fixed one.

    Raises
    ------
    TypeError
        If the computation depends on values, see `graph_of`.
    ValueError
        If it depends on the sizes of the inputs in a way that no file can express.
    """
    params, state = source.wiring.params.tree(source.theta), source.wiring.state.tree(source.state)
    views = {**_named(params), **_named(state)}
    whole = kept(source.theta.dtype)
    axes = (*([EXAMPLES] if batch is None else []), *source.axes)
    settings, graphs = _graphs(source, params, state, axes, batch, whole)
    if not all(is_plain(op) for op in graphs[-1].operations if op.name == RECURRENCE):
        whole -= {RECURRENCE}
        settings, graphs = _graphs(source, params, state, axes, batch, whole)
    records = Records(axes, tuple(settings))
    try:
        operations = merged_operations([each.operations for each in graphs], records)
        inputs, output = (merged([getattr(each, n) for each in graphs], records) for n in ("inputs", "outputs"))
    except Differs as error:
        raise _unequal(source, batch, error) from error
    named = by_name(inputs[0])
    first = (EXAMPLES._replace(places=tuple((name, 0) for name in named)),) if batch is None else ()
    return Recording(named, _needed(operations, output), output, views, whole, (*first, *source.axes))


def _unequal(source: Source, batch: int | None, error: Differs) -> ValueError:
    free = [*(["number of examples"] if batch is None else []), *(repr(each.name) for each in source.axes)]
    return ValueError(
        f"this network cannot be written for any {' and '.join(free)}: {error}. Write it for fixed ones: "
        f"to_onnx(path{', batch=1' if batch is None else ''}){', without dynamic_axes' if source.axes else ''}."
    )


def _graphs(
    source: Source, params: Tree, state: Tree, axes: Sequence[Axis], batch: int | None, whole: frozenset[str]
) -> tuple[list[dict[str, int]], list[Graph]]:
    """Records of several sizes, the largest one last. Some sizes may be too small for the network."""
    made: list[tuple[dict[str, int], Graph]] = []
    pairs = pairs_of(axes)
    fixed = {} if batch is None else {BATCH: batch}
    for setting in [*({**pairs[-1], axis.name: n} for axis in axes for n in axis.more), *pairs]:
        try:
            graph = _graph(source, source.wiring.network, params, state, setting | fixed, whole)
        except DependsOnValues as error:
            raise ValueError(str(error)) from error
        except ValueError as error:
            if setting in pairs:
                sizes = ", ".join(f"{name} {n}" for name, n in setting.items())
                raise ValueError(f"the network cannot be computed for {sizes}: {error}") from error
            continue
        made.append((setting, graph))
    return [setting for setting, _ in made], [graph for _, graph in made]


def _graph(
    source: Source, network: Layer, params: Tree, state: Tree, sizes: Mapping[str, int], whole: frozenset[str]
) -> Graph:
    def outputs(x: Any) -> Any:
        first: Any = next(arrays_in(x))
        space = first.space
        ctx = Context(False, space.as_constant(state), False, False)
        return network.forward(space.as_constant(params), x, ctx).y

    return graph_of(outputs, examples(source, sizes, Key(0)), kept=whole)


def _named(tree: Any, path: str = "") -> dict[str, Any]:
    if hasattr(tree, "dtype"):
        return {path: tree}
    parts = [_named(each, f"{path}.{name}" if path else name) for name, each in tree.items()]
    return {name: each for part in parts for name, each in part.items()}


def by_name(x: Any, path: str = "") -> dict[str, Any]:
    """Inputs as a file has them: one is named X, several have their own names."""
    if not isinstance(x, Mapping):
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
    """The operations that the output depends on, and those on whose values the size of an array depends."""
    wanted, kept_ones = {each.number for each in values_in(output)}, list[Operation]()
    for op in reversed(operations):
        results = [each.number for each in op.results if each is not None]
        if wanted.isdisjoint(results) and not _is_of_any_size(op):
            continue
        kept_ones.append(op)
        wanted |= {each.number for each in values_in((op.arguments, op.settings))}
    return kept_ones[::-1]


def _is_of_any_size(op: Operation) -> bool:
    """Whether the size of the result depends on values, as then all that follows holds for these inputs only."""
    if op.name == "repeat":
        return bool(values_in((op.arguments[1:2], op.settings)))
    keys = values_in(op.arguments[1:]) if op.name == "getitem" else []
    return op.name in COUNTED or any(dtype_name(each.dtype) == "bool" for each in keys)


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
    _graph(
        source,
        _marked(source.wiring.network, spans),
        params,
        state,
        {BATCH: EXAMPLES.usual, **{each.name: each.usual for each in source.axes}},
        whole,
    )
    number = next(each.number for each in op.results if each is not None)
    inside = [each for each in spans if each[0] <= number < each[1]]
    if not inside:
        return ""
    _, _, path, layer = min(inside, key=lambda each: (each[1] - each[0], -len(each[2])))
    return f"layer {path!r} ({type(layer).__name__})" if path else type(layer).__name__
