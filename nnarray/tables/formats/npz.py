"""NPZ, a NumPy file with several arrays."""

from __future__ import annotations

import contextlib
import lzma
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nnarray.datasets.npz import mapped_array
from nnarray.tables import limits
from nnarray.tables.arrow import arrow
from nnarray.tables.formats.arrays import Header, arrow_column, header_of
from nnarray.tables.formats.faults import faults, one_line
from nnarray.tables.formats.format import Opened
from nnarray.tables.text_format import TextFormat

if TYPE_CHECKING:
    import pyarrow as pa

PART = 1 << 20  # bytes of an array that are read at once for its checksum


def columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    """The names of the columns, in the order of the file."""
    with _archive(path) as archive:
        return [name for header in _headers(archive, path) for name in header.columns]


def parts(file: Opened, rows: int) -> Iterator[pa.Table]:
    """The rows in the order of the file, about so many at a time."""
    with _archive(file.path) as archive:
        arrays = [_parts_of(archive, file.path, header, rows) for header in _headers(archive, file.path)]
        for part in zip(*arrays, strict=True):
            columns = [arrow_column(data[:, j]) for data in part for j in range(data.shape[1])]
            yield arrow().table(columns, names=list(file.columns))


@contextlib.contextmanager
def _archive(path: Path) -> Generator[zipfile.ZipFile]:
    """The archive; all its faults raise a ValueError."""
    damage = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError)
    with faults(path, "NPZ", "Save it again with NumPy."):
        try:
            with zipfile.ZipFile(path) as archive:
                yield archive
        except damage as error:
            raise ValueError(one_line(error)) from error


def _headers(archive: zipfile.ZipFile, path: Path) -> list[Header]:
    """The headers of all arrays, after the check of the sizes."""
    members = archive.infolist()
    _refuse_bomb(members, path)
    headers = [_member_header(archive, member) for member in members]
    if len({header.shape[0] for header in headers}) > 1:
        counts = ", ".join(f"{header.name!r} has {header.shape[0]}" for header in headers[:10])
        raise ValueError(f"its arrays must have the same number of rows: {counts}")
    return headers


def _refuse_bomb(members: list[zipfile.ZipInfo], path: Path) -> None:
    stored = path.stat().st_size  # the declared size of a member may be false
    for member in members:
        _refuse_inflation(f"the array {member.filename!r}", member.file_size, min(member.compress_size, stored))
    _refuse_inflation("all of it", sum(member.file_size for member in members), stored)


def _refuse_inflation(what: str, size: int, stored: int) -> None:
    if size > limits.LARGE and size > limits.SQUEEZED * stored:
        raise ValueError(f"{what} would inflate from {stored} to {size} bytes; if you trust it, save it uncompressed")


def _member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    if not member.filename.endswith(".npy"):
        raise ValueError(f"its member {member.filename!r} is not an array")
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        header = header_of(file, name, f"the array {name!r}")
    if header.size != member.file_size:
        raise ValueError(
            f"the array {name!r} declares {header.size} bytes in its header, but {member.file_size} in the archive"
        )
    return header


def _parts_of(archive: zipfile.ZipFile, path: Path, header: Header, rows: int) -> Iterator[np.ndarray]:
    """The rows of an array, so many at a time, each part of shape (rows, columns)."""
    count, columns = header.shape[0], len(header.columns)
    with archive.open(header.name + ".npy") as file:
        if header.column_major or not header.row_size:
            whole = _whole(archive, path, header, file).reshape(count, columns)
            yield from (whole[start : start + rows] for start in range(0, count, rows))
            return
        file.read(header.size - count * header.row_size)
        for start in range(0, count, rows):
            few = min(rows, count - start)
            data = file.read(few * header.row_size)
            yield np.frombuffer(data, header.dtype).reshape(few, columns)
        file.read(1)  # at its end the archive compares the checksum


def _whole(archive: zipfile.ZipFile, path: Path, header: Header, file: IO[bytes]) -> np.ndarray:
    """An array whose columns lie together: mapped where it lies in the file if it is not compressed, else read."""
    if archive.getinfo(header.name + ".npy").compress_type == zipfile.ZIP_STORED and header.row_size:
        while file.read(PART):  # at its end the archive compares the checksum
            pass
        return mapped_array(path, header.name)
    data = np.lib.format.read_array(file, allow_pickle=False)
    file.read(1)
    return data


def write(sink: Any, schema: Any, tables: Iterator[Any]) -> None:
    """Write tables with this schema to an open file."""
    whole = arrow().concat_tables(list(tables))
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for name in whole.column_names:
            with archive.open(name + ".npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _array(whole.column(name)), allow_pickle=False)


def _array(column: Any) -> np.ndarray:
    """A column as a NumPy array; missing entries of text become empty."""
    pa = arrow()
    if pa.types.is_string(column.type):
        return np.asarray(column.fill_null("").to_pylist(), dtype=np.str_)
    return column.to_numpy()
