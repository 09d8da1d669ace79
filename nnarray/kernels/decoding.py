"""Plans of decoding: the computation of one position of a network, prepared once and then run for each token.

A plan is made of operations on rows of numbers, one for each sequence. Each method adds one, and returns its outputs:
memory that is the same at each token. So weights, caches and memory are looked at once.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, Protocol

from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.functions import Function


class Unplanned(Exception):
    """A layer, or a setting of it, that plans do not know: the layers compute."""


class Heads(NamedTuple):
    """The sizes of an attention: queries' heads, those of keys and values, and the features of each."""

    heads: int
    groups: int
    size: int


def refuse_unwritable(arrays: list[Any]) -> None:
    """Refuse arrays of a cache into which a plan cannot write, or of which entries share their memory.

    Raises
    ------
    Unplanned
        So that the layers compute, which copy them or say so.
    """
    for x in arrays:
        if not x.flags.writeable or any(n > 1 and step == 0 for n, step in zip(x.shape, x.strides, strict=True)):
            raise Unplanned


class Plan(Protocol):
    """All operations take rows, shape (batch, features), and weights as NumPy's arrays."""

    def looked_up(self, table: Any) -> Any:
        """The vectors of the tokens; NaN where there is none."""
        ...

    def at_position(self, x: Any, table: Any) -> Any:
        """X + the vector of the position."""
        ...

    def product(self, x: Any, weight: Any, bias: Any) -> Any:
        """X weight + bias."""
        ...

    def applied(self, x: Any, function: Function) -> Any:
        """f(x)."""
        ...

    def joined(self, parts: list[Any], join: str) -> Any:
        """The sum of the parts, or their product."""
        ...

    def normalised(self, x: Any, weight: Any, bias: Any, epsilon: float, *, centred: bool) -> Any:
        """Weight (x - mean) / sqrt(variance + epsilon) + bias; the mean is 0 if not `centred`."""
        ...

    def attended(self, z: Any, sizes: Heads, cache: dict[str, Any], rotation: Any) -> Any:
        """The means of the values, for z with queries, keys and values, which are written into the cache.

        rotation: the cosines and sines of all positions, shape (length, size / 2) each; None if there are none
        """
        ...

    def run(self, tokens: Any, position: int) -> None:
        """All operations, for tokens of shape (batch,)."""
        ...


LARGE = 2**20
"""Weights from which loops are compiled without being asked for: a first token of a small network would wait for it."""


def plan_of(batch: int, dtype: Any, weights: int, engine: str) -> Plan | None:
    """An empty plan; None if the layers compute, because the dtype has too few digits for sums."""
    loops = numba_pieces("decoding") if engine == "numba" or weights >= LARGE else None
    if loops and loops.takes(batch, dtype):
        return loops.Plan(batch)
    return importlib.import_module("nnarray.kernels.numpy.decoding").Plan(batch, dtype) if dtype.itemsize > 2 else None
