"""A plan of decoding: one position of a network with a cache, prepared once for all tokens that follow."""

from __future__ import annotations

from typing import Any, NamedTuple

from nnarray.backends import copy, library_of
from nnarray.functional.propagation import Wiring
from nnarray.kernels.decoding import Plan, Unplanned, plan_of, refuse_unwritable
from nnarray.kernels.engines import LAYERS, computing
from nnarray.layers.base import Layer, own
from nnarray.layers.containers import is_plain_row
from nnarray.layers.kinds import Kind
from nnarray.recording.trees import leaves, mapped
from nnarray.typing import Array, Tree


class Planned(NamedTuple):
    """A plan, and what it was made for."""

    owner: Any
    place: int
    """Where the parameters are in memory, which the plan reads as they are now."""
    arrays: list[Array]
    """Those of the cache, into which the plan writes."""
    engine: str
    plan: Plan | None
    """None if the layers compute."""
    outputs: Any = None

    def fits(self, theta: Array, layers: Tree, engine: str) -> bool:
        """Whether these are still the parameters, the arrays and the engine."""
        if self.engine != engine or self.place != _place(self.owner, theta):
            return False
        given = leaves(layers) if self.plan else []
        return len(given) == len(self.arrays) and all(a is b for a, b in zip(given, self.arrays, strict=True))

    def __call__(self, tokens: Array, position: int) -> Array:
        """The outputs for tokens of shape (batch, 1); the cache has this position then."""
        assert self.plan is not None
        self.plan.run(self.owner.shared(tokens), position)
        return self.owner.from_shared(copy(self.outputs))[:, None, :]


def decoder_of(wiring: Wiring, theta: Array, cache: Any, engine: str) -> Planned:
    """The plan for these parameters and this cache, if all layers are known and it is faster."""
    owner: Any = library_of(theta)
    place, without = _place(owner, theta), Planned(owner, _place(owner, theta), [], engine, None)
    takes: Any = wiring.network.takes
    if place == 0 or engine == LAYERS or not isinstance(takes, Kind) or takes.name != "integer":
        return without
    arrays = leaves(cache.layers)
    tree, inside = (mapped(owner.shared, each) for each in (wiring.params.tree(theta), cache.layers))
    with computing(engine):
        try:
            refuse_unwritable(leaves(inside))
            plan = plan_of(cache.batch, owner.shared(theta).dtype, theta.shape[0], engine)
            outputs = None if plan is None else Lowering(plan, cache.length).layer(wiring.network, tree, inside, None)
        except Unplanned:
            return without
    return without if outputs is None else Planned(owner, place, arrays, engine, plan, outputs)


def _place(owner: Any, theta: Array) -> int:
    """The address of the vector; 0 if it is not in the memory of the host."""
    host = None if owner is None else owner.shared(theta)
    return 0 if host is None else host.__array_interface__["data"][0]


class Lowering(NamedTuple):
    """The conversion of layers to the operations of a plan."""

    plan: Plan
    length: int
    """The number of positions of the cache."""

    def layer(self, layer: Layer, params: Tree, cache: Tree, x: Any) -> Any:
        """The outputs of a layer; x is None for tokens.

        Raises
        ------
        Unplanned
            If it is a layer of your own, or one that no plan has.
        """
        if is_plain_row(layer):
            return self.row(layer, params, cache, x)
        if not own(layer, "planned") or (x is None and layer.family not in ("row", "embedding", "branches")):
            raise Unplanned
        return layer.planned(self, params, cache, x)  # pyright: ignore[reportAttributeAccessIssue]

    def row(self, whole: Layer, params: Tree, cache: Tree, x: Any) -> Any:
        """The outputs of the layers inside of another one, one after the other."""
        for name, layer in whole.named_layers:
            x = self.layer(layer, params.get(name, {}), cache.get(name, {}), x)
        return x

    def side_by_side(self, whole: Layer, params: Tree, cache: Tree, x: Any) -> list[Any]:
        """The outputs of each layer inside of another one."""
        return [self.layer(each, params.get(name, {}), cache.get(name, {}), x) for name, each in whole.named_layers]
