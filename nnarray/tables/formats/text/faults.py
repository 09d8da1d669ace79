"""Errors for faulty text tables, with the position of the fault."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnarray.tables import limits
from nnarray.tables.formats.faults import one_line
from nnarray.tables.formats.text.lead import Lead
from nnarray.tables.formats.text.source import not_decoded
from nnarray.tables.text_format import NUMBER, TextFormat

WITH_COMMAS = "Such files often have decimal commas: then also --decimal ',', or TextFormat(decimal=','). "
DELIMITED_BY = {",": ",", ";": ";", "\t": "tab", "|": "|"}


def refuse_delimiter(name: str, delimiter: str, path: Path) -> None:
    """Refuse a single column whose name contains another delimiter: it is several columns."""
    for other in DELIMITED_BY:
        if other != delimiter and other in name:
            decimals = WITH_COMMAS if other == ";" else ""
            raise ValueError(
                f"{str(path)!r} has a single column, {name[:60]!r}, with {DELIMITED_BY[delimiter]!r} as the delimiter. "
                f"If {DELIMITED_BY[other]!r} separates the entries: {_by_delimiter(other)}. {decimals}"
                f"If it is the name of the only column: --header, or TextFormat(header=True)."
            )


def _by_delimiter(delimiter: str) -> str:
    name = DELIMITED_BY[delimiter]
    return f"--delimiter {name!r}, or TextFormat(delimiter={name!r})"


def refuse_data_for_names(names: Sequence[str], path: Path) -> None:
    """Refuse numbers instead of names, unless they rise or fall, such as 2019, 2020, 2021."""
    numbers = [float(name) for name in names if re.match(NUMBER.replace(r"\z", r"\Z"), name)]
    steps = np.diff(numbers)
    whole = all(number.is_integer() for number in numbers)
    if np.all(steps > 0) and (whole or len(numbers) > 2):
        return
    if not (whole and np.all(steps < 0)):
        shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"{str(path)!r}: the first row looks like data, not like the names of columns: {shown}. "
            f"Add a row of names; or use --no-header, or TextFormat(header=False): "
            f"the columns are then called 0, 1, ... If these are names: --header, or TextFormat(header=True)."
        )


def csv_fault(path: Path, error: Exception, lead: Lead, text: TextFormat, columns: Sequence[str] = ()) -> ValueError:
    """The error for a fault in the text, with the row; pyarrow counts all rows from 1, and reports them in text."""
    said = str(error)
    before = lead.lines + (text.header is not False)
    if "straddl" in said:
        return ValueError(
            f"{str(path)!r} has a row of more than {limits.BLOCK >> 20} MiB. Is the closing quote of an entry missing?"
        )
    if row := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", said, re.DOTALL):
        start = row[4] if len(row[4]) <= 60 else row[4][:60] + "..."
        number, expected, got = int(row[1]) - before, int(row[2]), int(row[3])
        repair = "Repair the row;"
        if text.header is not False and (expected == 1 or lead.names[0].startswith("#")) and not row[4][:1].isdigit():
            repair = (
                f"If these are the names of the columns, remove the lines above, {lead.names[0][:60]!r}. Otherwise:"
            )
        elif text.header is not False and number == 1 and got == expected + 1:
            repair = (
                "If every row has one entry more than the first, that lacks a name: add one, such as 'row,' at its "
                "start if the rows start with their number (in R: write.csv), or ',' at its end if they end so; else "
                "repair:"
            )
        others = [d for d in DELIMITED_BY if d != lead.delimiter and d in row[4]]
        other = f" If {DELIMITED_BY[others[0]]!r} separates the entries: {_by_delimiter(others[0])}." if others else ""
        return ValueError(
            f"{str(path)!r}, row {number}: {got} entries for {expected} columns: {start!r}. {repair} an entry with a "
            f"delimiter or a line end in it needs quotes around it, and no blank before them.{other}"
        )
    position = re.search(r"column #(\d+): Row #(\d+)", said)
    if position and "UTF8" in said:
        where = f"row {int(position[2]) - before}, column {columns[int(position[1])]!r}"
        return not_decoded(path, text, f"{where} cannot be decoded")
    return ValueError(f"{str(path)!r} cannot be read as a text table: {one_line(error)}. Repair it or save it again.")
