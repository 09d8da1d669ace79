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
except ImportError:  # Windows, where open files cannot be removed
    fcntl = None

PART = ".part"


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new file in the same folder, flush it to the disk, and only then rename it to `path`.

    Whatever happens before that, the old file is not changed.

    Raises
    ------
    OSError
        If the folder does not exist, may not be written to or is full; the message has the path.
    """
    if path.is_symlink():
        path = path.resolve()  # the target of a link is replaced, and the link is kept
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
    """Check that a file can be written at `path`; no file remains.

    Raises
    ------
    OSError
        As `replace`.
    """
    with suppress(_Proved):
        replace(path, _prove)


class _Proved(Exception):
    """Raised after a successful check, so that the file is not replaced."""


def _prove(part: Path) -> None:
    part.write_bytes(b"\0")
    raise _Proved


def sweep(path: Path) -> None:
    """Remove partial files that killed writers of this file left; a part being written is locked, and is kept."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        with suppress(OSError), part.open("rb+") as file, _held(file):
            part.unlink(missing_ok=True)


@contextmanager
def _held(file: IO[bytes]) -> Generator[None]:
    """A lock on the file, which the system releases when its owner dies; `OSError` if another process has it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _settle(folder: Path) -> None:
    """Flush the folder's entry to the disk, if the system supports that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
