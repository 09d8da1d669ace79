"""Images that do not fit into the memory: decoded once into a file of bytes, and read batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from nnarray.datasets.decoding import fractions_of
from nnarray.datasets.scratch import room
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


def write_pixels(images: Iterable[tuple[int, np.ndarray]], file: IO[bytes], needed: int, folder: Path) -> None:
    """Write images of one shape to a file in `folder`, in the order they come, and then their numbers.

    Raises
    ------
    OSError
        If the disk is full; `needed` is how many bytes there are at most.
    """
    coming, numbers = iter(images), list[int]()
    while together := list(islice(coming, TOGETHER)):
        with room(folder, needed):
            file.writelines(square.tobytes() for _, square in together)
            file.flush()
        numbers += [i for i, _ in together]
    with room(folder, needed):
        file.write(np.asarray(numbers, dtype=np.int64).tobytes())
        file.flush()


def mapped_pixels(file: IO[bytes], square: Shape) -> tuple[MemoryMapped, np.ndarray]:
    """The images of one shape that `write_pixels` has written, and their numbers.

    Raises
    ------
    ValueError
        If the file has another length than whole images and their numbers.
    """
    size, each, number = os.fstat(file.fileno()).st_size, int(np.prod(square)), np.dtype(np.int64).itemsize
    count, rest = divmod(size, each + number)
    if rest or not count:
        raise ValueError(f"{file.name!r} is damaged: it is no file of images of shape {square}. Remove it.")
    pixels = np.memmap(file, dtype=np.uint8, mode="r", shape=(count, *square))
    file.seek(count * each)
    numbers = np.frombuffer(file.read(), dtype=np.int64)
    return MemoryMapped(pixels, os.dup(file.fileno())), numbers
