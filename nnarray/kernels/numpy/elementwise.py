"""Programs of elementwise definitions as NumPy's calls, which write into memory that is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from nnarray.kernels.expressions import Operand, Program, is_register, recorded
from nnarray.kernels.functions import Function
from nnarray.typing import DType

Calls = list[tuple[Callable[..., Any], tuple[Any, ...]]]
MASKS = {"greater", "greater_equal", "less", "less_equal", "equal", "logical_and", "isfinite"}


def calls_of(program: Program, inputs: Sequence[Any], out: Any) -> Calls:
    """The calls that write the result into `out`, which may be one of the inputs."""
    made: Calls = []
    registers: dict[Operand, Any] = dict(enumerate(inputs))
    free: dict[bool, list[Any]] = {True: [], False: []}  # memory whose contents nobody reads any more
    last_use = {x: i for i, (_, operands) in enumerate(program.operations) for x in operands if is_register(x)}

    def memory(masks: bool) -> Any:
        return free[masks].pop() if free[masks] else np.empty(out.shape, dtype=bool if masks else out.dtype)

    for i, (name, operands) in enumerate(program.operations):
        number, is_mask = program.inputs + i, name in MASKS
        target = out if number == program.result else memory(is_mask)
        arrays = [registers[x] if is_register(x) else np.asarray(x, dtype=out.dtype) for x in operands]
        if name == "where":
            mask, a, b = arrays
            made += _choice(mask, a, b, target)
        elif name in ("maximum", "minimum"):  # whose third argument may not be the output
            made.append((partial(getattr(np, name), out=target), tuple(arrays)))
        else:
            made.append((getattr(np, name), (*arrays, target)))
        registers[number] = target
        for x in set(filter(is_register, operands)):
            if x >= program.inputs and last_use[x] == i:
                free[registers[x].dtype == bool].append(registers[x])
    if program.result not in registers:
        return [(np.copyto, (out, program.result))]
    result = registers[program.result]
    return made if result is out else [*made, (np.copyto, (out, result))]


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
