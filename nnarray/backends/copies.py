"""Copies of arrays, and read-only arrays."""

from __future__ import annotations

from typing import Any

from nnarray.backends.registry import library_of, namespace
from nnarray.typing import Array


def copy(x: Array) -> Array:
    """A copy, without a gradient record."""
    owner = library_of(x)
    return namespace(x).asarray(x, copy=True) if owner is None else owner.copied(x)


def apart(x: Array) -> Array:
    """`x` for a function of the user's: what it writes into its argument does not change `x`."""
    owner = library_of(x)
    return namespace(x).asarray(x, copy=True) if owner is None else owner.apart(x)


def owned(x: Any) -> Any:
    """The array for exclusive use: on NumPy a copy, to which no other code can write.

    Its bytes are in native order.
    """
    owner = library_of(x)
    if owner is None or owner.name != "numpy":
        return x
    return read_only(x.astype(x.dtype.newbyteorder("=")))


def read_only(x: Any) -> Any:
    """The array in the same memory, read-only if the library supports that."""
    owner = library_of(x)
    if owner is None or owner.name != "numpy":
        return x
    view = x.view()
    view.flags.writeable = False
    return view
