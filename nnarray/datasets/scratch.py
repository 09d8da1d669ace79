"""Temporary files for data that do not fit into the memory. They have no name, so that no partial file remains.

A file without a name is deleted when it is no longer used, even if the process is killed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from nnarray.backends import free_host_memory
from nnarray.names import memory


def is_too_much(needed: int) -> bool:
    """Whether this many bytes are more than half of the free memory, if that is known."""
    free = free_host_memory()
    return free is not None and 2 * needed > free


@contextmanager
def without_name(folder: Path) -> Generator[IO[bytes]]:
    """A new file that is deleted when no process has it open or mapped.

    Raises
    ------
    OSError
        If no file can be made in the folder.
    """
    from tempfile import TemporaryFile

    with ExitStack() as open_files:
        try:
            file = open_files.enter_context(TemporaryFile(dir=folder))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            why = f"data that do not fit into the memory need a file on a disk: {reason}"
            raise type(error)(error.errno, f"{why}; choose another folder with --scratch", str(folder)) from error
        with closed_at_errors(file):
            yield file


@contextmanager
def closed_at_errors(file: IO[bytes]) -> Generator[None]:
    """Close a file that is being written if an error occurs, and raise that error."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # writes that failed on a full disk are repeated here, and fail again
            file.close()
        raise


@contextmanager
def address_space(needed: int) -> Generator[None]:
    """If a file cannot be mapped because addresses are limited, raise a `MemoryError` that says so, and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise MemoryError(
            f"a mapped file of {memory(needed)} takes no memory, but so much of the address space, which is limited "
            f"for this process. Raise the limit: ulimit -v unlimited."
        ) from error


@contextmanager
def room(folder: Path, needed: int) -> Generator[None]:
    """For a full disk, raise an error that names it, the space needed, and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        remedy = "Free some space, or choose another disk with --scratch or --cache"
        why = f"the disk is full: at least {memory(needed)} are needed. {remedy}"
        raise OSError(error.errno, why, str(folder)) from error
