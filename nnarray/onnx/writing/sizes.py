"""Sizes that follow from the number of examples, found by comparing two records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnarray.backends import namespace
from nnarray.recording.graph import Operation, Value
from nnarray.recording.trees import in_the_form_of
from nnarray.typing import DType


@dataclass(frozen=True)
class Size:
    """factor * (number of examples) + offset."""

    factor: int
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Repeated:
    """A constant whose entries are the same along the axes that grow with the number of examples.

    `part` has one entry along each of these axes.
    """

    part: Any
    shape: tuple[int | Size, ...]

    @property
    def dtype(self) -> DType:
        """That of its part."""
        return self.part.dtype


class Differs(Exception):
    """Two records that do not differ in sizes only; the text says how."""


def merged_operations(one: list[Operation], other: list[Operation], counts: tuple[int, int]) -> list[Operation]:
    """The operations of two records with `counts` examples, with a `Size` where they differ.

    Raises
    ------
    Differs
        If the computation itself depends on the number of examples.
    """
    if [each.name for each in one] != [each.name for each in other]:
        raise Differs("it computes other operations for another number of examples")
    return [
        Operation(
            a.name,
            merged(a.arguments, b.arguments, counts),
            merged(a.settings, b.settings, counts),
            merged(a.results, b.results, counts),
        )
        for a, b in zip(one, other, strict=True)
    ]


def merged(a: Any, b: Any, counts: tuple[int, int]) -> Any:
    """One part of two records: as it is, or with sizes that follow from the number of examples."""
    if isinstance(a, Value):
        return Value(a.number, merged(a.shape, b.shape, counts), a.dtype)
    if isinstance(a, Mapping):
        return {name: merged(each, b[name], counts) for name, each in a.items()}
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            raise Differs(f"a list has {len(a)} parts, and {len(b)} for another number of examples")
        return in_the_form_of(a, [merged(*pair, counts) for pair in zip(a, b, strict=True)])
    if isinstance(a, slice):
        return slice(*(merged(getattr(a, n), getattr(b, n), counts) for n in ("start", "stop", "step")))
    if hasattr(a, "shape") and hasattr(a, "dtype"):
        return a if a is b else _merged_arrays(a, b, counts)
    if isinstance(a, int) and not isinstance(a, bool) and a != b:
        return _size(a, b, counts)
    if isinstance(a, float) and a != b and not (a != a and b != b):
        raise Differs(f"a number is {a}, and {b} for another number of examples")
    return a


def _size(a: int, b: int, counts: tuple[int, int]) -> Size:
    factor, rest = divmod(b - a, counts[1] - counts[0])
    if rest:
        raise Differs(f"a size is {a}, and {b} for another number of examples")
    return Size(factor, a - factor * counts[0])


def _merged_arrays(a: Any, b: Any, counts: tuple[int, int]) -> Any:
    xp, shape = namespace(a), merged(tuple(a.shape), tuple(b.shape), counts)
    growing = [axis for axis, n in enumerate(shape) if isinstance(n, Size)]
    first = tuple(slice(0, 1) if axis in growing else slice(None) for axis in range(a.ndim))
    part = a[first]
    if not all(_same(xp, xp.broadcast_to(part, each.shape), each) for each in (a, b)):
        raise Differs("a constant has other numbers for another number of examples")
    return Repeated(part, shape) if growing else a


def _same(xp: Any, a: Any, b: Any) -> bool:
    return bool(xp.all((a == b) | ((a != a) & (b != b))))
