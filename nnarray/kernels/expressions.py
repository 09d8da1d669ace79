"""What an elementwise definition computes, operation by operation: recorded once, and read by each engine.

A definition is run on symbols instead of arrays. The program that this leaves is what NumPy's calls, Numba's loops and
CuPy's source are made of, so that none of them repeats the formula.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from nnarray.typing import Array, DType

Operand = int | float
"""The number of a register, which is an int, or a constant, which is a float."""


class Program(NamedTuple):
    """Operations in their order: the inputs are in registers 0, 1, ..., and each operation fills the next one."""

    inputs: int
    operations: tuple[tuple[str, tuple[Operand, ...]], ...]
    result: Operand

    def reads(self, register: int) -> bool:
        """Whether the result depends on this input."""
        every = (self.result, *(x for _, operands in self.operations for x in operands))
        return any(is_register(x) and x == register for x in every)


def is_register(x: Operand) -> TypeGuard[int]:
    """Whether an operand is a register's number, and no constant."""
    return type(x) is int


@functools.lru_cache
def recorded(definition: Callable[..., Array], inputs: int, dtype: DType) -> Program:
    """The program of a definition, for arrays of this dtype; what it calls must be elementwise as well."""
    record: list[tuple[str, tuple[Operand, ...]]] = []
    result: Any = definition(*(Symbol(i, inputs, dtype, record) for i in range(inputs)))
    return Program(inputs, tuple(record), _operand(result))


class Symbol:
    """An array whose entries are not known yet: what is done with it is written into the record."""

    def __init__(self, register: int, inputs: int, dtype: DType, record: list[Any]) -> None:
        self.register, self.inputs, self.dtype, self.record = register, inputs, dtype, record

    def __array_namespace__(self, **_: object) -> Any:
        return NAMESPACE

    def __bool__(self) -> bool:
        raise TypeError("an elementwise definition cannot ask for the value of an entry; choose with xp.where.")

    def then(self, name: str, operands: tuple[Any, ...]) -> Symbol:
        """The result of an operation, in the next register."""
        self.record.append((name, tuple(map(_operand, operands))))
        return Symbol(self.inputs + len(self.record) - 1, self.inputs, self.dtype, self.record)


def _operand(x: Any) -> Operand:
    return x.register if isinstance(x, Symbol) else float(x)


def _function(name: str, *, swapped: bool = False) -> Callable[..., Symbol]:
    """The operation of this name, on symbols and numbers."""

    def operation(*operands: Any) -> Symbol:
        symbol = next(x for x in operands if isinstance(x, Symbol))
        return symbol.then(name, operands[::-1] if swapped else operands)

    return operation


KNOWN = [
    "abs",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "tanh",
    "sin",
    "cos",
    "sinh",
    "cosh",
    "maximum",
    "minimum",
    "where",
    "isfinite",
]


class _Functions:
    """The elementwise functions of the standard, for symbols."""

    __name__ = "symbols"
    float32, finfo = np.float32, staticmethod(np.finfo)
    zeros_like = staticmethod(lambda x: 0.0)
    astype = staticmethod(lambda x, dtype, copy=True: x)

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        if name not in KNOWN:
            raise AttributeError(
                f"engines make no loops of xp.{name}; use {', '.join(KNOWN)}, or say elementwise=False."
            )
        return _function(name)


NAMESPACE = _Functions()

for _name, _operation in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "gt": "greater",
    "ge": "greater_equal",
    "lt": "less",
    "le": "less_equal",
    "eq": "equal",
    "and": "logical_and",
    "neg": "negative",
}.items():
    setattr(Symbol, f"__{_name}__", _function(_operation))
    setattr(Symbol, f"__r{_name}__", _function(_operation, swapped=True))
