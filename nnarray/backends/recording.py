"""Whether a library records or compiles what is computed from an array."""

from __future__ import annotations

from typing import Any

from nnarray.backends.registry import library_of


def has_record(x: Any) -> bool:
    """Whether PyTorch records what is computed from `x`, because a gradient with respect to it is asked for."""
    owner = library_of(x)
    return owner is not None and owner.has_record(x)


def without_record(x: Any) -> Any:
    """The same numbers without a gradient record, so that no graph of the user's grows."""
    owner = library_of(x)
    return x if owner is None else owner.without_record(x)


def stands_in(x: Any) -> bool:
    """Whether `x` stands for a value inside of a function that is being compiled or differentiated."""
    owner = library_of(x)
    return owner is not None and owner.stands_in(x)


def is_traced(x: Any) -> bool:
    """Whether no value of `x` can be looked at, because a function is being compiled (`jax.jit`)."""
    owner = library_of(x)
    return owner is not None and owner.traced(x)
