"""A warning after a training that learned next to nothing, if the reason can be seen: scales, or the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from nnarray.backends import device_of, same_place
from nnarray.caller import warn
from nnarray.checks import is_several
from nnarray.kernels.compilation import compiled, quiet
from nnarray.kernels.loops import read
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.layers.base import Layer
from nnarray.layers.containers import heads_in
from nnarray.losses import Loss
from nnarray.training.context import TrainingContext
from nnarray.training.data import Data
from nnarray.training.inputs import InMemory
from nnarray.training.keys import key_of
from nnarray.training.signals import of_equal_signals, of_no_activation
from nnarray.typing import Array, Shape

STEPS, EPOCHS = 20, 3  # fewer say little about the settings
ROWS = 1024  # how many examples are looked at
LARGE, SMALL = 30.0, 1e-3  # root mean squares of numbers that need another scale
POOR, WORSE, FAR_WORSE = 0.5, 1.1, 1.5  # loss, relative to that of equal predictions: hardly better, and worse
STUCK = 0.95  # no better
ALIKE = 1e-6  # of the first loss: equal predictions are right
REAL = "real floating"
RISE, SCATTER = 0.05, 2.0  # of the loss between epochs: of any training, and times 1 / sqrt(examples)
TINY_RATE, NO_CHANGE = 1e-5, 1e-4


@quiet
def warn_of_doubts(context: TrainingContext) -> None:
    """Warn once if the loss shows that the model learned next to nothing, and a reason is known.

    It looks at the history and at no more than 1,024 examples in memory. The host waits for the device once.
    """
    history = context.run.history
    losses = history.columns.get("loss", [])
    if history.steps < STEPS or len(losses) < EPOCHS:
        return
    doubts = " ".join(_of_small_rate(context, losses) or _of_scales_and_large_rate(context, losses))
    if doubts:
        warn(doubts)


def _of_small_rate(context: TrainingContext, losses: list[float]) -> list[str]:
    """That the loss stays as it is, at a tiny learning rate."""
    rate = max(context.run.history.columns.get("lr", [1.0]))
    if rate > TINY_RATE or abs(losses[-1] - losses[0]) > NO_CHANGE * abs(losses[0]):
        return []
    return [
        f"in {len(losses)} epochs the loss did not change: {losses[0]:.6g}, then {losses[-1]:.6g}. The learning rate, "
        f"{rate:g}, may be too low. Multiply lr by 10, several times; model.find_lr(X, y) may suggest one."
    ]


def _of_scales_and_large_rate(context: TrainingContext, losses: list[float]) -> list[str]:
    """That the loss is hardly below that of equal predictions, and why."""
    data, last = context.data, losses[-1]
    if not isinstance(data, Data) or not isinstance(data.inputs, InMemory) or context.settings.loss.reduction != "mean":
        return []
    if [*heads_in(context.model.wiring.network)]:
        return []  # the loss has theirs in it
    guess, of_x, of_y = _facts(context, data, data.inputs.x)
    if guess < ALIKE * losses[0]:
        return []  # all targets are equal
    reasons = [*_of_scales(of_x, of_y)] if last > POOR * guess else []
    rose = last > WORSE * guess and _rose(losses, data.examples)
    if rose and _loss_of_predictions(context, data, data.inputs.x) > FAR_WORSE * guess:
        rate = max(context.run.history.columns.get("lr", [0.0]))
        reasons.append(f"The loss rose between epochs, so that the learning rate, {rate:g}, may be too high: lower lr.")
    if last > STUCK * guess and (linear := of_no_activation(context.model.wiring.network)):
        reasons.append(linear)
    if not reasons and last > STUCK * guess and same_place(x=data.inputs.x).isdtype(data.inputs.x.dtype, REAL):
        reasons += filter(None, [of_equal_signals(context.model, data.inputs.x)])
    found = f"after {len(losses)} epochs the loss is {last:.4g}; with equal predictions for all examples, {guess:.4g}."
    return [found, *reasons] if reasons else []


def _rose(losses: list[float], examples: int) -> bool:
    """Whether the loss rose from one epoch to the next by more than chance explains.

    Dropout changes the loss of each example from epoch to epoch, by about as much as the loss itself. So the mean
    over N examples changes by a part of about 1 / sqrt(N).
    """
    most = 1.0 + max(RISE, SCATTER / math.sqrt(examples))
    return any(after > most * before for before, after in pairwise(losses))


def _loss_of_predictions(context: TrainingContext, data: Data, x: Array) -> float:
    """The loss without dropout, with which that of a training is higher at any learning rate."""
    rows = _looked_at(data.examples)
    outputs = context.model.predict(x[rows, ...], check_finite=False)
    weights = None if data.weights is None else data.weights[rows]
    value, _ = context.settings.loss.of_prepared(outputs, data.target[rows, ...], weights)
    return float(value)


def _looked_at(count: int) -> slice:
    return slice(0, count, max(count // ROWS, 1) | 1)  # odd: labels often take turns


def _of_scales(of_x: float, of_y: float) -> Iterator[str]:
    if _is_unusual(of_x):
        yield (
            f"X has features of the size {_number(of_x)}. Standardise X: scaler = nn.datasets.Standardizer.fit(X), and "
            f"scaler.transform(X) for training and prediction."
        )
    if _is_unusual(of_y):
        yield (
            f"y has values of the size {_number(of_y)}. Standardise y: scaler = nn.datasets.Standardizer.fit(y), and "
            f"scaler.transform(y); scaler.inverse_transform brings predictions back."
        )


def _number(size: float) -> str:
    return f"{size:,.0f}" if LARGE < size < 1e9 else f"{size:.3g}"


def _is_unusual(size: float) -> bool:
    return size > LARGE or 0.0 < size < SMALL


def _facts(context: TrainingContext, data: Data, x: Array) -> tuple[float, float, float]:
    """The loss of equal predictions, and the largest root mean squares of a feature of X and of an output of y."""
    loss, theta = context.settings.loss, context.model.theta
    rows = _looked_at(data.examples)
    target, weights = data.target[rows, ...], None if data.weights is None else data.weights[rows]
    shape = (target.shape[0], *context.model.output_shape)
    if not loss.is_of_classes and target.shape != shape:
        return math.inf, 1.0, 1.0
    settings = loss, shape, _rescales(context.model.wiring.network)
    measure = compiled(partial(_measured, *settings), theta, key_of(_measured.__name__, *settings))
    value, of_x, of_y = read(measure(at_least_float32(theta[:0]), x[rows, ...], target, weights))
    return value, of_x, of_y


def _measured(
    loss: Loss, shape: Shape, rescales: bool, like: Array, x: Array, target: Array, weights: Array | None
) -> Array:
    """The numbers of `_facts` as one vector in the dtype of `like`, for which the host waits once."""
    xp, kind = same_place(y=target), {"dtype": like.dtype, "device": device_of(target)}
    if loss.is_of_classes:
        outputs = xp.zeros(shape, **kind)
    else:
        outputs = xp.broadcast_to(xp.mean(target, axis=0, keepdims=True), shape)
    value, _ = loss.of_prepared(outputs, target, weights)
    numbers = value, 1.0 if rescales else _size(x), 1.0 if loss.is_of_classes else _size(target)
    return xp.stack([xp.asarray(each, **kind) for each in numbers])


def _size(x: Array) -> Array | float:
    """The largest root mean square along the last axis; 1 for integers."""
    xp = same_place(x=x)
    if not xp.isdtype(x.dtype, "real floating"):
        return 1.0
    x = at_least_float32(x)
    return xp.max(xp.sqrt(xp.mean(x * x, axis=tuple(range(x.ndim - 1)))))


def _rescales(network: Layer) -> bool:
    """Whether the first layer brings its inputs to a common scale."""
    layers = getattr(network, "layers", ())
    return _rescales(layers[0]) if is_several(layers) and layers else network.rescales
