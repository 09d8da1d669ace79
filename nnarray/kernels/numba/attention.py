"""Attention and its gradients, compiled by Numba: threads share the examples and the groups of heads.

The weights of some queries at a time stay in the cache, and keys that no query of them sees are left out.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import exp, piece
from nnarray.kernels.numba.memory import empty
from nnarray.kernels.numba.rows import packed
from nnarray.kernels.numba.vectors import PANEL, ROWS, added_product, compiled, product
from nnarray.kernels.threads import shared

QUERIES = 64  # of a block at most, whose weights stay in the cache
ENTRIES = 65_536  # weights of a block at most, if there are many keys
LARGE = 1_500_000  # multiply-adds of a thread's part at least: some 30 us
FEW = 6  # queries below which NumPy's calls are faster: keys and values are not read in another order
LOWEST, ENDLESS = np.float32(-3e38), np.float32(-np.inf)


@piece
def _panels(size: int) -> int:
    """The size, filled up to whole panels."""
    return -(-size // PANEL) * PANEL


@piece
def _scored(
    rows: int, x: Any, at: int, step: int, panels: Any, size: int, keys: int, scores: Any, out: int, bias: Any
) -> None:
    """Some rows of scores <- the products of x with the first keys, which lie in panels."""
    for panel in range(0, keys, PANEL):
        product(
            rows, x, at, step, 0, 1, panels, panel * size, 0, PANEL,
            scores, out + panel, scores.shape[1], 1, size, bias, 0, ENDLESS,
        )  # fmt: skip


@piece
def _mean(rows: int, weights: Any, at: int, count: int, panels: Any, keys: int, size: int, y: Any, bias: Any) -> None:
    """Some rows of y <- the sums of the first vectors, which lie in panels of all keys, by their weights."""
    for panel in range(0, size, PANEL):
        product(
            rows, weights, at, weights.shape[1], 0, 1, panels, panel * keys, 0, PANEL,
            y, panel, y.shape[1], 1, count, bias, 0, ENDLESS,
        )  # fmt: skip


@piece
def _exponentials(row: Any, count: int, last: int, scale: Any, mask: Any) -> tuple[Any, Any]:
    """Row <- exp(scale row - the largest) where a query sees up to `last`, else 0; that largest, and the sum.

    Whole panels, so that no loop ends with single numbers.
    """
    largest, total = LOWEST, np.float32(0)
    for j in range(_panels(count)):
        score = row[j] * scale
        row[j] = score if mask[j] & (j <= last) else ENDLESS
    for j in range(_panels(count)):
        largest = max(largest, row[j])
    for j in range(_panels(count)):
        row[j] = np.float32(0) if row[j] <= LOWEST else exp(row[j] - largest)  # nan stays nan
        total += row[j]
    return largest, total


@piece
def _derivatives(
    p: Any, d: Any, count: int, last: int, scale: Any, normal: Any, along: Any, mask: Any, wide: int
) -> None:
    """P <- the weights from the products, and d <- the derivatives of these, of a query that sees up to `last`."""
    end = _panels(count)
    for j in range(end):
        sees, power, change = mask[j] & (j <= last), exp(p[j] * scale - normal), d[j] - along
        p[j] = power if sees else np.float32(0)
        d[j] = power * change * scale if sees else np.float32(0)
    for j in range(end, min(end + PANEL, wide)):  # as far as strips of keys reach that begin before
        p[j], d[j] = np.float32(0), np.float32(0)


@compiled
def _forward(arrays: Any, steps: Any, sizes: Any, seen: Any, last: int, units: Any, normaliser: Any) -> None:
    """Y and normalisers of some groups of heads; query i sees the keys up to `last` + i that `seen` names."""
    q, k, v, y = arrays
    heads, groups, queries, keys, size = sizes
    each, scale = heads // groups, np.float32(1.0 / math.sqrt(size))
    k_panels, v_panels = np.empty(size * _panels(keys), np.float32), np.empty(keys * _panels(size), np.float32)
    scores, means = np.empty((ROWS, _panels(keys)), np.float32), np.empty((ROWS, _panels(size)), np.float32)
    bias, factors = np.zeros(PANEL, np.float32), np.empty(ROWS, np.float32)
    for unit in range(units[0], units[1]):
        b, g = unit // groups, unit % groups
        mask = seen[b % seen.shape[0]]
        packed(k, b * steps[1, 0] + g * steps[1, 1], size, keys, 1, steps[1, 2], k_panels)
        packed(v, b * steps[2, 0] + g * steps[2, 1], keys, size, steps[2, 2], 1, v_panels)
        for h in range(g * each, (g + 1) * each):
            for first in range(0, queries, ROWS):
                rows = min(ROWS, queries - first)
                count = max(min(keys, last + first + rows), 0)
                at = b * steps[0, 0] + h * steps[0, 1] + first * steps[0, 2]
                _scored(rows, q, at, steps[0, 2], k_panels, size, count, scores, 0, bias)
                for r in range(rows):
                    largest, total = _exponentials(scores[r], count, last + first + r, scale, mask)
                    some = total > np.float32(0)
                    normaliser[b, h, first + r] = largest + np.log(total) if some else np.float32(0)
                    factors[r] = np.float32(1) / total if total != np.float32(0) else np.float32(0)
                _mean(rows, scores, 0, count, v_panels, keys, size, means, bias)
                for r in range(rows):
                    to = b * steps[3, 0] + h * steps[3, 1] + (first + r) * steps[3, 2]
                    for i in range(size):
                        y[to + i] = means[r, i] * factors[r]


@piece
def _sums(weights: Any, count: int, last: int, x: Any, keys: int, size: int, sums: Any, bias: Any) -> None:
    """Sums of each key += those of the vectors x of `count` queries, in panels, by their weights for it."""
    for key in range(0, keys, ROWS):
        first = max(key - last, 0)  # queries before see none of these keys
        if first < count:
            for panel in range(0, size, PANEL):
                added_product(
                    min(ROWS, keys - key), weights, first * weights.shape[1] + key, 1, 0, weights.shape[1],
                    x, panel * count + first * PANEL, 0, PANEL,
                    sums, key * sums.shape[1] + panel, sums.shape[1], 1, count - first, bias, 0, ENDLESS,
                )  # fmt: skip


@compiled
def _backward(arrays: Any, steps: Any, sizes: Any, seen: Any, last: int, units: Any, normaliser: Any) -> None:
    """Dq, dk and dv of some groups of heads."""
    q, k, v, y, dy, dq, dk, dv = arrays
    heads, groups, queries, keys, size = sizes
    each, scale, block = heads // groups, np.float32(1.0 / math.sqrt(size)), max(min(QUERIES, ENTRIES // keys), ROWS)
    wide, filled = _panels(keys), _panels(size)
    k_panels, v_panels, k_rows = (
        np.empty(size * wide, np.float32),
        np.empty(size * wide, np.float32),
        np.empty(keys * filled, np.float32),
    )
    weights, dscores = np.empty((block, wide), np.float32), np.empty((block, wide), np.float32)
    of_block, means, bias = (
        np.empty(block * filled, np.float32),
        np.empty((ROWS, filled), np.float32),
        np.zeros(PANEL, np.float32),
    )
    for unit in range(units[0], units[1]):
        b, g = unit // groups, unit % groups
        mask = seen[b % seen.shape[0]]
        packed(k, b * steps[1, 0] + g * steps[1, 1], size, keys, 1, steps[1, 2], k_panels)
        packed(v, b * steps[2, 0] + g * steps[2, 1], size, keys, 1, steps[2, 2], v_panels)
        packed(k, b * steps[1, 0] + g * steps[1, 1], keys, size, steps[1, 2], 1, k_rows)
        dks, dvs = np.zeros((keys, filled), np.float32), np.zeros((keys, filled), np.float32)
        for h in range(g * each, (g + 1) * each):
            of_q, of_y, of_dy, of_dq = (
                b * steps[0, 0] + h * steps[0, 1],
                b * steps[3, 0] + h * steps[3, 1],
                b * steps[4, 0] + h * steps[4, 1],
                b * steps[5, 0] + h * steps[5, 1],
            )
            for start in range(0, queries, block):
                these = min(block, queries - start)
                for first in range(start, start + these, ROWS):
                    rows, out = min(ROWS, start + these - first), (first - start) * wide
                    count = max(min(keys, last + first + rows), 0)
                    _scored(rows, q, of_q + first * steps[0, 2], steps[0, 2], k_panels, size, count, weights, out, bias)
                    _scored(
                        rows, dy, of_dy + first * steps[4, 2], steps[4, 2], v_panels, size, count, dscores, out, bias
                    )
                    for r in range(rows):
                        row, along = first - start + r, np.float32(0)
                        for i in range(size):
                            along += y[of_y + (first + r) * steps[3, 2] + i] * dy[of_dy + (first + r) * steps[4, 2] + i]
                        normal, last_seen = normaliser[b, h, first + r], last + first + r
                        _derivatives(weights[row], dscores[row], count, last_seen, scale, normal, along, mask, wide)
                    _mean(rows, dscores, out, count, k_rows, keys, size, means, bias)
                    for r in range(rows):
                        for i in range(size):
                            dq[of_dq + (first + r) * steps[5, 2] + i] = means[r, i]
                packed(dy, of_dy + start * steps[4, 2], these, size, steps[4, 2], 1, of_block)
                _sums(weights, these, last + start, of_block, keys, size, dvs, bias)
                packed(q, of_q + start * steps[0, 2], these, size, steps[0, 2], 1, of_block)
                _sums(dscores, these, last + start, of_block, keys, size, dks, bias)
        for j in range(keys):
            for i in range(size):
                dk[b * steps[6, 0] + g * steps[6, 1] + j * steps[6, 2] + i] = dks[j, i]
                dv[b * steps[7, 0] + g * steps[7, 1] + j * steps[7, 2] + i] = dvs[j, i]


def takes(q: Any, *others: Any) -> bool:
    """Whether there are enough queries, all in float32."""
    return q.shape[2] >= FEW and all(x.dtype == np.float32 for x in (q, *others))


def _entries(*arrays: Any) -> tuple[tuple[Any, ...], Any]:
    """The memory of each array as a row of entries, and how far apart its examples, heads and positions lie."""
    plain = [x if _in_place(x) else np.array(x, order="C") for x in arrays]
    steps = np.asarray([[step // 4 for step in x.strides[:3]] for x in plain])
    ends = [sum((n - 1) * step for n, step in zip(x.shape, x.strides, strict=True)) // 4 + 1 for x in plain]
    rows = [np.lib.stride_tricks.as_strided(x, (end,), (4,)) for x, end in zip(plain, ends, strict=True)]
    return tuple(rows), steps


def _in_place(x: Any) -> bool:
    """Whether the numbers of each head lie next to each other, and compiled code may read all of them as one row."""
    forward = all(step >= 0 and step % 4 == 0 for step in x.strides)
    return forward and x.strides[3] == 4 and x.flags.aligned and x.flags.writeable


def _of_positions(like: Any) -> Any:
    """Memory in which the heads of a position lie next to each other: joining them moves nothing."""
    batch, heads, positions, size = like.shape
    return empty((batch, positions, heads, size)).swapaxes(1, 2)


def _in_a_row(*likes: Any) -> list[Any]:
    """The same for arrays of as many positions, next to each other: `joined_heads` moves nothing."""
    heads, like = [0, *itertools.accumulate(like.shape[1] for like in likes)], likes[0]
    whole = empty((like.shape[0], like.shape[2], heads[-1], like.shape[3])).swapaxes(1, 2)
    return [whole[:, start:stop] for start, stop in itertools.pairwise(heads)]


def _task(q: Any, k: Any, mask: Any, first: int | None) -> tuple[Any, Any, int, int]:
    """Sizes, seen keys in whole panels, the last that the first query sees, the least number of units of a thread."""
    (_, heads, queries, size), (_, groups, keys, _) = q.shape, k.shape
    seen = np.zeros((1 if mask is None else len(mask), -(-keys // PANEL) * PANEL), dtype=bool)
    seen[:, :keys] = True if mask is None else mask[:, :keys]
    least = LARGE // (2 * heads // groups * queries * keys * size) + 1
    return (heads, groups, queries, keys, size), seen, keys if first is None else first, least


def attention(q: Any, k: Any, v: Any, mask: Any, first: int | None) -> tuple[Any, Any]:
    """Y and normalisers. Query i sees the keys up to `first` + i, all if it is None, that the mask names."""
    y, normaliser = _of_positions(q), np.empty(q.shape[:3], np.float32)
    arrays, steps = _entries(q, k, v, y)
    sizes, seen, last, least = _task(q, k, mask, first)

    def some(start: int, stop: int) -> None:
        _forward(arrays, steps, sizes, seen, last, (start, stop), normaliser)

    shared(some, q.shape[0] * k.shape[1], least)
    return y, normaliser


def attention_pullback(
    dy: Any, q: Any, k: Any, v: Any, y: Any, normaliser: Any, mask: Any, causal: bool
) -> tuple[Any, Any, Any]:
    """Dq, dk and dv."""
    dq, dk, dv = _in_a_row(q, k, v) if q.shape[2] == k.shape[2] else [_of_positions(x) for x in (q, k, v)]
    arrays, steps = _entries(q, k, v, y, dy, dq, dk, dv)
    sizes, seen, last, least = _task(q, k, mask, 0 if causal else None)
    known = np.array(normaliser, order="C", copy=None)

    def some(start: int, stop: int) -> None:
        _backward(arrays, steps, sizes, seen, last, (start, stop), known)

    shared(some, q.shape[0] * k.shape[1], least)
    return dq, dk, dv
