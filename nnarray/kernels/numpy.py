"""Faster versions for NumPy arrays: written in place, in blocks that stay in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray import kernels

BLOCK = 65_536  # elements: the few arrays of one block fit into the second-level cache


@kernels.affine.fast("numpy")
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """The bias added in place."""
    y = np.matmul(x, weight)
    return y if bias is None else np.add(y, bias, out=y)


@kernels.affine_pullback.fast("numpy")
def affine_pullback(dy: Any, x: Any, weight: Any, *, input_gradient: bool = True) -> Any:
    """The bias gradient as a product with ones, which is faster than a sum over the first axis."""
    rows = dy.reshape(-1, dy.shape[-1])
    inputs = x.reshape(-1, x.shape[-1])
    dx = np.matmul(dy, weight.T) if input_gradient else None
    return dx, np.matmul(inputs.T, rows), np.matmul(np.ones(rows.shape[0], dtype=dy.dtype), rows)


@kernels.relu_pullback.fast("numpy")
def relu_pullback(dy: Any, x: Any, y: Any) -> Any:
    """A product with the mask: a tenth of the time of a choice."""
    return dy * (y > 0)


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
    """In place and in blocks, each read from memory once; the corrections move into rate and epsilon."""
    root_correction = correction2**0.5
    rate = rate / correction1 * root_correction
    epsilon = epsilon * root_correction
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
