"""The body of a loop, compiled together with the loop: one call takes many turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnarray.kernels.jax.programs import KEPT
from nnarray.kernels.loops import NotRecorded, Turns

PATIENCE = 0.5  # about how many seconds a call takes: nobody can interrupt it


class Program:
    """The compiled loop of some turns, for arrays of these shapes.

    It does not write over its arguments: after an error or an interrupt, the caller still has them.
    """

    def __init__(self, turns: Turns, carry: Any, tables: Any, fixed: Any, length: int) -> None:
        self.turns = turns
        self.turn = jax.jit(turns.turn)  # traced once, for the shapes of its outputs and for the loop
        self.most = 1
        """The number of turns that take about `PATIENCE`; one until that has been measured."""
        before, after, outputs = jax.eval_shape(self._one_turn, carry, tables, fixed)
        _refuse_other_kind(before, after)
        self.outputs = [(length, *each.shape) for each in outputs], [each.dtype for each in outputs]
        self.begin, self.run, self.end = jax.jit(turns.begin), jax.jit(self._run), jax.jit(turns.end)

    def _one_turn(self, carry: Any, tables: Any, fixed: Any) -> Any:
        inside, around = self.turns.begin(carry, fixed)
        return inside, *self.turn(inside, [table[0] for table in tables], around)

    def _run(self, inside: Any, outputs: Any, tables: Any, around: Any, first: Any, stop: Any) -> Any:
        return _turned(self.turn, inside, outputs, tables, around, first, stop)

    def empty(self, like: Any) -> list[Any]:
        """Outputs of no turn yet, where `like` is."""
        return [jnp.zeros(shape, dtype, device=like.sharding) for shape, dtype in zip(*self.outputs, strict=True)]

    def keep_pace(self, turns: int, seconds: float) -> None:
        """Choose the number of turns of the next call, after one that took this long."""
        if turns == self.most and seconds < 0.5 * PATIENCE:
            self.most *= 2
        elif seconds > 2.0 * PATIENCE:
            self.most = max(self.most // 2, 1)


def _turned(turn: Any, inside: Any, outputs: Any, tables: Any, around: Any, first: Any, stop: Any) -> Any:
    """What is inside, and the outputs with a row for each turn from `first` to `stop`."""

    def one(i: Any, state: Any) -> Any:
        inside, outputs = state
        inside, new = turn(inside, [table[i] for table in tables], around)
        return inside, [rows.at[i].set(row) for rows, row in zip(outputs, new, strict=True)]

    return jax.lax.fori_loop(first, stop, one, (inside, outputs))


def _single(turns: Turns, carry: Any, row: Any, fixed: Any, stop: Any) -> Any:
    """A loop of one turn: `stop` is 1, but the compiler does not know, and makes the body that all loops have."""
    inside, around = turns.begin(carry, fixed)
    after, outputs = jax.eval_shape(turns.turn, inside, row, around)
    _refuse_other_kind(inside, after)
    empty = [jnp.zeros((1, *each.shape), each.dtype) for each in outputs]
    inside, empty = jax.lax.optimization_barrier((inside, empty))
    inside, found = _turned(turns.turn, inside, empty, [each[None, ...] for each in row], around, 0, stop)
    return turns.end(jax.lax.optimization_barrier(inside)), [each[0] for each in found]


def single(turns: Turns, key: Hashable | None) -> Callable[..., Any]:
    """As in `kernels.loops.Loop`; compiled for each shape."""
    function = KEPT.get(None if key is None else ("single", key), lambda: jax.jit(partial(_single, turns)))
    return lambda carry, row, fixed: function(carry, row, fixed, 1)


class Loop:
    """As `kernels.loops.Loop`."""

    by_parameter = True
    exact = False
    single = staticmethod(single)

    def __init__(
        self,
        turns: Turns,
        carry: Sequence[Any],
        tables: Sequence[Any],
        fixed: Any,
        length: int,
        key: Hashable | None,
    ) -> None:
        given, self.length = (carry, tables, fixed), length
        shapes = tuple(jax.typeof(x) for x in jax.tree.leaves(given)), jax.tree.structure(given)
        config: Any = jax.config
        where = tuple(x.sharding for x in carry), config.jax_enable_x64

        key = None if key is None else (key, shapes, where, length)
        self.program = KEPT.get(key, lambda: Program(turns, *given, length))
        self.fixed, self.taken = fixed, 0
        self.outputs = self.program.empty(carry[0])

    def load(self, carry: Sequence[Any], tables: Sequence[Any]) -> None:
        """Continue from this carry; turn i reads row i of these tables."""
        self.taken = 0
        self.inside, self.around = self.program.begin(list(carry), self.fixed)
        self.tables = [_padded(table, self.length) for table in tables]

    def launch(self, most: int) -> int:
        """Take the next turns, as many as take about `PATIENCE`, and wait for them."""
        count, begun = min(most, self.program.most), time.perf_counter()
        found = self.program.run(self.inside, self.outputs, self.tables, self.around, self.taken, self.taken + count)
        (self.inside, self.outputs), self.taken = found, self.taken + count  # also if the wait is interrupted
        jax.block_until_ready(found)
        self.program.keep_pace(count, time.perf_counter() - begun)
        return count

    @property
    def carry(self) -> list[Any]:
        """The state after the last turn, put together only when it is read."""
        return self.program.end(self.inside)

    def results(self, count: int) -> list[Any]:
        """The outputs of the first turns since `load`; later turns do not change them."""
        return [_first(rows, count) for rows in self.outputs]

    def release(self) -> None:
        """Free the memory of the data and of the outputs; the program is kept."""
        self.fixed = self.inside = self.around = None
        self.tables, self.outputs = [], []


def _first(rows: Any, count: int) -> Any:
    """The first rows. JAX would compile a slice for each count, so a few numbers are cut on the host."""
    if count == rows.shape[0] or rows.ndim > 1:
        return rows[:count]
    return jax.device_put(np.asarray(rows)[:count], rows.sharding)


def _refuse_other_kind(before: Any, after: Any) -> None:
    """A turn leaves arrays like those that it began with."""
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            raise NotRecorded(f"it turns {x.dtype} of shape {x.shape} into {y.dtype} of shape {y.shape}")


def _padded(table: Any, length: int) -> Any:
    """The table with rows of zeros up to `length`, so that it has the shape for which the loop was compiled."""
    missing = length - table.shape[0]
    return jnp.pad(table, [(0, missing), *[(0, 0)] * (table.ndim - 1)]) if missing else table
