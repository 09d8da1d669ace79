"""A folder of photos as a dataset: a subfolder for each class, decoded ahead of training."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Literal

import numpy as np

from nnarray import backends, random
from nnarray.backends import Backend
from nnarray.checks import integer
from nnarray.datasets.decoding import UnreadableImage, decoded_in_order, default_workers, from_bytes
from nnarray.datasets.dtypes import floating
from nnarray.datasets.folders import Search, existing_folder, refuse_empty
from nnarray.datasets.pixels import Pixels, mapped_pixels, write_pixels
from nnarray.datasets.scratch import without_name
from nnarray.datasets.sources import Source
from nnarray.names import named
from nnarray.typing import Array, DType

log = logging.getLogger("nnarray")


@dataclass(frozen=True)
class ImageFolder:
    """A folder of photos, made by `nn.datasets.images`: settings and file names. Images are read on request.

    `len` gives the number of images found.

    Attributes
    ----------
    classes : tuple of str
        The names of the subfolders, sorted; label k stands for `classes[k]`.
    files : tuple of Path
        The images, sorted by class and then by path.
    left_out : tuple of str
        The files in the folder that are not used: the reason, their number, and the names of some.

    Notes
    -----
    Each pass has its own threads, so that several passes can run at once. The threads end with the pass, even if it is
    not completed.
    """

    folder: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...] = field(repr=False)
    size: int
    batch_size: int
    seed: int | None
    drop_last: bool
    errors: Literal["raise", "skip"]
    workers: int
    dtype: DType
    backend: Backend
    _targets: tuple[int, ...] = field(repr=False)
    left_out: tuple[str, ...] = field(default=(), repr=False)
    _faults: dict[Path, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> Array:
        """The class of each file, shape (n,), int64 (the default integer dtype if the device has no int64)."""
        return self.backend.asarray(np.asarray(self._targets, dtype=np.int64))

    @property
    def skipped(self) -> dict[Path, str]:
        """The files that were left out so far because they cannot be decoded, and the fault of each."""
        return dict(self._faults)

    def batches(self, epoch: int = 0) -> Iterator[tuple[Array, Array]]:
        """One pass over the images. The next images are decoded while you compute with these.

        Parameters
        ----------
        epoch : int
            The number of the pass. With a `seed`, each pass has its own order.

        Returns
        -------
        iterator
            Over (X, y): X of shape (batch, size, size, 3), y of shape (batch,), as in `load`. Each image occurs
            once. A skipped image is replaced by the next, so that only the last batch is smaller.

        Raises
        ------
        UnreadableImage
            During iteration, if a file cannot be decoded, unless `errors="skip"`.
        ValueError
            If `epoch` is out of range; during iteration, if no file can be decoded.
        """
        return self._dealt(self._order(integer(epoch, "epoch", 0, usual=0)))

    def load(self) -> tuple[Array, Array]:
        """All images at once, in sorted order.

        Returns
        -------
        X : array, shape (n, size, size, 3), the dtype of the folder
            Rows from the top, columns from the left; red, green and blue from 0 to 1.
        y : array, shape (n,), int64 (the default integer dtype if the device has no int64)

        Raises
        ------
        UnreadableImage
            If a file cannot be decoded, unless `errors="skip"`.
        ValueError
            If no file can be decoded.
        """
        return self._arrays(list(self._readable(range(len(self)))))

    def on_disk(
        self, scratch: str | os.PathLike[str], watch: Callable[[int], object] = lambda read: None
    ) -> tuple[Source, Array]:
        """As `load`, for more images than fit into the memory: each is decoded once, and its bytes are kept in a file.

        Parameters
        ----------
        scratch : path
            A folder on a disk with space for `n * size * size * 3` bytes. The file has no name, and is deleted when `X`
            is no longer used.
        watch : callable
            Called after each image with the number of images read.

        Returns
        -------
        X : Source, shape (n, size, size, 3)
            A source for `fit` and `predict`, with the values of `load`: float64 if that is the folder's dtype, else
            float32.
        y : array, shape (n,), int64 (the default integer dtype if the device has no int64)

        Raises
        ------
        UnreadableImage
            If a file cannot be decoded, unless `errors="skip"`.
        ValueError
            If no file can be decoded.
        OSError
            If the folder cannot be written to, or its disk is full.
        """
        with without_name(Path(scratch)) as file:
            self.write(file, Path(scratch), watch)
            return self.mapped(file)

    def write(self, file: IO[bytes], folder: Path, watch: Callable[[int], object] = lambda read: None) -> None:
        """Decode each image once, into an open file in `folder`, for `mapped`; all else as `on_disk`."""

        def watched(readable: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
            for read, each in enumerate(readable, 1):
                watch(read)
                yield each

        with closing(self._readable(range(len(self)))) as readable:
            write_pixels(watched(readable), file, len(self) * self.size**2 * 3, folder)

    def mapped(self, file: IO[bytes]) -> tuple[Source, Array]:
        """What `write` wrote into a file, as `on_disk` gives it; none of it is read."""
        pixels, numbers = mapped_pixels(file, (self.size, self.size, 3))
        host = np.float64 if backends.dtype_name(self.dtype) == "float64" else np.float32
        return Pixels(pixels, host), self.backend.asarray(np.asarray(self._targets, dtype=np.int64)[numbers])

    def _order(self, epoch: int) -> list[int]:
        """The numbers of the files in the order of this pass."""
        if self.seed is None:
            return list(range(len(self)))
        key, host = random.Key(self.seed).fold("images").fold(epoch), backends.host_backend()
        return [int(i) for i in np.asarray(random.permutation(key, len(self), xp=host.xp, device=host.device))]

    def _dealt(self, order: list[int]) -> Iterator[tuple[Array, Array]]:
        with closing(self._readable(order)) as decoded:
            while batch := list(islice(decoded, self.batch_size)):
                if not (self.drop_last and len(batch) < self.batch_size):
                    yield self._arrays(batch)

    def _readable(self, order: Iterable[int]) -> Generator[tuple[int, np.ndarray]]:
        """The number and the bytes of each file that can be decoded."""
        limit, read = 2 * max(self.batch_size, self.workers), 0
        decoded = decoded_in_order(self.files, order, self.size, self._skip, workers=self.workers, limit=limit)
        with closing(decoded):
            for i, square in decoded:
                read += 1
                yield i, square
        if read == 0:
            raise ValueError(
                f"none of the {len(self)} files can be decoded. The first: {next(iter(self._faults.values()))}"
            )

    def _skip(self, file: Path, error: UnreadableImage) -> None:
        """Leave a broken file out and warn once, or raise."""
        if self.errors == "raise":
            raise error
        if file not in self._faults:
            log.warning("skipped: %s", error)
            self._faults[file] = str(error)

    def _arrays(self, decoded: list[tuple[int, np.ndarray]]) -> tuple[Array, Array]:
        pixels = np.stack([square for _, square in decoded])
        labels = np.asarray([self._targets[i] for i, _ in decoded], dtype=np.int64)
        return from_bytes(pixels, self.dtype, self.backend), self.backend.asarray(labels)


def images(
    folder: str | os.PathLike[str],
    *,
    size: int = 64,
    batch_size: int = 32,
    seed: int | None = None,
    drop_last: bool = False,
    errors: Literal["raise", "skip"] = "raise",
    workers: int | None = None,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> ImageFolder:
    """A folder of photos with a subfolder for each class: `animals/cats/1.jpg`, `animals/dogs/1.jpg`, ...

    Each photo is rotated upright (EXIF), scaled so that its shorter side is `size`, and cropped to the square in its
    middle. This function decodes nothing. If the photos do not fit into the memory, use `batches`, which reads during
    training, or `on_disk`, which reads once, into a file. `load` reads all into memory. Needs Pillow:
    `pip install 'nnarray[images]'`.

    Parameters
    ----------
    folder : path
        It has BMP, GIF, JPEG, PNG, PPM, TIFF and WebP files at any depth below the subfolders, recognised by their
        endings. Links to folders are followed. Other files, images outside of the subfolders and broken links are left
        out, and reported in the log and in `left_out`. Hidden files and files that systems add (`@eaDir`, `__MACOSX`,
        `Thumbs.db`, ...) are ignored. The first image of an animation is used.
    size : int
        Height and width of the images, in pixels.
    batch_size : int
        The number of images in a batch; the last batch may be smaller.
    seed : int, optional
        The seed of the order of each pass, which is the same on every backend. If None, the files are in sorted order.
    drop_last : bool
        Whether to leave out a smaller last batch, so that all shapes are equal.
    errors : "raise" or "skip"
        What to do with a file that cannot be decoded (truncated, damaged, not an image): raise an error that names
        it, or leave it out, write a warning to the log, and list it in `skipped`.
    workers : int, optional
        The number of threads that decode; by default one per processor, at most 8. They are at most two batches ahead.
    dtype : str, optional
        A real floating dtype; the default of the device if None.
    backend : str or Backend, optional
        The backend of the arrays, as for `nn.backend`.

    Returns
    -------
    ImageFolder
        With `classes`, `labels`, `batches(epoch)`, `load()` and `on_disk(scratch)`.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    FileNotFoundError, NotADirectoryError
        If the folder does not exist, or is a file.
    ValueError
        If the folder has no subfolders, a subfolder has no images, the subfolders are parts of a data set such as train
        and test, one folder is in two classes, or a number is out of range.

    Notes
    -----
    Every image is converted to 8-bit RGB: grey is repeated, 16-bit grey is divided by 257, palettes are looked up, CMYK
    is converted without a colour profile, and transparent parts become white. Images with more pixels than
    `PIL.Image.MAX_IMAGE_PIXELS` are refused before they are decoded.

    Examples
    --------
    >>> import nnarray as nn, tempfile, pathlib
    >>> from PIL import Image
    >>> folder = tempfile.TemporaryDirectory()
    >>> for colour in ("blue", "red"):
    ...     pathlib.Path(folder.name, colour).mkdir()
    ...     Image.new("RGB", (60, 40), colour).save(pathlib.Path(folder.name, colour, "1.png"))
    >>> photos = nn.datasets.images(folder.name, size=8, batch_size=1, seed=0)
    >>> photos.classes, len(photos)
    (('blue', 'red'), 2)
    >>> for epoch in range(2):
    ...     print([X.shape for X, y in photos.batches(epoch)])
    [(1, 8, 8, 3), (1, 8, 8, 3)]
    [(1, 8, 8, 3), (1, 8, 8, 3)]
    >>> X, y = photos.load()
    >>> X[:, 0, 0, :], y
    (array([[0., 0., 1.], [1., 0., 0.]]), array([0, 1]))
    >>> folder.cleanup()
    """
    _need_pillow()
    if seed is not None:
        random.Key(seed)  # checks the seed
    path = existing_folder(folder, "a folder with a subfolder for each class")
    be = backends.backend(backend)
    named(errors, {"raise": None, "skip": None}, "choice of errors")
    search = Search(path)
    by_class = search.classes()
    refuse_empty(path, by_class)
    return ImageFolder(
        folder=path,
        classes=tuple(by_class),
        files=tuple(file for files in by_class.values() for file in files),
        size=integer(size, "size", 1, usual=64),
        batch_size=integer(batch_size, "batch_size", 1, usual=32),
        seed=seed,
        drop_last=drop_last,
        errors=errors,
        workers=default_workers() if workers is None else integer(workers, "workers", 1, usual=4),
        dtype=floating(dtype, be),
        backend=be,
        _targets=tuple(k for k, files in enumerate(by_class.values()) for _ in files),
        left_out=search.report(),
    )


def _need_pillow() -> None:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("nn.datasets.images needs Pillow; pip install 'nnarray[images]'.") from error
    Image.init()  # loads its readers here, not in several threads at once
