"""Normalisation, dropout, and the local response of channels."""

from __future__ import annotations

import math
from typing import Any

from nnarray.onnx.operators.common import Call, at, axes_of, axis_of, kind, space, whole, widened
from nnarray.onnx.operators.convolution import with_axes
from nnarray.onnx.operators.table import operator

SCALE_AND_SHIFT = {1: "ones", 2: "zeros"}


def _as(x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else space(x).astype(x, dtype)


@operator("BatchNormalization", 9, weights=SCALE_AND_SHIFT)
def batch_normalization(
    call: Call,
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) scale + bias, with stored statistics or those of the batch."""
    xp = space(x, scale)
    if training_mode:
        axes = tuple(i for i in range(x.ndim) if i != 1)
        own, spread = xp.mean(x, axis=axes), xp.var(x, axis=axes)
        running = [
            _as(old * momentum, new.dtype) + new * (1.0 - momentum) for old, new in ((mean, own), (variance, spread))
        ]
        mean, variance = own, spread
    else:
        running = [mean, variance]
    if any(tuple(each.shape) != tuple(x.shape[1:2]) for each in (scale, bias, mean, variance)):
        raise ValueError(f"{x.shape[1]} channels do not fit statistics of {scale.shape[0]}")
    factor = scale / xp.sqrt(_as(variance, scale.dtype) + epsilon)
    shift = bias - _as(mean, scale.dtype) * factor
    y = x * _as(with_axes(factor, x.ndim), x.dtype) + _as(with_axes(shift, x.ndim), x.dtype)
    return y, *running


def normalised(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """(x - mean) / sqrt(variance + epsilon) over axes, the mean, and the factor."""
    xp = space(x)
    mean = xp.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    factor = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=axes, keepdims=True) + epsilon)
    return centred * factor, mean, factor


@operator("LayerNormalization", 17, weights=SCALE_AND_SHIFT)
def layer_normalization(
    call: Call, x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Normalisation of each example over the axes from one on."""
    axes = tuple(range(axis_of(axis, x.ndim), x.ndim))
    wide = _as(x, call.dtype(stash_type)) if kind(x) == "float16" else x
    y, mean, factor = normalised(wide, axes, epsilon)
    y = _as(y, x.dtype) * scale
    return (y if bias is None else y + bias), mean, factor


@operator("RMSNormalization", 23, weights={1: "ones"})
def rms_normalization(
    call: Call, x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """`x` divided by the root of the mean of its squares over the axes from one on."""
    axes = tuple(range(axis_of(axis, x.ndim), x.ndim))
    wide = _as(x, call.dtype(stash_type)) if kind(x) == "float16" else x
    xp = space(wide)
    y = wide / xp.sqrt(xp.mean(wide * wide, axis=axes, keepdims=True) + epsilon)
    return _as(y, x.dtype) * scale


@operator("InstanceNormalization", 6, weights=SCALE_AND_SHIFT)
def instance_normalization(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    """Normalisation of each channel of each example."""
    y, _, _ = normalised(x, tuple(range(2, x.ndim)), epsilon)
    return y * with_axes(scale, x.ndim) + with_axes(bias, x.ndim)


def _in_groups(x: Any, groups: int, epsilon: float) -> Any:
    parts = space(x).reshape(x, (x.shape[0], groups, -1))
    return normalised(parts, (2,), epsilon)[0]


@operator("GroupNormalization", 18, weights=SCALE_AND_SHIFT)
def group_normalization_by_group(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5, num_groups: int) -> Any:
    """Normalisation over groups of channels; each group has a scale and a bias."""
    y = _in_groups(x, num_groups, epsilon)
    return space(x).reshape(y * with_axes(scale, 3) + with_axes(bias, 3), tuple(x.shape))


@operator("GroupNormalization", 21, weights=SCALE_AND_SHIFT)
def group_normalization(
    x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Any:
    """Normalisation over groups of channels; each channel has a scale and a bias."""
    y = space(x).reshape(_in_groups(x, num_groups, epsilon), tuple(x.shape))
    return y * with_axes(scale, x.ndim) + with_axes(bias, x.ndim)


@operator("MeanVarianceNormalization", 9)
def mean_variance_normalization(x: Any, *, axes: Any = (0, 2, 3)) -> Any:
    """(x - mean) / standard deviation over axes."""
    xp, chosen = space(x), axes_of(axes, x.ndim)
    mean = xp.mean(x, axis=chosen, keepdims=True)
    spread = xp.sqrt(xp.mean(x * x, axis=chosen, keepdims=True) - mean * mean)
    return (x - mean) / (spread + 1e-9)


@operator("LRN")
def lrn(x: Any, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Any:
    """`x` divided by a power of the sum of squares of neighbouring channels."""
    before, channels = (size - 1) // 2, x.shape[1]
    squares = widened(x * x, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total: Any = None
    for i in range(size):
        term = squares[at(1, slice(i, i + channels))]
        total = term if total is None else total + term
    return x / (bias + total * (alpha / size)) ** beta


@operator("Dropout")
def dropout_by_setting(call: Call, x: Any, *, ratio: float = 0.5, is_test: int = 1) -> Any:
    """The same at inference, and a mask that is true everywhere."""
    return x, call.full(tuple(x.shape), True, call.dtype("bool"))


@operator("Dropout", 12, reads=(1, 2))
def dropout(call: Call, x: Any, ratio: Any = None, training: Any = None, *, seed: int | None = None) -> Any:
    """The same at inference; in training mode some entries become 0, and the others larger."""
    share = 0.5 if ratio is None else float(ratio.reshape(-1)[0])
    if training is None or not bool(training.reshape(-1)[0]) or not share:
        return x, call.full(tuple(x.shape), True, call.dtype("bool"))
    kept = call.uniform(tuple(x.shape), "float32", seed) >= share
    xp = space(x)
    return xp.where(kept, x / (1.0 - share), xp.zeros_like(x)), kept


__all__ = ["math", "normalised", "whole"]
