"""How much memory a table takes, and what helps where it does not fit."""

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
    """About how much memory it takes to train on a table in text without some columns; None for other files.

    Judged by how long entries are at its beginning.
    """
    if KINDS.get(path.suffix.lower()) not in DELIMITERS:
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(1 << 18)
    delimiter = max((b",", b"\t", b";"), key=start.count)
    cells = (start.count(delimiter) + start.count(b"\n")) * size // max(1, len(start))
    columns = start.partition(b"\n")[0].count(delimiter) + 1
    return (2 * size + ENTRY * cells) * max(1, columns - left_out) // columns  # the text twice: all, and to train on


ENTRY = 16
"""Bytes in memory beside the text, an entry: where it begins, its number, and a copy of that to train on. Measured."""


@contextlib.contextmanager
def full_memory(path: Path, needed: int | None = None) -> Generator[None]:
    """Warn before reading what may not fit; of a full memory, say what there was, what was needed, and what helps."""
    free = free_host_memory()
    if needed and free is not None and needed > free:
        log.warning(
            "%r will take about %s of memory, and %s are free. %s", str(path), memory(needed), memory(free), LESS
        )
    try:
        yield
    except MemoryError as error:
        facts = [f"no memory is left for the table {str(path)!r}, a file of {memory(path.stat().st_size)}"]
        facts += [f"it needs about {memory(needed)}"] if needed else []
        facts += [f"{memory(free)} were free before"] if free is not None else []
        raise MemoryError(f"{'; '.join(facts)}. {LESS}") from error


LESS = (
    "What helps: hold it on the disk (--stream), leave out columns (--drop), split off some of the rows, save it as "
    "Parquet with columns of numbers (float32 takes least), close other programs, or take a machine with more memory."
)
