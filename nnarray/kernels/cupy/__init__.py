"""Faster versions for CuPy arrays: one launch where the definition takes several, written in place.

Built and checked without a GPU only: `make gpu-check` runs them against the definitions on one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)
from cupyx.scipy import special  # pyright: ignore[reportMissingImports]

from nnarray import kernels
from nnarray.kernels.cupy import sources
from nnarray.kernels.entries import program_of
from nnarray.kernels.expressions import recorded
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.registry import Kernel

cp: Any = cupy


def _is_float32_or_more(x: Any) -> bool:
    return x.dtype.itemsize >= 4


@kernels.erfc.fast("cupy")
def erfc(x: Any) -> Any:
    """CuPy's own, which gives float64 for what is narrower than float32."""
    return special.erfc(x) if _is_float32_or_more(x) else special.erfc(x.astype(cp.float32)).astype(x.dtype)


@kernels.affine.fast("cupy")
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """The bias added in place."""
    y = cp.matmul(x, weight)
    if bias is not None:
        y += bias
    return y


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


@functools.cache
def _cross_entropy() -> Any:
    """The kernel, compiled at its first call for each dtype."""
    return cp.ElementwiseKernel(*sources.CROSS_ENTROPY, "nnarray_cross_entropy")


@kernels.cross_entropy.fast("cupy")
def cross_entropy(logits: Any, target: Any) -> Any:
    """Loss and gradient in one launch, a thread a row, where rows are short."""
    classes = logits.shape[-1]
    if not (
        _is_float32_or_more(logits) and logits.dtype == target.dtype and 0 < classes <= sources.SHORT and logits.size
    ):
        return kernels.cross_entropy.definition(logits, target)
    z, t = cp.ascontiguousarray(logits), cp.ascontiguousarray(target)
    gradient, losses = cp.empty_like(z), cp.empty(z.shape[:-1], dtype=z.dtype)
    limit = float(cp.finfo(z.dtype).max) / 2
    _cross_entropy()(z, t, classes, limit, gradient, losses)
    return losses, gradient


@functools.cache
def _launch_of_entries(code: sources.Code) -> Any:
    return cp.ElementwiseKernel(*code, "nnarray_entries")


@functools.lru_cache
def _of_entries(entry: Callable[..., Any], dtype: Any) -> tuple[Any, tuple[float, ...]] | None:
    """The kernel of an elementwise loss and its constants; a method is known by its object, whatever that equals."""
    program = program_of(entry, dtype)
    return program and (_launch_of_entries(sources.source_of_entries(program)), program.lifted()[1])


@kernels.mean_of_entries.fast("cupy")
def mean_of_entries(outputs: Any, target: Any, entry: Callable[..., Any]) -> tuple[Any, Any]:
    """Terms and derivatives in one launch."""
    alike = outputs.dtype == target.dtype and outputs.shape == target.shape
    found = _of_entries(entry, outputs.dtype) if alike and _is_float32_or_more(outputs) else None
    if found is None:
        return kernels.mean_of_entries.definition(outputs, target, entry)
    launch, constants = found
    shape = outputs.shape[0], math.prod(outputs.shape[1:])
    terms, gradient = launch(outputs, target, float(shape[1]), *constants)
    terms = terms.reshape(shape)
    return terms[:, 0] if shape[1] == 1 else terms.sum(axis=1), gradient
