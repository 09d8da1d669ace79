"""The dtype of a dataset."""

from __future__ import annotations

from nnarray import backends
from nnarray.backends import Backend
from nnarray.names import shown
from nnarray.typing import DType


def floating(dtype: object, be: Backend) -> DType:
    """The backend's real floating dtype of that name; None is its default."""
    wanted = be.dtype(dtype)
    if backends.dtype_name(wanted) not in backends.FLOATS:
        raise ValueError(f"dtype must be real floating, one of {', '.join(be.dtypes)}; got {shown(dtype)}.")
    return wanted
