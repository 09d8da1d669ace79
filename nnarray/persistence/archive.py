"""Arrays and facts in one safetensors file with a checksum of every byte; reading it executes nothing.

safetensors itself has no checksum. The metadata of the file contain one: the SHA-256 of the whole file, computed with
zeros instead of the checksum itself, so that header, names, shapes and numbers are all covered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from nnarray.backends import host_backend
from nnarray.files import replace
from nnarray.names import shown

SUFFIX = ".safetensors"
FORMAT = 1
"""The version of the contents; files with a higher version are refused."""
LONGEST_HEADER = 32 * 2**20
BLANK = "0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')  # not inside another string: there the quotes are escaped


@dataclass(frozen=True)
class Archive:
    """The contents of a file: arrays by name, and facts that JSON can represent."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def named_file(path: str | os.PathLike[str], remedy: str | None = None) -> Path:
    """The path of a file, which must end in .safetensors; the error has this remedy, or that of writing if None.

    Raises
    ------
    TypeError, ValueError
        If it is not a path, or has another ending.
    """
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"path must be the path of a {SUFFIX} file; got {shown(path)}.") from None
    if file.suffix != SUFFIX:
        name = repr(file.stem + SUFFIX)
        remedy = remedy or f"Use {name}; for PyTorch, use model.to_torch({name})."
        raise ValueError(f"the file must end in {SUFFIX}; got {str(file)!r}. {remedy}")
    return file


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(path: Path, archive: Archive) -> None:
    """Write the archive to the file, as a whole or not at all.

    Raises
    ------
    ValueError
        If JSON cannot represent a fact.
    OSError
        If the folder does not exist, may not be written to or is full; the message has the path.
    """
    facts = as_json(archive.facts, "the facts of a file")
    metadata = {"nnarray_format": str(FORMAT), "digest": BLANK, "contents": facts}
    # A strided array would silently be written wrongly; an array without axes must keep its shape.
    arrays = {name: np.asarray(x, order="C") for name, x in archive.arrays.items()}
    replace(path, lambda part: _fill(part, arrays, metadata))


def as_json(value: Any, what: str, *, with_nan: bool = False) -> str:
    """`value` as JSON text; refuses repeated names, incomplete characters, and NaN unless `with_nan`."""
    try:
        text = json.dumps(value, allow_nan=with_nan, ensure_ascii=False)
        text.encode()
        json.loads(text, object_pairs_hook=_without_doubles)  # 1 and "1" are the same name in JSON
    except (TypeError, ValueError, RecursionError) as error:
        how = (
            "Store an array as a list, x.tolist(), and an object by its settings, such as {'mean': ..., 'scale': ...}."
        )
        if "Standardizer" in str(error):
            how = "Of a Standardizer, store to_json()."
        raise ValueError(
            f"{what} must be JSON values: strings, finite numbers, lists, dicts; {error}. {how}"
        ) from error
    return text


def on_host(x: Any) -> Any:
    """An array in a dtype that NumPy has: bfloat16 as float32, which is exact."""
    host = host_backend().to_numpy(x)
    return host.astype(np.float32) if host.dtype.name == "bfloat16" else host


def fill(part: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a safetensors file; a full disk is an `OSError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, part, metadata=metadata)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))  # a full disk, reported by the Rust library
        if code is None:
            raise ValueError(f"a safetensors file cannot store an array: {error}.") from error
        raise OSError(int(code[1]), str(error)) from error


def _fill(part: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    fill(part, arrays, metadata)
    with part.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER:
            raise ValueError(
                f"names, history and metadata of a file may take at most {LONGEST_HEADER} bytes; got {length}. Store "
                f"large metadata in a separate file."
            )
        header = file.read(length)
        (checksum,) = _DIGEST.finditer(header)
        digest = _sha256(file)
        file.seek(8 + checksum.start(1))
        file.write(digest.encode())


def _sha256(file: BinaryIO) -> str:
    """The checksum of the whole file, with zeros instead of the checksum."""
    file.seek(0)
    total = hashlib.sha256()
    length = file.read(8)
    header = file.read(int.from_bytes(length, "little"))
    total.update(length)
    total.update(_DIGEST.sub(f'"digest":"{BLANK}"'.encode(), header))
    for block in _blocks(file):
        total.update(block)
    return total.hexdigest()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(2**20):
        yield block


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> Archive:
    """The archive in the file, completely checked before any part of it is used.

    The size of the file bounds time and memory: sizes in the header are checked before memory is allocated.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or cannot be read.
    ValueError
        If the file has another format, is damaged, or was written by a newer version; the message names the file and
        the fault.
    """
    _check(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            contents = file.metadata()["contents"]
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        _refuse(path, f"it is not a safetensors file of NumPy's dtypes ({error})", error)
    except MemoryError as error:
        raise MemoryError(f"{str(path)!r} needs more memory than is free: {os.path.getsize(path)} bytes.") from error
    facts = from_json(contents, path)
    if not isinstance(facts, dict):
        _refuse(path, "its contents are not a JSON object")
    return Archive(arrays, facts)


def sha256_of(path: Path) -> str:
    """The SHA-256 of all bytes of a file, as `sha256sum` shows it: it names the file, and so the model in it.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or cannot be read.
    """
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> BufferedReader:
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; pass the path of a {SUFFIX} file.")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {str(path)!r}; check the path.") from error
    except OSError as error:
        raise type(error)(error.errno, f"cannot read {str(path)!r}: {error.strerror}") from error


def _check(path: Path) -> None:
    """Refuse a file that is missing, damaged, or of a newer version."""
    with _opened(path) as file:
        metadata = _metadata(path, file)
        if "nnarray_format" not in metadata:
            _refuse(
                path,
                "it is a safetensors file, but not a model of nnarray. Read the parameters of a PyTorch network with "
                "model.load_torch(path)",
            )
        version = metadata["nnarray_format"]
        if not re.fullmatch("[1-9][0-9]{0,8}", version):
            _refuse(path, f"its format {version[:20]!r} is not a number")
        if int(version) > FORMAT:
            raise ValueError(
                f"{str(path)!r} was written by a newer version of nnarray (format {version}; this one reads up to "
                f"{FORMAT}). Update: pip install --upgrade nnarray."
            )
        if metadata.get("digest") != _sha256(file):
            _refuse(path, "it is damaged: its checksum does not match its bytes. Use an earlier file, or a copy")


def _metadata(path: Path, file: BinaryIO) -> dict[str, str]:
    """The metadata of the header; its length is checked against the file before any of it is read."""
    size, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        _refuse(
            path,
            f"it is truncated or not a safetensors file: {size} bytes cannot hold a header of {length}. Use an "
            f"earlier file, or a copy",
        )
    if length > LONGEST_HEADER:
        _refuse(path, f"its header of {length} bytes is longer than the limit of {LONGEST_HEADER}")
    header = file.read(length)
    if len(_DIGEST.findall(header)) > 1:
        _refuse(path, "it has two checksums")
    metadata = from_json(header, path).get("__metadata__", {}) if header[:1] == b"{" else None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        _refuse(path, "it is not a safetensors file, or its header is damaged")
    return metadata


def from_json(text: str | bytes, path: Path) -> Any:
    """The value of a JSON text; refuses NaN, repeated names, incomplete characters and too deep nesting."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_doubles)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        _refuse(path, f"its JSON is damaged ({type(error).__name__}: {str(error)[:100]})", error)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _without_doubles(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name is repeated")
    return made


def _refuse(path: Path, fault: str, cause: BaseException | None = None) -> NoReturn:
    raise ValueError(f"{str(path)!r} cannot be loaded: {fault}.") from cause
