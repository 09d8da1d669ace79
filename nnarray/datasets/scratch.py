"""Files for what the memory does not hold: without a name, so that nothing half written stays behind.

A file without a name is gone as soon as nobody uses it, however the process ends.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from nnarray.backends import free_host_memory
from nnarray.names import memory


def is_too_much(needed: int) -> bool:
    """Whether so many bytes are more than half of the memory that is free, if that is known."""
    free = free_host_memory()
    return free is not None and 2 * needed > free


@contextmanager
def without_name(folder: Path) -> Generator[IO[bytes]]:
    """A new file that is gone as soon as nobody has it open, or mapped.

    Raises
    ------
    OSError
        If none can be made in the folder.
    """
    with ExitStack() as open_files:
        try:
            file = open_files.enter_context(tempfile.TemporaryFile(dir=folder))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            why = f"what is larger than the memory needs a file on a disk: {reason}"
            raise type(error)(error.errno, f"{why}; choose another folder with --scratch", str(folder)) from error
        with closed_at_errors(file):
            yield file


@contextmanager
def closed_at_errors(file: IO[bytes]) -> Generator[None]:
    """At an error, close a file that is written to; it is this error that goes on."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # what the disk had no room for is tried once more here, and fails again
            file.close()
        raise


@contextmanager
def room(folder: Path, needed: int) -> Generator[None]:
    """Of a full disk, say which one, how much was to be written at least, and what helps."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        full = f"the disk is full: at least {memory(needed)} are needed"
        why = f"{full}; free some, or choose another with --scratch or --cache"
        raise OSError(error.errno, why, str(folder)) from error
