"""Products with weights that do not change, which a library may lay out in memory once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from nnarray.backends import library_of
from nnarray.kernels.registry import TABLE
from nnarray.typing import Array


def affine_of(weight: Array, bias: Array | None, room: list[Any]) -> Callable[[Array], Array]:
    """x -> x W + b, as `affine` computes it.

    Parameters
    ----------
    weight : array, shape (fan_in, units)
    bias : array, shape (units,), or None
        Neither must be written to afterwards.
    room : list
        Memory that is left for further weights, which live as long as these: empty at first.
    """
    owner = library_of(weight)
    if owner is not None and owner.is_host and not owner.imitates:
        return importlib.import_module("nnarray.kernels.numpy.stages").affine(weight, bias, room)
    return lambda x: TABLE["affine"](x, weight, bias)
