"""Tables in files, read a part at a time."""

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
    """A table in a file, made by `open_table`: where it is and what its columns are called; rows are read when asked.

    Attributes
    ----------
    path : Path
    kind : str
        "csv", "tsv", "parquet", "feather", "npz" or "npy".
    columns : tuple of str
        The names of the columns, in the order of the file; each is there once.
    text : TextFormat
        How a CSV or TSV file is written.
    """

    def read(self) -> pa.Table:
        """All rows at once.

        Raises
        ------
        ValueError
            If there are no rows, or the file is damaged: the message names the file, and the row and the column
            where they are known.
        OSError
            If the file cannot be read any more.
        """
        return arrow().concat_tables(list(self._parts(65_536)))

    def batches(self, rows: int = 65_536) -> Iterator[pa.Table]:
        """The rows in the order of the file, some at a time, so that the file may be larger than the memory.

        An array in an NPZ file is loaded as a whole if it is compressed and its columns lie together.

        Parameters
        ----------
        rows : int
            Rows of each table; the last one has what remains.

        Raises
        ------
        ValueError, OSError
            While iterating, as in `read`.
        """
        rows = integer(rows, "rows", 1, usual=65_536)
        return _dealt(self._parts(rows), rows)

    def _parts(self, rows: int) -> Iterator[pa.Table]:
        """Tables of any length; at least one row in all."""
        count = 0
        with full_memory(self.path):
            for part in FORMATS[self.kind].parts(self, rows):
                if count and (free := free_host_memory()) is not None and free < limits.RESERVE:
                    raise MemoryError
                yield as_meant(plain(part), self.text, count)
                count += part.num_rows
        if not count:
            raise ValueError(f"{str(self.path)!r} has columns but no rows; add at least one row below the names.")


def open_table(path: str | os.PathLike[str], text: TextFormat = USUAL) -> TableFile:
    r"""A table in a file; its ending says the format. Reads the names of the columns and no rows.

    Needs pyarrow: `pip install 'nnarray[tables]'`.

    Parameters
    ----------
    path : path
        `.csv`, `.txt`, `.data` (commas) or `.tsv`, `.tab` (tabs), also with `.gz`, `.bz2` or `.zst` behind: the first
        row has the names of the columns; every column is read as text, null is what is missing, and an empty line is
        no row. A column without a name is called `Unnamed: 0`, by its place, as pandas does. `.parquet`, `.pq`;
        `.feather`, `.arrow` (the file format of Arrow, or a saved stream). `.npz`: each 1-D array is a column of the
        name it has there, and a 2-D array `X` is the columns `X[0]`, `X[1]`, ...; `.npy`: the columns of a 2-D array
        are `0`, `1`, ..., and a 1-D array is the column `0`.
    text : TextFormat
        How a CSV or TSV file is written, if not as usual.

    Raises
    ------
    ImportError
        If pyarrow is missing.
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, it is a folder, or it may not be read.
    ValueError
        If the ending is none of these, the file is damaged or empty, is not written as `text` says, or a column has
        the name of another.

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
        raise TypeError(f"the path of a table is needed; got {shown(path)}. Pass it as text.") from None
    if file.is_dir():
        raise IsADirectoryError(f"{str(file)!r} is a folder; pass the path of a table in it.")
    kind = kind_of(file)
    _need_file(file)
    return TableFile(file, kind, _checked_names(FORMATS[kind].columns(file, kind, text), file, kind), text)


def _need_file(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is no ordinary file; save what it gives to one first.")
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
            f"{str(path)!r} has several columns of one name: {', '.join(twice)}. Rename all but one.{data}"
        )
    return checked


def _free(name: str, taken: Sequence[str]) -> str:
    """The name, or, if it is taken, the first such as `Unnamed: 0.1` that is not."""
    return next(free for free in chain([name], (f"{name}.{k}" for k in count(1))) if free not in taken)


def _dealt(parts: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each."""
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
