"""Where the signals of a network end: the layer from which on all examples have nearly the same outputs."""

from __future__ import annotations

from collections.abc import Iterator

from nnarray.backends import same_place, without_record
from nnarray.functional.hooks import Passage, with_hooks
from nnarray.functional.summary import summary
from nnarray.kernels.loops import read
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.layers.base import Context, Layer, described
from nnarray.layers.containers import last_activation
from nnarray.training.trainee import Trainee
from nnarray.typing import Array

ROWS = 128  # the outputs of all layers are kept for so many examples
EQUAL = 3e-3  # outputs that differ by less than this part of their size hardly depend on the example


def of_equal_signals(model: Trainee, x: Array) -> str:
    """That all examples look alike, or from which layer on they do; "" if they differ. Waits for the device once."""
    x, xp = x[: min(ROWS, x.shape[0]), ...], same_place(x=x)
    if x.shape[0] < 2:
        return ""
    hidden = [*_hidden(model, x)]
    equal, *ratios = read(xp.stack([_is_one_value(x, at := model.theta[:0]), *(_spread(y, at) for _, _, y in hidden)]))
    if equal:
        return "all examples in X are the same, so that nothing can be learned from them. Look at X: X[:5]."
    if not ratios or ratios[-1] > EQUAL:
        return ""
    first = next((k + 1 for k in reversed(range(len(ratios))) if ratios[k] > EQUAL), 0)
    name, layer, y = hidden[first]
    if float(same_place(y=y).max(same_place(y=y).abs(y))) == 0.0:
        return (
            f"All outputs of layer {name!r}, {described(layer)}, are 0 for all examples, so that no gradient passes "
            f"it. Make the model again, with a lower lr, or with 'leaky_relu' instead of 'relu'."
        )
    return (
        f"From layer {name!r}, {described(layer)}, on the outputs hardly differ from example to example. Layers one "
        f"after another make signals and gradients smaller, 'logistic' (sigmoid) most of all. Use 'relu' or 'tanh', "
        f"fewer layers, or nn.BatchNorm() between them; where all outputs are at the limits of an activation, a lower "
        f"lr."
    )


def of_no_activation(network: Layer) -> str:
    """That a row of several layers is one linear function, as none but the last has an activation; else ""."""
    layers = [each for _, each in network.named_layers if each.family not in ("dropout", "reshape")]
    is_row = network.family == "row" and len(layers) > 1
    if not is_row or any(each.family != "dense" or last_activation(each) != "identity" for each in layers[:-1]):
        return ""
    return (
        "No hidden layer has an activation, so that the network is one linear function, whatever its size. Give the "
        f"hidden layers one, such as nn.Dense({getattr(layers[0], 'units', 16)}, 'relu')."
    )


def _hidden(model: Trainee, x: Array) -> Iterator[tuple[str, Layer, Array]]:
    """The layers that have no layers inside and are not the last, and their outputs at inference."""
    network, passages = model.wiring.network, dict[str, Passage]()
    ctx = Context(False, model.wiring.state.tree(model.state), False, False)
    with_hooks(network, passages).forward(model.wiring.params.tree(without_record(model.theta)), x, ctx)
    lines = summary(network, model.input_shape, itemsize=4, frozen=frozenset(), depth=None).lines
    inner = [line for line in lines if line.name in passages and not line.layer.named_layers]
    for line in inner[:-1]:
        y = passages[line.name].y
        if y.ndim > 1 and line.layer.family not in ("dropout", "reshape"):
            yield line.name, line.layer, y


def _is_one_value(x: Array, like: Array) -> Array:
    xp = same_place(x=x)
    return xp.astype(xp.all(x == x[:1, ...]), at_least_float32(like).dtype)


def _spread(y: Array, like: Array) -> Array:
    """The largest standard deviation of an output over the examples, as a part of the largest output."""
    xp, y = same_place(y=y), at_least_float32(y)
    y = xp.reshape(y, (y.shape[0], -1))
    size = xp.max(xp.abs(y))
    ratio = xp.max(xp.std(y, axis=0)) / xp.where(size > 0, size, xp.ones_like(size))
    return xp.astype(ratio, at_least_float32(like).dtype)
