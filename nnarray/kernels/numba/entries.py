"""Elementwise losses as loops: a term and its derivative from one look at an output and its target."""

from __future__ import annotations

import functools
import json
from typing import Any

from numba import carray  # pyright: ignore[reportPrivateImportUsage]

from nnarray.kernels.entries import Entries
from nnarray.kernels.numba.functions import computed_exactly, loop_of


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
