"""A table from standard input, read through a file beside."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nnarray.tables.formats.faults import standing_for

STANDARD = Path("-")


@contextmanager
def from_standard_input(path: Path) -> Generator[Path]:
    """The path; of "-" that of a CSV file with all that comes from standard input, which is gone in the end.

    A table is looked at before it is read, and a pipe can be read once only. Errors name standard input, not that file.
    """
    if path != STANDARD:
        yield path
        return
    with TemporaryDirectory(prefix="nnarray-") as folder:
        file = Path(folder, "standard-input.csv")
        with file.open("wb") as sink:
            shutil.copyfileobj(sys.stdin.buffer, sink)
        with standing_for(file, "standard input", "Unpack it first, or pass the file by its name."):
            yield file
