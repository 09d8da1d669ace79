"""An array of an uncompressed .npz file, mapped at its position in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from nnarray.names import named

LOCAL_HEADER = 30  # bytes before the name of a member, which is repeated there
READERS: Any = {(1, 0): npy.read_array_header_1_0}


def mapped_array(file: Path, name: str | None) -> np.memmap[Any, Any]:
    """The array `name` of an archive, or its only array; its data are not read.

    Raises
    ------
    ValueError
        If the archive is damaged, has no array of that name, or has several arrays but no name is given; or if the
        array is compressed or has Python objects.
    """
    try:
        with ZipFile(file) as archive:
            member = _member(file, archive, name)
            shape, column_major, dtype, header = _described(file, archive, member)
        order = "F" if column_major else "C"
        return np.memmap(file, dtype, "r", _begin(file, member) + header, shape, order)
    except (BadZipFile, RuntimeError) as error:  # also if it is encrypted
        raise ValueError(f"{str(file)!r} cannot be mapped: {error}. Write it again with numpy.savez.") from error


def _member(file: Path, archive: ZipFile, name: str | None) -> ZipInfo:
    ending = ".npy"
    arrays = {m.filename.removesuffix(ending): m for m in archive.infolist() if m.filename.endswith(ending)}
    if not arrays:
        raise ValueError(f"{str(file)!r} has no arrays; save arrays in it with numpy.savez.")
    if name is None and len(arrays) > 1:
        raise ValueError(
            f"{str(file)!r} has the arrays {', '.join(map(repr, arrays))}; name one, memory_mapped(path, name)."
        )
    return named(next(iter(arrays)) if name is None else name, arrays, f"array of {file.name}")


def _described(file: Path, archive: ZipFile, member: ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """The shape of an array, whether it is in column-major order, its dtype, and the position of its data."""
    if member.compress_type != ZIP_STORED:
        raise ValueError(
            f"the array {member.filename.removesuffix('.npy')!r} of {str(file)!r} is compressed, and cannot be mapped: "
            f"save it with numpy.savez instead of numpy.savez_compressed."
        )
    with archive.open(member) as opened:
        try:
            reader = READERS.get(npy.read_magic(opened), npy.read_array_header_2_0)
            shape, column_major, dtype = reader(opened)
        except ValueError as error:
            raise ValueError(
                f"{member.filename!r} of {str(file)!r} cannot be mapped: {error}. Write it again with numpy.savez."
            ) from error
        if dtype.hasobject:
            raise ValueError(f"{member.filename!r} of {str(file)!r} holds Python objects; save an array of numbers.")
        return shape, column_major, dtype, opened.tell()


def _begin(file: Path, member: ZipInfo) -> int:
    """The position of a member: its own header may differ in length from the one in the table of contents."""
    with file.open("rb") as opened:
        opened.seek(member.header_offset + LOCAL_HEADER - 4)
        lengths = opened.read(4)
    return member.header_offset + LOCAL_HEADER + sum(np.frombuffer(lengths, "<u2").tolist())
