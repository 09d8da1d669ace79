"""Tables written to files in parts, and renamed when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nnarray.files import replace
from nnarray.tables.arrow import arrow
from nnarray.tables.endings import KINDS
from nnarray.tables.formats import FORMATS
from nnarray.tables.formats.format import Write
from nnarray.tables.formats.text.csv import write_text

WRITERS = {ending: write for ending, kind in KINDS.items() if (write := FORMATS[kind].write)}
Batch = Mapping[str, Sequence[Any] | np.ndarray]


def write_table(path: str | os.PathLike[str], batches: Iterable[Batch]) -> None:
    """Write a table, batch by batch; the file is complete or does not exist.

    Parameters
    ----------
    path : path
        Must end in `.csv`, `.tsv`, `.parquet`, `.pq`, `.feather`, `.arrow` or `.npz`, which determines the format. An
        existing file is replaced. Only NPZ collects all batches in memory.
    batches : iterable of mappings
        At least one batch. Each maps the name of every column to a sequence or a 1-D array of numbers, truth values or
        text, or to an array of pyarrow; None is a missing entry. The first batch determines names and types.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If the ending is unknown, there are no batches or no columns, columns differ in length or between batches, or an
        entry does not fit the type of its column.
    OSError
        If the file cannot be written.

    Notes
    -----
    In CSV and TSV, text is in quotes only where it would else be read as something else: with a delimiter, quotes, line
    ends or blanks at its ends, or a word for a missing entry. A float is written with the fewest digits that give the
    same number when read.
    """
    file = Path(path)
    write = _writer(file)
    tables = _tables(batches)
    try:
        first = next(tables)
    except StopIteration:
        raise ValueError(f"there are no batches to write to {str(file)!r}; pass at least one.") from None
    replace(file, partial(_write, write, first, tables))


def _writer(file: Path) -> Write:
    """What writes the format of this ending."""
    write = WRITERS.get(file.suffix.lower())
    if write is None:
        raise ValueError(f"a table cannot be written to {str(file)!r}: let its name end in {', '.join(WRITERS)}.")
    return write


def print_table(sink: BinaryIO, batches: Iterable[Batch]) -> None:
    """Write batches as CSV to an open file, such as standard output, one by one."""
    tables = _tables(batches)
    first = next(tables)
    write_text(",", sink, first.schema, chain([first], tables))


def _write(write: Write, first: Any, tables: Iterator[Any], part: Path) -> None:
    with part.open("wb") as sink:
        write(sink, first.schema, chain([first], tables))


def _tables(batches: Iterable[Batch]) -> Iterator[Any]:
    """The batches as pyarrow tables, all with the types of the first."""
    schema = None
    for i, batch in enumerate(batches):
        table = _table(batch, i, schema)
        schema = table.schema
        yield table


def _table(batch: Batch, i: int, schema: Any) -> Any:
    pa = arrow()
    names = list(batch) if schema is None else schema.names
    if not names:
        raise ValueError("a table needs at least one column; the first batch has none.")
    if set(batch) != set(names):
        raise ValueError(f"every batch must have the columns of the first, {names}; batch {i} has {list(batch)}.")
    columns = [_column(batch[name], name, None if schema is None else schema.field(name).type) for name in names]
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a batch must have equal lengths; batch {i} has lengths {lengths}.")
    return pa.table(columns, names=names)


def _column(values: Any, name: str, kind: Any) -> Any:
    pa = arrow()
    if isinstance(values, pa.Array):
        return values if kind is None else values.cast(kind)
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(
                f"column {name!r} must have one axis; got shape {values.shape}. Write its columns separately."
            )
        numbers = values.dtype.kind in "biuf"
        values = values.astype(values.dtype.newbyteorder("="), copy=False) if numbers else values.tolist()
    if kind is None and isinstance(values, list) and not values:
        kind = pa.string()  # a type that every format has, unlike that of no entries
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        wanted = "" if kind is None else f" as {kind}, the type of the first batch"
        raise ValueError(f"column {name!r} cannot be written{wanted}: {error}") from error
