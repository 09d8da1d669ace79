"""Activation functions of many entries for NumPy arrays: loops that are compiled from their definitions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.functions import FUNCTIONS, Function
from nnarray.kernels.numpy.general import BLOCK, CHUNK
from nnarray.kernels.registry import TABLE, Kernel

OWN = {"identity", "relu"}  # with nothing to do, and with loops of their own
MANY_CALLS = 8 * BLOCK  # entries times operations from which a loop pays: each of NumPy's calls goes over all entries


def _register(function: Function, value: Kernel[..., Any], pullback: Kernel[..., Any]) -> None:
    """Faster versions of one function and its pullback."""

    @functools.cache
    def reads_output(dtype: Any) -> bool:
        return function.backward_program(dtype).reads(2)

    @functools.cache
    def operations() -> int:
        return len(function.value_program(np.dtype(np.float32)).operations)

    @value.fast("numpy")
    @functools.wraps(value.definition)
    def fast_value(x: Any, **options: Any) -> Any:
        pays = x.size > BLOCK or (x.size > CHUNK and x.size * operations() > MANY_CALLS)
        loops = numba_pieces("pointwise") if pays and not options else None
        if not (loops and loops.takes(x, least=CHUNK)):
            return value.definition(x, **options)
        return loops.of_program(function.value_program(x.dtype), x, None, None)

    @pullback.fast("numpy")
    @functools.wraps(pullback.definition)
    def fast_pullback(dy: Any, x: Any, y: Any, **options: Any) -> Any:
        loops = None if options or dy.size <= BLOCK else numba_pieces("pointwise")
        read = [y] if function.from_output else [x, y]  # some read both
        if not (loops and loops.takes(dy, *read)):
            return pullback.definition(dy, x, y, **options)
        return loops.of_program(function.backward_program(dy.dtype), dy, x, y if reads_output(dy.dtype) else None)


for _name, _function in FUNCTIONS.items():
    if _function.elementwise and _name not in OWN:
        _register(_function, TABLE[_name], TABLE[f"{_name}_pullback"])
