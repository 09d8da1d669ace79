"""Whole training steps of dense layers in float32, compiled by Numba: products in registers, on the calling thread.

For networks whose products are so small that sharing them between threads costs more than it saves. Arrays lie
examples x features, their rows filled up to whole panels of columns.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import Any

import numpy as np

from nnarray.kernels.numba.entries import loop_of_entries
from nnarray.kernels.numba.functions import addresses, called, exp, piece
from nnarray.kernels.numba.vectors import LANES, PANEL, ROWS, compiled, product, two_moved, wide_product


@piece
def packed(weight: Any, begin: int, rows: int, columns: int, down: int, across: int, to: Any) -> None:
    """A matrix in panels of columns, filled up with zeros; its entries lie `down` and `across` apart."""
    for panel in range(0, columns, PANEL):
        units = min(PANEL, columns - panel)
        for r in range(rows):
            offset, start = panel * rows + r * PANEL, begin + r * down + panel * across
            if across == 1 and units == PANEL:
                two_moved(weight, start, LANES, to, offset, LANES)
            else:
                for k in range(units):
                    to[offset + k] = weight[start + k * across]
                for k in range(units, PANEL):
                    to[offset + k] = np.float32(0)


@piece
def times(
    a: Any, at: int, a_row: int, a_inner: int, rows: int, inner: int,
    b: Any, b_inner: int, b_panel: int, columns: int, c: Any, out: int, step: int, bias: Any, least: Any,
) -> None:  # fmt: skip
    """c <- max(bias + a b, least), some rows at a time against one panel of columns after the other."""
    parts, paired = -(-rows // ROWS), columns // (2 * PANEL) * 2 * PANEL if rows < 3 else 0
    for panel in range(0, paired, 2 * PANEL):
        wide_product(
            rows, a, at, a_row, 0, a_inner,
            b, panel // PANEL * b_panel, b_panel, b_inner,
            c, out + panel, step, 1, inner, bias, panel, least,
        )  # fmt: skip
    for panel in range(paired, columns, PANEL):
        for part in range(parts):
            begin, end = part * rows // parts, (part + 1) * rows // parts
            product(
                end - begin, a, at + begin * a_row, a_row, 0, a_inner,
                b, panel // PANEL * b_panel, 0, b_inner,
                c, out + begin * step + panel, step, 1, inner, bias, panel, least,
            )  # fmt: skip


@piece
def _cross_entropy(z: Any, target: Any, weights: Any, classes: int) -> float:
    """The sum of weights ln sum exp z - t z, and z <- its gradient, weights softmax(z) - t; rows of padded classes."""
    filled = z.size // weights.size
    loss = 0.0
    for n in range(weights.size):
        row, t = z[n * filled : (n + 1) * filled], target[n * filled : (n + 1) * filled]
        largest, total, linear = row[0], np.float32(0), np.float32(0)
        for k in range(1, classes):
            largest = max(row[k], largest)
        for k in range(filled):
            d = row[k] - largest
            linear += t[k] * d
            row[k] = exp(d)
        for k in range(classes):
            total += row[k]
        loss += weights[n] * math.log(total) - linear
        scale = weights[n] / total
        for k in range(filled):
            row[k] = row[k] * scale - t[k]
        row[classes:] = np.float32(0)
    return loss


@compiled
def _steps(
    theta: Any, gradient: Any, sizes: Any, forward: Any, backward: Any, kept: int, floors: Any,
    x: Any, target: Any, weights: Any, loss: int, weights_and_sum: Any, memory: Any, scratch: Any,
    rule: int, arrays: Any, numbers: Any, losses: Any,
) -> None:  # fmt: skip
    """Steps on the same examples; `rule`, `loss` and what is said of functions are as in `steps`, and `floors` below.

    `weights_and_sum` begins with the weights; a loop writes its sum behind them.
    """
    count, layers, endless = weights.size, forward.size, np.float32(-np.inf)
    room, no_bias = scratch.size // 3, np.zeros(1, dtype=np.float32)
    panels, dw, bias = scratch[:room], scratch[room : 2 * room], scratch[2 * room :]
    for step in range(losses.size):
        start, offset, h, at, width = 0, 0, x, 0, sizes[0]
        for i in range(layers):
            fan_in, units = sizes[i], sizes[i + 1]
            filled = -(-units // PANEL) * PANEL
            packed(theta, start, fan_in, units, units, 1, panels)
            bias[:units], bias[units:filled] = (
                theta[start + fan_in * units : start + (fan_in + 1) * units],
                np.float32(0),
            )
            times(
                h, at, width, 1, count, fan_in, panels, PANEL, fan_in * PANEL, filled,
                memory, offset, filled, bias, endless if np.isnan(floors[i]) else floors[i],
            )  # fmt: skip
            if np.isnan(floors[i]):  # else the product has applied the function
                end = offset + count * filled
                called(forward[i], memory[offset:end], memory[kept + offset : kept + end], no_bias, 1, end - offset)
            start += (fan_in + 1) * units
            h, at, width, offset = memory, offset, filled, offset + count * filled
        if loss:
            called(loss, memory[at : at + count * width], target, weights_and_sum, count, sizes[layers])
            losses[step] = weights_and_sum[count]
        else:
            losses[step] = _cross_entropy(memory[at : at + count * width], target, weights, sizes[layers])
        delta, spare = at, offset
        bias[:] = np.float32(0)
        for i in range(layers - 1, -1, -1):
            fan_in, units = sizes[i], sizes[i + 1]
            filled, below = -(-units // PANEL) * PANEL, -(-fan_in // PANEL) * PANEL
            start -= (fan_in + 1) * units
            at -= count * below
            dz = memory[delta : delta + count * filled]
            h, width = (memory[at : at + count * below], below) if i else (x, fan_in)
            times(h, 0, 1, width, fan_in, count, dz, filled, PANEL, filled, dw, 0, filled, bias, endless)
            for k in range(fan_in):
                gradient[start + k * units : start + (k + 1) * units] = dw[k * filled : k * filled + units]
            last = gradient[start + fan_in * units : start + (fan_in + 1) * units]
            last[:] = np.float32(0)
            for n in range(count):
                row = dz[n * filled : n * filled + units]
                for k in range(units):
                    last[k] += row[k]
            if i:
                packed(theta, start, units, fan_in, 1, units, panels)
                times(
                    memory, delta, filled, 1, count, units, panels, PANEL, units * PANEL, below,
                    memory, spare, below, bias, endless,
                )  # fmt: skip
                before = memory[kept + at : kept + at + h.size]
                called(backward[i - 1], memory[spare : spare + count * below], before, h, 1, h.size)
                delta = at
        called(rule, arrays, numbers[step], losses, theta.size, 0)


class PanelledBatch:
    """The memory for batches of one size, and their steps; as `chain` calls it."""

    outputs = None

    def __init__(self, owner: Any, count: int) -> None:
        sizes = owner.chain.sizes
        self.owner, self.count = owner, count
        filled = [-(-size // PANEL) * PANEL for size in sizes]
        self.target = np.zeros((count, filled[-1]), dtype=np.float32)
        self.weights_and_sum = np.empty(count + 1, dtype=np.float32)
        self.weights = self.weights_and_sum[:count]
        entries = owner.entries
        self.loss = loop_of_entries(entries, np.dtype(np.float32), PANEL).address if entries else 0
        forward, backward, reads_input = addresses(owner.chain.functions, np.dtype(np.float32))
        kept = 2 * count * sum(filled[1:]) if reads_input else 0
        self.memory = np.empty(kept + 2 * count * sum(filled[1:]), dtype=np.float32)
        room = max(a * b for a, b in itertools.pairwise(filled)) + max(filled)
        self.scratch = np.empty(3 * room, dtype=np.float32)
        floors = np.asarray([f.floor for f in owner.chain.functions], dtype=np.float32)  # nan where there is none
        self.fixed = owner.theta, owner.gradient, np.asarray(sizes), forward, backward, kept, floors
        self.update = owner.update

    def load(self, x: Any, target: Any, weights: Any) -> None:
        """Take in the examples: where they lie, if they can be read and written there in a row."""
        flat = x.reshape(-1)
        self.x = flat if flat.flags.carray else np.array(flat)
        if weights is None and target.ndim == 1:
            self.of_classes.take(target, 0, self.target, "clip")  # labels are checked where they enter
            self.weights.fill(self.of_classes[0, 0])
            return
        self.owner.scale_weights(weights, self.weights)
        if self.owner.entries:
            self.target[:, : self.owner.chain.sizes[-1]] = target
        elif target.ndim == 2:
            np.multiply(target, self.weights[:, None], self.target[:, : target.shape[1]])
            self.target.sum(axis=1, out=self.weights)
        else:
            self.target.fill(0.0)
            self.target[np.arange(self.count), target] = self.weights

    @cached_property
    def of_classes(self) -> Any:
        """The row of the target for each class, where all examples count alike."""
        self.owner.scale_weights(None, self.weights)
        rows = np.zeros((self.owner.chain.sizes[-1], self.target.shape[1]), dtype=np.float32)
        np.fill_diagonal(rows, self.weights[0])
        return rows

    def compiled(self, numbers: Any, losses: Any) -> None:
        """The steps, whose losses are written."""
        _steps(
            *self.fixed, self.x, self.target.reshape(-1), self.weights, self.loss, self.weights_and_sum,
            self.memory, self.scratch,
            self.update.address, self.update.addresses, numbers, losses,
        )  # fmt: skip


def takes(owner: Any, count: int) -> bool:
    """Whether batches of this size are computed here: in float32, by a loss that is joined to them, and small."""
    kind = not callable(owner.loss) and not owner.keep_outputs and owner.theta.dtype == np.float32
    return kind and 3 * count * owner.chain.multiply_adds <= MOST


MOST = 12_000_000  # multiply-adds of a step, an eighth of a millisecond: above, threads of NumPy's are faster
