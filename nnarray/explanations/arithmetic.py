"""One entry of each step with its numbers, to follow with pencil and paper.

What stands after the last "=" is the network's own number, not one computed here: the line can be checked against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nnarray.backends import namespace
from nnarray.explanations.attention import attention
from nnarray.explanations.normalisation import layer_norm, rms_norm
from nnarray.explanations.numbers import (
    at,
    first,
    letters,
    number,
    products,
    rows_of,
    signed,
    total,
)
from nnarray.explanations.records import NO_ARITHMETIC, Arithmetic
from nnarray.explanations.recurrent import recurrent
from nnarray.explanations.vectors import embedding, positions
from nnarray.functional.hooks import Passage
from nnarray.layers.activations import Activation, activation
from nnarray.layers.attention import MultiHeadAttention
from nnarray.layers.base import Layer
from nnarray.layers.embedding import Embedding
from nnarray.layers.normalisation import LayerNorm, RMSNorm
from nnarray.layers.positions import LearnedPositions
from nnarray.layers.recurrent import GRU, LSTM, SimpleRNN
from nnarray.typing import Array

LINES: dict[type, Callable[[Any, Mapping[str, Array], Mapping[str, Array], Passage], Arithmetic]] = {
    Embedding: embedding,
    LearnedPositions: positions,
    MultiHeadAttention: attention,
    LayerNorm: layer_norm,
    RMSNorm: rms_norm,
    SimpleRNN: recurrent,
    LSTM: recurrent,
    GRU: recurrent,
}
"""By the class itself: one that is derived from it may compute something else."""


def arithmetic_of(
    layer: Layer, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage | None
) -> Arithmetic:
    """One entry of what a layer gives, and of each gradient; nothing for layers that are no plain sum.

    Parameters
    ----------
    layer : Layer
        `Dense`, `Activation`, or one of `LINES`.
    params, gradients : mapping of str to array
        By their names in the layer. A gradient that is missing, as that of a frozen parameter, has no line.
    passage : Passage, optional
    """
    if passage is None or math.prod(passage.y.shape) == 0:
        return NO_ARITHMETIC
    if layer.family == "dense" and passage.y.ndim >= 2:
        return _dense(activation(getattr(layer, "activation", "identity")), params, gradients, passage)
    if layer.family == "activation":
        f, index = activation(layer), first(passage.y)
        forward = (f"y{index} = {_applied(f, at(passage.x))} = {at(passage.y)}",) if _alone(f) else ()
        return Arithmetic(forward, _through(f, passage.x, passage.y, passage.dy, ("dL/dx", "dL/dy")))
    lines = LINES.get(type(layer))
    return lines(layer, params, gradients, passage) if lines else NO_ARITHMETIC


def _dense(f: Activation, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage) -> Arithmetic:
    """y = f(z) with z = x W + b, and the four lines that go back; of sequences, at each position."""
    x, y, W, b = passage.x, passage.y, params["weight"], params.get("bias")
    z = x @ W if b is None else x @ W + b
    plain, index, over = f.function == "identity", first(y), letters(y)
    bias = [] if b is None else [number(b[0])]
    x_rows = rows_of(x)
    forward = [f"{'y' if plain else 'z'}{index} = {products(x_rows[0, :], W[:, 0], bias)} = {at(z)}"]
    if not plain and _alone(f):
        forward.append(f"y{index} = {_applied(f, at(z))} = {at(y)}")
    if passage.dy is None:
        return Arithmetic(tuple(forward), ())
    dz = rows_of(f.resolved.pullback_at(z, y)(passage.dy))
    back = [] if plain else list(_through(f, z, y, passage.dy, ("dL/dz", "dL/dy")))
    name, every = "dL/dy" if plain else "dL/dz", over.replace(", ", " and ")
    if "weight" in gradients:
        terms = products(x_rows[:, 0], dz[:, 0])
        back.append(
            f"dL/dweight[0, 0] = sum over {every} of x[{over}, 0] · {name}[{over}, 0] = {terms} = "
            f"{at(gradients['weight'])}"
        )
    if "bias" in gradients:
        back.append(
            f"dL/dbias[0] = sum over {every} of {name}[{over}, 0] = {total(dz[:, 0])} = {at(gradients['bias'])}"
        )
    if hasattr(passage.dx, "shape"):
        terms, start = products(dz[0, :], W[0, :]), index[1:-2]
        back.append(f"dL/dx{index} = sum over j of {name}[{start}j] · weight[0, j] = {terms} = {at(passage.dx)}")
    return Arithmetic(tuple(forward), tuple(back))


def _through(f: Activation, x: Array, y: Array, dy: Array | None, names: tuple[str, str]) -> tuple[str, ...]:
    """Back through a function of one entry: what comes in times its slope."""
    if dy is None or not _alone(f):
        return ()
    back, index = f.resolved.pullback_at(x, y), first(y)
    slope, dx = back(namespace(y).ones_like(y)), back(dy)
    return (f"{names[0]}{index} = {names[1]}{index} · f'({at(x)}) = {at(dy)} · {signed(at(slope))} = {at(dx)}",)


def _applied(f: Activation, number: str) -> str:
    return f"{f.function if isinstance(f.function, str) else 'f'}({number})"


def _alone(f: Activation) -> bool:
    """Whether each entry goes through the function alone; not so in a softmax."""
    known: Any = f.resolved
    return f.derivative is not None or known.elementwise
