"""The body of a loop, recorded once if the library supports it: then one call launches all operations of a turn."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol

from nnarray.backends import library_of
from nnarray.typing import Array

Body = Callable[[Sequence[Array], Sequence[Array]], tuple[Sequence[Array], Sequence[Array]]]
"""(carry, rows) -> (carry, outputs): a turn. It may consume its carry, but must not read the value of an entry."""


class NotRecorded(RuntimeError):
    """The reason why a body cannot be recorded, or the recording is not used."""


class Loop(Protocol):
    """The turns of a loop.

    Attributes
    ----------
    carry : list of arrays
        The state after the last turn; each turn writes into it.
    outputs : list of arrays, shape (length, ...)
        The other results of the turns, one row each; `load` starts again.
    length : int
        The largest number of turns between two calls of `load`.
    """

    carry: list[Array]
    outputs: list[Array]
    length: int

    def load(self, carry: Sequence[Array], tables: Sequence[Array]) -> None:
        """Continue from this carry; turn i reads row i of these tables, which have at most `length` rows."""
        ...

    def launch(self) -> None:
        """Take the next turn."""
        ...

    def release(self) -> None:
        """Free the memory that turns use."""
        ...


def recorded(body: Body, carry: Sequence[Array], tables: Sequence[Array], length: int) -> Loop:
    """The recorded loop of a body, checked on the rows of `tables` to be bitwise equal to the body itself.

    Raises
    ------
    NotRecorded
        If the body cannot be recorded, for example because it reads a value, or the results differ.
    """
    owner = library_of(carry[0])
    assert owner is not None
    return importlib.import_module(f"nnarray.kernels.{owner.name}.loops").Loop(body, carry, tables, length)


def read(x: Array) -> list[float]:
    """The entries of a vector as Python numbers: the host waits for all of them once, if the library supports it."""
    all_at_once = getattr(x, "tolist", None)
    return all_at_once() if all_at_once else [float(x[i]) for i in range(x.shape[0])]
