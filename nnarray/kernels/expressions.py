"""Recording the operations of an elementwise definition once, for all engines.

A definition is run on symbols instead of arrays. NumPy's calls, Numba's loops and CuPy's source are made from the
recorded program, so that none of them repeats the formula.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from nnarray.typing import DType

Operand = int | float
"""The number of a register, which is an int, or a constant, which is a float."""


NOT_BY_ENTRY = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of symbols used as arrays, and of trial values used as numbers.

A fault of the definition itself is raised again by the layers' own steps, on arrays.
"""


class Program(NamedTuple):
    """Operations in order: the inputs are in registers 0, 1, ..., and each operation fills the next register."""

    inputs: int
    operations: tuple[tuple[str, tuple[Operand, ...]], ...]
    results: tuple[Operand, ...]

    @property
    def result(self) -> Operand:
        """The only result, or the first of several."""
        return self.results[0]

    @property
    def read(self) -> list[Operand]:
        """All registers and constants that an operation or a result reads."""
        return [*(x for _, operands in self.operations for x in operands), *self.results]

    def reads(self, register: int) -> bool:
        """Whether the results depend on this input."""
        return any(is_register(x) and x == register for x in self.read)

    def lifted(self) -> tuple[Program, tuple[float, ...]]:
        """The program with its constants as further inputs, and the constants: one program for all settings."""
        constants = {repr(x): x for x in self.read if not is_register(x)}
        numbers = {text: self.inputs + i for i, text in enumerate(constants)}

        def moved(operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
            shift = len(numbers)
            return tuple(
                numbers[repr(x)] if not is_register(x) else x if x < self.inputs else x + shift for x in operands
            )

        operations = tuple((name, moved(operands)) for name, operands in self.operations)
        return Program(self.inputs + len(numbers), operations, moved(self.results)), tuple(constants.values())


def is_register(x: Operand) -> TypeGuard[int]:
    """Whether an operand is the number of a register, not a constant."""
    return type(x) is int


@functools.lru_cache
def recorded(definition: Callable[..., Any], inputs: int, dtype: DType) -> Program:
    """The program of a definition, for arrays of this dtype; functions that it calls must be elementwise too."""
    return record(definition, inputs, dtype)


def record(definition: Callable[..., Any], inputs: int, dtype: DType, *, usual: bool = False) -> Program:
    """As `recorded`, without a cache; the function may return several results.

    With `usual`, gradients are assumed to be so small that `limited_gradient` does not change them.
    """
    made: dict[str, Any] = {}
    found: Any = definition(*(Symbol(i, inputs, dtype, made, usual) for i in range(inputs)))
    results = found if isinstance(found, tuple) else (found,)
    registers = tuple(_operand(x.number() if isinstance(x, Symbol) else x) for x in results)
    return Program(inputs, tuple(operation for _, operation in made.values()), registers)


class Symbol:
    """A placeholder for an array: operations with it are recorded."""

    __array_ufunc__ = None  # otherwise NumPy's functions would treat a symbol as a scalar

    def __array_function__(self, *_: object) -> Any:
        return NotImplemented

    def __array__(self, *_: object, **__: object) -> Any:
        raise TypeError("an elementwise definition works without arrays; use the functions of its namespace, xp.")

    def __init__(self, register: int, inputs: int, dtype: DType, record: dict[str, Any], usual: bool) -> None:
        self.register, self.inputs, self.dtype, self.record, self.usual = register, inputs, dtype, record, usual

    is_mask = False
    """Whether its entries are truth values."""

    def __array_namespace__(self, **_: object) -> Any:
        return NAMESPACE

    def __bool__(self) -> bool:
        raise TypeError("an elementwise definition cannot read the value of an entry; use xp.where.")

    def then(self, name: str, operands: tuple[Any, ...]) -> Symbol:
        """The result of an operation, in the next register, or in its old one if it was computed before."""
        operation = name, tuple(map(_operand, _of_their_kind(name, operands)))
        register, _ = self.record.setdefault(repr(operation), (self.inputs + len(self.record), operation))
        made = Symbol(register, self.inputs, self.dtype, self.record, self.usual)
        made.is_mask = name in MASKS
        return made

    def number(self) -> Symbol:
        """1 where a mask is true and 0 where it is false; numbers are not changed."""
        return self.then("where", (self, 1.0, 0.0)) if self.is_mask else self

    def __pow__(self, exponent: float) -> Symbol:
        return self.then("sqrt", (self,)) if exponent == 0.5 else NotImplemented


def _of_their_kind(name: str, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """The operands of an operation, with masks converted to numbers if it takes numbers.

    Raises
    ------
    TypeError
        If it takes a mask and gets a number, or gets masks only: libraries differ in such cases.
    """
    wanted = {"where": 1, "logical_and": 2}.get(name, 0)
    masks = [isinstance(x, Symbol) and x.is_mask for x in operands]
    if not all(masks[:wanted]) or (wanted < len(operands) and all(masks[wanted:])):
        raise TypeError(f"{name} takes {'a mask' if wanted else 'numbers'} in an elementwise definition.")
    numbers = (x.number() if is_mask else x for x, is_mask in zip(operands[wanted:], masks[wanted:], strict=True))
    return *operands[:wanted], *numbers


def _operand(x: Any) -> Operand:
    return x.register if isinstance(x, Symbol) else float(x)


def _function(name: str, *, swapped: bool = False) -> Callable[..., Symbol]:
    """The operation of this name, on symbols and numbers."""

    def operation(*operands: Any) -> Symbol:
        symbol = next(x for x in operands if isinstance(x, Symbol))
        return symbol.then(name, operands[::-1] if swapped else operands)

    return operation


MASKS = {"greater", "greater_equal", "less", "less_equal", "equal", "logical_and", "isfinite"}
"""The operations whose results are truth values."""
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
    nan = math.nan

    def astype(self, x: Any, dtype: DType, *, copy: bool = True) -> Any:
        if isinstance(x, Symbol) and dtype != x.dtype:
            raise TypeError(f"an elementwise definition computes in {x.dtype} throughout; got astype to {dtype}.")
        return x.number() if isinstance(x, Symbol) else x

    def sign(self, x: Any) -> Symbol:
        return self.where(x > 0.0, 1.0, self.where(x < 0.0, -1.0, x))  # nan remains nan

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        if name not in KNOWN:
            raise AttributeError(
                f"engines cannot make loops of xp.{name}; use {', '.join(KNOWN)}, or set elementwise=False."
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
