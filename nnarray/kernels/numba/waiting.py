"""Threads that wait for each other inside of compiled loops."""

from __future__ import annotations

import os
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from nnarray.kernels.numba.functions import piece

rest: Any = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else None
APART = 8  # integers between those of two threads: each has a line of the cache of its own
BUSY = 200  # looks before another thread may have the core


@intrinsic
def look(context: Any, array: Any) -> Any:
    """The first entry as it is in memory now, whoever writes it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(data, "acquire", 8)

    return types.int64(array), code


@intrinsic
def put(context: Any, array: Any, value: Any) -> Any:
    """Write the first entry, after all that this thread has written before."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store_atomic(arguments[1], data, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64), code


@numba.njit(cache=True, nogil=True)
def has_changed(count: Any, seen: int, turns: int) -> bool:
    """Whether the number becomes another one while one looks at it so many times."""
    for _ in range(turns):
        if look(count) != seen:  # pyright: ignore[reportCallIssue]
            return True
        if rest is not None:
            rest()
    return look(count) != seen  # pyright: ignore[reportCallIssue]


@piece
def all_arrived(turn: int, rank: int, size: int, marks: Any) -> bool:
    """Wait until each of the threads is at this turn. False if one does not come: the first entry is not 0 then."""
    put(marks[(rank + 1) * APART :], turn)  # pyright: ignore[reportCallIssue]
    for other in range(size):
        looks = 0
        while look(marks[(other + 1) * APART :]) < turn:
            looks += 1
            if looks > BUSY:
                if look(marks):
                    return False
                if rest is not None:
                    rest()
    return True
