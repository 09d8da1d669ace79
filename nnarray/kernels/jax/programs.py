"""Compiled functions, kept for the next training with the same settings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

import jax

T = TypeVar("T")

MOST = 64
"""The number of functions that are kept; the one that has not been used for the longest time is dropped first."""


class Kept:
    """The values of at most `MOST` keys."""

    def __init__(self) -> None:
        self.values: OrderedDict[Hashable, Any] = OrderedDict()
        self.lock = Lock()

    def get(self, key: Hashable | None, make: Callable[[], T]) -> T:
        """The value of this key, made if there is none; without a key, always a new one."""
        if key is None:
            return make()
        with self.lock:
            if key in self.values:
                self.values.move_to_end(key)
                return self.values[key]
        made = make()  # not under the lock: it may take long
        with self.lock:
            made = self.values.setdefault(key, made)
            while len(self.values) > MOST:
                self.values.popitem(last=False)
        return made


KEPT = Kept()


def compiled(function: Callable[..., Any], key: Hashable | None) -> Callable[..., Any]:
    """`function` compiled for the shapes, the dtypes and the device of its arguments at each call."""
    return KEPT.get(key, lambda: jax.jit(function))
