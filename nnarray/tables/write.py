"""Tables written to files a part at a time, and given their name when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nnarray.persistence.files import replace
from nnarray.tables.arrow import arrow
from nnarray.tables.endings import COMPRESSED, kind_of
from nnarray.tables.formats import FORMATS
from nnarray.tables.formats.format import Write
from nnarray.tables.formats.text.csv import write_text

Batch = Mapping[str, Sequence[Any] | np.ndarray]


def write_table(path: str | os.PathLike[str], batches: Iterable[Batch]) -> None:
    """Write a table, batch after batch; the file is there as a whole or not at all.

    Parameters
    ----------
    path : path
        Ends in `.csv`, `.tsv`, `.parquet`, `.pq`, `.feather`, `.arrow` or `.npz`, which says the format. A file of
        that name is replaced. Only NPZ gathers all batches in memory.
    batches : iterable of mappings
        At least one. Each gives every column, by its name, a sequence or a 1-D array of numbers, truth values or
        text, or an array of pyarrow's; None is a missing entry. The first batch decides the names and the types.

    Raises
    ------
    ImportError
        If pyarrow is missing.
    ValueError
        If the ending is none of these, there are no batches or no columns, columns differ in length or from batch
        to batch, or an entry does not fit the type of its column.
    OSError
        If the file cannot be written.

    Notes
    -----
    In CSV and TSV all text is quoted, so that delimiters, quotes and line ends in it survive. A float is written
    with the fewest digits that read back as the same number.
    """
    file = Path(path)
    kind = kind_of(file)
    if file.suffix.lower() in COMPRESSED:
        raise ValueError(f"tables that are written are not compressed; let it end in .{kind}, not in {str(file)!r}.")
    write = FORMATS[kind].write
    if write is None:
        raise ValueError(f"a table of named columns cannot be written to {str(file)!r}; let it end in .npz instead.")
    tables = _tables(batches)
    try:
        first = next(tables)
    except StopIteration:
        raise ValueError(f"there is nothing to write to {str(file)!r}: no batches; give at least one.") from None
    replace(file, partial(_write, write, first, tables))


def print_table(sink: BinaryIO, batches: Iterable[Batch]) -> None:
    """Write batches as CSV to an open file, such as standard output; each as it comes."""
    tables = _tables(batches)
    first = next(tables)
    write_text(",", sink, first.schema, chain([first], tables))


def _write(write: Write, first: Any, tables: Iterator[Any], part: Path) -> None:
    with part.open("wb") as sink:
        write(sink, first.schema, chain([first], tables))


def _tables(batches: Iterable[Batch]) -> Iterator[Any]:
    """The batches as tables of pyarrow's, all of the types of the first."""
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
        raise ValueError(f"every batch needs the columns of the first, {names}; batch {i} has {list(batch)}.")
    columns = [_column(batch[name], name, None if schema is None else schema.field(name).type) for name in names]
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a batch must be equally long; batch {i} has lengths {lengths}.")
    return pa.table(columns, names=names)


def _column(values: Any, name: str, kind: Any) -> Any:
    pa = arrow()
    if isinstance(values, pa.Array):
        return values if kind is None else values.cast(kind)
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"column {name!r} must have one axis; got shape {values.shape}. Write its columns.")
        numbers = values.dtype.kind in "biuf"
        values = values.astype(values.dtype.newbyteorder("="), copy=False) if numbers else values.tolist()
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        wanted = "" if kind is None else f" as {kind}, the type of the first batch"
        raise ValueError(f"column {name!r} cannot be written{wanted}: {error}") from error
