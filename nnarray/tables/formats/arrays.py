"""Arrays in NumPy files: their headers, and their data as columns."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np

from nnarray.tables.arrow import arrow
from nnarray.tables.formats.faults import one_line


@dataclass(frozen=True)
class Header:
    """The header of an array in a file; `size` is the number of bytes of header and data."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    column_major: bool = False
    """Whether the entries of a column lie side by side, and not those of a row."""

    @property
    def row_size(self) -> int:
        """Of a row, in bytes."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def columns(self) -> list[str]:
        """The names of its columns: its own, or numbered."""
        return [self.name] if len(self.shape) == 1 else [f"{self.name}[{i}]" for i in range(self.shape[1])]


def header_of(file: IO[bytes], name: str, what: str) -> Header:
    """The header of an array of numbers or text, of one or two axes."""
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, column_major, dtype = read(file)
    except Exception as error:  # NumPy parses the header as Python's literals, which can go wrong in many ways
        raise ValueError(f"{what} has no valid header of an array: {one_line(error)}. Save it with NumPy.") from error
    if dtype.kind not in "biufSU" or dtype.hasobject:
        kind = "Python objects" if dtype.hasobject else f"values of dtype {dtype}"
        raise ValueError(f"{what} has {kind}, which cannot be a column; save it with numbers, truth values or text.")
    if not 1 <= len(shape) <= 2 or min(shape) < 0 or (shape[-1] == 0 and len(shape) == 2):
        raise ValueError(f"{what} has shape {shape}; a table needs (rows,) or (rows, columns).")
    size = file.tell() + prod(shape) * dtype.itemsize
    return Header(name, shape, dtype, size, column_major and prod(shape[1:]) > 1)


def arrow_column(data: np.ndarray) -> Any:
    """A 1-D array as an Arrow column."""
    pa = arrow()
    if data.dtype.kind in "SU":
        return pa.array(data.tolist()).cast(pa.string())  # pyarrow's own conversion ends text at a zero
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        data = data.astype(np.float64)
    return pa.array(np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")))
