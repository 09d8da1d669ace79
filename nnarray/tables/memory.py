"""The memory that a table takes, and remedies if it does not fit."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from pathlib import Path

from nnarray.backends import free_host_memory
from nnarray.names import memory
from nnarray.tables.endings import DELIMITERS, KINDS

log = logging.getLogger("nnarray")


def memory_of_text(path: Path, left_out: int = 0) -> int | None:
    """An estimate of the memory for training on a text table without some columns; None for other files.

    It is based on the lengths of entries at the beginning of the file.
    """
    if KINDS.get(path.suffix.lower()) not in DELIMITERS:
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(1 << 18)
    delimiter = max((b",", b"\t", b";"), key=start.count)
    cells = (start.count(delimiter) + start.count(b"\n")) * size // max(1, len(start))
    columns = start.partition(b"\n")[0].count(delimiter) + 1
    return (
        (2 * size + ENTRY * cells) * max(1, columns - left_out) // columns
    )  # the text twice: all rows, and the training rows


ENTRY = 16
"""Bytes per entry in addition to the text: its offset, its number, and a copy for training. Measured."""


@contextlib.contextmanager
def full_memory(path: Path, needed: int | None = None) -> Generator[None]:
    """Warn before reading a table that may not fit; if the memory is full, raise an error with sizes and remedies."""
    free = free_host_memory()
    if needed and free is not None and needed > free:
        log.warning(
            "%r will take about %s of memory, but %s are free. %s", str(path), memory(needed), memory(free), LESS
        )
    try:
        yield
    except MemoryError as error:
        facts = [f"no memory is left for the table {str(path)!r}, a file of {memory(path.stat().st_size)}"]
        facts += [f"it needs about {memory(needed)}"] if needed else []
        facts += [f"{memory(free)} were free before"] if free is not None else []
        raise MemoryError(f"{'; '.join(facts)}. {LESS}") from error


LESS = (
    "Remedies: keep it on the disk (--stream), leave out columns (--drop), use fewer rows, save it as "
    "Parquet with columns of numbers (float32 is smallest), close other programs, or use a machine with more memory."
)
