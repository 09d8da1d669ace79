"""Operators that move entries and leave them as they are, and those that make arrays from sizes."""

from __future__ import annotations

import math
from typing import Any

from nnarray.backends import device_of
from nnarray.layers.tensors import Tensor
from nnarray.onnx.operators.common import FEW, GROWTH, Call, at, axes_of, axis_of, grown, room, space, whole, widened
from nnarray.onnx.operators.table import operator


@operator("Reshape", 5, reads=(1,))
def reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    """The same entries in another shape; 0 keeps a size, and -1 is what is left."""
    sizes = [x.shape[i] if n == 0 and not allowzero else n for i, n in enumerate(whole(shape))]
    if -1 in sizes:
        rest = math.prod(n for n in sizes if n != -1)
        sizes[sizes.index(-1)] = math.prod(x.shape) // rest if rest else 0
    if math.prod(sizes) != math.prod(x.shape) or min(sizes, default=0) < 0:
        raise ValueError(f"an array of shape {tuple(x.shape)} has no shape {whole(shape)}")
    return space(x).reshape(x, tuple(sizes))


@operator("Flatten")
def flatten(x: Any, *, axis: int = 1) -> Any:
    """A matrix: the axes before this one are rows, the others columns."""
    axis = axis + x.ndim if axis < 0 else axis
    return space(x).reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@operator("Squeeze")
def squeeze_by_setting(x: Any, *, axes: Any = None) -> Any:
    """Without axes of length 1."""
    chosen = axes_of(axes, x.ndim) if axes else tuple(i for i, n in enumerate(x.shape) if n == 1)
    return space(x).squeeze(x, axis=chosen)


@operator("Squeeze", 13, reads=(1,))
def squeeze(x: Any, axes: Any = None) -> Any:
    """Without axes of length 1."""
    return squeeze_by_setting(x, axes=None if axes is None else whole(axes))


@operator("Unsqueeze")
def unsqueeze_by_setting(x: Any, *, axes: Any) -> Any:
    """With new axes of length 1."""
    ndim = x.ndim + len(axes)
    new, sizes = axes_of(axes, ndim), iter(x.shape)
    if len({*new}) < len(new):
        raise ValueError(f"axes must differ; got {tuple(axes)}")
    return space(x).reshape(x, tuple(1 if i in new else next(sizes) for i in range(ndim)))


@operator("Unsqueeze", 13, reads=(1,))
def unsqueeze(x: Any, axes: Any) -> Any:
    """With new axes of length 1."""
    return unsqueeze_by_setting(x, axes=whole(axes))


@operator("Transpose")
def transpose(x: Any, *, perm: Any = None) -> Any:
    """The axes in another order."""
    return space(x).permute_dims(x, tuple(perm) if perm is not None else tuple(range(x.ndim))[::-1])


@operator("Concat", 4)
def concat(*arrays: Any, axis: int) -> Any:
    """Arrays one after the other."""
    return space(*arrays).concat(list(arrays), axis=axis_of(axis, arrays[0].ndim))


def parts_of(x: Any, sizes: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    """Parts of these sizes along an axis."""
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise ValueError(f"parts of sizes {sizes} are not an axis of size {x.shape[axis]}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(x[at(axis, slice(start, start + size))] for start, size in zip(starts, sizes, strict=True))


def _even(size: int, count: int) -> tuple[int, ...]:
    """The sizes of so many parts, of which the last one may be smaller."""
    each = -(-size // count)
    return tuple(max(min(each, size - i * each), 0) for i in range(count))


@operator("Split", 2)
def split_by_setting(call: Call, x: Any, *, axis: int = 0, split: Any = None) -> Any:
    """Parts along an axis."""
    axis = axis_of(axis, x.ndim)
    return parts_of(x, tuple(split) if split else _even(x.shape[axis], call.outputs), axis)


@operator("Split", 13, reads=(1,))
def split(call: Call, x: Any, sizes: Any = None, *, axis: int = 0, num_outputs: int | None = None) -> Any:
    """Parts along an axis."""
    axis = axis_of(axis, x.ndim)
    if num_outputs not in (None, call.outputs):
        raise ValueError(f"num_outputs is {num_outputs}, but there are {call.outputs} outputs")
    given = whole(sizes) if sizes is not None else _even(x.shape[axis], call.outputs)
    return parts_of(x, given, axis)


@operator("Expand", 8, reads=(1,))
def expand(call: Call, x: Any, shape: Any) -> Any:
    """Broadcast to a shape, which may be smaller along an axis."""
    wanted = whole(shape)
    ndim = max(x.ndim, len(wanted))
    own, other = (1,) * (ndim - x.ndim) + tuple(x.shape), (1,) * (ndim - len(wanted)) + wanted
    sizes = call.room(n if m == 1 else m for n, m in zip(own, other, strict=True))
    return space(x).broadcast_to(x, sizes)


@operator("Tile", 6, reads=(1,))
def tile(call: Call, x: Any, repeats: Any) -> Any:
    """Copies of the array along each axis."""
    times = whole(repeats)
    call.grown((n * m for n, m in zip(x.shape, times, strict=True)), x)
    return space(x).tile(x, times)


@operator("Slice", 1)
def slice_by_settings(x: Any, *, starts: Any, ends: Any, axes: Any = None) -> Any:
    """Every entry from a start to an end, along some axes."""
    return _sliced(x, starts, ends, axes or tuple(range(len(starts))), (1,) * len(starts))


@operator("Slice", 10, reads=(1, 2, 3, 4))
def slice_by_inputs(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    """Entries from a start to an end in steps, along some axes."""
    count = len(whole(starts))
    chosen = tuple(range(count)) if axes is None else whole(axes)
    return _sliced(x, whole(starts), whole(ends), chosen, (1,) * count if steps is None else whole(steps))


def _sliced(x: Any, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
    key: list[Any] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes_of(axes, x.ndim), steps, strict=True):
        size = x.shape[axis]
        if step == 0:
            raise ValueError("the steps of Slice must not be 0")
        start, end = (n + size if n < 0 else n for n in (start, end))
        if step > 0:
            key[axis] = slice(min(max(start, 0), size), min(max(end, 0), size), step)
        else:
            start, end = min(max(start, 0), size - 1), max(end, -1)
            x = space(x).flip(x, axis=axis)  # PyTorch has no negative steps
            first, last = size - 1 - start, size - 1 - end
            key[axis] = slice(first, max(last, first), -step)
    return x[tuple(key)]


@operator("Shape")
def shape(call: Call, x: Any, *, start: int = 0, end: int | None = None) -> Any:
    """The sizes of the axes."""
    return call.array(list(x.shape[start:end]), "int64")


@operator("Size")
def size(call: Call, x: Any) -> Any:
    """The number of entries."""
    return call.array(math.prod(x.shape), "int64")


@operator("ConstantOfShape", 9, reads=(0,))
def constant_of_shape(call: Call, shape: Any, *, value: Tensor | None = None) -> Any:
    """The same number everywhere."""
    if value is None:
        return call.full(whole(shape), 0.0, call.dtype("float32"))
    number = value.values.reshape(-1)[0]
    dtype = str(value.dtype)
    return call.full(whole(shape), _python(number, dtype), call.dtype(dtype))


def _python(number: Any, dtype: str) -> Any:
    return float(number) if dtype.startswith("float") else bool(number) if dtype == "bool" else int(number)


@operator("Range", 11, reads=(0, 1, 2))
def range_of(call: Call, start: Any, limit: Any, delta: Any) -> Any:
    """Numbers from a start in steps, below a limit."""
    dtype = str(start.dtype)
    first, last, step = (_python(each.reshape(-1)[0], dtype) for each in (start, limit, delta))
    if step == 0:
        raise ValueError("the step of Range must not be 0")
    (count,) = call.room((max(math.ceil((last - first) / step), 0),))
    xp, be = call.backend.xp, call.backend
    numbers = xp.astype(xp.arange(count, device=be.device), call.dtype(dtype))
    return numbers * step + first


@operator("Trilu", 14, reads=(1,))
def trilu(x: Any, k: Any = None, *, upper: int = 1) -> Any:
    """The upper or lower triangle of matrices."""
    xp, diagonal = space(x), 0 if k is None else whole(k)[0]
    if not math.prod(x.shape):
        return x
    return xp.triu(x, k=diagonal) if upper else xp.tril(x, k=diagonal)


@operator("DepthToSpace")
def depth_to_space(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    """Channels become blocks of pixels."""
    xp, b = space(x), blocksize
    n, c, h, w = x.shape
    if mode == "DCR":
        y = xp.permute_dims(xp.reshape(x, (n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        y = xp.permute_dims(xp.reshape(x, (n, c // b**2, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return xp.reshape(y, (n, c // b**2, h * b, w * b))


@operator("SpaceToDepth")
def space_to_depth(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    """Blocks of pixels become channels."""
    xp, b = space(x), blocksize
    n, c, h, w = x.shape
    blocks = xp.reshape(x, (n, c, h // b, b, w // b, b))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return xp.reshape(xp.permute_dims(blocks, order), (n, c * b * b, h // b, w // b))


@operator("Pad", 2)
def pad_by_setting(call: Call, x: Any, *, pads: Any, mode: str = "constant", value: float = 0.0) -> Any:
    """With entries before and after."""
    return _padded(x, list(zip(pads[: x.ndim], pads[x.ndim :], strict=True)), mode, value, call.place.most)


@operator("Pad", 11, reads=(1, 3))
def pad(call: Call, x: Any, pads: Any, value: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    """With entries before and after along some axes."""
    numbers = whole(pads)
    count = len(numbers) // 2
    every = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes_of(None if axes is None else whole(axes), x.ndim)):
        every[axis] = numbers[i], numbers[count + i]
    return _padded(x, every, mode, 0 if value is None else value, call.place.most)


def _padded(x: Any, pads: list[tuple[int, int]], mode: str, value: Any, most: int) -> Any:
    if mode == "constant":
        if not hasattr(value, "shape") and space(x).isdtype(x.dtype, "bool"):
            value = bool(value)
        return widened(x, pads, value, most)
    xp = space(x)
    grown([max(n + sum(each), 0) for n, each in zip(x.shape, pads, strict=True)], x, most)
    for axis, (before, after) in enumerate(pads):
        if before or after:
            numbers = _reflected(x.shape[axis], before, after, mode)
            x = xp.take(x, xp.asarray(numbers, device=device_of(x)), axis=axis)
    return x


def _reflected(size: int, before: int, after: int, mode: str) -> list[int]:
    """Which entry of an axis stands where, before the first and after the last one."""
    (count,) = room((size + before + after,), max(FEW, GROWTH * size))
    places = range(-before, count - before)
    if mode == "edge":
        return [min(max(i, 0), size - 1) for i in places]
    if mode == "wrap":
        return [i % size for i in places]
    turn = max(2 * size - 2, 1)
    return [min(i % turn, turn - i % turn) if size > 1 else 0 for i in places]


@operator("CenterCropPad", 18, reads=(1,))
def center_crop_pad(call: Call, x: Any, shape: Any, *, axes: Any = None) -> Any:
    """The middle of the array in another shape, with zeros around it where it is smaller."""
    pads = [(0, 0)] * x.ndim
    for axis, wanted in zip(axes_of(axes, x.ndim), whole(shape), strict=True):
        more = wanted - x.shape[axis]
        before = more // 2 if more >= 0 else -((-more) // 2)
        pads[axis] = before, more - before
    return widened(x, pads, most=call.place.most)


@operator("ReverseSequence", 10)
def reverse_sequence(x: Any, lengths: Any, *, batch_axis: int = 1, time_axis: int = 0) -> Any:
    """The first entries of each sequence in reverse order."""
    xp = space(x)
    steps = xp.arange(x.shape[time_axis], dtype=lengths.dtype, device=device_of(x))
    shape = [1] * x.ndim
    shape[time_axis] = x.shape[time_axis]
    steps = xp.reshape(steps, tuple(shape))
    shape = [1] * x.ndim
    shape[batch_axis] = x.shape[batch_axis]
    length = xp.reshape(lengths, tuple(shape))
    places = xp.where(steps < length, length - 1 - steps, steps)
    return xp.take_along_axis(x, xp.broadcast_to(places, tuple(x.shape)), axis=time_axis)
