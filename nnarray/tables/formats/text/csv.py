"""CSV and TSV: entries as text, separated by a delimiter."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnarray.tables import limits
from nnarray.tables.arrow import arrow
from nnarray.tables.cells import is_text
from nnarray.tables.formats.format import Opened
from nnarray.tables.formats.text.faults import csv_fault, refuse_data_for_names, refuse_delimiter
from nnarray.tables.formats.text.lead import Lead, lead_of
from nnarray.tables.formats.text.source import not_decoded, utf8_source
from nnarray.tables.text_format import BLANKS, MISSING, TextFormat

if TYPE_CHECKING:
    import pyarrow as pa


EDGE = rf"\A[\t{BLANKS}]+\"|\A\s|\s\z"  # a blank before or after an entry

QUOTED = (
    rf'\A[\t{BLANKS}]+"((?:[^"]|"")*)"[\t{BLANKS}]*\z'  # a blank before the quotes, which then are part of the entry
)

SPECIAL = r'["\x00-\x1f\x7f\x{80}-\x{a0}\x{2028}\x{2029}\x{feff}]'  # written in quotes


def columns(path: Path, kind: str, text: TextFormat) -> list[str]:
    """The names of the columns, in the order of the file."""
    lead = lead_of(path, kind, text)
    if text.header is None and len(lead.names) == 1:
        refuse_delimiter(lead.names[0], lead.delimiter, path)
    if text.header is False:
        return [str(i) for i in range(len(lead.names))]
    if any("\ufffd" in name for name in lead.names):
        raise not_decoded(path, text, "the names of its columns cannot be decoded")
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
    pa = arrow()
    names = [pa.array([name], pa.string()) for name in schema.names]
    sink.write(_lines(names, delimiter))
    for table in tables:
        for batch in table.to_batches():
            sink.write(_lines(batch.columns, delimiter))


def _lines(columns: list[Any], delimiter: str) -> memoryview:
    """The rows of a batch as text, each with its line end."""
    pa = arrow()
    join, large = pa.compute.binary_join_element_wise, pa.large_string()
    entries = [_entries(column, delimiter).cast(large) for column in columns]
    lines = join(*entries, pa.scalar(delimiter, large), null_handling="replace", null_replacement="")
    text = join(lines, pa.scalar("", large), pa.scalar("\n", large))
    size = pa.compute.sum(pa.compute.binary_length(text)).as_py()
    return memoryview(text.buffers()[2])[:size] if size else memoryview(b"")


def _entries(column: Any, delimiter: str) -> Any:
    """The entries of a column as text, in quotes where a reader would take them for something else."""
    pa = arrow()
    if not is_text(column.type):
        return column.cast(pa.string())
    compute = pa.compute
    special = compute.match_substring_regex(column, SPECIAL)
    blank = compute.not_equal(compute.utf8_trim_whitespace(column), column)
    word = compute.is_in(column, value_set=pa.array(MISSING, column.type))
    delimited = compute.match_substring(column, delimiter)
    needs = compute.or_(compute.or_(special, blank), compute.or_(word, delimited))
    quote = pa.scalar('"', column.type)
    quoted = compute.binary_join_element_wise(
        quote, compute.replace_substring(column, '"', '""'), quote, pa.scalar("", column.type)
    )
    return compute.if_else(needs, quoted, column)
