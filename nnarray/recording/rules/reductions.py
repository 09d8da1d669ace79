"""Sums, products, extremes and statistics along axes, and their cumulative forms."""

from __future__ import annotations

import math
from typing import Any

from nnarray import kernels
from nnarray.kernels.standard.numerics import at_least_float32_dtype
from nnarray.names import by_name
from nnarray.recording.rules.elementwise import to_norm
from nnarray.typing import Namespace, Shape


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes as a tuple of numbers that are not negative; None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))


def kept_shape(shape: Shape, axis: Any) -> Shape:
    """The shape of a result with the axes that were reduced, of length 1."""
    if axis is None:
        return (1,) * len(shape)
    kept = [*shape]
    for i in axis if isinstance(axis, tuple) else (axis,):
        kept[i] = 1
    return tuple(kept)


def count_of(shape: Shape, axis: Any) -> int:
    """How many entries are reduced to one."""
    return math.prod(shape[i] for i in axes_of(axis, len(shape)))


def total(xp: Namespace, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    shape, kept = x.shape, kept_shape(x.shape, axis)
    y = xp.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)
    return y, (lambda xp, g: kernels.spread(g, kept, shape),)


def mean(xp: Namespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    shape, kept, count = x.shape, kept_shape(x.shape, axis), count_of(x.shape, axis)
    return xp.mean(x, axis=axis, keepdims=keepdims), (lambda xp, g: kernels.spread(_divided(g, count), kept, shape),)


def _divided(g: Any, count: float) -> Any:
    """g / count, in two steps if the count is beyond the largest number of float16."""
    if count < 65504:
        return g / count
    step = 2.0 ** (int(count).bit_length() // 2)
    return g / step / (count / step)


def var(xp: Namespace, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    y = xp.var(x, axis=axis, correction=correction, keepdims=keepdims)
    free = max(count_of(x.shape, axis) - correction, 0)

    def pullback(xp: Namespace, g: Any) -> Any:
        centred = x - xp.mean(x, axis=axis, keepdims=True) if free else x * math.nan  # as the value
        return xp.times(centred, xp.reshape(_divided(g, free / 2), kept_shape(x.shape, axis)))

    return y, (pullback,)


def std(xp: Namespace, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The norm of what differs from the mean, divided by the root of its degrees of freedom."""
    y = xp.std(x, axis=axis, correction=correction, keepdims=keepdims)
    free, kept = max(count_of(x.shape, axis) - correction, 0), kept_shape(x.shape, axis)

    def pullback(xp: Namespace, g: Any) -> Any:
        centred = x - xp.mean(x, axis=axis, keepdims=True)
        return to_norm(xp, xp.reshape(_divided(g, free), kept), centred, xp.reshape(y, kept))

    return y, (pullback,)


def largest(xp: Namespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return _extreme(xp, xp.max(x, axis=axis, keepdims=keepdims), x, axis)


def smallest(xp: Namespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return _extreme(xp, xp.min(x, axis=axis, keepdims=keepdims), x, axis)


def _extreme(xp: Namespace, y: Any, x: Any, axis: Any) -> Any:
    """The gradient goes in equal parts to all entries that are equal to the extreme."""
    kept, is_many = kept_shape(x.shape, axis), count_of(x.shape, axis) > 2048  # as float16 cannot count

    def pullback(xp: Namespace, g: Any) -> Any:
        wide_y, wide_g = (y, g) if y.shape == kept else (xp.reshape(y, kept), xp.reshape(g, kept))
        ones = xp.astype(x == wide_y, at_least_float32_dtype(xp, g.dtype) if is_many else g.dtype)
        return xp.times(ones, wide_g / kernels.summed_to(ones, kept))

    return y, (pullback,)


def product(xp: Namespace, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The derivative is the product of the other entries: of those before and those after, for one may be 0."""
    y = xp.prod(x, axis=axis, dtype=dtype, keepdims=keepdims)

    def pullback(xp: Namespace, g: Any) -> Any:
        axes = axes_of(axis, x.ndim)
        rest = tuple(i for i in range(x.ndim) if i not in axes)
        order = (*rest, *axes)
        moved = xp.permute_dims(x, order)
        rows = xp.reshape(moved, (*(x.shape[i] for i in rest), count_of(x.shape, axis)))
        others = _before(xp, rows) * xp.flip(_before(xp, xp.flip(rows, axis=-1)), axis=-1)
        others = xp.permute_dims(xp.reshape(others, moved.shape), tuple(order.index(i) for i in range(x.ndim)))
        return xp.reshape(g, kept_shape(x.shape, axis)) * others

    return y, (pullback,)


def _before(xp: Namespace, x: Any) -> Any:
    """The products of all entries before each one, along the last axis."""
    if x.shape[-1] == 0:
        return x
    return xp.concat([xp.ones_like(x[..., :1]), xp.cumulative_prod(x[..., :-1], axis=-1)], axis=-1)


def cumulative_sum(xp: Namespace, x: Any, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Any:
    y, along = xp.cumulative_sum(x, axis=axis, dtype=dtype, include_initial=include_initial), _one(axis, x)

    def pullback(xp: Namespace, g: Any) -> Any:
        g = _without_initial(xp, g, along, include_initial)
        return xp.flip(xp.cumulative_sum(xp.flip(g, axis=along), axis=along), axis=along)

    return y, (pullback,)


def cumulative_prod(
    xp: Namespace, x: Any, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """dL/dx[i] = (x[0] ... x[i-1]) r[i], where r[i] = g[i] + x[i+1] r[i+1].

    The recurrence is solved by doubling, without a division, for entries may be 0.
    """
    y, along = xp.cumulative_prod(x, axis=axis, dtype=dtype, include_initial=include_initial), _one(axis, x)

    def pullback(xp: Namespace, g: Any) -> Any:
        g = xp.moveaxis(_without_initial(xp, g, along, include_initial), along, -1)
        rows, size = xp.moveaxis(x, along, -1), x.shape[along]
        sums, factors, distance = g, xp.concat([rows[..., 1:], xp.zeros_like(rows[..., :1])], axis=-1), 1
        while distance < size:
            nothing = xp.zeros_like(sums[..., :distance])
            later = xp.concat([sums[..., distance:], nothing], axis=-1)
            beyond = xp.concat([factors[..., distance:], nothing], axis=-1)
            sums, factors, distance = sums + later * factors, factors * beyond, 2 * distance
        return xp.moveaxis(sums * _before(xp, rows), -1, along)

    return y, (pullback,)


def _one(axis: int | None, x: Any) -> int:
    return 0 if axis is None else axis % x.ndim


def _without_initial(xp: Namespace, g: Any, axis: int, include_initial: bool) -> Any:
    return g[(*([slice(None)] * axis), slice(1, None), ...)] if include_initial else g


def diff(xp: Namespace, x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """The differences of neighbours, n times."""
    x = xp.concat([each for each in (prepend, x, append) if each is not None], axis=axis)
    before = (slice(None),) * (axis % x.ndim)
    for _ in range(n):
        x = x[(*before, slice(1, None), ...)] - x[(*before, slice(None, -1), ...)]
    return x


RULES = by_name(cumulative_prod, cumulative_sum, mean, std, var) | {
    "max": largest,
    "min": smallest,
    "prod": product,
    "sum": total,
}
COMPOSED = {"diff": diff}
