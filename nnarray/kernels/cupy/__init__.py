"""Faster versions for CuPy arrays: one launch where the definition takes several, written in place.

Built and checked without a GPU only: `make gpu-check` runs them against the definitions on one.
"""

# pyright: reportUnusedImport=false

from __future__ import annotations

import functools
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)
from cupyx.scipy import special  # pyright: ignore[reportMissingImports]

from nnarray import kernels
from nnarray.kernels.cupy import (
    draws,
    images,
    linear,
    lookup,
    loops,
    losses,
    normalisation,
    rows,
    sources,
    updates,
    vectors,
)
from nnarray.kernels.cupy.sources import Code
from nnarray.kernels.expressions import recorded
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.registry import Kernel

cp: Any = cupy

CODES: dict[str, Code] = {
    name: code
    for file in (draws, images, lookup, loops, losses, normalisation, rows, updates, vectors)
    for name, code in file.CODES.items()
}
"""Every source that is written by hand, by name; the others are made of definitions, in `sources`."""


def _is_float32_or_more(x: Any) -> bool:
    return x.dtype.itemsize >= 4


@kernels.erfc.fast("cupy")
def erfc(x: Any) -> Any:
    """CuPy's own, which gives float64 for what is narrower than float32."""
    return special.erfc(x) if _is_float32_or_more(x) else special.erfc(x.astype(cp.float32)).astype(x.dtype)


@functools.cache
def _of_program(kernel: Kernel[..., Any], inputs: int, dtype: Any) -> tuple[Any, list[int]]:
    """The kernel of an elementwise definition, and which of the arguments it reads."""
    program = recorded(kernel.definition, inputs, dtype)
    code = sources.source(program)
    read = [i for i in range(inputs) if program.reads(i)]
    return cp.ElementwiseKernel(*code, f"nnarray_{kernel.definition.__name__}"), read


def _in_one_launch(kernel: Kernel[..., Any], inputs: int) -> None:
    """Register the definition of one entry as a kernel of CuPy's."""

    @kernel.fast("cupy")
    @functools.wraps(kernel.definition)
    def launched(*arrays: Any, **options: Any) -> Any:
        if options or not _is_float32_or_more(arrays[0]):
            return kernel.definition(*arrays, **options)
        launch, read = _of_program(kernel, inputs, arrays[0].dtype)
        return launch(*(arrays[i] for i in read))


for _name, _function in FUNCTIONS.items():
    if _function.elementwise and _name != "identity":
        _in_one_launch(kernels.TABLE[_name], 1)
        _in_one_launch(kernels.TABLE[f"{_name}_pullback"], 3)
