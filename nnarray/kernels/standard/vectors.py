"""Vectors: concatenating arrays, limiting the norm, and checking for finite entries."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import scaled
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


@kernel
def shortened(x: Array, *, norm: float) -> Array:
    """x min(1, norm / |x|), with the Euclidean norm; infinity and NaN are kept, so that they are detected.

    Parameters
    ----------
    x : array, shape (n,) with n > 0, real floating
    norm : float
        Above 0.
    """
    xp, (small, size, length) = namespace(x), scaled(x)
    limit = norm / xp.maximum(length, 1.0)  # the length is at least 4, but for a vector of 0
    return xp.where(size > limit, small * limit, x)
