"""Parquet, a format with compressed columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnarray.tables.arrow import arrow
from nnarray.tables.formats.faults import faults
from nnarray.tables.formats.format import Opened
from nnarray.tables.text_format import TextFormat

if TYPE_CHECKING:
    import pyarrow as pa


def columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    """The names of the columns, in the order of the file."""
    from pyarrow import parquet

    with faults(path, "Parquet"), parquet.ParquetFile(str(path)) as reader:
        return reader.schema_arrow.names


def parts(file: Opened, rows: int) -> Iterator[pa.Table]:
    """The rows in the order of the file, in parts of about this many rows."""
    pa = arrow()
    from pyarrow import parquet

    opened = faults(file.path, "Parquet")
    with (
        opened,
        parquet.ParquetFile(str(file.path), pre_buffer=False) as reader,
    ):  # pre_buffer would read the whole file
        for batch in reader.iter_batches(batch_size=rows):
            batch.validate(full=True)
            yield pa.Table.from_batches([batch])


def write(sink: Any, schema: Any, tables: Iterator[Any]) -> None:
    """Write tables with this schema to an open file."""
    from pyarrow import parquet

    with closing(parquet.ParquetWriter(sink, schema)) as writer:
        for table in tables:
            writer.write_table(table)
