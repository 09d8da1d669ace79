"""Rows of an array in a file that is large compared with the memory, read so that no page of the file stays there."""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np


class FileRows:
    """The rows of a contiguous array in an open file.

    Reading a row is one system call, and loads nothing else. In a mapped file, the system also maps the pages
    around the row, up to some megabytes, which count as memory of the process. A mapped file is faster if there is
    memory for it.

    Parameters
    ----------
    descriptor : int
        The descriptor of the file; it is closed with this object.
    begin : int
        The position of the first row, in bytes.
    row_bytes : int
    """

    def __init__(self, descriptor: int, begin: int, row_bytes: int) -> None:
        self.descriptor, self.begin, self.row_bytes = descriptor, begin, row_bytes
        weakref.finalize(self, os.close, descriptor)

    def read(self, indices: Any, into: np.ndarray) -> bool:
        """Fill an array with the rows of a range with step 1, or at an array of indices; whether the file has them."""
        if into.nbytes == 0:
            return True
        flat: Any = into.reshape(-1).view(np.uint8)
        whole, size = memoryview(flat), self.row_bytes
        if isinstance(indices, range):
            return self._fill(whole, self.begin + indices.start * size)
        places = (self.begin + np.asarray(indices, dtype=np.int64) * size).tolist()
        return all(self._fill(whole[i * size : (i + 1) * size], place) for i, place in enumerate(places))

    def _fill(self, part: memoryview, place: int) -> bool:
        read = os.preadv(self.descriptor, [part], place)
        while 0 < read < len(part):  # after a signal, or if it is more than one call reads
            more = os.preadv(self.descriptor, [part[read:]], place + read)
            if more == 0:
                return False
            read += more
        return read > 0


def can_read() -> bool:
    """Whether this system can read at a given position of a file, without moving a shared one."""
    return hasattr(os, "preadv")
