"""Arrays in another size, axis by axis: which entries each new one is made of, and their weights, are known before."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from nnarray.backends import device_of
from nnarray.onnx.operators.common import Call, axes_of, floats, is_float, scalar, space, whole
from nnarray.onnx.operators.table import operator

WORK = 64
"""What is found out about a new entry of an axis takes as long as so many entries of an array."""


class Axis(NamedTuple):
    """How an axis is read: its old and new size, the factor between them, and the part of it that counts."""

    old: int
    new: int
    scale: float
    start: float = 0.0
    end: float = 1.0


class Way(NamedTuple):
    """The settings of all axes."""

    mode: str
    coordinates: str
    nearest: str
    a: float
    exclude_outside: bool
    antialias: bool
    extrapolation: float


def _coordinate(i: int, axis: Axis, how: str) -> float:
    """Where the new entry i lies among the old ones."""
    old, new, scale = axis.old, axis.new, axis.scale
    if how == "asymmetric":
        return i / scale
    if how == "align_corners":
        last = scale * old - 1.0  # of the size before it is rounded down
        return i * (old - 1) / last if last else 0.0
    if how == "tf_crop_and_resize":
        span = (axis.end - axis.start) * (old - 1)
        return axis.start * (old - 1) + i * span / (new - 1) if new > 1 else 0.5 * (axis.start + axis.end) * (old - 1)
    if how == "pytorch_half_pixel" and new == 1:
        return 0.0
    if how == "half_pixel_symmetric":
        adjustment = new / (scale * old)
        return old / 2 * (1 - adjustment) + (i + 0.5) / scale - 0.5
    if how in ("half_pixel", "pytorch_half_pixel"):
        return (i + 0.5) / scale - 0.5
    raise ValueError(f"the coordinate transformation {how!r} is not known")


def _nearest(x: float, how: str) -> int:
    if how == "round_prefer_floor":
        return math.ceil(x - 0.5)
    if how == "round_prefer_ceil":
        return math.floor(x + 0.5)
    return math.floor(x) if how == "floor" else math.ceil(x)


def _cubic(t: float, a: float) -> float:
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return (((t - 5) * t + 8) * t - 4) * a if t < 2 else 0.0


def _taps(x: float, axis: Axis, way: Way) -> list[tuple[int, float]]:
    """The old entries that a new one is made of, with weights whose sum is 1."""
    if way.mode == "nearest":
        return [(_nearest(x, way.nearest), 1.0)]
    squeeze = min(axis.scale, 1.0) if way.antialias else 1.0
    reach = (1 if way.mode == "linear" else 2) / squeeze
    low = math.floor(x)
    first = math.floor(-reach) + 1
    taps: list[tuple[int, float]] = []
    for i in range(low + first, low + 2 - first):
        distance = (i - x) * squeeze
        weight = max(1.0 - abs(distance), 0.0) if way.mode == "linear" else _cubic(distance, way.a)
        taps.append((i, 0.0 if way.exclude_outside and not 0 <= i < axis.old else weight))
    total = sum(weight for _, weight in taps) or 1.0
    return [(i, weight / total) for i, weight in taps]


def _along(x: Any, position: int, axis: Axis, way: Way) -> Any:
    """One axis in its new size."""
    xp = space(x)
    places = [_coordinate(i, axis, way.coordinates) for i in range(axis.new)]
    every = [_taps(place, axis, way) for place in places]
    count = max(map(len, every), default=0)
    every = [taps + [(0, 0.0)] * (count - len(taps)) for taps in every]
    shape = [1] * x.ndim
    shape[position] = axis.new
    y = None
    for t in range(count):
        numbers = [min(max(taps[t][0], 0), axis.old - 1) for taps in every]
        seen = xp.take(x, xp.asarray(numbers, device=device_of(x)), axis=position)
        if way.mode != "nearest":
            seen = seen * xp.reshape(scalar([taps[t][1] for taps in every], x), tuple(shape))
        y = seen if y is None else y + seen
    if way.coordinates == "tf_crop_and_resize":
        is_outside = [not 0 <= place <= axis.old - 1 for place in places]
        if any(is_outside):
            mask = xp.reshape(xp.asarray(is_outside, device=device_of(x)), tuple(shape))
            y = xp.where(mask, scalar(way.extrapolation, x), y)
    return y


def _resized(call: Call, x: Any, axes: dict[int, Axis], way: Way) -> Any:
    call.grown([axes[i].new if i in axes else n for i, n in enumerate(x.shape)], x)
    for axis in axes.values():
        call.room((axis.new, WORK))
    xp, dtype = space(x), x.dtype
    if way.mode != "nearest" and not is_float(x):
        x = xp.astype(x, xp.float32)
    for position, axis in axes.items():
        is_same = axis.old == axis.new and axis.scale == 1.0 and way.coordinates != "tf_crop_and_resize"
        if not is_same:
            x = _along(x, position, axis, way)
    return xp.astype(x, dtype, copy=False)


@operator("Resize", 10, reads=(1,))
def resize_by_scales(call: Call, x: Any, scales: Any, *, mode: str = "nearest") -> Any:
    """An array in another size."""
    return resize(call, x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


operator("Upsample", 9, reads=(1,))(resize_by_scales)


@operator("Resize", 11, reads=(1, 2, 3))
def resize(
    call: Call,
    x: Any,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    antialias: int = 0,
    axes: Any = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Any:
    """An array in another size: the nearest entries, or means of neighbours."""
    chosen = axes_of(axes, x.ndim)
    old = [x.shape[i] for i in chosen]
    crop = floats(roi) if roi is not None and math.prod(roi.shape) else (0.0,) * len(old) + (1.0,) * len(old)
    starts, ends = crop[: len(old)], crop[len(old) :]
    if scales is not None and math.prod(scales.shape):
        factors = list(floats(scales))
        is_crop = coordinate_transformation_mode == "tf_crop_and_resize"
        parts = [e - s if is_crop else 1.0 for s, e in zip(starts, ends, strict=True)]
        new = [math.floor(n * p * f + 1e-6) for n, p, f in zip(old, parts, factors, strict=True)]
    else:
        new, factors = _sizes(old, whole(sizes), keep_aspect_ratio_policy)
    if min([*factors, *new], default=1) <= 0:
        raise ValueError(f"the scales and sizes of Resize must be above 0; got {factors} and {new}")
    way = Way(
        {"bilinear": "linear"}.get(mode, mode),
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias),
        extrapolation_value,
    )
    each = zip(chosen, old, new, factors, starts, ends, strict=True)
    return _resized(call, x, {i: Axis(n, m, f, s, e) for i, n, m, f, s, e in each}, way)


def _sizes(old: list[int], sizes: tuple[int, ...], policy: str) -> tuple[list[int], list[float]]:
    factors = [m / n for n, m in zip(old, sizes, strict=True)]
    if policy == "stretch":
        return list(sizes), factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [math.floor(factor * n + 0.5) for n in old], [factor] * len(old)
