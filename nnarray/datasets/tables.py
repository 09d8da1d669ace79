"""Tables in files, read by pyarrow a part at a time: CSV, TSV, Parquet, Feather and NumPy's own files."""

from __future__ import annotations

import codecs
import contextlib
import errno
import importlib
import logging
import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nnarray.backends import free_host_memory
from nnarray.checks import integer
from nnarray.names import memory

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nnarray")

KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".npz": "npz",
    ".npy": "npy",
}
DELIMITERS = {"csv": ",", "tsv": "\t"}

BLOCK = 4 << 20  # bytes of text that are parsed at a time, and some ten of them read ahead; no row may be longer
RESERVE = 16 * BLOCK  # bytes without which reading goes no further: systems and pyarrow may kill a process for more
LARGE, SQUEEZED = 1 << 30, 100  # an archive that inflates to more bytes than this, and by more than this factor: a bomb


# --- The file -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableFile:
    """A table in a file, made by `open_table`: where it is and what its columns are called; rows are read when asked.

    Attributes
    ----------
    path : Path
    kind : str
        "csv", "tsv", "parquet", "feather", "npz" or "npy".
    columns : tuple of str
        The names of the columns, in the order of the file; each is there once.
    """

    path: Path
    kind: str
    columns: tuple[str, ...] = field(repr=False)

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

        An NPZ file is compressed as a whole and is loaded as a whole.

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
        found = False
        with full_memory(self.path):
            for part in READERS[self.kind](self, rows):
                if found and (free := free_host_memory()) is not None and free < RESERVE:
                    raise MemoryError
                found = found or part.num_rows > 0
                yield part
        if not found:
            raise ValueError(f"{str(self.path)!r} has columns but no rows; add at least one row below the names.")


def open_table(path: str | os.PathLike[str]) -> TableFile:
    r"""A table in a file; its ending tells the format. Reads the names of the columns and no rows.

    Needs pyarrow: `pip install 'nnarray[tables]'`.

    Parameters
    ----------
    path : path
        `.csv` (commas) or `.tsv` (tabs): text in UTF-8, the first row has the names of the columns; every column is
        read as text, and an empty line is no row. `.parquet`, `.pq`; `.feather`, `.arrow` (the file format of Arrow).
        `.npz`: each 1-D array is a column of the name it has there, and a 2-D array `X` is the columns `X[0]`,
        `X[1]`, ...; `.npy`: the columns of a 2-D array are `0`, `1`, ..., and a 1-D array is the column `0`.

    Raises
    ------
    ImportError
        If pyarrow is missing.
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, it is a folder, or it may not be read.
    ValueError
        If the ending is none of these, the file is damaged or empty, or a column has no name or that of another.

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
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"the path of a table is needed; got {path!r}. Pass it as text.") from None
    if file.is_dir():
        raise IsADirectoryError(f"{str(file)!r} is a folder; pass the path of a table in it.")
    kind = kind_of(file)
    _need_file(file)
    return TableFile(file, kind, _checked_names(COLUMNS[kind](file, kind), file))


def kind_of(path: Path) -> str:
    """The format that the ending of a path tells."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{str(path)!r} does not end as a table does; use one of {', '.join(KINDS)}. Rename it, or save it as such."
        )
    return kind


def arrow() -> Any:
    """The library pyarrow, with `pyarrow.compute`."""
    try:
        pa = importlib.import_module("pyarrow")
        importlib.import_module("pyarrow.compute")
    except ImportError as error:
        raise ImportError("reading tables needs pyarrow; pip install 'nnarray[tables]'.") from error
    return pa


def _need_file(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.")
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is no ordinary file; save what it gives to one first.")
    try:
        path.open("rb").close()
    except PermissionError as error:
        raise PermissionError(error.errno, "no permission to read the table", str(path)) from None


def _checked_names(names: Iterable[str], path: Path) -> tuple[str, ...]:
    found = tuple(names)
    if not found:
        raise ValueError(f"{str(path)!r} has no columns; save it with at least one.")
    empty = [str(i) for i, name in enumerate(found, 1) if not name.strip()]
    if empty:
        raise ValueError(f"{str(path)!r} has columns without a name: number {', '.join(empty)}. Name or remove them.")
    twice = [repr(name) for name, count in Counter(found).items() if count > 1]
    if twice:
        raise ValueError(f"{str(path)!r} has several columns of one name: {', '.join(twice)}. Rename all but one.")
    return found


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


def memory_of_text(path: Path, left_out: int = 0) -> int | None:
    """About how much memory it takes to train on a table in text without some columns; None for other files.

    Judged by how long entries are at its beginning.
    """
    if path.suffix.lower() not in (".csv", ".tsv"):
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(1 << 18)
    delimiter = max((b",", b"\t", b";"), key=start.count)
    entries = (start.count(delimiter) + start.count(b"\n")) * size // max(1, len(start))
    columns = start.partition(b"\n")[0].count(delimiter) + 1
    return (2 * size + ENTRY * entries) * max(1, columns - left_out) // columns  # the text twice: all, and to train on


ENTRY = 16
"""Bytes in memory beside the text, an entry: where it begins, its number, and a copy of that to train on. Measured."""


@contextlib.contextmanager
def full_memory(path: Path, needed: int | None = None) -> Generator[None]:
    """What may not fit is told before, and a full memory with what there was, what was needed, and what helps."""
    free = free_host_memory()
    if needed and free is not None and needed > free:
        log.warning(
            "%r will take about %s of memory, and %s are free. %s", str(path), memory(needed), memory(free), LESS
        )
    try:
        yield
    except MemoryError as error:
        told = [f"no memory is left for the table {str(path)!r}, a file of {memory(path.stat().st_size)}"]
        told += [f"it needs about {memory(needed)}"] if needed else []
        told += [f"{memory(free)} were free before"] if free is not None else []
        raise MemoryError(f"{'; '.join(told)}. {LESS}") from error


LESS = (
    "What helps: leave out columns (--drop), split off some of the rows, save it as Parquet with columns of numbers "
    "(float32 takes least), close other programs, or take a machine with more memory."
)


@contextlib.contextmanager
def _faults(path: Path, what: str, remedy: str = "Is it damaged or cut short? Get it anew.") -> Generator[None]:
    """Whatever pyarrow finds wrong in a file, as one ValueError that names the file."""
    try:
        yield
    except (arrow().ArrowException, ValueError, OSError, TypeError, KeyError) as error:
        system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # no fault of the file
        if system or isinstance(error, MemoryError):
            raise
        raise ValueError(f"{str(path)!r} cannot be read as {what}: {_one_line(error)}. {remedy}") from error


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split())[:300] or type(error).__name__).rstrip(".")


# --- CSV and TSV --------------------------------------------------------------------------------------------


def _csv_columns(path: Path, kind: str) -> list[str]:
    if path.stat().st_size == 0:
        raise ValueError(f"{str(path)!r} is empty; its first row should have the names of the columns.")
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise ValueError(f"{str(path)!r} is not UTF-8, but UTF-16. Re-save it as UTF-8.")
    try:
        with _csv_reader(path, kind) as reader:
            return reader.schema.names
    except UnicodeDecodeError:
        raise ValueError(
            f"{str(path)!r} is not UTF-8: the names of its columns cannot be decoded. Re-save it as UTF-8."
        ) from None
    except arrow().ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise ValueError(
                f"{str(path)!r} has no rows: it needs the names of the columns, and at least one row below them."
            ) from None
        raise _csv_fault(path, error) from error


def _csv_parts(file: TableFile, rows: int) -> Iterator[pa.Table]:
    pa = arrow()
    try:
        with _csv_reader(file.path, file.kind, file.columns) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        raise _csv_fault(file.path, error, file.columns) from error


def _csv_reader(path: Path, kind: str, columns: Iterable[str] = ()) -> Any:
    """pyarrow's reader; the given columns are text, whatever they look like."""
    pa = arrow()
    from pyarrow import csv

    return csv.open_csv(
        str(path),
        read_options=csv.ReadOptions(block_size=BLOCK, use_threads=False),  # only so are the rows counted
        parse_options=csv.ParseOptions(delimiter=DELIMITERS[kind], newlines_in_values=True, ignore_empty_lines=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )


def _csv_fault(path: Path, error: Exception, columns: Iterable[str] = ()) -> ValueError:
    """What is wrong with the text, and in which row; pyarrow counts the names as row 1, and says so in text alone."""
    text = str(error)
    if "straddl" in text:
        return ValueError(
            f"{str(path)!r} has a row of more than {BLOCK >> 20} MiB. Is the closing quote of an entry missing?"
        )
    if row := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", text, re.DOTALL):
        start = row[4] if len(row[4]) <= 60 else row[4][:60] + "..."
        return ValueError(
            f"{str(path)!r}, row {int(row[1]) - 1}: {row[3]} entries for {row[2]} columns: {start!r}. Repair the row; "
            f"an entry with a delimiter or a line end in it needs quotes around it."
        )
    place = re.search(r"column #(\d+): Row #(\d+)", text)
    if place and "UTF8" in text:
        where = f"row {int(place[2]) - 1}, column {list(columns)[int(place[1])]!r}"
        return ValueError(f"{str(path)!r} is not UTF-8: {where} cannot be decoded. Re-save it as UTF-8.")
    return ValueError(f"{str(path)!r} cannot be read as a table in text: {_one_line(error)}. Repair or re-save it.")


# --- Parquet and Feather ------------------------------------------------------------------------------------


def _parquet_columns(path: Path, kind: str) -> list[str]:
    from pyarrow import parquet

    with _faults(path, "Parquet"), parquet.ParquetFile(str(path)) as reader:
        return reader.schema_arrow.names


def _parquet_parts(file: TableFile, rows: int) -> Iterator[pa.Table]:
    pa = arrow()
    from pyarrow import parquet

    opened = _faults(file.path, "Parquet")
    with opened, parquet.ParquetFile(str(file.path), pre_buffer=False) as reader:  # which would gather the whole file
        for batch in reader.iter_batches(batch_size=rows):
            batch.validate(full=True)
            yield pa.Table.from_batches([batch])


def _feather_columns(path: Path, kind: str) -> list[str]:
    pa = arrow()
    with _faults(path, "Feather (the file format of Arrow)"), pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).schema.names


def _feather_parts(file: TableFile, rows: int) -> Iterator[pa.Table]:
    pa = arrow()
    with _faults(file.path, "Feather (the file format of Arrow)"), pa.OSFile(str(file.path)) as source:
        reader = pa.ipc.open_file(source)
        for i in range(reader.num_record_batches):
            batch = reader.get_batch(i)
            batch.validate(full=True)  # a damaged file may have offsets that point anywhere
            yield pa.Table.from_batches([batch])


# --- NumPy's files ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """What the header of an array in a file declares; `size` counts the bytes of header and data."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int

    @property
    def columns(self) -> list[str]:
        """The names of its columns: its own, or numbered."""
        return [self.name] if len(self.shape) == 1 else [f"{self.name}[{i}]" for i in range(self.shape[1])]


def _npy_columns(path: Path, kind: str) -> list[str]:
    shape = _npy_header(path).shape
    return [str(i) for i in range(1 if len(shape) == 1 else shape[1])]


def _npy_parts(file: TableFile, rows: int) -> Iterator[pa.Table]:
    shape = _npy_header(file.path).shape
    with _faults(file.path, "NPY"):
        data = np.load(file.path, mmap_mode="r", allow_pickle=False) if prod(shape) else np.empty(shape)
    for start in range(0, len(data), rows):
        part = data[start : start + rows].reshape(-1, len(file.columns))
        with _faults(file.path, "NPY"):
            table = arrow().table([_column(part[:, j]) for j in range(part.shape[1])], names=list(file.columns))
        yield table


def _npy_header(path: Path) -> Header:
    """The header of the array, whose declared size must be that of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = _header(file, "", f"{str(path)!r}")
    if header.size != size:
        raise ValueError(
            f"{str(path)!r} is damaged or cut short: its header declares {header.size} bytes, and it has {size}. "
            f"Get it anew."
        )
    return header


def _npz_columns(path: Path, kind: str) -> list[str]:
    with _archive(path) as archive:
        return [name for header in _headers(archive, path) for name in header.columns]


def _npz_parts(file: TableFile, rows: int) -> Iterator[pa.Table]:
    columns: list[Any] = []
    with _archive(file.path) as archive:
        for header in _headers(archive, file.path):
            data = _inflated(archive, header).reshape(header.shape[0], len(header.columns))
            columns += [_column(data[:, j]) for j in range(data.shape[1])]
    yield arrow().table(columns, names=list(file.columns))


@contextlib.contextmanager
def _archive(path: Path) -> Generator[zipfile.ZipFile]:
    """The archive, and one ValueError for all that may be wrong in one."""
    damage = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError)
    with _faults(path, "NPZ", "Save it anew with NumPy."):
        try:
            with zipfile.ZipFile(path) as archive:
                yield archive
        except damage as error:
            raise ValueError(_one_line(error)) from error


def _headers(archive: zipfile.ZipFile, path: Path) -> list[Header]:
    """The headers of all arrays, after the look for what must not be inflated."""
    members = archive.infolist()
    _refuse_bomb(members, path)
    headers = [_member_header(archive, member) for member in members]
    if len({header.shape[0] for header in headers}) > 1:
        counts = ", ".join(f"{header.name!r} has {header.shape[0]}" for header in headers[:10])
        raise ValueError(f"its arrays must have equally many rows: {counts}")
    return headers


def _refuse_bomb(members: list[zipfile.ZipInfo], path: Path) -> None:
    stored = path.stat().st_size  # what a member declares to take of the file may be a lie
    for member in members:
        _refuse_inflation(f"the array {member.filename!r}", member.file_size, min(member.compress_size, stored))
    _refuse_inflation("all of it", sum(member.file_size for member in members), stored)


def _refuse_inflation(what: str, size: int, stored: int) -> None:
    if size > LARGE and size > SQUEEZED * stored:
        raise ValueError(f"{what} would inflate from {stored} to {size} bytes; if you trust it, save it uncompressed")


def _member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    if not member.filename.endswith(".npy"):
        raise ValueError(f"its member {member.filename!r} is no array")
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        header = _header(file, name, f"the array {name!r}")
    if header.size != member.file_size:
        raise ValueError(
            f"the array {name!r} declares {header.size} bytes in its header, but {member.file_size} in the archive"
        )
    return header


def _inflated(archive: zipfile.ZipFile, header: Header) -> np.ndarray:
    with archive.open(header.name + ".npy") as file:
        data = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # at its end the archive compares the checksum
    return data


def _header(file: IO[bytes], name: str, what: str) -> Header:
    """The header of an array of numbers or text, of one or two axes."""
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(file)
    except Exception as error:  # NumPy parses the header as Python's literals, which can go wrong in many ways
        raise ValueError(f"{what} has no valid header of an array: {_one_line(error)}. Save it with NumPy.") from error
    if dtype.kind not in "biufSU" or dtype.hasobject:
        kind = "Python objects" if dtype.hasobject else f"values of dtype {dtype}"
        raise ValueError(f"{what} holds {kind}, which are no column; save it with numbers, truth values or text.")
    if not 1 <= len(shape) <= 2 or min(shape) < 0 or (shape[-1] == 0 and len(shape) == 2):
        raise ValueError(f"{what} has shape {shape}; a table needs (rows,) or (rows, columns).")
    return Header(name, shape, dtype, file.tell() + prod(shape) * dtype.itemsize)


def _column(data: np.ndarray) -> Any:
    """A 1-D array as a column of Arrow's."""
    pa = arrow()
    if data.dtype.kind in "SU":
        return pa.array(data.tolist()).cast(pa.string())  # pyarrow's own way ends text at a zero
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        data = data.astype(np.float64)
    return pa.array(np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")))


COLUMNS: dict[str, Callable[[Path, str], list[str]]] = {
    "csv": _csv_columns,
    "tsv": _csv_columns,
    "parquet": _parquet_columns,
    "feather": _feather_columns,
    "npz": _npz_columns,
    "npy": _npy_columns,
}
READERS: dict[str, Callable[[TableFile, int], Iterator[Any]]] = {
    "csv": _csv_parts,
    "tsv": _csv_parts,
    "parquet": _parquet_parts,
    "feather": _feather_parts,
    "npz": _npz_parts,
    "npy": _npy_parts,
}
