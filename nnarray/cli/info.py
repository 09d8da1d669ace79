"""`nnarray info`: the libraries and devices that can compute on this machine, and how to fix the others."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from typing import Annotated

import typer

import nnarray
from nnarray import backends
from nnarray.cli.app import app
from nnarray.cli.console import output, show_table


@app.command(
    short_help="The backends that work on this machine, and how to fix the others.",
    epilog="\b\nExamples:\n  nnarray info\n  nnarray info --json",
)
def info(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Show which array libraries and devices can compute on this machine, and how to fix the others."""
    known = backends.list_backends()
    if as_json:
        versions = {"nnarray": nnarray.__version__, "python": platform.python_version(), "platform": sys.platform}
        typer.echo(json.dumps(versions | {"backends": [asdict(each) for each in known]}, indent=2))
        return
    out = output()
    out.print(f"nnarray {nnarray.__version__}, Python {platform.python_version()} on {platform.system()}\n")
    rows = [
        [each.name, each.version, each.device, _gibibytes(each.memory), ", ".join(each.dtypes)]
        for each in known
        if each.usable
    ]
    show_table(out, ["usable", "version", "device", "memory", "dtypes"], rows)
    unusable = [each for each in known if not each.usable]
    if unusable:
        out.print("\nnot usable", style="bold")
    for each in unusable:  # not in the table, so that commands stay on one line and can be copied
        reason = each.reason.removeprefix(f"backend {each.name!r} cannot be used: ")
        version = f" {each.version}" if each.version else ""
        out.print(f"  {each.name}{version}: {reason}", soft_wrap=True)


def _gibibytes(size: int | None) -> str:
    return f"{size / 2**30:.1f} GiB" if size else ""
