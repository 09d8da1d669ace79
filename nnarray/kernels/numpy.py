"""Faster versions for NumPy arrays: written in place, in blocks that stay in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.standard.windows import Window, cropped

BLOCK = 65_536  # elements: the few arrays of one block fit into the second-level cache


def _sum_of_rows(rows: Any) -> Any:
    """A product with ones: faster than a sum over the first axis, and float16 is summed in float32."""
    return np.matmul(np.ones(rows.shape[0], dtype=rows.dtype), rows)


def _where(mask: Any, x: Any) -> Any:
    """`x` where the mask is true, else 0, infinity and nan too: a product of its bits, a fifth of a choice's time."""
    return np.multiply(x.view(f"i{x.itemsize}"), mask).view(x.dtype)


@kernels.affine.fast("numpy")
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """The bias added in place."""
    y = np.matmul(x, weight)
    return y if bias is None else np.add(y, bias, out=y)


@kernels.affine_pullback.fast("numpy")
def affine_pullback(dy: Any, x: Any, weight: Any, *, input_gradient: bool = True) -> Any:
    """The bias gradient as a product too."""
    rows = dy.reshape(-1, dy.shape[-1])
    inputs = x.reshape(-1, x.shape[-1])
    dx = np.matmul(dy, weight.T) if input_gradient else None
    return dx, np.matmul(inputs.T, rows), _sum_of_rows(rows)


@kernels.relu_pullback.fast("numpy")
def relu_pullback(dy: Any, x: Any, y: Any) -> Any:
    """Without a choice."""
    return _where(y > 0, dy)


@kernels.sgd_update.fast("numpy")
def sgd_update(theta: Any, gradient: Any, *, rate: Any) -> Any:
    """In place."""
    gradient *= rate
    theta -= gradient
    return theta


@kernels.adam_update.fast("numpy")
def adam_update(
    theta: Any,
    gradient: Any,
    mean: Any,
    square: Any,
    *,
    rate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    correction1: Any,
    correction2: Any,
) -> Any:
    """In place, each entry read from memory once; the corrections move into rate and epsilon."""
    root_correction = correction2**0.5
    rate = rate / correction1 * root_correction
    epsilon = epsilon * root_correction
    if (pieces := numba_pieces()) is not None:
        pieces.adam(theta, gradient, mean, square, rate, beta1, beta2, epsilon)
        return theta, mean, square
    scratch = np.empty(min(BLOCK, theta.size), dtype=theta.dtype)
    for start in range(0, theta.size, BLOCK):
        part = slice(start, start + BLOCK)
        g, m, v, p = gradient[part], mean[part], square[part], theta[part]
        s = scratch[: g.size]
        np.multiply(g, 1.0 - beta1, out=s)
        m *= beta1
        m += s
        np.multiply(g, g, out=s)
        s *= 1.0 - beta2
        v *= beta2
        v += s
        np.sqrt(v, out=s)
        s += epsilon
        np.divide(m, s, out=s)
        s *= rate
        p -= s
    return theta, mean, square


@kernels.threefry.fast("numpy")
def threefry(counter: Any, high: Any, key0: Any, key1: Any) -> Any:
    """The rounds in place on unsigned words, in blocks that stay in the cache."""
    words = np.ascontiguousarray(counter).reshape(-1).view(np.uint32)
    k0, k1, start = (np.asarray(word, dtype=np.int32).astype(np.uint32) for word in (key0, key1, high))
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    a_all, b_all = np.empty_like(words), np.empty_like(words)
    scratch = np.empty(min(BLOCK, words.size), dtype=np.uint32)
    for first in range(0, words.size, BLOCK):
        a, b = a_all[first : first + BLOCK], b_all[first : first + BLOCK]
        np.add(words[first : first + BLOCK], keys[0], out=a)
        b[...] = start
        b += keys[1]
        _rounds(a, b, keys, scratch[: a.size])
    return a_all.view(np.int32).reshape(counter.shape), b_all.view(np.int32).reshape(counter.shape)


def _rounds(a: Any, b: Any, keys: Any, scratch: Any) -> None:
    for i in range(5):
        for r in (13, 15, 26, 6) if i % 2 == 0 else (17, 29, 16, 24):
            np.add(a, b, out=a)
            np.left_shift(b, r, out=scratch)
            np.right_shift(b, 32 - r, out=b)
            np.bitwise_or(b, scratch, out=b)
            np.bitwise_xor(b, a, out=b)
        np.add(a, keys[(i + 1) % 3], out=a)
        np.add(b, keys[(i + 2) % 3], out=b)
        np.add(b, np.uint32(i + 1), out=b)


# --- Pictures ---------------------------------------------------------------------------------------------------

COLUMNS = 2**20  # entries of the matrix of windows that is built at once: 4 MB in float32


def _pointwise(window: Window) -> bool:
    return window == Window((1, 1))


def _blocks(images: int, places: tuple[int, int], width: int) -> Any:
    """Parts of a batch, (images, rows of places), whose windows fill no more than COLUMNS entries."""
    whole = places[0] * places[1] * width
    if whole <= COLUMNS:
        step = max(COLUMNS // max(whole, 1), 1)
        return [(slice(n, n + step), slice(0, places[0])) for n in range(0, images, step)]
    step = max(COLUMNS // (places[1] * width), 1)
    return [(slice(n, n + 1), slice(p, p + step)) for n in range(images) for p in range(0, places[0], step)]


def _windows(wide: Any, window: Window, places: tuple[int, int]) -> Any:
    """Every window of the padded pictures as a view: (images, down, across, kernel height, kernel width, channels)."""
    n, h, w, c = wide.strides
    strides = (n, h * window.stride[0], w * window.stride[1], h * window.dilation[0], w * window.dilation[1], c)
    shape = (wide.shape[0], *places, *window.size, wide.shape[3])
    return np.lib.stride_tricks.as_strided(wide, shape, strides, writeable=False)


@kernels.convolution.fast("numpy")
def convolution(x: Any, weight: Any, bias: Any, *, window: Window, groups: int = 1) -> Any:
    """One large product a block of windows; none is built for 1x1 windows."""
    if groups == 1 and _pointwise(window):
        return affine(x, weight[0, 0], bias)
    places = window.places(x.shape[1:3])
    wide = np.pad(x, ((0, 0), *window.padding, (0, 0))) if any(map(any, window.padding)) else x
    y = np.empty((x.shape[0], *places, weight.shape[3]), dtype=x.dtype)
    inputs, filters = x.shape[3] // groups, weight.shape[3] // groups
    for g in range(groups):
        seen = _windows(wide[..., g * inputs : (g + 1) * inputs], window, places)
        out = slice(g * filters, (g + 1) * filters)
        matrix = weight[..., out].reshape(-1, filters)
        for images, rows in _blocks(x.shape[0], places, matrix.shape[0]):
            block = seen[images, rows]
            y[images, rows, :, out] = (block.reshape(-1, matrix.shape[0]) @ matrix).reshape(*block.shape[:3], filters)
    return y if bias is None else np.add(y, bias, out=y)


@kernels.convolution_pullback.fast("numpy")
def convolution_pullback(
    dy: Any, x: Any, weight: Any, *, window: Window, groups: int = 1, input_gradient: bool = True
) -> Any:
    """Two large products a block of windows: one for dW, one whose rows are added back over the windows for dx."""
    if groups == 1 and _pointwise(window):
        dx, dw, db = affine_pullback(dy, x, weight[0, 0], input_gradient=input_gradient)
        return dx, dw.reshape(weight.shape), db
    places = window.places(x.shape[1:3])
    wide = np.pad(x, ((0, 0), *window.padding, (0, 0))) if any(map(any, window.padding)) else x
    dwide: Any = np.zeros_like(wide) if input_gradient else None
    dw = np.zeros_like(weight, order="C")
    inputs, filters = x.shape[3] // groups, weight.shape[3] // groups
    for g in range(groups):
        channels, out = slice(g * inputs, (g + 1) * inputs), slice(g * filters, (g + 1) * filters)
        seen = _windows(wide[..., channels], window, places)
        matrix = weight[..., out].reshape(-1, filters)
        for images, rows in _blocks(x.shape[0], places, matrix.shape[0]):
            slopes = dy[images, rows, :, out].reshape(-1, filters)
            dw[..., out] += (seen[images, rows].reshape(-1, matrix.shape[0]).T @ slopes).reshape(
                *window.size, inputs, filters
            )
            if dwide is not None:
                back = (slopes @ matrix.T).reshape(-1, *dy[images, rows].shape[1:3], *window.size, inputs)
                _add_back(dwide[images, ..., channels], back, window, rows.start)
    db = _sum_of_rows(dy.reshape(-1, dy.shape[-1]))
    return None if dwide is None else cropped(dwide, window.padding), dw, db


def _add_back(dwide: Any, back: Any, window: Window, first_row: int) -> None:
    """Add each tap's part to the entries that it met; rows of places begin at `first_row`."""
    for i, j in window.taps():
        rows, columns = window.seen_by((i, j), back.shape[1:3])
        start = first_row * window.stride[0]
        dwide[:, rows.start + start : rows.stop + start : rows.step, columns] += back[:, :, :, i, j]


@kernels.max_pool_pullback.fast("numpy")
def max_pool_pullback(dy: Any, x: Any, y: Any, *, window: Window) -> Any:
    """Added in place."""
    places = window.places(x.shape[1:3])
    wide = np.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=-np.inf) if any(map(any, window.padding)) else x
    dwide: Any = np.zeros(wide.shape, dtype=dy.dtype)
    free = np.ones(y.shape, dtype=bool)
    for tap in window.taps():
        seen = (slice(None), *window.seen_by(tap, places))
        won = (wide[seen] == y) & free
        free &= ~won
        dwide[seen] += _where(won, dy)
    return cropped(dwide, window.padding)


@kernels.mean_pool_pullback.fast("numpy")
def mean_pool_pullback(dy: Any, x: Any, counts: Any, *, window: Window) -> Any:
    """Added in place."""
    (top, bottom), (left, right) = window.padding
    dwide: Any = np.zeros(
        (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]), dtype=dy.dtype
    )
    shares = dy / counts
    for tap in window.taps():
        dwide[(slice(None), *window.seen_by(tap, dy.shape[1:3]))] += shares
    return cropped(dwide, window.padding)


def _in_rows(x: Any) -> bool:
    """Whether x can be read as rows of channels without a copy, and summed as it is."""
    return x.dtype.itemsize >= 4 and x.flags.c_contiguous and x.size > 0


@kernels.normalise.fast("numpy")
def normalise(x: Any, *, axes: tuple[int, ...], epsilon: float) -> Any:
    """Over all axes but the last: sums as products with ones, and two passes that write over each other."""
    if axes != tuple(range(x.ndim - 1)) or not _in_rows(x):
        return kernels.normalise.definition(x, axes=axes, epsilon=epsilon)
    rows = x.reshape(-1, x.shape[-1])
    count = rows.shape[0]
    mean = _sum_of_rows(rows) / count
    z = rows - mean
    variance = _sum_of_rows(np.multiply(z, z)) / count
    inverse = (1.0 / np.sqrt(variance + epsilon)).astype(x.dtype, copy=False)
    z *= inverse
    small = (1,) * (x.ndim - 1) + (-1,)
    return z.reshape(x.shape), inverse.reshape(small), mean.reshape(small), variance.reshape(small)


@kernels.batch_norm_pullback.fast("numpy")
def batch_norm_pullback(dy: Any, z: Any, weight: Any, inverse: Any) -> Any:
    """Sums as products with ones, in two buffers."""
    if not (_in_rows(dy) and _in_rows(z)):
        return kernels.batch_norm_pullback.definition(dy, z, weight, inverse)
    rows, zs = dy.reshape(-1, dy.shape[-1]), z.reshape(-1, z.shape[-1])
    scratch = rows * zs
    db, dw = _sum_of_rows(rows), _sum_of_rows(scratch)
    dx = rows - db / rows.shape[0]
    np.multiply(zs, dw / rows.shape[0], out=scratch)
    dx -= scratch
    dx *= weight * inverse.reshape(-1)
    return dx.reshape(dy.shape), dw, db


@kernels.ellipse.fast("numpy")
def ellipse(u: Any, v: Any, u0: Any, v0: Any, a: Any, b: Any, pixels: Any) -> Any:
    """In two buffers."""
    k = 0.5 * pixels * np.sqrt(np.ones_like(pixels) * a * b)
    root = np.sqrt(k)
    du, dv = (u - u0) * (root / a), (v - v0) * (root / b)
    np.multiply(du, du, out=du)
    np.multiply(dv, dv, out=dv)
    whole = np.broadcast_shapes(du.shape, dv.shape) == du.shape
    q: Any = np.add(du, dv, out=du if whole else None)
    np.subtract(k + 0.5, q, out=q)
    return np.clip(q, 0.0, 1.0, out=q)


@kernels.blend.fast("numpy")
def blend(below: Any, colour: Any, alpha: Any) -> Any:
    """In one buffer."""
    way = np.subtract(colour, below)
    whole = np.broadcast_shapes(way.shape, alpha.shape) == way.shape
    y: Any = np.multiply(way, alpha, out=way if whole else None)
    y += below
    return y
