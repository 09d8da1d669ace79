"""Files that are replaced as a whole or not at all, and written by one training at a time."""

from __future__ import annotations

import errno
import glob
import json
import logging
import os
import platform
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where open files cannot be removed
    fcntl = None

log = logging.getLogger("nnarray")

PART, LOCK = ".part", ".lock"
RENAMING = ".nnarray.renaming"
"""The list of the new files of a folder that are to be renamed."""
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of a file system
REMEDIES = {
    errno.ENOSPC: "; free some space, or write to another disk",
    errno.EDQUOT: "; remove some of your files, or write to another disk",
    errno.EACCES: "; write to another folder, or ask its owner",
    errno.EROFS: "; write to another folder",
}


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new file in the same folder, flush it to the disk, and only then rename it to `path`.

    Whatever happens before that, the old file is not changed.

    Raises
    ------
    OSError
        If the folder does not exist, may not be written to or is full; the message has the path.
    """
    path = _place(path)
    with _named(path):
        _replace(path, write)


def replace_by(path: Path, data: bytes) -> None:
    """Put these bytes into the file at `path`; errors as `replace`."""

    def write(part: Path) -> None:
        part.write_bytes(data)

    replace(path, write)


def _place(path: Path) -> Path:
    """Where the file lies: the target of a link is replaced, and the link is kept."""
    if path.is_symlink():
        path = path.resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into; make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {str(path)!r}: it is a folder.")
    if path.exists() and not path.is_file():  # it would be replaced by a file, and its reader would wait for ever
        raise FileExistsError(
            f"cannot write {str(path)!r}: it is a pipe or a device. Give the name of a file; for the predictions of "
            f"nnarray predict as CSV, replace --out by > {path}."
        )
    return path


@contextmanager
def _named(path: Path) -> Generator[None]:
    """Errors of the system name the file, and say what to do."""
    try:
        yield
    except OSError as error:
        says_more = error.filename is not None and error.strerror != os.strerror(error.errno or 0)
        if error.errno is None or says_more:
            raise
        remedy = REMEDIES.get(error.errno, "")
        raise type(error)(error.errno, f"cannot write {str(path)!r}: {os.strerror(error.errno)}{remedy}") from error


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    part = _written(path, write)
    try:
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _written(path: Path, write: Callable[[Path], None]) -> Path:
    """A new file beside `path`, filled, on the disk, and ready to be renamed."""
    from tempfile import mkstemp

    handle, name = mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    os.close(handle)
    part = Path(name)
    try:
        with part.open("rb+") as file, held(file):
            write(part)
            os.fsync(file.fileno())
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


# --- Several files of a folder ---------------------------------------------------------------------------------------


def replace_together(folder: Path, writes: Mapping[str, Callable[[Path], None]], first: str) -> None:
    """Replace several files of a folder, all or none; a link is replaced by a file.

    All new files are written beside the old ones. Then a list of them is written, and from then on the new files
    count: `settle` finishes the renaming, if the process is killed in between. Without the file `first`, nobody reads
    the others. It is removed before they are renamed, and renamed last, so that other programs never read a mixture.

    Raises
    ------
    BlockingIOError
        If another process writes into the folder.
    OSError
        As `replace`; all old files are unchanged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with owned(folder / RENAMING, by="save"):
        _rename(folder)  # what another save has left
        parts = dict[str, str]()
        try:
            for name in (*writes, RENAMING):
                sweep(folder / name)
            for name, write in writes.items():
                _place(folder / name)
                with _named(folder / name):
                    parts[name] = _written(folder / name, write).name
            parts[first] = parts.pop(first)
            replace_by(folder / RENAMING, json.dumps(parts).encode("utf-8"))
        except BaseException:
            if not (folder / RENAMING).exists():
                for part in parts.values():
                    (folder / part).unlink(missing_ok=True)
            raise
        _rename(folder)


def settle(folder: Path) -> None:
    """Rename the new files that a killed `replace_together` had written, and had not yet renamed.

    Raises
    ------
    OSError
        If the folder may not be written to, or another process writes into it now.
    ValueError
        If the list of these files is damaged.
    """
    if (folder / RENAMING).exists():
        with owned(folder / RENAMING, by="save"):
            _rename(folder)


def _rename(folder: Path) -> None:
    """Finish the list of new files, if there is one; the folder is owned."""
    listed = folder / RENAMING
    if not listed.exists():
        return
    parts = _listed(listed)
    *_, first = parts
    with _named(listed):
        if (folder / parts[first]).exists():
            (folder / first).unlink(missing_ok=True)
        for name, part in parts.items():
            with suppress(FileNotFoundError):  # it was renamed before
                (folder / part).replace(folder / name)
        _flush(folder)
        listed.unlink(missing_ok=True)


def _listed(path: Path) -> dict[str, str]:
    """The names of new files by those that they will have: both in this folder, whoever wrote the list."""
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        if parts and all(_is_of(part, name) for name, part in parts.items()):
            return parts
    except (ValueError, TypeError, AttributeError):
        pass
    raise ValueError(f"{str(path)!r} is damaged: it is the list of files that a save has yet to rename. Save again.")


def _is_of(part: str, name: str) -> bool:
    return part.startswith(f".{name}.") and part.endswith(PART) and Path(part).name == part


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
        with suppress(OSError), part.open("rb+") as file, held(file):
            part.unlink(missing_ok=True)


@contextmanager
def owned(path: Path, by: str = "training") -> Generator[None]:
    """Let nobody else own the file at `path` meanwhile, not even in the same process.

    The lock is on a file beside it, which is removed in the end. The system releases the lock of a process that was
    killed, so a file that such a process left does not matter. Where the system has no locks, nothing is refused.

    Raises
    ------
    BlockingIOError
        If it is owned already: by another process, or by a training inside of which this one runs.
    OSError
        If the folder does not exist or may not be written to.
    """
    path = _place(path)
    lock = path.with_name(f".{path.name}{LOCK}")
    with ExitStack() as stack:
        with _named(path):
            _acquire(lock, path, stack, by)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed


def _acquire(lock: Path, path: Path, stack: ExitStack, by: str) -> None:
    """Hold the file `lock` as long as the stack lasts, with a note of who holds it."""
    while True:
        file = stack.enter_context(lock.open("a+b", buffering=0))
        try:
            stack.enter_context(held(file))
        except BlockingIOError:
            raise _owned_by_another(file, path, by) from None
        if _is_at(file, lock):  # else its last owner has just removed it
            break
        stack.close()
    with suppress(OSError):  # a full disk is reported by what writes the file itself
        file.truncate(0)
        file.write(_here().encode())


def _owned_by_another(file: IO[bytes], path: Path, by: str) -> BlockingIOError:
    file.seek(0)
    who = file.read(200).decode(errors="replace") or "another process"
    who = "of this program" if who == _here() else who
    return BlockingIOError(
        f"{str(path)!r} is being written by another {by} ({who}): each would overwrite the other's. Write into "
        f"another file, or wait until that one has ended."
    )


def _here() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at this path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def held(file: IO[bytes]) -> Generator[None]:
    """A lock on the file, which the system releases when its owner dies; `BlockingIOError` if somebody else has it."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            log.warning("the file system of %r has no locks: let only one process write there", file.name)
    yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush(folder: Path) -> None:
    """Flush the folder's entry to the disk, if the system supports that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
