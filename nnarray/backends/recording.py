"""Whether a library records or compiles what is computed from an array."""

from __future__ import annotations

from typing import Any

from nnarray.backends.registry import library_of


def has_record(x: Any) -> bool:
    """Whether PyTorch records computations with `x` for a gradient with respect to it."""
    owner = library_of(x)
    return owner is not None and owner.has_record(x)


def without_record(x: Any) -> Any:
    """The array without a gradient record, so that the user's graph does not grow."""
    owner = library_of(x)
    return x if owner is None else owner.without_record(x)


def is_differentiated(x: Any) -> bool:
    """Whether the library of `x` may differentiate what is computed from it."""
    owner = library_of(x)
    return owner is not None and owner.is_differentiated(x)


def detached(x: Any) -> Any:
    """The array as a constant to the library's own derivatives."""
    owner = library_of(x)
    return x if owner is None else owner.detached(x)


def stands_in(x: Any) -> bool:
    """Whether `x` is a placeholder inside a function that is being compiled or differentiated."""
    owner = library_of(x)
    return owner is not None and owner.stands_in(x)


def is_traced(x: Any) -> bool:
    """Whether the values of `x` cannot be read, because a function is being compiled (`jax.jit`)."""
    owner = library_of(x)
    return owner is not None and owner.traced(x)


def is_read_at_once(x: Any) -> bool:
    """Whether the values of `x` can be read now, without waiting for another device or stopping a recording."""
    owner = library_of(x)
    return owner is not None and owner.is_read_at_once(x)
