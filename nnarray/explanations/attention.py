"""One query of attention with its numbers: scores, weights and the weighted sum, and the same steps backward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.explanations.numbers import (
    at,
    counted,
    few,
    number,
    products,
    shortened,
    signed,
    total,
)
from nnarray.explanations.records import NO_ARITHMETIC, Arithmetic
from nnarray.functional.hooks import Passage
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.layers.attention import MultiHeadAttention, split_heads
from nnarray.typing import Array


def attention(
    layer: MultiHeadAttention, params: Mapping[str, Array], gradients: Mapping[str, Array], passage: Passage
) -> Arithmetic:
    """The query of the last position of the first example that counts, in head 0: it sees most."""
    seen = counted(passage.mask, passage.x.shape[1])
    if not seen:
        return NO_ARITHMETIC
    q, k, v = layer.parts(params, passage.x)
    mixed, normaliser = kernels.attention(q, k, v, passage.mask, None, causal=layer.causal)
    t, joined = seen[-1], kernels.joined_heads(mixed)
    query = Query(t, seen, q[0, 0, t, :], k[0, 0, ...], v[0, 0, ...], normaliser[0, 0, t])
    forward = [_projection(layer, params, passage, query), *query.scored(), query.mixed(joined[0, t, 0])]
    y, out, bias = passage.y, params["out_weight"], params.get("out_bias")
    terms = products(joined[0, t, :], out[:, 0], [] if bias is None else [number(bias[0])])
    of_h = "h[t] · out_weight[:, 0]" + ("" if bias is None else " + out_bias[0]")
    forward.append(f"y[0, t, 0] = {of_h} = {terms} = {number(y[0, t, 0])}")
    if passage.dy is None:
        return Arithmetic(tuple(forward), ())
    djoined = passage.dy @ out.T
    heads = split_heads(djoined, layer.heads)
    dq, _, _ = kernels.attention_pullback(heads, q, k, v, mixed, normaliser, passage.mask, None, causal=layer.causal)
    back = _sums("out_", "h", joined, "dL/dy", passage.dy, gradients)
    terms = products(passage.dy[0, t, :], out[0, :])
    back.append(f"dL/dh[t, 0] = sum over f of dL/dy[0, t, f] · out_weight[0, f] = {terms} = {number(djoined[0, t, 0])}")
    back += query.backward(heads[0, 0, t, :], dq[0, 0, t, 0])
    if layer.rotary is None:  # else z is q before its rotation
        back += _sums("", "x", passage.x, "dL/dq", kernels.joined_heads(dq), gradients)
    return Arithmetic(tuple(forward), tuple(back))


def _projection(layer: MultiHeadAttention, params: Mapping[str, Array], passage: Passage, query: Query) -> str:
    """The first entry of the query: x W + b."""
    if layer.rotary is not None:
        return f"t = {query.t}: q and k are rotated by the angles of their positions, of base {layer.rotary:g}"
    bias = params.get("bias")
    terms = products(passage.x[0, query.t, :], params["weight"][:, 0], [] if bias is None else [number(bias[0])])
    more = "" if bias is None else " + bias[0]"
    return f"q[t, 0] = x[0, t] · weight[:, 0]{more} = {terms} = {number(query.q[0])}, with t = {query.t}"


def _sums(which: str, name: str, x: Array, dname: str, dz: Array, gradients: Mapping[str, Array]) -> list[str]:
    """The first entries of the gradients of a product z = x W + b: sums over all positions."""
    xp, lines, over = namespace(x), list[str](), "sum over n and t of"
    x, dz = (xp.reshape(each[:, :, 0], (-1,)) for each in (x, dz))
    for kind, terms, what in (
        ("weight", products(x, dz), f"{name}[n, t, 0] · {dname}[n, t, 0]"),
        ("bias", total(dz), f"{dname}[n, t, 0]"),
    ):
        if which + kind in gradients:
            index = "[0, 0]" if kind == "weight" else "[0]"
            lines.append(f"dL/d{which}{kind}{index} = {over} {what} = {terms} = {at(gradients[which + kind])}")
    return lines


@dataclass(frozen=True)
class Query:
    """S[t, j] = q[t] · k[j] / sqrt(size), P = softmax(S), h[t] = sum over j of P[t, j] v[j], in one head."""

    t: int
    seen: Sequence[int]
    """The positions j that it reads."""
    q: Array
    """(size,)"""
    keys: Array
    """(positions, size)"""
    values: Array
    """(positions, size)"""
    normaliser: Array
    """Of the kernel: ln sum over j of e^S[t, j]."""

    @cached_property
    def scores(self) -> list[float]:
        """S[t, j] of the positions that are seen."""
        rows = at_least_float32(self.keys) @ at_least_float32(self.q)
        return [float(rows[j]) / math.sqrt(self.q.shape[0]) for j in self.seen]

    @cached_property
    def weights(self) -> list[float]:
        """P[t, j]."""
        return [math.exp(score - float(self.normaliser)) for score in self.scores]

    @property
    def shown(self) -> list[tuple[int, float, float]]:
        """j, S[t, j] and P[t, j] of the first positions."""
        return list(zip(few(self.seen), self.scores, self.weights, strict=False))

    @property
    def root(self) -> str:
        """What scores are divided by."""
        return f"sqrt({self.q.shape[0]})"

    def scored(self) -> list[str]:
        """The lines of the scores and of the weights."""
        hidden = [j for j in range(self.keys.shape[0]) if j not in self.seen]
        lines = list[str]()
        for j, s, _ in self.shown:
            terms = products(self.q, self.keys[j, :])
            lines.append(f"S[t, {j}] = q[t] · k[{j}] / {self.root} = ({terms}) / {self.root} = {number(s)}")
        if len(self.shown) < len(self.seen):
            lines.append(f"... and so on for all {len(self.seen)} positions that it reads")
        if hidden:
            which = ", ".join(map(str, few(hidden))) + (", ..." if len(few(hidden)) < len(hidden) else "")
            lines.append(f"masked, so that S[t, j] is -inf and P[t, j] is 0: j is {which}")
        below = shortened((f"e^{signed(s)}" for s in self.scores), len(self.scores))
        return lines + [f"P[t, {j}] = e^{signed(s)} / ({below}) = {number(p)}" for j, s, p in self.shown]

    def mixed(self, result: Array) -> str:
        """The line of the weighted sum."""
        terms = (f"{number(p)} · {signed(self.values[j, 0])}" for j, p in zip(self.seen, self.weights, strict=True))
        return f"h[t, 0] = sum over j of P[t, j] · v[j, 0] = {shortened(terms, len(self.seen))} = {number(result)}"

    def backward(self, dh: Array, dq: Array) -> list[str]:
        """The lines from dL/dh[t], shape (size,), to dL/dq[t, 0]."""
        rows = at_least_float32(self.values) @ at_least_float32(dh)
        dp = [float(rows[j]) for j in self.seen]
        mean = sum(p * d for p, d in zip(self.weights, dp, strict=True))
        ds = [p * (d - mean) for p, d in zip(self.weights, dp, strict=True)]
        lines = [
            f"dL/dP[t, {j}] = dL/dh[t] · v[{j}] = {products(dh, self.values[j, :])} = {number(d)}"
            for j, d in zip(few(self.seen), dp, strict=False)
        ]
        terms = (f"{number(p)} · {signed(d)}" for p, d in zip(self.weights, dp, strict=True))
        lines.append(f"m = sum over j of P[t, j] · dL/dP[t, j] = {shortened(terms, len(dp))} = {number(mean)}")
        for (j, _, p), d, s in zip(self.shown, dp, ds, strict=False):
            numbers = f"{number(p)} · ({number(d)} - {signed(mean)}) = {number(s)}"
            lines.append(f"dL/dS[t, {j}] = P[t, {j}] · (dL/dP[t, {j}] - m) = {numbers}")
        terms = (f"{signed(s)} · {signed(self.keys[j, 0])}" for j, s in zip(self.seen, ds, strict=True))
        sums = f"({shortened(terms, len(ds))}) / {self.root} = {number(dq)}"
        return [*lines, f"dL/dq[t, 0] = sum over j of dL/dS[t, j] · k[j, 0] / {self.root} = {sums}"]
