"""Functions that move entries, and leave them as they are."""

from __future__ import annotations

import math
from typing import Any

from nnarray.backends import device_of, on_device
from nnarray.names import by_name
from nnarray.recording.rules.reductions import axes_of
from nnarray.recording.traced import Traced, stripped
from nnarray.recording.trees import leaves
from nnarray.typing import Device, Namespace, Shape


def reshape(xp: Namespace, x: Any, shape: Shape, *, copy: bool | None = None) -> Any:
    return xp.reshape(x, shape, copy=copy), (lambda xp, g: xp.reshape(g, x.shape),)


def permute_dims(xp: Namespace, x: Any, axes: tuple[int, ...]) -> Any:
    axes = axes_of(tuple(axes), x.ndim)
    back = tuple(sorted(range(x.ndim), key=axes.__getitem__))
    return xp.permute_dims(x, axes), (lambda xp, g: xp.permute_dims(g, back),)


def matrix_transpose(xp: Namespace, x: Any) -> Any:
    return xp.matrix_transpose(x), (lambda xp, g: xp.matrix_transpose(g),)


def broadcast_to(xp: Namespace, x: Any, shape: Shape) -> Any:
    return xp.broadcast_to(x, shape), (lambda xp, g: g,)


def flip(xp: Namespace, x: Any, *, axis: Any = None) -> Any:
    return xp.flip(x, axis=axis), (lambda xp, g: xp.flip(g, axis=axis),)


def roll(xp: Namespace, x: Any, shift: Any, *, axis: Any = None) -> Any:
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return xp.roll(x, shift, axis=axis), (lambda xp, g: xp.roll(g, back, axis=axis),)


def tril(xp: Namespace, x: Any, *, k: int = 0) -> Any:
    return xp.tril(x, k=k), (lambda xp, g: xp.tril(g, k=k),)


def triu(xp: Namespace, x: Any, *, k: int = 0) -> Any:
    return xp.triu(x, k=k), (lambda xp, g: xp.triu(g, k=k),)


def concat(xp: Namespace, *arrays: Any, axis: int | None = 0) -> Any:
    """Each array gets its part of the gradient."""
    y = xp.concat(list(arrays), axis=axis)
    along = 0 if axis is None else axis % y.ndim
    pullbacks, start = [], 0
    for x in arrays:
        size = x.shape[along] if axis is not None else math.prod(x.shape)
        key = (*([slice(None)] * along), slice(start, start + size), ...)
        pullbacks.append(lambda xp, g, key=key, shape=x.shape: xp.reshape(g[key], shape))
        start += size
    return y, tuple(pullbacks)


def stack(xp: Namespace, *arrays: Any, axis: int = 0) -> Any:
    y = xp.stack(list(arrays), axis=axis)
    before = (slice(None),) * (axis % y.ndim)
    return y, tuple((lambda xp, g, i=i: g[(*before, i, ...)]) for i in range(len(arrays)))


def astype(xp: Namespace, x: Any, dtype: Any, **settings: Any) -> Any:
    return xp.cast_real(x, dtype, **settings), (lambda xp, g: g,)


def to_device(xp: Namespace, x: Any, device: Device) -> Any:
    before = device_of(x)
    return on_device(x, device), (lambda xp, g: xp.to_device(g, before),)


def cast(xp: Namespace, x: Any, dtype: Any, /, **settings: Any) -> Any:
    """`astype`: whole numbers and truth values have no gradient."""
    if not xp.isdtype(dtype, ("real floating", "complex floating")):
        return xp.plain.astype(stripped(x), dtype, **settings)
    return xp.cast_real(x, dtype, **settings)


def asarray(xp: Namespace, x: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """A traced array as it is, in another dtype if one is asked for; anything else becomes a constant.

    Of lists of traced arrays and numbers, their stack.
    """
    if isinstance(x, (list, tuple)):
        like = next((each for each in leaves(x) if isinstance(each, Traced)), None)
        if like is not None:
            settings = {"dtype": dtype or like.dtype, "device": device or like.device}
            return xp.stack([asarray(xp, each, **settings) for each in x])
    if not isinstance(x, Traced):
        return xp.plain.asarray(x, dtype=dtype, device=device, copy=copy)
    return xp.positive(x) if dtype is None else cast(xp, x, dtype)


def full(xp: Namespace, shape: Any, fill_value: Any, /, **settings: Any) -> Any:
    if not isinstance(fill_value, Traced):
        return xp.plain.full(shape, fill_value, **settings)
    dtype = settings.get("dtype") or fill_value.dtype
    return cast(xp, xp.broadcast_to(fill_value, (shape,) if isinstance(shape, int) else tuple(shape)), dtype)


def full_like(xp: Namespace, x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    if not isinstance(fill_value, Traced):
        return xp.plain.full_like(stripped(x), fill_value, dtype=dtype, device=device)
    return full(xp, x.shape, fill_value, dtype=dtype or x.dtype)


def linspace(
    xp: Namespace, start: Any, stop: Any, /, num: int, *, endpoint: bool = True, dtype: Any = None, device: Any = None
) -> Any:
    like = start if isinstance(start, Traced) else stop
    if any(getattr(x, "shape", ()) for x in (start, stop)):
        raise ValueError("linspace is between two numbers; got arrays with axes. Write start + (stop - start) * steps.")
    steps = xp.arange(num, dtype=like.dtype, device=like.device) / max(num - endpoint, 1)
    return cast(xp, start + (stop - start) * steps, dtype or like.dtype)


def arange(xp: Namespace, start: Any, /, stop: Any = None, step: Any = 1, **settings: Any) -> Any:
    """The number of entries depends on the values, and has no derivative; the entries depend on `start` and `step`."""
    start, stop = (0, start) if stop is None else (start, stop)
    y = xp.plain.arange(*map(stripped, (start, stop, step)), **settings)
    if not (isinstance(start, Traced) or isinstance(step, Traced)):
        return xp.as_constant(y)
    return start + step * xp.plain.arange(y.shape[0], dtype=y.dtype, device=device_of(y))


def from_dlpack(xp: Namespace, x: Any, /, **settings: Any) -> Any:
    return xp.positive(x)


def expand_dims(xp: Namespace, x: Any, /, *, axis: Any = 0) -> Any:
    axes = axis if isinstance(axis, tuple) else (axis,)
    ndim = x.ndim + len(axes)
    new = {a % ndim for a in axes if -ndim <= a < ndim}
    if len(new) != len(axes):
        raise IndexError(f"axis {axis} is not one of an array with {ndim} axes")
    sizes = iter(x.shape)
    return xp.reshape(x, tuple(1 if i in new else next(sizes) for i in range(ndim)))


def squeeze(xp: Namespace, x: Any, /, axis: Any) -> Any:
    axes = axes_of(axis, x.ndim)
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"only axes of length 1 can be removed; axis {axis} of shape {x.shape} is another")
    return xp.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def moveaxis(xp: Namespace, x: Any, source: Any, destination: Any, /) -> Any:
    froms, tos = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    order = [i for i in range(x.ndim) if i not in froms]
    for to, start in sorted(zip(tos, froms, strict=True)):
        order.insert(to, start)
    return xp.permute_dims(x, tuple(order))


def unstack(xp: Namespace, x: Any, /, *, axis: int = 0) -> Any:
    before = (slice(None),) * (axis % x.ndim)
    return tuple(x[(*before, i, ...)] for i in range(x.shape[axis]))


def broadcast_arrays(xp: Namespace, *arrays: Any) -> Any:
    shape = xp.broadcast_shapes(*(x.shape for x in arrays))
    return tuple(xp.broadcast_to(x, shape) for x in arrays)


def meshgrid(xp: Namespace, *arrays: Any, indexing: str = "xy") -> Any:
    order = [*range(len(arrays))]
    if indexing == "xy" and len(arrays) > 1:
        order[:2] = 1, 0
    wide = [xp.reshape(x, tuple(-1 if i == place else 1 for i in order)) for place, x in enumerate(arrays)]
    return broadcast_arrays(xp, *wide)


def tile(xp: Namespace, x: Any, repetitions: tuple[int, ...], /) -> Any:
    ndim = max(x.ndim, len(repetitions))
    times = (1,) * (ndim - len(repetitions)) + tuple(repetitions)
    shape = (1,) * (ndim - x.ndim) + x.shape
    pairs = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for time, size in zip(times, shape, strict=True) for n in (time, size))
    return xp.reshape(
        xp.broadcast_to(xp.reshape(x, pairs), wide), tuple(t * n for t, n in zip(times, shape, strict=True))
    )


def fftshift(xp: Namespace, x: Any, /, *, axes: Any = None) -> Any:
    axes = axes_of(axes, x.ndim)
    return xp.roll(x, tuple(x.shape[a] // 2 for a in axes), axis=axes)


def ifftshift(xp: Namespace, x: Any, /, *, axes: Any = None) -> Any:
    axes = axes_of(axes, x.ndim)
    return xp.roll(x, tuple(-(x.shape[a] // 2) for a in axes), axis=axes)


FFT_COMPOSED = {"fftshift": fftshift, "ifftshift": ifftshift}  # the other functions of `fft` have complex numbers
RULES = by_name(
    broadcast_to, concat, flip, matrix_transpose, permute_dims, reshape, roll, stack, to_device, tril, triu
) | {"cast_real": astype}
COMPOSED = by_name(asarray, broadcast_arrays, expand_dims, meshgrid, moveaxis, squeeze, tile, unstack)
COMPOSED |= by_name(arange, from_dlpack, full, full_like, linspace) | {"astype": cast}
