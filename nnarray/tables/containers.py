"""Tables of what programs hold: dataframes, columns by name, rows as dicts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.names import shown
from nnarray.tables.arrow import arrow, plain
from nnarray.tables.cells import listed
from nnarray.tables.text_format import USUAL, TextFormat, as_meant

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = {bool: "a truth value", Real: "a number", Decimal: "a number", str: "text", date: "a date"}
"""What a cell may be. The first that fits counts: Python's truth values are numbers, too."""
BEYOND = 10**308  # integers up to here are floats, too
ACCEPTED = (
    "a dataframe (pandas, Polars, pyarrow), a list of rows, each a dict by the names of the columns, or a dict of "
    "columns"
)


def table_of(data: Any, columns: Sequence[str], text: TextFormat = USUAL) -> pa.Table:
    """A table of what a program holds; of rows and of columns by name, those that are asked for alone.

    Parameters
    ----------
    data : dataframe, sequence of dicts, or dict of sequences
        Whatever gives Arrow's stream (`__arrow_c_stream__`), as the frames of pandas, Polars and pyarrow do; rows,
        each a dict; or columns by name: lists, arrays with one axis, or series. None and NaN are missing entries.
    columns : sequence of str
        What is wanted of it.
    text : TextFormat
        How numbers and missing entries in text are written.

    Raises
    ------
    ImportError
        If pyarrow is missing.
    TypeError
        If `data` is none of these.
    ValueError
        If there is nothing, a column is missing in a row, columns differ in length, or a cell is not of the kind of
        those above it: the message names the row, counted from 1, and the column.

    Examples
    --------
    >>> rows = [{"length": 1.5, "colour": "red"}, {"length": None, "colour": "blue", "price": 3}]
    >>> table_of(rows, ["length", "colour"]).to_pylist()
    [{'length': 1.5, 'colour': 'red'}, {'length': None, 'colour': 'blue'}]
    """
    table = _table(data, columns)
    if not table.column_names:
        raise ValueError("there are no rows to predict; give at least one.")
    return as_meant(plain(table), text, 0)


def _table(data: Any, columns: Sequence[str]) -> Any:
    pa = arrow()
    shape = getattr(data, "shape", None)
    if hasattr(data, "__arrow_c_stream__") and (shape is None or len(shape) != 1):  # and no series, which is one column
        try:
            return _known_once(pa.table(data), columns)
        except (pa.ArrowException, TypeError) as error:
            raise ValueError(
                f"the {type(data).__name__} cannot be read as a table: {' '.join(str(error).split())}. Let each column "
                f"be of one type."
            ) from error
    if isinstance(data, Mapping):
        return _of_columns(data, columns)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | bytearray):
        rows: list[Any] = list(data)
        if all(isinstance(row, Mapping) for row in rows):
            return _of_rows(rows, columns)
    remedy = " Call its collect() first." if hasattr(data, "collect") else ""
    if hasattr(data, "iloc") and shape is not None and len(shape) == 1:
        remedy = " For one row of a dataframe: df.iloc[[0]]."
    given = shown(data) if shape is None else f"{type(data).__name__} of shape {tuple(shape)}"
    raise TypeError(f"rows are needed, as {ACCEPTED}; got {given}.{remedy}")


def _known_once(table: Any, columns: Sequence[str]) -> Any:
    """The table without what is not asked for; of two columns of one name nobody knows which is meant."""
    count = Counter(table.column_names)
    if twice := [name for name in columns if count[name] > 1]:
        raise ValueError(f"the table has several columns of one name: {listed(twice)}. Rename all but one.")
    wanted = [name for name in columns if name in count]
    return table.select(wanted) if len(wanted) == len(columns) else table  # the error lists what there is


def _of_rows(rows: list[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    if not rows:
        return arrow().table({})
    known = [name for name in columns if any(name in row for row in rows)]
    for i, row in enumerate(rows):
        if lacking := [name for name in known if name not in row]:
            raise ValueError(
                f"row {i + 1} lacks {listed(lacking)}; it has {listed(map(str, row))}. Give null, in Python None, for "
                f"what is not known."
            )
    others = {} if len(known) == len(columns) else {str(name): [None] * len(rows) for name in rows[0]}
    return arrow().table(others | {name: _column([row[name] for row in rows], name) for name in known})


def _of_columns(data: Mapping[str, Any], columns: Sequence[str]) -> Any:
    wanted = [name for name in columns if name in data]
    made = {name: _series(data[name], name) for name in (wanted if len(wanted) == len(columns) else data)}
    lengths = {name: len(column) for name, column in made.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns must be equally long; got {lengths}.")
    return arrow().table({str(name): column for name, column in made.items()})


def _series(values: Any, name: str) -> Any:
    """A column of a list, an array or a series."""
    pa = arrow()
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biuf":
        return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(
            f"column {name!r} must be a list or an array of its entries; got {shown(values)}. For one row: [row]."
        )
    if len(shape := getattr(values, "shape", (0,))) != 1:
        raise ValueError(f"column {name!r} must have one axis; got shape {tuple(shape)}.")
    to_list = getattr(values, "tolist", None)
    return _column(to_list() if to_list else list(values), name)


def _column(cells: Sequence[Any], name: str) -> Any:
    """A column of cells that are of one kind."""
    pa = arrow()
    cells = [_plain(cell) for cell in cells]
    first: tuple[int, str] | None = None
    for i, cell in enumerate(cells):
        if cell is None:
            continue
        kind = next((kind for each, kind in KINDS.items() if isinstance(cell, each)), "")
        if not kind:
            raise ValueError(
                f"row {i + 1}, column {name!r}: {shown(cell)} is no number, text, truth value or date. Give one of "
                f"these, or null, in Python None, if it is not known."
            )
        first = first or (i, kind)
        if kind != first[1]:
            raise ValueError(
                f"row {i + 1}, column {name!r}: {shown(cell)} is {kind}, and row {first[0] + 1} has {first[1]}. Give "
                f"all entries of a column in one kind."
            )
    try:
        return pa.array(cells)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        if all(isinstance(cell, int | float | None) for cell in cells):
            return pa.array(_beyond_64_bits(cells))
        raise ValueError(f"column {name!r} cannot be read: {' '.join(str(error).split())}.") from error


def _beyond_64_bits(cells: Sequence[Any]) -> list[Any]:
    """Numbers of any size: integers alone stay exact, as text; beside others they are floats."""
    whole = all(cell is None or (isinstance(cell, int) and abs(cell) < BEYOND) for cell in cells)
    return [cell if cell is None else str(cell) if whole else _float(cell) for cell in cells]


def _float(cell: Any) -> float:
    """As a float; infinity, which is refused later, where it is too large."""
    return float(cell) if abs(cell) < BEYOND else math.inf


def _plain(cell: Any) -> Any:
    """A scalar of NumPy's as Python's; None for NaN."""
    if not isinstance(cell, str) and hasattr(cell, "item") and getattr(cell, "ndim", 0) == 0:
        cell = cell.item()
    return None if isinstance(cell, float) and cell != cell else cell
