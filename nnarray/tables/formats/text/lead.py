"""The beginning of a text table: the names of the columns, or a row of data."""

from __future__ import annotations

import codecs
import csv
import io
import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from nnarray.tables import limits
from nnarray.tables.encodings import UTF16
from nnarray.tables.endings import COMPRESSED, DELIMITERS
from nnarray.tables.formats.faults import one_line, refuse_content
from nnarray.tables.formats.text.source import UTF8, utf8_source
from nnarray.tables.text_format import TextFormat


class Lead(NamedTuple):
    """The beginning of a text table: lines before the names of the columns, the delimiter, and the first row."""

    lines: int
    delimiter: str
    names: list[str]


def lead_of(path: Path, kind: str, text: TextFormat) -> Lead:
    """The first row, read by Python, which does not need the other rows."""
    with path.open("rb") as file:
        start = file.read(8)
    if path.suffix.lower() not in COMPRESSED:
        refuse_content(start, path, f"text table ({kind.upper()})")
    with utf8_source(path, text) as source:
        first = source.read(4)
    if not first:
        raise ValueError(f"{str(path)!r} is empty; its first row must have the names of the columns.")
    if text.encoding in UTF8 and (first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in first):
        raise ValueError(f"{str(path)!r} is not UTF-8, but UTF-16. {UTF16}")
    with utf8_source(path, text) as source, io.TextIOWrapper(source, "utf-8", "replace", newline="") as lines:
        line = lines.readline(limits.BLOCK).removeprefix("\ufeff")
        declared = re.fullmatch(r'"?sep=(.)"?', line.rstrip("\r\n"), re.IGNORECASE)
        delimiter = text.delimiter or (declared[1] if declared else DELIMITERS[kind])
        rows = csv.reader(lines if declared else chain([line], lines), delimiter=delimiter, skipinitialspace=True)
        try:
            empty, names = next(((i, row) for i, row in enumerate(rows) if row), (0, None))
        except csv.Error as error:
            raise ValueError(f"{str(path)!r}: the names of its columns cannot be read: {one_line(error)}.") from None
    if names is None:
        raise ValueError(
            f"{str(path)!r} has no rows: it needs the names of the columns, and at least one row below them."
        )
    return Lead(empty + (declared is not None), delimiter, [name.strip() for name in names])
