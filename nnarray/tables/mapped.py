"""Tables that are larger than the memory: read once into a file on a disk, which is mapped and has no name.

A file without a name is gone as soon as nobody uses it, however the process ends: nothing half written stays behind.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

from nnarray.backends import free_host_memory
from nnarray.datasets.sources import MemoryMapped, Source
from nnarray.names import memory
from nnarray.tables.arrow import arrow
from nnarray.tables.endings import KINDS
from nnarray.tables.memory import memory_of_text
from nnarray.tables.preparation import Preparation

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 16_384  # that are prepared at a time
PACKED = 4  # bytes in memory for each one of a file that is not text, which may be compressed


def fits(path: Path, left_out: int = 0) -> bool:
    """Whether a table takes at most half of the memory that is free, by a guess from the file."""
    free = free_host_memory()
    if free is None or path.suffix.lower() in (".npy", ".npz"):
        return True
    needed = memory_of_text(path, left_out)
    if needed is None:
        needed = PACKED * path.stat().st_size if path.suffix.lower() in KINDS else 0
    return 2 * needed <= free


def mapped_table(parts: Iterable[pa.Table], path: Path, folder: Path) -> pa.Table:
    """The rows of all parts as one table whose entries lie in a file in `folder`.

    Raises
    ------
    ValueError
        If the file at `path`, which the parts are read from, changes in the meantime.
    OSError
        If the folder cannot be written to, or its disk is full.
    """
    before = _fingerprint(path)
    with _without_name(folder) as file:
        _write(parts, file, folder)
        size = file.tell()
        whole = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)  # keeps the file until the table is gone
    if _fingerprint(path) != before:
        raise ValueError(f"{str(path)!r} changed while it was read. Leave it alone until it is, and start again.")
    return arrow().ipc.open_stream(arrow().py_buffer(whole)).read_all()


def _write(parts: Iterable[pa.Table], file: IO[bytes], folder: Path) -> None:
    """As a stream of Arrow's, which lets each part have its own dictionaries."""
    writer = None
    for part in parts:
        with _room(folder, file.tell() + part.nbytes):
            writer = writer or arrow().ipc.new_stream(file, part.schema)
            writer.write_table(part)
            file.flush()
    if writer is not None:
        with _room(folder, file.tell()):
            writer.close()
            file.flush()


def mapped_features(
    preparation: Preparation, table: pa.Table, rows: np.ndarray, dtype: Literal["float32", "float64"], folder: Path
) -> Source:
    """`preparation.features` of some rows, in a file in `folder`; `rows` are in the order of the table.

    Raises
    ------
    OSError
        If the folder cannot be written to, or its disk is full.
    """
    shape = (len(rows), len(preparation.feature_names))
    with _without_name(folder) as file:
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            near = table.slice(int(part[0]), int(part[-1] - part[0]) + 1)
            few = near if near.num_rows == len(part) else near.take(part - part[0])
            X = preparation.features(few, rows=part, unknown="ignore", dtype=dtype)
            with _room(folder, X.itemsize * shape[0] * shape[1]):
                file.write(X.tobytes())
                file.flush()
        return MemoryMapped(np.memmap(file, dtype=dtype, mode="r", shape=shape))


def _fingerprint(path: Path) -> tuple[int, int]:
    """The size of a file, and when it was written last."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


@contextmanager
def _without_name(folder: Path) -> Generator[IO[bytes]]:
    """A new file that is gone as soon as nobody has it open, or mapped."""
    with ExitStack() as open_files:
        try:
            file = open_files.enter_context(tempfile.TemporaryFile(dir=folder))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            why = f"a table that is larger than the memory needs a file on a disk: {reason}"
            raise type(error)(error.errno, f"{why}; choose another folder with --scratch", str(folder)) from error
        yield file


@contextmanager
def _room(folder: Path, needed: int) -> Generator[None]:
    """Of a full disk, say which one, how much was to be written at least, and what helps."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        why = f"the disk is full: at least {memory(needed)} are needed; free some, or choose another with --scratch"
        raise OSError(error.errno, why, str(folder)) from error
