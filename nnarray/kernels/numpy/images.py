"""Faster versions for images in NumPy arrays: convolutions as large products, or by Winograd's tiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.functions import Function
from nnarray.kernels.numpy import winograd
from nnarray.kernels.numpy.general import BLOCK, affine, affine_pullback, chosen, sum_of_rows
from nnarray.kernels.standard.windows import Window, cropped

COLUMNS = 2**20  # entries of the matrix of windows that is built at once; for smaller ones, threads are woken too often
PLACES = 512  # but rows of it at least: each block adds to the whole gradient of the filters
DEEP = 16  # channels and filters from which Winograd's tiles pay
MANY, MANY_KEPT = 40, 16  # and how many tiles, with filters that are transformed for one call, or once for many


def _pointwise(window: Window) -> bool:
    return window == Window((1, 1))


def _blocks(images: int, output_size: tuple[int, int], width: int) -> Any:
    """Parts of a batch, (images, rows of positions), whose windows fill about COLUMNS entries."""
    down, across = output_size
    places = max(COLUMNS // max(width, 1), PLACES)
    if down * across <= places:
        step = max(places // max(down * across, 1), 1)
        return [(slice(n, n + step), slice(0, down)) for n in range(0, images, step)]
    step = max(places // across, 1)
    return [(slice(n, n + 1), slice(p, p + step)) for n in range(images) for p in range(0, down, step)]


def _windows(padded_x: Any, window: Window, output_size: tuple[int, int]) -> Any:
    """Every window of the padded images as a view: (images, down, across, kernel height, kernel width, channels)."""
    n, h, w, c = padded_x.strides
    strides = (n, h * window.stride[0], w * window.stride[1], h * window.dilation[0], w * window.dilation[1], c)
    shape = (padded_x.shape[0], *output_size, *window.size, padded_x.shape[3])
    return np.lib.stride_tricks.as_strided(padded_x, shape, strides, writeable=False)


@kernels.convolution.fast("numpy")
def convolution(x: Any, weight: Any, bias: Any, *, window: Window, groups: int = 1) -> Any:
    """Compiled, by Winograd's tiles, or as large products, whichever is fastest here."""
    loops = numba_pieces("convolution")
    if loops and loops.takes(x, weight, window, groups):
        return loops.Convolution(weight, bias, window)(x)
    if groups == 1 and _pointwise(window):
        return affine(x, weight[0, 0], bias)
    y = np.empty((x.shape[0], *window.output_size(x.shape[1:3]), weight.shape[3]), dtype=x.dtype)
    if not (is_tiled(x, y, window, groups) and winograd.convolution(x, winograd.transformed(weight), window, y)):
        _products(x, weight, window, groups, y)
    return y if bias is None else np.add(y, bias, out=y)


@kernels.activated_convolution.fast("numpy")
def activated_convolution(
    x: Any, weight: Any, bias: Any, *, function: Function, window: Window, groups: int = 1
) -> Any:
    """The function is applied as the outputs are written, where it is a floor and compiled loops take the rest."""
    loops = numba_pieces("convolution") if function.floor is not None and function.from_output else None
    if loops and loops.takes(x, weight, window, groups):
        return None, loops.Convolution(weight, bias, window, least=function.floor)(x)
    return kernels.activated_convolution.definition(x, weight, bias, function=function, window=window, groups=groups)


def is_tiled(x: Any, y: Any, window: Window, groups: int, *, kept: bool = False) -> bool:
    """Whether Winograd's tiles are faster than large products; `kept` if the filters are transformed for many calls."""
    tiles = y.shape[0] * math.prod(winograd.tiles_of(y.shape[1:3]))
    many = min(x.shape[3], y.shape[3]) >= DEEP and tiles >= (MANY_KEPT if kept else MANY)
    return winograd.fits(window) and groups == 1 and x.dtype == y.dtype == np.float32 and many


def _framed(x: Any, window: Window, value: float = 0.0) -> Any:
    """The images with a border of a value."""
    if not any(map(any, window.padding)):
        return x
    return np.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=value)


def _products(x: Any, weight: Any, window: Window, groups: int, y: Any) -> None:
    """One large product a block of windows."""
    output_size = y.shape[1:3]
    framed = _framed(x, window)
    inputs, filters = x.shape[3] // groups, weight.shape[3] // groups
    for g in range(groups):
        seen = _windows(framed[..., g * inputs : (g + 1) * inputs], window, output_size)
        out = slice(g * filters, (g + 1) * filters)
        matrix = np.ascontiguousarray(weight[..., out]).reshape(-1, filters)
        for images, rows in _blocks(x.shape[0], output_size, matrix.shape[0]):
            block, places = seen[images, rows].reshape(-1, matrix.shape[0]), y[images, rows, :, out]
            if groups == 1:
                np.matmul(block, matrix, out=places.reshape(-1, filters))
            else:
                places[...] = np.matmul(block, matrix).reshape(places.shape)


@kernels.convolution_pullback.fast("numpy")
def convolution_pullback(
    dy: Any,
    x: Any,
    weight: Any,
    *,
    window: Window,
    groups: int = 1,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> Any:
    """Compiled, or as large products."""
    if groups == 1 and _pointwise(window):
        asked = {"input_gradient": input_gradient, "bias_gradient": bias_gradient}
        dx, dw, db = affine_pullback(dy, x, weight[0, 0], **asked)
        return dx, dw.reshape(weight.shape), db
    loops = numba_pieces("convolution")
    if loops and loops.takes(x, weight, window, groups) and dy.dtype == x.dtype:
        dx, dw = None, loops.weight_gradient(dy, x, window)
        if input_gradient and loops.takes_input_back(window):
            dx = loops.input_gradient(dy, weight, window)
        elif input_gradient:
            dx = _products_back(dy, x, weight, window, groups, input_gradient=True)[0]
        return dx, dw, loops.bias_gradient(dy) if bias_gradient else None
    db = sum_of_rows(dy.reshape(-1, dy.shape[-1])) if bias_gradient else None
    dx = _turned(dy, weight, window) if input_gradient and _turns(window, groups) else None
    dw = _by_tiles_back(dy, x, window, groups)
    if dw is None or (input_gradient and dx is None):
        products = _products_back(dy, x, weight, window, groups, input_gradient=input_gradient and dx is None)
        dx, dw = (theirs if ours is None else ours for ours, theirs in zip((dx, dw), products, strict=True))
    return dx, dw, db


def _by_tiles_back(dy: Any, x: Any, window: Window, groups: int) -> Any:
    """dW by Winograd's tiles; None where they are not faster, or would spread nan or infinity."""
    if not (is_tiled(x, dy, window, groups) and winograd.pays_back(x, dy)):
        return None
    dw = winograd.weight_gradient(dy, x, window)
    return dw if math.isfinite(dw.sum()) else None


def _turns(window: Window, groups: int) -> bool:
    """Whether the gradient of the inputs is a convolution with turned filters, of windows that are not wider."""
    sides = zip(window.size, window.padding, strict=True)
    plain = window.stride == window.dilation == (1, 1) and groups == 1
    return plain and all(0 <= each < size for size, padding in sides for each in padding)


def _turned(dy: Any, weight: Any, window: Window) -> Any:
    """dx: what an output sees of an input, seen from there."""
    filters = np.ascontiguousarray(weight[::-1, ::-1].transpose(0, 1, 3, 2))
    down, across = (
        (size - 1 - before, size - 1 - after) for size, (before, after) in zip(window.size, window.padding, strict=True)
    )
    return convolution(dy, filters, None, window=window._replace(padding=(down, across)))


def _products_back(dy: Any, x: Any, weight: Any, window: Window, groups: int, *, input_gradient: bool) -> Any:
    """Two large products a block of windows: one for dW, one whose rows are added back over the windows for dx."""
    output_size = window.output_size(x.shape[1:3])
    framed = _framed(x, window)
    framed_dx: Any = np.zeros_like(framed) if input_gradient else None
    dw = np.zeros_like(weight, order="C")
    inputs, filters = x.shape[3] // groups, weight.shape[3] // groups
    for g in range(groups):
        channels, out = slice(g * inputs, (g + 1) * inputs), slice(g * filters, (g + 1) * filters)
        seen = _windows(framed[..., channels], window, output_size)
        matrix = weight[..., out].reshape(-1, filters)
        for images, rows in _blocks(x.shape[0], output_size, matrix.shape[0]):
            dy_rows = dy[images, rows, :, out].reshape(-1, filters)
            block = seen[images, rows].reshape(-1, matrix.shape[0])
            dw[..., out] += (dy_rows.T @ block).T.reshape(*window.size, inputs, filters)  # few filters: faster turned
            if framed_dx is not None:
                back = (dy_rows @ matrix.T).reshape(-1, *dy[images, rows].shape[1:3], *window.size, inputs)
                _add_back(framed_dx[images, ..., channels], back, window, rows.start)
    return None if framed_dx is None else cropped(framed_dx, window.padding), dw


def _add_back(framed_dx: Any, back: Any, window: Window, first_row: int) -> None:
    """Add each tap's part to the entries that it met; rows of positions begin at `first_row`."""
    for i, j in window.taps():
        rows, columns = window.seen_by((i, j), back.shape[1:3])
        start = first_row * window.stride[0]
        framed_dx[:, rows.start + start : rows.stop + start : rows.step, columns] += back[:, :, :, i, j]


@kernels.max_pool.fast("numpy")
def max_pool(x: Any, *, window: Window) -> Any:
    """Compiled; or down the rows first and then across, in place."""
    loops = numba_pieces("pooling")
    if loops and loops.takes_pool(x, window):
        return loops.max_pool(x, window)
    padded_x = _framed(x, window, -np.inf)
    down, across = window.output_size(x.shape[1:3])
    rows = _largest(padded_x, 1, window.size[0], window.stride[0], window.dilation[0], down)
    return _largest(rows, 2, window.size[1], window.stride[1], window.dilation[1], across)


def _largest(x: Any, axis: int, size: int, stride: int, dilation: int, count: int) -> Any:
    """The largest of `size` entries along an axis, at each position."""

    def seen(tap: int) -> Any:
        start = tap * dilation
        return x[(slice(None),) * axis + (slice(start, start + stride * (count - 1) + 1, stride),)]

    if size == 1:
        return np.ascontiguousarray(seen(0))
    y = np.maximum(seen(0), seen(1))
    for tap in range(2, size):
        np.maximum(y, seen(tap), out=y)
    return y


@kernels.max_pool_pullback.fast("numpy")
def max_pool_pullback(dy: Any, x: Any, y: Any, *, window: Window) -> Any:
    """Compiled; or added in place."""
    loops = numba_pieces("pooling")
    if loops and x.dtype == dy.dtype == y.dtype == np.float32 and window.dilation == (1, 1) and x.size:
        return loops.max_pool_pullback(dy, x, y, window)
    framed = _framed(x, window, -np.inf)
    framed_dx: Any = np.zeros(framed.shape, dtype=np.result_type(dy.dtype, np.float32))
    step = max(BLOCK // (math.prod(y.shape[1:]) or 1), 1)
    for n in range(0, len(y), step):
        _to_first(dy[n : n + step], framed[n : n + step], y[n : n + step], window, framed_dx[n : n + step])
    dx: Any = cropped(framed_dx, window.padding)
    return dx.astype(dy.dtype, copy=False)


def _to_first(dy: Any, x: Any, y: Any, window: Window, dx: Any) -> None:
    """Add dy to dx at the first entry of each window that is y: its bits leave `left`, which has what is not given."""
    left = dy.astype(dx.dtype, order="C")
    bits, reach = left.view(f"i{left.itemsize}"), zip(window.stride, window.size, window.dilation, strict=True)
    apart = all(stride > dilation * (size - 1) for stride, size, dilation in reach)
    for tap in window.taps():
        seen = (slice(None), *window.seen_by(tap, y.shape[1:3]))
        part = chosen(np.ascontiguousarray(x[seen]) == y, left)
        bits ^= part.view(bits.dtype)
        if apart:
            dx[seen] = part
        else:
            dx[seen] += part


@kernels.mean_pool_pullback.fast("numpy")
def mean_pool_pullback(dy: Any, x: Any, counts: Any, *, window: Window) -> Any:
    """Added in place."""
    (top, bottom), (left, right) = window.padding
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    padded_dx: Any = np.zeros(shape, dtype=np.result_type(dy.dtype, np.float32))
    scaled_dy = dy / counts
    for tap in window.taps():
        padded_dx[(slice(None), *window.seen_by(tap, dy.shape[1:3]))] += scaled_dy
    dx: Any = cropped(padded_dx, window.padding)
    return dx.astype(dy.dtype, copy=False)
