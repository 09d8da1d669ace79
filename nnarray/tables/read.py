"""Tables in files, read in parts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnarray.backends import free_host_memory
from nnarray.checks import integer
from nnarray.names import shown
from nnarray.tables import limits
from nnarray.tables.arrow import arrow, plain
from nnarray.tables.endings import DELIMITERS, kind_of
from nnarray.tables.formats import FORMATS
from nnarray.tables.formats.format import Opened
from nnarray.tables.memory import full_memory
from nnarray.tables.text_format import USUAL, TextFormat, as_meant

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableFile(Opened):
    """A table in a file, made by `open_table`: its path and the names of its columns. Rows are read on request.

    Attributes
    ----------
    path : Path
    kind : str
        "csv", "tsv", "parquet", "feather", "npz" or "npy".
    columns : tuple of str
        The names of the columns, in the order of the file; all different.
    text : TextFormat
        The format of a CSV or TSV file.
    """

    def read(self) -> pa.Table:
        """All rows at once.

        Raises
        ------
        ValueError
            If there are no rows, or the file is damaged; the message names the file, and the row and the column if they
            are known.
        OSError
            If the file can no longer be read.
        """
        return arrow().concat_tables(list(self._parts(65_536)))

    def batches(self, rows: int = 65_536, *, may_be_empty: bool = False) -> Iterator[pa.Table]:
        """The rows in the order of the file, in parts, so that the file may be larger than the memory.

        An array in an NPZ file is loaded as a whole if it is compressed and its columns lie together.

        Parameters
        ----------
        rows : int
            The number of rows of each table; the last table may have fewer.
        may_be_empty : bool
            Whether a file without rows gives one table without rows, of columns of text; else it is an error.

        Raises
        ------
        ValueError, OSError
            During iteration, as in `read`.
        """
        rows = integer(rows, "rows", 1, usual=65_536)
        return self._dealt_or_empty(rows) if may_be_empty else _dealt(self._parts(rows), rows)

    def _dealt_or_empty(self, rows: int) -> Iterator[pa.Table]:
        empty = True
        for table in _dealt(self._with_rows_or_none(rows), rows):
            empty = False
            yield table
        if empty:
            none = arrow().array([], arrow().string())
            yield arrow().table(dict.fromkeys(self.columns, none))

    def _parts(self, rows: int) -> Iterator[pa.Table]:
        """Tables of any length, with at least one row in total."""
        count = 0
        for part in self._with_rows_or_none(rows):
            count += part.num_rows
            yield part
        if not count:
            raise ValueError(f"{str(self.path)!r} has columns but no rows; add at least one row below the names.")

    def _with_rows_or_none(self, rows: int) -> Iterator[pa.Table]:
        """Tables of any length."""
        count = 0
        with full_memory(self.path):
            for part in FORMATS[self.kind].parts(self, rows):
                if count and (free := free_host_memory()) is not None and free < limits.RESERVE:
                    raise MemoryError
                yield as_meant(plain(part), self.text, count)
                count += part.num_rows


def open_table(path: str | os.PathLike[str], text: TextFormat = USUAL) -> TableFile:
    r"""A table in a file, whose ending determines the format. Only the names of the columns are read.

    Needs pyarrow: `pip install 'nnarray[tables]'`.

    Parameters
    ----------
    path : path
        `.csv`, `.txt`, `.data` (commas) or `.tsv`, `.tab` (tabs), also followed by `.gz`, `.bz2` or `.zst`: the first
        row has the names of the columns. Every column is read as text, missing entries are null, and empty lines are
        ignored. A column without a name is called `Unnamed: 0`, by its position, as in pandas. `.parquet`, `.pq`.
        `.feather`, `.arrow` (the file format of Arrow, or a saved stream). `.npz`: each 1-D array is a column with the
        name of the array, and a 2-D array `X` gives the columns `X[0]`, `X[1]`, ... `.npy`: the columns of a 2-D array
        are `0`, `1`, ..., and a 1-D array is the column `0`.
    text : TextFormat
        The format of a CSV or TSV file, if it is not the default.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist, is a folder, or may not be read.
    ValueError
        If the ending is unknown, the file is damaged, empty or not in the format of `text`, or two columns have the
        same name.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "flowers.csv")
    ...     _ = file.write_text("length,colour\n1.5,red\n2,blue\n")
    ...     table = open_table(file)
    ...     print(table.columns, table.read().to_pylist())
    ('length', 'colour') [{'length': '1.5', 'colour': 'red'}, {'length': '2', 'colour': 'blue'}]
    """
    arrow()
    if not isinstance(text, TextFormat):
        raise TypeError(f"text must be a TextFormat, such as TextFormat(delimiter=';'); got {text!r}.")
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"path must be the path of a table; got {shown(path)}. Pass it as a string.") from None
    if file.is_dir():
        raise IsADirectoryError(f"{str(file)!r} is a folder; pass the path of a table in it.")
    kind = kind_of(file)
    _need_file(file)
    return TableFile(file, kind, _checked_names(FORMATS[kind].columns(file, kind, text), file, kind), text)


def _need_file(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is not a regular file; save its contents to one first.")
    try:
        path.open("rb").close()
    except PermissionError as error:
        raise PermissionError(error.errno, "no permission to read the table", str(path)) from None


def _checked_names(names: Iterable[str], path: Path, kind: str) -> tuple[str, ...]:
    checked = tuple(names)
    if not checked:
        raise ValueError(f"{str(path)!r} has no columns; save it with at least one.")
    checked = tuple(name if name.strip() else _free(f"Unnamed: {i}", checked) for i, name in enumerate(checked))
    twice = [repr(name) for name, count in Counter(checked).items() if count > 1]
    if twice:
        data = " If the first row is data: --no-header, or TextFormat(header=False)." if kind in DELIMITERS else ""
        raise ValueError(
            f"{str(path)!r} has several columns with the same name: {', '.join(twice)}. Rename all but one.{data}"
        )
    return checked


def _free(name: str, taken: Sequence[str]) -> str:
    """The name, or if it is taken, the first free one such as `Unnamed: 0.1`."""
    return next(free for free in chain([name], (f"{name}.{k}" for k in count(1))) if free not in taken)


def _dealt(parts: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The rows in tables of `rows` rows each."""
    concat = arrow().concat_tables
    waiting: list[Any] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += part.num_rows
        if count >= rows:
            whole = concat(waiting)
            full = count // rows * rows
            yield from (whole.slice(start, rows) for start in range(0, full, rows))
            waiting, count = [whole.slice(full)], count - full
    if count:
        yield concat(waiting)
