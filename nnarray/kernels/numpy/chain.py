"""Dense layers in a row, prepared for NumPy: the sums of `layers.Dense`, in memory that is there, without dispatch.

Arrays lie features x examples, so that what is summed over classes runs along whole rows. The weight and the bias of a
layer lie one after the other in theta, so that together they are a matrix of fan_in + 1 rows: with a row of ones below
its inputs, a small layer is one product forward and one back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.entries import Entries
from nnarray.kernels.functions import Function
from nnarray.kernels.numpy.elementwise import Calls, Passes, calls_of
from nnarray.kernels.numpy.updates import prepared
from nnarray.kernels.rules import Rule

AHEAD = 16  # steps whose numbers are computed at once
SMALL = 4_096  # entries of the largest array: below, a call costs more than its arithmetic
TINY = 2_048  # multiply-adds of an example forward: above, products of NumPy are faster than compiled loops
SAFE = 1e-15  # the squares of a vector of this length, or of its inverse, are ordinary numbers of float32


class Chain(NamedTuple):
    """Features of the inputs and of each layer, and the activation of each layer."""

    sizes: tuple[int, ...]
    functions: tuple[Function, ...]

    @property
    def multiply_adds(self) -> int:
        """Of one example going forward."""
        return sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))

    def cut(self, vector: Any) -> list[Any]:
        """Each layer's part of a vector laid out as theta: a view of shape (fan_in + 1, units), the bias at last."""
        blocks: list[Any] = []
        start = 0
        for fan_in, units in zip(self.sizes, self.sizes[1:], strict=False):
            stop = start + (fan_in + 1) * units
            blocks.append(vector[start:stop].reshape(fan_in + 1, units))
            start = stop
        return blocks


class Steps:
    """Training steps of one chain by one rule: theta and what the rule remembers are written in place.

    Parameters
    ----------
    chain : Chain
    rule : Rule
    rows : function
        (rates, first step) -> the rule's numbers, a row for each step.
    loss : "mean", "sum", Entries or function
        The reduction of the cross-entropy; an elementwise loss; or another, (outputs, target, weights) -> (value,
        gradient).
    theta : array
    others : sequence of arrays
        What the rule takes besides theta and the gradient.
    keep_outputs : bool
        Whether `run` gives the outputs too.
    frozen : int
        How many of the first layers do not change, so that products of NumPy leave out their gradients.
    norm : float, optional
        Longer gradients are shortened to this norm before the update.
    """

    def __init__(
        self,
        chain: Chain,
        rule: Rule,
        rows: Callable[[Sequence[float], int], Any],
        loss: Any,
        theta: Any,
        others: Sequence[Any],
        *,
        keep_outputs: bool = False,
        frozen: int = 0,
        norm: float | None = None,
    ) -> None:
        self.chain, self.rows, self.loss, self.keep_outputs = chain, rows, loss, keep_outputs
        self.entries = loss if isinstance(loss, Entries) else None
        self.theta, self.gradient, self.frozen = theta, np.zeros_like(theta), frozen
        self.norm = norm
        self.update = prepared(rule, [theta, self.gradient, *others])
        self.pieces = numba_pieces()
        self._batches: dict[int, Any] = {}
        self._ahead: tuple[float, int, Any] = (math.nan, 0, None)

    def run(self, x: Any, target: Any, weights: Any, rates: Sequence[float], first: int) -> tuple[Any, Any]:
        """The losses of as many steps on the same examples as there are rates, the first of which is step `first`.

        With them come the outputs in the last step, shape (examples, classes), if they are kept.
        """
        batch = self._batches.get(len(x))
        if batch is None:
            batch = self._batches[len(x)] = self._memory_for(len(x))
        batch.load(x, target, weights)
        losses = np.empty(len(rates), dtype=self.theta.dtype)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            numbers = self._numbers(rates, first)
            if batch.compiled:
                batch.compiled(numbers, losses)
                return losses.tolist(), None
            for i, each in enumerate(numbers):
                losses[i] = batch.loss_and_gradient()
                self._shorten()
                self.update(each)
        return losses.tolist(), None if batch.outputs is None else batch.outputs.copy()

    def _numbers(self, rates: Sequence[float], first: int) -> Any:
        """A row of the rule's numbers for each step; for a single step, one of those computed for some in advance."""
        if len(rates) > 1:
            return self.update.table(self.rows(rates, first))
        rate, start, table = self._ahead
        if rate != rates[0] or not start <= first < start + len(table):
            start, table = first, self.update.table(self._rows_ahead(rates, first))
            self._ahead = rates[0], start, table
        return table[first - start : first - start + 1]

    def _rows_ahead(self, rates: Sequence[float], first: int) -> Any:
        """The numbers of some steps; of the first alone where steps beyond the training's last one have none."""
        try:
            return self.rows(list(rates) * AHEAD, first)
        except (ArithmeticError, LookupError, ValueError):
            return self.rows(rates, first)

    def _shorten(self) -> None:
        """Gradient <- gradient min(1, norm / |gradient|)."""
        if self.norm is None:
            return
        gradient = self.gradient
        length = math.sqrt(np.dot(gradient, gradient))
        if not SAFE < length < 1.0 / SAFE:
            gradient[...] = kernels.shortened(gradient, norm=self.norm)
        elif length > self.norm:
            np.multiply(gradient, self.norm / length, gradient)

    def release(self) -> None:
        """Forget the memory of all batches, which refers to this and would keep it."""
        self._batches.clear()

    def _memory_for(self, count: int) -> Any:
        """For batches of one size: tiny ones have their own loops, small ones those of padded rows."""
        panelled = numba_pieces("rows") if self.pieces and count * max(self.chain.sizes) > SMALL else None
        return panelled.PanelledBatch(self, count) if panelled and panelled.takes(self, count) else _Batch(self, count)

    def scale_weights(self, weights: Any, scaled: Any) -> None:
        """How much each example counts in the cross-entropy; or each of its entries, in an elementwise loss."""
        scaled[...] = 1.0 if weights is None else weights
        if self.loss == "mean" or (self.entries and self.entries.reduction == "mean"):
            scaled /= scaled.sum() or 1.0
        if self.entries:
            scaled /= self.chain.sizes[-1]


class _Batch:
    """The memory for batches of one size, and the calls of a step, bound to it."""

    def __init__(self, owner: Steps, count: int) -> None:
        self.owner, self.count = owner, count
        sizes, dtype, loss = owner.chain.sizes, owner.theta.dtype, owner.loss
        small = count * max(sizes) <= SMALL
        arrays = [np.ones((size + small, count), dtype=dtype) for size in sizes]
        self.values = [array[:size] for array, size in zip(arrays, sizes, strict=True)]
        if not small:  # large inputs stay as they come: a product takes them turned
            arrays[0] = self.values[0] = np.empty((count, sizes[0]), dtype=dtype).T
        reads = [function.backward_program(dtype).reads(1) for function in owner.chain.functions]
        self.before = [np.empty_like(y) if each else y for each, y in zip(reads, self.values[1:], strict=True)]
        self.is_joined = not callable(loss)
        self.target = np.zeros((sizes[-1], count), dtype=dtype)
        self.weights_and_sum = np.empty(count + 1, dtype=dtype)  # behind the weights, a loop writes its sum
        self.weights = self.weights_and_sum[:count]
        self.loss = np.empty((), dtype=dtype)
        self.outputs = np.empty((count, sizes[-1]), dtype=dtype) if owner.keep_outputs or not self.is_joined else None
        self.answers: tuple[Any, Any] = (None, None)  # target and weights, which only a loss of its own reads
        self.compiled = None
        is_tiny = small and owner.chain.multiply_adds <= TINY
        if owner.pieces and is_tiny and self.is_joined and self.outputs is None and owner.norm is None:
            self.compiled = owner.pieces.steps(owner, self.values[0], self.target, self.weights_and_sum)
        else:
            self.calls = self._forward(arrays, small), self._backward(arrays, small)

    def _forward(self, arrays: list[Any], small: bool) -> Calls:
        pieces: Any = self.owner.pieces or _NumPy
        calls: Calls = []
        blocks = self.owner.chain.cut(self.owner.theta)
        for i, (block, function) in enumerate(zip(blocks, self.owner.chain.functions, strict=True)):
            weight, bias, z = (
                (block, None, self.values[i + 1]) if small else (block[:-1], block[-1], self.values[i + 1])
            )
            calls += [(np.dot, (weight.T, arrays[i], z)), *pieces.activate(function, z, self.before[i], bias)]
        if self.outputs is not None:
            calls.append((np.copyto, (self.outputs, self.values[-1].T)))
        if self.owner.entries:
            calls += pieces.entries(self.owner.entries, self.values[-1], self.target, self.weights_and_sum, self.loss)
        elif self.is_joined:
            calls += pieces.cross_entropy(self.values[-1], self.target, self.weights, self.loss)
        return calls

    def _backward(self, arrays: list[Any], small: bool) -> Calls:
        owner, ones = self.owner, np.ones(self.count, dtype=self.target.dtype)
        calls: Calls = []
        pieces: Any = owner.pieces or _NumPy
        blocks, gradients = owner.chain.cut(owner.theta), owner.chain.cut(owner.gradient)
        self.delta = delta = self.values[-1] if self.is_joined else np.empty_like(self.target)
        for i in range(len(blocks) - 1, owner.frozen - 1, -1):
            y, function = self.values[i + 1], owner.chain.functions[i]
            if delta is not y and function.backward_program(y.dtype).operations:
                calls += pieces.back(function, delta, self.before[i], y)
                delta = y
            if small:
                calls.append((np.dot, (arrays[i], delta.T, gradients[i])))
            else:
                calls += [(np.dot, (arrays[i], delta.T, gradients[i][:-1])), (np.dot, (delta, ones, gradients[i][-1]))]
            if i > owner.frozen:
                below = np.empty_like(self.values[i])
                calls.append((np.dot, (blocks[i][:-1], delta, below)))
                delta = below
        return calls

    def load(self, x: Any, target: Any, weights: Any) -> None:
        """Take in the examples: the same arrays may hold other numbers than before."""
        np.copyto(self.values[0], x.T)
        if not self.is_joined:
            self.answers = target, weights
            return
        scaled: Any = self.weights
        self.owner.scale_weights(weights, scaled)
        if self.owner.entries:
            np.copyto(self.target.T, target)
        elif target.ndim == 2:
            np.multiply(target.T, scaled, self.target)
            self.target.sum(axis=0, out=scaled)
        else:
            self.target.fill(0.0)
            self.target[target, np.arange(self.count)] = scaled

    def loss_and_gradient(self) -> Any:
        """The loss; the gradient is in the owner's."""
        forward, backward = self.calls
        for function, arguments in forward:
            function(*arguments)
        loss = self.loss
        if not self.is_joined:
            loss, dz = self.owner.loss(self.outputs, *self.answers)
            np.copyto(self.delta, dz.T)
        for function, arguments in backward:
            function(*arguments)
        return loss


class _NumPy:
    """What is computed between the products, as calls."""

    @staticmethod
    def activate(function: Function, z: Any, before: Any, bias: Any) -> Calls:
        """before <- z + b, if it is another array, and z <- f(z + b)."""
        calls: Calls = []
        if bias is not None:
            calls.append((np.add, (z, bias[:, None], before)))
        elif before is not z:
            calls.append((np.copyto, (before, z)))
        return calls + calls_of(function.forward_program(z.dtype), [before], z)

    @staticmethod
    def back(function: Function, delta: Any, before: Any, y: Any) -> Calls:
        """y <- delta pulled back through y = f(before)."""
        return calls_of(function.backward_program(y.dtype), [delta, before, y], y)

    @staticmethod
    def cross_entropy(z: Any, target: Any, weights: Any, loss: Any) -> Calls:
        """Loss <- sum of weights ln sum exp z - t z, and z <- its gradient, weights softmax(z) - t."""
        largest, total, logs = (np.empty_like(weights) for _ in range(3))
        linear, flat = np.empty_like(loss), (z.reshape(-1), target.reshape(-1))
        return [
            (np.maximum.reduce, (z, 0, None, largest)),
            (np.subtract, (z, largest, z)),
            (np.dot, (*flat, linear)),
            (np.exp, (z, z)),
            (np.add.reduce, (z, 0, None, total)),
            (np.log, (total, logs)),
            (np.dot, (weights, logs, loss)),
            (np.subtract, (loss, linear, loss)),
            (np.divide, (weights, total, total)),
            (np.multiply, (z, total, z)),
            (np.subtract, (z, target, z)),
        ]

    @staticmethod
    def entries(loss: Entries, z: Any, target: Any, weights_and_sum: Any, value: Any) -> Calls:
        """Value <- sum of weights times terms, and z <- weights times derivatives; behind the weights is some place."""
        terms, weights = np.empty_like(z), weights_and_sum[:-1]
        passes = Passes(loss.program, [-1, 0], 2, z.dtype)
        return [
            *passes.calls([z, target, *passes.constants, *passes.memory(z.shape), terms]),
            (np.multiply, (terms, weights, terms)),
            (np.multiply, (z, weights, z)),
            (np.add.reduce, (terms.reshape(-1), 0, None, value)),
        ]
