"""Arrays at positions between their entries: grids, regions, and boxes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from nnarray.backends import device_of
from nnarray.onnx.operators.common import Call, floats, space, whole, widened
from nnarray.onnx.operators.convolution import with_axes
from nnarray.onnx.operators.table import operator
from nnarray.onnx.operators.windows import Windows
from nnarray.recording import stop_gradient

WORK = 64
"""What is found out about a position takes as long as so many entries of an array."""


def entries(x: Any, places: Sequence[Any]) -> Any:
    """x[n, c, places[0][n, q], places[1][n, q], ...], for whole numbers that are all inside: shape (N, C, Q)."""
    xp, index, sizes = space(x), None, x.shape[2:]
    for place, size in zip(places, sizes, strict=True):
        index = place if index is None else index * size + place
    assert index is not None
    plain = space(index)
    flat = xp.reshape(x, (*x.shape[:2], math.prod(sizes)))
    wide = plain.broadcast_to(index[:, None, :], (*x.shape[:2], index.shape[1]))
    return xp.take_along_axis(flat, wide, axis=2)


def _integers(x: Any) -> Any:
    xp = space(x)
    return stop_gradient(xp.astype(x, _index_dtype(x)))


def _index_dtype(x: Any) -> Any:
    bare = stop_gradient(x)
    return space(bare).__array_namespace_info__().default_dtypes(device=device_of(bare))["integral"]


def interpolated(x: Any, places: Sequence[Any]) -> Any:
    """`x` at positions, from the neighbours on both sides along each axis; outside it is 0. Positions: (N, Q)."""
    xp, sizes, total = space(x, *places), x.shape[2:], None
    lows = [xp.floor(place) for place in places]
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        weight, numbers, is_inside = None, list[Any](), None
        for place, low, up, size in zip(places, lows, corner, sizes, strict=True):
            part = place - low if up else 1.0 - (place - low)
            number = _integers(low) + up
            inside = (number >= 0) & (number < size)
            numbers.append(_clamped(number, size))
            weight = part if weight is None else weight * part
            is_inside = inside if is_inside is None else is_inside & inside
        weight = xp.where(is_inside, weight, xp.zeros_like(weight))
        term = entries(x, numbers) * xp.astype(weight, x.dtype, copy=False)[:, None, :]
        total = term if total is None else total + term
    return total


def _clamped(number: Any, size: int) -> Any:
    xp = space(number)
    return xp.clip(number, 0, max(size - 1, 0))


def _reflected(x: Any, low: float, high: float) -> Any:
    """Positions beyond the ends, reflected into the range."""
    xp, span = space(x), high - low
    if span <= 0:
        return xp.full_like(x, low)
    turn = xp.abs(x - low)
    turn = turn - xp.floor(turn / (2.0 * span)) * (2.0 * span)
    return low + xp.where(turn > span, 2.0 * span - turn, turn)


@operator("GridSample", 16)
def grid_sample(
    call: Call, x: Any, grid: Any, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Any:
    """An image at the positions of a grid, where -1 and 1 are its ends."""
    xp, sizes = space(x, grid), x.shape[2:]
    call.room((*grid.shape[:-1], max(x.shape[1], WORK // 4)))
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    flat = xp.reshape(grid, (grid.shape[0], math.prod(grid.shape[1:-1]), grid.shape[-1]))
    places: list[Any] = []
    for i, size in enumerate(sizes):
        own = flat[:, :, len(sizes) - 1 - i]  # the last axis comes first in a grid
        place = (own + 1.0) / 2.0 * (size - 1) if align_corners else ((own + 1.0) * size - 1.0) / 2.0
        places.append(_into(place, size, padding_mode, align_corners) if mode != "cubic" else place)
    if mode == "nearest":
        y = _of_whole(x, [xp.round(place) for place in places], padding_mode, align_corners)
    elif mode == "linear":
        y = interpolated(x, places) if padding_mode == "zeros" else _linear_inside(x, places)
    else:
        y = _cubic(x, places, padding_mode, align_corners)
    return xp.reshape(y, (*x.shape[:2], *grid.shape[1:-1]))


def _into(place: Any, size: int, padding: str, corners: int) -> Any:
    if padding == "zeros":
        return place
    if padding == "border":
        return space(place).clip(place, 0.0, float(size - 1))
    return _reflected(place, 0.0 if corners else -0.5, size - 1.0 if corners else size - 0.5)


def _linear_inside(x: Any, places: list[Any]) -> Any:
    """As `interpolated`, where the entries at the ends continue beyond them."""
    xp = space(x, *places)
    kept = [xp.clip(place, 0.0, float(size - 1)) for place, size in zip(places, x.shape[2:], strict=True)]
    return interpolated(x, kept)


def _of_whole(x: Any, places: list[Any], padding: str, corners: int) -> Any:
    """`x` at whole positions, which may be outside."""
    xp, is_inside, numbers = space(x, *places), None, list[Any]()
    for place, size in zip(places, x.shape[2:], strict=True):
        place = _into(place, size, padding, corners)
        inside = (place >= 0) & (place <= size - 1)
        is_inside = inside if is_inside is None else is_inside & inside
        numbers.append(_clamped(_integers(xp.round(place)), size))
    y = entries(x, numbers)
    return y if padding != "zeros" or is_inside is None else xp.where(is_inside[:, None, :], y, xp.zeros_like(y))


def _cubic(x: Any, places: list[Any], padding: str, corners: int) -> Any:
    xp, total, a = space(x, *places), None, -0.75
    lows = [xp.floor(place) for place in places]

    def weight(t: Any) -> Any:
        t = xp.abs(t)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = (((t - 5) * t + 8) * t - 4) * a
        return xp.where(t <= 1, near, far)

    for step in itertools.product((-1, 0, 1, 2), repeat=len(places)):
        factor, at = None, list[Any]()
        for place, low, s in zip(places, lows, step, strict=True):
            part = weight(place - low - s)
            factor = part if factor is None else factor * part
            at.append(low + s)
        assert factor is not None
        term = _of_whole(x, at, padding, corners) * xp.astype(factor, x.dtype, copy=False)[:, None, :]
        total = term if total is None else total + term
    return total


@operator("AffineGrid", 20, reads=(1,))
def affine_grid(call: Call, theta: Any, size: Any, *, align_corners: int = 0) -> Any:
    """The positions of a grid, moved by a matrix for each example."""
    xp, sizes = space(theta), whole(size)[2:]
    axes: list[Any] = []
    call.room((theta.shape[0], len(sizes) + 1, *sizes))
    call.room((sum(sizes), WORK))
    for i, n in enumerate(sizes):
        step = [-1.0 + 2.0 * k / max(n - 1, 1) if align_corners else -1.0 + (2.0 * k + 1.0) / n for k in range(n)]
        shape = [1] * len(sizes)
        shape[i] = n
        line = xp.reshape(xp.asarray(step, dtype=theta.dtype, device=device_of(theta)), tuple(shape))
        axes.append(xp.broadcast_to(line, sizes))
    points = xp.stack([*axes[::-1], xp.ones_like(axes[0])], axis=-1)
    flat = xp.reshape(points, (math.prod(sizes), len(sizes) + 1))
    moved = xp.matmul(flat, xp.matrix_transpose(theta))
    return xp.reshape(moved, (theta.shape[0], *sizes, len(sizes)))


@operator("DeformConv", 19, weights={1: "he", 3: "zeros"})
def deform_conv(
    x: Any,
    weight: Any,
    offset: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    offset_group: int = 1,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """A convolution whose windows read at positions that are moved."""
    xp, ndim = space(x, weight, offset), x.ndim - 2
    windows = Windows.over(x.shape[2:], weight.shape[2:], strides, dilations, pads, "NOTSET")
    count, places = x.shape[0], windows.positions
    x = widened(x, ((0, 0), (0, 0), *windows.pads))
    taps = list(windows.taps())
    moved = xp.reshape(offset, (count, offset_group, len(taps), ndim, math.prod(places)))
    strength = None if mask is None else xp.reshape(mask, (count, offset_group, len(taps), math.prod(places)))
    per = x.shape[1] // offset_group
    filters, inside = weight.shape[0], weight.shape[1]
    total = None
    for t, tap in enumerate(taps):
        parts: list[Any] = []
        for g in range(offset_group):
            at = _window_places(x, windows, tap, moved[:, g, t, ...])
            part = interpolated(x[:, g * per : (g + 1) * per, ...], at)
            parts.append(part if strength is None else part * strength[:, g, t, None, :])
        seen = xp.concat(parts, axis=1)
        grouped = xp.reshape(seen, (count, group, inside, math.prod(places)))
        own = xp.reshape(weight[(slice(None), slice(None), *tap)], (group, filters // group, inside))
        term = xp.matmul(own, grouped)
        total = term if total is None else total + term
    y = xp.reshape(total, (count, filters, *places))
    return y if bias is None else y + with_axes(bias, x.ndim)


def _window_places(x: Any, windows: Windows, tap: tuple[int, ...], moved: Any) -> list[Any]:
    """Where a position inside the window reads: whole numbers, plus what is added for each place."""
    xp, found = space(x), list[Any]()
    for i, (t, d, s, n) in enumerate(zip(tap, windows.dilation, windows.stride, windows.positions, strict=True)):
        shape = [1] * len(windows.positions)
        shape[i] = n
        line = xp.asarray([float(t * d + s * k) for k in range(n)], dtype=x.dtype, device=device_of(x))
        every = xp.broadcast_to(xp.reshape(line, tuple(shape)), windows.positions)
        found.append(xp.reshape(every, (1, -1)) + moved[:, i, :])
    return found


@operator("RoiAlign", 10, reads=(1, 2))
def roi_align_without_shift(call: Call, x: Any, rois: Any, batch: Any, **settings: Any) -> Any:
    """The first version of RoiAlign, whose regions are not moved by half a pixel."""
    return roi_align(call, x, rois, batch, coordinate_transformation_mode="output_half_pixel", **settings)


@operator("RoiAlign", 16, reads=(1, 2))
def roi_align(
    call: Call,
    x: Any,
    rois: Any,
    batch: Any,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Any:
    """Regions of images in one size: the means, or the largest of some positions in each part."""
    xp, shift = space(x), 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    regions: list[Any] = []
    for i, number in enumerate(whole(batch)):
        x1, y1, x2, y2 = (n * spatial_scale - shift for n in floats(rois[i, ...]))
        wide, high = x2 - x1, y2 - y1
        if not shift:
            wide, high = max(wide, 1.0), max(high, 1.0)
        rows = sampling_ratio or math.ceil(high / output_height)
        columns = sampling_ratio or math.ceil(wide / output_width)
        call.room((output_height, rows, output_width, columns, max(x.shape[1], WORK)))
        ys = [y1 + high * (p + (k + 0.5) / rows) / output_height for p in range(output_height) for k in range(rows)]
        xs = [x1 + wide * (p + (k + 0.5) / columns) / output_width for p in range(output_width) for k in range(columns)]
        regions.append(_region(x[number : number + 1, ...], ys, xs, (output_height, rows, output_width, columns), mode))
    if not regions:
        return xp.zeros((0, x.shape[1], output_height, output_width), dtype=x.dtype, device=device_of(x))
    return xp.concat(regions, axis=0)


def _region(x: Any, ys: list[float], xs: list[float], shape: tuple[int, int, int, int], mode: str) -> Any:
    """One region; positions more than a pixel outside count as 0, and others as at the edge."""
    xp, rows, columns = space(x), x.shape[2], x.shape[3]
    pairs = [(y, x_) for y in ys for x_ in xs]
    inside = [-1.0 <= y <= rows and -1.0 <= x_ <= columns for y, x_ in pairs]
    terms: list[Any] = []
    for up, right in itertools.product((0, 1), repeat=2):
        numbers, weights = list[int](), list[float]()
        for (y, x_), is_inside in zip(pairs, inside, strict=True):
            (row, part), (column, other) = (_edge(t, n, step) for t, n, step in ((y, rows, up), (x_, columns, right)))
            numbers.append(row * columns + column)
            weights.append(part * other if is_inside else 0.0)
        flat = xp.reshape(x, (1, x.shape[1], rows * columns))
        seen = xp.take(flat, xp.asarray(numbers, device=device_of(x)), axis=2)
        terms.append(seen * xp.asarray(weights, dtype=x.dtype, device=device_of(x)))
    if mode == "max":  # of the weighted neighbours, as the operator is defined
        best = xp.max(xp.stack(terms, axis=-1), axis=-1)
        return xp.max(xp.reshape(best, (1, x.shape[1], *shape)), axis=(3, 5))
    total = terms[0] + terms[1] + terms[2] + terms[3]
    return xp.mean(xp.reshape(total, (1, x.shape[1], *shape)), axis=(3, 5))


def _edge(place: float, size: int, up: int) -> tuple[int, float]:
    """The neighbour below or above a position, and its weight."""
    place = max(place, 0.0)
    low = math.floor(place)
    if low >= size - 1:
        return size - 1, 0.0 if up else 1.0
    return low + up, place - low if up else 1.0 - (place - low)


@operator("NonMaxSuppression", 10, reads=(0, 1, 2, 3, 4), dynamic=True)
def non_max_suppression(
    call: Call,
    boxes: Any,
    scores: Any,
    most: Any = None,
    overlap: Any = None,
    least: Any = None,
    *,
    center_point_box: int = 0,
) -> Any:
    """The boxes with the largest scores that do not overlap a chosen one much, on the host."""
    count = 0 if most is None else whole(most)[0]
    limit = 0.0 if overlap is None else floats(overlap)[0]
    floor = -math.inf if least is None else floats(least)[0]
    found: list[list[int]] = []
    for n, k in itertools.product(range(scores.shape[0]), range(scores.shape[1])):
        corners = [_corners(floats(boxes[n, i, ...]), center_point_box) for i in range(boxes.shape[1])]
        own = floats(scores[n, k, ...])
        chosen: list[int] = []
        for i in sorted(range(len(own)), key=lambda i: -own[i]):
            if len(chosen) >= count or own[i] <= floor:
                break
            if all(_overlap(corners[i], corners[j]) <= limit for j in chosen):
                chosen.append(i)
        found += [[n, k, i] for i in chosen]
    return call.array(found, "int64") if found else call.full((0, 3), 0, call.dtype("int64"))


def _corners(box: tuple[float, ...], is_centred: int) -> tuple[float, float, float, float]:
    a, b, c, d = box
    if is_centred:
        a, b, c, d = b - d / 2, a - c / 2, b + d / 2, a + c / 2
    return min(a, c), min(b, d), max(a, c), max(b, d)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    high = min(one[2], other[2]) - max(one[0], other[0])
    wide = min(one[3], other[3]) - max(one[1], other[1])
    if high <= 0 or wide <= 0:
        return 0.0
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return high * wide / (sum(sizes) - high * wide)
