"""Turning a pure function of arrays into a fast one, where a library has a compiler."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from nnarray.backends import library_of
from nnarray.typing import Array


def compiled(function: Callable[..., Any], like: Array) -> Callable[..., Any]:
    """`function` prepared by the library that owns `like`: compiled on JAX, and quiet about overflow on NumPy.

    A training step whose numbers overflow is told once, by a loss that is not finite, and not by warnings.
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


def mapped(function: Callable[[int], Array], items: Iterable[int], like: Array) -> list[Array]:
    """`function` of each item: in turn where the library spreads its work itself, on NumPy in threads.

    NumPy computes elementwise on one core, but lets go of Python's lock meanwhile.
    """
    owner = library_of(like)
    if owner is None or owner.name != "numpy":
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=cores()) as pool:
        return list(pool.map(function, items))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def numba_pieces(part: str = "numba") -> Any:
    """The compiled loops of the extra `nnarray[fast]`, or None: where it is not installed, or NNARRAY_FAST=0."""
    if os.environ.get("NNARRAY_FAST", "1") == "0" or importlib.util.find_spec("numba") is None:
        return None
    try:
        return importlib.import_module(f"nnarray.kernels.{part}")
    except (ImportError, RuntimeError) as error:  # another NumPy than Numba's, or nowhere to keep what is compiled
        warnings.warn(
            f"Numba is installed but cannot be used ({error}); NumPy computes without it. Upgrade it, name a folder "
            f"that can be written to in NUMBA_CACHE_DIR, or set NNARRAY_FAST=0.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
