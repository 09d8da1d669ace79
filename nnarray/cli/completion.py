"""What the tab key offers: backends, and the columns of the table that is named on the line."""

from __future__ import annotations

from pathlib import Path

import typer

from nnarray.backends.registry import LIBRARIES
from nnarray.tables.read import open_table


def backend_names(incomplete: str) -> list[str]:
    """The backends that begin so; whether they compute here is not tried, for that takes its time."""
    return [name for name in ("auto", *LIBRARIES) if name.startswith(incomplete)]


def column_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The columns that begin so, after those that stand before a comma; none if there is no table to look at."""
    before, comma, begun = incomplete.rpartition(",")
    data = ctx.params.get("data") or next(iter(ctx.args), "")  # an option without its value leaves the words before it
    try:
        columns = open_table(Path(data)).columns
    except Exception:  # a half-written line is no error, and a traceback would spoil it
        return []
    named = before.split(",")
    return [f"{before}{comma}{name}" for name in columns if name.startswith(begun) and name not in named]
