"""What compiled loops over images share: fresh memory, entries in a row, and sums of what threads give."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.threads import shared


def empty(shape: tuple[int, ...]) -> Any:
    """Fresh memory that begins with a line of the cache, so that threads that write side by side share few of them."""
    size = math.prod(shape)
    block = np.empty(size + 16, dtype=np.float32)
    start = -block.__array_interface__["data"][0] % 64 // 4
    return block[start : start + size].reshape(shape)


def flat(x: Any) -> Any:
    """All entries in a row, as compiled code reads them."""
    entries = x.reshape(-1)
    return entries if entries.flags.c_contiguous and entries.flags.aligned else np.array(entries)


def summed(some: Callable[[int, int], Any], count: int, least: int) -> Any:
    """The sum of what the parts give."""
    parts: dict[int, Any] = {}

    def keep(start: int, stop: int) -> None:
        parts[start] = some(start, stop)

    shared(keep, count, least)
    total: Any = functools.reduce(np.add, (parts[start] for start in sorted(parts)))
    return total
