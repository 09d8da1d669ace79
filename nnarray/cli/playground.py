"""`nnarray playground`: a network that is trained, watched and changed in a browser."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nnarray.cli.app import app
from nnarray.cli.console import Flag


@app.command(
    short_help="Train a small network in the browser, and watch it.",
    epilog="\b\nExamples:\n  nnarray playground\n  nnarray playground --port 8080 --no-browser",
)
def playground(
    port: Annotated[int, typer.Option("--port", help="0: one that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    backend: Flag = "auto",
    exit_on_close: Annotated[
        bool, typer.Option("--exit-on-close", help="End when the last page has been closed.")
    ] = False,
) -> None:
    """Open a page in which a small network is trained, watched and changed, until Ctrl-C.

    Only this machine can reach the page, at an address with a token that changes with each start.
    """
    import webbrowser

    from nnarray.apps.playground.opened import served

    if not 0 <= port < 65_536:
        raise ValueError(f"--port must be from 0 to 65535; got {port}.")
    server = served(port=port, backend=backend, exit_on_close=exit_on_close)
    try:
        typer.echo(f"The playground is at {server.url} (Ctrl-C ends it)")
        sys.stdout.flush()
        if browser:
            webbrowser.open(server.url)
        server.serve_forever(0.5)
    finally:
        server.server_close()
