"""Attention in its forms, and rotations by position."""

from __future__ import annotations

import math
from typing import Any

from nnarray.backends import device_of
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.onnx.operators.common import Call, kind, scalar, space, widened
from nnarray.onnx.operators.indexing import gather
from nnarray.onnx.operators.table import operator


def _heads(x: Any, count: int) -> Any:
    """(batch, positions, heads * size) as (batch, heads, positions, size)."""
    batch, length, width = x.shape
    return space(x).permute_dims(space(x).reshape(x, (batch, length, count, width // count)), (0, 2, 1, 3))


def _together(x: Any) -> Any:
    """The inverse of `_heads`."""
    batch, heads, length, size = x.shape
    return space(x).reshape(space(x).permute_dims(x, (0, 2, 1, 3)), (batch, length, heads * size))


def _repeated(x: Any, heads: int) -> Any:
    """Each head as often as there are heads of queries for it."""
    return x if x.shape[1] == heads else space(x).repeat(x, heads // x.shape[1], axis=1)


def _masked_softmax(x: Any) -> Any:
    """exp x over its sum along the last axis; 0 in rows of -infinity alone."""
    xp = space(x)
    largest = xp.max(x, axis=-1, keepdims=True)
    is_open = largest > -math.inf
    weights = xp.where(is_open, xp.exp(x - xp.where(is_open, largest, xp.zeros_like(largest))), xp.zeros_like(x))
    total = xp.sum(weights, axis=-1, keepdims=True)
    return weights / xp.where(is_open, total, xp.ones_like(total))


@operator("Attention", 23)
def attention(
    call: Call,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    past_key: Any = None,
    past_value: Any = None,
    lengths: Any = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    left_window_size: int = -1,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Any:
    """softmax(Q K' scale + bias) V, for several heads; and the keys and values with those of before."""
    is_flat, xp = q.ndim == 3, space(q, k, v)
    if is_flat:
        q, k, v = _heads(q, q_num_heads), _heads(k, kv_num_heads), _heads(v, kv_num_heads)
    if past_key is not None:
        k, v = xp.concat([past_key, k], axis=2), xp.concat([past_value, v], axis=2)
    keys, values = _repeated(k, q.shape[1]), _repeated(v, q.shape[1])
    root = math.sqrt(1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)
    scores = [xp.matmul(q * root, xp.matrix_transpose(keys * root))]
    capped = softcap * xp.tanh(scores[0] / softcap) if softcap else scores[0]
    bias = _bias(call, capped, mask)
    offset = 0 if past_key is None else past_key.shape[2]
    allowed = _allowed(capped, offset, lengths, left_window_size, 0 if is_causal else right_window_size)
    if is_causal and right_window_size >= 0:
        allowed = _allowed(capped, offset, lengths, left_window_size, min(0, right_window_size))
    biased = capped if bias is None else capped + bias
    if allowed is not None:
        biased = xp.where(allowed, biased, scalar(-math.inf, biased))
    wide = biased if softmax_precision is None else call.cast(biased, softmax_precision)
    weights = xp.astype(_masked_softmax(wide), q.dtype, copy=False)
    y = xp.matmul(weights, values)
    chosen = (scores[0], capped, biased, weights)[qk_matmul_output_mode]
    return _together(y) if is_flat else y, k, v, chosen


def _bias(call: Call, scores: Any, mask: Any) -> Any:
    """What a mask adds to the scores: -infinity where one of truth values is false, and behind a short one."""
    if mask is None:
        return None
    xp, missing = space(scores), scores.shape[-1] - mask.shape[-1]
    if space(mask).isdtype(mask.dtype, "bool"):
        zero = xp.zeros((), dtype=scores.dtype, device=device_of(scores))
        mask = xp.where(mask, zero, scalar(-math.inf, scores))
    return widened(mask, [*[(0, 0)] * (mask.ndim - 1), (0, missing)], -math.inf) if missing > 0 else mask


def _allowed(scores: Any, offset: int, lengths: Any, left: int, right: int) -> Any:
    """Which keys each query may read: by position, and by the number of keys that count; None if all."""
    plain = call_space(scores)
    queries, keys = scores.shape[-2:]
    device = device_of(scores)
    key = plain.reshape(plain.arange(keys, device=device), (1, 1, 1, keys))
    query = plain.reshape(plain.arange(queries, device=device), (1, 1, queries, 1)) + offset
    if lengths is not None:
        count = plain.reshape(plain.astype(lengths, key.dtype), (-1, 1, 1, 1))
        query = query + count - queries
    allowed = None
    if right >= 0:
        allowed = key <= query + right
    if left >= 0:
        low = key >= query - left
        allowed = low if allowed is None else allowed & low
    if lengths is not None:
        there = key < count  # pyright: ignore[reportPossiblyUnboundVariable]
        allowed = there if allowed is None else allowed & there
    return allowed


def call_space(x: Any) -> Any:
    """The namespace of the library itself, also of an array that records."""
    xp = space(x)
    return getattr(xp, "plain", xp) if hasattr(type(x), "tape") else xp


@operator("FlexAttention", domain="ai.onnx.preview")
def flex_attention(
    call: Call,
    q: Any,
    k: Any,
    v: Any,
    *,
    prob_mod: Any = None,
    scale: float | None = None,
    score_mod: Any = None,
    softmax_precision: int | None = None,
) -> Any:
    """Attention with a graph for the scores, and one for the weights."""
    xp, keys, values = space(q, k, v), _repeated(k, q.shape[1]), _repeated(v, q.shape[1])
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = xp.matmul(q, xp.matrix_transpose(keys)) * factor
    wide = softmax_precision or ("float64" if kind(q) == "float64" else "float32")
    scores = call.cast(scores, wide)
    if score_mod is not None:
        (scores,) = score_mod(scores)
    weights = _masked_softmax(scores)
    if prob_mod is not None:
        (weights,) = prob_mod(weights)
    return xp.matmul(xp.astype(weights, v.dtype, copy=False), values)


@operator("LinearAttention", 27)
def linear_attention(
    q: Any,
    k: Any,
    v: Any,
    *optional: Any,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> Any:
    """A state of sums k v', which decays, one step of the sequence after the other."""
    xp, heads, dtype = space(q, k, v), kv_num_heads, q.dtype
    given = (q, k, v, *optional, *[None] * (3 - len(optional)))
    every: list[Any] = [None if x is None else at_least_float32(x) for x in given]
    q, k, v, past, decay, beta = every
    q, k, v = _heads(q, q_num_heads), _heads(k, heads), _heads(v, heads)
    factor, length = scale or 1.0 / math.sqrt(q.shape[-1]), q.shape[2]
    state = past
    if state is None:
        state = xp.zeros((*k.shape[:2], k.shape[3], v.shape[3]), dtype=q.dtype, device=device_of(q))
    if decay is not None:
        decay = xp.exp(_heads(decay, heads))
    if beta is not None:
        beta = _heads(beta, heads if beta.shape[-1] == heads else 1)
    is_gated, is_delta = update_rule in ("gated", "gated_delta"), update_rule in ("delta", "gated_delta")
    if (is_gated and decay is None) or (is_delta and beta is None):
        raise ValueError(
            f"the rule {update_rule!r} needs the inputs decay, if it is gated, and beta, if it has a delta"
        )
    outputs: list[Any] = []
    for t in range(length):
        key, value = k[:, :, t, :, None], v[:, :, t, None, :]
        if is_gated and decay is not None:
            state = state * decay[:, :, t, :, None]
        if is_delta and beta is not None:
            value = (value - xp.sum(state * key, axis=2, keepdims=True)) * beta[:, :, t, :, None]
        state = state + key * value
        outputs.append(factor * xp.matmul(q[:, :, t, None, :], _repeated(state, q_num_heads)))
    y = _together(xp.concat(outputs, axis=2))
    return xp.astype(y, dtype, copy=False), xp.astype(state, dtype, copy=False)


@operator("RotaryEmbedding", 23)
def rotary_embedding(
    call: Call,
    x: Any,
    cos: Any,
    sin: Any,
    positions: Any = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Any:
    """Pairs of entries, rotated by an angle for each position."""
    xp, is_flat = space(x, cos, sin), x.ndim == 3
    x = _heads(x, num_heads) if is_flat else x
    size = rotary_embedding_dim or x.shape[-1]
    if positions is not None:
        cos, sin = gather(call, cos, positions), gather(call, sin, positions)
    cos, sin = (xp.expand_dims(each, axis=1) for each in (cos, sin))
    turned, rest = x[..., :size], x[..., size:]
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
    else:
        a, b = turned[..., : size // 2], turned[..., size // 2 :]
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    if interleaved:
        turned = xp.reshape(xp.stack([real, imaginary], axis=-1), tuple(turned.shape))
    else:
        turned = xp.concat([real, imaginary], axis=-1)
    y = xp.concat([turned, rest], axis=-1)
    return _together(y) if is_flat else y
