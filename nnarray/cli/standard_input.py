"""A table from standard input, read through a file beside."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from nnarray import files
from nnarray.tables.formats.faults import standing_for

STANDARD = Path("-")
NAME = "standard-input.csv"
NEW = 60.0  # seconds


@contextmanager
def from_standard_input(path: Path) -> Generator[Path]:
    """The path; of "-" that of a CSV file with all that comes from standard input, which is gone in the end.

    A table is looked at before it is read, and a pipe can be read once only. Errors name standard input, not that file.
    The copies of commands that were killed are removed: those that nobody holds.
    """
    if path != STANDARD:
        yield path
        return
    _sweep()
    with TemporaryDirectory(prefix="nnarray-") as folder:
        file = Path(folder, NAME)
        with file.open("wb") as sink, files.held(sink):
            shutil.copyfileobj(sys.stdin.buffer, sink)
            sink.flush()
            with standing_for(file, "standard input", "Unpack it first, or pass the file by its name."):
                yield file


def _sweep() -> None:
    """Remove the copies that killed commands have left; a new one may not be held yet."""
    for file in Path(gettempdir()).glob(f"nnarray-*/{NAME}"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > NEW:
                with file.open("rb+") as left, files.held(left):
                    shutil.rmtree(file.parent)
