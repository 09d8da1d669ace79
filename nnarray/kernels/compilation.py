"""Compiling pure functions of arrays, if the library has a compiler."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

import numpy as np

from nnarray.backends import library_of
from nnarray.backends.variables import during
from nnarray.typing import Array

T = TypeVar("T")


def compiled(function: Callable[..., Any], like: Array, key: Hashable | None = None) -> Callable[..., Any]:
    """`function` prepared by the library of `like`: compiled on JAX, and without overflow warnings on NumPy.

    With a key, what is compiled is kept. The next function with an equal key must be the same one. A training step that
    overflows is reported once, by a loss that is not finite, instead of by warnings.
    """
    owner = library_of(like)
    if owner is not None and owner.name == "jax":
        return importlib.import_module("nnarray.kernels.jax.programs").compiled(function, key)
    if owner is not None and owner.name in ("numpy", "strict"):
        return quiet(function)
    return function


quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""A decorator: NumPy does not warn of overflow in the function."""


def mapped(function: Callable[[int], T], items: Iterable[int], like: Array, threads: int | None = None) -> list[T]:
    """`function` of each item: one by one if the library uses several cores itself; on NumPy in threads, one per core.

    NumPy computes elementwise on one core, but releases Python's lock meanwhile. Context variables of this thread, such
    as the engine, apply in the other threads too.
    """
    owner = library_of(like)
    if owner is None or owner.name != "numpy" or threads == 1:
        return [function(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=threads or cores()) as pool:
        return list(pool.map(lambda each: each[0].run(function, each[1]), [(copy_context(), item) for item in items]))


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


LOOPS = "nnarray.kernels.numba.steps"
_loops: ContextVar[bool] = ContextVar("_loops", default=True)


def loops_allowed(allowed: bool) -> AbstractContextManager[None]:
    """Whether kernels may use the compiled loops within the block, according to the engine of a call."""
    return during(_loops, allowed)


_cudnn: ContextVar[bool] = ContextVar("_cudnn", default=False)


def cudnn_taken(taken: bool) -> AbstractContextManager[None]:
    """Whether convolutions of CuPy arrays use cuDNN within the block."""
    return during(_cudnn, taken)


def takes_cudnn() -> bool:
    """Whether the engine of the current call is "cudnn"."""
    return _cudnn.get()


@functools.cache
def has_module(name: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its package does not exist either
        return False


def has_loops() -> bool:
    """Whether Numba is installed. It is imported only when its loops are needed, as the import is slow."""
    return has_module("numba") and has_module(LOOPS)


def can_loop() -> bool:
    """Whether Numba's loops can be used, independent of the engine of the current call; imports them."""
    return _imported("steps") is not None


def numba_pieces(part: str = "steps") -> Any:
    """The compiled loops of the extra `nnarray[fast]`; None if it is not installed, or the engine does not use them."""
    return _imported(part) if _loops.get() else None


@functools.cache
def _imported(part: str) -> Any:
    if not has_loops():
        return None
    try:
        return importlib.import_module(f"nnarray.kernels.numba.{part}")
    except (ImportError, RuntimeError) as error:  # a NumPy that Numba does not support, or no folder for its cache
        warnings.warn(
            f"Numba is installed but cannot be used ({error}); NumPy computes without it. Upgrade it, set "
            f"NUMBA_CACHE_DIR to a writable folder, or pass engine='numpy'.",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
