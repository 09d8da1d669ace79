"""The backend of arrays: their namespace and device, and whether arrays share them."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Generator
from numbers import Real
from typing import Any

from nnarray.backends.errors import OutOfDeviceMemory
from nnarray.backends.library_and_device import Backend
from nnarray.backends.reading import refuse_non_numeric, refuse_unread
from nnarray.backends.registry import LIBRARIES, device_of, is_lazy, library_of, namespace
from nnarray.typing import Array, Namespace


def same_place(**arrays: Any) -> Namespace:
    """The namespace that all arrays share; None is ignored.

    Raises
    ------
    TypeError
        If two arrays belong to different libraries.
    ValueError
        If two arrays are on different devices.
    """
    present = {name: x for name, x in arrays.items() if x is not None}
    (first, x), *others = present.items()
    xp = namespace(x)
    for name, other in others:
        if namespace(other) is not xp:
            _refuse_recorded(**{first: x, name: other})
            raise TypeError(
                f"{first} is an array of {place(x)} and {name} one of {place(other)}: nothing is moved silently. "
                f"Move one of them with nn.backend(...).asarray(...){_or_the_model(first, other)}."
            )
        device, other_device = device_of(x), device_of(other)
        if device is not None and other_device is not None and device != other_device:
            raise ValueError(
                f"{first} is on {place(x)} and {name} on {place(other)}: nothing is moved silently. "
                f"Move one of them with nn.backend(...).asarray(...){_or_the_model(first, None)}."
            )
    return xp


def _refuse_recorded(**arrays: Any) -> None:
    """Raise TypeError if one of these arrays is recorded by `nn.grad`, and the other is not."""
    for name, x in arrays.items():
        if hasattr(type(x), "tape"):
            raise TypeError(
                f"{name} is recorded for a gradient, and this call takes values only. In a function that is "
                f"differentiated, call model.with_theta(theta)(X), nn.value_and_grad(model, X, y), losses, and "
                f"functions of the array API standard. For the values alone, pass nn.stop_gradient(x)."
            )


def _or_the_model(first: str, other: Any) -> str:
    """The remedy of moving a model to the device of `other`."""
    owner = library_of(other)
    return f", or the model: model = model.to({repr(owner.name) if owner else '...'})" if first == "model" else ""


def place(x: Any) -> str:
    """The library and device of `x`, for an error: `torch (cuda:0)`."""
    owner = library_of(x)
    return f"{owner.name if owner else namespace(x).__name__} ({device_of(x)})"


TABLES = ".csv", ".tsv", ".parquet", ".feather", ".arrow"
"""The endings of files that `nnarray train` reads."""


def flag_of(x: Any) -> str:
    """The flag of the backend of `x`, such as "torch" or "cupy:1", for messages."""
    owner = library_of(x)
    if owner is None:
        return "numpy"
    device, text = device_of(x), str(device_of(x))
    for end in ("", text, text.rpartition(":")[2], text.partition("'")[2].partition("'")[0]):
        with contextlib.suppress(Exception):  # a text that is no device of this library
            if owner.device(end) == device:
                return f"{owner.name}:{end}" if end else owner.name
    return owner.name


def as_data(x: Any, name: str, like: Any = None) -> Array:
    """`x` as a plain array of real numbers; a tensor of PyTorch keeps its gradient record.

    Errors say how to make an array of the backend of `like`.

    Raises
    ------
    TypeError
        If `x` is not an array, or has complex numbers, text or objects.
    """
    owner = library_of(x)
    if owner is None and not hasattr(x, "__array_namespace__"):
        refuse_unread(x, name)
        values = f"[{name}]" if isinstance(x, Real) and not isinstance(x, bool) else name
        make = f"Make one with nn.backend({flag_of(like)!r}).asarray({values})."
        if isinstance(x, str | os.PathLike):
            make = f"If {str(x)!r} is the path of a .npy file, pass nn.datasets.memory_mapped({str(x)!r})."
            if str(x).lower().endswith(TABLES):
                make = f"To learn from the table, run: nnarray train {x} --target COLUMN."
        if is_lazy(x):
            make = f"If it fits into memory, {make[0].lower()}{make[1:-1]}; predict, and fit with cluster=, take it."
        raise TypeError(f"{name} must be an array; got {_kind(x)}. {make}")
    x = owner.borrow(x) if owner else x
    refuse_non_numeric(x, name)
    return x


def _kind(x: Any) -> str:
    """The type of `x` with its package, as several have an `Array`: "dask.Array"."""
    package = type(x).__module__.partition(".")[0]
    return type(x).__name__ if package == "builtins" else f"{package}.{type(x).__name__}"


def backend_of(x: Any) -> Backend:
    """The backend of `x`."""
    owner = library_of(x)
    if owner is None:
        raise TypeError(f"{type(x).__name__} belongs to no known backend; use an array of {', '.join(LIBRARIES)}.")
    return Backend(place(x), owner, namespace(x), device_of(x))


@contextlib.contextmanager
def memory_errors(x: Any, remedy: Callable[[int | None], str]) -> Generator[None]:
    """Convert the library's own error for a full device of `x` to one error, ending with `remedy` of the free bytes.

    Raises
    ------
    OutOfDeviceMemory
        Instead of the library's own error.
    """
    try:
        yield
    except Exception as error:
        be = backend_of(x)
        if isinstance(error, OutOfDeviceMemory) or not be.library.out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # frames keep the arrays of the failed computation
        advice = remedy(be.library.free(be.device))
        raise OutOfDeviceMemory(f"no memory left on {place(x)} ({error}). {advice}") from error
