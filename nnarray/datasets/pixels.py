"""Images that do not fit into the memory: decoded once into a file of bytes, and read batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nnarray.datasets.decoding import fractions_of
from nnarray.datasets.scratch import room, without_name
from nnarray.datasets.sources import MemoryMapped, Source
from nnarray.typing import Shape

TOGETHER = 64  # images written at a time


class Pixels(Source):
    """8-bit images in a mapped file, as numbers from 0 to 1: k / 255, computed as for images in memory.

    Attributes
    ----------
    file : MemoryMapped
        The bytes, shape (n, size, size, 3).
    dtype : numpy.dtype
        float32 or float64.
    """

    reads_ahead = True

    def __init__(self, file: MemoryMapped, dtype: Any) -> None:
        self.file, self.dtype = file, np.dtype(dtype)

    def __repr__(self) -> str:
        return f"Pixels(shape={self.shape}, dtype={self.dtype})"

    @property
    def shape(self) -> Shape:
        """The shape of all images together."""
        return self.file.shape

    def rows(self, indices: Any) -> np.ndarray:
        """The images at `indices`, which are as for `MemoryMapped`."""
        return fractions_of(self.file.rows(indices), self.dtype)


def pixels_on_disk(squares: Iterable[np.ndarray], shape: Shape, folder: Path) -> MemoryMapped:
    """Write images of one shape, from an iterator, to a file without a name in `folder`; `shape` is an upper bound.

    Raises
    ------
    OSError
        If the folder cannot be written to, or its disk is full.
    """
    coming, count = iter(squares), 0
    with without_name(folder) as file:
        while together := list(islice(coming, TOGETHER)):
            with room(folder, int(np.prod(shape))):
                file.writelines(square.tobytes() for square in together)
                file.flush()
            count += len(together)
        pixels = np.memmap(file, dtype=np.uint8, mode="r", shape=(count, *shape[1:]))
        return MemoryMapped(pixels, os.dup(file.fileno()))
