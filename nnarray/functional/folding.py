"""Folding batch normalisation into the layer before it, for inference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nnarray.layers.base import Layer, own
from nnarray.layers.containers import is_plain_row
from nnarray.typing import Tree

Folded = tuple[Any, dict[str, Any], dict[str, Any]]
"""A layer, its parameters and its state."""


def folded(layer: Layer, params: Tree, state: Tree) -> Folded:
    """A layer with the same outputs at inference, its parameters and its state.

    s = w / sqrt(variance + epsilon) scales the filters, W' = W s, and the shift moves into the bias,
    b' = (b - mean) s + shift.
    """
    if not layer.named_layers:
        return layer, dict(params), dict(state)
    parts = {name: folded(each, params.get(name, {}), state.get(name, {})) for name, each in layer.named_layers}
    if is_plain_row(layer) or own(layer, "family") in (
        "residual",
        "auxiliary",
    ):  # others may not call their layers one by one
        parts = _merged(parts, last=[*parts][-1] if getattr(layer, "shortcut", False) else None)
    network = layer.with_layers({name: part[0] for name, part in parts.items()})
    return network, {name: part[1] for name, part in parts.items()}, {name: part[2] for name, part in parts.items()}


def _merged(parts: dict[str, Folded], last: str | None) -> dict[str, Folded]:
    """Layers in a row with each `BatchNorm` merged into the layer before it, except `last`, which is a shortcut."""
    kept: dict[str, Folded] = {}
    before = ""
    for name, part in parts.items():
        layer, params, state = part
        if before and name != last and own(layer, "scale_and_shift") and _linear(kept[before][0]):
            kept[before] = _scaled(kept[before], layer, params, state)
        else:
            kept[name], before = part, name
    return kept


def _linear(layer: Layer) -> bool:
    """Whether the layer only multiplies by a weight whose last axis is the channels, without an activation.

    A derived class may do more, so it does not count.
    """
    return own(layer, "family") in ("convolution", "dense") and getattr(layer, "activation", None) == "identity"


def _scaled(before: Folded, norm: Any, params: Tree, state: Tree) -> Folded:
    layer, linear, none = before
    scale, shift = norm.scale_and_shift(params, state)
    bias = linear["bias"] * scale + shift if "bias" in linear else shift
    return replace(layer, bias=True), {"weight": linear["weight"] * scale, "bias": bias}, none
