"""Vectors made of many arrays, and whether their entries are finite."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.typing import Array


@kernel
def joined(*parts: Array) -> Array:
    """The entries of all parts, one part after the other, as one vector.

    Parameters
    ----------
    *parts : arrays, any shapes, one dtype; at least one
    """
    xp = namespace(parts[0])
    return xp.concat([xp.reshape(part, (-1,)) for part in parts])


@kernel
def stacked(like: Array, *numbers: Any) -> Array:
    """The vector of some arrays of shape (), or numbers of the library's; at least one.

    Parameters
    ----------
    like : array
        Says which library.
    """
    return namespace(like).stack(numbers)


@kernel
def all_finite(x: Array) -> Array:
    """Whether no entry is NaN or infinite: an array of bool, shape ()."""
    xp = namespace(x)
    return xp.all(xp.isfinite(x))
