"""Variables of a context: what holds in the calls of a block, in its thread, and nowhere else."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def during(variable: ContextVar[T], value: T) -> Generator[None]:
    """The variable has the value in what is called meanwhile, and afterwards the one from before."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
