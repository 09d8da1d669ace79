"""Spectra of signals, windows for them, and random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnarray.onnx.operators.common import Call, axis_of, floats, kind, space, whole, widened
from nnarray.onnx.operators.table import operator


def _matrices(call: Call, size: int, count: int, like: Any, *, inverse: bool) -> tuple[Any, Any]:
    """The cosines and sines of a discrete Fourier transform: shape (size, count)."""
    call.room((size, count))
    sign = 1.0 if inverse else -1.0
    angles = [[2.0 * math.pi * ((n * k) % size) / size for k in range(count)] for n in range(size)]
    parts = [[[f(a) for a in row] for row in angles] for f in (math.cos, math.sin)]
    cos, sin = (call.array(part, kind(like)) for part in parts)
    return cos, sign * sin


def _transformed(call: Call, x: Any, size: int, *, inverse: bool, onesided: bool) -> Any:
    """The transform along the last but one axis; the last one has the real and the imaginary part."""
    xp = space(x)
    length = x.shape[-2]
    pads = [*[(0, 0)] * (x.ndim - 2), (0, size - length), (0, 0)]
    x = widened(x, pads) if size != length else x
    is_half_given = onesided and inverse
    count = size if is_half_given or not onesided else size // 2 + 1
    cos, sin = _matrices(call, size, count, x, inverse=inverse)
    real = xp.matmul(x[..., 0][..., None, :], cos)[..., 0, :]
    imaginary = xp.matmul(x[..., 0][..., None, :], sin)[..., 0, :]
    if x.shape[-1] == 2:
        real = real - xp.matmul(x[..., 1][..., None, :], sin)[..., 0, :]
        imaginary = imaginary + xp.matmul(x[..., 1][..., None, :], cos)[..., 0, :]
    y = xp.stack([real, imaginary], axis=-1)
    return y / size if inverse else y


def _mirrored(x: Any, size: int) -> Any:
    """The whole spectrum of a real signal from its first half."""
    xp = space(x)
    rest = size - x.shape[-2]
    if rest <= 0:
        return x
    tail = xp.flip(x[..., 1 : rest + 1, :], axis=-2)
    tail = xp.stack([tail[..., 0], -tail[..., 1]], axis=-1)
    return xp.concat([x, tail], axis=-2)


def _dft(call: Call, x: Any, length: Any, axis: int, inverse: int, onesided: int) -> Any:
    axis, xp = axis_of(axis, x.ndim), space(x)
    moved = xp.moveaxis(x, axis, -2)
    half = bool(onesided and inverse)
    usual = 2 * (moved.shape[-2] - 1) if half else moved.shape[-2]
    size = usual if length is None else whole(length)[0]
    if half:
        moved = _mirrored(moved, size)
    y = _transformed(call, moved, size, inverse=bool(inverse), onesided=bool(onesided))
    y = y[..., :1] if half else y
    return xp.moveaxis(y, -2, axis)


@operator("DFT", 17, reads=(1,))
def dft_by_setting(
    call: Call, x: Any, length: Any = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Any:
    """The discrete Fourier transform along an axis."""
    return _dft(call, x, length, axis, inverse, onesided)


@operator("DFT", 20, reads=(1, 2))
def dft(call: Call, x: Any, length: Any = None, axis: Any = None, *, inverse: int = 0, onesided: int = 0) -> Any:
    """The discrete Fourier transform along an axis."""
    return _dft(call, x, length, -2 if axis is None else whole(axis)[0], inverse, onesided)


@operator("STFT", 17, reads=(1, 3))
def stft(call: Call, x: Any, step: Any, window: Any = None, length: Any = None, *, onesided: int = 1) -> Any:
    """The transforms of parts of a signal."""
    xp, hop = space(x), whole(step)[0]
    usual = x.shape[1] if window is None else window.shape[0]
    size = usual if length is None else whole(length)[0]
    count = (x.shape[1] - size) // hop + 1
    parts = xp.stack([x[:, i * hop : i * hop + size, :] for i in range(count)], axis=1)
    if window is not None:
        parts = parts * xp.reshape(window, (1, 1, size, 1))
    return _transformed(call, parts, size, inverse=False, onesided=bool(onesided) and x.shape[-1] == 1)


WINDOWS: dict[str, tuple[float, float, float]] = {
    "BlackmanWindow": (0.42, 0.5, 0.08),
    "HammingWindow": (25.0 / 46.0, 21.0 / 46.0, 0.0),
    "HannWindow": (0.5, 0.5, 0.0),
}
"""a - b cos(2 pi n / N) + c cos(4 pi n / N)."""


def _window(a: float, b: float, c: float) -> Callable[..., Any]:
    def function(call: Call, size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Any:
        (count,) = call.room(whole(size)[:1])
        period = count if periodic else max(count - 1, 1)
        angles = [2.0 * math.pi * n / period for n in range(count)]
        return call.array([a - b * math.cos(t) + c * math.cos(2 * t) for t in angles], output_datatype)

    return function


for _name, _numbers in WINDOWS.items():
    operator(_name, 17, reads=(0,))(_window(*_numbers))


@operator("MelWeightMatrix", 17, reads=(0, 1, 2, 3, 4))
def mel_weight_matrix(
    call: Call, bins: Any, length: Any, rate: Any, low: Any, high: Any, *, output_datatype: int = 1
) -> Any:
    """Triangles over frequencies, which are spread evenly on the mel scale."""
    count, size, samples = whole(bins)[0], whole(length)[0], whole(rate)[0]
    first, last = (2595.0 * math.log10(1.0 + floats(each)[0] / 700.0) for each in (low, high))
    spectrum = size // 2 + 1
    call.room((spectrum, count + 2))
    step = (last - first) / (count + 2)
    hertz = [700.0 * (10.0 ** ((first + i * step) / 2595.0) - 1.0) for i in range(count + 2)]
    edges = [math.floor((size + 1) * f / samples) for f in hertz]
    rows = [[0.0] * count for _ in range(spectrum)]
    for i in range(count):
        lower, centre, upper = edges[i : i + 3]
        if centre == lower:
            rows[centre][i] = 1.0
        for j in range(lower, centre + 1):
            rows[j][i] = (j - lower) / (centre - lower) if centre > lower else 1.0
        for j in range(centre, upper):
            rows[j][i] = (upper - j) / (upper - centre)
    return call.array(rows, output_datatype)


# --- Random numbers: the same for the same key ------------------------------------------------------------------------


@operator("Bernoulli", 15, is_pure=False)
def bernoulli(call: Call, x: Any, *, dtype: int | None = None, seed: float | None = None) -> Any:
    """1 with the probability x, else 0."""
    xp = space(x)
    drawn = xp.astype(call.uniform(tuple(x.shape), "float32", seed), x.dtype) < x
    return call.cast(drawn, kind(x) if dtype is None else dtype)


@operator("RandomNormal", is_pure=False)
def random_normal(
    call: Call, *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Any
) -> Any:
    """Normal numbers."""
    return call.normal(shape, dtype, seed) * scale + mean


@operator("RandomNormalLike", is_pure=False)
def random_normal_like(
    call: Call, x: Any, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Any:
    """Normal numbers in the shape of an array."""
    return call.normal(tuple(x.shape), kind(x) if dtype is None else dtype, seed) * scale + mean


@operator("RandomUniform", is_pure=False)
def random_uniform(
    call: Call, *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Any
) -> Any:
    """Numbers between two others."""
    return call.uniform(shape, dtype, seed) * (high - low) + low


@operator("RandomUniformLike", is_pure=False)
def random_uniform_like(
    call: Call, x: Any, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Any:
    """Numbers between two others, in the shape of an array."""
    return call.uniform(tuple(x.shape), kind(x) if dtype is None else dtype, seed) * (high - low) + low
