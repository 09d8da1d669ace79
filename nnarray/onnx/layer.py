"""A graph as a layer: one output of an ONNX file, whose parameters can be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from nnarray.backends import backend_of, dtype_name, host_backend, namespace
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.kinds import BOOLEAN, REAL, Kind, Takes, arrays_in
from nnarray.layers.recorded import RecordedPullback
from nnarray.layers.tensors import Tensor
from nnarray.onnx.fusion import Fused
from nnarray.onnx.graph import FLOATS, Graph, Value, rebuilt
from nnarray.onnx.lowering import Lowered
from nnarray.onnx.operators.common import FEW, MOST, DependsOnValues, Place, nearest, room
from nnarray.onnx.outline import outline
from nnarray.onnx.plan import Memory, Plan
from nnarray.onnx.reading.checks import check
from nnarray.onnx.steps import DEVICE, Known
from nnarray.onnx.weights import Weight, flattened, nested, paths_of, rows_of
from nnarray.random import Key
from nnarray.recording import Traced, is_real, stripped
from nnarray.recording.recorded import Recorded
from nnarray.recording.trees import mapped
from nnarray.typing import Shape, Tree

BATCH = 1
"""The examples with which the shape of the outputs is found, if the file does not have it."""


@dataclass(frozen=True)
class OnnxGraph(Layer):
    """y = f(x), where f is one output of a graph of operators; `nn.load_onnx` makes it.

    Its parameters have the names that they have in the file. Normalisation and dropout compute as at inference, also
    in training. Its pullback follows from a record of what it computes.

    Parameters
    ----------
    graph : Graph
        The operators and the constants, without the parameters.
    versions : mapping of str to int
        The versions of the operator sets by domain.
    weights : tuple of Weight
        The parameters: names, shapes, and initializers.
    output : str
        The name of the output.
    main : str
        The dtype of most real numbers in the file. They are computed in the dtype of the model.
    """

    family = "graph"
    drawn_as = "graph"
    lowers_all_inputs = True
    """Whether `lower` also takes several inputs, and integers."""

    graph: Graph = field(hash=False)
    versions: Mapping[str, int] = field(hash=False, repr=False)
    weights: tuple[Weight, ...] = field(repr=False)
    output: str
    main: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = tuple(Weight(*each) for each in self.weights)
        if not isinstance(self.graph, Graph):  # from a file, which may be damaged
            settle(self, graph=rebuilt(self.graph))
            check(self.graph, self.versions, [each.name for each in weights])
        settle(self, weights=weights)

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone: a plan is prepared again."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        settle(self, **state)

    # --- What it takes and gives ------------------------------------------------------------------------------------

    @property
    def takes(self) -> Takes:
        """The kind of its input, or of each input by name."""
        kinds = {value.name: _kind(value, self.rows.get(value.name)) for value in self.graph.inputs}
        return kinds if len(kinds) != 1 else next(iter(kinds.values()))

    @cached_property
    def rows(self) -> dict[str, int]:
        """The numbers of rows of the tables that inputs are indices of."""
        return rows_of(self.graph, self.weights)

    @cached_property
    def paths(self) -> dict[str, tuple[str, ...]]:
        """The names of the parameters, parted as layers are nested."""
        return paths_of([each.name for each in self.weights])

    def params(self, shape: Shape) -> dict[str, Any]:
        """The parameters, nested by their names."""
        made = {each.name: Param(each.shape, each.init, decay=len(each.shape) > 1) for each in self.weights}
        return nested(made, self.paths)

    def out_shape(self, shape: Any) -> Shape:
        """The shape of the outputs: that in the file, or that of the outputs for zeros.

        Raises
        ------
        ValueError
            If the graph does not take such inputs.
        """
        shapes = self._named(shape)
        sizes = dict[Any, int]()
        for value in self.graph.inputs:
            self._check_shape(value, shapes[value.name], sizes)
        result = next(value for value in self.graph.outputs if value.name == self.output).shape
        if result and all(isinstance(n, int) or n in sizes for n in result[1:]):
            return tuple(n if isinstance(n, int) else sizes[n] for n in result[1:])
        return self._shape_of_zeros(shapes)

    def _named(self, shape: Any) -> Mapping[str, Shape]:
        """The shapes of all inputs by name."""
        if isinstance(shape, Mapping):
            return shape
        return {value.name: shape for value in self.graph.inputs}

    @staticmethod
    def _check_shape(value: Value, shape: Shape, sizes: dict[Any, int]) -> None:
        wanted = value.shape
        if wanted is None:
            return
        fits = len(wanted) == len(shape) + 1
        for n, m in zip(wanted[1:], shape, strict=False):
            fits = fits and (n == m if isinstance(n, int) else n is None or sizes.setdefault(n, m) == m)
        if not fits:
            each = ", ".join(str("any" if n is None else n) for n in wanted[1:])
            raise ValueError(f"the input {value.name!r} takes examples of shape ({each}); got {shape}.")

    def _shape_of_zeros(self, shapes: Mapping[str, Shape]) -> Shape:
        host = host_backend()
        given: dict[str, Any] = {}
        for value in self.graph.inputs:
            batch = value.shape[0] if value.shape and isinstance(value.shape[0], int) else BATCH
            dtype = self.main if _kind(value) == REAL else value.dtype
            room((batch, *shapes[value.name]), FEW)
            given[value.name] = host.xp.zeros((batch, *shapes[value.name]), dtype=host.dtype(dtype))
        weights = {each.name: host.xp.zeros(each.shape, dtype=host.dtype(self.main)) for each in self.weights}
        x = given if len(given) != 1 else next(iter(given.values()))
        y = self._computed(nested(weights, self.paths), x, None, most=FEW)
        if not y.shape or not _has_batch(y, given):
            raise ValueError(
                f"the output {self.output!r} has no batch axis: its shape for a batch of {BATCH} is {tuple(y.shape)}. "
                f"Choose another one with output=, or compute with nn.onnx.read(path)."
            )
        return tuple(y.shape[1:])

    def drawn_parts(self, shape: Any) -> list[Any]:
        """The operators."""
        return outline(self.plan, {each.name: each.shape for each in self.weights})

    # --- Computing --------------------------------------------------------------------------------------------------

    @cached_property
    def plan(self) -> Plan:
        """The steps of the graph."""
        names = [*(each.name for each in self.weights), *(value.name for value in self.graph.inputs)]
        return Plan(self.graph, self.versions, dict.fromkeys(names, Known(DEVICE)))

    @cached_property
    def memories(self) -> dict[Any, Memory]:
        """What stays from call to call, for each place."""
        return {}

    @property
    def port_names(self) -> tuple[list[str], str]:
        """The names of the inputs and of the output in the file."""
        return [value.name for value in self.graph.inputs], self.output

    @property
    def has_images(self) -> bool:
        """Whether there are convolutions."""
        return any(node.op == "Conv" for node in self.graph.nodes)

    def lower(self, engine: Any, params: Tree, shape: Shape) -> Any:
        """The layer prepared for inference by an engine."""
        value, *others = self.graph.inputs
        weights = flattened(params, self.paths)
        is_fused = any(isinstance(each, Fused) for _, each in self.plan.fused)
        if others or not weights or (is_fused and not self.has_images):
            fixed = self._fixed(weights)
            return engine.any_layer(lambda x: self._whole(lambda: fixed(x), x))
        lowered = Lowered(self.plan, weights, engine, self.main)
        return engine.any_layer(lambda x: self._whole(lambda: lowered({value.name: x}), x))

    def _fixed(self, weights: Mapping[str, Any]) -> Callable[[Any], Any]:
        """The graph as a function of its inputs, for one value of the parameters: they are constants."""
        if any(dtype_name(each.dtype) != self.main for each in weights.values()):
            return lambda x: self._computed(nested(weights, self.paths), x, None)
        constants = {**self.graph.constants, **{name: Tensor(each) for name, each in weights.items()}}
        inputs = dict.fromkeys((value.name for value in self.graph.inputs), Known(DEVICE))
        fixed, memory = Plan(self.graph._replace(constants=constants), self.versions, inputs), Memory()
        return lambda x: self._run(fixed, {}, x, None, memory=memory)

    def forward(self, params: Tree, x: Any, ctx: Context) -> Out:
        """The output of the graph."""
        key = ctx.key if ctx.root is not None else None
        if not ctx.keep or any(isinstance(each, Traced) for each in (*arrays_in(params), *arrays_in(x))):
            return Out(self._whole(lambda: self._computed(params, x, key), x))
        reals = mapped(lambda each: each if is_real(each) else None, x)

        def of_reals(params: Tree, reals: Any) -> Any:
            return self._whole(lambda: self._computed(params, _joined(x, reals), key), x)

        recorded = Recorded(of_reals, (params, reals), (0, 1) if ctx.input_gradient else (0,), has_aux=False)

        def pullback(dy: Any) -> tuple[Any, Tree]:
            gradients, *dx = recorded.gradients(dy, keep=not ctx.once)
            return dx[0] if dx else None, gradients

        return Out(recorded.value(recorded.y), RecordedPullback(pullback))

    def _whole(self, compute: Callable[[], Any], x: Any) -> Any:
        """What it computes, if there is an output for each example.

        Raises
        ------
        ValueError
            If not: often, the file has a batch size written into it, as in Reshape to (1, 144).
        """
        count = next(arrays_in(x)).shape[0]
        declared = next((value.shape[0] for value in self.graph.inputs if value.shape), None)
        other = isinstance(declared, int) and declared != count
        remedy = f"The file was written for a batch of {declared}: write it with a dynamic batch, or predict with "
        remedy = f" {remedy}batch_size={declared}." if other else ""
        try:
            y = compute()
        except ValueError as error:
            if not other or isinstance(error, DependsOnValues):
                raise
            raise ValueError(f"{error}{remedy}") from error
        if not y.shape or y.shape[0] != count:
            shape = tuple(y.shape)
            raise ValueError(f"the output {self.output!r} has shape {shape} for a batch of {count}.{remedy}")
        return y

    def _computed(self, params: Tree, x: Any, key: Key | None, *, most: int = MOST) -> Any:
        return self._run(self.plan, flattened(params, self.paths), x, key, most=most)

    def _run(
        self,
        prepared: Plan,
        weights: Mapping[str, Any],
        x: Any,
        key: Key | None,
        *,
        most: int = MOST,
        memory: Memory | None = None,
    ) -> Any:
        inputs = x if isinstance(x, Mapping) else {value.name: x for value in self.graph.inputs}
        every = [*weights.values(), *inputs.values()]
        is_recording = any(isinstance(each, Traced) for each in every)
        real = next((each for each in every if is_real(stripped(each))), None)
        be = backend_of(stripped(every[0]))
        dtype = self.main if real is None else dtype_name(real.dtype)
        place = Place(be, self.main, dtype, key, is_recording, most)
        if memory is None:
            memory = self.memories.setdefault((be.library.name, str(be.device), dtype), Memory())
        given = {**weights, **{value.name: _entered(value, inputs[value.name], place) for value in self.graph.inputs}}
        shapes = tuple(tuple(inputs[value.name].shape) for value in self.graph.inputs)
        return prepared.run(place, given, memory, shapes)[0]


def _has_batch(y: Any, given: Mapping[str, Any]) -> bool:
    """Whether the first axis of the outputs is that of the inputs."""
    return y.shape[0] == next(iter(given.values())).shape[0]


FLAGS = 2
"""Random integers are 0 and 1 where no table says more, as in masks and types of tokens."""


def _kind(value: Value, rows: int | None = None) -> Kind:
    """The kind of numbers of an input, which may be an index of a table with so many rows."""
    if value.dtype in FLOATS or not value.dtype:
        return REAL
    return BOOLEAN if value.dtype == "bool" else Kind("integer", usual=rows or FLAGS)


def _entered(value: Value, x: Any, place: Place) -> Any:
    """An input in the dtype of the file; that of most real numbers is the model's."""
    if not value.dtype or dtype_name(x.dtype) == place.name(value.dtype):
        return x
    wanted = nearest(place.backend, place.name(value.dtype))
    return x if x.dtype == wanted else (x.space if isinstance(x, Traced) else namespace(x)).astype(x, wanted)


def _joined(x: Any, reals: Any) -> Any:
    """The inputs, those of real numbers from the record."""
    if isinstance(x, Mapping):
        return {name: _joined(each, reals[name]) for name, each in x.items()}
    return x if reals is None else reals
