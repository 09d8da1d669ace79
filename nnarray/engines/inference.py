"""A plan for inference: a network with fixed parameters is prepared once, and then runs without dispatch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from nnarray.backends import copy, library_of
from nnarray.functional.folding import Folded, folded
from nnarray.functional.propagation import Wiring, may_mask
from nnarray.kernels.engines import computing
from nnarray.kernels.functions import Function
from nnarray.kernels.numpy import stages
from nnarray.kernels.numpy.stages import Stage
from nnarray.layers.base import Context, Layer, every, is_ours, outputs_of, own
from nnarray.layers.containers import is_plain_row
from nnarray.typing import Array, DType, Shape, Tree


def prepared(wiring: Wiring, theta: Array, state: Array, shape: Shape, engine: str) -> Stage | None:
    """The network folded and its layers lowered to stages; None if nothing is faster than the layers.

    theta and state must not be written to afterwards.
    """
    owner = library_of(theta)
    if owner is None or not owner.is_host or theta.dtype.itemsize < 4:
        return None
    if may_mask(wiring.network) and not own(wiring.network, "lowers_all_inputs"):
        return None  # stages do not support masks
    layers = list(every(wiring.network))
    has_images = any(each.family == "convolution" or getattr(each, "has_images", False) for each in layers)
    if has_images:
        theta = copy(theta)  # writable and read-only arrays are two types for Numba: it would compile twice
    plain = folded(wiring.network, wiring.params.tree(theta), wiring.state.tree(state))
    with computing(engine):
        stage = _Lowering(has_images, theta.dtype, compiles_rows=engine == "numba").stage(plain, shape)
    if all(is_plain_row(each) or own(each, "family") in ("dense", "activation") for each in layers):
        return stage  # products and functions have one implementation: nothing to choose at each call

    def run(x: Any, y: Any = None, first: int = 0) -> Any:
        with computing(engine):
            return stage(x, y, first)

    return run


class _Lowering(NamedTuple):
    """The conversion of the layers of one network to stages."""

    has_images: bool
    """Whether there are convolutions."""
    dtype: DType
    compiles_rows: bool
    """Whether dense layers become loops. Only if asked for: a first prediction would have to load the compiler."""

    def stage(self, part: Folded, shape: Shape) -> Stage:
        """One layer, for inputs of this shape."""
        layer, params, state = part
        if is_plain_row(layer):
            parts = list(self.row(_parts(layer, params, state), shape))
            return stages.row(parts, compiled=self.compiles_rows)
        if own(layer, "family") == "residual":
            inner = _parts(layer, params, state)
            shortcut = self.stage(inner.pop(), shape) if layer.shortcut else None
            return stages.residual(
                stages.row(list(self.row(inner, shape))), shortcut, stages.in_place(layer.function, self.dtype)
            )
        if own(layer, "family") == "branches" and layer.join == "concat":
            branches = [self.stage(each, shape) for each in _parts(layer, params, state)]
            return stages.side_by_side(branches, [each.out_shape(shape) for each in layer.layers])
        if own(layer, "lower"):
            return layer.lower(self, params, shape)
        ctx = Context(state=state, input_gradient=False, keep=False)
        if is_ours(layer):
            return stages.any_layer(lambda x: layer.forward(params, x, ctx).y)
        return stages.any_layer(lambda x: outputs_of(layer, params, x, ctx).y)

    def row(self, parts: list[Folded], shape: Shape) -> Iterator[Stage]:
        """Layers in a row; an activation after a linear layer is merged into its stage."""
        every = list(_flat(parts))
        while every:
            layer, params, _ = part = every.pop(0)
            following = every[0][0] if every else None
            function = following.resolved if following and own(following, "family") == "activation" else None
            if function and own(layer, "lower") and getattr(layer, "activation", None) == "identity":
                del every[0]
                yield layer.lower(self, params, shape, function)
            else:
                yield self.stage(part, shape)
            shape = layer.out_shape(shape)

    def dense(self, weight: Array, bias: Array | None, function: Function) -> Stage:
        """A product with weights, and the function after it."""
        return stages.dense(weight, bias, function, in_image_network=self.has_images)

    any_layer = staticmethod(stages.any_layer)
    convolution = staticmethod(stages.convolution)
    max_pool = staticmethod(stages.max_pool)


def _parts(layer: Layer, params: Tree, state: Tree) -> list[Folded]:
    """The layers of a composite."""
    return [(inner, params.get(name, {}), state.get(name, {})) for name, inner in layer.named_layers]


def _flat(parts: list[Folded]) -> Iterator[Folded]:
    """Layers in a row, with nested rows flattened, and without layers that do nothing at inference."""
    for layer, params, state in parts:
        if is_plain_row(layer):
            yield from _flat(_parts(layer, params, state))
        elif own(layer, "family") not in ("dropout", "auxiliary"):
            yield layer, params, state
