"""Rules of optimizers as CuPy's kernels: in place, in one launch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray.kernels.cupy import sources
from nnarray.kernels.rules import Rule, Update

cp: Any = cupy


def in_place(kernel: Update) -> Callable[..., Any]:
    """The kernel, written over its arguments."""

    @functools.wraps(kernel.definition)
    def updated(*arrays: Any, **numbers: Any) -> Any:
        if arrays[0].dtype.itemsize < 4:
            return kernel.definition(*arrays, **numbers)
        rule = kernel.rule(len(arrays), arrays[0].dtype, *map(numbers.pop, kernel.settings))
        launch, constants = _compiled(rule)
        read = [a for i, a in enumerate(arrays) if i not in rule.targets]
        launch(*read, *(numbers[name] for name in kernel.changing), *constants, *(arrays[i] for i in rule.targets))
        return kernel.results(arrays)

    return updated


@functools.lru_cache
def _compiled(rule: Rule) -> tuple[Any, tuple[float, ...]]:
    return _launch(sources.source_of_rule(rule)), rule.program.lifted()[1]


@functools.cache
def _launch(code: sources.Code) -> Any:
    """Compiled at its first call for each dtype, once for all settings."""
    return cp.ElementwiseKernel(*code, "nnarray_update")
