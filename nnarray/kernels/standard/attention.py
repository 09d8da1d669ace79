"""Attention: each query takes the mean of the values, weighted by how well it fits their keys."""

from __future__ import annotations

import math
from typing import Any

from nnarray.backends import device_of, namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.lookup import whole
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.typing import Array

QUERIES = 128  # of a block: the weights of all queries would be an array of queries x keys


@kernel
def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    kept: Array | None,
    *,
    causal: bool = False,
    first: Any = 0,
    rate: float = 0.0,
) -> tuple[Array, Array]:
    """y = P V, with the weights P = softmax(Q K^T / sqrt(size)) over the keys that a query sees; 0 if it sees none.

    The weights are computed for a block of queries at a time. So memory grows with the number of keys, and not with
    its square.

    Parameters
    ----------
    q : array, shape (batch, heads, queries, size)
    k, v : array, shape (batch, heads / groups, keys, size)
        Each group of heads shares keys and values [2]_.
    mask : array of bool or of integers, shape (batch, keys), or None
        False at keys that no query sees. Integers say to which text of a row each position belongs: a query only sees
        the keys of its own text. Then there are as many queries as keys.
    kept : array of bool, shape (batch, heads, queries, keys), or None
        The weights that dropout keeps; they are divided by 1 - rate.
    causal : bool
        Whether query i only sees the keys up to `first + i`.
    first : int, or array of shape (), int32

    Returns
    -------
    y : array, shape (batch, heads, queries, size)
    normaliser : array, shape (batch, heads, queries)
        ln sum exp of the scores of each query, for the pullback. At least float32.

    References
    ----------
    .. [1] Vaswani et al. (2017), Attention is all you need. NeurIPS, section 3.2.1.
    .. [2] Ainslie et al. (2023), GQA: training generalized multi-query transformer models. EMNLP.
    .. [3] Rabe & Staats (2021), Self-attention does not need O(n^2) memory. arXiv:2112.05682.
    """
    xp, shape = namespace(q), q.shape
    if k.shape[2] == 0:
        return xp.zeros_like(q), at_least_float32(xp.zeros(shape[:3], dtype=q.dtype, device=device_of(q)))
    values, ys, normalisers = at_least_float32(v), [], []
    for rows in _blocks(shape[2]):
        scores = _scores(q, k, mask, rows, causal, first)
        largest = xp.max(scores, axis=-1, keepdims=True)
        largest = xp.where(xp.isfinite(largest), largest, xp.zeros_like(largest))  # -inf - -inf would be nan
        weights = xp.exp(scores - largest)
        total = xp.sum(weights, axis=-1, keepdims=True)
        total = xp.where(total == 0, xp.ones_like(total), total)
        normalisers.append(_ungrouped(largest + xp.log(total), shape)[..., 0])
        y = _matmul(_dropped(weights, kept, rows, rate), values) / total
        ys.append(xp.astype(_ungrouped(y, shape), q.dtype, copy=False))
    return xp.concat(ys, axis=2), xp.concat(normalisers, axis=2)


@kernel
def attention_pullback(
    dy: Array,
    q: Array,
    k: Array,
    v: Array,
    y: Array,
    normaliser: Array,
    mask: Array | None,
    kept: Array | None,
    *,
    causal: bool = False,
    rate: float = 0.0,
) -> tuple[Array, Array, Array]:
    """dq, dk and dv: the weights P are computed once more, for a block of queries at a time.

    dV = P^T dy, dP = dy V^T, dS = P (dP - sum of dy y), dQ = dS K / sqrt(size), dK = dS^T Q / sqrt(size).

    Parameters
    ----------
    dy, y : array, shape (batch, heads, queries, size)
    normaliser : array, shape (batch, heads, queries)
        As `attention` returns it. The other arguments are those of `attention`.

    References
    ----------
    .. [1] Dao, Fu, Ermon, Rudra & Re (2022), FlashAttention. NeurIPS, appendix B.4.
    """
    xp, scale = namespace(q), 1.0 / math.sqrt(q.shape[3])
    keys, values, along = at_least_float32(k), at_least_float32(v), _along(dy, y)
    dqs: list[Array] = []
    dk, dv = xp.zeros_like(keys), xp.zeros_like(values)
    if k.shape[2] == 0:
        return xp.zeros_like(q), xp.zeros_like(k), xp.zeros_like(v)
    for rows in _blocks(q.shape[2]):
        dy_part, of_part, along_part = (
            _grouped(each[:, :, rows, ...], k.shape[1])
            for each in (at_least_float32(dy), normaliser[..., None], along[..., None])
        )
        scores = _scores(q, k, mask, rows, causal, 0)
        weights = xp.exp(scores - of_part)
        dv = dv + _products(_dropped(weights, kept, rows, rate), dy_part)
        dweights = _dropped(_matmul(dy_part, _transposed(values)), kept, rows, rate)
        dscores = weights * (dweights - along_part) * scale
        dqs.append(_ungrouped(_matmul(dscores, keys), q.shape))
        queries = _grouped(at_least_float32(q)[:, :, rows, :], k.shape[1])
        dk = dk + _products(dscores, queries)
    found = zip((xp.concat(dqs, axis=2), dk, dv), (q, k, v), strict=True)
    dq, dk, dv = (xp.astype(each, x.dtype, copy=False) for each, x in found)
    return dq, dk, dv


def _blocks(count: int) -> list[slice]:
    """The blocks of queries; one that is empty, if there are none."""
    return [slice(start, min(start + QUERIES, count)) for start in range(0, max(count, 1), QUERIES)]


def _along(dy: Array, y: Array) -> Array:
    """The sum of dy y of each query, which is that of P dP."""
    return namespace(dy).sum(at_least_float32(dy) * at_least_float32(y), axis=-1)


def _grouped(x: Array, groups: int) -> Array:
    """(batch, heads, queries, size) as (batch, groups, heads of a group, queries, size)."""
    return namespace(x).reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))


def _ungrouped(x: Array, shape: Any) -> Array:
    """The inverse, for arrays of as many heads as `shape` says."""
    return namespace(x).reshape(x, (x.shape[0], shape[1], *x.shape[3:]))


def _transposed(x: Array) -> Array:
    return namespace(x).permute_dims(x, (0, 1, 3, 2))


def _matmul(a: Array, b: Array) -> Array:
    """The products of all heads of a group with what they share."""
    xp, rows = namespace(a), a.shape[2] * a.shape[3]
    product = xp.matmul(xp.reshape(a, (*a.shape[:2], rows, a.shape[4])), b)
    return xp.reshape(product, (*a.shape[:4], b.shape[3]))


def _products(a: Array, b: Array) -> Array:
    """The sum of a^T b over all heads of a group and all queries."""
    xp, rows = namespace(a), a.shape[2] * a.shape[3]
    a, b = (xp.reshape(x, (*x.shape[:2], rows, x.shape[4])) for x in (a, b))
    return xp.matmul(_transposed(a), b)


def _scores(q: Array, k: Array, mask: Array | None, rows: slice, causal: bool, first: Any) -> Array:
    """Q K^T / sqrt(size) for a block of queries, -inf where a query does not see a key."""
    xp, device = namespace(q), device_of(q)
    part = at_least_float32(q[:, :, rows, :]) * (1.0 / math.sqrt(q.shape[3]))
    scores = _matmul(_grouped(part, k.shape[1]), _transposed(at_least_float32(k)))
    seen: Any = None
    if mask is not None:
        seen = mask[:, None, None, None, :]
        seen = seen if xp.isdtype(mask.dtype, "bool") else seen == mask[:, None, None, rows, None]
    if causal:
        before = first if isinstance(first, int) else whole(first)
        last = xp.arange(rows.start, rows.stop, device=device) + before
        earlier = xp.arange(k.shape[2], device=device)[None, :] <= last[:, None]
        seen = earlier if seen is None else xp.logical_and(seen, earlier)
    return scores if seen is None else xp.where(seen, scores, -xp.inf)


def _dropped(weights: Array, kept: Array | None, rows: slice, rate: float) -> Array:
    """The weights after dropout."""
    if kept is None:
        return weights
    part = _grouped(kept[:, :, rows, :], weights.shape[1])
    return namespace(weights).where(part, weights / (1.0 - rate), 0.0)


@kernel
def joined_heads(*parts: Array) -> Array:
    """(batch, positions, features): the heads of a position next to each other, and the parts next to each other.

    Parameters
    ----------
    *parts : arrays, shape (batch, heads, positions, size), each with its own number of heads; at least one
    """
    xp = namespace(parts[0])
    moved = [xp.permute_dims(part, (0, 2, 1, 3)) for part in parts]
    rows = [xp.reshape(part, (*part.shape[:2], part.shape[2] * part.shape[3])) for part in moved]
    return rows[0] if len(rows) == 1 else xp.concat(rows, axis=-1)


@kernel
def rotated(x: Array, cosine: Array, sine: Array) -> Array:
    """y = (x_1 cos - x_2 sin, x_2 cos + x_1 sin), with the two halves x_1 and x_2 of each vector.

    The pullback is the rotation by the opposite angle.

    Parameters
    ----------
    x : array, shape (..., positions, size), with an even size
    cosine, sine : array, shape (positions, size / 2), or with axes of the batch and of heads, at least float32

    References
    ----------
    .. [1] Su, Lu, Pan, Murtadha, Wen & Liu (2021), RoFormer: enhanced transformer with rotary position embedding.
       arXiv:2104.09864.
    """
    xp, half = namespace(x), x.shape[-1] // 2
    one, other = at_least_float32(x[..., :half]), at_least_float32(x[..., half:])
    y = xp.concat([one * cosine - other * sine, other * cosine + one * sine], axis=-1)
    return xp.astype(y, x.dtype, copy=False)
