"""A recurrence as XLA's loop, which is compiled once for sequences of any length."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from nnarray import kernels
from nnarray.kernels.standard.linear import affine
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.kernels.standard.recurrent import Cell, biases, gradients, held_states, initial, narrowed, step_back


@kernels.recurrence.fast("jax")
def recurrence(
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    h: Any,
    c: Any,
    mask: Any,
    *,
    cell: Cell,
    reverse: bool = False,
    input_gradient: bool = True,
    keep: bool = True,
) -> Any:
    """Steps in a loop; both passes are compiled, also where the caller is not."""
    settings = {"cell": cell, "reverse": reverse}
    y, states, memories = _forward(x, weight_ih, weight_hh, bias_ih, bias_hh, h, c, mask, keep=keep, **settings)

    def pullback(dy: Any) -> Any:
        asked = {"input_gradient": input_gradient, "bias_gradient": bias_ih is not None}
        return _backward(dy, x, weight_ih, weight_hh, mask, memories, **settings, **asked)

    return y, states[0], states[1] if cell.states == 2 else None, pullback


@partial(jax.jit, static_argnames=("cell", "reverse", "keep"))
def _forward(
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    h: Any,
    c: Any,
    mask: Any,
    *,
    cell: Cell,
    reverse: bool,
    keep: bool,
) -> Any:
    """The outputs, the last states, and what the pullback reads, by positions first."""
    dtype = x.dtype
    x, weight_ih, weight_hh = map(at_least_float32, (x, weight_ih, weight_hh))
    bias, inner = biases(bias_ih, bias_hh, cell)

    def step(states: Any, at: Any) -> Any:
        p, counts = at
        new, memory = cell.step(p, affine(states[0], weight_hh, inner), states)
        new = held_states(new, states, counts)
        return new, (new[0], (states[0], memory) if keep else None)

    p: Any = affine(x, weight_ih, bias)
    states = initial(x, weight_hh.shape[0], h, c, cell)
    states, (ys, memories) = jax.lax.scan(step, states, (p.swapaxes(0, 1), _first(mask)), reverse=reverse)
    return narrowed(ys.swapaxes(0, 1), dtype), tuple(narrowed(each, dtype) for each in states), memories


@partial(jax.jit, static_argnames=("cell", "reverse", "bias_gradient", "input_gradient"))
def _backward(
    dy: Any,
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    mask: Any,
    memories: Any,
    *,
    cell: Cell,
    reverse: bool,
    bias_gradient: bool,
    input_gradient: bool,
) -> Any:
    """The gradients, from the last step to the first."""
    dtype = x.dtype
    dy, x, weight_ih, weight_hh = map(at_least_float32, (dy, x, weight_ih, weight_hh))
    before, memory = memories

    def step(dstates: Any, at: Any) -> Any:
        dy, memory, counts = at
        dp, dq, dstates = step_back((dstates[0] + dy, *dstates[1:]), memory, weight_hh, counts, cell)
        return dstates, (dp, dq)

    zeros = (jax.numpy.zeros_like(dy, shape=(dy.shape[0], dy.shape[2])),) * cell.states
    _, steps = jax.lax.scan(step, zeros, (dy.swapaxes(0, 1), memory, _first(mask)), reverse=not reverse)
    dp, dq, before = (each.swapaxes(0, 1) for each in (*steps, before))
    asked = {"bias_gradient": bias_gradient, "input_gradient": input_gradient}
    return tuple(narrowed(each, dtype) for each in gradients(x, weight_ih, before, dp, dq, cell, **asked))


def _first(mask: Any) -> Any:
    """The mask, positions first."""
    return None if mask is None else mask.swapaxes(0, 1)
