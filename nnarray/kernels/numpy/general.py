"""Faster versions for NumPy arrays of any shape: written in place, in blocks that stay in the cache."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces, quiet
from nnarray.kernels.entries import Entries, program_of
from nnarray.kernels.standard.gradients import broadcast_axes
from nnarray.kernels.standard.normalisation import normalised
from nnarray.typing import Shape

BLOCK = 65_536  # elements: the few arrays of one block fit into the second-level cache


CHUNK = 16_384  # of each of them where NumPy's calls are few


def sum_of_rows(rows: Any) -> Any:
    """A product with ones: faster than a sum over the first axis, and float16 is summed in float32."""
    return np.matmul(np.ones(rows.shape[0], dtype=rows.dtype), rows)


def chosen(mask: Any, x: Any) -> Any:
    """`x` where the mask is true, else 0, infinity and nan too: a product of its bits, a fifth of a choice's time."""
    return np.multiply(x.view(f"i{x.itemsize}"), mask).view(x.dtype)


def _rows(x: Any) -> Any:
    """One product for all rows: NumPy would compute one for each index of the axes before."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _products(x: Any, weight: Any) -> Any:
    """The compiled products, if they pay for these rows and weights."""
    if x.size * weight.shape[-1] <= 4 * BLOCK:
        return None
    loops = numba_pieces("row" if x.size == x.shape[-1] else "products")
    return loops if loops and loops.takes(x, weight) else None


@kernels.affine.fast("numpy")
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """In compiled loops, where they are installed and pay; else the bias added in place."""
    loops = _products(x, weight)
    if loops:
        return loops.affine(x, weight, bias)
    y = np.matmul(_rows(x), weight).reshape(*x.shape[:-1], weight.shape[-1])
    return y if bias is None else np.add(y, bias, out=y)


@kernels.affine_pullback.fast("numpy")
def affine_pullback(dy: Any, x: Any, weight: Any, *, input_gradient: bool = True, bias_gradient: bool = True) -> Any:
    """In compiled loops, where they are installed and pay; else the bias gradient as a product too."""
    loops = _products(dy, weight.T) if dy.dtype == x.dtype and x.flags.c_contiguous else None
    if loops and dy.size > dy.shape[-1]:
        dx = loops.affine(dy, weight.T, None) if input_gradient else None
        dw, db = loops.gradients(dy, x)
        return dx, dw, db if bias_gradient else None
    rows, inputs = _rows(dy), _rows(x)
    dx = np.matmul(rows, weight.T).reshape(x.shape) if input_gradient else None
    return dx, np.matmul(inputs.T, rows), sum_of_rows(rows) if bias_gradient else None


@kernels.relu.fast("numpy")
def relu(x: Any) -> Any:
    """Compiled, where that pays."""
    loops = numba_pieces("pointwise") if x.size > BLOCK else None
    return loops.relu(x) if loops and loops.takes(x) else np.maximum(x, 0)


@kernels.relu_pullback.fast("numpy")
def relu_pullback(dy: Any, x: Any, y: Any) -> Any:
    """Compiled, where that pays; else without a choice."""
    loops = numba_pieces("pointwise") if dy.size > BLOCK else None
    return loops.relu_pullback(dy, y) if loops and loops.takes(dy, y) else chosen(y > 0, dy)


@kernels.mean_of_entries.fast("numpy")
def mean_of_entries(outputs: Any, target: Any, entry: Callable[..., Any]) -> Any:
    """Compiled from the definition of an entry, where that pays."""
    arrays = outputs, target
    many = outputs.size > BLOCK and outputs.dtype.itemsize >= 4 and all(x.flags.carray for x in arrays)
    alike = many and (target.dtype, target.shape) == (outputs.dtype, outputs.shape)
    loops: Any = numba_pieces("entries") if alike else None
    program = program_of(entry, outputs.dtype) if loops else None
    if program is None:
        return kernels.mean_of_entries.definition(outputs, target, entry)
    return loops.mean_of_entries(outputs, target, Entries(program, "mean"))


@kernels.cross_entropy_of_labels.fast("numpy")
def cross_entropy_of_labels(logits: Any, labels: Any) -> Any:
    """Compiled, where that pays: labels stay numbers, and no row is read from memory twice."""
    loops = _of_labels(logits, labels)
    return (
        loops.cross_entropy(logits, labels, 1.0)
        if loops
        else kernels.cross_entropy_of_labels.definition(logits, labels)
    )


@kernels.reduced_cross_entropy_of_labels.fast("numpy")
def reduced_cross_entropy_of_labels(logits: Any, labels: Any, *, total: int | None) -> Any:
    """In the same way."""
    loops = _of_labels(logits, labels)
    if not loops:
        return kernels.reduced_cross_entropy_of_labels.definition(logits, labels, total=total)
    count = 1.0 if total is None else float(total)
    losses, gradient = loops.cross_entropy(logits, labels, count)
    return np.add.reduce((losses / np.float32(count)).reshape(-1)), gradient


def _of_labels(logits: Any, labels: Any) -> Any:
    """The compiled loops for rows and their labels, if they pay."""
    loops = numba_pieces("labels") if logits.size > CHUNK else None
    return loops if loops and loops.takes(logits, labels, logits.shape[-1]) else None


@kernels.shrunk.fast("numpy")
def shrunk(theta: Any, decays: Any, *, factor: Any) -> Any:
    """In blocks that stay in the cache."""
    if getattr(factor, "ndim", 0) or theta.dtype != decays.dtype:
        return kernels.shrunk.definition(theta, decays, factor=factor)
    result = np.empty_like(theta)
    for start in range(0, theta.size, BLOCK):
        before, part = theta[start : start + BLOCK], result[start : start + BLOCK]
        np.multiply(decays[start : start + BLOCK], factor, out=part)
        np.multiply(before, part, out=part)
        np.subtract(before, part, out=part)
    return result


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


def _in_rows(x: Any) -> bool:
    """Whether x can be read as rows of channels without a copy, and summed as it is."""
    return x.dtype.itemsize >= 4 and x.flags.c_contiguous and x.size > 0


def _chunks(rows: Sequence[Any], vectors: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Entries of some rows of channels, which stay in the cache, and vectors of channels, repeated for as many rows.

    NumPy adds a vector to each row in a loop of its own, which is slow where there are few channels.
    """
    each = max(CHUNK // max(rows[0].shape[1], 1), 1)
    repeated = [np.tile(vector, each) for vector in vectors]
    for start in range(0, len(rows[0]), each):
        parts = [x[start : start + each].reshape(-1) for x in rows]
        yield *parts, *(vector[: parts[0].size] for vector in repeated)


def folded(entries: Any, channels: int) -> Any:
    """The sum of some rows of channels: one half onto the other while that goes, in long loops and with few roundings.

    Not a product, for which NumPy's library would wake its threads each time.
    """
    while entries.size > 16 * channels and entries.size % (2 * channels) == 0:
        half = entries.size // 2
        entries = entries[:half] + entries[half:]
    return np.add.reduce(entries.reshape(-1, channels))


@kernels.normalise.fast("numpy")
@quiet
def normalise(x: Any, *, axes: tuple[int, ...], epsilon: float) -> Any:
    """Without scales, where it turns out that none are needed."""
    normal = _normalised(x, axes, epsilon)
    return normal if (normal[1] > 0).all() else kernels.normalise.definition(x, axes=axes, epsilon=epsilon)


def _normalised(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    """Over all axes but the last: sums as products with ones, and two passes, the second in place."""
    if axes != tuple(range(x.ndim - 1)) or not _in_rows(x):
        return normalised(x, axes=axes, epsilon=epsilon)
    rows = x.reshape(-1, x.shape[-1])
    count = rows.shape[0]
    loops = numba_pieces("channels")
    if loops and loops.takes_rows(rows):
        z, *moments = loops.normalise(rows, epsilon)
        inverse, mean, variance = (each.reshape((1,) * (x.ndim - 1) + (-1,)) for each in moments)
        return z.reshape(x.shape), inverse, mean, variance
    mean = sum_of_rows(rows) / count
    z, squares = np.empty_like(rows), np.zeros_like(mean)
    for seen, part, means in _chunks([rows, z], [mean]):
        np.subtract(seen, means, out=part)
        squares += folded(np.multiply(part, part), mean.size)
    variance = squares / count
    inverse = (1.0 / np.sqrt(variance + epsilon)).astype(x.dtype, copy=False)
    for part, factors in _chunks([z], [inverse]):
        part *= factors
    small = (1,) * (x.ndim - 1) + (-1,)
    return z.reshape(x.shape), inverse.reshape(small), mean.reshape(small), variance.reshape(small)


@kernels.scale_and_shift.fast("numpy")
def scale_and_shift(z: Any, weight: Any, bias: Any) -> Any:
    """In one buffer."""
    loops = numba_pieces("channels")
    if loops and loops.takes_rows(z, weight, bias) and z.ndim > 1 and z.shape[-1:] == weight.shape == bias.shape:
        return loops.scaled(z.reshape(-1, z.shape[-1]), weight, bias).reshape(z.shape)
    if not (_in_rows(z) and z.ndim > 1 and z.dtype == weight.dtype == bias.dtype and z.size > CHUNK):
        y = z * weight
        return np.add(y, bias, out=y)
    y = np.empty_like(z)
    for seen, part, factors, summands in _chunks(
        [z.reshape(-1, z.shape[-1]), y.reshape(-1, z.shape[-1])], [weight, bias]
    ):
        np.multiply(seen, factors, out=part)
        part += summands
    return y


@kernels.layer_norm.fast("numpy")
@quiet
def layer_norm(x: Any, weight: Any, bias: Any, *, epsilon: float) -> Any:
    """Compiled, where that pays."""
    loops = numba_pieces("layer_norm") if x.size > CHUNK // 4 else None
    if loops and loops.takes(x, weight, bias) and x.shape[-1:] == weight.shape == bias.shape:
        y, *moments = loops.layer_norm(x.reshape(-1, x.shape[-1]), weight, bias, epsilon)
        if (moments[1] > 0).all():
            return y.reshape(x.shape), *(each.reshape(*x.shape[:-1], 1) for each in moments)
    elif x.dtype.itemsize >= 4 and x.dtype == weight.dtype and x.size:
        mean = np.add.reduce(x, axis=-1, keepdims=True) / x.dtype.type(x.shape[-1])
        y = x - mean
        inverse = 1.0 / np.sqrt(np.add.reduce(y * y, axis=-1, keepdims=True) / x.dtype.type(x.shape[-1]) + epsilon)
        if (inverse > 0).all():
            y *= inverse
            y *= weight
            y += bias
            return y, mean, inverse
    return kernels.layer_norm.definition(x, weight, bias, epsilon=epsilon)


@kernels.layer_norm_pullback.fast("numpy")
def layer_norm_pullback(dy: Any, x: Any, weight: Any, mean: Any, inverse: Any) -> Any:
    """Compiled, where that pays."""
    loops = numba_pieces("layer_norm") if dy.size > CHUNK else None
    moments = [np.ascontiguousarray(each).reshape(-1) for each in (mean, inverse)]
    if not (loops and loops.takes(dy, x, weight, *moments)):
        return kernels.layer_norm_pullback.definition(dy, x, weight, mean, inverse)
    rows = (-1, dy.shape[-1])
    dx, dw, db = loops.layer_norm_pullback(dy.reshape(rows), x.reshape(rows), weight, *moments)
    return dx.reshape(dy.shape), dw, db


@kernels.batch_norm_pullback.fast("numpy")
def batch_norm_pullback(dy: Any, z: Any, weight: Any, inverse: Any) -> Any:
    """Sums as products with ones, and two passes."""
    if not (_in_rows(dy) and _in_rows(z)):
        return kernels.batch_norm_pullback.definition(dy, z, weight, inverse)
    rows, zs = dy.reshape(-1, dy.shape[-1]), z.reshape(-1, z.shape[-1])
    loops = numba_pieces("channels")
    if loops and loops.takes_rows(rows, zs):
        dx, dw, db = loops.batch_norm_pullback(rows, zs, weight, inverse.reshape(-1))
        return dx.reshape(dy.shape), dw, db
    db, dw = sum_of_rows(rows), np.zeros_like(rows[0])
    for part, seen in _chunks([rows, zs], []):
        dw += folded(np.multiply(part, seen), dw.size)
    dx, scale = np.empty_like(rows), weight * inverse.reshape(-1)
    for part, seen, out, means, slopes, scales in _chunks([rows, zs, dx], [db / len(rows), dw / len(rows), scale]):
        np.multiply(seen, slopes, out=out)
        np.subtract(part, out, out=out)
        out -= means
        out *= scales
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
    difference = np.subtract(colour, below)
    whole = np.broadcast_shapes(difference.shape, alpha.shape) == difference.shape
    y: Any = np.multiply(difference, alpha, out=difference if whole else None)
    y += below
    return y


@kernels.guarded_product.fast("numpy")
def guarded_product(g: Any, factor: Any) -> Any:
    """The product alone, if all of it is finite, which the sum of its squares shows."""
    y = g * factor
    if math.isfinite(np.vdot(y, y).real):
        return y
    return np.where((g == 0) | (factor == 0), np.zeros_like(y), y)


@kernels.spread.fast("numpy")
def spread(g: Any, kept: Shape, shape: Shape) -> Any:
    """A view with strides of 0; NumPy's own function takes eight times as long to make it."""
    g = np.ascontiguousarray(g).reshape(kept)
    strides = [0 if k != n else stride for k, n, stride in zip(kept, shape, g.strides, strict=True)]
    y = np.ndarray(shape, g.dtype, g, 0, strides)
    y.flags.writeable = False
    return y


@kernels.summed_to.fast("numpy")
def summed_to(g: Any, shape: Shape) -> Any:
    """By the ufunc itself; few columns one after the other, as NumPy adds each row, at a cost for each row."""
    axes = broadcast_axes(g.shape, shape)
    if axes == (g.ndim - 1,) and 1 < g.shape[-1] <= 4 and g.dtype != np.float16:
        return functools.reduce(np.add, [g[..., i] for i in range(g.shape[-1])]).reshape(shape)
    return np.add.reduce(g, axis=axes).reshape(shape)
