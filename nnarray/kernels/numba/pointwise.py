"""ReLU of many entries, compiled by Numba: threads share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.numba.memory import empty
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.threads import shared

MANY_ENTRIES = 100_000  # of a thread's part at least


@compiled
def _relu(x: Any, y: Any) -> None:
    zero = np.float32(0)
    for i in range(x.size):
        entry = x[i]
        y[i] = zero if entry < zero else entry  # nan stays nan


@compiled
def _relu_pullback(dy: Any, y: Any, dx: Any) -> None:
    zero = np.float32(0)
    for i in range(dy.size):
        entry = dy[i]  # read in any case, so that it is no choice whether to read
        dx[i] = entry if y[i] > zero else zero


def takes(*arrays: Any) -> bool:
    """Whether these are many entries in a row, in float32."""
    alike = all(x.dtype == np.float32 and x.shape == arrays[0].shape and x.flags.carray for x in arrays)
    return alike and arrays[0].size >= MANY_ENTRIES


def relu(x: Any) -> Any:
    """max(x, 0)."""
    y = empty(x.shape)
    _by_entries(_relu, x, y)
    return y


def relu_pullback(dy: Any, y: Any) -> Any:
    """dy where y > 0, else 0."""
    dx = empty(dy.shape)
    _by_entries(_relu_pullback, dy, y, dx)
    return dx


def _by_entries(loop: Callable[..., None], *arrays: Any) -> None:
    rows = [x.reshape(-1) for x in arrays]
    shared(lambda start, stop: loop(*(row[start:stop] for row in rows)), rows[0].size, MANY_ENTRIES)
