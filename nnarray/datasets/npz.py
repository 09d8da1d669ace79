"""An array of an uncompressed .npz file, mapped where it lies in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from nnarray.names import named

LOCAL_HEADER = 30  # bytes before the name of a member, which stands there once more
READERS: Any = {(1, 0): npy.read_array_header_1_0}


def mapped_array(file: Path, name: str | None) -> np.memmap[Any, Any]:
    """The array `name` of an archive, or its only one; it is not read.

    Raises
    ------
    ValueError
        If the archive is damaged, has no array of that name, or has several and none is named; or if the array is
        compressed, or holds objects.
    """
    try:
        with ZipFile(file) as archive:
            member = _member(file, archive, name)
            shape, column_major, dtype, header = _described(file, archive, member)
        order = "F" if column_major else "C"
        return np.memmap(file, dtype, "r", _begin(file, member) + header, shape, order)
    except (BadZipFile, RuntimeError) as error:  # also where it is encrypted
        raise ValueError(f"{str(file)!r} cannot be mapped: {error}. Write it anew with numpy.savez.") from error


def _member(file: Path, archive: ZipFile, name: str | None) -> ZipInfo:
    ending = ".npy"
    arrays = {m.filename.removesuffix(ending): m for m in archive.infolist() if m.filename.endswith(ending)}
    if not arrays:
        raise ValueError(f"{str(file)!r} has no arrays; save some in it with numpy.savez.")
    if name is None and len(arrays) > 1:
        raise ValueError(
            f"{str(file)!r} has the arrays {', '.join(map(repr, arrays))}: name one, memory_mapped(path, name)."
        )
    return named(next(iter(arrays)) if name is None else name, arrays, f"array of {file.name}")


def _described(file: Path, archive: ZipFile, member: ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """The shape of an array, whether its columns lie together, its dtype, and where its numbers begin."""
    if member.compress_type != ZIP_STORED:
        raise ValueError(
            f"the array {member.filename.removesuffix('.npy')!r} of {str(file)!r} is compressed, and cannot be mapped: "
            f"save it with numpy.savez, and not with numpy.savez_compressed."
        )
    with archive.open(member) as opened:
        try:
            reader = READERS.get(npy.read_magic(opened), npy.read_array_header_2_0)
            shape, column_major, dtype = reader(opened)
        except ValueError as error:
            raise ValueError(
                f"{member.filename!r} of {str(file)!r} cannot be mapped: {error}. Write it anew with numpy.savez."
            ) from error
        if dtype.hasobject:
            raise ValueError(f"{member.filename!r} of {str(file)!r} holds Python objects; save an array of numbers.")
        return shape, column_major, dtype, opened.tell()


def _begin(file: Path, member: ZipInfo) -> int:
    """Where a member begins: what stands before it is not as long as in the table of contents."""
    with file.open("rb") as opened:
        opened.seek(member.header_offset + LOCAL_HEADER - 4)
        lengths = opened.read(4)
    return member.header_offset + LOCAL_HEADER + sum(np.frombuffer(lengths, "<u2").tolist())
