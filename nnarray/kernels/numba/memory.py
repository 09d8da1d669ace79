"""What compiled loops over images share: fresh memory, entries in a row, and sums of what threads give."""

from __future__ import annotations

import contextlib
import functools
import math
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.threads import shared

LINE, PAGES = 16, 2**19  # entries of a line of the cache, and of a large page


def empty(shape: tuple[int, ...]) -> Any:
    """Fresh memory that begins with a line of the cache, so that threads that write side by side share few of them."""
    size = math.prod(shape)
    block = np.empty(size + 16, dtype=np.float32)
    start = -block.__array_interface__["data"][0] % 64 // 4
    return block[start : start + size].reshape(shape)


def part_of(room: list[Any], size: int) -> Any:
    """Fresh memory: a part of what is left in `room`, or else of a block twice as large as the last one.

    Threads may take parts at the same time: one of them finds no room then.
    """
    try:
        block = room.pop()
    except IndexError:
        block = np.empty(0, np.float32)
    if block.size < size:
        block = _block(max(size, 2 * block.base.size if block.base is not None else 0))
    rounded = -(-size // LINE) * LINE
    room.append(block[rounded:])
    return block[:size]


def _block(size: int) -> Any:
    """Fresh memory. If it is large, Linux is asked for large pages: a product finds them faster.

    NumPy asks for them too, but may be given memory that was in use before, whose pages stay as they are.
    """
    if sys.platform != "linux" or size < PAGES:
        return empty((size,))
    size = -(-size // PAGES) * PAGES
    pages = mmap.mmap(-1, 4 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a system without large pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.float32)


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
