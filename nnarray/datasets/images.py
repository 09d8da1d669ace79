"""A folder of photos as a dataset: a subfolder a class, decoded by Pillow in threads that run ahead of training."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from nnarray import backends, random
from nnarray.backends import Backend
from nnarray.checks import integer
from nnarray.names import named, shown
from nnarray.typing import Array, DType

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

log = logging.getLogger("nnarray")

T = TypeVar("T")
R = TypeVar("R")

# Photos only: Pillow can also open formats that run other programs (EPS) or unpack without a bound.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_JPEG, _PNM, _OTHERS = (".jfif", ".jpe", ".jpeg", ".jpg"), (".pbm", ".pgm", ".pnm", ".ppm"), (".bmp", ".gif", ".png")
SUFFIXES = (*_JPEG, *_PNM, *_OTHERS, ".tif", ".tiff", ".webp")
# Names in small letters. What file managers, file servers and archives put among the pictures:
OF_SYSTEMS = {"@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "__macosx"}
OF_SYSTEMS |= {"@__thumb", "@synoresource", "~snapshot", "recycler", "network trash folder", "temporary items"}
OF_SYSTEMS |= {"lost+found", "system volume information", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini"}
# Parts of a data set, such as train, Validation, test1, training_data, seg_train; and those of a cross-validation:
TRAINING, HELD_OUT = (
    re.compile(f"(?P<before>.*[^a-z])?({words})(set|data|images|[^a-z].*)?", re.IGNORECASE)
    for words in ("train(ing)?", "test(ing)?|val(id(ation)?)?|eval(uation)?|dev|hold-?_?out|pred(ict(ion)?)?|extra")
)
FOLD = re.compile(r"(fold|split)[^a-z]*\d+", re.IGNORECASE)


class UnreadableImage(ValueError):
    """A file that is named like a picture but cannot be decoded; the message has its name and what is wrong."""


# --- The dataset --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageFolder:
    """A folder of photos, made by `nn.datasets.images`: settings and file names; pictures are read when asked for.

    `len` of it is the number of pictures found.

    Attributes
    ----------
    classes : tuple of str
        The names of the subfolders, sorted; label k means `classes[k]`.
    files : tuple of Path
        The pictures, sorted by class and then by path.
    left_out : tuple of str
        What was found in the folder and is not used: the reason, how many, and the names of some.

    Notes
    -----
    Each pass has its own threads, so that several may run at once. They end with the pass, also where it is left
    in the middle.
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
        """The class of each file, shape (n,), int64 (the default integer dtype where the device has no int64)."""
        return self.backend.asarray(np.asarray(self._targets, dtype=np.int64))

    @property
    def skipped(self) -> dict[Path, str]:
        """The files that were left out so far because they cannot be decoded, and what is wrong with each."""
        return dict(self._faults)

    def batches(self, epoch: int = 0) -> Iterator[tuple[Array, Array]]:
        """One pass over the pictures; the next ones are decoded while you compute with these.

        Parameters
        ----------
        epoch : int
            The number of the pass: each has its own order, if there is a `seed`.

        Returns
        -------
        iterator
            Over (X, y): X of shape (batch, size, size, 3), y of shape (batch,), as in `load`. Each picture comes
            once; a skipped one is replaced by the next, so that only the last batch is smaller.

        Raises
        ------
        UnreadableImage
            While iterating: if a file cannot be decoded, unless `errors="skip"`.
        ValueError
            If `epoch` is out of its range; while iterating: if no file at all can be decoded.
        """
        return self._dealt(self._order(integer(epoch, "epoch", 0, usual=0)))

    def load(self) -> tuple[Array, Array]:
        """All pictures at once, in sorted order.

        Returns
        -------
        X : array, shape (n, size, size, 3), the dtype of the folder
            Rows from the top, columns from the left; red, green and blue from 0 to 1.
        y : array, shape (n,), int64 (the default integer dtype where the device has no int64)

        Raises
        ------
        UnreadableImage
            If a file cannot be decoded, unless `errors="skip"`.
        ValueError
            If no file at all can be decoded.
        """
        return self._arrays(list(self._readable(range(len(self)))))

    def _order(self, epoch: int) -> list[int]:
        """The numbers of the files as they come in this pass."""
        if self.seed is None:
            return list(range(len(self)))
        key, host = random.Key(self.seed).fold("images").fold(epoch), backends.host_backend()
        return [int(i) for i in np.asarray(random.permutation(key, len(self), xp=host.xp, device=host.device))]

    def _dealt(self, order: list[int]) -> Iterator[tuple[Array, Array]]:
        with closing(self._readable(order)) as pictures:
            while batch := list(islice(pictures, self.batch_size)):
                if not (self.drop_last and len(batch) < self.batch_size):
                    yield self._arrays(batch)

    def _readable(self, order: Iterable[int]) -> Generator[tuple[np.ndarray, int]]:
        """The bytes and the label of each file that can be decoded."""
        limit, read = 2 * max(self.batch_size, self.workers), 0
        pictures = decoded_in_order(self.files, order, self.size, self._skip, workers=self.workers, limit=limit)
        with closing(pictures):
            for i, picture in pictures:
                read += 1
                yield picture, self._targets[i]
        if read == 0:
            raise ValueError(
                f"none of the {len(self)} files can be decoded. One of them: {next(iter(self._faults.values()))}"
            )

    def _skip(self, file: Path, error: UnreadableImage) -> None:
        """Leave a broken file out and say so once, or raise."""
        if self.errors == "raise":
            raise error
        if file not in self._faults:
            log.warning("skipped: %s", error)
            self._faults[file] = str(error)

    def _arrays(self, pictures: list[tuple[np.ndarray, int]]) -> tuple[Array, Array]:
        pixels = np.stack([picture for picture, _ in pictures])
        labels = np.asarray([label for _, label in pictures], dtype=np.int64)
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

    Each photo is turned upright (EXIF), scaled until its shorter side is `size`, and cut to the square in its
    middle. Nothing is decoded here: `batches` reads as training goes on, so that the photos may be more than the
    memory holds, and `load` reads all at once. Needs Pillow: `pip install 'nnarray[images]'`.

    Parameters
    ----------
    folder : path
        BMP, GIF, JPEG, PNG, PPM, TIFF and WebP files in any depth below the subfolders, told by their endings. Links to
        folders are followed. What is left out is told in the log and in `left_out`: other files, pictures outside of
        the subfolders, broken links. Hidden files and what systems put there (`@eaDir`, `__MACOSX`, `Thumbs.db`, ...)
        are ignored. Of an animation, the first picture.
    size : int
        Height and width of the pictures, in pixels.
    batch_size : int
        Pictures of a batch; the last one is smaller where their number is no multiple.
    seed : int, optional
        Seeds the order of each pass, which is the same on every backend; without it the files come sorted.
    drop_last : bool
        Leave a smaller last batch out, so that all shapes are equal.
    errors : "raise" or "skip"
        What to do with a file that cannot be decoded (truncated, damaged, no picture at all): raise an error that
        names it; or go on without it, warn in the log, and collect it in `skipped`.
    workers : int, optional
        Threads that decode; by default one a processor, at most 8. They are at most two batches ahead.
    dtype : str, optional
        A real floating dtype; the default is the device's own.
    backend : str or Backend, optional
        Where the arrays are made, as `nn.backend` takes it.

    Returns
    -------
    ImageFolder
        With `classes`, `labels`, `batches(epoch)` and `load()`.

    Raises
    ------
    ImportError
        If Pillow is missing.
    FileNotFoundError, NotADirectoryError
        If there is no such folder, or it is a file.
    ValueError
        If it has no subfolders or one without pictures, the subfolders are parts of a data set such as train and test,
        one folder is in two classes, or a number is out of its range.

    Notes
    -----
    Everything becomes 8-bit RGB: grey is repeated, 16-bit grey is divided by 257, palettes are looked up, CMYK is
    converted without a colour profile, and what is transparent is laid on white. Pictures of more pixels than
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
        random.Key(seed)  # refuses what is no seed
    found = existing_folder(folder, "a folder with a subfolder for each class")
    there = backends.backend(backend)
    named(errors, {"raise": None, "skip": None}, "choice of errors")
    search = Search(found)
    by_class = search.classes()
    _refuse_empty(found, by_class)
    return ImageFolder(
        folder=found,
        classes=tuple(by_class),
        files=tuple(file for files in by_class.values() for file in files),
        size=integer(size, "size", 1, usual=64),
        batch_size=integer(batch_size, "batch_size", 1, usual=32),
        seed=seed,
        drop_last=drop_last,
        errors=errors,
        workers=default_workers() if workers is None else integer(workers, "workers", 1, usual=4),
        dtype=floating(dtype, there),
        backend=there,
        _targets=tuple(k for k, files in enumerate(by_class.values()) for _ in files),
        left_out=search.told(),
    )


def _need_pillow() -> None:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("nn.datasets.images needs Pillow; pip install 'nnarray[images]'.") from error
    Image.init()  # loads its readers here, rather than in several threads at once


def default_workers() -> int:
    return min(os.cpu_count() or 1, 8)


# --- What is in a folder ------------------------------------------------------------------------------------

OUTSIDE = "pictures outside of the subfolders, without a class"
NO_PICTURES = "files that do not end as pictures do"
NOWHERE = "links that lead nowhere"
TWICE = "folders that are read under another name, or hold this one"


class Search:
    """The pictures below a folder, and what was left out, by the reason.

    Links to folders are followed, each folder is read once, and what systems put among the files is none of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out: dict[str, list[str]] = {}
        real = folder.resolve()
        self._read = dict.fromkeys(
            (real, *real.parents), (folder, folder)
        )  # each real folder: in which class it was met, and as what

    def pictures(self) -> list[Path]:
        """All of them, sorted."""
        return self._sorted(self.folder, self.folder)

    def classes(self) -> dict[str, list[Path]]:
        """Those of each subfolder, both sorted; there may be none in one.

        Raises
        ------
        ValueError
            If there are no subfolders, they are parts such as train and test, or one folder is in two classes.
        """
        entries = entries_of(self.folder)
        subfolders = [entry for entry in entries if entry.is_dir()]
        if not subfolders:
            raise ValueError(
                f"folder {str(self.folder)!r} has no subfolders; put the pictures of each class into one of its own, "
                f"such as {str(self.folder / 'cats')!r} and {str(self.folder / 'dogs')!r}."
            )
        _refuse_parts(self.folder, subfolders)
        inside = {folder: [entry for entry in entries_of(folder) if entry.is_dir()] for folder in subfolders}
        for folder, found in inside.items():
            _refuse_parts(folder, found, inside=True)
        _refuse_equal(self.folder, inside)
        for entry in entries:
            if entry not in subfolders and self._is_picture(entry):
                self._leave_out(OUTSIDE, entry)
        return {each.name: self._sorted(each, each) for each in subfolders if self._is_new(each, each)}

    def told(self) -> tuple[str, ...]:
        """What was left out, how much of it, and the names of some; the log has it as well."""
        told = tuple(f"{reason}: {len(names)} ({_some(names)})" for reason, names in self.left_out.items())
        if told:
            log.warning("left out below %s: %s", self.folder, "; ".join(told))
        return told

    def _sorted(self, folder: Path, top: Path) -> list[Path]:
        return sorted(self._below(folder, top), key=lambda p: p.relative_to(top).as_posix())

    def _below(self, folder: Path, top: Path) -> Iterator[Path]:
        for entry in entries_of(folder):
            if entry.is_dir():
                if self._is_new(entry, top):
                    yield from self._below(entry, top)
            elif self._is_picture(entry):
                yield entry

    def _is_picture(self, file: Path) -> bool:
        fault = NOWHERE if not file.exists() else NO_PICTURES if file.suffix.lower() not in SUFFIXES else ""
        if fault:
            self._leave_out(fault, file)
        return not fault

    def _is_new(self, folder: Path, top: Path) -> bool:
        """Whether it is to be read: it was not before, by another name, and does not hold the whole."""
        real = folder.resolve()
        if real not in self._read:
            self._read[real] = top, folder
            return True
        before, met = self._read[real]
        if before not in (top, self.folder):
            raise ValueError(
                f"{str(met)!r} of class {before.name!r} and {str(folder)!r} of class {top.name!r} are one folder, by "
                f"a link: its pictures would be of two classes. Remove the link."
            )
        self._leave_out(TWICE, folder)
        return False

    def _leave_out(self, reason: str, path: Path) -> None:
        self.left_out.setdefault(reason, []).append(str(path.relative_to(self.folder)))


def entries_of(folder: Path) -> list[Path]:
    """What is in a folder, sorted; without what is hidden or put there by a system."""
    return sorted(p for p in folder.iterdir() if not (p.name.startswith(".") or _is_of_system(p.name.casefold())))


def _is_of_system(name: str) -> bool:
    return name in OF_SYSTEMS or re.fullmatch(r"found\.\d{3}", name) is not None


def _refuse_parts(folder: Path, subfolders: list[Path], *, inside: bool = False) -> None:
    """Refuse what are parts of a data set and no classes; `inside` of a class only where they are sure to be."""
    train, held_out = ([p for p in subfolders if part.fullmatch(p.name)] for part in (TRAINING, HELD_OUT))
    plain = [p for p in train + held_out if not any(m and m["before"] for m in _as_part(p.name))]
    folds = [p for p in subfolders if FOLD.fullmatch(p.name)]
    all_parts = any(found and len(found) == len(subfolders) for found in (plain, folds))
    if (train and held_out) or (all_parts and not inside):
        found = train + held_out or folds
        raise ValueError(
            f"the subfolders of {str(folder)!r} are parts of a data set and no classes: "
            f"{', '.join(p.name for p in found)}. {_one_of(found[0])} (If they are classes, rename them.)"
        )


def _as_part(name: str) -> Iterator[re.Match[str] | None]:
    return (part.fullmatch(name) for part in (TRAINING, HELD_OUT))


def _one_of(part: Path) -> str:
    """What to do with parts of a data set: to pass one, if the classes are in it, and else to turn them around."""
    if any(entry.is_dir() for entry in entries_of(part)):
        return f"Pass one of them: {str(part)!r}."
    kind, top = part.parent.name, part.parent.parent
    return (
        f"Put the classes into the parts: move {str(part)!r} to {str(top / part.name / kind)!r}, so with each of them, "
        f"and pass {str(top / part.name)!r}."
    )


def _refuse_equal(folder: Path, inside: dict[Path, list[Path]]) -> None:
    """Refuse subfolders that all hold the same folders, and no more: those are the classes."""
    names = [{found.name for found in each} for each in inside.values()]
    mixed = any(entry.suffix.lower() in SUFFIXES for each in inside for entry in entries_of(each))
    if not mixed and len(names) > 1 and len(names[0]) > 1 and all(each == names[0] for each in names):
        first, *_ = inside
        raise ValueError(
            f"the subfolders of {str(folder)!r} all hold the same folders, {_some(sorted(names[0]))}, which then are "
            f"the classes: pass one of them, such as {str(first)!r}. If {_some([p.name for p in inside])} are the "
            f"classes, move their pictures out of those folders, or give the folders different names."
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join([*names[:most], "..."] if len(names) > most else names)


def _refuse_empty(folder: Path, classes: dict[str, list[Path]]) -> None:
    empty = [repr(name) for name, files in classes.items() if not files]
    if empty:
        what = f"class {empty[0]} has" if len(empty) == 1 else f"classes {', '.join(empty)} have"
        raise ValueError(
            f"{what} no pictures: no file below the subfolder in {str(folder)!r} ends in one of {', '.join(SUFFIXES)}. "
            f"Add some, convert those in other formats, or remove the folder."
        )


# --- Decoding -----------------------------------------------------------------------------------------------


def ahead(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, limit: int
) -> Generator[tuple[T, Future[R]]]:
    """Each item with the future of `function(item)`, in order; threads compute at most `limit` items ahead.

    When the generator is closed, what has not begun is dropped, and the threads end.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="nnarray-images")
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > limit:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def decoded_in_order(
    files: Sequence[Path],
    order: Iterable[int],
    size: int,
    fault: Callable[[Path, UnreadableImage], None],
    *,
    workers: int | None = None,
    limit: int,
) -> Generator[tuple[int, np.ndarray]]:
    """The number and the bytes of each file that can be decoded; threads are at most `limit` files ahead.

    `fault` is told of the others, and may raise.
    """
    decode = partial(_decoded_file, files, size)
    with closing(ahead(decode, order, workers=workers or default_workers(), limit=limit)) as results:
        for i, result in results:
            try:
                picture = result.result()
            except UnreadableImage as error:
                fault(files[i], error)
            else:
                yield i, picture


def _decoded_file(files: Sequence[Path], size: int, i: int) -> np.ndarray:
    return decoded(files[i], size)


def decoded(file: Path, size: int) -> np.ndarray:
    """The square in the middle of a picture, shape (size, size, 3), uint8.

    Raises
    ------
    UnreadableImage
        If the file is damaged, no picture, or has more pixels than Pillow's limit.
    OSError
        If the file cannot be opened; that is no fault of the picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=FORMATS) as image:
            _refuse_bomb(image)
            image.draft(None, (2 * size, 2 * size))  # JPEG leaves out detail that the scaling would
            upright = _rgb(ImageOps.exif_transpose(image))
        return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(
            f"{str(file)!r} has too many pixels: {error} Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if it is yours."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise all kinds of errors at damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableImage(
            f"{str(file)!r} cannot be decoded: {error or type(error).__name__}. Replace or remove it, "
            f"or pass errors='skip' (--skip-unreadable)."
        ) from error


def _refuse_bomb(image: Picture) -> None:
    """Above its limit Pillow warns, and raises only above twice the limit."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width} x {image.height}, and the limit is {limit}.")


def _rgb(image: Picture) -> Picture:
    """8-bit RGB of any mode, on white where it is transparent."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """16-bit grey, which some readers hand over in 32 bits, as 8-bit grey: 65535 / 257 = 255."""
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError("its pixels are 32-bit integers of unknown range; save it with 8 or 16 bits")
    return np.rint(grey / 257).astype(np.uint8)


# --- What it shares with the published datasets -------------------------------------------------------------


def existing_folder(folder: str | os.PathLike[str], wanted: str) -> Path:
    """`folder` as a path, refused if it is none or a file; `wanted` says what it should be."""
    try:
        path = Path(folder)
    except TypeError:
        raise TypeError(f"folder must be the path of {wanted}; got {shown(folder)}.") from None
    if not path.exists():
        raise FileNotFoundError(f"folder {str(path)!r} does not exist; pass the path of {wanted}.")
    if not path.is_dir():
        raise NotADirectoryError(f"{str(path)!r} is a file; pass the path of {wanted}.")
    return path


def floating(dtype: object, there: Backend) -> DType:
    """The backend's real floating dtype of that name; None is its default."""
    wanted = there.dtype(dtype)
    if backends.dtype_name(wanted) not in backends.FLOATS:
        raise ValueError(f"dtype must be a real floating one, of {', '.join(there.dtypes)}; got {shown(dtype)}.")
    return wanted


def from_bytes(pixels: np.ndarray, dtype: Any, there: Backend) -> Array:
    """0, 1, ..., 255 as 0 to 1: k / 255, divided on the host and therefore the same on every backend."""
    host = np.float64 if backends.dtype_name(dtype) == "float64" else np.float32
    return there.asarray(np.divide(pixels, 255, dtype=host), dtype)
