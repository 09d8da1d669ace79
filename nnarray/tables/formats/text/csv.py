"""CSV and TSV: entries as text, separated by a delimiter."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnarray.tables import limits
from nnarray.tables.arrow import arrow
from nnarray.tables.formats.format import Opened
from nnarray.tables.formats.text.faults import csv_fault, refuse_data_for_names, refuse_delimiter
from nnarray.tables.formats.text.lead import Lead, lead_of
from nnarray.tables.formats.text.source import RECODE, not_decoded, utf8_source
from nnarray.tables.text_format import BLANKS, TextFormat

if TYPE_CHECKING:
    import pyarrow as pa


EDGE = rf"\A[\t{BLANKS}]+\"|\A\s|\s\z"  # a blank before or after an entry

QUOTED = (
    rf'\A[\t{BLANKS}]+"((?:[^"]|"")*)"[\t{BLANKS}]*\z'  # a blank before the quotes, which then are part of the entry
)


def columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    """The names of the columns, in the order of the file."""
    lead = lead_of(path, kind, text)
    if text.header is None and len(lead.names) == 1:
        refuse_delimiter(lead.names[0], lead.delimiter, path)
    if text.header is False:
        return [str(i) for i in range(len(lead.names))]
    if any("\ufffd" in name for name in lead.names):
        raise ValueError(f"{not_decoded(path, text)}: the names of its columns cannot be decoded. {RECODE}")
    if text.header is None:
        refuse_data_for_names(lead.names, path)
    return lead.names


def parts(file: Opened, rows: int) -> Iterator[pa.Table]:
    """The rows in the order of the file, in parts of about this many rows."""
    pa = arrow()
    lead = lead_of(file.path, file.kind, file.text)
    try:
        with _reader(file, lead) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch])
                yield pa.table([_tidy(column, file.text) for column in table.columns], names=table.column_names)
    except pa.ArrowInvalid as error:
        if "straddl" in str(error) and file.path.stat().st_size < limits.BLOCK:
            return  # names without a line end, and no rows
        raise csv_fault(file.path, error, lead, file.text, file.columns) from error


@contextlib.contextmanager
def _reader(file: Opened, lead: Lead) -> Generator[Any]:
    """pyarrow's reader, with text for all columns."""
    pa = arrow()
    from pyarrow import csv

    text = file.text
    with (
        utf8_source(file.path, text) as source,
        csv.open_csv(
            source,
            read_options=csv.ReadOptions(
                block_size=limits.BLOCK,
                use_threads=False,  # needed to count rows
                skip_rows=lead.lines,
                column_names=list(file.columns),
                skip_rows_after_names=0 if text.header is False else 1,
            ),
            parse_options=csv.ParseOptions(delimiter=lead.delimiter, newlines_in_values=True, ignore_empty_lines=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(file.columns, pa.string()),
                null_values=text.words,
                strings_can_be_null=True,
                quoted_strings_can_be_null=text.missing is not None,
            ),
        ) as reader,
    ):
        yield reader


def _tidy(column: Any, text: TextFormat) -> Any:
    """The entries without quotes that follow a blank; blank entries become null."""
    pa = arrow()
    compute = pa.compute
    edged = compute.match_substring_regex(column, EDGE)
    if not compute.any(edged).as_py():
        return column
    quoted = compute.match_substring_regex(column, QUOTED)
    inner = compute.replace_substring(compute.replace_substring_regex(column, QUOTED, r"\1"), '""', '"')
    nothing = compute.is_in(compute.utf8_trim_whitespace(column), value_set=pa.array(text.words[1:], pa.string()))
    tidy = compute.if_else(quoted, inner, column)
    return compute.if_else(compute.and_(edged, nothing), pa.scalar(None, pa.string()), tidy)


def write_text(delimiter: str, sink: Any, schema: Any, tables: Iterator[Any]) -> None:
    """Write tables with this schema to an open file; the first row has the names of the columns."""
    from pyarrow import csv

    options = csv.WriteOptions(delimiter=delimiter, quoting_style="needed")
    with closing(csv.CSVWriter(sink, schema, write_options=options)) as writer:
        for table in tables:
            writer.write_table(table)
