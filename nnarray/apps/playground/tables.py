"""Files that are dropped on the page: CSV and NPY in memory, as columns of numbers and of classes."""

from __future__ import annotations

import codecs
import csv
import io
import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from nnarray.apps.playground.catalog import EXAMPLES
from nnarray.apps.playground.checking import Wrong
from nnarray.names import memory, shown
from nnarray.tables.encodings import not_ascii, readings

MOST_BYTES = 8 * 2**20
COLUMNS, CLASSES = 100, 10
"""The largest numbers of columns, and of different entries of a column of classes."""
UTF8 = "utf-8-sig"
NUMBER, CLASS, OTHER = "number", "class", "other"


@dataclass(frozen=True)
class Column:
    """A column: its name, its kind, and its entries as they were; a missing one is empty."""

    name: str
    kind: str
    entries: tuple[str, ...]
    classes: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """The column as the page gets it."""
        return {"name": self.name, "kind": self.kind, **({"classes": [*self.classes]} if self.classes else {})}


@dataclass(frozen=True)
class Table:
    """A table in memory; of a longer one, the first 5,000 rows.

    Attributes
    ----------
    name : str
        That of the file; it is shown, and never used as a path.
    columns : dict of str to Column
    rows : int
    encoding : str
        That of a text, if it is not UTF-8.
    """

    name: str
    columns: dict[str, Column]
    rows: int
    encoding: str = ""

    @property
    def event(self) -> dict[str, Any]:
        """The table as the page gets it."""
        facts = [column.facts for column in self.columns.values()]
        other = {"encoding": self.encoding} if self.encoding else {}
        return {"type": "table", "name": self.name, "rows": self.rows, "columns": facts, **other}

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the columns of numbers."""
        return tuple(name for name, column in self.columns.items() if column.kind == NUMBER)

    def choice(self) -> dict[str, Any] | None:
        """A first choice of two inputs and a target: the last column of classes, else the last column."""
        classes = [name for name, column in self.columns.items() if column.kind == CLASS]
        target = (classes or [*self.numbers])[-1:]
        inputs = [name for name in self.numbers if name not in target][:2]
        return {"columns": inputs, "target": target[0]} if inputs and target else None

    def column(self, name: str, at: str) -> Column:
        """The column of that name.

        Raises
        ------
        Wrong
            If there is none, or it has neither numbers nor few classes.
        """
        column = self.columns.get(name)
        if column is None or column.kind == OTHER:
            usable = [name for name, each in self.columns.items() if each.kind != OTHER]
            raise Wrong(f"must be a column of numbers or classes, one of {', '.join(usable)}; got {shown(name)}.", at)
        return column


def table_of(name: str, content: bytes) -> Table:
    """The table that a file has.

    Raises
    ------
    Wrong
        If it is too large, neither CSV nor NPY, or has no rows.
    """
    _refuse_path(name)
    if len(content) > MOST_BYTES:
        raise Wrong(f"has {memory(len(content))}; the playground takes {memory(MOST_BYTES)} at most.", name)
    ending = name.lower().rpartition(".")[2]
    readers = {"csv": _csv_rows, "tsv": _csv_rows, "txt": _csv_rows, "npy": _npy_rows}
    if ending not in readers:
        raise Wrong("must end in .csv, .tsv, .txt or .npy.", name)
    encoding = "" if ending == "npy" else _encoding(name, content)
    names, rows = readers[ending](name, content, encoding)
    if not rows:
        raise Wrong("has no rows below the names of its columns.", name)
    _refuse_columns(name, len(names), len(set(names)))
    columns = {each: _column(each, tuple(row[i] for row in rows)) for i, each in enumerate(names)}
    return Table(name, columns, len(rows), "" if encoding == UTF8 else encoding)


def _refuse_columns(name: str, count: int, different: int | None = None) -> None:
    if not 1 <= count <= COLUMNS or different not in (None, count):
        raise Wrong(f"must have 1 to {COLUMNS} columns with different names.", name)


def _refuse_path(name: str) -> None:
    if not name or len(name) > 200 or not name.isprintable() or set(name) & set("/\\:") or name.startswith("."):
        raise Wrong(f"must be the name of a file, without folders; got {shown(name)}.", "name")


def _csv_rows(name: str, content: bytes, encoding: str) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows."""
    text = content.decode(encoding)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [row for row in islice(lines, EXAMPLES + 1) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise Wrong(f"is not CSV: {error}.", name) from None
    if rows:
        _refuse_columns(name, len(rows[0]))  # before each gets a name
    wrong = next((i for i, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if wrong is not None:
        raise Wrong(f"has {len(rows[wrong])} entries in row {wrong + 1}, but {len(rows[0])} in the first.", name)
    if rows and all(_is_number(cell) for cell in rows[0]):
        return [f"column {i + 1}" for i in range(len(rows[0]))], rows
    names = [cell.strip()[:100] or f"column {i + 1}" for i, cell in enumerate(rows[0])] if rows else []
    return names, rows[1:]


def _encoding(name: str, content: bytes) -> str:
    """UTF-8, or UTF-16 with its mark; else the likeliest encoding of the lines that are not ASCII.

    Raises
    ------
    Wrong
        If no encoding fits.
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    others = [] if marked else [*readings(not_ascii(content.splitlines(keepends=True)), "utf-8")][:1]
    for encoding in ("utf-16" if marked else UTF8, *others):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    raise Wrong("is not UTF-8, and no other encoding fits; save it as CSV in UTF-8.", name)


def _npy_rows(name: str, content: bytes, encoding: str) -> tuple[list[str], list[list[str]]]:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(file)
        if dtype.hasobject or dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize > len(content):
            raise ValueError
        file.seek(0)
        array = np.load(file, allow_pickle=False)
    except (ValueError, KeyError, OSError, EOFError, OverflowError, MemoryError, SyntaxError, TypeError):
        raise Wrong("is damaged, or is no NPY file of real numbers.", name) from None
    if array.ndim != 2:
        raise Wrong(f"must have two axes, rows and columns; got shape {array.shape}.", name)
    _refuse_columns(name, array.shape[1])  # an empty array may claim any number of them
    rows = [[repr(cell) if cell == cell else "" for cell in row] for row in array[:EXAMPLES].tolist()]
    return [f"column {i + 1}" for i in range(array.shape[1])], rows


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _column(name: str, entries: tuple[str, ...]) -> Column:
    cells = tuple(cell.strip()[:100] for cell in entries)
    present = {cell for cell in cells if cell}
    if present and all(map(_is_number, present)):
        return Column(name, NUMBER, cells)
    few = 2 <= len(present) <= CLASSES
    return Column(name, CLASS if few else OTHER, cells, tuple(sorted(present)) if few else ())
