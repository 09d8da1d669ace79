"""The affine map of CuPy arrays, with what comes right after it and before its pullback.

One product, whatever the number of axes; bias and activation in one launch, made of the row of the table of functions;
the activation's pullback and the sum of the bias gradient in another one.
"""

from __future__ import annotations

import functools
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.backends.cupy_products import matmul
from nnarray.kernels.cupy.sources import THREADS, source_of_biased, source_of_gradient_and_sums
from nnarray.kernels.expressions import Program
from nnarray.kernels.functions import Function

cp: Any = cupy

LENGTH = 1024  # rows that one block adds up: more are split, and their sums are added in a second launch


@kernels.affine.fast("cupy")
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """All rows in one product, for CuPy takes one for each row of images; the bias is added in place."""
    y = matmul(x.reshape(-1, x.shape[-1]), weight)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[1])


@kernels.affine_pullback.fast("cupy")
def affine_pullback(dy: Any, x: Any, weight: Any, *, input_gradient: bool = True, bias_gradient: bool = True) -> Any:
    """One product each."""
    rows = dy.reshape(-1, dy.shape[-1])
    db = rows.sum(axis=0, dtype=dy.dtype) if bias_gradient else None
    return *_products(rows, x, weight, dy.shape[:-1], input_gradient), db


def _products(rows: Any, x: Any, weight: Any, leading: tuple[int, ...], input_gradient: bool) -> tuple[Any, Any]:
    """dx and dW."""
    dx = matmul(rows, weight.T).reshape(*leading, weight.shape[0]) if input_gradient else None
    return dx, matmul(x.reshape(-1, x.shape[-1]).T, rows)


@kernels.activated_affine.fast("cupy")
def activated_affine(x: Any, weight: Any, bias: Any, *, function: Function) -> Any:
    """A product, and a launch for all that follows."""
    product = matmul(x.reshape(-1, x.shape[-1]), weight)
    return activated(product, bias, function, (*x.shape[:-1], weight.shape[1]))


@kernels.activated_affine_pullback.fast("cupy")
def activated_affine_pullback(
    dy: Any,
    x: Any,
    weight: Any,
    z: Any,
    y: Any,
    *,
    function: Function,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> Any:
    """A launch for dz and db, and the products."""
    dz, db = (gradient_and_sums if bias_gradient else gradient_alone)(dy, z, y, function)
    return *_products(dz.reshape(-1, dy.shape[-1]), x, weight, dy.shape[:-1], input_gradient), db


# --- What surrounds a product ----------------------------------------------------------------------------------------


def _dtype(x: Any) -> Any:
    """In which dtype programs of its entries are recorded: half precision is computed in float32, and rounded once."""
    return x.dtype if x.dtype.itemsize >= 4 else cp.dtype("float32")


def activated(product: Any, bias: Any, function: Function, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """z = product + bias, or None if f's pullback reads y only, and y = f(z); the product is consumed."""
    if not function.elementwise or product.dtype != getattr(bias, "dtype", product.dtype):
        z = (product if bias is None else product + bias).reshape(shape)
        return None if function.from_output else z, function.value(z)
    kept = not function.from_output
    launch = _biased(function.value_program(_dtype(product)), bias is not None, kept)
    given = (product,) if bias is None else (product, bias, bias.size)
    y = cp.empty_like(product) if kept else product
    if launch is not None:
        launch(*given, *((product, y) if kept else (y,)))
    return product.reshape(shape) if kept else None, y.reshape(shape)


@functools.lru_cache
def _biased(program: Program, has_bias: bool, keeps_z: bool) -> Any:
    """The kernel, or None where there is nothing to do."""
    if not (has_bias or keeps_z or program.operations):
        return None
    return cp.ElementwiseKernel(*source_of_biased(program, has_bias, keeps_z), "nnarray_biased")


def gradient_alone(dy: Any, z: Any, y: Any, function: Function) -> tuple[Any, None]:
    """dz = f_pullback(dy, z, y), where nobody reads its sums."""
    return function.pullback(dy, z, y), None


def gradient_and_sums(dy: Any, z: Any, y: Any, function: Function) -> tuple[Any, Any]:
    """dz = f_pullback(dy, z, y), and its sums over all axes but the last."""
    units = dy.shape[-1]
    same = all(each is None or each.dtype == dy.dtype for each in (z, y))
    program = function.backward_program(_dtype(dy)) if function.elementwise and same else None
    if program is None or not program.operations or not dy.size:
        dz: Any = function.pullback(dy, z, y)
        return dz, dz.reshape(-1, units).sum(axis=0, dtype=dz.dtype)
    read = [cp.ascontiguousarray(each) for i, each in enumerate((dy, z, y)) if program.reads(i)]
    rows, lanes = dy.size // units, min(32, 1 << (units - 1).bit_length())
    chunks, across = -(-rows // LENGTH), -(-units // lanes)
    dz = cp.empty(dy.shape, dtype=dy.dtype)
    sums = cp.empty((chunks, units), dtype=_dtype(dy))
    size = chunks * across * THREADS
    _summed(program)(*read, rows, units, lanes, LENGTH, dz, sums, size=size, block_size=THREADS)
    total = sums[0] if chunks == 1 else sums.sum(axis=0)
    return dz, total.astype(dy.dtype, copy=False)


@functools.lru_cache
def _summed(program: Program) -> Any:
    return cp.ElementwiseKernel(*source_of_gradient_and_sums(program), "nnarray_gradient_and_sums")
