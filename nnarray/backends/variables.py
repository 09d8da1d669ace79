"""Context variables: values that hold in the calls of a block, in its thread, and nowhere else."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def during(variable: ContextVar[T], value: T) -> Generator[None]:
    """Within the block the variable has this value; afterwards the old value is restored."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
