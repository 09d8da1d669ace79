"""NPY, a NumPy file with one array."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnarray.tables.arrow import arrow
from nnarray.tables.formats.arrays import Header, arrow_column, header_of
from nnarray.tables.formats.faults import faults
from nnarray.tables.formats.format import Opened
from nnarray.tables.text_format import TextFormat

if TYPE_CHECKING:
    import pyarrow as pa


def columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    """The names of the columns, in the order of the file."""
    shape = _header(path).shape
    return [str(i) for i in range(1 if len(shape) == 1 else shape[1])]


def parts(file: Opened, rows: int) -> Iterator[pa.Table]:
    """The rows in the order of the file, in parts of about this many rows."""
    shape = _header(file.path).shape
    with faults(file.path, "NPY"):
        data = np.load(file.path, mmap_mode="r", allow_pickle=False) if prod(shape) else np.empty(shape)
    for start in range(0, len(data), rows):
        part = data[start : start + rows].reshape(-1, len(file.columns))
        with faults(file.path, "NPY"):
            table = arrow().table([arrow_column(part[:, j]) for j in range(part.shape[1])], names=list(file.columns))
        yield table


def _header(path: Path) -> Header:
    """The header of the array, whose declared size must be that of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = header_of(file, "", f"{str(path)!r}")
    if header.size != size:
        raise ValueError(
            f"{str(path)!r} is damaged or truncated: its header declares {header.size} bytes, but it has {size}. "
            f"Get it again."
        )
    return header
