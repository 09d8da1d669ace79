"""Large constants in a file beside that of the model, as a message of ONNX has at most 2 GiB."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nnarray import files

LARGEST = 2**31 - 2**24
"""So many bytes of constants lie in the file of the model; the rest of a message is smaller than the difference."""
SMALLEST = 1024
"""Constants of fewer bytes stay in the file of the model."""
ALIGNED = 4096
"""Each constant begins at a multiple of this, so that programs can map it into memory."""
DIGITS = 16


class Place(NamedTuple):
    """Where a constant lies."""

    location: str
    offset: int
    length: int


def is_needed(constants: Mapping[str, Any]) -> bool:
    """Whether the constants are too large for one file."""
    return sum(map(_size, constants.values())) > LARGEST


def _size(array: Any) -> int:
    return array.size * array.dtype.itemsize


def _pieces(constants: Mapping[str, Any]) -> Iterator[bytes]:
    for array in constants.values():
        yield array.tobytes()
        yield b"\0" * (-_size(array) % ALIGNED)


def replace_both(path: Path, constants: Mapping[str, Any], model: Callable[[Mapping[str, Place], Path], None]) -> None:
    """Write both files. A reader finds the old pair or the new one, whenever it comes and whatever happens.

    The name of the second file follows from its contents, so that it never replaces the one that the old model reads.
    It is removed if the model is not written. Files of older models are removed only when the new one is there.

    Parameters
    ----------
    path : path
        That of the model; the other one lies in its folder.
    constants : mapping of str to array
    model : callable
        `model(places, part)` writes the model into the file `part`, with the places of the constants that lie outside.

    Raises
    ------
    OSError
        If a folder does not exist, may not be written to or is full.
    """
    path = path.resolve() if path.is_symlink() else path
    outside = {name: each for name, each in constants.items() if _size(each) >= SMALLEST}
    digest = hashlib.sha256()
    for piece in _pieces(outside):
        digest.update(piece)
    name = f"{path.name}.{digest.hexdigest()[:DIGITS]}.data"
    other = path.with_name(name)
    is_new = not other.exists()
    try:
        files.replace(other, lambda part: _fill(part, outside))
        files.replace(path, lambda part: model(_places(name, outside), part))
    except BaseException:
        if is_new:
            other.unlink(missing_ok=True)
        raise
    sweep(path, kept=name)


def _fill(part: Path, constants: Mapping[str, Any]) -> None:
    with part.open("wb") as file:
        for piece in _pieces(constants):
            file.write(piece)


def _places(location: str, constants: Mapping[str, Any]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    offset = 0
    for name, array in constants.items():
        found[name] = Place(location, offset, _size(array))
        offset += _size(array) + -_size(array) % ALIGNED
    return found


def sweep(path: Path, kept: str = "") -> None:
    """Remove the files of constants of former models at this path."""
    path = path.resolve() if path.is_symlink() else path
    own = re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{{DIGITS}}}\.data")
    for each in path.parent.iterdir():
        if own.fullmatch(each.name) and each.name != kept:
            each.unlink(missing_ok=True)
