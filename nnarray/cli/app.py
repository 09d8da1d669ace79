"""The command line as one program: its name, its errors, its exit codes.

Exit codes: 0 success; 1 an error; 2 wrong usage; 128 + n ended by signal n: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP,
141 a closed pipe.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

import nnarray
from nnarray.cli.logs import warnings_named
from nnarray.training.context import TERMINATING, Ending, Terminated

# --- Errors --------------------------------------------------------------------------------------------------

SIGPIPE = 13  # not on Windows
EXPECTED = (ImportError, RuntimeError, OSError, ArithmeticError, MemoryError)
USAGE_ERROR: Any = typer.BadParameter.__mro__[
    1
]  # every usage error of the parser; click's class, or typer's copy of it


class OneLine(TyperGroup):
    """Commands whose errors are one line on stderr; with `--debug`, there is a traceback."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the arguments; a usage error is one line."""
        _open_closed_streams()
        _buffer_streams()
        _replace_what_cannot_be_shown()
        with _errors(debug=False):
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its errors are one line, and signals end it."""
        with _errors(debug=ctx.params["debug"]), warnings_named(), _terminable():
            done = super().invoke(ctx)
            print(end="", flush=True)  # here, not when Python ends
            return done


@contextmanager
def _errors(*, debug: bool) -> Generator[None]:
    """Errors as one line and an exit code."""
    try:
        with warnings.catch_warnings():
            if not debug:  # our own error for an overflow says more
                warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        let_go_of_pipes()
        raise typer.Exit(128 + SIGPIPE) from None
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        with suppress(OSError):  # the terminal may be closed
            typer.echo(f"nnarray: interrupted{by}{interrupt.args[0] if interrupt.args else ''}", err=True)
        raise typer.Exit(128 + number) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            typer.echo(f"nnarray: {' '.join(_message(error).split())}", err=True)
        let_go_of_pipes()
        raise typer.Exit(_code(error)) from None


@contextmanager
def _terminable() -> Generator[None]:
    """Let SIGTERM and SIGHUP end a command like Ctrl-C, even if Ctrl-C is ignored; `nohup` still ignores SIGHUP.

    If a signal has arrived, the command ends by that signal, even if an error came first. Where Python suppresses
    exceptions, for example in the cleanup after an import, nothing is printed: the signal is recorded.
    """
    before: dict[int, Any] = {}
    end, unraisable = Ending(), sys.unraisablehook
    sys.unraisablehook = lambda lost: None if lost.exc_type is Terminated else unraisable(lost)
    if threading.current_thread() is threading.main_thread():
        numbers = [n for n in TERMINATING if n == signal.SIGTERM or signal.getsignal(n) is not signal.SIG_IGN]
        numbers += [signal.SIGINT] * (signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        before = {number: signal.signal(number, end) for number in numbers}
    try:
        try:
            yield
        except Exception:
            end.check()
            raise
        end.check()
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def though_nobody_reads() -> Generator[None]:
    """Printing that may fail: if a pipe is closed or a disk full, the text is lost, and the command continues."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_pipes()
    except OSError as error:
        _lead_nowhere(sys.stdout)
        with suppress(OSError):
            said = f"standard output cannot be written to ({error.strerror}); the command continues without it"
            typer.echo(f"nnarray: {said}", err=True)


def _open_closed_streams() -> None:
    """Let streams that the shell has closed (`>&-`) lead nowhere: else the next open file had their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # for the whole process


def _buffer_streams() -> None:
    """Write through buffers, each line at once, where Python does not (`PYTHONUNBUFFERED`).

    An unbuffered stream writes what a full disk still takes, and says nothing of the rest.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(getattr(stream, "buffer", None), io.RawIOBase):
            kinds = {"encoding": stream.encoding, "errors": stream.errors}
            setattr(sys, name, open(stream.fileno(), "w", buffering=1, closefd=False, **kinds))  # noqa: SIM115


def _replace_what_cannot_be_shown() -> None:
    """Show "?" for characters that the encoding of standard output lacks: a text need not be in it."""
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(errors="replace")


def is_closed() -> bool:
    """Whether the shell has closed standard output."""
    return getattr(sys.stdout, "name", None) == os.devnull


def let_go_of_pipes() -> None:
    """Drop output to a closed pipe or a full disk; otherwise Python would report an error at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _lead_nowhere(stream)


def _lead_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _message(error: Exception) -> str:
    """The text of an error for the user."""
    if isinstance(error, USAGE_ERROR):
        usage: Any = error
        path = usage.ctx.command_path if usage.ctx else "nnarray"
        said = usage.format_message()
        return f"{said}{'' if said.endswith(('.', '?')) else '.'}{_commands(usage)} See '{path} --help'."
    if isinstance(error, OSError) and error.strerror:
        return _of_the_system(error)
    if isinstance(error, (ValueError, *EXPECTED)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (nnarray --debug ... shows where)"


def _commands(usage: Any) -> str:
    """The commands that there are, if another one was named."""
    known = getattr(getattr(usage.ctx, "command", None), "commands", {})
    names = ", ".join(name for name, command in known.items() if not command.hidden)
    return f" Use one of {names}." if names and "No such command" in usage.format_message() else ""


def _of_the_system(error: OSError) -> str:
    """Without the number; with the file, and for a full disk without one, where to look."""
    said = str(error.strerror)
    if error.filename is not None:
        return f"{said}: {str(error.filename)!r}"
    if said == os.strerror(errno.EFBIG):  # a limit of the process, or of the file system
        return f"{said}, for standard output or for temporary files; raise the limit of ulimit -f, or pass --out"
    if said == os.strerror(errno.ENOSPC):
        return f"{said}, for standard output or for temporary files; free some space, or set TMPDIR"
    return said


def _code(error: Exception) -> int:
    """The exit code: 2 for wrong usage, 1 for any other error."""
    return 2 if isinstance(error, (ValueError, USAGE_ERROR)) else 1


app = typer.Typer(
    cls=OneLine,
    help="Neural networks from scratch on the Python array API standard.",
    epilog=(
        "\b\nExamples:\n  nnarray info\n  nnarray demo\n  nnarray train data.csv --target price --out price.safetensors"
        "\n  nnarray predict price.safetensors new.csv --out prices.csv"
    ),
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nnarray {nnarray.__version__}")
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """The options of all commands."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
