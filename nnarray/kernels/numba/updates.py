"""Rules of optimizers as loops: each entry is read from memory once, and written once."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nnarray.kernels.expressions import Program
from nnarray.kernels.numba.functions import EXACT, called, compiled, loop_of, results
from nnarray.kernels.rules import Rule
from nnarray.kernels.threads import shared

MANY_ENTRIES = 100_000  # of a thread's part at least: some 50 us


def _written(typing: Any, text: Any, addresses: Any, numbers: Any, count: Any) -> Any:
    """Write the results of a rule, which is written as JSON, over the arrays at these addresses."""
    if not isinstance(text, types.StringLiteral):
        return None
    arrays, targets, program = json.loads(text.literal_value)
    program, kind = Program(*program), numbers.dtype

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, addresses, numbers, count = arguments

        def entry(pointer: Any, i: int) -> Any:
            return builder.load(builder.gep(pointer, [ir.Constant(count.type, i)]))

        pointers = [builder.inttoptr(entry(addresses, i), numbers.type) for i in range(arrays)]
        singles = [entry(numbers, i) for i in range(program.inputs - arrays)]
        with cgutils.for_range(builder, count) as loop:
            output_size = [builder.gep(pointer, [loop.index]) for pointer in pointers]
            read = [builder.load(place) for place in output_size]
            found = results(context, builder, kind, program, [*read, *singles], sorted(EXACT))
            stored = [builder.store(result, output_size[i]) for i, result in zip(targets, found, strict=True)]
        _set_apart(builder.module, [*enumerate(read), *zip(targets, stored, strict=True)])
        return context.get_dummy_value()

    return types.void(text, addresses, numbers, count), code


written: Any = intrinsic(prefer_literal=True)(_written)


def _set_apart(module: Any, used: Sequence[tuple[int, Any]]) -> None:
    """Say of loads and stores that no two arrays overlap; else, loops of more than a few are not vectorised."""
    domain = module.add_metadata(["arrays of a rule"])
    scopes = {i: module.add_metadata([f"array {i}", domain]) for i, _ in used}
    for i, instruction in used:
        instruction.set_metadata("alias.scope", module.add_metadata([scopes[i]]))
        instruction.set_metadata("noalias", module.add_metadata([scopes[k] for k in scopes if k != i]))


@functools.lru_cache
def _compiled(rule: Rule, dtype: Any) -> tuple[Any, tuple[float, ...]]:
    """The loop of a rule, the same for all settings; and its constants, which follow the numbers of a step."""
    program, constants = rule.program.lifted()
    return _loop(json.dumps([rule.arrays, rule.targets, program]), dtype), constants


@functools.cache
def _loop(text: str, dtype: Any) -> Any:
    def rule(addresses: Any, numbers: Any, unused: Any, count: int, none: int) -> None:
        written(text, addresses, numbers, count)

    return loop_of(rule, dtype, types.CPointer(types.intp))


@compiled
def _call(loop: int, addresses: Any, numbers: Any, count: int) -> None:
    called(loop, addresses, numbers, numbers, count, 0)


def takes(arrays: Sequence[Any]) -> bool:
    """Whether the arrays are such as a loop goes through: in single or double precision, in a row."""
    return arrays[0].dtype.char in "fd" and all(a.flags.carray and a.dtype == arrays[0].dtype for a in arrays)


class Loop:
    """A step of a rule on some arrays, in one loop."""

    def __init__(self, rule: Rule, arrays: Sequence[Any]) -> None:
        self.arrays = arrays
        loop, self.constants = _compiled(rule, arrays[0].dtype)
        self.address, self.addresses = loop.address, np.asarray([a.ctypes.data for a in arrays], dtype=np.intp)

    def __call__(self, numbers: Any) -> None:
        """Take it, with its row of the table."""
        _call(self.address, self.addresses, numbers, self.arrays[0].size)

    def together(self, numbers: Any) -> None:
        """The same, shared between threads: where NumPy's threads do not wait for its next product."""
        bytes_each = self.arrays[0].itemsize

        def some(start: int, stop: int) -> None:
            _call(self.address, self.addresses + start * bytes_each, numbers, stop - start)

        shared(some, self.arrays[0].size, MANY_ENTRIES)

    def table(self, numbers: Any) -> Any:
        """All numbers of some steps, a row each."""
        changing = len(numbers[0])
        found = np.empty((len(numbers), changing + len(self.constants)), dtype=self.arrays[0].dtype)
        found[:, :changing], found[:, changing:] = numbers, self.constants
        return found
