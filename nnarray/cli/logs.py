"""What a command reports while it runs: the library's log, on standard error or in a file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from logging.handlers import WatchedFileHandler
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


class _InFile(WatchedFileHandler):
    """Appends to a file, and to a new one after it was moved away. A full disk ends the log, not the command."""

    lacks_lines = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Report once that lines are missing."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.lacks_lines:
            self.lacks_lines = True
            with suppress(OSError):
                typer.echo(f"nnarray: {_not_written(self.baseFilename, error)}; it lacks lines from here on", err=True)

    def close(self) -> None:
        """Close the file; what is not yet on a full disk is lost."""
        with suppress(OSError):
            super().close()


@contextmanager
def warnings_named() -> Generator[None]:
    """Let warnings that no log takes say whose they are, as errors do: they come on standard error."""
    before = logging.lastResort
    logging.lastResort = _OnStandardError(logging.WARNING)
    try:
        yield
    finally:
        logging.lastResort = before


@contextmanager
def logged(file: Path | None, verbose: bool, *, also: str | None = None) -> Generator[None]:
    """Write the library's log to these places, and to the file how it ended, if it did not end well.

    `also` is the name of another library whose log is written to the same places.

    Raises
    ------
    OSError
        If the file cannot be written to.
    """
    logs = [logging.getLogger(name) for name in ("nnarray", also) if name]
    if file is None and not verbose:
        yield
        return
    in_file = None if file is None else _to_file(file)
    handlers = [_on_standard_error(logging.INFO if verbose else logging.WARNING)]  # which is shown without a log, too
    handlers += [in_file] if in_file else []
    with ExitStack() as stack:
        for handler in handlers:
            stack.callback(handler.close)
        for log in logs:
            stack.enter_context(_writing(log, handlers, logging.DEBUG if in_file else logging.INFO))
        try:
            yield
        except BaseException as error:
            if in_file:
                said = " ".join(str(error).split())
                text = (type(error).__name__, said)
                in_file.handle(logs[0].makeRecord(logs[0].name, logging.ERROR, "", 0, "%s: %s", text, None))
            raise


@contextmanager
def _writing(log: logging.Logger, handlers: list[logging.Handler], level: int) -> Generator[None]:
    """Let a log have these handlers and this level meanwhile."""
    before = log.level
    log.setLevel(level)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        log.setLevel(before)
        for handler in handlers:
            log.removeHandler(handler)


def _on_standard_error(level: int) -> logging.Handler:
    handler = _OnStandardError(level)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _to_file(file: Path) -> logging.Handler:
    try:
        handler = _InFile(file, encoding="utf-8")
    except OSError as error:
        raise OSError(f"{_not_written(str(file), error)}; choose another.") from error
    handler.setFormatter(logging.Formatter(LINE))
    return handler


def _not_written(file: str, error: OSError) -> str:
    return f"--log-file {file!r} cannot be written to: {(error.strerror or str(error)).lower()}"
