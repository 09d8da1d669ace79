"""One entry of each step with its numbers, to follow with pencil and paper.

What stands after the last "=" is the network's own number, not one computed here: the line can be checked against it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nnarray.backends import namespace
from nnarray.explanations.records import Arithmetic
from nnarray.explanations.text import rounded
from nnarray.functional.hooks import Passage
from nnarray.layers.activations import Activation, activation
from nnarray.layers.base import Layer
from nnarray.losses import Loss, differentiated
from nnarray.typing import Array

MOST_TERMS = 6
"""Longer sums show their first terms and how many there are."""


def arithmetic_of(
    layer: Layer, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage | None
) -> Arithmetic:
    """The first entry of what a layer gives, and of each gradient; nothing for layers that are no plain sum.

    Parameters
    ----------
    layer : Layer
        `Dense` on a matrix of inputs, or `Activation`.
    params, gradients : mapping of str to array
        By their names in the layer. A gradient that is missing, as that of a frozen parameter, has no line.
    passage : Passage, optional
    """
    if passage is None or math.prod(passage.y.shape) == 0:
        return Arithmetic((), ())
    if layer.family == "dense" and passage.y.ndim == 2:
        return _dense(activation(getattr(layer, "activation", "identity")), params, gradients, passage)
    if layer.family == "activation":
        f, first = activation(layer), _first(passage.y)
        forward = (f"y{first} = {_applied(f, _at(passage.x))} = {_at(passage.y)}",) if _alone(f) else ()
        return Arithmetic(forward, _through(f, passage.x, passage.y, passage.dy, ("dL/dx", "dL/dy")))
    return Arithmetic((), ())


def _dense(f: Activation, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage) -> Arithmetic:
    """y = f(z) with z = x W + b, and the four lines that go back."""
    x, y, W, b = passage.x, passage.y, params["weight"], params.get("bias")
    z = x @ W if b is None else x @ W + b
    plain = f.function == "identity"
    bias = [] if b is None else [_number(b[0])]
    forward = [f"{'y' if plain else 'z'}[0, 0] = {_sum(x[0, :], W[:, 0], bias)} = {_at(z)}"]
    if not plain and _alone(f):
        forward.append(f"y[0, 0] = {_applied(f, _at(z))} = {_at(y)}")
    if passage.dy is None:
        return Arithmetic(tuple(forward), ())
    dz = f.resolved.pullback_at(z, y)(passage.dy)
    back = [] if plain else list(_through(f, z, y, passage.dy, ("dL/dz", "dL/dy")))
    name = "dL/dy" if plain else "dL/dz"
    if "weight" in gradients:
        terms = _sum(x[:, 0], dz[:, 0])
        back.append(f"dL/dweight[0, 0] = sum over n of x[n, 0] · {name}[n, 0] = {terms} = {_at(gradients['weight'])}")
    if "bias" in gradients:
        terms = _shortened([_signed(_number(dz[n, 0])) for n in range(dz.shape[0])])
        back.append(f"dL/dbias[0] = sum over n of {name}[n, 0] = {terms} = {_at(gradients['bias'])}")
    if hasattr(passage.dx, "shape"):
        terms = _sum(dz[0, :], W[0, :])
        back.append(f"dL/dx[0, 0] = sum over j of {name}[0, j] · weight[0, j] = {terms} = {_at(passage.dx)}")
    return Arithmetic(tuple(forward), tuple(back))


def _through(f: Activation, x: Array, y: Array, dy: Array | None, names: tuple[str, str]) -> tuple[str, ...]:
    """Back through a function of one entry: what comes in times its slope."""
    if dy is None or not _alone(f):
        return ()
    back, first = f.resolved.pullback_at(x, y), _first(y)
    slope, dx = back(namespace(y).ones_like(y)), back(dy)
    return (f"{names[0]}{first} = {names[1]}{first} · f'({_at(x)}) = {_at(dy)} · {_signed(_at(slope))} = {_at(dx)}",)


def loss_arithmetic(loss: Loss, outputs: Array, target: Array, weights: Array | None, gradient: Array) -> Arithmetic:
    """The loss of the first example, or of its first output, and where backpropagation begins.

    Written out for the cross-entropy of labels and for losses that compare entry by entry; with weights for none.
    """
    if weights is not None or math.prod(outputs.shape) == 0:
        return Arithmetic((), ())
    mean = loss.reduction == "mean"
    if loss.is_cross_entropy and outputs.ndim == 2 and target.ndim == 1:
        return _cross_entropy(outputs, int(target[0]), outputs.shape[0] if mean else 1, gradient)
    if type(loss).entry is Loss.entry or target.shape != outputs.shape:
        return Arithmetic((), ())
    first = _first(outputs)
    pair = loss.entry(outputs, target)
    if not isinstance(pair, tuple):
        pair = differentiated(loss.entry, outputs, target, f"{loss.label}.entry")
    value, slope = map(_at, pair)
    size = outputs.shape[0] if mean else 1
    size *= math.prod(outputs.shape[1:])
    if not _near(float(slope) / size, gradient):  # a reduction of its own
        return Arithmetic((), ())
    given = f"o = {_at(outputs)}, t = {_at(target)}"
    return Arithmetic(
        (f"for the first output, {given}: the loss is {value}",),
        (f"dL/do{first}: the slope at {given} is {slope}, and {_signed(slope)} / {size} = {_at(gradient)}",),
    )


def _cross_entropy(outputs: Array, label: int, examples: int, gradient: Array) -> Arithmetic:
    xp = namespace(outputs)
    row = xp.astype(outputs[0, :], xp.float32) if outputs.dtype not in (xp.float32, xp.float64) else outputs[0, :]
    shares = xp.exp(row - xp.max(row))
    p = shares / xp.sum(shares)
    powers = [f"e^{_signed(_number(row[k]))}" for k in range(row.shape[0])]
    below = _shortened(powers)
    t = 1 if label == 0 else 0
    true, start = float(p[label]), (float(p[0]) - t) / examples
    if not _near(start, gradient) or true == 0:  # a loss derived from it; or too far off for these numbers
        return Arithmetic((), ())
    of_first = f"({rounded(float(p[0]))} - {t})"
    return Arithmetic(
        (
            f"p[0, {label}] = {powers[label]} / ({below}) = {rounded(true)}",
            f"the first example is of class {label}: -ln {rounded(true)} = {rounded(-math.log(true))}",
        ),
        (f"dL/dy[0, 0] = (p[0, 0] - t[0, 0]) / {examples} = {of_first} / {examples} = {_at(gradient)}",),
    )


# --- Numbers and sums -----------------------------------------------------------------------------------------------


def _sum(a: Array, b: Array, more: Sequence[str] = ()) -> str:
    """The products of two vectors, entry by entry, and the other terms, with plus signs between them."""
    products = [f"{_signed(_number(a[k]))} · {_signed(_number(b[k]))}" for k in range(a.shape[0])]
    return _shortened([*products, *map(_signed, more)])


def _shortened(terms: list[str]) -> str:
    """All terms, or the first ones and how many there are."""
    if len(terms) <= MOST_TERMS:
        return " + ".join(terms)
    return f"{' + '.join(terms[: MOST_TERMS - 2])} + ... ({len(terms)} terms)"


def _near(wanted: float, gradient: Array) -> bool:
    """Whether the first entry of the gradient is this number, in the digits that are shown."""
    return math.isclose(wanted, float(gradient[(0,) * gradient.ndim]), rel_tol=1e-2, abs_tol=1e-6)


def _number(x: Array) -> str:
    return rounded(float(x))


def _at(x: Array) -> str:
    """The first entry."""
    return _number(x[(0,) * x.ndim])


def _first(x: Array) -> str:
    """The index of the first entry, such as [0, 0]."""
    return f"[{', '.join('0' * x.ndim)}]"


def _signed(number: str) -> str:
    """In brackets if there is a minus before it."""
    return f"({number})" if number.startswith("-") else number


def _applied(f: Activation, number: str) -> str:
    return f"{f.function if isinstance(f.function, str) else 'f'}({number})"


def _alone(f: Activation) -> bool:
    """Whether each entry goes through the function alone; not so in a softmax."""
    known: Any = f.resolved
    return f.derivative is not None or known.elementwise
