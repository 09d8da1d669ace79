"""The bytes of a text file, decompressed and in UTF-8."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from nnarray.tables import limits
from nnarray.tables.arrow import arrow
from nnarray.tables.encodings import not_ascii, recoding
from nnarray.tables.endings import COMPRESSED
from nnarray.tables.formats.faults import one_line
from nnarray.tables.text_format import TextFormat

UTF8 = ("utf-8", "utf8", "UTF-8")


@contextlib.contextmanager
def utf8_source(path: Path, text: TextFormat) -> Generator[Any]:
    """The bytes of the text, decompressed and in UTF-8; a file in another encoding is read as a whole."""
    pa = arrow()
    how = COMPRESSED.get(path.suffix.lower())
    try:
        with pa.input_stream(str(path), compression=how) as source:
            if text.encoding in UTF8:
                yield source
            else:
                yield pa.BufferReader(source.read().decode(text.encoding).encode())
    except UnicodeDecodeError as error:
        raise not_decoded(path, text, one_line(error)) from None
    except OSError as error:
        if how is None or error.errno:
            raise
        with path.open("rb") as file:
            if b"\0" not in (start := file.read(64)) and start.isascii():
                raise ValueError(
                    f"{str(path)!r} is plain text, not compressed; remove {path.suffix} from its name."
                ) from None
        raise ValueError(
            f"{str(path)!r} cannot be read as compressed text: {one_line(error)}. It may be damaged or truncated: "
            f"get it again."
        ) from error


def not_decoded(path: Path, text: TextFormat, where: str) -> ValueError:
    """The error for a file in another encoding."""
    known = "UTF-8" if text.encoding in UTF8 else text.encoding
    with arrow().input_stream(str(path), compression=COMPRESSED.get(path.suffix.lower())) as source:
        content = not_ascii(_lines(source))
    return ValueError(f"{str(path)!r} is not {known}: {where}. {recoding(content, text.encoding)}")


def _lines(source: Any) -> Iterator[bytes]:
    """The lines of a source of bytes; in every encoding that is tried, a line feed is this byte."""
    with io.TextIOWrapper(source, "latin-1", newline="\n") as lines:
        while line := lines.readline(limits.BLOCK):
            yield line.encode("latin-1")
