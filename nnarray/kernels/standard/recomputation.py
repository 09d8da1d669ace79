"""What keeps a compiler from merging what is meant to be computed twice."""

from __future__ import annotations

from nnarray.kernels.registry import kernel
from nnarray.typing import Array


@kernel
def after(x: Array, first: Array) -> Array:
    """x, not before `first` is there: to a compiler, what is computed from it is something new.

    Parameters
    ----------
    x, first : array, any shapes

    Returns
    -------
    array, x itself where nothing is compiled
    """
    return x
