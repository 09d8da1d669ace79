"""Tables in files, read by pyarrow a part at a time: CSV, TSV, Parquet, Feather and NumPy's own files."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import importlib
import io
import logging
import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, count
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnarray.backends import free_host_memory
from nnarray.checks import integer
from nnarray.names import memory, shown

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
    ".txt": "csv",
    ".data": "csv",
    ".tab": "tsv",
}
DELIMITERS = {"csv": ",", "tsv": "\t"}
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}  # endings after that of a text
PACKED = (".xz", ".zip", ".7z", ".rar", ".tgz")  # archives, which are not read
MISSING = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "null", "NULL")
"""Entries of a text without quotes that stand for nothing."""

BLOCK = 4 << 20  # bytes of text that are parsed at a time, and some ten of them read ahead; no row may be longer
RESERVE = 16 * BLOCK  # bytes without which reading goes no further: systems and pyarrow may kill a process for more
LARGE, SQUEEZED = 1 << 30, 100  # an archive that inflates to more bytes than this, and by more than this factor: a bomb


# --- How a text is written ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextFormat:
    """How the entries of a CSV or TSV file are written. The other formats say it themselves, but for text in them.

    Parameters
    ----------
    delimiter : str, optional
        The character between entries, "tab" for a tab. None: a comma in `.csv`, a tab in `.tsv`, or what a first line
        such as `sep=;` says.
    decimal : "." or ","
        What stands before the decimals of a number.
    thousands : str
        The character between groups of three digits; none as a rule.
    missing : sequence of str, optional
        Further words for a missing entry, in quotes or not. None: `MISSING` without quotes. No words, or an empty
        one alone: nothing but an empty entry is missing.
    header : bool, optional
        Whether the first row has the names of the columns; without one they are called 0, 1, ... None: it has, and
        names that look like data are refused.
    encoding : str
        Of the file, by Python's name.

    Raises
    ------
    TypeError, ValueError
        If a setting is none of these.

    Examples
    --------
    >>> TextFormat(delimiter=";", decimal=",", missing=("?", "-"))
    TextFormat(delimiter=';', decimal=',', thousands='', missing=('?', '-'), header=None, encoding='utf-8')
    """

    delimiter: str | None = None
    decimal: str = "."
    thousands: str = ""
    missing: tuple[str, ...] | None = None
    header: bool | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        texts = {"delimiter": self.delimiter or "", "decimal": self.decimal, "thousands": self.thousands}
        for name, value in {**texts, "encoding": self.encoding}.items():
            if not isinstance(value, str):
                raise TypeError(f"{name} must be text; got {value!r}.")
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and (len(self.delimiter.encode()) != 1 or self.delimiter in '"\r\n'):
            raise ValueError(f"delimiter must be one character, such as ';' or 'tab'; got {self.delimiter!r}.")
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal must be '.' or ','; got {self.decimal!r}.")
        if len(self.thousands) > 1 or self.thousands in ("+", "-", self.decimal) or self.thousands.isalnum():
            raise ValueError(
                f"thousands must be one character, such as ',' or '.', and not that before the decimals, "
                f"{self.decimal!r}; got {self.thousands!r}."
            )
        if isinstance(self.missing, str):
            raise TypeError(f"missing must be a sequence of words; got {self.missing!r}. Write [{self.missing!r}].")
        if not all(isinstance(word, str) for word in self.missing or ()):
            raise TypeError(f"missing must be a sequence of words; got {self.missing!r}.")
        if self.header not in (None, True, False):
            raise TypeError(f"header must be True, False or None; got {self.header!r}.")
        if self.missing is not None:
            object.__setattr__(self, "missing", tuple(self.missing))
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(
                f"unknown encoding {self.encoding!r}; use one of Python's, such as 'cp1252' or 'utf-16'."
            ) from None

    @property
    def of_files(self) -> bool:
        """Whether anything is said of the file itself, and not of the numbers and words in it."""
        return (self.delimiter, self.header, self.encoding) != (None, None, "utf-8")

    @property
    def words(self) -> tuple[str, ...]:
        """All entries that stand for nothing."""
        if self.missing is None:
            return MISSING
        further = tuple(word for word in self.missing if word)
        return (*MISSING, *further) if further else ("",)

    def to_json(self) -> dict[str, Any]:
        """The settings in what JSON can say."""
        return asdict(self) | {"missing": None if self.missing is None else list(self.missing)}

    @classmethod
    def from_json(cls, data: object) -> TextFormat:
        """The format that `to_json` gave; the usual one for None.

        Raises
        ------
        TypeError, ValueError
            If it makes no sense.
        """
        if data is None:
            return cls()
        if not isinstance(data, dict):
            raise ValueError(f"the format of the text must be an object; got a {type(data).__name__}.")
        return cls(**data)


USUAL = TextFormat()


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
    text : TextFormat
        How a CSV or TSV file is written.
    """

    path: Path
    kind: str
    columns: tuple[str, ...] = field(repr=False)
    text: TextFormat = USUAL

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
        count = 0
        with full_memory(self.path):
            for part in READERS[self.kind](self, rows):
                if count and (free := free_host_memory()) is not None and free < RESERVE:
                    raise MemoryError
                yield _as_meant(plain(part), self.text, count)
                count += part.num_rows
        if not count:
            raise ValueError(f"{str(self.path)!r} has columns but no rows; add at least one row below the names.")


def open_table(path: str | os.PathLike[str], text: TextFormat = USUAL) -> TableFile:
    r"""A table in a file; its ending tells the format. Reads the names of the columns and no rows.

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
    return TableFile(file, kind, _checked_names(COLUMNS[kind](file, kind, text), file, kind), text)


def kind_of(path: Path) -> str:
    """The format that the ending of a path tells."""
    suffix = path.suffix.lower()
    kind = KINDS.get(Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix)
    if suffix in PACKED:
        raise ValueError(f"{str(path)!r} is packed as {suffix}, which is not read; unpack it, and pass what is in it.")
    if kind is None or (suffix in COMPRESSED and kind not in DELIMITERS):
        raise ValueError(
            f"{str(path)!r} does not end as a table does; use one of {', '.join(KINDS)}; .csv and .tsv also with "
            f"{', '.join(COMPRESSED)} behind. Rename it, or save it as such."
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


def plain(table: pa.Table) -> pa.Table:
    """The same columns, in types that pyarrow computes with: text as Polars keeps it has hardly any functions there."""
    kinds = [_plain_kind(kind) for kind in table.schema.types]
    for i, (kind, name) in enumerate(zip(kinds, table.column_names, strict=True)):
        if kind != table.schema.field(i).type:
            table = table.set_column(i, name, table.column(i).cast(kind))
    return table


def _as_meant(table: pa.Table, text: TextFormat, start: int) -> pa.Table:
    """Null for the further words for nothing, and numbers with a point before the decimals, in all columns of text."""
    pa = arrow()
    if text.decimal == "." and not text.thousands and not text.missing:
        return table
    for i, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        coded = pa.types.is_dictionary(column.type)
        column = column.cast(column.type.value_type) if coded else column
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            words = pa.array(text.words, column.type)
            nothing = pa.compute.is_in(pa.compute.utf8_trim_whitespace(column), value_set=words)
            column = pa.compute.if_else(nothing, pa.scalar(None, column.type), column) if text.missing else column
            column = _plain_numbers(column, text, name, start)
            table = table.set_column(i, name, column.dictionary_encode() if coded else column)
    return table


def _plain_numbers(column: Any, text: TextFormat, name: str, start: int) -> Any:
    """Numbers as everywhere else: no character between thousands, a point before the decimals."""
    compute = arrow().compute
    grouped = r"\A\s*[+-]?[0-9]{1,3}(\.[0-9]{3})+\s*\z"
    if text.decimal == "," and text.thousands != ".":
        doubtful = compute.match_substring_regex(column, grouped)
        if compute.any(doubtful).as_py():
            i = compute.index(doubtful, True).as_py()
            raise ValueError(
                f"row {start + i + 1}, column {name!r}: {column[i].as_py()!r} has a point where a comma stands before "
                f"the decimals. If points separate thousands: --thousands '.', or TextFormat(thousands='.')."
            )
    blank = text.thousands in tuple(BLANKS)  # whichever blank it is
    between, before = f"[{BLANKS}]" if blank else re.escape(text.thousands), re.escape(text.decimal)
    whole = rf"[0-9]{{1,3}}({between}[0-9]{{3}})+|[0-9]+" if text.thousands else "[0-9]+"
    number = rf"\A\s*[+-]?(({whole})({before}[0-9]*)?|{before}[0-9]+)([eE][+-]?[0-9]+)?\s*\z"
    plain = compute.replace_substring_regex(column, between, "") if text.thousands else column
    plain = compute.replace_substring(plain, text.decimal, ".")
    return compute.if_else(compute.match_substring_regex(column, number), plain, column)


def _plain_kind(kind: Any) -> Any:
    pa = arrow()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _plain_kind(kind.value_type), kind.ordered)
    views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    return views.get(kind, kind)


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
    found = tuple(names)
    if not found:
        raise ValueError(f"{str(path)!r} has no columns; save it with at least one.")
    found = tuple(name if name.strip() else _free(f"Unnamed: {i}", found) for i, name in enumerate(found))
    twice = [repr(name) for name, count in Counter(found).items() if count > 1]
    if twice:
        data = " If the first row is data: --no-header, or TextFormat(header=False)." if kind in DELIMITERS else ""
        raise ValueError(
            f"{str(path)!r} has several columns of one name: {', '.join(twice)}. Rename all but one.{data}"
        )
    return found


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


def memory_of_text(path: Path, left_out: int = 0) -> int | None:
    """About how much memory it takes to train on a table in text without some columns; None for other files.

    Judged by how long entries are at its beginning.
    """
    if KINDS.get(path.suffix.lower()) not in DELIMITERS:
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
    with path.open("rb") as file:
        _refuse_content(file.read(8), path, what)
    try:
        yield
    except (arrow().ArrowException, ValueError, OSError, TypeError, KeyError) as error:
        system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # no fault of the file
        if system or isinstance(error, MemoryError):
            raise
        remedy = WIDE if "more than 64 bits" in str(error) else remedy
        raise ValueError(f"{str(path)!r} cannot be read as {what}: {_one_line(error)}. {remedy}") from error


WIDE = "Save it anew with its columns of 128-bit integers cast to 64 bits, to decimals or to text."


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split())[:300] or type(error).__name__).rstrip(".")


# --- CSV and TSV --------------------------------------------------------------------------------------------

UTF8 = ("utf-8", "utf8", "UTF-8")
DELIMITED_BY = {",": ",", ";": ";", "\t": "tab", "|": "|"}
NUMBER = r"\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z"
INTEGER = r"\A[+-]?[0-9]{1,1000}\z"
BLANKS = " \u00a0\u202f"  # the last two break no line
EDGE = rf"\A[\t{BLANKS}]+\"|\A\s|\s\z"  # a blank before or after an entry
QUOTED = (
    rf'\A[\t{BLANKS}]+"((?:[^"]|"")*)"[\t{BLANKS}]*\z'  # a blank before the quotes, which then are part of the entry
)


class Lead(NamedTuple):
    """What a text begins with: lines before the names of the columns, the delimiter, and the first row of entries."""

    lines: int
    delimiter: str
    names: list[str]


def _csv_columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    lead = _lead(path, kind, text)
    if text.header is None and len(lead.names) == 1:
        _refuse_delimiter(lead.names[0], lead.delimiter, path)
    if text.header is False:
        return [str(i) for i in range(len(lead.names))]
    if any("\ufffd" in name for name in lead.names):
        raise ValueError(f"{_not_decoded(path, text)}: the names of its columns cannot be decoded. {RECODE}")
    if text.header is None:
        _refuse_data_for_names(lead.names, path)
    return lead.names


CONTENT = {  # what the first bytes tell a file to be, and what to do with it
    rb"\x1f\x8b": "compressed by gzip: let its name end in .gz, such as .csv.gz",
    rb"BZh\d1AY": "compressed by bzip2: let its name end in .bz2, such as .csv.bz2",
    rb"\x28\xb5\x2f\xfd": "compressed by zstd: let its name end in .zst, such as .csv.zst",
    rb"PK\x03\x04": "a ZIP archive, or a spreadsheet: unpack it, or export the table as CSV",
    rb"\xd0\xcf\x11\xe0": "an old Excel file: export the table as CSV",
    rb"PAR1[\0-\x08\x0e-\x1f]": "Parquet: let its name end in .parquet",
    rb"ARROW1\0": "a file of Arrow: let its name end in .arrow",
    rb"<!|<html|<HTML": "a web page: get the table itself",
}


def _refuse_content(start: bytes, path: Path, what: str) -> None:
    """Refuse another format than the name of the file says."""
    for magic, told in CONTENT.items():
        if re.match(magic, start) and not told.startswith(OWN.get(what, "-")):
            raise ValueError(f"{str(path)!r} is no {what}, but {told}.")


ARROW = "Feather (the file format of Arrow)"
OWN = {"Parquet": "Parquet", ARROW: "a file of Arrow", "NPZ": "a ZIP archive"}
"""What each format is told to be by its own first bytes."""


def _lead(path: Path, kind: str, text: TextFormat) -> Lead:
    """The first row, read by Python, which needs none of the others for it."""
    with path.open("rb") as file:
        start = file.read(8)
    if path.suffix.lower() not in COMPRESSED:
        _refuse_content(start, path, f"table in text ({kind.upper()})")
    with _source(path, text) as source:
        first = source.read(4)
    if not first:
        raise ValueError(f"{str(path)!r} is empty; its first row should have the names of the columns.")
    if text.encoding in UTF8 and (first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in first):
        raise ValueError(f"{str(path)!r} is not UTF-8, but UTF-16. {RECODE.replace('cp1252', 'utf-16')}")
    with _source(path, text) as source, io.TextIOWrapper(source, "utf-8", "replace", newline="") as lines:
        line = lines.readline(BLOCK).removeprefix("\ufeff")
        told = re.fullmatch(r'"?sep=(.)"?', line.rstrip("\r\n"), re.IGNORECASE)
        delimiter = text.delimiter or (told[1] if told else DELIMITERS[kind])
        rows = csv.reader(lines if told else chain([line], lines), delimiter=delimiter, skipinitialspace=True)
        try:
            empty, names = next(((i, row) for i, row in enumerate(rows) if row), (0, None))
        except csv.Error as error:
            raise ValueError(f"{str(path)!r}: the names of its columns cannot be read: {_one_line(error)}.") from None
    if names is None:
        raise ValueError(
            f"{str(path)!r} has no rows: it needs the names of the columns, and at least one row below them."
        )
    return Lead(empty + (told is not None), delimiter, [name.strip() for name in names])


@contextlib.contextmanager
def _source(path: Path, text: TextFormat) -> Generator[Any]:
    """The bytes of the text, inflated and in UTF-8; what is in another encoding is read as a whole."""
    pa = arrow()
    how = COMPRESSED.get(path.suffix.lower())
    try:
        with pa.input_stream(str(path), compression=how) as source:
            if text.encoding in UTF8:
                yield source
            else:
                yield pa.BufferReader(source.read().decode(text.encoding).encode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{_not_decoded(path, text)}: {_one_line(error)}. {RECODE}") from None
    except OSError as error:
        if how is None or error.errno:
            raise
        with path.open("rb") as file:
            if b"\0" not in (start := file.read(64)) and start.isascii():
                raise ValueError(
                    f"{str(path)!r} is plain text and not compressed; leave {path.suffix} out of its name."
                ) from None
        raise ValueError(
            f"{str(path)!r} cannot be read as compressed text: {_one_line(error)}. Is it damaged or cut short? "
            f"Get it anew."
        ) from error


def _csv_parts(file: TableFile, rows: int) -> Iterator[pa.Table]:
    pa = arrow()
    lead = _lead(file.path, file.kind, file.text)
    try:
        with _csv_reader(file, lead) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch])
                yield pa.table([_tidy(column, file.text) for column in table.columns], names=table.column_names)
    except pa.ArrowInvalid as error:
        if "straddl" in str(error) and file.path.stat().st_size < BLOCK:
            return  # names without the end of their line, and no rows
        raise _csv_fault(file.path, error, lead, file.text, file.columns) from error


@contextlib.contextmanager
def _csv_reader(file: TableFile, lead: Lead) -> Generator[Any]:
    """pyarrow's reader; all columns are text, whatever they look like."""
    pa = arrow()
    from pyarrow import csv

    text = file.text
    with (
        _source(file.path, text) as source,
        csv.open_csv(
            source,
            read_options=csv.ReadOptions(
                block_size=BLOCK,
                use_threads=False,  # only so are the rows counted
                skip_rows=lead.lines,
                column_names=list(file.columns),
                skip_rows_after_names=0 if text.header is False else 1,
            ),
            parse_options=csv.ParseOptions(delimiter=lead.delimiter, newlines_in_values=True, ignore_empty_lines=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(file.columns, pa.string()),
                null_values=text.words,
                strings_can_be_null=True,
                quoted_strings_can_be_null=text.missing is not None,
            ),
        ) as reader,
    ):
        yield reader


def _tidy(column: Any, text: TextFormat) -> Any:
    """The entries without the quotes that a blank stands before; what is nothing, with a blank beside it, is null."""
    pa = arrow()
    compute = pa.compute
    edged = compute.match_substring_regex(column, EDGE)
    if not compute.any(edged).as_py():
        return column
    quoted = compute.match_substring_regex(column, QUOTED)
    inner = compute.replace_substring(compute.replace_substring_regex(column, QUOTED, r"\1"), '""', '"')
    nothing = compute.is_in(compute.utf8_trim_whitespace(column), value_set=pa.array(text.words[1:], pa.string()))
    tidy = compute.if_else(quoted, inner, column)
    return compute.if_else(compute.and_(edged, nothing), pa.scalar(None, pa.string()), tidy)


# --- What is wrong with a text ------------------------------------------------------------------------------

RECODE = "Re-save it as UTF-8, or name its encoding: --encoding cp1252, or TextFormat(encoding='cp1252')."


def _not_decoded(path: Path, text: TextFormat) -> str:
    return f"{str(path)!r} is not {'UTF-8' if text.encoding in UTF8 else text.encoding}"


def _by_delimiter(delimiter: str) -> str:
    name = DELIMITED_BY[delimiter]
    return f"--delimiter {name!r}, or TextFormat(delimiter={name!r})"


def _refuse_delimiter(name: str, delimiter: str, path: Path) -> None:
    """A single column whose name has another delimiter in it is several."""
    for other in DELIMITED_BY:
        if other != delimiter and other in name:
            raise ValueError(
                f"{str(path)!r} has a single column, {name[:60]!r}, with {DELIMITED_BY[delimiter]!r} as the delimiter. "
                f"If {DELIMITED_BY[other]!r} separates the entries: {_by_delimiter(other)}. "
                f"If it is the name of the only column: --header, or TextFormat(header=True)."
            )


def _refuse_data_for_names(names: Sequence[str], path: Path) -> None:
    """Numbers where names should be: those of names rise or fall, such as 2019, 2020, 2021."""
    numbers = [float(name) for name in names if re.match(NUMBER.replace(r"\z", r"\Z"), name)]
    steps = np.diff(numbers)
    whole = all(number.is_integer() for number in numbers)
    if np.all(steps > 0) and (whole or len(numbers) > 2):
        return
    if not (whole and np.all(steps < 0)):
        shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"{str(path)!r}: the first row looks like data, not like the names of columns: {shown}. "
            f"Add a row of names; or say --no-header, or TextFormat(header=False): "
            f"the columns are called 0, 1, ...; if they are names: --header, or TextFormat(header=True)."
        )


def _csv_fault(path: Path, error: Exception, lead: Lead, text: TextFormat, columns: Sequence[str] = ()) -> ValueError:
    """What is wrong with the text, and in which row; pyarrow counts all rows from 1, and says so in text alone."""
    said = str(error)
    before = lead.lines + (text.header is not False)
    if "straddl" in said:
        return ValueError(
            f"{str(path)!r} has a row of more than {BLOCK >> 20} MiB. Is the closing quote of an entry missing?"
        )
    if row := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", said, re.DOTALL):
        start = row[4] if len(row[4]) <= 60 else row[4][:60] + "..."
        number, expected, got = int(row[1]) - before, int(row[2]), int(row[3])
        repair = "Repair the row;"
        if text.header is not False and (expected == 1 or lead.names[0].startswith("#")) and not row[4][:1].isdigit():
            repair = (
                f"If these are the names of the columns, remove the lines above, {lead.names[0][:60]!r}; else repair:"
            )
        elif text.header is not False and number == 1 and got == expected + 1:
            repair = (
                "If every row has one entry more than the first, that lacks a name: add one, such as 'row,' at its "
                "start if the rows start with their number (in R: write.csv), or ',' at its end if they end so; else "
                "repair:"
            )
        others = [d for d in DELIMITED_BY if d != lead.delimiter and d in row[4]]
        other = f" If {DELIMITED_BY[others[0]]!r} separates the entries: {_by_delimiter(others[0])}." if others else ""
        return ValueError(
            f"{str(path)!r}, row {number}: {got} entries for {expected} columns: {start!r}. {repair} an entry with a "
            f"delimiter or a line end in it needs quotes around it, and no blank before them.{other}"
        )
    place = re.search(r"column #(\d+): Row #(\d+)", said)
    if place and "UTF8" in said:
        where = f"row {int(place[2]) - before}, column {columns[int(place[1])]!r}"
        return ValueError(f"{_not_decoded(path, text)}: {where} cannot be decoded. {RECODE}")
    return ValueError(f"{str(path)!r} cannot be read as a table in text: {_one_line(error)}. Repair or re-save it.")


# --- Parquet and Feather ------------------------------------------------------------------------------------


def _parquet_columns(path: Path, kind: str, text: TextFormat) -> list[str]:
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


def _feather_columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    pa = arrow()
    with _faults(path, ARROW), pa.OSFile(str(path)) as source:
        return _feather_reader(source).schema.names


def _feather_reader(source: Any) -> Any:
    """Of a file of Arrow, or of a stream of it that was saved."""
    pa = arrow()
    stream = source.read(4) == b"\xff\xff\xff\xff"
    source.seek(0)
    return pa.ipc.open_stream(source) if stream else pa.ipc.open_file(source)


def _feather_parts(file: TableFile, rows: int) -> Iterator[pa.Table]:
    pa = arrow()
    with _faults(file.path, ARROW), pa.OSFile(str(file.path)) as source:
        reader = _feather_reader(source)
        stream = hasattr(reader, "read_next_batch")
        for batch in reader if stream else map(reader.get_batch, range(reader.num_record_batches)):
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


def _npy_columns(path: Path, kind: str, text: TextFormat) -> list[str]:
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


def _npz_columns(path: Path, kind: str, text: TextFormat) -> list[str]:
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


COLUMNS: dict[str, Callable[[Path, str, TextFormat], list[str]]] = {
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
