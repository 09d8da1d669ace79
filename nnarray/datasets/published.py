"""Published images: handwritten digits (8 x 8 and MNIST) and CIFAR-10, from local files."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn, cast

import numpy as np

from nnarray import backends
from nnarray.backends import Backend
from nnarray.datasets.decoding import from_bytes
from nnarray.datasets.dtypes import floating
from nnarray.datasets.folders import existing_folder
from nnarray.names import named
from nnarray.typing import Array, Shape

# --- Handwritten digits, 8 x 8 ------------------------------------------------------------------------------


def digits(*, dtype: object = None, backend: str | Backend | None = None) -> tuple[Array, Array]:
    """1797 handwritten digits of 8 x 8 pixels, which come with scikit-learn: `pip install 'nnarray[sklearn]'`.

    Parameters
    ----------
    dtype : str, optional
        A real floating dtype; the default is the device's own.
    backend : str or Backend, optional
        Where the arrays are made, as `nn.backend` takes it.

    Returns
    -------
    X : array, shape (1797, 8, 8, 1), `dtype`
        Intensity of the ink, from 0 (none) to 1, in multiples of 1/16.
    y : array, shape (1797,), int64 (the default integer dtype where the device has no int64)
        The digit, 0 to 9.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    References
    ----------
    .. [1] Alpaydin & Kaynak (1998), Optical recognition of handwritten digits. UCI Machine Learning Repository.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.digits()
    >>> X.shape, float(X.max()), y[:5]
    ((1797, 8, 8, 1), 1.0, array([0, 1, 2, 3, 4]))
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("nn.datasets.digits needs scikit-learn; pip install 'nnarray[sklearn]'.") from error
    be = backends.backend(backend)
    wanted = floating(dtype, be)
    rows, labels = load_digits(return_X_y=True)
    X = np.reshape(np.asarray(rows) / 16, (-1, 8, 8, 1))
    return be.asarray(X, wanted), be.asarray(np.asarray(labels, dtype=np.int64))


# --- MNIST --------------------------------------------------------------------------------------------------

_MNIST_SOURCE = "Download the four files of MNIST again from https://ossci-datasets.s3.amazonaws.com/mnist/"
_MNIST_MOST = 1_000_000  # images; the published files have at most 60,000
_BYTE = 0x08  # the IDX code for unsigned bytes
_DEFLATE_MOST = 1032  # largest ratio of output to input bytes


def mnist(
    folder: str | os.PathLike[str],
    split: Literal["train", "test"] = "train",
    *,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """MNIST, 28 x 28 handwritten digits, from its published files; nothing is downloaded.

    Parameters
    ----------
    folder : path
        The folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
        `t10k-labels-idx1-ubyte`, gzipped (`.gz`) or not. Fashion-MNIST and KMNIST have the same format.
    split : "train" or "test"
        The 60,000 training images, or the 10,000 test images.
    dtype, backend
        As for `digits`.

    Returns
    -------
    X : array, shape (n, 28, 28, 1), `dtype`
        Intensity of the ink, from 0 (none) to 1, in multiples of 1/255.
    y : array, shape (n,), int64 (the default integer dtype where the device has no int64)
        The digit, 0 to 9.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder does not exist or is a file, or one of the files is missing.
    ValueError
        If a file differs from the published one: wrong magic number, truncated, too long, a label above 9, or
        different numbers of labels and images.

    References
    ----------
    .. [1] LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document recognition.
       Proceedings of the IEEE 86(11), 2278-2324.
    """
    be = backends.backend(backend)
    wanted = floating(dtype, be)
    name = named(split, {"train": "train", "test": "t10k"}, "split")
    path = existing_folder(folder, "the folder with the files of MNIST")
    images, labels = _idx_file(path, f"{name}-images", 3), _idx_file(path, f"{name}-labels", 1)
    X, y = _read_idx(images, (28, 28)), _read_idx(labels, ())
    _check_labels(y, labels, _MNIST_SOURCE)
    if len(X) != len(y):
        _refuse(labels, f"has {len(y)} labels for the {len(X)} images of {images.name!r}", _MNIST_SOURCE)
    return from_bytes(X[..., None], wanted, be), be.asarray(y.astype(np.int64))


def _idx_file(folder: Path, name: str, axes: int) -> Path:
    """The file with its published name, or with a name that unpacking programs give it."""
    names = [f"{name}{dot}idx{axes}-ubyte{gz}" for dot in "-." for gz in ("", ".gz")]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise FileNotFoundError(f"folder {str(folder)!r} has none of the files {', '.join(names)}. {_MNIST_SOURCE}.")


def _read_idx(file: Path, shape: Shape) -> np.ndarray:
    """The bytes of an IDX file of examples of that shape: shape (n, ...), uint8."""
    with file.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"  # not by the name: browsers unpack files but keep the name
        raw.seek(0)
        most = file.stat().st_size * (_DEFLATE_MOST if gzipped else 1)
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if gzipped else raw
        try:
            return _parse_idx(stream, file, shape, most)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            _refuse(file, f"is damaged or truncated ({error})", _MNIST_SOURCE, error)


def _parse_idx(stream: BinaryIO, file: Path, shape: Shape, most: int) -> np.ndarray:
    """Read a file; nothing is allocated before the header is checked, also against `most` bytes."""
    axes = 1 + len(shape)
    header = stream.read(4 + 4 * axes)
    if len(header) < 4 + 4 * axes:
        _refuse(file, f"is truncated: {len(header)} bytes", _MNIST_SOURCE)
    magic, n, *sizes = struct.unpack(f">{1 + axes}I", header)
    if magic != (_BYTE << 8 | axes):
        _refuse(file, f"begins with the magic number {magic:#010x} instead of {_BYTE << 8 | axes:#010x}", _MNIST_SOURCE)
    if tuple(sizes) != shape or not 1 <= n <= _MNIST_MOST:
        _refuse(file, f"declares shape {(n, *sizes)}; it must be {('1 to 1,000,000', *shape)}", _MNIST_SOURCE)
    wanted = n * math.prod(shape)
    content = stream.read(wanted + 1) if len(header) + wanted <= most else b""  # one more byte, to detect a longer file
    if len(content) != wanted:
        state = "truncated" if len(content) < wanted else "too long"
        _refuse(file, f"is {state}: its header declares {wanted} bytes for {n} examples", _MNIST_SOURCE)
    return np.frombuffer(content, dtype=np.uint8).reshape((n, *shape))


# --- CIFAR-10 -----------------------------------------------------------------------------------------------

_CIFAR_SOURCE = (
    "Download cifar-10-binary.tar.gz, 'CIFAR-10 binary version', again from "
    "https://www.cs.toronto.edu/~kriz/cifar.html and unpack it"
)
_CIFAR_RECORDS = 10_000  # in each file
_CIFAR_RECORD = 1 + 3 * 32 * 32  # the label, then the red, the green and the blue plane


def cifar10(
    folder: str | os.PathLike[str],
    split: Literal["train", "test"] = "train",
    *,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """CIFAR-10, 32 x 32 colour photos of ten classes, from its published files; nothing is downloaded.

    Parameters
    ----------
    folder : path
        The folder with `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, the *binary* version. The Python
        version is a pickle and is never read, as unpickling executes code from the file.
    split : "train" or "test"
        The 50,000 training images, or the 10,000 test images.
    dtype, backend
        As for `digits`.

    Returns
    -------
    X : array, shape (n, 32, 32, 3), `dtype`
        Red, green and blue from 0 to 1, in multiples of 1/255. The training images take 0.6 GB in float32.
    y : array, shape (n,), int64 (the default integer dtype where the device has no int64)
        0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8 ship, 9 truck.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder does not exist or is a file, or one of the files is missing.
    ValueError
        If a file does not have the published size, or a label is above 9.

    References
    ----------
    .. [1] Krizhevsky (2009), Learning multiple layers of features from tiny images. University of Toronto.
    """
    be = backends.backend(backend)
    wanted = floating(dtype, be)
    names = named(split, {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}, "split")
    path = existing_folder(folder, "the folder with the binary files of CIFAR-10")
    records = np.concatenate([_read_cifar(path / name) for name in names])
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    X = np.ascontiguousarray(np.moveaxis(planes, 1, -1))
    return from_bytes(X, wanted, be), be.asarray(records[:, 0].astype(np.int64))


def _read_cifar(file: Path) -> np.ndarray:
    """The records of one file: shape (10000, 3073), uint8."""
    if not file.is_file():
        pickled = file.with_suffix("").exists()
        hint = f" The folder has {file.stem!r}, the pickled version, which is never read." if pickled else ""
        raise FileNotFoundError(f"file {str(file)!r} does not exist.{hint} {_CIFAR_SOURCE}.")
    published, size = _CIFAR_RECORDS * _CIFAR_RECORD, file.stat().st_size
    if size != published:
        _refuse(file, f"has {size} bytes instead of {published}", _CIFAR_SOURCE)
    records = np.fromfile(file, dtype=np.uint8, count=published).reshape(-1, _CIFAR_RECORD)
    _check_labels(records[:, 0], file, _CIFAR_SOURCE)
    return records


# --- Checks of files ----------------------------------------------------------------------------------------


def _check_labels(labels: np.ndarray, file: Path, source: str) -> None:
    worst = int(labels.argmax())
    if labels[worst] > 9:
        _refuse(file, f"has the label {labels[worst]} at position {worst}, but labels are 0 to 9", source)


def _refuse(file: Path, fault: str, source: str, cause: Exception | None = None) -> NoReturn:
    raise ValueError(f"{str(file)!r} {fault}. {source}.") from cause
