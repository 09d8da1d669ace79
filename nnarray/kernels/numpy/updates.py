"""Rules of optimizers as NumPy's operations: written in place, in blocks that stay in the cache."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.numpy.elementwise import Passes
from nnarray.kernels.rules import Rule

BLOCK = 65_536  # entries: the few arrays of one block fit into the second-level cache


def prepared(rule: Rule, arrays: Sequence[Any]) -> Any:
    """A step of the rule on these arrays; with Numba in one loop."""
    loops = numba_pieces("updates")
    return loops.Loop(rule, arrays) if loops and loops.takes(arrays) else InBlocks(rule, arrays)


class InBlocks:
    """A step of a rule on some arrays, one block of them after the other."""

    def __init__(self, rule: Rule, arrays: Sequence[Any]) -> None:
        theta = arrays[0]
        self.usual, self.whole = _passes(rule, theta.dtype)
        self.numbers = [np.empty((), dtype=theta.dtype) for _ in range(rule.numbers)]
        memory = self.usual.memory((min(theta.size, BLOCK),))
        self.blocks = []
        for start in range(0, theta.size, BLOCK):
            block = [*(array[start : start + BLOCK] for array in arrays), *self.numbers]
            rest = [each[: block[0].size] if each.ndim else each for each in memory]
            self.blocks.append((block, self.usual.calls([*block, *self.usual.constants, *rest])))

    def __call__(self, numbers: Sequence[Any]) -> None:
        """Take it, with its row of the table."""
        for here, number in zip(self.numbers, numbers, strict=True):
            here[...] = number
        for block, calls in self.blocks:
            if self.usual is not self.whole and not np.isfinite(np.vdot(block[1], block[1])):
                calls = self.whole.calls([*block, *self.whole.constants, *self.whole.memory(block[1].shape)])
            for call, arguments in calls:
                call(*arguments)

    def table(self, numbers: Any) -> Any:
        """All numbers of some steps, a row each."""
        return numbers


@functools.lru_cache
def _passes(rule: Rule, dtype: Any) -> tuple[Passes, Passes]:
    """Of usual gradients, and of all."""
    whole, usual = (Passes(each, rule.targets, rule.arrays, dtype, spare=1) for each in (rule.program, rule.usual))
    return whole if repr(rule.usual) == repr(rule.program) else usual, whole
