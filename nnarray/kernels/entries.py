"""An elementwise loss: the program that engines make from its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nnarray.kernels.expressions import NOT_BY_ENTRY, Program, is_register, record
from nnarray.typing import DType


class Entries(NamedTuple):
    """The mean over the outputs of a program of an output and its target, reduced over the examples."""

    program: Program
    """Its results are a term of the loss, and its derivative with respect to the output."""
    reduction: str

    @property
    def parts(self) -> tuple[Program, Program]:
        """The programs of the term only, and of the derivative only."""
        term, derivative = (self.program._replace(results=(each,)) for each in self.program.results)
        return term, derivative


def program_of(entry: Callable[..., Any], dtype: DType) -> Program | None:
    """The program of entry(output, target), which returns a term and its derivative; None if it is not elementwise."""
    try:
        program = record(entry, 2, dtype)
    except NOT_BY_ENTRY:
        return None
    return program if len(program.results) == 2 and all(map(is_register, program.results)) else None
