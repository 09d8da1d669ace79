"""Layers that make images smaller: the largest or the mean entry of each window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of, namespace
from nnarray.kernels.standard.numerics import at_least_float32, at_least_float32_dtype
from nnarray.kernels.standard.windows import Window
from nnarray.layers.base import Context, Layer, Out, settle
from nnarray.layers.sliding import Pair, Sides, drawn_window, kept_pair, kept_sides, pair, placed, sides_of
from nnarray.names import shown
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True)
class _Pool2D(Layer):
    """The settings of both kinds: a window over images, channels last.

    Parameters
    ----------
    kernel : int or (int, int)
    stride : int or (int, int), optional
        The size of the window if None.
    padding : "valid", "same" or numbers
        As for `Conv2D`.
    ceil : bool
        Whether the last window may extend beyond the image.
    """

    family = "pooling"

    kernel: Pair
    stride: Pair | None = None
    padding: Sides = "valid"
    ceil: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = type(self).__name__
        settle(self, kernel=kept_pair(self.kernel, f"{kind} kernel"), padding=kept_sides(self.padding, kind))
        settle(self, stride=None if self.stride is None else kept_pair(self.stride, f"{kind} stride"))

    def drawn_numbers(self) -> str:
        """Its window."""
        return drawn_window(self.kernel, self.stride)

    def window(self, shape: Shape) -> Window:
        """The window over images of this shape."""
        stride = self.kernel if self.stride is None else self.stride
        kind = type(self).__name__
        window = placed(kind, shape, self.kernel, stride, self.padding, ceil=self.ceil)
        plain = sides_of(kind, shape, window.size, window.stride, self.padding)
        if any(max(pads) >= size for pads, size in zip(plain, window.size, strict=True)):
            raise ValueError(
                f"{kind} padding must be smaller than the window, {window.size}; got {shown(self.padding)}. Otherwise "
                f"a window could lie in the padding only."
            )
        return window

    def out_shape(self, shape: Shape) -> Shape:
        """The number of rows and columns of positions, and the channels."""
        return (*self.window(shape).output_size(shape[:2]), shape[2])


@dataclass(frozen=True)
class MaxPool2D(_Pool2D):
    """y[n, p, q, c] = max over i, j of x[n, p s + i, q s + j, c]; padding is ignored.

    x: (batch, height, width, channels)  y: (batch, rows, columns, channels)

    Parameters
    ----------
    kernel, stride, padding, ceil
        The window. `stride=None` is the size of the window. With `ceil`, the last window may extend beyond the image.

    Notes
    -----
    Of equal entries, the first gets the gradient.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.MaxPool2D(3, 2, padding=1).out_shape((56, 56, 64))
    (28, 28, 64)
    """

    drawn_as = "max"
    takes_largest = True

    def lower(self, engine: Any, params: Tree, shape: Shape) -> Any:
        """The layer prepared for inference by an engine."""
        return engine.max_pool(self.window(shape))

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The largest entry of each window; the pullback passes dy to it."""
        window = self.window(tuple(x.shape[1:]))
        y = kernels.max_pool(x, window=window)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return kernels.max_pool_pullback(dy, x, y, window=window), {}

        return Out(y, pullback)


@dataclass(frozen=True)
class AvgPool2D(_Pool2D):
    """y[n, p, q, c] = mean over i, j of x[n, p s + i, q s + j, c].

    x: (batch, height, width, channels)  y: (batch, rows, columns, channels)

    Parameters
    ----------
    kernel, stride, padding, ceil
        The window. `stride=None` is the size of the window. With `ceil`, the last window may extend beyond the image.
    count_padding : bool
        Whether the mean includes the zeros of the padding. It never includes the part that `ceil` adds.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.AvgPool2D(2).out_shape((28, 28, 6))
    (14, 14, 6)
    """

    drawn_as = "mean"

    count_padding: bool = True

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The mean of each window; the pullback spreads dy over it."""
        window = self.window(tuple(x.shape[1:]))
        counts = self._counts(x, window)
        y = kernels.mean_pool(x, counts, window=window)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return kernels.mean_pool_pullback(dy, x, counts, window=window), {}

        return Out(y, pullback)

    def _counts(self, x: Array, window: Window) -> Array:
        """The number of entries in the mean of each window, shape (rows, columns, 1)."""
        plain = sides_of("AvgPool2D", x.shape[1:], window.size, window.stride, self.padding)
        axes = zip(window.size, window.stride, window.padding, plain, x.shape[1:3], strict=True)
        down, across = (_along(x, *axis, counted=self.count_padding) for axis in axes)
        return namespace(x).astype(down[:, None, None] * across[None, :, None], x.dtype, copy=False)


def _along(
    like: Array,
    size: int,
    stride: int,
    padding: tuple[int, int],
    plain: tuple[int, int],
    length: int,
    *,
    counted: bool,
) -> Array:
    """The number of entries of each window along one axis that lie in the image, or in the padding if that counts.

    It is computed on the device of `like`: a list would have to be copied there in each step.
    """
    xp, device = namespace(like), device_of(like)
    low, high = (-plain[0], length + plain[1]) if counted else (0, length)
    count = (length + sum(padding) - size) // stride + 1
    first, last = -padding[0], (count - 1) * stride - padding[0]
    if low <= first and last + size <= high:
        return xp.full((count,), float(size), dtype=xp.float32, device=device)
    starts = xp.arange(count, dtype=xp.float32, device=device) * float(stride) + float(first)
    return xp.minimum(starts + float(size), float(high)) - xp.maximum(starts, float(low))


@dataclass(frozen=True)
class AdaptiveAvgPool2D(Layer):
    """y[n, p, q, c] = mean of x[n, i, j, c] over floor(p h / h') <= i < ceil((p + 1) h / h'), and likewise j.

    Images of any size become h' x w'. Each output is the mean over a part of the image; the parts may overlap.

    x: (batch, h, w, channels)  y: (batch, h', w', channels)

    Parameters
    ----------
    places : int or (int, int)
        h' and w'.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.AdaptiveAvgPool2D(4).out_shape((14, 14, 512))
    (4, 4, 512)
    """

    family = "pooling"
    drawn_as = "mean of parts"

    places: Pair

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, places=kept_pair(self.places, "AdaptiveAvgPool2D places"))

    def out_shape(self, shape: Shape) -> Shape:
        """h', w' and the channels."""
        if len(shape) != 3:
            raise ValueError(f"expects examples of shape (height, width, channels); got {shape}.")
        return (*pair(self.places, "places"), shape[2])

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The means, as two matrix products; the pullback uses the transposed matrices."""
        down, across = pair(self.places, "places")
        left, right = _mean_weights(x, x.shape[1], down), _mean_weights(x, x.shape[2], across)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return _both_ways(left.T, dy, right.T), {}

        return Out(_both_ways(left, x, right), pullback)


def _mean_weights(like: Array, size: int, outputs: int) -> Array:
    """The matrix, shape (outputs, size), whose rows average over the part of an axis that belongs to an output.

    It is computed on the device of `like`, in its dtype.
    """
    xp, device = namespace(like), device_of(like)
    i = xp.arange(outputs, dtype=xp.int32, device=device)[:, None]
    j = xp.arange(size, dtype=xp.int32, device=device)[None, :]
    first, last = i * size // outputs, ((i + 1) * size + (outputs - 1)) // outputs
    shares = 1.0 / xp.astype(last - first, at_least_float32_dtype(xp, like.dtype))
    return xp.astype(xp.where((first <= j) & (j < last), shares, xp.zeros_like(shares)), like.dtype, copy=False)


def _both_ways(left: Array, x: Array, right: Array) -> Array:
    """sum over i, j of left[p, i] x[n, i, j, c] right[q, j]."""
    xp, (n, h, w, c) = namespace(x), x.shape
    rows = xp.matmul(left, xp.reshape(x, (n, h, w * c)))
    return xp.matmul(right, xp.reshape(rows, (n, left.shape[0], w, c)))


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """y[n, c] = mean of x[n, ..., c] over all positions.    x: (batch, ..., channels)  y: (batch, channels).

    With a mask m, it is the mean over the positions that count: y[n, c] = (sum of m[n, ...] x[n, ..., c]) / (sum
    of m[n, ...]), or 0 if no position of an example counts.

    References
    ----------
    .. [1] Lin, Chen & Yan (2014), Network in network. ICLR.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.GlobalAvgPool().out_shape((7, 7, 1024))
    (1024,)
    """

    family = "pooling"
    drawn_as = "mean of all"
    masking = "use"

    def out_shape(self, shape: Shape) -> Shape:
        """The channels."""
        if len(shape) < 2:
            raise ValueError(f"expects examples of shape (..., channels) with positions to average over; got {shape}.")
        return shape[-1:]

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The mean over all positions; the pullback spreads dy over them."""
        if ctx.mask is not None:
            return _masked_mean(x, ctx.mask)
        xp, axes = namespace(x), tuple(range(1, x.ndim - 1))
        y = xp.mean(x, axis=axes, keepdims=True)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            each = at_least_float32(xp.reshape(dy, y.shape)) / math.prod(x.shape[1:-1])
            return xp.broadcast_to(xp.astype(each, dy.dtype, copy=False), x.shape), {}

        return Out(xp.reshape(y, (x.shape[0], x.shape[-1])), pullback)


def _masked_mean(x: Array, mask: Array) -> Out:
    """The mean over the positions that count; values at the others have no effect, not even NaN."""
    if mask.shape != x.shape[:-1]:
        raise ValueError(
            f"the mask must have the shape of the positions, {tuple(x.shape[:-1])}; got {tuple(mask.shape)}."
        )
    xp, axes = namespace(x), tuple(range(1, x.ndim - 1))
    counts = at_least_float32(xp.astype(mask, x.dtype))[..., None]
    weights = counts / xp.maximum(xp.sum(counts, axis=axes, keepdims=True), 1.0)

    def pullback(dy: Array) -> tuple[Array, Tree]:
        each = xp.reshape(dy, (x.shape[0], *(1 for _ in axes), x.shape[-1]))
        return xp.astype(each * weights, x.dtype, copy=False), {}

    y = xp.sum(xp.where(mask[..., None], x, xp.zeros_like(x)) * weights, axis=axes)
    return Out(xp.astype(y, x.dtype, copy=False), pullback)


@dataclass(frozen=True)
class LastStep(Layer):
    """y[n] = x[n, last position that counts].    x: (batch, positions, features)  y: (batch, features).

    After a recurrent layer, that is its state after the whole sequence. With a mask, the last position is the last one
    where the mask is true; y is 0 if no position of an example counts.

    Raises
    ------
    ValueError
        At `init`, if examples have no positions.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Network(nn.LSTM(16), nn.LastStep()).out_shape((20, 4))
    (16,)
    """

    family = "pooling"
    drawn_as = "last step"
    masking = "use"

    def out_shape(self, shape: Shape) -> Shape:
        """The features."""
        if len(shape) != 2 or shape[0] == 0:
            raise ValueError(f"expects examples of shape (positions, features) with at least 1 position; got {shape}.")
        return shape[1:]

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The features at the last position; the pullback gives dy to it."""
        xp, last = namespace(x), _last(x, ctx.mask)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return xp.where(last[..., None], dy[:, None, :], xp.zeros_like(x)), {}

        if ctx.mask is None:
            return Out(x[:, -1, :], pullback)
        return Out(xp.sum(xp.where(last[..., None], x, xp.zeros_like(x)), axis=1, dtype=x.dtype), pullback)


def _last(x: Array, mask: Array | None) -> Array:
    """True at the last position that counts, of each example."""
    xp = namespace(x)
    positions = xp.arange(x.shape[1], dtype=xp.int32, device=device_of(x))[None, :]
    if mask is None:
        return positions == x.shape[1] - 1
    if tuple(mask.shape) != tuple(x.shape[:2]):
        raise ValueError(
            f"the mask must have the shape of the positions, {tuple(x.shape[:2])}; got {tuple(mask.shape)}."
        )
    counted = xp.where(mask, positions, -xp.ones_like(positions))
    return xp.logical_and(mask, positions == xp.max(counted, axis=1, keepdims=True))
