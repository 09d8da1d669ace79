"""What a command reports while it runs: the library's log, on standard error or in a file."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file", help="Append to this file what happens, with times, and each epoch.", show_default=False
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Report on standard error what happens: what is saved, what is left out.")
]
LINE = "%(asctime)s %(levelname)s %(message)s"


class _OnStandardError(logging.Handler):
    """Writes where standard error is at that time: a bar in a terminal stays below the lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line."""
        try:
            typer.echo(f"nnarray: {self.format(record)}", err=True)
        except OSError:  # nobody reads it
            self.handleError(record)


@contextmanager
def logged(file: Path | None, verbose: bool) -> Generator[None]:
    """Write the library's log to these places, and to the file how it ended, if it did not end well.

    Raises
    ------
    OSError
        If the file cannot be written to.
    """
    if file is None and not verbose:
        yield
        return
    log = logging.getLogger("nnarray")
    level, in_file = log.level, None if file is None else _to_file(file)
    handlers = [_on_standard_error(logging.INFO if verbose else logging.WARNING)]  # which is shown without a log, too
    handlers += [in_file] if in_file else []
    log.setLevel(logging.DEBUG if in_file else logging.INFO)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    except BaseException as error:
        if in_file:
            said = " ".join(str(error).split())
            in_file.handle(log.makeRecord(log.name, logging.ERROR, "", 0, "%s: %s", (type(error).__name__, said), None))
        raise
    finally:
        log.setLevel(level)
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def _on_standard_error(level: int) -> logging.Handler:
    handler = _OnStandardError(level)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _to_file(file: Path) -> logging.Handler:
    try:
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"--log-file {str(file)!r} cannot be written to: {reason}; choose another.") from error
    handler.setFormatter(logging.Formatter(LINE))
    return handler
