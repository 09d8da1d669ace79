"""Functions of many entries, compiled by Numba: threads share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnarray.kernels.expressions import Program
from nnarray.kernels.numba.functions import called, loop_of_program
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


@compiled
def _applied(loop: int, dy: Any, x: Any, y: Any) -> None:
    called(loop, dy, x, y, 1, dy.size)


def takes(*arrays: Any, least: int = MANY_ENTRIES) -> bool:
    """Whether these are many entries in a row, in float32."""
    alike = all(x.dtype == np.float32 and x.shape == arrays[0].shape and x.flags.carray for x in arrays)
    return alike and arrays[0].size >= least


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


def of_program(program: Program, dy: Any, x: Any, y: Any) -> Any:
    """The program of the entries of up to three arrays; None is one that it does not read."""
    result = empty(dy.shape)
    if y is not None:
        result[...] = y  # the loop reads it where it writes
    loop = loop_of_program(program, dy.dtype)

    def apply(*rows: Any) -> None:
        _applied(loop.address, *rows)

    _by_entries(apply, dy, dy if x is None else x, result)
    return result


def _by_entries(loop: Callable[..., None], *arrays: Any) -> None:
    rows = [x.reshape(-1) for x in arrays]
    shared(lambda start, stop: loop(*(row[start:stop] for row in rows)), rows[0].size, MANY_ENTRIES)
