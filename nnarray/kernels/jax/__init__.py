"""JAX's own versions of kernels that the standard composes from several functions."""

from __future__ import annotations

from typing import Any

import jax

from nnarray import kernels
from nnarray.backends import is_traced, stands_in
from nnarray.kernels.standard.lookup import whole
from nnarray.kernels.standard.normalisation import normalised
from nnarray.kernels.standard.numerics import at_least_float32, at_least_float32_dtype
from nnarray.kernels.standard.windows import Window

kernels.erfc.fast("jax")(jax.scipy.special.erfc)
kernels.relu.fast("jax")(jax.nn.relu)  # this and the next: with JAX's own derivatives at 0
kernels.softplus.fast("jax")(jax.nn.softplus)
kernels.threefry.fast("jax")(jax.jit(kernels.threefry.definition))  # a hundred operations in one program


@kernels.after.fast("jax")
def after(x: Any, first: Any) -> Any:
    """XLA's barrier."""
    return jax.lax.optimization_barrier((x, first))[0]


@kernels.held.fast("jax")
def held(x: Any, mask: Any) -> Any:
    """With a gradient that is stopped at these entries."""
    return x if mask is None or not stands_in(x) else jax.numpy.where(mask, jax.lax.stop_gradient(x), x)


@kernels.normalise.fast("jax")
def normalise(x: Any, *, axes: tuple[int, ...], epsilon: float) -> Any:
    """The version without scales, used if none are needed."""
    normal: Any = normalised(x, axes=axes, epsilon=epsilon)
    usual = (normal[1] > 0).all()

    def scaled() -> Any:
        return kernels.normalise.definition(x, axes=axes, epsilon=epsilon)

    if not is_traced(x):
        return normal if usual else scaled()
    if x.dtype.itemsize < 4:
        return normal  # in float32, squares of float16 do not overflow
    inverse, mean, variance = jax.lax.cond(usual, lambda: normal[1:], lambda: scaled()[1:])
    return (x - mean) * inverse, inverse, mean, variance


@kernels.convolution.fast("jax")
def convolution(x: Any, weight: Any, bias: Any, *, window: Window, groups: int = 1) -> Any:
    """XLA's own."""
    y = jax.lax.conv_general_dilated(
        x,
        weight,
        window.stride,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return y if bias is None else y + bias


@kernels.convolution_pullback.fast("jax")
def convolution_pullback(
    dy: Any, x: Any, weight: Any, *, window: Window, groups: int = 1, input_gradient: bool = True
) -> Any:
    """XLA's own, by JAX's derivative of the convolution."""

    def forward(x: Any, weight: Any) -> Any:
        return convolution(x, weight, None, window=window, groups=groups)

    db = dy.reshape(-1, dy.shape[-1]).sum(axis=0)
    if not input_gradient:
        return None, jax.vjp(lambda w: forward(x, w), weight)[1](dy)[0], db
    dx, dw = jax.vjp(forward, x, weight)[1](dy)
    return dx, dw, db


@kernels.block.fast("jax")
def block(x: Any, first: Any, *, count: int) -> Any:
    """XLA's slice, which reads rows without a table of their numbers."""
    return jax.lax.dynamic_slice_in_dim(x, first, count)


@kernels.scatter_add.fast("jax")
def scatter_add(rows: Any, index: Any, *, count: int) -> Any:
    """XLA's own on the host, row after row; on a GPU its order is not deterministic."""

    def one_by_one(rows: Any, index: Any) -> Any:
        index = whole(index)
        at = jax.numpy.where((index >= 0) & (index < count), index, count)
        found = jax.numpy.zeros((count, rows.shape[1]), dtype=at_least_float32_dtype(jax.numpy, rows.dtype))
        return found.at[at].add(at_least_float32(rows), mode="drop").astype(rows.dtype)

    def sorted_first(rows: Any, index: Any) -> Any:
        return kernels.scatter_add.definition(rows, index, count=count)

    return jax.lax.platform_dependent(rows, index, cpu=one_by_one, default=sorted_first)
