"""Turning a pure function of arrays into a fast one, where a library has a compiler."""

from __future__ import annotations

from collections.abc import Callable
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
        return np.errstate(over="ignore", invalid="ignore", divide="ignore")(function)
    return function
