"""The one kernel whose definition writes: the standard has no function that puts values into a copy of an array."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.typing import Array


@kernel
def put(x: Array, key: Any, value: Any) -> Array:
    """A new array: x, with `value` at `key`, as after `x[key] = value`."""
    y: Any = namespace(x).asarray(x, copy=True)  # the copy is nobody else's
    y[key] = value
    return y
