"""Frozen layers in training: their state does not change either, as at inference."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from nnarray.functional.propagation import Wiring
from nnarray.layers.base import Context, Layer, Out, outputs_of
from nnarray.layers.wrapped import Wrapped
from nnarray.typing import Array, Tree


@dataclass(frozen=True)
class Frozen(Wrapped):
    """A layer that computes in training as at inference, and so keeps its state."""

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs at inference, and their pullback."""
        return outputs_of(self.inner, params, x, ctx._replace(training=False))._replace(state={})


def frozen_in(wiring: Wiring, frozen: Set[str]) -> Wiring:
    """The network as it trains if these parameters are frozen: layers that are frozen as a whole keep their state.

    A layer is frozen as a whole if all of its parameters are. If it has none, the smallest part of the network around
    it that has some decides.
    """
    if not (frozen and wiring.state.size):
        return wiring
    return wiring._replace(network=_frozen_in(wiring, frozen, wiring.network, (), whole=False))


def _frozen_in(wiring: Wiring, frozen: Set[str], layer: Layer, path: tuple[str, ...], *, whole: bool) -> Layer:
    """The layer at this path; `whole` says whether the part around it is frozen as a whole."""
    own = [slot.name in frozen for slot in wiring.params.slots if slot.path[: len(path)] == path]
    whole = all(own) if own else whole
    inside = dict(layer.named_layers)
    if inside:
        return layer.with_layers(
            {name: _frozen_in(wiring, frozen, each, (*path, name), whole=whole) for name, each in inside.items()}
        )
    has_state = any(slot.path[: len(path)] == path for slot in wiring.state.slots)
    return Frozen(layer) if whole and has_state else layer
