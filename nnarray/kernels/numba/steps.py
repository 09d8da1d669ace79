"""Loops compiled by Numba, for the extra `nnarray[fast]`: what NumPy does in several passes, in one.

On one thread, for a second pool of threads would steal the cores of NumPy's products. Compiled at first use, once:
Numba keeps the machine code on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.entries import Entries
from nnarray.kernels.functions import Function
from nnarray.kernels.numba.entries import loop_of_entries
from nnarray.kernels.numba.functions import addresses, called, compiled, exp, loops_of, piece
from nnarray.kernels.numba.waiting import has_changed as has_changed
from nnarray.kernels.numpy.elementwise import Calls

# --- Between two products ----------------------------------------------------------------------------------------


@piece
def _cross_entropy(z: Any, target: Any, weights: Any, total: Any, largest: Any, loss: Any) -> None:
    """loss <- sum of weights ln sum exp z - t z, and z <- its gradient, weights softmax(z) - t; rows of classes."""
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
        logs += weights[j] * math.log(total[j])
        total[j] = weights[j] / total[j]
    for k in range(z.shape[0]):
        row, t = z[k], target[k]
        for j in range(row.size):
            row[j] = row[j] * total[j] - t[j]
    loss[0] = logs - linear


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
def _weight_gradient(h: Any, delta: Any, block: Any) -> None:
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


@compiled
def _steps(
    theta: Any,
    gradient: Any,
    sizes: Any,
    forward: Any,
    backward: Any,
    kept: int,
    x: Any,
    target: Any,
    weights_and_sum: Any,
    loss: int,
    memory: Any,
    rule: int,
    arrays: Any,
    numbers: Any,
    losses: Any,
) -> None:
    """Steps on the same examples; `rule` is the address of its loop, `arrays` those of what it takes.

    `loss` is the address of an elementwise loss's loop, which writes its sum behind the weights, or 0 for the
    cross-entropy.

    `forward` and `backward` are the addresses of each layer's loops; `kept` is how far behind a function's outputs in
    memory its inputs are, or 0 where no loop reads them.
    """
    count, layers, no_bias = x.shape[1], forward.size, np.zeros(1, dtype=x.dtype)
    for step in range(losses.size):
        h, start, offset = x, 0, 0
        for i in range(layers):
            stop, end = start + (sizes[i] + 1) * sizes[i + 1], offset + sizes[i + 1] * count
            z = memory[offset:end].reshape(sizes[i + 1], count)
            _forward(theta[start:stop].reshape(sizes[i] + 1, sizes[i + 1]), h, z)
            if forward[i]:
                called(forward[i], memory[offset:end], memory[kept + offset : kept + end], no_bias, 1, z.size)
            h, start, offset = z, stop, end
        delta, spare = h, offset + 2 * count
        if loss:
            called(loss, h, target, weights_and_sum, h.shape[0], count)
            losses[step] = weights_and_sum[count]
        else:
            total, largest = memory[offset : offset + count], memory[offset + count : spare]
            _cross_entropy(h, target, weights_and_sum[:count], total, largest, losses[step : step + 1])
        offset -= delta.size
        for i in range(layers - 1, -1, -1):
            stop, start = start, start - (sizes[i] + 1) * sizes[i + 1]
            shape = (sizes[i] + 1, sizes[i + 1])
            if i == 0:
                _weight_gradient(x, delta, gradient[start:stop].reshape(shape))
                break
            end, offset = offset, offset - sizes[i] * count
            h = memory[offset:end].reshape(sizes[i], count)
            _weight_gradient(h, delta, gradient[start:stop].reshape(shape))
            below = memory[spare : spare + h.size].reshape(sizes[i], count)
            _below(theta[start:stop].reshape(shape), delta, below)
            before = memory[kept + offset : kept + end]
            called(backward[i - 1], below, before, h, 1, h.size)
            delta = h
        called(rule, arrays, numbers[step], losses, theta.size, 0)


# --- As `chain` calls them -----------------------------------------------------------------------------------------

cross_entropy_rows: Any = compiled(_cross_entropy)


@compiled
def call_loop(loop: int, first: Any, second: Any, third: Any, rows: int, columns: int) -> None:
    """Call a loop by its address."""
    called(loop, first, second, third, rows, columns)


def activate(function: Function, z: Any, before: Any, bias: Any) -> Calls:
    """before <- z + b, if the pullback reads it, and z <- f(z + b)."""
    bias = np.zeros(len(z), dtype=z.dtype) if bias is None else bias
    return [(call_loop, (loops_of(function, z.dtype).forward, z, before, bias, *z.shape))]


def back(function: Function, delta: Any, before: Any, y: Any) -> Calls:
    """y <- delta pulled back through y = f(before)."""
    return [(call_loop, (loops_of(function, y.dtype).backward, delta, before, y, *y.shape))]


def cross_entropy(z: Any, target: Any, weights: Any, loss: Any) -> Calls:
    """Loss <- sum of weights ln sum exp z - t z, and z <- its gradient, weights softmax(z) - t."""
    return [(cross_entropy_rows, (z, target, weights, np.empty_like(weights), np.empty_like(weights), loss.reshape(1)))]


def entries(loss: Entries, z: Any, target: Any, weights_and_sum: Any, value: Any) -> Calls:
    """Value <- sum of weights times terms, and z <- weights times derivatives; behind the weights is some place."""
    loop, total = loop_of_entries(loss, z.dtype), weights_and_sum[-1:].reshape(())
    return [(call_loop, (loop.address, z, target, weights_and_sum, *z.shape)), (np.copyto, (value, total))]


def steps(owner: Any, x: Any, target: Any, weights_and_sum: Any) -> Callable[[Any, Any], None]:
    """(numbers of the steps, losses) -> steps on these examples, whose losses are written."""
    sizes, theta = owner.chain.sizes, owner.theta
    units = sum(sizes[1:]) * x.shape[1]
    forward, backward, reads_input = addresses(owner.chain.functions, theta.dtype)
    kept = 2 * (units + x.shape[1]) if reads_input else 0
    memory = np.empty(kept + 2 * (units + x.shape[1]), dtype=theta.dtype)
    loss = owner.entries and loop_of_entries(owner.entries, theta.dtype)
    address, update = loss.address if loss else 0, owner.update
    fixed = (theta, owner.gradient, np.asarray(sizes), forward, backward, kept)

    def run(numbers: Any, losses: Any) -> None:
        _steps(*fixed, x, target, weights_and_sum, address, memory, update.address, update.addresses, numbers, losses)

    return run
