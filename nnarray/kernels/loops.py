"""The body of a loop, recorded once by a library that can: from then on one call launches all that a turn computes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol

from nnarray.backends import library_of
from nnarray.backends.library import Library
from nnarray.typing import Array

Body = Callable[[Sequence[Array], Sequence[Array]], tuple[Sequence[Array], Sequence[Array]]]
"""(carry, rows) -> (carry, outputs): a turn. It may consume its carry; it asks for the value of no entry."""


class NotRecorded(RuntimeError):
    """Why a body cannot be recorded, or why what was recorded is not used."""


class Loop(Protocol):
    """The turns of a loop.

    Attributes
    ----------
    carry : list of arrays
        What goes from turn to turn, as the last turn left it; each turn writes into it.
    outputs : list of arrays, shape (length, ...)
        What the turns gave besides, a row each; `load` begins anew.
    length : int
        How many turns there are at most between two calls of `load`.
    """

    carry: list[Array]
    outputs: list[Array]
    length: int

    def load(self, carry: Sequence[Array], tables: Sequence[Array]) -> None:
        """Go on from this carry; turn i reads row i of these tables, at most `length` rows each."""
        ...

    def launch(self) -> None:
        """Take the next turn."""
        ...

    def release(self) -> None:
        """Free the memory that a turn computes in."""
        ...


def recorded(body: Body, carry: Sequence[Array], tables: Sequence[Array], length: int) -> Loop:
    """The loop of a body, recorded and proved: on the rows of `tables` it gives the same bits as the body itself.

    Raises
    ------
    NotRecorded
        If the body does what cannot be recorded, such as asking for a value, or the bits differ.
    """
    return importlib.import_module(f"nnarray.kernels.{_owner(carry[0]).name}.loops").Loop(body, carry, tables, length)


def read(x: Array) -> list[float]:
    """The entries of a vector as numbers of Python: the host waits for all of them once."""
    return _owner(x).to_host(x).tolist()


def _owner(x: Array) -> Library:
    owner = library_of(x)
    assert owner is not None
    return owner
