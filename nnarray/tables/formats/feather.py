"""Feather, the file format of Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnarray.tables.arrow import arrow
from nnarray.tables.formats.faults import ARROW, faults
from nnarray.tables.formats.format import Opened
from nnarray.tables.text_format import TextFormat

if TYPE_CHECKING:
    import pyarrow as pa


def columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    """The names of the columns, in the order of the file."""
    pa = arrow()
    with faults(path, ARROW), pa.OSFile(str(path)) as source:
        return _reader(source).schema.names


def parts(file: Opened, rows: int) -> Iterator[pa.Table]:
    """The rows in the order of the file, in parts of about this many rows."""
    pa = arrow()
    with faults(file.path, ARROW), pa.OSFile(str(file.path)) as source:
        reader = _reader(source)
        stream = hasattr(reader, "read_next_batch")
        for batch in reader if stream else map(reader.get_batch, range(reader.num_record_batches)):
            batch.validate(full=True)  # a damaged file may have offsets that point anywhere
            yield pa.Table.from_batches([batch])


def _reader(source: Any) -> Any:
    """A reader of an Arrow file or of a saved Arrow stream."""
    pa = arrow()
    stream = source.read(4) == b"\xff\xff\xff\xff"
    source.seek(0)
    return pa.ipc.open_stream(source) if stream else pa.ipc.open_file(source)


def write(sink: Any, schema: Any, tables: Iterator[Any]) -> None:
    """Write tables with this schema to an open file."""
    with closing(arrow().ipc.new_file(sink, schema)) as writer:
        for table in tables:
            writer.write_table(table)
