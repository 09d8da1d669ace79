"""The body of a loop, recorded or compiled once if the library supports it: then few calls launch all operations."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from nnarray.backends import library_of
from nnarray.typing import Array


class NotRecorded(RuntimeError):
    """The reason why a body cannot be recorded, or the recording is not used."""


class Turns(Protocol):
    """The body of a loop: pure functions, except that a turn may consume its carry. They read no value of an entry."""

    def begin(self, carry: Sequence[Array], fixed: Any) -> tuple[Any, Any]:
        """The carry and the fixed arrays in the form that turns take, before the first turn."""
        ...

    def turn(self, inside: Any, row: Sequence[Array], fixed: Any) -> tuple[Any, Sequence[Array]]:
        """The carry after a turn, and the outputs of the turn."""
        ...

    def end(self, inside: Any) -> list[Array]:
        """The carry as it was given to `begin`, after the last turn."""
        ...


class Loop(Protocol):
    """The turns of a loop.

    Attributes
    ----------
    by_parameter : bool
        Whether turns are faster if each parameter is an array of its own.
    exact : bool
        Whether kernels take numbers in float64 without widening their arrays.
    carry : list of arrays
        The state after the last turn; each turn may write into it. Reading it may take some time.
    length : int
        The largest number of turns between two calls of `load`.
    taken : int
        The number of turns since `load`. It counts those that an interrupt did not wait for.
    single : function or None
        (turns, key) -> a function (carry, row, fixed) -> (carry, outputs) that takes one turn, with the bits of the
        loop; None if there is nothing better than the turn itself.
    """

    by_parameter: bool
    exact: bool
    length: int
    taken: int
    single: Callable[[Turns, Hashable | None], Callable[..., Any]] | None

    @property
    def carry(self) -> list[Array]:
        """As above."""
        ...

    def load(self, carry: Sequence[Array], tables: Sequence[Array]) -> None:
        """Continue from this carry; turn i reads row i of these tables, which have at most `length` rows."""
        ...

    def launch(self, most: int) -> int:
        """Take the next turns, one or more but at most `most`, and return their number."""
        ...

    def results(self, count: int) -> list[Array]:
        """The outputs of the first turns since `load`, one row each."""
        ...

    def release(self) -> None:
        """Free the memory that turns use."""
        ...


def loop_for(like: Array) -> Any:
    """The class of loops of arrays like `like`: (turns, carry, tables, fixed, length, key) -> Loop.

    All turns read the same `fixed` arrays, in any nesting of tuples and mappings. `tables` are an example of two rows
    or more. If recording changes rounding, that is checked on them. What was recorded may be kept under the key: turns
    with an equal key must be the same functions.

    Raises
    ------
    NotRecorded
        By the class, if the turns cannot be recorded, for example because they read a value, or the results differ.
    """
    owner = library_of(like)
    assert owner is not None
    return importlib.import_module(f"nnarray.kernels.{owner.name}.loops").Loop


def read(x: Array) -> list[float]:
    """The entries of a vector as Python numbers: the host waits for all of them once, if the library supports it."""
    all_at_once = getattr(x, "tolist", None)
    return all_at_once() if all_at_once else [float(x[i]) for i in range(x.shape[0])]
