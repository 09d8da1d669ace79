"""Which examples are used, of many."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from nnarray.backends import namespace
from nnarray.typing import Array

MOST_EXAMPLES = 32
"""Spread over all, for data are often sorted by class."""


def spread(y: Array) -> list[int]:
    """At most MOST_EXAMPLES rows in order: equally many of each target if there are so few, each evenly spread."""
    xp, count = namespace(y), y.shape[0]
    flat = xp.reshape(y, (count, -1))
    labels = flat[:, 0] if flat.shape[1] == 1 else xp.argmax(flat, axis=1)
    values = xp.unique_values(labels)
    if count <= MOST_EXAMPLES or values.shape[0] > MOST_EXAMPLES:
        return sorted({i * count // MOST_EXAMPLES for i in range(MOST_EXAMPLES)})
    groups = [xp.nonzero(labels == values[k])[0] for k in range(values.shape[0])]
    turns = (k for turn in range(MOST_EXAMPLES) for k, rows in enumerate(groups) if turn < rows.shape[0])
    counts = Counter(islice(turns, MOST_EXAMPLES))
    return sorted(int(rows[i * rows.shape[0] // counts[k]]) for k, rows in enumerate(groups) for i in range(counts[k]))
