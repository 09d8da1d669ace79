"""The bytes of a text file, decompressed and in UTF-8."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from nnarray.tables.arrow import arrow
from nnarray.tables.endings import COMPRESSED
from nnarray.tables.formats.faults import one_line
from nnarray.tables.text_format import TextFormat

UTF8 = ("utf-8", "utf8", "UTF-8")
RECODE = "Save it as UTF-8, or pass its encoding: --encoding cp1252, or TextFormat(encoding='cp1252')."


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
        raise ValueError(f"{not_decoded(path, text)}: {one_line(error)}. {RECODE}") from None
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


def not_decoded(path: Path, text: TextFormat) -> str:
    """The beginning of the message for a file in another encoding."""
    return f"{str(path)!r} is not {'UTF-8' if text.encoding in UTF8 else text.encoding}"
