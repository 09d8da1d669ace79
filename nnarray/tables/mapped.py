"""Tables that do not fit into the memory: read once into a file on a disk, which is mapped.

The file has no name and is deleted after the training, or it is kept for the next time.
"""

from __future__ import annotations

import glob
import hashlib
import mmap
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from nnarray.datasets.scratch import is_too_much, room, without_name
from nnarray.datasets.sources import MemoryMapped, Source, let_go
from nnarray.persistence import files
from nnarray.tables.arrow import arrow
from nnarray.tables.endings import KINDS
from nnarray.tables.memory import memory_of_text
from nnarray.tables.preparation import Preparation

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, ENTRIES = 16_384, 1 << 21  # largest numbers read and prepared at a time
KEPT, ENDING = 1, ".nnarray"  # the version of kept files; files of other versions are not used
PACKED = 4  # bytes in memory per byte of a binary file, which may be compressed


def fits(path: Path, left_out: int = 0) -> bool:
    """Whether a table takes at most half of the free memory, estimated from the file."""
    if path.suffix.lower() in (".npy", ".npz"):
        return True
    needed = memory_of_text(path, left_out)
    if needed is None:
        needed = PACKED * path.stat().st_size if path.suffix.lower() in KINDS else 0
    return not is_too_much(needed)


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


class Place(NamedTuple):
    """The place of data that do not fit into the memory."""

    folder: Path
    keeps: bool = False
    """Whether files are kept there for the next time."""

    @contextmanager
    def filled(self, name: Callable[[], str], write: Callable[[IO[bytes]], None]) -> Generator[IO[bytes]]:
        """A file that `write` fills; if a kept file has this name, it is used instead."""
        if not self.keeps:
            with without_name(self.folder) as file:
                write(file)
                file.flush()
                yield file
            return
        path = self.folder / name()
        if not path.exists():
            files.sweep(path)
            files.replace(path, lambda part: _write_into(part, write))
        with path.open("rb") as file:
            yield file


def _write_into(part: Path, write: Callable[[IO[bytes]], None]) -> None:
    with part.open("wb") as file:
        write(file)


class Read(NamedTuple):
    """A file of a table and its format, which identify kept files."""

    path: Path
    how: str
    """All facts that determine the resulting table."""

    def name_of(self, what: str, *facts: object) -> str:
        """The path of a kept file; it differs if the table or any of the facts differs."""
        digest = hashlib.sha256(repr((KEPT, _fingerprint(self.path), self.how)).encode())
        for fact in facts:
            digest.update(fact if isinstance(fact, bytes) else repr(fact).encode())
        return f"{self.path.name}.{what}-{digest.hexdigest()[:16]}{ENDING}"

    def remove_outdated(self, folder: Path) -> None:
        """Remove files that were kept before its last change."""
        written = self.path.stat().st_mtime_ns
        for old in folder.glob(f"{glob.escape(self.path.name)}.*-*{ENDING}"):
            if old.stat().st_mtime_ns < written:
                old.unlink(missing_ok=True)


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
        before = _fingerprint(source.path)
        _write(parts, file, place.folder)
        if _fingerprint(source.path) != before:
            raise ValueError(
                f"{str(source.path)!r} changed while it was read. Start again, and do not write to it while it is read."
            )

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


def _fingerprint(path: Path) -> tuple[int, int]:
    """The size of a file, and the time of its last change."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns
