"""Numbers of each epoch in constant memory: the last ones as they are, and the whole curve as some of its points."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Any, overload

LATELY, POINTS = 2048, 4096
"""How many of the last numbers are kept at least, and how many points of a curve at most."""


class Column:
    """A list that only grows, of which the last numbers are kept; its length is that of all of them.

    Up to 2,048 numbers, it holds all. Earlier ones are left out of slices.
    """

    def __init__(self) -> None:
        self.count, self.kept = 0, array("d")

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[float]:
        """Those that are kept."""
        return iter(self.kept)

    def append(self, number: float) -> None:
        """Add a number."""
        self.count += 1
        self.kept.append(number)
        if len(self.kept) == 2 * LATELY:
            del self.kept[:LATELY]

    def extend(self, numbers: Iterable[float]) -> None:
        """Add several numbers."""
        for number in numbers:
            self.append(number)

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> array[float]: ...

    def __getitem__(self, index: Any) -> Any:
        """Numbers by their positions among all of them."""
        missing = self.count - len(self.kept)
        if isinstance(index, slice):
            start, stop, step = index.indices(self.count)
            return self.kept[max(start - missing, 0) : max(stop - missing, 0) : step]
        if not -len(self.kept) <= (index if index < 0 else index - self.count) < 0:
            raise IndexError(f"number {index} of {self.count} is not kept.")
        return self.kept[index if index < 0 else index - self.count]


class Curve(Column):
    """A column with points of the whole curve: every one, then every second, every fourth, and so on.

    Attributes
    ----------
    every : int
        The distance of the points.
    points : array of float
        The numbers at positions 0, every, 2 every, ...
    """

    def __init__(self) -> None:
        super().__init__()
        self.every, self.points = 1, array("d")

    def append(self, number: float) -> None:
        """Add a number."""
        if self.count % self.every == 0:
            self.points.append(number)
            if len(self.points) > POINTS:
                self.points, self.every = self.points[::2], 2 * self.every
        super().append(number)

    def thinned(self, begin: int, most: int) -> tuple[int, int, array[float]]:
        """Numbers from this position on, not many more than `most`: the first position, their distance, and they."""
        distance = -(-(self.count - begin) // most) or 1
        if begin >= self.count - len(self.kept):
            return begin, distance, self[begin::distance]
        first = -(-begin // self.every)
        step = -(-(len(self.points) - first) // most) or 1
        return first * self.every, step * self.every, self.points[first::step]
