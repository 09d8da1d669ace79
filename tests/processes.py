"""Processes that tests start: with the signals of a fresh shell, and never waited for without a limit."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

NNARRAY = (sys.executable, "-m", "nnarray")
LIMIT = 240  # seconds; a busy machine needs ten times less
ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE") if hasattr(signal, name)]


@contextmanager
def started(*words: str, ignoring: Iterable[int] = (), **options: Any) -> Generator[subprocess.Popen[str]]:
    """A process with pipes for its texts, which is killed in the end if it still runs.

    Whatever these tests were started with, signals do in it what they usually do, but for those that it ignores.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN if number in ignoring else signal.SIG_DFL)
        process = subprocess.Popen(words, **pipes | options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(*words: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """What a command says until it ends; it must end well unless the caller says otherwise."""
    with started(*words, **options) as process:
        said, complained = process.communicate(timeout=LIMIT)
    done = subprocess.CompletedProcess(words, process.returncode, said, complained)
    assert done.returncode == 0 or not check, done
    return done


def run_python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """What a piece of Python says, as `run`."""
    return run(sys.executable, *arguments, "-c", textwrap.dedent(code), **options)
