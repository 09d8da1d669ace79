"""What the gradients of recorded functions need and the standard has no function for."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.typing import Array


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
