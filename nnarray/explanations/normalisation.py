"""One entry of a layer that normalises the features of each position, with its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nnarray.backends import namespace
from nnarray.explanations.numbers import at, first, letters, number, products, rows_of, shortened, signed, total
from nnarray.explanations.records import Arithmetic
from nnarray.functional.hooks import Passage
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.layers.normalisation import LayerNorm, RMSNorm
from nnarray.typing import Array


def layer_norm(
    layer: LayerNorm, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage
) -> Arithmetic:
    """y = w (x - mean) / sqrt(variance + epsilon) + b."""
    x = at_least_float32(rows_of(passage.x))
    mean = namespace(x).mean(x, axis=1, keepdims=True)
    m = signed(mean[0, 0])
    words = _Words("variance", f"(x{first(passage.y)} - mean)", f"({at(x)} - {m})", centred=True)
    forward, back = _written(layer, params, gradients, passage, x - mean, words, lambda x: f"({number(x)} - {m})^2")
    return Arithmetic((f"mean = ({total(x[0, :])}) / {x.shape[1]} = {number(mean[0, 0])}", *forward), back)


def rms_norm(
    layer: RMSNorm, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage
) -> Arithmetic:
    """y = w x / sqrt(mean(x^2) + epsilon)."""
    x = at_least_float32(rows_of(passage.x))
    words = _Words("mean(x^2)", f"x{first(passage.y)}", signed(at(x)), centred=False)
    return Arithmetic(*_written(layer, params, gradients, passage, x, words, lambda x: f"{signed(x)}^2"))


class _Words(NamedTuple):
    """What the two layers call the same things."""

    spread: str
    """The mean of the squares below the root."""
    above: str
    """What is divided by the root, as a symbol."""
    number: str
    """Its value at the first feature."""
    centred: bool


def _written(
    layer: LayerNorm | RMSNorm,
    params: Mapping[str, Array],
    gradients: Mapping[str, Array],
    passage: Passage,
    above: Array,
    words: _Words,
    square: Callable[[Any], str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """y = w z + b with z = above / sqrt(spread + epsilon), and its gradients."""
    x, xp, size = at_least_float32(rows_of(passage.x)), namespace(above), above.shape[1]
    spread = xp.mean(above * above, axis=1, keepdims=True)
    squares = shortened((square(x[0, k]) for k in range(size)), size)
    below = f"sqrt({number(spread[0, 0])} + {layer.epsilon:g})"
    symbol, value = (" + bias[0]", f" + {signed(at(params['bias']))}") if words.centred else ("", "")
    forward = (
        f"{words.spread} = ({squares}) / {size} = {number(spread[0, 0])}",
        f"y{first(passage.y)} = weight[0] · {words.above} / sqrt({words.spread} + epsilon){symbol} = "
        f"{signed(at(params['weight']))} · {words.number} / {below}{value} = {at(passage.y)}",
    )
    return forward, _back(above / xp.sqrt(spread + layer.epsilon), below, params["weight"], gradients, passage, words)


def _back(
    z: Array, below: str, w: Array, gradients: Mapping[str, Array], passage: Passage, words: _Words
) -> tuple[str, ...]:
    """The gradients of w and b, and of one x: y = w z + b, and z of one feature depends on all of its position."""
    if passage.dy is None:
        return ()
    dy, over, lines = rows_of(passage.dy), letters(passage.dy), list[str]()
    every, of = over.replace(", ", " and "), first(passage.dy)
    if "weight" in gradients:
        lines.append(
            f"dL/dweight[0] = sum over {every} of dL/dy[{over}, 0] · z[{over}, 0] = {products(dy[:, 0], z[:, 0])} = "
            f"{at(gradients['weight'])}, with y = weight · z{' + bias' if words.centred else ''}"
        )
    if "bias" in gradients:
        lines.append(
            f"dL/dbias[0] = sum over {every} of dL/dy[{over}, 0] = {total(dy[:, 0])} = {at(gradients['bias'])}"
        )
    if hasattr(passage.dx, "shape"):
        xp: Any = namespace(z)
        g = at_least_float32(w) * at_least_float32(dy[0, :])
        along, middle = signed(xp.mean(g * z[0, :])), signed(xp.mean(g))
        less = (" - mean(g)", f" - {middle}") if words.centred else ("", "")
        lines.append(
            f"dL/dx{of} = (g[0]{less[0]} - z[0] · mean(g · z)) / sqrt({words.spread} + epsilon) = "
            f"({number(g[0])}{less[1]} - {signed(z[0, 0])} · {along}) / {below} = {at(passage.dx)}, "
            f"with g = weight · dL/dy of this position"
        )
    return tuple(lines)
