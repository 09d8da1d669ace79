"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove an open file
    fcntl = None

PART = ".part"


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new file in the same folder, put it on the disk, and only then give it the name `path`.

    Whatever happens before, the file that was there stays as it was.

    Raises
    ------
    OSError
        If there is no such folder, no permission or no space; the message has the path.
    """
    if path.is_symlink():
        path = path.resolve()  # what it points to is replaced, and the link stays
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into; make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {str(path)!r}: it is a folder.")
    try:
        _replace(path, write)
    except OSError as error:
        says_more = error.filename is not None and error.strerror != os.strerror(error.errno or 0)
        if error.errno is None or says_more:
            raise
        raise type(error)(error.errno, f"cannot write {str(path)!r}: {os.strerror(error.errno)}") from error


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    os.close(handle)
    part = Path(name)
    try:
        with part.open("rb+") as file, _held(file):
            write(part)
            os.fsync(file.fileno())
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def prove(path: Path) -> None:
    """See that a file can be written at `path`; nothing is left behind.

    Raises
    ------
    OSError
        As `replace`.
    """
    with suppress(_Proved):
        replace(path, _prove)


class _Proved(Exception):
    """Raised when the test has worked, so that the file is not replaced."""


def _prove(part: Path) -> None:
    part.write_bytes(b"\0")
    raise _Proved


def sweep(path: Path) -> None:
    """Remove the parts that killed writers of this file left behind; a part being written is locked, and stays."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        with suppress(OSError), part.open("rb+") as file, _held(file):
            part.unlink(missing_ok=True)


@contextmanager
def _held(file: IO[bytes]) -> Generator[None]:
    """A lock on the file, which the system releases when its owner dies; an `OSError` if another process has it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _settle(folder: Path) -> None:
    """Put the folder's own entry on the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
