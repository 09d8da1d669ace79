"""A plan: what does not change between the steps of a training is prepared once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from nnarray.backends import library_of
from nnarray.functional.propagation import Wiring
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.numpy.chain import Chain, Steps
from nnarray.kernels.standard.updates import Rule
from nnarray.layers.base import Layer, own
from nnarray.layers.containers import is_plain_row
from nnarray.losses import Loss
from nnarray.typing import Array


class Prepared(Protocol):
    """What is asked of an optimizer: a rule in numbers, if it has one, and what the gradient goes through before it."""

    @property
    def transforms(self) -> Sequence[Any]:
        """What the gradient goes through before the update, such as clipping, in order."""
        ...

    def elementwise(self) -> Rule | None:
        """The update of each parameter as a rule in numbers; None if the optimizer has no such rule."""
        ...


def steps_of(
    wiring: Wiring,
    loss: Loss,
    optimizer: Prepared,
    theta: Array,
    slots: dict[str, Array],
    decays: Array | None,
    *,
    keep_outputs: bool,
) -> Steps | None:
    """Prepared steps that write into theta and slots, or None where there is no faster way than the layers' own."""
    owner = library_of(theta)
    chain, numbers = chain_of(wiring), rule_of(optimizer)
    if owner is None or not owner.is_host or chain is None or numbers is None or theta.dtype.itemsize < 4:
        return None
    is_joined = loss.is_cross_entropy and _speaks_for_itself(loss, "is_cross_entropy", *COMPUTES_LOSS)
    if is_joined and chain.functions[-1] is not FUNCTIONS["identity"]:
        return None
    chosen: Any = loss.reduction if is_joined else loss.of_prepared
    return Steps(chain, numbers, chosen, theta, slots, decays, keep_outputs=keep_outputs)


def chain_of(wiring: Wiring) -> Chain | None:
    """The network as a chain, if it is dense layers in a row with functions that a chain knows."""
    dense = list(_in_a_row(wiring.network))
    if not all(own(each, "family") == "dense" and each.bias and each.function.elementwise for each in dense):
        return None
    widths = [place.param.shape for place in wiring.params.slots if place.path[-1] == "weight"]
    return Chain((widths[0][0], *(units for _, units in widths)), tuple(each.function for each in dense))


def _in_a_row(layer: Layer) -> Iterator[Any]:
    """The layers that a network is made of, if none of them is made of layers in another way."""
    if is_plain_row(layer) and not layer.recompute:
        for each in layer.layers:
            yield from _in_a_row(each)
    else:
        yield layer


def rule_of(optimizer: Prepared) -> Rule | None:
    """The optimizer in numbers, if it is one that a chain knows."""
    known = all(each.in_rule for each in optimizer.transforms)
    return optimizer.elementwise() if known and _speaks_for_itself(optimizer, "elementwise", *COMPUTES_UPDATE) else None


COMPUTES_LOSS = ("per_example", "of_prepared", "reduced")
COMPUTES_UPDATE = ("apply", "apply_in", "kernel", "numbers", "transforms", "update", "slots", "slot_names")


def _speaks_for_itself(settings: object, said: str, *methods: str) -> bool:
    """Whether what a class says still holds: no class below the one that says it computes anything anew."""
    speaker = next(each for each in type(settings).__mro__ if said in vars(each))
    below = type(settings).__mro__[: type(settings).__mro__.index(speaker)]
    return not any(name in vars(each) for each in below for name in methods)
