"""What the gradients of recorded functions need and the standard has no function for."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.typing import Array, Shape


@kernel
def guarded_product(g: Array, factor: Any) -> Array:
    """g factor, where 0 times anything is 0, infinity and nan too.

    Parameters
    ----------
    g : array
    factor : array of a shape that broadcasts with that of g, or a number
    """
    xp, y = namespace(g), g * factor
    return xp.where((g == 0) | (factor == 0), xp.zeros_like(y), y)


@kernel
def spread(g: Array, kept: Shape, shape: Shape) -> Array:
    """The gradient of a sum: that of its result, for each entry that was added up.

    Parameters
    ----------
    g : array
    kept : tuple of int
        The shape of the result with the axes of the sum, of length 1.
    shape : tuple of int
        The shape that was summed.

    Returns
    -------
    array, shape `shape`
        It may share memory, and is not written to.
    """
    xp = namespace(g)
    return xp.broadcast_to(xp.reshape(g, kept), shape)


@kernel
def summed_to(g: Array, shape: Shape) -> Array:
    """The gradient of an array that was broadcast: the sum over the axes that this made, in the shape before it."""
    xp = namespace(g)
    return xp.reshape(xp.sum(g, axis=broadcast_axes(g.shape, shape)), shape)


def broadcast_axes(wide: Shape, shape: Shape) -> tuple[int, ...]:
    """The axes of `wide` along which broadcasting repeated an array of this shape."""
    new = len(wide) - len(shape)
    return (*range(new), *[new + i for i, n in enumerate(shape) if n != wide[new + i]])
