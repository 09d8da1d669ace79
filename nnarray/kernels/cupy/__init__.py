"""Faster versions for CuPy arrays: one launch where the definition takes several, written in place.

Built and checked without a GPU only: `make gpu-check` runs them against the definitions on one.
"""

from __future__ import annotations

import functools
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)
from cupyx.scipy import special  # pyright: ignore[reportMissingImports]

from nnarray import kernels
from nnarray.kernels.cupy import sources
from nnarray.kernels.expressions import recorded
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.registry import Kernel
from nnarray.kernels.standard.numerics import most

cp: Any = cupy
kernels.erfc.fast("cupy")(special.erfc)


@functools.cache
def _launch(name: str) -> Any:
    """The kernel of that name, compiled at its first call for each dtype."""
    code = sources.ELEMENTWISE[name]
    return cp.ElementwiseKernel(code.inputs, code.outputs, code.body, f"nnarray_{name}")


def _is_wide(x: Any) -> bool:
    return x.dtype.itemsize >= 4


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
        if options or not _is_wide(arrays[0]):
            return kernel.definition(*arrays, **options)
        launch, read = _of_program(kernel, inputs, arrays[0].dtype)
        return launch(*(arrays[i] for i in read))


for _name, _function in FUNCTIONS.items():
    if _function.elementwise and _name != "identity":
        _in_one_launch(kernels.TABLE[_name], 1)
        _in_one_launch(kernels.TABLE[f"{_name}_pullback"], 3)


@kernels.sgd_update.fast("cupy")
def sgd_update(theta: Any, gradient: Any, *, rate: Any) -> Any:
    """In place, in one launch."""
    _launch("sgd")(gradient, rate, theta)
    return theta


@kernels.momentum_update.fast("cupy")
def momentum_update(
    theta: Any, gradient: Any, velocity: Any, *, rate: Any, momentum: float, nesterov: bool
) -> Any:  # fmt: skip
    """In place, in one launch."""
    _launch("momentum")(gradient, rate, momentum, nesterov, theta, velocity)
    return theta, velocity


@kernels.adam_update.fast("cupy")
def adam_update(
    theta: Any,
    gradient: Any,
    mean: Any,
    square: Any,
    *,
    rate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    correction1: Any,
    correction2: Any,
) -> Any:
    """In place, in one launch; the corrections move into rate and epsilon."""
    if not _is_wide(theta):
        return kernels.adam_update.definition(
            theta, gradient, mean, square, rate=rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
            correction1=correction1, correction2=correction2,
        )  # fmt: skip
    root = correction2**0.5
    _launch("adam")(gradient, rate / correction1 * root, beta1, beta2, epsilon * root, most(theta), theta, mean, square)
    return theta, mean, square


@kernels.cross_entropy.fast("cupy")
def cross_entropy(logits: Any, target: Any) -> Any:
    """Loss and gradient in one launch, a thread a row, where rows are short."""
    classes = logits.shape[-1]
    if not (_is_wide(logits) and logits.dtype == target.dtype and 0 < classes <= sources.SHORT and logits.size):
        return kernels.cross_entropy.definition(logits, target)
    z, t = cp.ascontiguousarray(logits), cp.ascontiguousarray(target)
    gradient, losses = cp.empty_like(z), cp.empty(z.shape[:-1], dtype=z.dtype)
    limit = float(cp.finfo(z.dtype).max) / 2
    _launch("cross_entropy")(z, t, classes, limit, gradient, losses)
    return losses, gradient
