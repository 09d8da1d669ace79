"""What the memory does not hold of a table or a folder of images: where it is written, and whether it stays there."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from nnarray import files
from nnarray.datasets.scratch import closed_at_errors, without_name

ENDING = ".nnarray"
KEPT = 2  # raise it when the same data and settings are written as other bytes: kept files are then not used


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

    def until(self, path: Path) -> str:
        """How long the files that are made of a table or a folder stay, in words."""
        if not self.keeps:
            return "until the training ends"
        return f"to be found again; remove {path.absolute().name}.*{ENDING} there when you do not train on it any more"


def _write_into(part: Path, write: Callable[[IO[bytes]], None]) -> None:
    with part.open("wb") as file, closed_at_errors(file):
        write(file)


@dataclass(frozen=True, eq=False)
class Read:
    """A table, or a folder with its files, as it was when this was made: what is kept of it belongs to that alone."""

    path: Path
    how: str
    """Whatever decides what comes of it."""
    files: tuple[Path, ...] = ()
    """Those of a folder."""
    facts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", self._now())

    def name_of(self, what: str, *facts: object) -> str:
        """Of the file that keeps something of it: another one if the data, or any of the facts, are others."""
        digest = hashlib.sha256(repr((KEPT, self.how)).encode())
        for fact in (self._state, *facts):
            digest.update(fact if isinstance(fact, bytes) else repr(fact).encode())
        return f"{self.path.absolute().name}.{what}-{self._marks}{digest.hexdigest()[:16]}{ENDING}"

    def remove_outdated(self, folder: Path) -> None:
        """Remove what was kept of the same path as it was before, and what a killed process left of that."""
        for name in self._kept_in(folder):
            marks = name.rpartition("-")[2][:16]
            if marks != self._marks and marks[:8] == self._marks[:8]:
                (folder / name).unlink(missing_ok=True)
                files.sweep(folder / name)

    def refuse_changed(self) -> None:
        """Refuse data that are not what they were.

        Raises
        ------
        ValueError
            If a file was written to, or is gone.
        """
        changed = np.flatnonzero((self._now() != self.facts).any(axis=1))
        if len(changed):
            which = (self.files or (self.path,))[int(changed[0])]
            raise ValueError(f"{str(which)!r} changed while it was read. Leave it alone until it is, and start again.")

    @cached_property
    def _marks(self) -> str:
        """8 digits of the path, and 8 of what was there."""
        marked = str(self.path.resolve()).encode(), self._state
        return "".join(hashlib.sha256(each).hexdigest()[:8] for each in marked)

    @cached_property
    def _state(self) -> bytes:
        names = "\n".join(file.relative_to(self.path).as_posix() for file in self.files)
        return hashlib.sha256(names.encode()).digest() + hashlib.sha256(self.facts.tobytes()).digest()

    def _now(self) -> np.ndarray:
        """The size of each file, and when it was written last."""
        return np.asarray([_size_and_time(file) for file in self.files or (self.path,)], dtype=np.int64)

    def _kept_in(self, folder: Path) -> Iterator[str]:
        """The names of the files that are kept of it, or were to be."""
        start = glob.escape(self.path.absolute().name)
        yield from (kept.name for kept in folder.glob(f"{start}.*-*{ENDING}"))
        for part in folder.glob(f".{start}.*-*{ENDING}.*{files.PART}"):
            yield part.name[1:].rpartition(ENDING)[0] + ENDING


def _size_and_time(file: Path) -> tuple[int, int]:
    try:
        facts = file.stat()
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns
