"""`nnarray notebooks`: the course, copied into a folder of the reader's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from nnarray.cli.app import app
from nnarray.notebooks.copies import LANGUAGES, copy_notebooks


@app.command(
    short_help="Copy the notebooks of the course into a folder.",
    epilog="\b\nExamples:\n  nnarray notebooks\n  nnarray notebooks course --language ja",
)
def notebooks(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")] = Path("notebooks"),
    language: Annotated[str, typer.Option("--language", help=f"Of the texts: {', '.join(LANGUAGES)}.")] = "en",
) -> None:
    """Copy the notebooks of this version into a folder, to run and to change; a file that is there is never changed."""
    copied = copy_notebooks(folder, language)
    for path in copied.written:
        typer.echo(f"{path}")
    for path in copied.kept:
        typer.echo(f"{path} is there already, and is left as it is")
    if copied.kept:
        typer.echo("For fresh copies, name another folder.")
    if importlib.util.find_spec("jupyterlab") is None:
        typer.echo("First: pip install 'nnarray[notebooks]'")
    typer.echo(f"To open them: jupyter lab {folder}")
