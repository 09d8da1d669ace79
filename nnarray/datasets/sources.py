"""Examples that are read batch by batch: files that do not fit into the memory, and sources of your own."""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnarray.backends import Backend, as_data
from nnarray.checks import existing
from nnarray.datasets.file_rows import FileRows, can_read
from nnarray.datasets.scratch import is_too_much
from nnarray.names import shown
from nnarray.typing import Array, DType, Shape

PART = 2**24  # bytes read at once if many rows are contiguous
NPY, ZIP = b"\x93NUMPY", b"PK"  # the first bytes of .npy and .npz files


class Source(ABC):
    """Examples that are read batch by batch. Derive a class from it, and pass an instance to `fit` and `predict` as X.

    A source must be derived from this class. Methods of these names are not enough, as some data frames have them too.

    Examples
    --------
    A source that computes squares when they are needed:

    >>> import numpy as np
    >>> import nnarray as nn
    >>> class Squares(nn.datasets.Source):
    ...     @property
    ...     def shape(self):
    ...         return (1000, 1)
    ...
    ...     def rows(self, indices):
    ...         return np.arange(1000)[indices, None] ** 2
    >>> len(Squares())
    1000
    >>> Squares().rows(slice(2, 4)).tolist()
    [[4], [9]]
    """

    reads_ahead = False
    """Whether `rows` may be called in a thread. Then training reads the next batches while it computes."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """The shape of all examples together, (N, ...)."""

    @abstractmethod
    def rows(self, indices: Any) -> Any:
        """The examples at `indices`, in that order: an array of any supported library.

        `indices` is a slice with a start and a stop, or a NumPy array of integers from 0 to N - 1.
        """

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All examples as a NumPy array. With this, `Backend.asarray` converts a source to an array."""
        return np.asarray(self.rows(slice(0, len(self))), dtype=dtype)


class MemoryMapped(Source):
    """The array of a mapped file, as from `numpy.load(path, mmap_mode="r")`; `memory_mapped` makes one from a path.

    Parameters
    ----------
    array : numpy.memmap
    descriptor : int, optional
        The descriptor of the file, open for reading, if the file has no name. It is closed with the source.

    Attributes
    ----------
    array : numpy.memmap
    """

    reads_ahead = True

    def __init__(self, array: np.memmap[Any, Any], descriptor: int | None = None) -> None:
        plain = as_data(array, "array")
        if plain.ndim == 0:
            raise ValueError("array must have an axis of examples, (N, ...); got shape (). Save it with array[None].")
        self.array = array
        self._mapping = _mapping(array)
        start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        self._end = start + (0 if self._mapping is None else len(self._mapping))
        self._written = _last_written(array)
        self._file = self._opened(descriptor)

    def __repr__(self) -> str:
        return f"MemoryMapped({str(self.array.filename)!r}, shape={self.shape}, dtype={self.array.dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle for another process, which maps the file by its name."""
        name, array = self.array.filename, self.array
        if name is None or not os.path.exists(name) or not array.flags.c_contiguous or self._mapping is None:
            raise TypeError(
                "these examples cannot be sent to another process: they are not whole rows of a file with a name. Save "
                "them with numpy.save in a file that all processes can read, and map that file."
            )
        return _mapped_again, (os.path.abspath(name), self._begin, array.dtype, array.shape, os.path.getsize(name))

    @property
    def _begin(self) -> int:
        """The position of the first row in the file, in bytes: the array may be a part of the mapping."""
        array = self.array
        mapped = np.frombuffer(self._mapping, np.uint8, 1).ctypes.data  # type: ignore[arg-type]
        return array.offset - array.offset % mmap.ALLOCATIONGRANULARITY + array.ctypes.data - mapped

    def _opened(self, descriptor: int | None) -> FileRows | None:
        """The file from which rows are read; None if there is memory to read them from the mapping."""
        array = self.array
        if not is_too_much(array.nbytes):
            return None
        if self._mapping is None or array.mode != "r" or not array.flags.c_contiguous or not can_read():
            return None
        if descriptor is None:
            if array.filename is None or not os.path.exists(array.filename):
                return None
            descriptor = os.open(array.filename, os.O_RDONLY)
        return FileRows(descriptor, self._begin, self._row_bytes)

    @property
    def shape(self) -> Shape:
        """The shape of the array."""
        return self.array.shape

    def rows(self, indices: Any) -> np.ndarray:
        """A copy of these rows.

        Raises
        ------
        TypeError, IndexError
            If an index is not an integer from 0 to N - 1.
        OSError
            If the file has become shorter, or was written to.
        """
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            self._refuse_outside(indices)
        self._refuse_changed()
        rows = range(len(self))[indices] if isinstance(indices, slice) else indices
        if self._file is None:
            return np.array(self.array[indices])
        examples = np.empty((len(rows), *self.shape[1:]), self.array.dtype)
        if not self._file.read(rows if isinstance(rows, range) and rows.step == 1 else np.asarray(rows), examples):
            raise self._shortened
        return examples

    def _refuse_outside(self, indices: np.ndarray) -> None:
        if indices.ndim != 1 or (indices.dtype.kind not in "iu" and indices.size > 0):
            raise TypeError(
                f"indices must be a slice or integers along one axis; got {indices.dtype} of shape {indices.shape}. "
                f"For a mask, use numpy.flatnonzero(mask)."
            )
        if indices.size == 0:
            return
        lowest, highest = int(indices.min()), int(indices.max())
        if lowest < 0 or highest >= len(self):
            wrong = lowest if lowest < 0 else highest
            raise IndexError(f"indices must be from 0 to {len(self) - 1}, for {len(self)} examples; got {wrong}.")

    def _refuse_changed(self) -> None:
        """Check the file: reading beyond the end of a mapped file would end the process without an error."""
        name = self.array.filename
        if name is None or not os.path.exists(name):  # a removed file can be read while it is mapped
            return
        if os.path.getsize(name) < self._end:
            raise self._shortened
        now = _last_written(self.array)
        if now is not None and self._written is not None and now != self._written and now[0] == self._written[0]:
            raise OSError(
                f"{str(name)!r} was changed after it was mapped, and its examples may have changed. Map it again and "
                f"start again, and do not write to it while it is read."
            )

    @property
    def _row_bytes(self) -> int:
        return self.array.itemsize * int(np.prod(self.shape[1:]))

    @property
    def _shortened(self) -> OSError:
        name, size = str(self.array.filename), os.path.getsize(self.array.filename or "")
        return OSError(
            f"{name!r} has become shorter after it was mapped: it has {size} bytes of {self._end}. Write it again "
            f"under another name, map that file, and do not write to it while it is read."
        )


def let_go(mapping: mmap.mmap) -> None:
    """Return the pages of a read-only mapping to the system, which may keep them as a cache."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _last_written(array: np.memmap[Any, Any]) -> tuple[int, int] | None:
    """The identity of the file, and the time of its last change; None for a writable mapping."""
    if array.filename is None or array.mode != "r" or not os.path.exists(array.filename):
        return None
    facts = os.stat(array.filename)
    return facts.st_ino, facts.st_mtime_ns


def _mapped_again(name: str, offset: int, dtype: np.dtype[Any], shape: Shape, size: int) -> MemoryMapped:
    """The mapping of another process, from the same file."""
    if not os.path.exists(name):
        raise FileNotFoundError(
            f"{name!r} is not on this machine. Put it where every machine finds it under that name."
        )
    if os.path.getsize(name) != size:
        raise ValueError(f"{name!r} has {os.path.getsize(name)} bytes on this machine, but {size} where it was mapped.")
    return MemoryMapped(np.memmap(name, dtype, "r", offset, shape))


def _mapping(array: Any) -> mmap.mmap | None:
    """The mapping of an array, or of the array that it is a view of."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def parts_of(count: int, row_bytes: int) -> list[slice]:
    """Slices of `count` rows that are checked together."""
    size = max(PART // max(row_bytes, 1), 1)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def memory_mapped(path: str | os.PathLike[str], name: str | None = None) -> MemoryMapped:
    """The array of a .npy file as a `Source`: batches are read when needed, and never the whole file at once.

    Parameters
    ----------
    path : path of a .npy file, or of a .npz file that is not compressed
        It has real numbers, with the examples along the first axis.
    name : str, optional
        The name of the array in a .npz file; not needed if it has one array only.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If the file does not exist or is a folder.
    TypeError, ValueError
        If the file has another format or no such array, or the array is compressed, as by `numpy.savez_compressed`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
    >>> other = model.copy()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/X.npy", X)
    ...     history = model.fit(nn.datasets.memory_mapped(f"{folder}/X.npy"), y, epochs=3)
    >>> history["loss"] == other.fit(X, y, epochs=3)["loss"]
    True
    """
    file = _existing(path)
    if _begins_with(file, ZIP):
        from nnarray.datasets.npz import mapped_array

        return MemoryMapped(mapped_array(file, name))
    if name is not None:
        raise ValueError(
            f"{str(file)!r} is not a .npz file, and its array has no name; got {shown(name)}. Leave the name out."
        )
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        why = (
            str(error) if _begins_with(file, NPY) else "it is not a .npy file."
        )  # NumPy's message advises to unpickle it
        raise ValueError(
            f"{str(file)!r} cannot be mapped: {why} It must be a .npy file of numbers, as numpy.save writes it."
        ) from error
    return MemoryMapped(array)


def _existing(path: Any) -> Path:
    """The path of an existing file."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be the path of a .npy file; got {shown(path)}.")
    return existing(path, "a .npy file")


def _begins_with(file: Path, mark: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(mark)) == mark


def as_source(x: Any) -> Source | None:
    """A source; a mapped file becomes one. None for anything else."""
    if isinstance(x, np.memmap):
        return MemoryMapped(x)
    return x if isinstance(x, Source) else None


@dataclass(frozen=True)
class Placed(Source):
    """The examples of another source on the model's device: each batch is read, converted and moved.

    Indices may be on the model's device. None means all rows.
    """

    source: Source
    be: Backend
    dtype: DType | None = None
    """The dtype of the model; None for that of the source."""
    kept: np.ndarray | None = field(default=None, repr=False)
    """The rows of the source that are included; None for all."""
    checked: bool = False
    """Whether its values are known to be valid for the model."""

    @property
    def shape(self) -> Shape:
        """The shape of all examples together."""
        whole = tuple(self.source.shape)
        return whole if self.kept is None else (len(self.kept), *whole[1:])

    def rows(self, indices: Any) -> Array:
        """The examples at `indices`, on the model's device."""
        return self.moved(self.read(indices))

    def read(self, indices: Any) -> Any:
        """The examples at `indices`, as the source returns them. NumPy indices do not wait for the device."""
        at, count = self._of_source(indices)
        examples, kind = self.source.rows(at), type(self.source).__name__
        if not hasattr(examples, "shape"):
            raise TypeError(f"{kind}.rows must return an array; got {shown(examples)}.")
        if tuple(examples.shape) != (count, *self.shape[1:]):
            raise ValueError(
                f"{kind}.rows returned shape {tuple(examples.shape)} for {count} examples of shape {self.shape[1:]}; "
                f"it must return {(count, *self.shape[1:])}."
            )
        return examples

    def moved(self, examples: Any) -> Array:
        """Examples of the source on the model's device, in its dtype."""
        return self.be.asarray(examples, self.dtype)

    def only(self, indices: Array) -> Placed:
        """Only these examples, in this order; nothing is read."""
        return replace(self, kept=self._of_source(indices)[0])

    def _of_source(self, indices: Any) -> tuple[Any, int]:
        """Their positions in the source, and their number."""
        if indices is None or isinstance(indices, slice):
            start, stop, step = (indices or slice(None)).indices(len(self))
            at = slice(start, stop, step)
            return (at if self.kept is None else self.kept[at]), len(range(start, stop, step))
        at = indices if isinstance(indices, np.ndarray) else self.be.to_numpy(indices)
        return (at if self.kept is None else self.kept[at]), len(at)

    def parts(self) -> list[slice]:
        """All rows, in parts that fit into the memory."""
        return parts_of(len(self), 8 * int(np.prod(self.shape[1:])))
