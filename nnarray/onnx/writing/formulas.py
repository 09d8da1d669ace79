"""Arrays of a file that is being written, for formulas: a + b adds a node."""

from __future__ import annotations

from dataclasses import dataclass

from nnarray.onnx.writing.writer import Writer


@dataclass(frozen=True)
class Real:
    """An array of float64 in a file. Its operators, and those with numbers, add nodes."""

    w: Writer
    name: str

    def __add__(self, other: Real | float) -> Real:
        return self.with_("Add", other)

    def __sub__(self, other: Real | float) -> Real:
        return self.with_("Sub", other)

    def __mul__(self, other: Real | float) -> Real:
        return self.with_("Mul", other)

    def __truediv__(self, other: Real | float) -> Real:
        return self.with_("Div", other)

    def __floordiv__(self, other: Real | float) -> Real:
        return (self / other).of("Floor")

    def of(self, op: str) -> Real:
        """A function of each entry."""
        return Real(self.w, self.w.add(op, self.name))

    def compared(self, op: str, other: Real | float) -> str:
        """The name of an array of truth values."""
        return self.with_(op, other).name

    def with_(self, op: str, other: Real | float) -> Real:
        """A function of two."""
        second = other.name if isinstance(other, Real) else self.w.number(other, self.w.xp.float64)
        return Real(self.w, self.w.add(op, self.name, second))


def real(w: Writer, name: str) -> Real:
    """An array of another dtype as numbers of float64."""
    return Real(w, w.cast(name, w.xp.float64))
