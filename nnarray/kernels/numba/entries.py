"""Elementwise losses as loops: a term and its derivative from one look at an output and its target."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]

from nnarray.kernels.entries import Entries
from nnarray.kernels.numba.functions import called, computed_exactly, loop_of
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared


def loop_of_entries(loss: Entries, dtype: Any, panel: int = 0) -> Any:
    """The loop of a loss: rows of features; or, with a panel's width, rows of examples that are padded to panels."""
    term, derivative = map(json.dumps, loss.parts)
    return _loop(term, derivative, dtype, panel)


@functools.cache
def _loop(term: str, derivative: str, dtype: Any, panel: int) -> Any:
    by_example, step = panel > 0, max(panel, 1)

    def entries(z: Any, target: Any, weights: Any, rows: int, columns: int) -> None:
        """z <- weights times derivatives, and what follows the weights <- the sum of weights times terms."""
        width, examples = -(-columns // step) * step, rows if by_example else columns
        zs, ts, each = carray(z, (rows, width)), carray(target, (rows, width)), carray(weights, (examples + 1,))
        total = 0.0
        for i in range(rows):
            row, t = zs[i], ts[i]
            for j in range(columns):
                weight, output = each[i if by_example else j], row[j]
                total += weight * computed_exactly(term, output, t[j], output)
                row[j] = weight * computed_exactly(derivative, output, t[j], output)
            for j in range(columns, width):
                row[j] = 0.0
        each[examples] = total

    return loop_of(entries, dtype)


PART = 8_192  # entries that stay in the cache from their copy to their derivative
MANY_ENTRIES = 50_000  # of a thread's part at least


@compiled
def _terms(loop: int, outputs: Any, target: Any, weight: Any, parts: Any, each: int, gradient: Any, sums: Any) -> None:
    """Gradient <- the weighted derivatives, and sums <- the sums of weighted terms, of some parts of the examples."""
    weight_and_sum = np.empty(2, weight.dtype)
    weight_and_sum[0] = weight[0]
    size = outputs.size // (sums.size // each)  # entries of an example
    for part in range(parts[0], parts[1]):
        example, number = part // each, part % each
        start, stop = example * size + number * size // each, example * size + (number + 1) * size // each
        gradient[start:stop] = outputs[start:stop]
        called(loop, gradient[start:stop], target[start:stop], weight_and_sum, 1, stop - start)
        sums[part] = weight_and_sum[1]


def mean_of_entries(outputs: Any, target: Any, loss: Entries) -> tuple[Any, Any]:
    """The mean of the terms of each example, and the gradient of the sum of these."""
    count, dtype = math.prod(outputs.shape[1:]), outputs.dtype
    each = -(-count // PART)
    gradient, sums = np.empty(outputs.shape, dtype), np.empty(outputs.shape[0] * each)
    fixed = (
        loop_of_entries(loss, dtype, 1).address,
        outputs.reshape(-1),
        target.reshape(-1),
        np.asarray([1.0 / count], dtype),
    )

    def some(start: int, stop: int) -> None:
        _terms(*fixed, (start, stop), each, gradient.reshape(-1), sums)

    with np.errstate(over="ignore"):  # of a sum that the dtype has no room for
        shared(some, sums.size, MANY_ENTRIES * sums.size // outputs.size + 1)
        return sums.reshape(-1, each).sum(axis=1).astype(dtype), gradient
