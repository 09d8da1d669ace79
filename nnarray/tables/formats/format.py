"""The interface of a format: reading the names of the columns and the rows, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nnarray.tables.text_format import USUAL, TextFormat


@dataclass(frozen=True)
class Opened:
    """A table in a file with known columns, from which a format reads rows."""

    path: Path
    kind: str
    columns: tuple[str, ...] = field(repr=False)
    text: TextFormat = USUAL


Write = Callable[[Any, Any, Iterator[Any]], None]


class Format(NamedTuple):
    """The functions that read and write tables in one format."""

    columns: Callable[[Path, str, TextFormat], list[str]]
    """The names of the columns, from a path, its kind and the text format."""
    parts: Callable[[Opened, int], Iterator[Any]]
    """Tables of pyarrow, with about this many rows each."""
    write: Write | None
    """Write tables with this schema to an open file; None for formats without names of columns."""
