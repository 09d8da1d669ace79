"""Programs of elementwise definitions as NumPy's calls, which write into memory that is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from nnarray.kernels.expressions import MASKS, Operand, Program, is_register, recorded
from nnarray.kernels.functions import Function
from nnarray.typing import DType

Kind = tuple[Any, bool]  # a dtype, and whether it is a single number
Calls = list[tuple[Callable[..., Any], tuple[Any, ...]]]


def calls_of(program: Program, inputs: Sequence[Any], out: Any) -> Calls:
    """The calls that write the result into `out`, which may be one of the inputs."""
    place = next((i for i, x in enumerate(inputs) if x is out), -1)
    passes = Passes(program, [place], len(inputs), out.dtype)
    return passes.calls([*inputs, *passes.constants, *passes.memory(out.shape), out])


class Passes:
    """A program's operations; each knows where in a row of arrays it reads and writes.

    The row is the program's inputs, of which the first few are arrays and the others single numbers; then constants,
    memory for what is between, and whatever else results are written into.

    Parameters
    ----------
    program : Program
    targets : sequence of int
        The place in the row where each result is written; over an input, when nobody reads that any more.
    arrays : int
    dtype : dtype
    spare : int, optional
        An input that may be written over as soon as it is not read any more.
    """

    def __init__(
        self, program: Program, targets: Sequence[int], arrays: int, dtype: DType, spare: int | None = None
    ) -> None:
        self.program, constants = _copying(program, targets).lifted()
        self.constants = [np.asarray(x, dtype=dtype) for x in constants]
        self.between: list[Kind] = []
        self.operations: list[tuple[str, list[int], int]] = []
        kinds: list[Kind] = [(dtype, i >= arrays) for i in range(self.program.inputs)]
        self._plan(dict(zip(self.program.results, targets, strict=True)), kinds, spare)

    def _plan(self, goals: dict[Operand, int], kinds: list[Kind], spare: int | None) -> None:
        inputs, operations, results = self.program
        last = {x: i for i, (_, operands) in enumerate(operations) for x in operands}
        last |= dict.fromkeys(results, len(operations))
        place, free = list(range(inputs)), defaultdict[Kind, list[int]](list)
        for i, (name, operands) in enumerate(operations):
            for x in filter(is_register, set(operands)):
                if last[x] == i and (x == spare or x >= inputs):  # nobody reads its memory any more
                    free[kinds[x]].append(place[x])
            kind = bool if name in MASKS else kinds[0][0], all(kinds[x][1] for x in operands if is_register(x))
            goal = goals.get(inputs + i)
            if goal is None or last.get(goal, 0) > i:
                if not free[kind]:
                    self.between.append(kind)
                goal = free[kind].pop() if free[kind] else inputs + len(self.between) - 1
            self.operations.append((name, [place[x] for x in operands if is_register(x)], goal))
            place.append(goal)
            kinds.append(kind)
        late = ((place[x], goal) for x, goal in goals.items() if is_register(x) and place[x] != goal)
        self.operations += [("positive", [x], goal) for x, goal in late]

    def memory(self, shape: tuple[int, ...]) -> list[Any]:
        """What is between, for arrays of this shape."""
        return [np.empty(() if single else shape, dtype=dtype) for dtype, single in self.between]

    def calls(self, row: Sequence[Any]) -> Calls:
        """The operations on the arrays of a row."""
        made: Calls = []
        for name, operands, target in self.operations:
            arrays, out = [row[i] for i in operands], row[target]
            if name == "where":
                mask, a, b = arrays
                made += _choice(mask, a, b, out)
            elif name in ("maximum", "minimum"):  # whose third argument may not be the output
                made.append((partial(getattr(np, name), out=out), tuple(arrays)))
            else:
                made.append((getattr(np, name), (*arrays, out)))
        return made


def _copying(program: Program, targets: Sequence[int]) -> Program:
    """The program, with a copy of each result that is a constant, an input of another place, or a result before."""
    operations, results = list(program.operations), list(program.results)
    for i, (result, target) in enumerate(zip(program.results, targets, strict=True)):
        if not is_register(result) or target != result < program.inputs or result in results[:i]:
            results[i] = program.inputs + len(operations)
            operations.append(("positive", (result,)))
    return Program(program.inputs, tuple(operations), tuple(results))


def _choice(mask: Any, a: Any, b: Any, target: Any) -> Calls:
    """Target <- a where the mask is true, else b."""
    if b.ndim == 0 and b == 0.0 and a.ndim:  # a product of bits, in a fifth of a choice's time
        bits = f"i{a.itemsize}"
        return [(np.multiply, (a.view(bits), mask, target.view(bits)))]
    if target is b:
        return [(_write_where, (target, a, mask))]
    opposite = np.empty_like(mask)
    return [
        *([] if target is a else [(np.copyto, (target, a))]),
        (np.logical_not, (mask, opposite)),
        (_write_where, (target, b, opposite)),
    ]


def _write_where(target: Any, x: Any, mask: Any) -> None:
    np.copyto(target, x, where=mask)


def in_place(function: Function, dtype: DType) -> Callable[[Any], Any]:
    """f, written over its argument where it is one of NumPy's functions."""
    program = recorded(function.value, 1, dtype) if function.elementwise else None
    if program is None or len(program.operations) > 1:
        return function.value
    if not program.operations:
        return lambda z: z
    ((name, operands),) = program.operations
    call, constants = getattr(np, name), [np.asarray(x, dtype=dtype) for x in operands[1:]]
    return lambda z: call(z, *constants, out=z)
