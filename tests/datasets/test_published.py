"""Published images are read as they were published, and files that were not are refused by name."""

from __future__ import annotations

import gzip
import importlib
import struct
import sys

import numpy as np
import pytest

from nnarray import datasets
from nnarray.backends import device_of, namespace

published = importlib.import_module("nnarray.datasets.published")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.asarray([3, 0, 9, 1, 9], dtype=np.uint8)
RECORDS = 6  # in each file of CIFAR-10, here


def idx(x, magic=None, shape=None):
    shape = x.shape if shape is None else shape
    magic = 0x0800 + len(shape) if magic is None else magic
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + x.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """The four files: five images to train on, three to test with."""
    for name, part in (("train", slice(5)), ("t10k", slice(3))):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(IMAGES[part]))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(LABELS[part]))
    return tmp_path


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """The six files, with fewer records: file k (0 is the test) begins with the label k."""
    monkeypatch.setattr(published, "_CIFAR_RECORDS", RECORDS)
    for k, name in enumerate(["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]):
        records = np.random.default_rng(k).integers(0, 256, (RECORDS, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(k, k + RECORDS) % 10
        (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
    return tmp_path


def matches(be, x, want, dtype):
    assert namespace(x) is be.xp
    assert device_of(x) == be.device
    assert x.dtype == be.dtype(dtype)
    assert be.to_numpy(x).shape == want.shape
    assert be.to_numpy(x).tobytes() == (want.astype(dtype) / np.asarray(255, dtype=dtype)).tobytes()


# --- Digits -----------------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn(be, dtype):
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    X, y = datasets.digits(dtype=dtype, backend=be)
    assert namespace(X) is namespace(y) is be.xp
    assert device_of(X) == device_of(y) == be.device
    assert X.dtype == be.dtype(dtype)
    assert np.array_equal(be.to_numpy(X)[..., 0], theirs.images / 16)
    assert np.array_equal(be.to_numpy(y), theirs.target)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"needs scikit-learn; pip install 'nnarray\[sklearn\]'"):
        datasets.digits()


# --- MNIST ------------------------------------------------------------------------------------------------


def test_mnist_on_every_backend(be, dtype, mnist):
    for split, n in (("train", 5), ("test", 3)):
        X, y = datasets.mnist(mnist, split, dtype=dtype, backend=be)
        matches(be, X, IMAGES[:n, :, :, None], dtype)
        assert be.to_numpy(y).tolist() == LABELS[:n].tolist()


@pytest.mark.parametrize("name", ["{}-{}-idx{}-ubyte.gz", "{}-{}.idx{}-ubyte", "{}-{}.idx{}-ubyte.gz"])
@pytest.mark.parametrize("gzipped", [True, False])
def test_mnist_by_other_names(tmp_path, name, gzipped):
    """What is gzipped is seen, not read off the name: browsers unpack files and keep the ending."""
    pack = gzip.compress if gzipped else bytes
    (tmp_path / name.format("train", "images", 3)).write_bytes(pack(idx(IMAGES)))
    (tmp_path / name.format("train", "labels", 1)).write_bytes(pack(idx(LABELS)))
    X, y = datasets.mnist(tmp_path)
    assert np.array_equal(X[..., 0], IMAGES / 255)
    assert np.array_equal(y, LABELS)


SPOILT = [
    ("images", idx(IMAGES, magic=0x0801), "magic number 0x00000801 instead of 0x00000803"),
    ("images", idx(IMAGES, magic=0x0D03), "magic number 0x00000d03 instead of"),
    ("labels", idx(IMAGES), "magic number 0x00000803 instead of 0x00000801"),
    ("images", b"", "truncated: 0 bytes"),
    ("labels", idx(LABELS)[:7], "truncated: 7 bytes"),
    ("images", idx(IMAGES)[:-1], "truncated: its header declares 3920 bytes for 5 examples"),
    ("labels", idx(LABELS)[:-1], "truncated: its header declares 5 bytes"),
    ("images", idx(IMAGES) + b"\0", "too long: its header declares 3920 bytes"),
    ("labels", idx(LABELS) + b"\0", "too long"),
    ("images", idx(IMAGES, shape=(5, 784, 1)), r"declares shape \(5, 784, 1\); it must be .*28, 28"),
    ("images", idx(IMAGES, shape=(0, 28, 28)), r"declares shape \(0, 28, 28\)"),
    ("images", idx(IMAGES, shape=(2**32 - 1, 28, 28)), r"declares shape \(4294967295, 28, 28\)"),
    ("labels", idx(LABELS, shape=(900_000,)), "truncated: its header declares 900000 bytes"),
    ("labels", idx(np.uint8([0, 1, 10, 3, 255])), "has the label 255 at position 4, but labels are 0 to 9"),
    ("labels", idx(np.uint8([0, 1, 10, 3, 4])), "has the label 10 at position 2"),
    ("labels", idx(LABELS[:4]), "has 4 labels for the 5 images of 'train-images-idx3-ubyte'"),
]


@pytest.mark.parametrize(
    ("kind", "content", "match"), SPOILT, ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_spoilt_files_of_mnist_are_refused(mnist, kind, content, match, pack):
    name = f"train-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    (mnist / name).write_bytes(pack(content))
    with pytest.raises(ValueError, match=rf"{name}' .*{match}.*Download .* from https"):
        datasets.mnist(mnist)


@pytest.mark.parametrize("spoil", [lambda g: g[:-9], lambda g: g[:60], lambda g: g[:40] + b"\xff\xff" + g[42:]])
def test_spoilt_gzip_files_are_refused(mnist, spoil):
    (mnist / "train-images-idx3-ubyte").write_bytes(spoil(gzip.compress(idx(IMAGES))))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte' is damaged or truncated.*Download"):
        datasets.mnist(mnist)


def test_gzip_bombs_are_not_inflated(mnist):
    """Ten million zeros after the last image: one is read to see that they are there."""
    (mnist / "train-images-idx3-ubyte").write_bytes(gzip.compress(idx(IMAGES) + bytes(10_000_000)))
    with pytest.raises(ValueError, match="too long: its header declares 3920 bytes"):
        datasets.mnist(mnist)


def test_mnist_files_that_are_missing(mnist):
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"none of the files t10k-labels-idx1-ubyte, .*\.gz.*Download .*https"):
        datasets.mnist(mnist, "test")
    with pytest.raises(FileNotFoundError, match="nowhere' does not exist; pass the path of the folder with the files"):
        datasets.mnist(mnist / "nowhere")
    with pytest.raises(NotADirectoryError, match="is a file; pass the path"):
        datasets.mnist(mnist / "train-images-idx3-ubyte")


# --- CIFAR-10 ---------------------------------------------------------------------------------------------


def test_cifar10_on_every_backend(be, dtype, cifar):
    for split, names in (("test", ["test_batch"]), ("train", [f"data_batch_{i}" for i in range(1, 6)])):
        X, y = datasets.cifar10(cifar, split, dtype=dtype, backend=be)
        content = b"".join((cifar / f"{name}.bin").read_bytes() for name in names)
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 3073)
        red, green, blue = (records[:, 1 + 1024 * i : 1025 + 1024 * i].reshape(-1, 32, 32) for i in range(3))
        matches(be, X, np.stack([red, green, blue], axis=3), dtype)
        assert be.to_numpy(y).tolist() == records[:, 0].tolist()


def test_cifar10_is_laid_out_in_order(cifar):
    assert datasets.cifar10(cifar, "test")[0].flags.c_contiguous


def test_the_published_size_of_cifar10():
    assert published._CIFAR_RECORDS * published._CIFAR_RECORD == 30_730_000


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_cifar10_files_of_another_size_are_refused(cifar, change):
    file = cifar / "data_batch_3.bin"
    content = file.read_bytes()
    file.write_bytes(content[:change] if change < 0 else content + b"\0")
    size = 3073 * RECORDS
    with pytest.raises(ValueError, match=rf"data_batch_3\.bin' has {size + change} bytes instead of {size}\. Download"):
        datasets.cifar10(cifar)


def test_cifar10_labels_are_below_ten(cifar):
    file = cifar / "test_batch.bin"
    content = bytearray(file.read_bytes())
    content[3073 * 2] = 10
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch\.bin' has the label 10 at position 2"):
        datasets.cifar10(cifar, "test")


def test_the_pickled_version_of_cifar10_is_never_read(cifar):
    (cifar / "test_batch.bin").rename(cifar / "test_batch")
    with pytest.raises(FileNotFoundError, match=r"has 'test_batch', the pickled version, which is never read"):
        datasets.cifar10(cifar, "test")
    (cifar / "test_batch").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_batch\.bin' does not exist\. Download cifar-10-binary\.tar\.gz"):
        datasets.cifar10(cifar, "test")


@pytest.mark.parametrize("read", [datasets.mnist, datasets.cifar10])
def test_bad_arguments(tmp_path, read):
    with pytest.raises(ValueError, match=r"unknown split 'tests'; use one of train, test\. Did you mean 'test'"):
        read(tmp_path, "tests")
    with pytest.raises(ValueError, match="dtype must be real floating"):
        read(tmp_path, dtype="int32")
    with pytest.raises(TypeError, match=r"folder must be the path of the folder with the .*files of .*; got None"):
        read(None)
