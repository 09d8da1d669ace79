"""Turning a pure function of arrays into a fast one, where a library has a compiler."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

import numpy as np

from nnarray.backends import library_of
from nnarray.backends.variables import during
from nnarray.typing import Array

T = TypeVar("T")


def compiled(function: Callable[..., Any], like: Array) -> Callable[..., Any]:
    """`function` prepared by the library that owns `like`: compiled on JAX, and quiet about overflow on NumPy.

    A training step whose numbers overflow is reported once, by a loss that is not finite, and not by warnings.
    """
    owner = library_of(like)
    if owner is not None and owner.name == "jax":
        import jax

        return jax.jit(function)
    if owner is not None and owner.name in ("numpy", "strict"):
        return quiet(function)
    return function


quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""For a function, as a decorator: NumPy says nothing about what overflows in it."""


def mapped(function: Callable[[int], T], items: Iterable[int], like: Array, threads: int | None = None) -> list[T]:
    """`function` of each item: in turn where the library spreads its work itself, on NumPy in threads, one a core.

    NumPy computes elementwise on one core, but lets go of Python's lock meanwhile. What is settled for this thread,
    such as who may compute, is so in the others.
    """
    owner = library_of(like)
    if owner is None or owner.name != "numpy" or threads == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=threads or cores()) as pool:
        return list(pool.map(lambda each: each[0].run(function, each[1]), [(copy_context(), item) for item in items]))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


LOOPS = "nnarray.kernels.numba.steps"
_loops: ContextVar[bool] = ContextVar("_loops", default=True)


def loops_allowed(allowed: bool) -> AbstractContextManager[None]:
    """Whether kernels may take the compiled loops, in what is called meanwhile: as the engine of a call says."""
    return during(_loops, allowed)


_cudnn: ContextVar[bool] = ContextVar("_cudnn", default=False)


def cudnn_taken(taken: bool) -> AbstractContextManager[None]:
    """Whether convolutions of CuPy's arrays go through cuDNN, in what is called meanwhile."""
    return during(_cudnn, taken)


def takes_cudnn() -> bool:
    """Whether the engine of the call under way is "cudnn"."""
    return _cudnn.get()


@functools.cache
def has_module(name: str) -> bool:
    """Whether a module can be imported; of it, nothing is."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the folder it would be in
        return False


def has_loops() -> bool:
    """Whether Numba is installed; it is imported, which takes a moment, where its loops are needed."""
    return has_module("numba") and has_module(LOOPS)


def can_loop() -> bool:
    """Whether Numba's loops can be used, whatever the engine of a call under way goes without; imports them."""
    return _imported("steps") is not None


def numba_pieces(part: str = "steps") -> Any:
    """The compiled loops of the extra `nnarray[fast]`; None where it is not installed, or the engine goes without."""
    return _imported(part) if _loops.get() else None


@functools.cache
def _imported(part: str) -> Any:
    if not has_loops():
        return None
    try:
        return importlib.import_module(f"nnarray.kernels.numba.{part}")
    except (ImportError, RuntimeError) as error:  # another NumPy than Numba's, or nowhere to keep what is compiled
        warnings.warn(
            f"Numba is installed but cannot be used ({error}); NumPy computes without it. Upgrade it, name a folder "
            f"that can be written to in NUMBA_CACHE_DIR, or pass engine='numpy'.",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
