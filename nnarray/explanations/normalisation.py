"""One entry of a layer that normalises the features of each position, with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    xp, size = namespace(x), x.shape[1]
    mean = xp.mean(x, axis=1, keepdims=True)
    off = x - mean
    m = signed(mean[0, 0])
    squares = shortened((f"({number(x[0, k])} - {m})^2" for k in range(size)), size)
    variance = xp.mean(off * off, axis=1, keepdims=True)
    below = f"sqrt({number(variance[0, 0])} + {layer.epsilon:g})"
    forward = (
        f"mean = ({total(x[0, :])}) / {size} = {number(mean[0, 0])}",
        f"variance = ({squares}) / {size} = {number(variance[0, 0])}",
        f"y{first(passage.y)} = weight[0] · (x{first(passage.y)} - mean) / sqrt(variance + epsilon) + bias[0] = "
        f"{signed(at(params['weight']))} · ({at(x)} - {m}) / {below} + {signed(at(params['bias']))} = {at(passage.y)}",
    )
    z = off / xp.sqrt(variance + layer.epsilon)
    return Arithmetic(forward, _back(z, below, params["weight"], gradients, passage, centred=True))


def rms_norm(
    layer: RMSNorm, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage
) -> Arithmetic:
    """y = w x / sqrt(mean(x^2) + epsilon)."""
    x = at_least_float32(rows_of(passage.x))
    xp, size = namespace(x), x.shape[1]
    mean = xp.mean(x * x, axis=1, keepdims=True)
    squares = shortened((f"{signed(x[0, k])}^2" for k in range(size)), size)
    below = f"sqrt({number(mean[0, 0])} + {layer.epsilon:g})"
    forward = (
        f"mean(x^2) = ({squares}) / {size} = {number(mean[0, 0])}",
        f"y{first(passage.y)} = weight[0] · x{first(passage.y)} / sqrt(mean(x^2) + epsilon) = "
        f"{signed(at(params['weight']))} · {signed(at(x))} / {below} = {at(passage.y)}",
    )
    z = x / xp.sqrt(mean + layer.epsilon)
    return Arithmetic(forward, _back(z, below, params["weight"], gradients, passage, centred=False))


def _back(
    z: Array, below: str, w: Array, gradients: Mapping[str, Array], passage: Passage, *, centred: bool
) -> tuple[str, ...]:
    """The gradients of w and b, and of one x: y = w z + b, and z of one feature depends on all of its position."""
    if passage.dy is None:
        return ()
    dy, over, lines = rows_of(passage.dy), letters(passage.dy), list[str]()
    every, of = over.replace(", ", " and "), first(passage.dy)
    if "weight" in gradients:
        lines.append(
            f"dL/dweight[0] = sum over {every} of dL/dy[{over}, 0] · z[{over}, 0] = {products(dy[:, 0], z[:, 0])} = "
            f"{at(gradients['weight'])}, with y = weight · z{' + bias' if centred else ''}"
        )
    if "bias" in gradients:
        lines.append(
            f"dL/dbias[0] = sum over {every} of dL/dy[{over}, 0] = {total(dy[:, 0])} = {at(gradients['bias'])}"
        )
    if hasattr(passage.dx, "shape"):
        xp: Any = namespace(z)
        g = at_least_float32(w) * at_least_float32(dy[0, :])
        along, middle = signed(xp.mean(g * z[0, :])), signed(xp.mean(g))
        less = (" - mean(g)", f" - {middle}") if centred else ("", "")
        root = "sqrt(variance + epsilon)" if centred else "sqrt(mean(x^2) + epsilon)"
        lines.append(
            f"dL/dx{of} = (g[0]{less[0]} - z[0] · mean(g · z)) / {root} = "
            f"({number(g[0])}{less[1]} - {signed(z[0, 0])} · {along}) / {below} = {at(passage.dx)}, "
            f"with g = weight · dL/dy of this position"
        )
    return tuple(lines)
