"""What a format is: a way to read the names of the columns, the rows, and a way to write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nnarray.tables.text_format import USUAL, TextFormat


@dataclass(frozen=True)
class Opened:
    """A table in a file whose columns are known: what a format needs to read its rows."""

    path: Path
    kind: str
    columns: tuple[str, ...] = field(repr=False)
    text: TextFormat = USUAL


Write = Callable[[Any, Any, Iterator[Any]], None]


class Format(NamedTuple):
    """How the tables of one format are read and written."""

    columns: Callable[[Path, str, TextFormat], list[str]]
    """The names of the columns, of a path, its kind and how the text is written."""
    parts: Callable[[Opened, int], Iterator[Any]]
    """Tables of pyarrow's, of about so many rows each."""
    write: Write | None
    """To an open file, in columns of this schema, these tables; None for what has no names for columns."""
