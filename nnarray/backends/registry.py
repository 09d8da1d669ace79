"""The known libraries, and the library of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat as compat

from nnarray.backends.cupy import CuPy
from nnarray.backends.jax import Jax
from nnarray.backends.library import Library
from nnarray.backends.numpy import NumPy
from nnarray.backends.strict import Strict
from nnarray.backends.torch import Torch
from nnarray.typing import Device, Namespace

LIBRARIES: dict[str, Library] = {lib.name: lib for lib in (NumPy(), CuPy(), Torch(), Jax(), Strict())}


_OWNERS: dict[type, Library] = {}  # a cache by type


def library_of(x: object) -> Library | None:
    """The library of `x`; None if it is not an array of a known library."""
    found = _OWNERS.get(type(x))
    if found is None:
        found = next((library for library in LIBRARIES.values() if library.owns(x)), None)
        if found is not None:
            _OWNERS[type(x)] = found
    return found


_NAMESPACES: dict[type, Namespace] = {}  # a cache by type
_FOLLOWED: dict[type, Callable[[Any], None]] = {}  # the types of arrays whose device must become the current one


def namespace(x: Any) -> Namespace:
    """The array API namespace of the library of `x`.

    Raises
    ------
    TypeError
        If `x` is not an array.
    """
    xp = _NAMESPACES.get(type(x))
    if xp is None:
        xp = _NAMESPACES[type(x)] = _namespace_of(x)
    if type(x) in _FOLLOWED:
        _FOLLOWED[type(x)](x)
    return xp


def _namespace_of(x: Any) -> Namespace:
    """As `namespace`, for the first array of its type."""
    library = library_of(x)
    if library is not None and library.follows:
        _FOLLOWED[type(x)] = library.follow
        return library.namespace()
    if library is not None and library.is_host and not library.imitates:
        return library.namespace()
    try:
        return compat.array_namespace(x)
    except TypeError as error:
        raise TypeError(
            f"an array is needed; got {type(x).__name__}. Make one with nn.backend('numpy').asarray(...)."
        ) from error


def is_lazy(x: object) -> bool:
    """Whether `x` is a lazy collection of blocks."""
    return hasattr(x, "__dask_graph__")


def device_of(x: Any) -> Device:
    """The device of `x`; None inside a compiled JAX function, where it is not known yet."""
    return compat.device(x)


def on_device(x: Any, device: Device) -> Any:
    """The array on another device of its library."""
    return compat.to_device(x, device)
