"""JAX's own versions of kernels that the standard composes from several functions."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from nnarray import kernels
from nnarray.backends import is_traced, stands_in
from nnarray.kernels.jax import recurrent
from nnarray.kernels.standard.lookup import whole
from nnarray.kernels.standard.normalisation import normalised
from nnarray.kernels.standard.numerics import at_least_float32, at_least_float32_dtype
from nnarray.kernels.standard.windows import Window

__all__ = ["recurrent"]

LAYOUT = ("NHWC", "HWIO", "NHWC")

kernels.erfc.fast("jax")(jax.scipy.special.erfc)
kernels.relu.fast("jax")(jax.nn.relu)  # this and the next: with JAX's own derivatives at 0
kernels.softplus.fast("jax")(jax.nn.softplus)
kernels.threefry.fast("jax")(jax.jit(kernels.threefry.definition))  # a hundred operations in one program


@kernels.after.fast("jax")
def after(x: Any, first: Any) -> Any:
    """XLA's barrier."""
    return jax.lax.optimization_barrier((x, first))[0]


@kernels.put.fast("jax")
def put(x: Any, key: Any, value: Any) -> Any:
    """JAX's arrays cannot be written to."""
    return x.at[key].set(value)


@kernels.held.fast("jax")
def held(x: Any, mask: Any) -> Any:
    """With a gradient that is stopped at these entries."""
    return x if mask is None or not stands_in(x) else jax.numpy.where(mask, jax.lax.stop_gradient(x), x)


@kernels.with_pullback.fast("jax")
def with_pullback(*inputs: Any, function: Any) -> Any:
    """As a function with rules of JAX; its pullback computes y once more, but not if it is compiled."""
    if not any(map(stands_in, inputs)):
        return function(*inputs)[0]
    value = jax.custom_vjp(lambda *inputs: function(*inputs)[0])
    value.defvjp(lambda *inputs: (value(*inputs), inputs), lambda inputs, dy: tuple(function(*inputs)[1](dy)))
    return value(*inputs)


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
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )
    return y if bias is None else y + bias


@kernels.convolution_pullback.fast("jax")
def convolution_pullback(
    dy: Any,
    x: Any,
    weight: Any,
    *,
    window: Window,
    groups: int = 1,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> Any:
    """XLA's own; on the host as convolutions in the layout that it has a fast way for, in a loop too.

    JAX's derivative swaps axes by their names. XLA makes that fast on the host, but not in the body of a loop, where it
    takes 20 to 100 times as long.
    """
    db = dy.reshape(-1, dy.shape[-1]).sum(axis=0) if bias_gradient else None
    form = partial(jax.lax.platform_dependent, dy, x, weight)
    settings = {"window": window, "groups": groups}
    dw = form(cpu=partial(_weight_gradient, **settings), default=partial(_by_jax, 1, **settings))
    if not input_gradient:
        return None, dw, db
    return form(cpu=partial(_input_gradient, **settings), default=partial(_by_jax, 0, **settings)), dw, db


def _by_jax(which: int, dy: Any, x: Any, weight: Any, *, window: Window, groups: int) -> Any:
    """The derivative by the inputs, or by the weight."""

    def forward(changed: Any) -> Any:
        given = (x, changed) if which else (changed, weight)
        return convolution(*given, None, window=window, groups=groups)

    return jax.vjp(forward, weight if which else x)[1](dy)[0]


def _weight_gradient(dy: Any, x: Any, weight: Any, *, window: Window, groups: int) -> Any:
    """The convolution of the images with dy as its window, where channels and examples have changed places."""
    sides = [
        (before, d * (k - 1) + s * (o - 1) + 1 - n - before) for (before, _), k, s, d, n, o in _axes(dy, x, window)
    ]
    dw = jax.lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        window.dilation,
        sides,
        rhs_dilation=window.stride,
        dimension_numbers=LAYOUT,
        batch_group_count=groups,
    )
    return dw.transpose(1, 2, 0, 3)


def _input_gradient(dy: Any, x: Any, weight: Any, *, window: Window, groups: int) -> Any:
    """The convolution of dy with turned filters, which have inputs and outputs changed over."""
    sides = [
        (d * (k - 1) - before, n - 1 + before - s * (o - 1)) for (before, _), k, s, d, n, o in _axes(dy, x, window)
    ]
    height, width, inputs, filters = weight.shape
    parts = weight[::-1, ::-1].reshape(height, width, inputs, groups, filters // groups)
    turned = parts.transpose(0, 1, 4, 3, 2).reshape(height, width, filters // groups, groups * inputs)
    return jax.lax.conv_general_dilated(
        dy,
        turned,
        (1, 1),
        sides,
        lhs_dilation=window.stride,
        rhs_dilation=window.dilation,
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


def _axes(dy: Any, x: Any, window: Window) -> Any:
    """Of height and width: padding, size, stride and dilation of the window, and the sizes of images and outputs."""
    return zip(window.padding, window.size, window.stride, window.dilation, x.shape[1:3], dy.shape[1:3], strict=True)


@kernels.block.fast("jax")
def block(x: Any, first: Any, *, count: int) -> Any:
    """XLA's slice, which reads rows without a table of their numbers."""
    return jax.lax.dynamic_slice_in_dim(x, first, count)


@kernels.inserted.fast("jax")
def inserted(x: Any, part: Any, first: Any, *, axis: int) -> Any:
    """XLA's own, which writes into x where a compiled function no longer needs it."""
    return jax.lax.dynamic_update_slice_in_dim(x, part, first, axis)


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
