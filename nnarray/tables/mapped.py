"""Tables that do not fit into the memory: read once into a file on a disk, which is mapped.

The file has no name and is deleted after the training, or it is kept for the next time.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np

from nnarray.datasets.scratch import is_too_much, room
from nnarray.datasets.sources import MemoryMapped, Source, let_go
from nnarray.persistence.kept import Place, Read
from nnarray.tables.arrow import arrow
from nnarray.tables.endings import KINDS
from nnarray.tables.memory import memory_of_text
from nnarray.tables.preparation import Preparation

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, ENTRIES = 16_384, 1 << 21  # largest numbers read and prepared at a time
PACKED = 4  # bytes in memory per byte of a binary file, which may be compressed


def fits(path: Path, left_out: int = 0) -> bool:
    """Whether a table takes at most half of the free memory, estimated from the file."""
    needed = memory_of_text(path, left_out)
    if needed is None:
        needed = PACKED * _unpacked(path) if path.suffix.lower() in KINDS else 0
    return not is_too_much(needed)


def _unpacked(path: Path) -> int:
    """Bytes of a file, those of .npz as they are without compression."""
    if KINDS[path.suffix.lower()] == "npz":
        with suppress(BadZipFile), ZipFile(path) as archive:  # a damaged one is reported where it is read
            return sum(member.file_size for member in archive.infolist())
    return path.stat().st_size


def rows_together(columns: int) -> int:
    """The number of rows of a table in memory at a time, if not all are."""
    return max(1, min(ROWS, ENTRIES // max(columns, 1)))


class Held(NamedTuple):
    """A table, in memory or in a file."""

    table: pa.Table
    size: int = 0
    """The size of the file, in bytes."""
    let_go: Callable[[], None] = lambda: None
    """Returns the pages that were read to the system, which may keep them as a cache."""


def mapped_table(parts: Iterable[pa.Table], source: Read, place: Place) -> Held:
    """The rows of all parts as one table whose entries are in a file.

    Raises
    ------
    ValueError
        If the file from which the parts are read changes meanwhile.
    OSError
        If the folder cannot be written to, or its disk is full.
    """

    def write(file: IO[bytes]) -> None:
        _write(parts, file, place.folder)
        source.refuse_changed()

    if place.keeps:
        source.remove_outdated(place.folder)
    with place.filled(lambda: source.name_of("rows"), write) as file:
        size = os.fstat(file.fileno()).st_size
        whole = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)  # keeps the file as long as the table exists
    arrow().default_memory_pool().release_unused()  # of the reader
    return Held(arrow().ipc.open_stream(arrow().py_buffer(whole)).read_all(), size, partial(let_go, whole))


def _write(parts: Iterable[pa.Table], file: IO[bytes], folder: Path) -> None:
    """Write as a stream of Arrow, in which each part has its own dictionaries."""
    writer = None
    for part in parts:
        with room(folder, file.tell() + part.nbytes):
            writer = writer or arrow().ipc.new_stream(file, part.schema)
            writer.write_table(part)
            file.flush()
    if writer is not None:
        with room(folder, file.tell()):
            writer.close()
            file.flush()


def mapped_features(
    preparation: Preparation,
    table: pa.Table,
    rows: np.ndarray,
    dtype: Literal["float32", "float64"],
    source: Read,
    place: Place,
    between: Callable[[], object],
) -> Source:
    """`preparation.features` of some rows, in a file; `rows` are in the order of the table.

    `between` is called after each part of them.

    Raises
    ------
    OSError
        If the folder cannot be written to, or its disk is full.
    """
    shape = (len(rows), len(preparation.feature_names))
    together = rows_together(max(shape[1], table.num_columns))

    def write(file: IO[bytes]) -> None:
        for start in range(0, len(rows), together):
            part = rows[start : start + together]
            near = table.slice(int(part[0]), int(part[-1] - part[0]) + 1)
            few = near if near.num_rows == len(part) else near.take(part - part[0])
            X = preparation.features(few, rows=part, unknown="ignore", dtype=dtype)
            with room(place.folder, X.itemsize * shape[0] * shape[1]):
                file.write(X.tobytes())
                file.flush()
            between()
        arrow().default_memory_pool().release_unused()

    def name() -> str:
        return source.name_of("inputs", preparation.to_json(), dtype, rows.tobytes())

    with place.filled(name, write) as file:
        return MemoryMapped(np.memmap(file, dtype=dtype, mode="r", shape=shape), os.dup(file.fileno()))
