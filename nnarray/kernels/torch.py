"""PyTorch's own versions of what the standard has to compose."""

from __future__ import annotations

import math
from typing import Any

import torch

from nnarray import kernels
from nnarray.kernels.standard.normalisation import normalised
from nnarray.kernels.standard.windows import Window, cropped, padded

kernels.erfc.fast("torch")(torch.special.erfc)


def _first(x: Any) -> Any:
    """Channels first by strides alone: PyTorch's `channels_last` memory, without a copy."""
    return x.permute(0, 3, 1, 2)


def _settings(x: Any, window: Window) -> tuple[Any, list[int]]:
    """The pictures and the padding that PyTorch can add itself, which is the same on both sides."""
    if all(before == after for before, after in window.padding):
        return x, [window.padding[0][0], window.padding[1][0]]
    return padded(x, window.padding), [0, 0]


@kernels.drawn_in.fast("torch")
def drawn_in(gradient: Any, square: Any, *, decay: float) -> Any:
    """On the host at a look, what it usually is: the gradient as it is."""
    if gradient.device.type == "cpu" and math.isfinite(torch.dot(gradient, gradient)):
        return gradient
    return kernels.drawn_in.definition(gradient, square, decay=decay)


@kernels.normalise.fast("torch")
def normalise(x: Any, *, axes: tuple[int, ...], epsilon: float) -> Any:
    """On the host without scales, where it turns out that none are needed."""
    if x.device.type == "cpu":
        found: Any = normalised(x, axes=axes, epsilon=epsilon)
        if bool((found[1] > 0).all()):
            return found
    return kernels.normalise.definition(x, axes=axes, epsilon=epsilon)


@kernels.convolution.fast("torch")
def convolution(x: Any, weight: Any, bias: Any, *, window: Window, groups: int = 1) -> Any:
    """PyTorch's own."""
    wide, padding = _settings(x, window)
    y = torch.nn.functional.conv2d(
        _first(wide), weight.permute(3, 2, 0, 1), bias, window.stride, padding, window.dilation, groups
    )
    return y.permute(0, 2, 3, 1)


@kernels.convolution_pullback.fast("torch")
def convolution_pullback(
    dy: Any, x: Any, weight: Any, *, window: Window, groups: int = 1, input_gradient: bool = True
) -> Any:
    """PyTorch's own."""
    wide, padding = _settings(x, window)
    dx, dw, db = torch.ops.aten.convolution_backward(
        _first(dy),
        _first(wide),
        weight.permute(3, 2, 0, 1),
        [weight.shape[3]],
        window.stride,
        padding,
        window.dilation,
        False,
        [0, 0],
        groups,
        [input_gradient, True, True],
    )
    if input_gradient:
        dx = dx.permute(0, 2, 3, 1)
        dx = dx if wide is x else cropped(dx, window.padding)
    return dx if input_gradient else None, dw.permute(2, 3, 1, 0), db
