"""One position of a recurrent layer with its numbers, and backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of, namespace
from nnarray.explanations.numbers import at, counted, number, products, signed, total
from nnarray.explanations.records import NO_ARITHMETIC, Arithmetic
from nnarray.functional.hooks import Passage
from nnarray.typing import Array

GATES = {"tanh": ("",), "relu": ("",), "lstm": tuple("ifgo"), "gru": tuple("rzn")}
"""What the columns of W_ih and W_hh compute, by the name of the cell."""


def recurrent(layer: Any, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage) -> Arithmetic:
    """Unit 0 of the first layer at the second position of the first example that counts: there is a state before."""
    positions = counted(passage.mask, passage.x.shape[1])[:2]
    if not positions:
        return NO_ARITHMETIC
    names = next(iter(layer.passes))[2]
    x, weights = passage.x[:1, ...], list[Any](params.get(name) for name in names)
    xp, before = namespace(x), list[Any]()
    zeros = xp.zeros((1, layer.units), dtype=x.dtype, device=device_of(x))
    states: list[Any] = [zeros, zeros if layer.recurrence.states == 2 else None]
    settings: dict[str, Any] = {"cell": layer.recurrence, "input_gradient": False, "keep": False}
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    for t in positions:
        before, (h, c) = states, states
        one = x[:, t : t + 1, :]
        _, *states, _ = kernels.recurrence(one, weight_ih, weight_hh, bias_ih, bias_hh, h, c, None, **settings)
    t = positions[-1]
    result = passage.y[0, t, 0] if layer.num_layers == 1 else states[0][0, 0]
    reads = f"x[0, {t}]", f"h[{positions[0]}]" if len(positions) > 1 else "(h before, which is 0)"
    lines = _products(names, weights, (x[0, t, :], before[0][0, :]), reads, GATES[layer.recurrence.name][0])
    forward = [*lines, *_gates(layer, weights, x[:, t, :], before, states, f"h[{t}, 0]", number(result))]
    return Arithmetic(tuple(forward), _backward(layer, names, weights, gradients, passage))


def _products(
    names: list[str], weights: list[Any], arrays: tuple[Array, Array], reads: tuple[str, str], gate: str
) -> list[str]:
    """The first columns of p = x W_ih + b_ih and q = h W_hh + b_hh."""
    lines = list[str]()
    for i, (letter, a, read) in enumerate(zip("pq", arrays, reads, strict=True)):
        bias = weights[2 + i]
        value = kernels.affine(a[None, :], weights[i], bias)[0, 0]
        terms = products(a, weights[i][:, 0], [] if bias is None else [number(bias[0])])
        more = "" if bias is None else f" + {names[2 + i]}[0]"
        lines.append(f"{_of(letter, gate)} = {read} · {names[i]}[:, 0]{more} = {terms} = {number(value)}")
    return lines


def _of(letter: str, gate: str) -> str:
    return f"{letter}_{gate}" if gate else letter


def _gates(
    layer: Any, weights: list[Any], x: Array, before: list[Any], states: list[Any], name: str, result: str
) -> list[str]:
    """The lines from p and q to the state."""
    kind, units = layer.recurrence.name, layer.units
    p, q = kernels.affine(x, weights[0], weights[2]), kernels.affine(before[0], weights[1], weights[3])
    found, lines, old = dict[str, float](), list[str](), signed(before[0][0, 0])
    for i, gate in enumerate(GATES[kind]):
        a, b = float(p[0, i * units]), float(q[0, i * units])
        sums, letters = f"{number(a)} + {signed(b)}", f"{_of('p', gate)} + {_of('q', gate)}"
        if not gate:
            return [f"{name} = {kind}({letters}) = {kind}({sums}) = {result}"]
        if gate == "n":
            sums, letters = f"{number(a)} + {signed(found['r'])} · {signed(b)}", "p_n + r · q_n"
            b *= found["r"]
        function, found[gate] = ("tanh", math.tanh(a + b)) if gate in "gn" else ("logistic", _logistic(a + b))
        lines.append(f"{gate} = {function}({letters}) = {function}({sums}) = {number(found[gate])}")
    if kind == "gru":
        z, n = signed(found["z"]), signed(found["n"])
        return [*lines, f"{name} = (1 - z) · n + z · h before = (1 - {z}) · {n} + {z} · {old} = {result}"]
    i, f, g, o = (signed(found[gate]) for gate in "ifgo")
    c, old = number(states[1][0, 0]), signed(before[1][0, 0])
    lines.append(f"c = f · c before + i · g = {f} · {old} + {i} · {g} = {c}")
    return [*lines, f"{name} = o · tanh(c) = {o} · tanh({c}) = {result}"]


def _logistic(x: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * x)


def _backward(
    layer: Any, names: list[str], weights: list[Any], gradients: Mapping[str, Array], passage: Passage
) -> tuple[str, ...]:
    """From the last position to the one before, and the sums over all positions; of one layer."""
    if passage.dy is None or layer.num_layers > 1:
        return ()
    xp, mask, units = namespace(passage.dy), passage.mask, layer.units
    x, y, dy = passage.x, passage.y[..., :units], passage.dy[..., :units]
    if mask is not None:
        x, dy = (xp.where(mask[..., None], each, xp.zeros_like(each)) for each in (x, dy))
    dp = _gradient_of_products(layer, weights, x, dy, mask)
    lines = [] if mask is not None or layer.recurrence.gates > 1 else _two_steps(names[1], weights[1], y, dy, dp, layer)
    column, over = _column(dp), "sum over n and t of"
    first = xp.zeros_like(y[:, :1, :])
    for name, terms, what in (
        (names[0], products(_column(x), column), "x[n, t, 0] · dL/dp[n, t, 0]"),
        (
            names[1],
            products(_column(xp.concat([first, y[:, :-1, :]], axis=1)), column) if mask is None else "",
            "h[n, t - 1, 0] · dL/dp[n, t, 0]",
        ),
        (names[2], total(column), "dL/dp[n, t, 0]"),
    ):
        if name in gradients and terms:
            index = "[0]" if name == names[2] else "[0, 0]"
            lines.append(f"dL/d{name}{index} = {over} {what} = {terms} = {at(gradients[name])}")
    return tuple(lines)


def _gradient_of_products(layer: Any, weights: list[Any], x: Array, dy: Array, mask: Array | None) -> Array:
    """dL/dp at all positions: p are the inputs of the same recurrence whose W_ih is the identity."""
    _, weight_hh, bias_ih, bias_hh = weights
    p = kernels.affine(x, weights[0], bias_ih)
    xp, size = namespace(p), p.shape[-1]
    same = xp.eye(size, dtype=p.dtype, device=device_of(p))
    none = None if bias_ih is None else xp.zeros_like(bias_ih)
    *_, pullback = kernels.recurrence(p, same, weight_hh, none, bias_hh, None, None, mask, cell=layer.recurrence)
    return pullback(dy)[0]


def _two_steps(name: str, weight_hh: Array, y: Array, dy: Array, dp: Array, layer: Any) -> list[str]:
    """The last position gets dL/dy alone; the one before gets what comes back through the state, too."""
    last = y.shape[1] - 1

    def derivative(t: int) -> tuple[str, str]:
        h = y[0, t, 0]
        if layer.recurrence.name == "relu":
            return "relu'", "1" if float(h) > 0 else "0"
        return f"(1 - h[{t}, 0]^2)", f"(1 - {signed(h)}^2)"

    words, numbers = derivative(last)
    lines = [
        f"dL/dp[0, {last}, 0] = dL/dy[0, {last}, 0] · {words} = {signed(dy[0, last, 0])} · {numbers} = "
        f"{number(dp[0, last, 0])}"
    ]
    if last:
        words, numbers = derivative(last - 1)
        through = products(dp[0, last, :], weight_hh[0, :])
        lines.append(
            f"dL/dp[0, {last - 1}, 0] = (dL/dy[0, {last - 1}, 0] + sum over j of dL/dp[0, {last}, j] · {name}[0, j]) · "
            f"{words} = ({number(dy[0, last - 1, 0])} + {through}) · {numbers} = {number(dp[0, last - 1, 0])}"
        )
    return lines


def _column(x: Array) -> Array:
    """The first feature of all positions of all examples."""
    return namespace(x).reshape(x[..., 0], (-1,))
