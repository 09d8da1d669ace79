"""Sizes that follow from those of the inputs, found by comparing records of several sizes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from nnarray.backends import namespace
from nnarray.onnx.writing.operations import Operation, Value
from nnarray.recording.trees import in_the_form_of
from nnarray.typing import DType

BATCH = "batch"
Terms: TypeAlias = dict[tuple[str, ...], Fraction]
"""Factors of products of names; that of () is added alone."""


class Axis(NamedTuple):
    """An axis of the inputs that may have any size."""

    name: str
    usual: int
    """The largest size of a record: that of the model."""
    places: tuple[tuple[str, int], ...] = ()
    """The inputs that have it, each with the number of the axis."""

    @property
    def near(self) -> int:
        """The other size from which a formula is found."""
        return self.usual - 1

    @property
    def more(self) -> tuple[int, ...]:
        """Further sizes, from which it is seen whether a formula holds."""
        n = self.usual
        own = {n - 2, n - 3, 3 * n // 4, n // 2 + 1} if self.name != BATCH else set[int]()
        return tuple(sorted((each for each in own if 0 < each < self.near), reverse=True))


class Records(NamedTuple):
    """The sizes with which records are made."""

    axes: tuple[Axis, ...]
    settings: tuple[Mapping[str, int], ...]
    """The size of each axis by name, in each record. The last ones are all pairs of near and usual sizes."""

    def fitted(self, values: Sequence[int]) -> Terms | None:
        """A formula for a size with these values; None if there is none."""
        terms = _fitted([Fraction(n) for n in values[-(2 ** len(self.axes)) :]], self.axes)
        terms = {names: factor for names, factor in terms.items() if factor}
        if any(factor.denominator != 1 for factor in terms.values()):
            return None
        return terms if all(_at(terms, *pair) for pair in zip(self.settings, values, strict=True)) else None


def pairs_of(axes: Sequence[Axis]) -> list[dict[str, int]]:
    """The settings from which formulas follow; the largest sizes come last."""
    sizes = [(each.near, each.usual) for each in axes]
    return [{axis.name: n for axis, n in zip(axes, each, strict=True)} for each in itertools.product(*sizes)]


def _at(terms: Terms, setting: Mapping[str, int], value: int) -> bool:
    total = Fraction(0)
    for names, factor in terms.items():
        for name in names:
            factor *= setting[name]
        total += factor
    return total == value


def _fitted(values: list[Fraction], axes: Sequence[Axis]) -> Terms:
    """A function that is linear in each size, from its values at all pairs of sizes."""
    if not axes:
        return {(): values[0]}
    (axis, *rest), half = axes, len(values) // 2
    slopes = [(b - a) / (axis.usual - axis.near) for a, b in zip(values[:half], values[half:], strict=True)]
    starts = [a - axis.near * slope for a, slope in zip(values[:half], slopes, strict=True)]
    more = {(axis.name, *names): factor for names, factor in _fitted(slopes, rest).items()}
    return {**_fitted(starts, rest), **more}


@dataclass(frozen=True)
class Size:
    """A size that depends on those of the inputs: its value in each record."""

    values: tuple[int, ...]
    terms: Terms | None = field(compare=False)
    """A formula, if one is known."""

    def __str__(self) -> str:
        text = ""
        for names, factor in sorted((self.terms or {}).items(), key=lambda each: -len(each[0])):
            size = " * ".join([*([str(abs(factor))] if abs(factor) != 1 or not names else []), *names])
            sign = "-" if factor < 0 else "+" if text else ""
            text = f"{text} {sign} {size}" if text else f"{sign}{size}"
        return text


@dataclass(frozen=True, eq=False)
class Repeated:
    """A constant whose shape depends on the sizes of the inputs.

    `part` has one entry along the axes where all entries are the same. Along the axes `cut`, it has as many as in the
    largest record, and fewer are its first ones.
    """

    part: Any
    shape: tuple[int | Size, ...]
    cut: tuple[int, ...] = ()

    @property
    def dtype(self) -> DType:
        """That of its part."""
        return self.part.dtype

    @property
    def is_spread(self) -> bool:
        """Whether it has axes where all entries are the same."""
        return any(isinstance(n, Size) and axis not in self.cut for axis, n in enumerate(self.shape))


class Differs(Exception):
    """Records that do not differ in sizes only; the text says how."""


def merged_operations(each: Sequence[list[Operation]], records: Records) -> list[Operation]:
    """The operations of several records, with a `Size` where they differ.

    Raises
    ------
    Differs
        If the computation itself depends on the sizes.
    """
    if len({tuple(op.name for op in operations) for operations in each}) > 1:
        raise Differs("it computes other operations for other sizes")
    return [
        Operation(
            parts[0].name,
            merged([op.arguments for op in parts], records),
            merged([op.settings for op in parts], records),
            merged([op.results for op in parts], records),
        )
        for parts in zip(*each, strict=True)
    ]


def merged(parts: Sequence[Any], records: Records) -> Any:
    """One part of several records: as it is, or with sizes that follow from those of the inputs."""
    a = parts[-1]
    if isinstance(a, Value):
        return Value(a.number, merged([each.shape for each in parts], records), a.dtype)
    if isinstance(a, Mapping):
        return {name: merged([each[name] for each in parts], records) for name in a}
    if isinstance(a, (list, tuple)):
        lengths = sorted({len(each) for each in parts})
        if len(lengths) > 1:
            raise Differs(f"a list has {lengths[0]} parts, and {lengths[1]} for other sizes")
        return in_the_form_of(a, [merged(each, records) for each in zip(*parts, strict=True)])
    if isinstance(a, slice):
        ends = [merged([getattr(each, n) for each in parts], records) for n in ("start", "stop", "step")]
        return slice(*ends)
    if hasattr(a, "shape") and hasattr(a, "dtype"):
        return a if all(each is a for each in parts) else _merged_arrays(parts, records)
    if isinstance(a, int) and not isinstance(a, bool) and any(each != a for each in parts):
        return Size(tuple(parts), records.fitted(parts))
    if isinstance(a, float):
        others = [each for each in parts if each != a and not (a != a and each != each)]
        if others:
            raise Differs(f"a number is {others[0]}, and {a} for other sizes")
    return a


def _merged_arrays(parts: Sequence[Any], records: Records) -> Any:
    xp, shape = namespace(parts[-1]), merged([tuple(each.shape) for each in parts], records)
    growing = [axis for axis, n in enumerate(shape) if isinstance(n, Size)]
    cut = tuple(axis for axis in growing if not all(_is_same_along(xp, each, axis) for each in parts))
    part = parts[-1][
        tuple(slice(0, 1) if axis in growing and axis not in cut else slice(None) for axis in range(len(shape)))
    ]
    for each in parts:
        first = part[tuple(slice(0, n) if axis in cut else slice(None) for axis, n in enumerate(each.shape))]
        if first.shape != tuple(n if axis in cut or axis not in growing else 1 for axis, n in enumerate(each.shape)):
            raise Differs("a constant is not the largest where the inputs are")
        if not _same(xp, xp.broadcast_to(first, each.shape), each):
            raise Differs("a constant has other numbers for other sizes")
    return Repeated(part, shape, cut) if growing else part


def _is_same_along(xp: Any, x: Any, axis: int) -> bool:
    first = x[tuple(slice(0, 1) if i == axis else slice(None) for i in range(x.ndim))]
    return _same(xp, xp.broadcast_to(first, x.shape), x)


def _same(xp: Any, a: Any, b: Any) -> bool:
    return bool(xp.all((a == b) | ((a != a) & (b != b))))
