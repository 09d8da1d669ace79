"""Products with weights that do not change, which a library may lay out in memory once."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from nnarray.backends import library_of
from nnarray.kernels.registry import TABLE
from nnarray.typing import Array


def affine_of(weight: Array, bias: Array | None) -> Callable[[Array], Array]:
    """x -> x W + b, as `affine` computes it.

    Parameters
    ----------
    weight : array, shape (fan_in, units)
    bias : array, shape (units,), or None
        Neither must be written to afterwards.
    """
    owner = library_of(weight)
    if owner is not None and owner.is_host and not owner.imitates:
        return importlib.import_module("nnarray.kernels.numpy.stages").affine(weight, bias)
    return lambda x: TABLE["affine"](x, weight, bias)
