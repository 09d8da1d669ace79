"""What attention does to its weights between the products, compiled by Numba: threads share the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.numba.functions import exp
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

MANY_ENTRIES = 100_000  # of a thread's part at least
LOWEST = np.float32(-3e38)


@compiled
def _weights(
    scores: Any, normaliser: Any, seen: Any, each: int, period: int, last: int, rows: Any, known: bool
) -> None:
    """Scores <- the weights of some rows. Row r sees the keys up to `last` + r modulo `period` that `seen` names.

    With `known`, normalisers are read; otherwise they are written. `each` rows share a row of `seen`.
    """
    for r in range(rows[0], rows[1]):
        row, mask = scores[r], seen[r // each]
        count = min(row.size, last + r % period + 1)
        largest = LOWEST
        if not known:
            for j in range(count):
                row[j] = row[j] if mask[j] else np.float32(-np.inf)
            for j in range(count):
                largest = max(largest, row[j])
            total = np.float32(0)
            for j in range(count):
                weight = exp(row[j] - largest) if row[j] > LOWEST else np.float32(0)
                row[j] = weight
                total += weight
            some = total > np.float32(0)
            normaliser[r] = largest + np.log(total) if some else np.float32(0)
            scale = np.float32(1) / total if some else np.float32(0)
            for j in range(count):
                row[j] *= scale
        else:
            largest = normaliser[r]
            for j in range(count):
                row[j] = exp(row[j] - largest) if mask[j] else np.float32(0)
        for j in range(count, row.size):
            row[j] = np.float32(0)


@compiled
def _score_gradients(weights: Any, dweights: Any, along: Any, scale: Any, rows: Any) -> None:
    """Dweights <- weights (dweights - along) scale, over some rows."""
    for r in range(rows[0], rows[1]):
        w, d, a = weights[r], dweights[r], along[r]
        for j in range(w.size):
            d[j] = w[j] * (d[j] - a) * scale


def _by_rows(work: Callable[[tuple[int, int]], None], rows: int, size: int) -> None:
    shared(lambda start, stop: work((start, stop)), rows, MANY_ENTRIES // size + 1)


def weights(scores: Any, normaliser: Any, seen: Any, period: int, last: int, *, known: bool) -> None:
    """Scores, (rows, keys), become weights, as `_weights`."""
    each = scores.shape[0] // seen.shape[0]
    _by_rows(lambda part: _weights(scores, normaliser, seen, each, period, last, part, known), *scores.shape)


def score_gradients(weights: Any, dweights: Any, along: Any, scale: float) -> None:
    """Dweights, (rows, keys), become the gradients of scores."""
    number = np.float32(scale)
    _by_rows(lambda part: _score_gradients(weights, dweights, along, number, part), *weights.shape)
