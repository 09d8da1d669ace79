"""Convolutions along any number of axes, channels first as files have them, by the kernels of layers where they fit."""

from __future__ import annotations

import math
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of
from nnarray.kernels.standard.windows import Window
from nnarray.onnx.operators.common import Call, grown, space, whole, widened
from nnarray.onnx.operators.table import operator
from nnarray.onnx.operators.windows import Windows
from nnarray.recording import custom_gradient

WEIGHTS = {1: "he", 2: "zeros"}


@operator("Conv", weights=WEIGHTS)
def conv(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """The convolution of signals, images or volumes."""
    if x.ndim != weight.ndim or x.ndim < 3:
        raise ValueError(f"inputs of shape {tuple(x.shape)} do not fit filters of shape {tuple(weight.shape)}")
    refuse_channels(x.shape[1], shape=tuple(weight.shape), groups=group)
    windows = Windows.over(x.shape[2:], weight.shape[2:], strides, dilations, pads, auto_pad)
    y = convolved(x, weight, windows, group)
    return y if bias is None else y + with_axes(bias, x.ndim)


def refuse_channels(channels: int, *, shape: tuple[int, ...], groups: int) -> None:
    """Refuse inputs with other channels than filters of this shape take.

    Raises
    ------
    ValueError
        If they differ.
    """
    if groups < 1 or channels != shape[1] * groups or shape[0] % groups:
        raise ValueError(f"{channels} channels in {groups} groups do not fit filters of shape {shape}")


def with_axes(bias: Any, ndim: int) -> Any:
    """A number for each channel, with the axes of the others."""
    return space(bias).reshape(bias, (-1, *[1] * (ndim - 2)))


def convolved(x: Any, weight: Any, windows: Windows, groups: int) -> Any:
    """The convolution without a bias."""
    xp = space(x, weight)
    if x.ndim == 3:
        ones: tuple[Any, ...] = (1, 1, 1, (0, 0), 1)
        fields: list[Any] = [(one, *each) for one, each in zip(ones, _fields(windows), strict=True)]
        flat = Windows(*fields)
        return convolved(x[:, :, None, :], weight[:, :, None, :], flat, groups)[:, :, 0, :]
    if x.ndim == 4:
        last = xp.permute_dims(x, (0, 2, 3, 1))
        filters = xp.permute_dims(weight, (2, 3, 1, 0))
        return xp.permute_dims(_of_images(last, filters, window_of(windows), groups), (0, 3, 1, 2))
    return _of_volumes(x, weight, windows, groups)


def _fields(windows: Windows) -> tuple[Any, ...]:
    return windows.size, windows.stride, windows.dilation, windows.pads, windows.positions


def window_of(windows: Windows) -> Window:
    """The windows of images as kernels take them."""
    size, stride, dilation, pads, _ = _fields(windows)
    return Window(size, stride, pads, dilation)


def _of_images(x: Any, weight: Any, window: Window, groups: int) -> Any:
    @custom_gradient
    def product(x: Any, weight: Any) -> Any:
        def pullback(dy: Any) -> Any:
            return kernels.convolution_pullback(dy, x, weight, window=window, groups=groups, bias_gradient=False)[:2]

        return kernels.convolution(x, weight, None, window=window, groups=groups), pullback

    return product(x, weight)


def _of_volumes(x: Any, weight: Any, windows: Windows, groups: int) -> Any:
    """A product for each position inside the window."""
    xp, filters = space(x, weight), weight.shape[0]
    x = widened(x, ((0, 0), (0, 0), *windows.pads))
    count, places, inside = x.shape[0], windows.positions, weight.shape[1]
    rows = (count, groups, inside, math.prod(places))
    total = None
    for tap in windows.taps():
        seen = xp.reshape(x[(slice(None), slice(None), *windows.key(tap))], rows)
        term = xp.matmul(
            xp.reshape(weight[(slice(None), slice(None), *tap)], (groups, filters // groups, inside)), seen
        )
        total = term if total is None else total + term
    return xp.reshape(total, (count, filters, *places))


@operator("ConvTranspose", weights=WEIGHTS)
def conv_transpose(
    call: Call,
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = None,
    output_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """The pullback of a convolution as a layer: each entry is spread over a window."""
    xp, ndim = space(x, weight), x.ndim - 2
    ones = (1,) * ndim
    stride, dilation, extra = tuple(strides or ones), tuple(dilations or ones), tuple(output_padding or (0,) * ndim)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(x.shape[2:], stride, reach, strict=True)]
    sides = _cut(x, full, stride, extra, pads, auto_pad, output_shape)
    for axis, step in enumerate(stride, start=2):
        x = _with_gaps(x, axis, step, call.place.most)
    edges = [(r - 1 - before, r - 1 - after + e) for r, e, (before, after) in zip(reach, extra, sides, strict=True)]
    x = widened(x, ((0, 0), (0, 0), *edges), most=call.place.most)
    turned = xp.flip(weight, axis=tuple(range(2, x.ndim)))
    inside, filters = weight.shape[0] // group, weight.shape[1]
    grouped = xp.reshape(turned, (group, inside, filters, *weight.shape[2:]))
    swapped = xp.permute_dims(grouped, (0, 2, 1, *range(3, grouped.ndim)))
    filters_first = xp.reshape(swapped, (group * filters, inside, *weight.shape[2:]))
    windows = Windows.over(x.shape[2:], weight.shape[2:], None, dilation, None, "NOTSET")
    y = convolved(x, filters_first, windows, group)
    return y if bias is None else y + with_axes(bias, x.ndim)


def _cut(x: Any, full: Any, stride: Any, extra: Any, pads: Any, auto_pad: str, output_shape: Any) -> Any:
    """What is taken away on both sides of the full outputs."""
    ndim = len(full)
    if output_shape is not None:
        wanted = tuple(output_shape)[-ndim:]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * s for n, s in zip(x.shape[2:], stride, strict=True))
    else:
        given = tuple(pads) if pads and auto_pad == "NOTSET" else (0,) * (2 * ndim)
        return tuple(zip(given[:ndim], given[ndim:], strict=True))
    sides: list[tuple[int, int]] = []
    for n, e, w in zip(full, extra, wanted, strict=True):
        total = n + e - w
        less, more = total // 2, total - total // 2
        sides.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return tuple(sides)


def _with_gaps(x: Any, axis: int, step: int, most: int) -> Any:
    """`x` with zeros between the entries of an axis."""
    if step == 1:
        return x
    xp = space(x)
    grown((*x.shape[:axis], x.shape[axis] * step, *x.shape[axis + 1 :]), x, most)
    gaps = xp.zeros((*x.shape[: axis + 1], step - 1, *x.shape[axis + 1 :]), dtype=x.dtype, device=device_of(x))
    y = xp.concat([xp.expand_dims(x, axis=axis + 1), gaps], axis=axis + 1)
    y = xp.reshape(y, (*x.shape[:axis], x.shape[axis] * step, *x.shape[axis + 1 :]))
    return y[(*(slice(None),) * axis, slice(0, (x.shape[axis] - 1) * step + 1), ...)]


@operator("CausalConvWithState", 27, weights=WEIGHTS)
def causal_conv_with_state(x: Any, weight: Any, bias: Any = None, past: Any = None, *, activation: str = "none") -> Any:
    """The convolution of each channel with what came before, and the end of it for the next call."""
    xp, reach = space(x, weight), weight.shape[-1] - 1
    if past is None:
        past = xp.zeros((*x.shape[:-1], reach), dtype=x.dtype, device=device_of(x))
    whole_signal = xp.concat([past, x], axis=-1)
    windows = Windows.over(whole_signal.shape[2:], weight.shape[2:], None, None, None, "NOTSET")
    y = convolved(whole_signal, weight, windows, x.shape[1])
    y = y if bias is None else y + with_axes(bias, 3)
    if activation in ("silu", "swish"):
        y = y / (1.0 + xp.exp(-y))
    return y, whole_signal[:, :, whole_signal.shape[2] - reach :]


@operator("Col2Im", 18, reads=(1, 2))
def col2im(
    call: Call, x: Any, image: Any, block: Any, *, dilations: Any = None, pads: Any = None, strides: Any = None
) -> Any:
    """Columns of windows, added where the windows were."""
    xp, shape, size = space(x), whole(image), whole(block)
    windows = Windows.over(shape, size, strides, dilations, pads, "NOTSET")
    channels = x.shape[1] // math.prod(size)
    parts = xp.reshape(x, (x.shape[0], channels, math.prod(size), *windows.positions))
    total = None
    for i, tap in enumerate(windows.taps()):
        term, edges = parts[:, :, i, ...], [(0, 0), (0, 0)]
        for axis, (step, t, d, n, (before, after)) in enumerate(
            zip(windows.stride, tap, windows.dilation, shape, windows.pads, strict=True), start=2
        ):
            term = _with_gaps(term, axis, step, call.place.most)
            edges.append((t * d, n + before + after - t * d - term.shape[axis]))
        term = widened(term, edges, most=call.place.most)
        total = term if total is None else total + term
    key = tuple(slice(before, before + n) for n, (before, _) in zip(shape, windows.pads, strict=True))
    return total[(slice(None), slice(None), *key)] if total is not None else x
