"""Rules of optimizers as CuPy's kernels: in place, in one launch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.kernels.cupy import sources
from nnarray.kernels.cupy.sources import REGISTERS, Code
from nnarray.kernels.rules import Rule

cp: Any = cupy


class Launch:
    """A step of a rule on some arrays, in one launch."""

    def __init__(self, rule: Rule, arrays: Sequence[Any]) -> None:
        self.launch, self.constants = _compiled(rule)
        self.read = [a for i, a in enumerate(arrays) if i not in rule.targets]
        self.written = [arrays[i] for i in rule.targets]

    def __call__(self, numbers: Sequence[Any]) -> None:
        """Take it, with its row of the table, in which arrays of shape () are numbers, too."""
        given = [n.astype(cp.float64, copy=False) if isinstance(n, cp.ndarray) else n for n in numbers]
        self.launch(*self.read, *given, *self.constants, *self.written)

    def table(self, numbers: Any) -> Any:
        """The numbers of some steps, a row each."""
        return numbers


prepared = Launch

DECAYED = Code(
    "T gradient, T theta, T decays, float64 decay",
    "T y",
    f"{REGISTERS} y = T(R(gradient) + R(decay) * (R(theta) * R(decays)));",
)
CODES = {"decayed": DECAYED}
_decayed = cp.ElementwiseKernel(*DECAYED, "nnarray_decayed")


@kernels.decayed.fast("cupy")
def decayed(gradient: Any, theta: Any, decays: Any, *, decay: float) -> Any:
    """In one launch, where only some entries decay."""
    if decays is None:
        return kernels.decayed.definition(gradient, theta, decays, decay=decay)
    return _decayed(gradient, theta, decays, decay)


@functools.lru_cache
def _compiled(rule: Rule) -> tuple[Any, tuple[float, ...]]:
    return _launch(sources.source_of_rule(rule)), rule.program.lifted()[1]


@functools.cache
def _launch(code: sources.Code) -> Any:
    """Compiled at its first call for each dtype, once for all settings."""
    return cp.ElementwiseKernel(*code, "nnarray_update")
