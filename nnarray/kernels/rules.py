"""An optimizer's elementwise update: its definition, and the program that engines make from it."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnarray.backends import Library, library_of
from nnarray.kernels.expressions import Program, record
from nnarray.kernels.registry import TABLE, Kernel
from nnarray.typing import DType


@dataclass(frozen=True, eq=False)
class Rule:
    """A program of arrays, in the first registers, and of the numbers that change from step to step, in the next.

    The arrays are theta, the gradient, the slots, and arrays that are only read. The results are written over theta and
    the slots; the gradient is consumed.
    """

    program: Program
    usual: Program
    """The program for gradients whose squares cannot overflow."""
    arrays: int

    @property
    def numbers(self) -> int:
        """The number of values that change from step to step."""
        return self.program.inputs - self.arrays

    @property
    def targets(self) -> list[int]:
        """The array that each result overwrites."""
        return [0, *range(2, 1 + len(self.program.results))]


def rule_of(definition: Callable[..., Any], arrays: int, numbers: Sequence[str], dtype: DType) -> Rule:
    """The rule of definition(*arrays, **numbers), which is elementwise and returns theta and the slots.

    Raises
    ------
    AttributeError, TypeError
        If it is not elementwise.
    """

    def of(*symbols: Any) -> Any:
        return definition(*symbols[:arrays], **dict(zip(numbers, symbols[arrays:], strict=True)))

    program, usual = (record(of, arrays + len(numbers), dtype, usual=usual) for usual in (False, True))
    return Rule(program, usual, arrays)


def rows_of(numbers: Callable[..., dict[str, Any]]) -> Callable[[Sequence[float], int], Any]:
    """(rates, first step) -> one row of numbers per step, from numbers(rate, step): at once if it accepts arrays.

    Errors of `numbers` are raised.
    """

    def one_by_one(rates: Any, steps: Any) -> Any:
        pairs = zip(rates.tolist(), steps.tolist(), strict=True)
        return np.asarray([tuple(numbers(rate, step).values()) for rate, step in pairs], dtype=float)

    def together(rates: Any, steps: Any) -> Any:
        found = numbers(rates, steps)
        rows = np.empty((len(rates), len(found)))
        for column, number in zip(rows.T, found.values(), strict=True):
            column[:] = number
        return rows

    trial, chosen = (np.asarray([0.1, 0.2]), np.asarray([1, 1000])), one_by_one
    expected = one_by_one(*trial)
    try:
        if np.allclose(together(*trial), expected):
            chosen = together
    except (LookupError, TypeError, ValueError):
        pass
    return lambda rates, first: chosen(np.asarray(rates, dtype=float), np.arange(first, first + len(rates)))


def counted(first: int, count: int) -> Any:
    """The numbers of `count` steps, from `first` on, on the host."""
    return np.arange(first, first + count)


class Update(Kernel[..., Any]):
    """The kernel of a rule, definition(theta, gradient, *slots, **numbers), from which libraries make their own.

    The numbers in `changing` change from step to step; the others are settings.
    """

    def __init__(self, definition: Callable[..., Any], changing: Sequence[str]) -> None:
        super().__init__(definition)
        self.changing = changing
        every = inspect.signature(definition).parameters.values()
        self.settings = [x.name for x in every if x.kind is x.KEYWORD_ONLY and x.name not in changing]
        self.rule = functools.lru_cache(self._rule)

    def _rule(self, arrays: int, dtype: DType, *settings: Any) -> Rule:
        """The rule for this many arrays, with settings in their order."""
        definition = functools.partial(self.definition, **dict(zip(self.settings, settings, strict=True)))
        return rule_of(definition, arrays, self.changing, dtype)

    def _choose(self, x: Any) -> Callable[..., Any]:
        library = library_of(x)
        if library is not None and library.name in WRITING and library.name not in self.overrides:
            module = importlib.import_module(f"nnarray.kernels.{WRITING[library.name]}.updates")
            self.fast(library.name)(self._in_place(module.prepared, library))
        return super()._choose(x)

    def _in_place(self, prepared: Callable[[Rule, Sequence[Any]], Any], library: Library) -> Callable[..., Any]:
        """The kernel by a prepared step of the rule, which overwrites its arguments."""

        @functools.wraps(self.definition)
        def updated(*arrays: Any, **numbers: Any) -> Any:
            theta, _, *slots = arrays
            spread = any(getattr(numbers[name], "ndim", 0) for name in self.changing)  # another number for each entry
            if spread or theta.dtype.itemsize < 4:  # or too few digits for a library's own
                return self.definition(*arrays, **numbers)
            written = arrays if WRITING[library.name] == library.name else _shared(arrays, library)
            if written is None:
                return self.definition(*arrays, **numbers)
            rule = self.rule(len(arrays), written[0].dtype, *(numbers[name] for name in self.settings))
            step = prepared(rule, written)
            take = getattr(step, "together", step) if written is arrays else step  # other libraries' threads may wait
            take(step.table([[numbers[name] for name in self.changing]])[0])
            return (theta, *slots) if slots else theta

        return updated


def _shared(arrays: Sequence[Any], library: Library) -> list[Any] | None:
    """Arrays as NumPy's in the same memory; None if one has none, is not in a row, or has a gradient record."""
    shared = [None if library.has_record(each) else library.shared(each) for each in arrays]
    return shared if all(each is not None and each.flags.c_contiguous for each in shared) else None


WRITING = {"numpy": "numpy", "cupy": "cupy", "torch": "numpy"}
"""Libraries whose arrays a rule overwrites, and the library that computes it."""


def update(*changing: str) -> Callable[[Callable[..., Any]], Update]:
    """A decorator that makes an elementwise definition the kernel of a rule; `changing` names the changing numbers."""

    def complete(definition: Callable[..., Any]) -> Update:
        made = TABLE[definition.__name__] = Update(definition, changing)
        return made

    return complete
