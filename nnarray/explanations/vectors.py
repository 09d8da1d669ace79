"""One entry of an embedding, and of learned positions, with its numbers."""

from __future__ import annotations

from collections.abc import Mapping

from nnarray.backends import namespace
from nnarray.explanations.numbers import at, first, near, number, place, rows_of, signed, total, vector
from nnarray.explanations.records import Arithmetic
from nnarray.functional.hooks import Passage
from nnarray.layers.embedding import Embedding
from nnarray.layers.positions import LearnedPositions
from nnarray.typing import Array


def embedding(
    layer: Embedding, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage
) -> Arithmetic:
    """y = W[x]: a row of W; the gradient of that row adds up dL/dy where its integer is."""
    x, y = passage.x, passage.y
    integer, index = int(x[(0,) * x.ndim]), first(x)
    if integer == layer.padding_index:
        return Arithmetic((f"x{index} = {integer} is padding: y{index} = 0",), ())
    row = rows_of(y)[0, :]
    forward = f"x{index} = {integer}: y{index} = weight[{integer}] = {vector(row)}"
    if passage.dy is None or "weight" not in gradients:
        return Arithmetic((forward,), ())
    xp = namespace(passage.dy)
    places = xp.nonzero(xp.reshape(x, (-1,)) == integer)[0]
    parts = xp.take(rows_of(passage.dy)[:, 0], places)
    gradient = gradients["weight"][integer, 0]
    if not near(float(xp.sum(parts)), gradient):  # that of `Tied` counts its products, too
        return Arithmetic((forward,), ())
    where = f"sum of dL/dy[..., 0] over the places of {integer}"
    back = f"dL/dweight[{integer}, 0] = {where} = {total(parts)} = {number(gradient)}"
    return Arithmetic((forward,), (back,))


def positions(
    layer: LearnedPositions, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage
) -> Arithmetic:
    """y = x + P, at the first position of the first example; its vector adds up dL/dy over the examples."""
    x, P = passage.x, params["weight"]
    forward = f"y{place(0, 0, 0)} = x{place(0, 0, 0)} + weight[0, 0] = {at(x)} + {signed(at(P))} = {at(passage.y)}"
    if passage.dy is None or "weight" not in gradients:
        return Arithmetic((forward,), ())
    terms = total(passage.dy[:, 0, 0])
    back = f"dL/dweight[0, 0] = sum over n of dL/dy[n, 0, 0] = {terms} = {at(gradients['weight'])}"
    return Arithmetic((forward,), (back,))
