"""Constants of files as arrays: the declared size is compared with the bytes before an array is made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from nnarray.layers.tensors import Tensor
from nnarray.onnx.graph import DTYPES

FIELDS = {
    "float32": "float_data",
    "complex64": "float_data",
    "float64": "double_data",
    "complex128": "double_data",
    "int64": "int64_data",
    "uint64": "uint64_data",
    "uint32": "uint64_data",
}
"""Where numbers stand that are not raw bytes; all others are in `int32_data`."""
HALVES = {21: (0, "uint8"), 22: (8, "int8")}
"""Integers of four bits: what is subtracted where they have a sign, and the dtype that stands for them."""
BFLOAT16 = 16


class Files:
    """The files beside a file, which may hold its constants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def part(self, name: str, place: dict[str, str]) -> bytes:
        """The bytes of a constant in another file.

        Raises
        ------
        ValueError
            If the file is outside of the folder, is missing, or has fewer bytes.
        """
        location = place.get("location", "")
        root = self.folder.resolve()
        try:
            file = (root / location).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a link to itself, or with the character NUL
            raise ValueError(f"the numbers of {name!r} are in {location[:50]!r}, which is no file") from error
        if not location or Path(location).is_absolute() or not file.is_relative_to(root):
            raise ValueError(f"the numbers of {name!r} are in {location!r}, outside of the folder of the file")
        if not _is_file(file):
            raise ValueError(
                f"the numbers of {name!r} are in {location[:50]!r}, which is not in the folder of the file"
            )
        size = file.stat().st_size
        offset, length = (_integer(place.get(key), usual) for key, usual in (("offset", 0), ("length", size)))
        if "length" not in place:
            length = size - offset
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(f"the numbers of {name!r} are {length} bytes from {offset} on in a file of {size} bytes")
        with file.open("rb") as opened:
            opened.seek(offset)
            return opened.read(length)


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name that is too long
        return False


def _integer(text: str | None, usual: int) -> int:
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise ValueError(f"a position in a file must be an integer; got {text[:20]!r}")
    return int(text)


def text_or_array_of(message: Any, files: Files) -> Tensor:
    """A constant, which may have texts; raises as `array_of`."""
    if DTYPES.get(message.data_type) != "string":
        return array_of(message, files)
    shape = tuple(map(int, message.dims))
    _compare(message.name, shape, "string", len(message.string_data), math.prod(shape), "texts")
    return Tensor(np.asarray([each.decode() for each in message.string_data], dtype="U").reshape(shape))


def array_of(message: Any, files: Files) -> Tensor:
    """A constant.

    Raises
    ------
    ValueError
        If its dtype is not supported, or its bytes do not have the declared size.
    """
    name, shape, number = message.name, tuple(map(int, message.dims)), message.data_type
    if min(shape, default=0) < 0:
        raise ValueError(f"constant {name!r} has the shape {shape}, but sizes are at least 0")
    count = math.prod(shape)
    if number in HALVES:
        return Tensor(_of_four_bits(message, files, count, *HALVES[number]).reshape(shape))
    dtype = "bfloat16" if number == BFLOAT16 else DTYPES.get(number, "")
    if dtype == "string":
        raise ValueError(
            f"constant {name!r} has texts, and nnarray computes with numbers only. If nnarray export wrote the file, "
            f"use the model that it was made from"
        )
    if not dtype:
        raise ValueError(f"constant {name!r} has the dtype number {number}, which is not supported")
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    raw = _raw(message, files)
    if raw is not None:
        _compare(name, shape, dtype, len(raw), count * stored.itemsize)
        flat = np.frombuffer(raw, stored.newbyteorder("<")).astype(stored)
    else:
        flat = _listed(message, dtype, stored, shape, count)
    if dtype == "bfloat16":  # the upper half of a float32
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return Tensor(flat.reshape(shape))


def _compare(name: str, shape: Any, dtype: str, given: int, wanted: int, what: str = "bytes") -> None:
    if given != wanted:
        raise ValueError(
            f"constant {name!r} of shape {shape} and dtype {dtype} needs {wanted} {what}, but has {given}: the file is "
            f"damaged"
        )


def _raw(message: Any, files: Files) -> bytes | None:
    if message.data_location == message.EXTERNAL:
        return files.part(message.name, {each.key: each.value for each in message.external_data})
    return message.raw_data if message.HasField("raw_data") else None


def _listed(message: Any, dtype: str, stored: np.dtype, shape: Any, count: int) -> np.ndarray:
    numbers = getattr(message, FIELDS.get(dtype, "int32_data"))
    parts = 2 if dtype.startswith("complex") else 1
    _compare(message.name, shape, dtype, len(numbers), count * parts, "numbers")
    if dtype.startswith("complex"):
        return np.asarray(numbers, dtype=np.float64).view(np.complex128).astype(stored)
    if dtype in ("float16", "bfloat16"):
        bits = np.asarray(numbers, dtype=np.int64).astype(np.uint16)
        return bits.view(np.float16) if dtype == "float16" else bits
    return np.asarray(numbers, dtype=np.uint64 if dtype.startswith("uint") else None).astype(stored)


def _of_four_bits(message: Any, files: Files, count: int, sign: int, dtype: str) -> np.ndarray:
    """Two numbers in a byte, the first one in its lower half."""
    raw = _raw(message, files)
    packed = np.frombuffer(raw, np.uint8) if raw is not None else np.asarray(message.int32_data, dtype=np.uint8)
    _compare(message.name, tuple(message.dims), f"{dtype[:-1]}4", len(packed), -(-count // 2))
    each = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[:count].astype(np.int16)
    return (np.where(each >= sign, each - 16, each) if sign else each).astype(dtype)
