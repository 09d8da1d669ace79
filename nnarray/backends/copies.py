"""The same numbers in other memory, or in memory that nobody can write to."""

from __future__ import annotations

from typing import Any

from nnarray.backends.recording import without_record
from nnarray.backends.registry import library_of, namespace
from nnarray.typing import Array


def copy(x: Array) -> Array:
    """The same numbers in other memory, without a gradient record."""
    return namespace(x).asarray(without_record(x), copy=True)


def owned(x: Any) -> Any:
    """The same numbers for somebody who derives others from them: nobody else can write to them, where NumPy has them.

    Their bytes are in this machine's order.
    """
    owner = library_of(x)
    if owner is None or owner.name != "numpy":
        return x
    return read_only(x.astype(x.dtype.newbyteorder("=")))


def read_only(x: Any) -> Any:
    """The same memory, where the library can refuse to write into it."""
    owner = library_of(x)
    if owner is None or owner.name != "numpy":
        return x
    view = x.view()
    view.flags.writeable = False
    return view
