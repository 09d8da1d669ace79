"""Rows of an array in a file that is large beside the memory: read where they lie, so that no page of it stays."""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np


class FileRows:
    """The rows of an array whose numbers lie side by side in an open file.

    Reading takes a call of the system for each row, and nothing else: of a mapped file, the system maps what is around
    it, too, up to some megabytes, and all of that counts as memory of the process. A mapped file is faster, where there
    is memory for it.

    Parameters
    ----------
    descriptor : int
        Of the file; it is closed with this.
    begin : int
        Where the first row begins, in bytes.
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
        while 0 < read < len(part):  # a signal, or more than one call gives
            more = os.preadv(self.descriptor, [part[read:]], place + read)
            if more == 0:
                return False
            read += more
        return read > 0


def can_read() -> bool:
    """Whether this system reads from a place of a file that others read, too."""
    return hasattr(os, "preadv")
