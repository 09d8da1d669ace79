"""A plan: what does not change between the steps of a training is prepared once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnarray.backends import library_of
from nnarray.functional.propagation import Wiring
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.numpy.chain import Chain, Rule, Steps
from nnarray.layers import Dense, Layer
from nnarray.layers.containers import is_plain_row
from nnarray.losses import CrossEntropy, Loss
from nnarray.optimizers import SGD, Adam, AdamW, Optimizer
from nnarray.typing import Array


def steps_of(
    wiring: Wiring,
    loss: Loss,
    rule: Optimizer,
    theta: Array,
    slots: dict[str, Array],
    decays: Array | None,
    *,
    keep_outputs: bool,
) -> Steps | None:
    """Prepared steps that write into theta and slots, or None where there is no faster way than the layers' own."""
    owner = library_of(theta)
    chain, numbers = chain_of(wiring), rule_of(rule)
    if owner is None or not owner.is_host or chain is None or numbers is None or theta.dtype.itemsize < 4:
        return None
    if type(loss) is CrossEntropy and chain.functions[-1] is not FUNCTIONS["identity"]:
        return None
    chosen: Any = loss.reduction if type(loss) is CrossEntropy else loss.of_prepared
    return Steps(chain, numbers, chosen, theta, slots, decays, keep_outputs=keep_outputs)


def chain_of(wiring: Wiring) -> Chain | None:
    """The network as a chain, if it is dense layers in a row with functions that a chain knows."""
    dense = list(_in_a_row(wiring.network))
    if not all(type(each) is Dense and each.bias and each.function.elementwise for each in dense):
        return None
    widths = [place.param.shape for place in wiring.params.places if place.path[-1] == "weight"]
    return Chain((widths[0][0], *(units for _, units in widths)), tuple(each.function for each in dense))


def _in_a_row(layer: Layer) -> Iterator[Any]:
    """The layers that a network is made of, if none of them is made of layers in another way."""
    if is_plain_row(layer) and not layer.recompute:
        for each in layer.layers:
            yield from _in_a_row(each)
    else:
        yield layer


def rule_of(rule: Optimizer) -> Rule | None:
    """The optimizer in numbers, if it is one that a chain knows."""
    if rule.clip_norm is not None:
        return None
    if type(rule) is SGD:
        if rule.momentum:
            return Rule(momentum=rule.momentum, nesterov=rule.nesterov, coupled=rule.weight_decay)
        return Rule(decoupled=rule.weight_decay)  # the same without momentum
    if isinstance(rule, Adam) and type(rule) in (Adam, AdamW):
        adam = Rule(beta1=rule.beta1, beta2=rule.beta2, epsilon=rule.epsilon)
        decay = rule.weight_decay
        return adam._replace(decoupled=decay) if type(rule) is AdamW else adam._replace(coupled=decay)
    return None
