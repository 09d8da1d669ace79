"""The affine map of a dense layer, and its pullback."""

from __future__ import annotations

from nnarray.backends import namespace
from nnarray.kernels.functions import Function
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import sum_of_rows
from nnarray.typing import Array


@kernel
def affine(x: Array, weight: Array, bias: Array | None) -> Array:
    """y = x W + b.

    Parameters
    ----------
    x : array, shape (..., fan_in)
    weight : array, shape (fan_in, units)
    bias : array, shape (units,), or None

    Returns
    -------
    array, shape (..., units)
    """
    product = namespace(x).matmul(x, weight)
    return product if bias is None else product + bias


@kernel
def affine_pullback(
    dy: Array, x: Array, weight: Array, *, input_gradient: bool = True, bias_gradient: bool = True
) -> tuple[Array | None, Array, Array | None]:
    """dx = dy W^T, dW = x^T dy, db = sum of dy over all axes but the last.

    Parameters
    ----------
    dy : array, shape (..., units)
    x : array, shape (..., fan_in)
    weight : array, shape (fan_in, units)
    input_gradient : bool
        False leaves out dx and returns None instead: the first layer does not need it.
    bias_gradient : bool
        The same for db, which a layer without a bias does not need.
    """
    xp = namespace(dy)
    rows = xp.reshape(dy, (-1, dy.shape[-1]))
    inputs = xp.reshape(x, (-1, x.shape[-1]))
    dx = xp.matmul(dy, weight.T) if input_gradient else None
    return dx, xp.matmul(inputs.T, rows), sum_of_rows(rows) if bias_gradient else None


@kernel
def activated_affine(x: Array, weight: Array, bias: Array | None, *, function: Function) -> tuple[Array | None, Array]:
    """z = x W + b and y = f(z): what a dense layer computes.

    Returns
    -------
    z : array, shape (..., units), or None
        None if the pullback of f reads y only.
    y : array, shape (..., units)
    """
    z = affine(x, weight, bias)
    y = function.value(z)
    return None if function.from_output else z, y


@kernel
def activated_affine_pullback(
    dy: Array,
    x: Array,
    weight: Array,
    z: Array | None,
    y: Array,
    *,
    function: Function,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> tuple[Array | None, Array, Array | None]:
    """dx, dW and db of y = f(x W + b), from dz = f_pullback(dy, z, y)."""
    dz = function.pullback(dy, z, y)
    return affine_pullback(dz, x, weight, input_gradient=input_gradient, bias_gradient=bias_gradient)
