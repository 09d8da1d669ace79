"""Folding batch normalisation into the layer before it, for inference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nnarray.backends import namespace
from nnarray.layers import Auxiliary, BatchNorm, Conv1D, Conv2D, Dense, Layer, Residual
from nnarray.layers.containers import Composite, is_plain_row
from nnarray.typing import Array, Tree

Folded = tuple[Layer, dict[str, Any], dict[str, Any]]


def folded(layer: Layer, params: Tree, state: Tree) -> Folded:
    """A layer that gives the same at inference, its parameters and its state.

    s = w / sqrt(variance + epsilon) scales the filters, W' = W s, and the shift moves into the bias,
    b' = (b - mean) s + shift.
    """
    if not isinstance(layer, Composite):
        return layer, dict(params), dict(state)
    parts = {
        name: folded(each, params.get(name, {}), state.get(name, {}))
        for name, each in zip(layer.names, layer.layers, strict=True)
    }
    if is_plain_row(layer) or type(layer) in (Residual, Auxiliary):  # another kind may go through its layers otherwise
        parts = _merged(parts, last=layer.names[-1] if getattr(layer, "shortcut", False) else None)
    network = layer.with_layers({name: part[0] for name, part in parts.items()})
    return network, {name: part[1] for name, part in parts.items()}, {name: part[2] for name, part in parts.items()}


def _merged(parts: dict[str, Folded], last: str | None) -> dict[str, Folded]:
    """Layers in a row with each `BatchNorm` merged into the layer before it, except `last`, which is a shortcut."""
    kept: dict[str, Folded] = {}
    before = ""
    for name, part in parts.items():
        layer, params, state = part
        if before and name != last and type(layer) is BatchNorm and _linear(kept[before][0]):
            kept[before] = _scaled(kept[before], layer, params, state)
        else:
            kept[name], before = part, name
    return kept


def _linear(layer: Layer) -> bool:
    """Whether the layer multiplies by a weight whose last axis is the channels, and does nothing after.

    A layer derived from one of these may do more.
    """
    return type(layer) in (Conv1D, Conv2D, Dense) and getattr(layer, "activation", None) == "identity"


def _scaled(before: Folded, norm: Layer, params: Tree, state: Tree) -> Folded:
    layer, own, none = before
    assert isinstance(layer, Conv1D | Conv2D | Dense)
    assert isinstance(norm, BatchNorm)
    scale: Array = params["weight"] / namespace(params["weight"]).sqrt(state["variance"] + norm.epsilon)
    shift: Array = params["bias"] - state["mean"] * scale
    bias = own["bias"] * scale + shift if layer.bias else shift
    return replace(layer, bias=True), {"weight": own["weight"] * scale, "bias": bias}, none
