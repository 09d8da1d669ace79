"""Warnings before a training that cannot learn: outputs that do not reach y, and units that stay equal."""

from __future__ import annotations

import math

from nnarray.backends import namespace, without_record
from nnarray.caller import warn
from nnarray.kernels.compilation import quiet
from nnarray.layers.base import Layer
from nnarray.layers.containers import heads_in, last_activation
from nnarray.losses import Loss
from nnarray.training.data import Data
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Shape

RANGES = {
    **dict.fromkeys(("relu", "softplus"), (0.0, math.inf)),
    **dict.fromkeys(("logistic", "hard_sigmoid", "gaussian", "softmax"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "hard_tanh", "softsign", "sin"), (-1.0, 1.0)),
}
"""The lowest and the highest output of activations that limit outputs."""

UNLIMITED = "identity", "leaky_relu", "log_softmax"  # activations whose outputs can be logits

FEW = 0.05  # this part of y may lie outside: noise around values that can be reached


@quiet
def warn_of_beginning(model: Trainee, data: object, loss: Loss) -> None:
    """Warn if the outputs cannot reach the logits or values they should, or if all units of each layer are equal."""
    network = model.wiring.network
    target = data.target if isinstance(data, Data) and not loss.is_of_classes else None
    reasons = [
        _of_logits(network, loss, model.output_shape) if loss.is_of_classes else "",
        _of_range(last_activation(network), target),
        _of_symmetry(model),
        _of_frozen(model),
    ]
    for reason in filter(None, reasons):
        warn(reason)


def _of_logits(network: Layer, loss: Loss, outputs: Shape) -> str:
    """That the last activation limits logits, so that many probabilities cannot be reached."""
    ends = (last_activation(each) for each in (network, *heads_in(network)))
    last = next((each for each in ends if each and each not in UNLIMITED), None)
    if last is None:
        return ""
    reason = "has no negative outputs, and no gradient where its output is 0" if last == "relu" else "limits them"
    return (
        f"the network ends in {last!r}, but {loss.label} takes logits, any real numbers: {last} {reason}. Leave "
        f"out the last activation: nn.Dense({outputs[-1]})."
    )


def _of_range(last: str | None, target: Array | None) -> str:
    """That a part of the targets lies outside of the outputs of the last activation."""
    if last not in RANGES or target is None or 0 in target.shape:
        return ""
    xp, (lowest, highest) = namespace(target), RANGES[last]
    if not xp.isdtype(target.dtype, "real floating"):
        return ""
    outside = (target < lowest) | (target > highest)
    if float(xp.mean(xp.astype(outside, xp.float32))) <= FEW:
        return ""
    limits = f"no outputs below {lowest:g}" if math.isinf(highest) else f"outputs from {lowest:g} to {highest:g} only"
    return (
        f"the network ends in {last!r}, which has {limits}, but y has values from {float(xp.min(target)):.4g} to "
        f"{float(xp.max(target)):.4g}. Leave out the last activation: nn.Dense({target.shape[-1]})."
    )


def _of_frozen(model: Trainee) -> str:
    """That no parameter may change."""
    every = {slot.name for slot in model.wiring.params.slots}
    if not every or not every <= model.frozen:
        return ""
    return (
        "all parameters are frozen, so that the training changes nothing. Call model.unfreeze() before fit; then "
        "freeze fewer layers, such as model.freeze('0')."
    )


def _of_symmetry(model: Trainee) -> str:
    """That each array of parameters has equal entries, so that all units of a layer get the same gradient."""
    arrays = [*model.wiring.params.views(without_record(model.theta)).values()]
    hidden = [each for each in arrays if each.ndim > 1][:-1]
    if not any(each.shape[-1] > 1 for each in hidden) or not all(_is_constant(each) for each in arrays):
        return ""
    return (
        "in each layer all weights are equal, so that all its units get the same gradient and stay equal: the network "
        "learns no more than with one unit. Leave out init=, which then draws them at random, and make the model again."
    )


def _is_constant(x: Array) -> bool:
    xp = namespace(x)
    return bool(xp.all(x == xp.reshape(x, (-1,))[0]))
