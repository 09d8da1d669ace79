"""Errors for faulty files, which name the file."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

from nnarray.tables.arrow import arrow


class Content(NamedTuple):
    """What a file holds, by its first bytes, and what to do."""

    kind: str
    remedy: str

    @property
    def text(self) -> str:
        """Of a file that has another ending."""
        return f"{self.kind}: {self.remedy}"


CONTENT = {
    rb"\x1f\x8b": Content("compressed by gzip", "let its name end in .gz, such as .csv.gz"),
    rb"BZh\d1AY": Content("compressed by bzip2", "let its name end in .bz2, such as .csv.bz2"),
    rb"\x28\xb5\x2f\xfd": Content("compressed by zstd", "let its name end in .zst, such as .csv.zst"),
    rb"PK\x03\x04": Content("a ZIP archive, or a spreadsheet", "unpack it, or export the table as CSV"),
    rb"\xd0\xcf\x11\xe0": Content("an old Excel file", "export the table as CSV"),
    rb"PAR1[\0-\x08\x0e-\x1f]": Content("Parquet", "let its name end in .parquet"),
    rb"ARROW1\0": Content("a file of Arrow", "let its name end in .arrow"),
    rb"<!|<html|<HTML": Content("a web page", "get the table itself"),
}

ARROW = "Feather (the file format of Arrow)"

OWN = {"Parquet": "Parquet", ARROW: "a file of Arrow", "NPZ": "a ZIP archive"}
"""The kind of each format in `CONTENT`."""


@contextlib.contextmanager
def standing_for(file: Path, source: str, remedy: str) -> Generator[None]:
    """Let errors name what a temporary text table holds, such as standard input, and not the file.

    Raises
    ------
    ValueError
        If it is no text, with what to do.
    """
    with file.open("rb") as start:
        if content := content_of(start.read(8)):
            raise ValueError(f"{source} is {content.kind}, and not a text table (CSV). {remedy}")
    try:
        yield
    except Exception as error:
        error.args = tuple(_renamed(each, file, source) for each in error.args)
        if isinstance(error, OSError) and error.filename == str(file):
            error.filename = source
        raise


def _renamed(said: Any, file: Path, source: str) -> Any:
    return said.replace(repr(str(file)), source).replace(str(file), source) if isinstance(said, str) else said


@contextlib.contextmanager
def faults(path: Path, what: str, remedy: str = "It may be damaged or truncated: get it again.") -> Generator[None]:
    """Convert all errors of pyarrow for a file to a ValueError that names the file."""
    with path.open("rb") as file:
        refuse_content(file.read(8), path, what)
    try:
        yield
    except (arrow().ArrowException, ValueError, OSError, TypeError, KeyError) as error:
        system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # not caused by the file
        if system or isinstance(error, MemoryError):
            raise
        remedy = WIDE if "more than 64 bits" in str(error) else remedy
        raise ValueError(f"{str(path)!r} cannot be read as {what}: {one_line(error)}. {remedy}") from error


WIDE = "Save it again with its columns of 128-bit integers cast to 64 bits, to decimals or to text."


def content_of(start: bytes) -> Content | None:
    """What a file holds that begins with these 8 bytes, if it is no text."""
    return next((content for magic, content in CONTENT.items() if re.match(magic, start)), None)


def refuse_content(start: bytes, path: Path, what: str) -> None:
    """Refuse a file whose format differs from its ending."""
    content = content_of(start)
    if content is not None and not content.kind.startswith(OWN.get(what, "-")):
        raise ValueError(f"{str(path)!r} is not a {what}, but {content.text}.")


def one_line(error: Exception) -> str:
    """The message of an error, shortened, without the final full stop."""
    return (" ".join(str(error).split())[:300] or type(error).__name__).rstrip(".")
