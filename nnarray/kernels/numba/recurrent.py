"""Recurrences in float32, compiled by Numba: all steps of some rows of the batch in one call, on one thread.

The rows of a batch do not depend on each other, so that threads share them, and wait for each other only at the end.
Products stay in registers; their weights are packed once for all steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import exp, piece, tanh
from nnarray.kernels.numba.rows import packed, times
from nnarray.kernels.numba.vectors import PANEL, ROWS, added_product, compiled
from nnarray.kernels.standard.recurrent import Cell
from nnarray.kernels.threads import shared

TANH, RELU, LSTM, GRU = range(4)
KINDS = {"tanh": TANH, "relu": RELU, "lstm": LSTM, "gru": GRU}
MANY = 500_000  # multiply-adds of a thread's part at least


@piece
def _logistic(x: Any) -> Any:
    return np.float32(1) / (np.float32(1) + exp(-x))


# Short loops with few arrays each: LLVM makes vectors of them, as it can check that the arrays do not overlap.


@piece
def _gates(z: Any, q: Any) -> None:
    """z <- logistic(z + q)."""
    for k in range(z.size):
        z[k] = _logistic(z[k] + q[k])


@piece
def _tanhs(z: Any, q: Any) -> None:
    """z <- tanh(z + q)."""
    for k in range(z.size):
        z[k] = tanh(z[k] + q[k])


@piece
def _lstm(z: Any, q: Any, c: Any, after: Any, y: Any, units: int) -> None:
    """z <- the gates i, f, g, o; after <- f c + i g; y <- o tanh(after)."""
    i, f, g, o = z[:units], z[units : 2 * units], z[2 * units : 3 * units], z[3 * units : 4 * units]
    _gates(z[: 2 * units], q)
    _tanhs(g, q[2 * units :])
    _gates(o, q[3 * units :])
    for k in range(units):
        after[k] = f[k] * c[k] + i[k] * g[k]
    for k in range(units):
        y[k] = o[k] * tanh(after[k])


@piece
def _gru(p: Any, q: Any, h: Any, kept: Any, y: Any, units: int) -> None:
    """p <- r, z, n; kept <- q_n; y <- n + z (h - n)."""
    _gates(p[: 2 * units], q)
    r, z, n, q_n = p[:units], p[units : 2 * units], p[2 * units : 3 * units], q[2 * units : 3 * units]
    for k in range(units):
        kept[k] = q_n[k]
    for k in range(units):
        n[k] = tanh(n[k] + r[k] * kept[k])
    for k in range(units):
        y[k] = n[k] + z[k] * (h[k] - n[k])


@piece
def _simple(kind: int, p: Any, q: Any, y: Any, units: int) -> None:
    """y <- tanh(p + q), or the larger one of p + q and 0."""
    if kind == TANH:
        for k in range(units):
            y[k] = tanh(p[k] + q[k])
    else:
        for k in range(units):
            y[k] = max(p[k] + q[k], np.float32(0))


@compiled
def _forward(
    kind: int, rows: Any, sizes: Any, p: Any, panels: Any, bias: Any, h0: Any, c0: Any, mask: Any, reverse: bool,
    y: Any, kept: Any,
) -> None:  # fmt: skip
    """y <- h at all positions of some rows; p <- the gates, and kept <- c of an LSTM, or q_n of a GRU."""
    first, last = rows
    positions, units, width = sizes
    q = np.empty((last - first) * width, np.float32)
    step = -1 if reverse else 1
    t = positions - 1 if reverse else 0
    for s in range(positions):
        h, at, apart = (
            (y, (first * positions + t - step) * units, positions * units) if s else (h0, first * units, units)
        )
        times(
            h, at, apart, 1, last - first, units, panels, PANEL, units * PANEL, width, q, 0, width, bias,
            np.float32(-np.inf),
        )  # fmt: skip
        for n in range(first, last):
            place = n * positions + t
            start = (place - step) * units if s else n * units
            before = h[start : start + units]
            out = y[place * units : (place + 1) * units]
            if mask.size and not mask[place]:
                out[:] = before
                if kind == LSTM:
                    kept[place * units : (place + 1) * units] = (kept if s else c0)[start : start + units]
                continue
            z, own = p[place * width : (place + 1) * width], q[(n - first) * width : (n - first + 1) * width]
            if kind == LSTM:
                _lstm(
                    z,
                    own,
                    (kept if s else c0)[start : start + units],
                    kept[place * units : (place + 1) * units],
                    out,
                    units,
                )
            elif kind == GRU:
                _gru(z, own, before, kept[place * units : (place + 1) * units], out, units)
            else:
                _simple(kind, z, own, out, units)
        t += step


@piece
def _added(a: Any, at: int, apart: int, rows: int, inner: int, b: Any, columns: int, c: Any) -> None:
    """c <- c + a b, as `times`."""
    parts = -(-rows // ROWS)
    for panel in range(0, columns, PANEL):
        for part in range(parts):
            begin, end = part * rows // parts, (part + 1) * rows // parts
            added_product(
                end - begin, a, at + begin * apart, apart, 0, 1, b, panel * inner, 0, PANEL,
                c, begin * columns + panel, columns, 1, inner, c, 0, np.float32(-np.inf),
            )  # fmt: skip


@piece
def _lstm_back(z: Any, c: Any, after: Any, dh: Any, dc: Any, dz: Any, units: int) -> None:
    """dz <- the gradients of the gates before their functions; dc <- that of c; dh <- 0, as all goes through z."""
    one = np.float32(1)
    i, f, g, o = z[:units], z[units : 2 * units], z[2 * units : 3 * units], z[3 * units : 4 * units]
    di, df, dg, do = dz[:units], dz[units : 2 * units], dz[2 * units : 3 * units], dz[3 * units : 4 * units]
    for k in range(units):
        t = tanh(after[k])
        do[k] = dh[k] * t * o[k] * (one - o[k])
    for k in range(units):
        t = tanh(after[k])
        dc[k] += dh[k] * o[k] * (one - t * t)
    for k in range(units):
        di[k] = dc[k] * g[k] * i[k] * (one - i[k])
    for k in range(units):
        df[k] = dc[k] * c[k] * f[k] * (one - f[k])
    for k in range(units):
        dg[k] = dc[k] * i[k] * (one - g[k] * g[k])
    for k in range(units):
        dc[k] *= f[k]
    dh[:units] = np.float32(0)


@piece
def _gru_back(p: Any, h: Any, q_n: Any, dh: Any, dp: Any, dq: Any, units: int) -> None:
    """dp and dq; dh <- dh z, to which what goes through q is added."""
    one = np.float32(1)
    r, z, n = p[:units], p[units : 2 * units], p[2 * units : 3 * units]
    dr, dz, dn, dq_n = dp[:units], dp[units : 2 * units], dp[2 * units : 3 * units], dq[2 * units : 3 * units]
    for k in range(units):
        dn[k] = dh[k] * (one - z[k]) * (one - n[k] * n[k])
    for k in range(units):
        dr[k] = dn[k] * q_n[k] * r[k] * (one - r[k])
    for k in range(units):
        dz[k] = dh[k] * (h[k] - n[k]) * z[k] * (one - z[k])
    dq[: 2 * units] = dp[: 2 * units]
    for k in range(units):
        dq_n[k] = dn[k] * r[k]
    for k in range(units):
        dh[k] *= z[k]


@piece
def _simple_back(kind: int, y: Any, dh: Any, dz: Any, units: int) -> None:
    """dz <- dh times the derivative, and dh <- 0."""
    if kind == TANH:
        for k in range(units):
            dz[k] = dh[k] * (np.float32(1) - y[k] * y[k])
    else:
        for k in range(units):
            dz[k] = dh[k] if y[k] > np.float32(0) else np.float32(0)
    dh[:units] = np.float32(0)


@compiled
def _backward(
    kind: int, rows: Any, sizes: Any, p: Any, panels: Any, h0: Any, c0: Any, mask: Any, reverse: bool,
    y: Any, kept: Any, dy: Any, dp: Any, dq: Any,
) -> None:  # fmt: skip
    """dp and dq at all positions of some rows; dq is not written where it is dp."""
    first, last = rows
    positions, units, width = sizes
    filled, gates = -(-units // PANEL) * PANEL, panels.size // (-(-units // PANEL) * PANEL)
    dh, dc = np.zeros((last - first) * filled, np.float32), np.zeros((last - first) * units, np.float32)
    step = -1 if reverse else 1
    t = 0 if reverse else positions - 1
    for s in range(positions - 1, -1, -1):
        for n in range(first, last):
            place, row = n * positions + t, (n - first) * filled
            own, out = dh[row : row + filled], dp[place * width : (place + 1) * width]
            given = dy[place * units : (place + 1) * units]
            for k in range(units):
                own[k] += given[k]
            if mask.size and not mask[place]:
                out[:] = np.float32(0)
                if kind == GRU:
                    dq[place * width : (place + 1) * width] = np.float32(0)
                continue
            start = (place - step) * units if s else n * units
            z, here = p[place * width : (place + 1) * width], kept[place * units : (place + 1) * units]
            if kind == LSTM:
                c = (kept if s else c0)[start : start + units]
                _lstm_back(z, c, here, own, dc[(n - first) * units : (n - first + 1) * units], out, units)
            elif kind == GRU:
                h = (y if s else h0)[start : start + units]
                _gru_back(z, h, here, own, out, dq[place * width : (place + 1) * width], units)
            else:
                _simple_back(kind, y[place * units : (place + 1) * units], own, out, units)
        if s:
            _added(
                dq if kind == GRU else dp, (first * positions + t) * width, positions * width, last - first, gates,
                panels, filled, dh,
            )  # fmt: skip
        t -= step


def padded(x: Any, width: int) -> Any:
    """x with columns of zeros, up to whole panels."""
    return x if x.shape[-1] == width else np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])


def filled(size: int) -> int:
    """The size of whole panels."""
    return -(-size // PANEL) * PANEL


@compiled
def _pack(weight: Any, rows: int, columns: int, down: int, across: int, to: Any) -> None:
    packed(weight, 0, rows, columns, down, across, to)


def _packed(weight: Any, *, transposed: bool) -> Any:
    """A matrix in panels of columns, or its transpose."""
    rows, columns = weight.shape[::-1] if transposed else weight.shape
    down, across = (1, rows) if transposed else (columns, 1)
    to = np.empty(rows * filled(columns), np.float32)
    _pack(
        np.array(weight).reshape(-1), rows, columns, down, across, to
    )  # a copy: compiled for arrays that can be written
    return to


class Recurrence:
    """The arrays of a forward pass, which its pullback reads."""

    def __init__(
        self, p: Any, weight: Any, inner: Any, h: Any, c: Any, mask: Any, cell: Cell, *, reverse: bool
    ) -> None:
        batch, positions, width = p.shape
        self.weight, self.cell, self.reverse, units = weight, cell, reverse, weight.shape[0]
        self.sizes, self.rows = (positions, units, width), batch
        self.least = MANY // (positions * units * width) + 1
        self.mask = np.empty(0, np.bool_) if mask is None else np.array(mask).reshape(-1)
        self.h, self.c = (np.zeros(batch * units, np.float32) if x is None else np.array(x).reshape(-1) for x in (h, c))
        self.p, self.y = p.reshape(-1), np.empty((batch, positions, units), np.float32)
        self.kept = np.empty(self.y.size if cell.name in ("lstm", "gru") else 0, np.float32)
        bias = np.zeros(width, np.float32) if inner is None else inner
        fixed = self.sizes, self.p, _packed(weight, transposed=False), bias, self.h, self.c, self.mask, reverse
        flat, kind = self.y.reshape(-1), KINDS[cell.name]
        shared(lambda *rows: _forward(kind, rows, *fixed, flat, self.kept), batch, self.least)

    def last(self) -> tuple[Any, Any]:
        """The states after all positions."""
        t = 0 if self.reverse else -1
        c = self.kept.reshape(self.y.shape)[:, t].copy() if self.cell.name == "lstm" else None
        return self.y[:, t].copy(), c

    def back(self, dy: Any) -> tuple[Any, Any]:
        """dp and dq, of whole panels."""
        dp = np.zeros((*self.y.shape[:2], self.sizes[2]), np.float32)
        dq = dp if self.cell.takes_sum else np.zeros_like(dp)
        panels, given = _packed(self.weight, transposed=True), np.array(dy).reshape(-1)
        fixed = self.sizes, self.p, panels, self.h, self.c, self.mask, self.reverse
        fixed += self.y.reshape(-1), self.kept, given, dp.reshape(-1), dq.reshape(-1)
        kind = KINDS[self.cell.name]
        shared(lambda *rows: _backward(kind, rows, *fixed), self.rows, self.least)
        return dp, dq

    def before(self) -> Any:
        """The hidden state before each position."""
        h, inside = self.h.reshape(-1, 1, self.sizes[1]), self.y[:, 1:] if self.reverse else self.y[:, :-1]
        return np.concatenate([inside, h] if self.reverse else [h, inside], axis=1)
