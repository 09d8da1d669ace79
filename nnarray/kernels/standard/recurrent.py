"""Recurrent layers: a cell computes a state from an input and the state before, position after position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nnarray.backends import device_of, namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.activations import logistic, relu
from nnarray.kernels.standard.linear import affine, affine_pullback
from nnarray.kernels.standard.numerics import at_least_float32, sum_of_rows
from nnarray.typing import Array

States: TypeAlias = tuple[Array, *tuple[Array, ...]]
"""The hidden state h, shape (batch, units), which is also the output; in an LSTM, the cell state c too."""
Memory: TypeAlias = tuple[Array, ...]
"""What the pullback of a step reads."""
Direct: TypeAlias = tuple[Array | None, *tuple[Array, ...]]
"""The gradient of h, None if there is none; that of c."""


@dataclass(frozen=True)
class Cell:
    """One step of a recurrence, from p = x W_ih + b_ih, q = h W_hh + b_hh and the states.

    A new cell is one more row of `CELLS`; its step is all that a library needs.
    """

    name: str
    gates: int
    """p and q have this many times the features of h."""
    step: Callable[[Array, Array, States], tuple[States, Memory]]
    pullback: Callable[[States, Memory], tuple[Array, Array, Direct]]
    """dp, dq, and the gradients of the states before, without that of h through q."""
    states: int = 1
    takes_sum: bool = True
    """Whether it reads p + q only, so that both biases can be added to p."""


def parts(x: Array, count: int) -> list[Array]:
    """The gates of the last axis, next to each other."""
    size = x.shape[-1] // count
    return [x[..., i * size : (i + 1) * size] for i in range(count)]


def tanh_step(p: Array, q: Array, states: States) -> tuple[States, Memory]:
    """h' = tanh(p + q). Elman (1990), Finding structure in time. Cognitive Science 14(2), 179-211."""
    y = namespace(p).tanh(p + q)
    return (y,), (y,)


def tanh_step_pullback(dstates: States, memory: Memory) -> tuple[Array, Array, Direct]:
    """dp = dq = dh' (1 - h'^2)."""
    (dy,), (y,) = dstates, memory
    dz = dy * (1.0 - y * y)
    return dz, dz, (None,)


def relu_step(p: Array, q: Array, states: States) -> tuple[States, Memory]:
    """h' = max(p + q, 0). Le, Jaitly & Hinton (2015), arXiv:1504.00941."""
    y = relu(p + q)
    return (y,), (y,)


def relu_step_pullback(dstates: States, memory: Memory) -> tuple[Array, Array, Direct]:
    """dp = dq = dh' where h' > 0, else 0."""
    (dy,), (y,) = dstates, memory
    dz = namespace(dy).where(y > 0, dy, 0.0)
    return dz, dz, (None,)


def lstm_step(p: Array, q: Array, states: States) -> tuple[States, Memory]:
    """c' = f c + i g and h' = o tanh(c'), with p + q = (i, f, g, o) before their functions: logistic, and tanh for g.

    The forget gate f: Gers, Schmidhuber & Cummins (2000), Neural Computation 12(10), 2451-2471.
    """
    xp, (_, c) = namespace(p), states
    i, f, g, o = parts(p + q, 4)
    i, f, g, o = logistic(i), logistic(f), xp.tanh(g), logistic(o)
    after = f * c + i * g
    t = xp.tanh(after)
    return (o * t, after), (i, f, g, o, t, c)


def lstm_step_pullback(dstates: States, memory: Memory) -> tuple[Array, Array, Direct]:
    """With dc' <- dc' + dh' o (1 - tanh(c')^2): the gradients of the four gates, and dc = dc' f."""
    (dh, dc), (i, f, g, o, t, c) = dstates, memory
    dc = dc + dh * (o * (1.0 - t * t))
    di, df, dg, do = (
        dc * g * (i * (1.0 - i)),
        dc * c * (f * (1.0 - f)),
        dc * i * (1.0 - g * g),
        dh * t * (o * (1.0 - o)),
    )
    dz = namespace(dh).concat([di, df, dg, do], axis=-1)
    return dz, dz, (None, dc * f)


def gru_step(p: Array, q: Array, states: States) -> tuple[States, Memory]:
    """h' = (1 - z) n + z h, with n = tanh(p_n + r q_n), and gates r and z = logistic(p + q)."""
    xp, (h,) = namespace(p), states
    (p_r, p_z, p_n), (q_r, q_z, q_n) = parts(p, 3), parts(q, 3)
    r, z = logistic(p_r + q_r), logistic(p_z + q_z)
    n = xp.tanh(p_n + r * q_n)
    return (n + z * (h - n),), (r, z, n, q_n, h)


def gru_step_pullback(dstates: States, memory: Memory) -> tuple[Array, Array, Direct]:
    """The gradients of r, z and n; that of q_n is r times that of p_n. And dh = dh' z."""
    (dh,), (r, z, n, q_n, h) = dstates, memory
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dr, dz = dn * q_n * (r * (1.0 - r)), dh * (h - n) * (z * (1.0 - z))
    concat = namespace(dh).concat
    return concat([dr, dz, dn], axis=-1), concat([dr, dz, dn * r], axis=-1), (dh * z,)


CELLS = {
    each.name: each
    for each in (
        Cell("tanh", 1, tanh_step, tanh_step_pullback),
        Cell("relu", 1, relu_step, relu_step_pullback),
        Cell("lstm", 4, lstm_step, lstm_step_pullback, states=2),
        Cell("gru", 3, gru_step, gru_step_pullback, takes_sum=False),
    )
}


@kernel
def recurrence(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    h: Array | None,
    c: Array | None,
    mask: Array | None,
    *,
    cell: Cell,
    reverse: bool = False,
    input_gradient: bool = True,
    keep: bool = True,
) -> tuple[Array, Array, Array | None, Callable[[Array], Any]]:
    """The states h_t = cell(x_t W_ih + b_ih, h_{t-1} W_hh + b_hh, states) for all positions t, and their pullback.

    The products with the inputs are one product for all positions. Where the mask is false, the states stay as they
    are. The pullback is backpropagation through time [1]_.

    Parameters
    ----------
    x : array, shape (batch, positions, features)
    weight_ih : array, shape (features, gates * units)
    weight_hh : array, shape (units, gates * units)
    bias_ih, bias_hh : array, shape (gates * units,), or None
        Both or neither.
    h, c : array, shape (batch, units), or None
        The states before the first position; zeros if None.
    mask : array of truth values, shape (batch, positions), or None
    cell : Cell
    reverse : bool
        From the last position to the first.
    input_gradient, keep : bool
        False for `input_gradient` leaves out dx; without `keep`, the pullback will not be called.

    Returns
    -------
    y : array, shape (batch, positions, units)
        h at each position.
    h, c : array, shape (batch, units)
        The states after all positions; None for c if the cell has none. Computed in at least float32, as y is.
    pullback : callable
        dy -> dx, dW_ih, dW_hh, db_ih, db_hh.

    References
    ----------
    .. [1] Werbos (1990), Backpropagation through time: what it does and how to do it. Proc. IEEE 78(10), 1550-1560.
    """
    dtype = x.dtype
    x, weight_ih, weight_hh = at_least_float32(x), at_least_float32(weight_ih), at_least_float32(weight_hh)
    bias, inner = biases(bias_ih, bias_hh, cell)
    states = initial(x, weight_hh.shape[0], h, c, cell)
    p, order = affine(x, weight_ih, bias), range(x.shape[1])
    order = order[::-1] if reverse else order
    befores: list[Array] = []
    memories: list[Memory] = []
    ys: list[Array] = []
    for t in order:
        if keep:
            befores.append(states[0])
        new, memory = cell.step(p[:, t, :], affine(states[0], weight_hh, inner), states)
        states = held_states(new, states, None if mask is None else mask[:, t])
        ys.append(states[0])
        if keep:
            memories.append(memory)

    units, width = weight_hh.shape

    def pullback(dy: Array) -> Any:
        dps, dqs = walked_back(at_least_float32(dy), weight_hh, memories, mask, cell, order)
        before = stacked_positions(befores, x, units, reverse=reverse)
        dp, dq = (stacked_positions(d, x, width, reverse=reverse) for d in (dps, dqs))
        asked = {"bias_gradient": bias_ih is not None, "input_gradient": input_gradient}
        return tuple(narrowed(each, dtype) for each in gradients(x, weight_ih, before, dp, dq, cell, **asked))

    y = stacked_positions(ys, x, units, reverse=reverse)
    h, c = states if cell.states == 2 else (*states, None)
    return narrowed(y, dtype), narrowed(h, dtype), narrowed(c, dtype), pullback


def biases(bias_ih: Array | None, bias_hh: Array | None, cell: Cell) -> tuple[Array | None, Array | None]:
    """What is added to p, and what to q."""
    if bias_ih is None or bias_hh is None:
        return None, None
    bias_ih, bias_hh = at_least_float32(bias_ih), at_least_float32(bias_hh)
    return (bias_ih + bias_hh, None) if cell.takes_sum else (bias_ih, bias_hh)


def initial(x: Array, units: int, h: Array | None, c: Array | None, cell: Cell) -> States:
    """The states before the first position."""
    zeros = namespace(x).zeros((x.shape[0], units), dtype=x.dtype, device=device_of(x))
    first, *others = (zeros if each is None else at_least_float32(each) for each in (h, c)[: cell.states])
    return first, *others


def held_states(new: States, old: States, counts: Array | None) -> States:
    """The new states, and the old ones where the position does not count."""
    if counts is None:
        return new
    where = namespace(counts).where
    return tuple(where(counts[:, None], each, before) for each, before in zip(new, old, strict=True))


def walked_back(
    dy: Array, weight_hh: Array, memories: Sequence[Memory], mask: Array | None, cell: Cell, order: Sequence[int]
) -> tuple[list[Array], list[Array]]:
    """dp and dq of each position in the order of the steps, from the last step to the first."""
    xp, dps, dqs = namespace(dy), list[Array](), list[Array]()
    zeros = xp.zeros((dy.shape[0], dy.shape[2]), dtype=dy.dtype, device=device_of(dy))
    dstates: States = (zeros, *(zeros,) * (cell.states - 1))
    for t, memory in zip(reversed(order), reversed(memories), strict=True):
        dh, *dc = dstates
        dstates = (dh + dy[:, t, :], *dc)
        dp, dq, dstates = step_back(dstates, memory, weight_hh, None if mask is None else mask[:, t], cell)
        dps.append(dp)
        dqs.append(dq)
    return dps[::-1], dqs[::-1]


def step_back(
    dstates: States, memory: Memory, weight_hh: Array, counts: Array | None, cell: Cell
) -> tuple[Array, Array, States]:
    """dp, dq and the gradients of the states before a step, which a position that does not count hands on."""
    xp = namespace(weight_hh)
    zeros = tuple(xp.zeros_like(each) for each in dstates)
    inner = held_states(dstates, zeros, counts)
    dp, dq, direct = cell.pullback(inner, memory)
    through, (dh, *dc) = xp.matmul(dq, weight_hh.T), direct
    return dp, dq, held_states((through if dh is None else dh + through, *dc), dstates, counts)


def stacked_positions(rows: Sequence[Array], x: Array, size: int, *, reverse: bool) -> Array:
    """The arrays of the steps, shape (batch, size), next to each other in the order of the positions."""
    xp = namespace(x)
    if not rows:
        return xp.zeros((x.shape[0], 0, size), dtype=x.dtype, device=device_of(x))
    return xp.stack(list(rows[::-1] if reverse else rows), axis=1)


def gradients(
    x: Array,
    weight_ih: Array,
    before: Array,
    dp: Array,
    dq: Array,
    cell: Cell,
    *,
    bias_gradient: bool,
    input_gradient: bool,
) -> tuple[Array | None, ...]:
    """dx, dW_ih, dW_hh, db_ih and db_hh: products over all positions at once."""
    xp, asked = namespace(x), {"bias_gradient": bias_gradient, "input_gradient": input_gradient}
    dx, dw, db = affine_pullback(dp, x, weight_ih, **asked)
    rows = xp.reshape(dq, (-1, dq.shape[-1]))
    dw_hh = xp.matmul(xp.reshape(before, (-1, before.shape[-1])).T, rows)
    return dx, dw, dw_hh, db, db if cell.takes_sum or not bias_gradient else sum_of_rows(rows)


def narrowed(x: Array | None, dtype: Any) -> Any:
    """In the dtype of the inputs."""
    return None if x is None else namespace(x).astype(x, dtype, copy=False)
