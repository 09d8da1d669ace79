"""Loops compiled by Numba, for the extra `nnarray[fast]`: what NumPy does in several passes, in one.

On one thread, for a second pool of threads would steal the cores of NumPy's products. Compiled at first use, once:
Numba keeps the machine code on disk.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

# Sums may be taken in any order, so that they fill the vector registers; nan and infinity are still handed on.
FAST = {"contract", "reassoc", "nsz", "arcp"}
EXACT = {"contract"}  # in another order, b m + (1 - b) g may become g + b (m - g): nan at infinity
compiled = numba.njit(cache=True, error_model="numpy", fastmath=FAST)

# A piece of compiled functions, written into each of them. What is called instead may come from the disk or from this
# process, optimised once or twice: the last bits would depend on what was compiled when.
INLINED: Any = {"error_model": "numpy", "fastmath": FAST, "forceinline": True}
piece = register_jitable(**INLINED)
exact = register_jitable(**INLINED | {"fastmath": EXACT})

Calls = list[tuple[Callable[..., Any], tuple[Any, ...]]]
f32 = np.float32
CODES = {"identity": 0, "tanh": 1, "relu": 2, "logistic": 3}


# --- Functions of one number, which vectorise in float32 ---------------------------------------------------------


@intrinsic
def _float_of_bits(context: Any, bits: Any) -> Any:
    """The float32 whose bits are those of an int32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


def exp(x: Any) -> Any:
    """exp x; in float32 2^n p(f) with n + f = x / ln 2, within (2 + |x| / 2) 1e-7 of it, drawn in beyond -87 and 88."""
    return math.exp(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent; in float32 x p(x^2) / q(x^2), within 4e-7 of it."""
    return math.tanh(x)


@overload(exp, jit_options=INLINED)
def _exp(x: Any) -> Any:
    def precise(x: Any) -> Any:
        return math.exp(x)

    if x != types.float32:
        return precise
    low, high, per_ln2, half, bias = f32(-87.0), f32(88.0), f32(1.4426950408889634), f32(0.5), np.int32(127)
    # 2^f for |f| <= 1/2, by a least maximum fit of the relative error
    c0, c1, c2, c3 = (
        f32(1.0000000005541678),
        f32(0.6931472057372661),
        f32(0.24022646890631974),
        f32(0.05550328776965408),
    )
    c4, c5, c6 = f32(0.009618488957326645), f32(0.001339993121925075), f32(0.00015345811950282106)

    def implementation(x: Any) -> Any:
        t = min(max(x, low), high) * per_ln2
        n = f32(math.floor(t + half))
        f = t - n
        p = c0 + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * c6)))))
        return p * _float_of_bits((np.int32(n) + bias) << np.int32(23))  # pyright: ignore[reportCallIssue]

    return implementation


@overload(tanh, jit_options=INLINED)
def _tanh(x: Any) -> Any:
    def precise(x: Any) -> Any:
        return math.tanh(x)

    if x != types.float32:
        return precise
    far, one = f32(9.0), f32(1.0)
    # tanh(x) / x for |x| <= 9, by a least maximum fit of the relative error
    p1, p2, p3, p4 = (
        f32(0.13381019234657288),
        f32(0.0034955802839249),
        f32(2.06089553103083e-05),
        f32(1.33544908464955e-08),
    )
    q1, q2, q3, q4 = (
        f32(0.46714335680007935),
        f32(0.0258769523352384),
        f32(0.00032856219331733),
        f32(7.77648722305457e-07),
    )

    def implementation(x: Any) -> Any:
        x = min(max(x, -far), far)
        s = x * x
        y = x * (one + s * (p1 + s * (p2 + s * (p3 + s * p4)))) / (one + s * (q1 + s * (q2 + s * (q3 + s * q4))))
        return min(max(y, -one), one)

    return implementation


# --- Waiting ------------------------------------------------------------------------------------------------------

_yield = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else None


@intrinsic
def _look(context: Any, array: Any) -> Any:
    """The first entry as it is in memory now, whoever writes it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(data, "acquire", 8)

    return types.int64(array), code


@numba.njit(cache=True, nogil=True)
def has_changed(count: Any, seen: int, turns: int) -> bool:
    """Whether the number becomes another one while one looks at it so many times."""
    for _ in range(turns):
        if _look(count) != seen:  # pyright: ignore[reportCallIssue]
            return True
        if _yield is not None:
            _yield()
    return _look(count) != seen  # pyright: ignore[reportCallIssue]


# --- Between two products ----------------------------------------------------------------------------------------


@piece
def _activate(code: int, z: Any, bias: Any) -> None:
    """z <- f(z + b), rows of features; no bias has no entries."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for i in range(z.shape[0]):
        row, b = z[i], bias[i] if bias.size else zero
        if code == 1:
            for j in range(row.size):
                row[j] = tanh(row[j] + b)
        elif code == 2:
            for j in range(row.size):
                row[j] = max(row[j] + b, zero)
        elif code == 3:
            for j in range(row.size):
                row[j] = one / (one + exp(-(row[j] + b)))
        elif bias.size:
            for j in range(row.size):
                row[j] += b


@piece
def _back(code: int, delta: Any, y: Any) -> None:
    """Delta <- delta f', from y = f(z)."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for i in range(y.shape[0]):
        d, h = delta[i], y[i]
        if code == 1:
            for j in range(h.size):
                d[j] *= one - h[j] * h[j]
        elif code == 2:
            for j in range(h.size):
                d[j] = d[j] if h[j] > zero else zero
        elif code == 3:
            for j in range(h.size):
                d[j] *= h[j] * (one - h[j])


@piece
def _cross_entropy(z: Any, target: Any, shares: Any, total: Any, largest: Any, loss: Any) -> None:
    """loss <- sum of shares ln sum exp z - t z, and z <- its gradient, shares softmax(z) - t; rows of classes."""
    zero = z.dtype.type(0)
    linear, logs = zero, 0.0
    largest[:] = z[0]
    for k in range(1, z.shape[0]):
        row = z[k]
        for j in range(row.size):
            largest[j] = max(row[j], largest[j])
    total[:] = zero
    for k in range(z.shape[0]):
        row, t = z[k], target[k]
        for j in range(row.size):
            d = row[j] - largest[j]
            linear += t[j] * d
            row[j] = exp(d)
        for j in range(row.size):
            total[j] += row[j]
    for j in range(total.size):
        logs += shares[j] * math.log(total[j])
        total[j] = shares[j] / total[j]
    for k in range(z.shape[0]):
        row, t = z[k], target[k]
        for j in range(row.size):
            row[j] = row[j] * total[j] - t[j]
    loss[0] = logs - linear


@piece
def _squared(g: Any) -> Any:
    """The sum of the squares."""
    total = g.dtype.type(0)
    for i in range(g.size):
        total += g[i] * g[i]
    return total


@exact
def _draw_in(g: Any, square: Any, decay: float, most: float) -> None:
    """What `standard.updates.drawn_in` says, in place."""
    for i in range(g.size):
        room = math.sqrt(most - decay * square[i]) / math.sqrt(1.0 - decay)
        if np.isfinite(g[i]):
            g[i] = min(max(g[i], -room), room)


@exact
def _adam(theta: Any, g: Any, mean: Any, square: Any, rate: float, beta1: float, beta2: float, epsilon: float) -> None:
    """One pass; the corrections lie in rate and epsilon."""
    number = theta.dtype.type
    b1, b2, rest1, root2 = number(beta1), number(beta2), number(1.0 - beta1), number(math.sqrt(1.0 - beta2))
    if not np.isfinite(_squared(g)):
        _draw_in(g, square, beta2, (1.0 - 2.0**-9) * np.finfo(theta.dtype).max)
    size, least = number(rate), number(epsilon)
    for i in range(theta.size):
        m = b1 * mean[i] + rest1 * g[i]
        r = root2 * g[i]
        v = b2 * square[i] + r * r
        mean[i] = m
        square[i] = v
        theta[i] -= size * m / (np.sqrt(v) + least)


# --- Whole steps of a tiny chain -----------------------------------------------------------------------------------


@piece
def _forward(block: Any, h: Any, z: Any) -> None:
    """z <- W^T h + b: two inputs at a time."""
    fan_in = h.shape[0]
    for u in range(z.shape[0]):
        row, b = z[u], block[fan_in, u]
        if fan_in % 2:
            w, x = block[0, u], h[0]
            for j in range(row.size):
                row[j] = b + w * x[j]
        else:
            w, v, x, y = block[0, u], block[1, u], h[0], h[1]
            for j in range(row.size):
                row[j] = b + w * x[j] + v * y[j]
        for i in range(2 - fan_in % 2, fan_in, 2):
            w, v, x, y = block[i, u], block[i + 1, u], h[i], h[i + 1]
            for j in range(row.size):
                row[j] += w * x[j] + v * y[j]


@piece
def _slopes(h: Any, delta: Any, block: Any) -> None:
    """dW <- h delta^T, db <- sum of delta."""
    zero = delta.dtype.type(0)
    for u in range(delta.shape[0]):
        d, total = delta[u], zero
        for i in range(h.shape[0]):
            x, total = h[i], zero
            for j in range(d.size):
                total += x[j] * d[j]
            block[i, u] = total
        total = zero
        for j in range(d.size):
            total += d[j]
        block[h.shape[0], u] = total


@piece
def _below(block: Any, delta: Any, below: Any) -> None:
    """dh <- W delta."""
    for i in range(below.shape[0]):
        row, w, d = below[i], block[i, 0], delta[0]
        for j in range(row.size):
            row[j] = w * d[j]
        for u in range(1, delta.shape[0]):
            w, d = block[i, u], delta[u]
            for j in range(row.size):
                row[j] += w * d[j]


@piece
def update(theta: Any, gradient: Any, mean: Any, square: Any, decays: Any, rule: Any, rate: float, step: int) -> None:
    """The optimizer's, on the whole vector."""
    number = theta.dtype.type
    momentum, nesterov, beta1, beta2, epsilon, coupled, decoupled = rule
    shrink, pull, slow, size, one = number(rate * decoupled), number(coupled), number(momentum), number(rate), number(1)
    for i in range(theta.size):
        theta[i] *= one - shrink * decays[i]
        gradient[i] += pull * decays[i] * theta[i]
    if epsilon:
        root = math.sqrt(1.0 - beta2**step)
        scaled = rate * root / (1.0 - beta1**step)
        _adam(theta, gradient, mean, square, scaled, beta1, beta2, epsilon * root)
    elif momentum:
        for i in range(theta.size):
            mean[i] = slow * mean[i] + gradient[i]
            theta[i] -= size * (gradient[i] + slow * mean[i] if nesterov else mean[i])
    else:
        for i in range(theta.size):
            theta[i] -= size * gradient[i]


@compiled
def _steps(
    theta: Any,
    gradient: Any,
    sizes: Any,
    codes: Any,
    x: Any,
    target: Any,
    shares: Any,
    memory: Any,
    mean: Any,
    square: Any,
    decays: Any,
    rule: Any,
    rates: Any,
    first: int,
    losses: Any,
) -> None:
    """Steps on the same examples; `rule` is momentum, nesterov, beta1, beta2, epsilon, coupled, decoupled."""
    count, layers = x.shape[1], codes.size
    for step in range(rates.size):
        h, start, place = x, 0, 0
        for i in range(layers):
            stop, end = start + (sizes[i] + 1) * sizes[i + 1], place + sizes[i + 1] * count
            z = memory[place:end].reshape(sizes[i + 1], count)
            _forward(theta[start:stop].reshape(sizes[i] + 1, sizes[i + 1]), h, z)
            _activate(codes[i], z, theta[:0])
            h, start, place = z, stop, end
        delta, spare = h, place + 2 * count
        _cross_entropy(
            h, target, shares, memory[place : place + count], memory[place + count : spare], losses[step : step + 1]
        )
        place -= delta.size
        for i in range(layers - 1, -1, -1):
            stop, start = start, start - (sizes[i] + 1) * sizes[i + 1]
            shape = (sizes[i] + 1, sizes[i + 1])
            if i == 0:
                _slopes(x, delta, gradient[start:stop].reshape(shape))
                break
            end, place = place, place - sizes[i] * count
            h = memory[place:end].reshape(sizes[i], count)
            _slopes(h, delta, gradient[start:stop].reshape(shape))
            below = memory[spare : spare + h.size].reshape(sizes[i], count)
            spare += h.size
            _below(theta[start:stop].reshape(shape), delta, below)
            _back(codes[i - 1], below, h)
            delta = below
        update(theta, gradient, mean, square, decays, rule, rates[step], first + step)


# --- As `chain` calls them -----------------------------------------------------------------------------------------

activate_rows: Any = compiled(_activate)
back_rows: Any = compiled(_back)
cross_entropy_rows: Any = compiled(_cross_entropy)
adam = numba.njit(cache=True, error_model="numpy", fastmath=EXACT)(_adam)


def activate(name: str, z: Any, bias: Any) -> Calls:
    """z <- f(z + b)."""
    return [(activate_rows, (CODES[name], z, z[:0, 0] if bias is None else bias))]


def back(name: str, delta: Any, y: Any) -> Calls:
    """Delta <- delta f', from y = f(z)."""
    return [] if name == "identity" else [(back_rows, (CODES[name], delta, y))]


def cross_entropy(z: Any, target: Any, shares: Any, loss: Any) -> Calls:
    """Loss <- sum of shares ln sum exp z - t z, and z <- its gradient, shares softmax(z) - t."""
    return [(cross_entropy_rows, (z, target, shares, np.empty_like(shares), np.empty_like(shares), loss.reshape(1)))]


def steps(owner: Any, x: Any, target: Any, shares: Any) -> Callable[[Any, int, Any], None]:
    """(rates, first step, losses) -> steps on these examples, whose losses are written."""
    sizes, rule, theta, slots = owner.chain.sizes, owner.rule, owner.theta, owner.slots
    none = theta[:0]
    numbers = tuple(map(float, rule))
    memory = np.empty((2 * sum(sizes[1:]) + 2) * x.shape[1], dtype=theta.dtype)
    mean, square = slots.get("mean", slots.get("velocity", none)), slots.get("square", none)
    fixed = (theta, owner.gradient, np.asarray(sizes), np.asarray([CODES[name] for name in owner.chain.functions]))

    def run(rates: Any, first: int, losses: Any) -> None:
        _steps(*fixed, x, target, shares, memory, mean, square, owner.decays, numbers, rates, first, losses)

    return run
