"""Attention for NumPy arrays, in blocks of queries whose weights stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces, quiet
from nnarray.kernels.standard.attention import QUERIES

ENTRIES = 2**18  # weights at a time: they stay in the cache between the products
MANY = 4096  # weights from which compiled loops pay


def _by_calls(q: Any, k: Any, v: Any, kept: Any, mask: Any) -> bool:
    """Whether NumPy's calls pay; else the definition computes."""
    if mask is not None and mask.dtype != bool:  # numbers of texts, not truth values
        return False
    return kept is None and q.dtype == k.dtype == v.dtype and q.dtype.itemsize >= 4 and 0 not in (q.size, k.size)


def _loops(q: Any, k: Any, *others: Any) -> Any:
    """The compiled loops, if they pay."""
    loops = numba_pieces("attention") if math.prod(q.shape[:3]) * k.shape[2] >= MANY else None
    return loops if loops and loops.takes(q, k, *others) else None


def _weights(scores: Any, normaliser: Any, seen: Any, period: int, last: int, *, known: bool) -> None:
    """Scores, (rows, keys), become weights; row r sees the keys up to `last` + r modulo `period`."""
    hidden = None if seen is None else np.repeat(~seen, len(scores) // len(seen), axis=0)
    if last + 1 < scores.shape[1]:
        later = np.arange(scores.shape[1]) > last + np.arange(len(scores))[:, None] % period
        hidden = later if hidden is None else hidden | later
    if hidden is not None:
        scores[hidden] = -np.inf
    if known:
        np.exp(np.subtract(scores, normaliser[:, None], out=scores), out=scores)
        return
    largest = scores.max(axis=1)
    largest[~np.isfinite(largest)] = 0.0
    np.exp(np.subtract(scores, largest[:, None], out=scores), out=scores)
    total = scores.sum(axis=1)
    total[total == 0.0] = 1.0
    normaliser[...] = largest + np.log(total)
    scores /= total[:, None]


def _parts(q: Any, keys: int) -> Iterator[tuple[slice, slice]]:
    """Some examples and some queries at a time."""
    batch, heads, queries, _ = q.shape
    rows = min(queries, QUERIES)
    each = max(ENTRIES // (heads * rows * keys), 1)
    for start in range(0, batch, each):
        for first in range(0, queries, rows):
            yield slice(start, min(start + each, batch)), slice(first, min(first + rows, queries))


def _grouped(x: Any, groups: int) -> Any:
    """The heads of a group below one another: a view where each group has one."""
    return x if x.shape[1] == groups else x.reshape(x.shape[0], groups, -1, x.shape[3])


def _product(a: Any, b: Any) -> Any:
    """Rows that lie one after the other, whatever the layout of a and b: they are written to as rows."""
    return np.matmul(a, b, out=np.empty((*a.shape[:3], b.shape[3]), a.dtype))


def _empty(like: Any) -> Any:
    """Memory in which the heads of a position lie next to each other: joining them moves nothing."""
    batch, heads, positions, size = like.shape
    return np.empty((batch, positions, heads, size), like.dtype).swapaxes(1, 2)


def _seen(mask: Any, examples: slice, keys: int) -> Any:
    """The keys that each example sees; None if it is all of them."""
    return None if mask is None else mask[examples, :keys]


@kernels.attention.fast("numpy")
@quiet
def attention(
    q: Any, k: Any, v: Any, mask: Any, kept: Any, *, causal: bool = False, first: Any = 0, rate: float = 0.0
) -> Any:
    """In compiled loops, where they are installed and pay."""
    if not _by_calls(q, k, v, kept, mask):
        return kernels.attention.definition(q, k, v, mask, kept, causal=causal, first=first, rate=rate)
    loops = _loops(q, k, v)
    if loops:
        return loops.attention(q, k, v, mask, int(first) if causal else None)
    y, normaliser = _empty(q), np.empty(q.shape[:3], q.dtype)
    scale = q.dtype.type(1.0 / math.sqrt(q.shape[3]))
    for examples, rows in _parts(q, k.shape[2]):
        part, count = q[examples, :, rows], rows.stop - rows.start
        end = min(int(first) + rows.stop, k.shape[2]) if causal else k.shape[2]
        scores = _product(_grouped(part * scale, k.shape[1]), k[examples, :, :end].swapaxes(2, 3))
        flat, found = scores.reshape(-1, end), np.empty(part.shape[:3], q.dtype)
        last = int(first) + rows.start if causal else end
        _weights(flat, found.reshape(-1), _seen(mask, examples, end), count, last, known=False)
        y[examples, :, rows] = np.matmul(scores, v[examples, :, :end]).reshape(part.shape)
        normaliser[examples, :, rows] = found
    return y, normaliser


@kernels.attention_pullback.fast("numpy")
@quiet
def attention_pullback(
    dy: Any,
    q: Any,
    k: Any,
    v: Any,
    y: Any,
    normaliser: Any,
    mask: Any,
    kept: Any,
    *,
    causal: bool = False,
    rate: float = 0.0,
) -> Any:
    """In compiled loops, where they are installed and pay."""
    if not _by_calls(q, k, v, kept, mask) or dy.dtype != q.dtype:
        return kernels.attention_pullback.definition(dy, q, k, v, y, normaliser, mask, kept, causal=causal, rate=rate)
    loops = _loops(q, k, v, y, dy, normaliser)
    if loops:
        return loops.attention_pullback(dy, q, k, v, y, normaliser, mask, causal)
    scale, groups = 1.0 / math.sqrt(q.shape[3]), k.shape[1]
    dq, dk, dv = _empty(q), _empty(k), _empty(v)
    dk[...], dv[...] = 0, 0
    along = np.einsum("bhqi,bhqi->bhq", dy, y)
    for examples, rows in _parts(q, k.shape[2]):
        part, count = q[examples, :, rows], rows.stop - rows.start
        end = min(rows.stop, k.shape[2]) if causal else k.shape[2]
        queries, dys = _grouped(part, groups), _grouped(dy[examples, :, rows], groups)
        keys, values = k[examples, :, :end], v[examples, :, :end]
        weights = _product(queries * q.dtype.type(scale), keys.swapaxes(2, 3))
        last, sizes = rows.start if causal else end, (-1, end)
        known = np.ascontiguousarray(normaliser[examples, :, rows]).reshape(-1)
        _weights(weights.reshape(sizes), known, _seen(mask, examples, end), count, last, known=True)
        dv[examples, :, :end] += np.matmul(weights.swapaxes(2, 3), dys)
        dscores = _product(dys, values.swapaxes(2, 3))
        aligned = np.ascontiguousarray(along[examples, :, rows]).reshape(-1)
        dscores.reshape(sizes)[...] = weights.reshape(sizes) * (dscores.reshape(sizes) - aligned[:, None]) * scale
        dq[examples, :, rows] = np.matmul(dscores, keys).reshape(part.shape)
        dk[examples, :, :end] += np.matmul(dscores.swapaxes(2, 3), queries)
    return dq, dk, dv


@kernels.joined_heads.fast("numpy")
def joined_heads(*parts: Any) -> Any:
    """Nothing is moved, where the parts lie next to each other, as the pullback of attention writes them."""
    rows = [part.swapaxes(1, 2) for part in parts]
    first, size = rows[0], rows[0].shape[3]
    whole = [rows[0].shape[0], rows[0].shape[1], sum(each.shape[2] for each in rows), size]
    steps, at = (whole[1] * whole[2] * size, whole[2] * size, size, 1), first.__array_interface__["data"][0]
    for each in rows:
        address = each.__array_interface__["data"][0]
        lies = each.base is not None and each.base is first.base and address == at
        if not lies or each.strides != tuple(step * each.itemsize for step in steps):
            return kernels.joined_heads.definition(*parts)
        at += each.shape[2] * size * each.itemsize
    return np.lib.stride_tricks.as_strided(first, whole).reshape(*whole[:2], -1)
