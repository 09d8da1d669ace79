"""Numbers in a few bits: y = (q - zero point) scale, with integers q."""

from __future__ import annotations

import math
from typing import Any

from nnarray.backends import namespace
from nnarray.onnx.operators.common import Call, axis_of, is_float, kind, room, space
from nnarray.onnx.operators.convolution import convolved
from nnarray.onnx.operators.table import operator
from nnarray.onnx.operators.windows import Windows
from nnarray.recording import Traced

RANGES = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
SIGNIFICANT = {"float32": 24, "float64": 53}
"""The bits of integers that real numbers hold exactly."""


def _along(parameter: Any, x: Any, axis: int, block: int) -> Any:
    """A scale or a zero point in a shape that broadcasts with x: for all, for each part of an axis, or for blocks."""
    if parameter is None or parameter.ndim == 0 or math.prod(parameter.shape) == 1:
        return parameter if parameter is None else space(parameter).reshape(parameter, ())
    xp, axis = space(parameter), axis_of(axis, x.ndim)
    if parameter.ndim == 1 and not block:
        shape = [1] * x.ndim
        shape[axis] = parameter.shape[0]
        return xp.reshape(parameter, tuple(shape))
    repeated = xp.repeat(parameter, block, axis=axis)
    return repeated[(*(slice(None),) * axis, slice(0, x.shape[axis]), ...)]


@operator("QuantizeLinear", 10)
def quantize_linear(
    call: Call,
    x: Any,
    scale: Any,
    zero: Any = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Any:
    """The nearest integers to x / scale, moved by the zero point."""
    xp, dtype = space(x), zero.dtype if zero is not None else call.dtype(output_dtype or "uint8")
    low, high = RANGES[_name(call, zero, output_dtype)]
    scale = _along(scale, x, axis, block_size)
    q = xp.round(_quotient(_same(x, scale), scale))
    if zero is not None:
        q = q + space(zero).astype(_along(zero, x, axis, block_size), q.dtype)
    return xp.astype(xp.clip(q, low, high), dtype)


def _quotient(x: Any, scale: Any) -> Any:
    """x / scale, rounded once: a compiler would multiply by the inverse of a single number, which rounds twice."""
    if not any(isinstance(each, Traced) for each in (x, scale)):
        scale = space(scale).broadcast_to(scale, x.shape)
    return x / scale


def _same(x: Any, scale: Any) -> Any:
    if not is_float(x):
        return space(x).astype(x, scale.dtype)
    return x if x.dtype == scale.dtype else space(x).astype(x, scale.dtype)


def _name(call: Call, zero: Any, number: int) -> str:
    name = (
        kind(zero) if zero is not None else {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}.get(number, "")
    )
    if name in ("int32", "int64"):  # what stands for uint16 where a library has no such dtype
        name = "uint16"
    if name not in RANGES:
        raise ValueError(f"integers of dtype {name or number} are not supported here; use one of {', '.join(RANGES)}")
    return name


@operator("DequantizeLinear", 10)
def dequantize_linear(
    call: Call, x: Any, scale: Any, zero: Any = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0
) -> Any:
    """(x - zero point) scale."""
    xp, wide = space(x), scale.dtype
    scale = _along(scale, x, axis, block_size)
    y = xp.astype(x, wide)
    if zero is not None:
        y = y - xp.astype(_along(zero, x, axis, block_size), wide)
    y = y * scale
    return call.cast(y, output_dtype) if output_dtype else y


@operator("DynamicQuantizeLinear", 11)
def dynamic_quantize_linear(call: Call, x: Any) -> Any:
    """`x` as bytes without a sign, with a scale and a zero point that its range gives."""
    xp = space(x)
    zero = xp.zeros((), dtype=x.dtype, device=call.backend.device)
    low, high = xp.minimum(xp.min(x), zero), xp.maximum(xp.max(x), zero)
    scale = (high - low) / 255.0
    safe = xp.where(scale == 0, xp.ones_like(scale), scale)
    point = xp.clip(xp.round(-low / safe), 0.0, 255.0)
    q = xp.clip(xp.round(_quotient(x, safe)) + point, 0.0, 255.0)
    dtype = call.dtype("uint8")
    return xp.astype(q, dtype), scale, xp.astype(point, dtype)


def centred(x: Any, zero: Any, dtype: Any, *, is_row: bool) -> Any:
    """The integers minus their zero point, as real numbers, which hold them exactly."""
    xp = space(x)
    y = xp.astype(x, dtype)
    if zero is None:
        return y
    point = xp.astype(zero, dtype)
    if point.ndim == 1 and math.prod(point.shape) > 1:
        point = xp.reshape(point, (-1, 1)) if is_row else point
    elif point.ndim < 2:
        point = xp.reshape(point, ())
    return y - point


def integer_product(call: Call, a: Any, b: Any) -> Any:
    """The product of matrices of small integers, exactly: in parts whose sums real numbers hold.

    Libraries multiply real numbers many times faster than integers. Each entry is at most 255, so that sums of 256
    products stay below 2^24.
    """
    xp, size = space(a, b), a.shape[-1]
    most = 2 ** SIGNIFICANT[kind(a)] // (255 * 255)
    wide = call.dtype("int32")
    if size <= most:
        return xp.astype(xp.matmul(a, b), wide)
    total = None
    for start in range(0, size, most):
        part = slice(start, start + most)
        term = xp.astype(xp.matmul(a[..., part], b[..., part, :]), wide)
        total = term if total is None else total + term
    return total


@operator("MatMulInteger", 10)
def matmul_integer(call: Call, a: Any, b: Any, a_zero: Any = None, b_zero: Any = None) -> Any:
    """The product of matrices of bytes, as integers."""
    dtype = call.dtype("float32") if call.place.real != "float16" else call.backend.xp.float32
    left, right = centred(a, a_zero, dtype, is_row=True), centred(b, b_zero, dtype, is_row=False)
    return integer_product(call, left, right)


def _requantised(call: Call, y: Any, factor: Any, zero: Any) -> Any:
    xp = space(y)
    low, high = RANGES[_name(call, zero, 0)]
    q = xp.round(xp.astype(y, factor.dtype) * factor) + xp.astype(zero, factor.dtype)
    return xp.astype(xp.clip(q, low, high), zero.dtype)


@operator("QLinearMatMul", 10)
def qlinear_matmul(
    call: Call, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, y_scale: Any, y_zero: Any
) -> Any:
    """The product of matrices of bytes, as bytes."""
    y = matmul_integer(call, a, b, a_zero, b_zero)
    wide = call.backend.xp.float32
    factor = (
        namespace(y).astype(a_scale, wide) * namespace(y).astype(b_scale, wide) / namespace(y).astype(y_scale, wide)
    )
    if factor.ndim == 1 and math.prod(factor.shape) == 1:
        factor = space(factor).reshape(factor, ())
    return _requantised(call, y, factor, y_zero)


def _convolved(call: Call, x: Any, weight: Any, x_zero: Any, w_zero: Any, settings: dict[str, Any]) -> Any:
    dtype = call.backend.xp.float64 if "float64" in call.backend.dtypes else call.backend.xp.float32
    windows = Windows.over(
        x.shape[2:],
        weight.shape[2:],
        settings["strides"],
        settings["dilations"],
        settings["pads"],
        settings["auto_pad"],
    )
    filters = centred(weight, None, dtype, is_row=False)
    if w_zero is not None:
        point = space(w_zero).astype(w_zero, dtype)
        shape = (-1, *[1] * (weight.ndim - 1)) if math.prod(w_zero.shape) > 1 else ()
        filters = filters - space(point).reshape(point, shape)
    return call.cast(convolved(centred(x, x_zero, dtype, is_row=False), filters, windows, settings["group"]), "int32")


@operator("ConvInteger", 10)
def conv_integer(
    call: Call,
    x: Any,
    weight: Any,
    x_zero: Any = None,
    w_zero: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """The convolution of bytes, as integers."""
    settings = {"auto_pad": auto_pad, "dilations": dilations, "group": group, "pads": pads, "strides": strides}
    return _convolved(call, x, weight, x_zero, w_zero, settings)


@operator("QLinearConv", 10)
def qlinear_conv(
    call: Call,
    x: Any,
    x_scale: Any,
    x_zero: Any,
    weight: Any,
    w_scale: Any,
    w_zero: Any,
    y_scale: Any,
    y_zero: Any,
    bias: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """The convolution of bytes, as bytes."""
    settings = {"auto_pad": auto_pad, "dilations": dilations, "group": group, "pads": pads, "strides": strides}
    y = _convolved(call, x, weight, x_zero, w_zero, settings)
    if bias is not None:
        y = y + space(bias).reshape(bias, (-1, *[1] * (x.ndim - 2)))
    factor = x_scale * w_scale / y_scale
    shape = (-1, *[1] * (x.ndim - 2)) if math.prod(factor.shape) > 1 else ()
    return _requantised(call, y, space(factor).reshape(factor, shape), y_zero)


__all__ = ["room"]
