"""Text files: read part by part, so that a file may be larger than the memory, with errors that name the place."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnarray.checks import existing
from nnarray.text.splitting import SPACES

PART = 2**20  # bytes that are read at once
MOST = 2**24  # characters that are kept while none of them is a blank
CUT = re.compile(f".*[^{SPACES}](?=[{SPACES}])", re.DOTALL)  # to the last blank behind a word: no token goes over it


def text_in(path: str | os.PathLike[str], encoding: str = "utf-8", *, part: int = PART) -> Iterator[str]:
    """The text of a file in parts, each of which ends behind a word if it has one: together they are all of it.

    A mark of the byte order at the beginning is no text. Ends of lines stay as they are.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If it is empty, or not in this encoding: the message names the byte, the line, and what to do.
    """
    file = existing(path, "a text file")
    waiting, empty = "", True
    for text in _decoded(file, _codec(encoding, file), part):
        waiting += text
        empty = empty and not text
        cut = CUT.match(waiting)
        end = len(waiting) if cut is None and len(waiting) > MOST else cut.end() if cut else 0
        if end:
            yield waiting[:end]
            waiting = waiting[end:]
    if empty:
        raise ValueError(f"{str(file)!r} is empty. Pass a text file that has text.")
    if waiting:
        yield waiting


def lines_of(file: Path) -> list[str]:
    """The lines of a small file in UTF-8, without their ends. Only a line feed ends a line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(file)!r} is not text in UTF-8: byte {error.start} does not fit.") from error
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def json_in(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a tokenizer.

    Raises
    ------
    ValueError
        If it is another file; the message names it.
    """
    try:
        values: Any = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(file)!r} is not a tokenizer: it is not JSON in UTF-8.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{str(file)!r} is not a tokenizer: it must be a JSON object.")
    return values


def _codec(encoding: str, file: Path) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise ValueError(
            f"there is no encoding {encoding!r}, for {str(file)!r}; use for example 'utf-8', 'cp1252' or 'cp932'."
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def _decoded(file: Path, encoding: str, part: int) -> Iterator[str]:
    decoder, done = codecs.getincrementaldecoder(encoding)(), 0
    lines = 1
    with file.open("rb") as opened:
        while True:
            raw = opened.read(part)
            kept = len(decoder.getstate()[0])
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise _wrong_encoding(file, encoding, error, done - kept, lines) from error
            if not raw:
                yield text
                return
            yield text
            done += len(raw)
            lines += text.count("\n")


def _wrong_encoding(file: Path, encoding: str, error: UnicodeDecodeError, before: int, lines: int) -> ValueError:
    at, line = before + error.start, lines + error.object[: error.start].count(b"\n")
    with file.open("rb") as opened:
        wide = opened.read(2) in (b"\xff\xfe", b"\xfe\xff")
    remedy = "It begins as UTF-16 does: pass encoding='utf-16'" if wide else "Pass its encoding, such as 'cp1252'"
    name = "UTF-8" if encoding == "utf-8-sig" else encoding
    return ValueError(
        f"{str(file)!r} is not text in {name}: byte {at}, in line {line}, does not fit. {remedy} (--encoding in the "
        f"command line)."
    )
