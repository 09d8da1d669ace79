"""Tables that are larger than the memory: read once into a file on a disk, which is mapped.

It has no name, and is gone with the training; or it is kept, and found again the next time.
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

ROWS, ENTRIES = 16_384, 1 << 21  # that are read and prepared at a time, at most
KEPT, ENDING = 1, ".nnarray"  # the version of what is kept; another one is not found again
PACKED = 4  # bytes in memory for each one of a file that is not text, which may be compressed


def fits(path: Path, left_out: int = 0) -> bool:
    """Whether a table takes at most half of the memory that is free, by a guess from the file."""
    if path.suffix.lower() in (".npy", ".npz"):
        return True
    needed = memory_of_text(path, left_out)
    if needed is None:
        needed = PACKED * path.stat().st_size if path.suffix.lower() in KINDS else 0
    return not is_too_much(needed)


def rows_together(columns: int) -> int:
    """How many rows of a table are in memory at a time, where not all are."""
    return max(1, min(ROWS, ENTRIES // max(columns, 1)))


class Held(NamedTuple):
    """A table, in memory or in a file."""

    table: pa.Table
    size: int = 0
    """Of the file, in bytes."""
    let_go: Callable[[], None] = lambda: None
    """Gives the pages that were read of it back to the system, which may keep them as a cache."""


class Place(NamedTuple):
    """Where what the memory does not hold is written."""

    folder: Path
    keeps: bool = False
    """Whether it stays there, to be found again."""

    @contextmanager
    def filled(self, name: Callable[[], str], write: Callable[[IO[bytes]], None]) -> Generator[IO[bytes]]:
        """A file that `write` has filled; one that is kept under this name, asked for if it is, is taken as it is."""
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
    """A file of a table, and how it is read: what is kept of it belongs to these alone."""

    path: Path
    how: str
    """Whatever decides which table comes of it."""

    def name_of(self, what: str, *facts: object) -> str:
        """Of the file that keeps something of it: another one if the table, or any of the facts, is another."""
        digest = hashlib.sha256(repr((KEPT, _fingerprint(self.path), self.how)).encode())
        for fact in facts:
            digest.update(fact if isinstance(fact, bytes) else repr(fact).encode())
        return f"{self.path.name}.{what}-{digest.hexdigest()[:16]}{ENDING}"

    def remove_outdated(self, folder: Path) -> None:
        """Remove what was kept of it before it was written last."""
        written = self.path.stat().st_mtime_ns
        for old in folder.glob(f"{glob.escape(self.path.name)}.*-*{ENDING}"):
            if old.stat().st_mtime_ns < written:
                old.unlink(missing_ok=True)


def mapped_table(parts: Iterable[pa.Table], source: Read, place: Place) -> Held:
    """The rows of all parts as one table whose entries lie in a file.

    Raises
    ------
    ValueError
        If the file that the parts are read from changes in the meantime.
    OSError
        If the folder cannot be written to, or its disk is full.
    """

    def write(file: IO[bytes]) -> None:
        before = _fingerprint(source.path)
        _write(parts, file, place.folder)
        if _fingerprint(source.path) != before:
            raise ValueError(
                f"{str(source.path)!r} changed while it was read. Leave it alone until it is, and start again."
            )

    if place.keeps:
        source.remove_outdated(place.folder)
    with place.filled(lambda: source.name_of("rows"), write) as file:
        size = os.fstat(file.fileno()).st_size
        whole = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)  # keeps the file until the table is gone
    arrow().default_memory_pool().release_unused()  # of the reader
    return Held(arrow().ipc.open_stream(arrow().py_buffer(whole)).read_all(), size, partial(let_go, whole))


def _write(parts: Iterable[pa.Table], file: IO[bytes], folder: Path) -> None:
    """As a stream of Arrow's, which lets each part have its own dictionaries."""
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
    """The size of a file, and when it was written last."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns
