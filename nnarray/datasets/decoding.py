"""Images decoded by Pillow, in threads that run ahead of the consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from nnarray import backends
from nnarray.backends import Backend
from nnarray.typing import Array

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


T = TypeVar("T")
R = TypeVar("R")

# Photos only: Pillow can also open formats that run other programs (EPS) or unpack without a bound.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class UnreadableImage(ValueError):
    """A file with the name of an image that cannot be decoded; the message names the file and the fault."""


def default_workers() -> int:
    """The default number of threads that decode: one per core, at most 8."""
    return min(os.cpu_count() or 1, 8)


def ahead(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, limit: int
) -> Generator[tuple[T, Future[R]]]:
    """Each item with the future of `function(item)`, in order; threads compute at most `limit` items ahead.

    When the generator is closed, calls that have not begun are cancelled, and the threads end.
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

    `fault` is called for all other files, and may raise.
    """
    decode = partial(_decoded_file, files, size)
    with closing(ahead(decode, order, workers=workers or default_workers(), limit=limit)) as results:
        for i, result in results:
            try:
                square = result.result()
            except UnreadableImage as error:
                fault(files[i], error)
            else:
                yield i, square


def _decoded_file(files: Sequence[Path], size: int, i: int) -> np.ndarray:
    return decoded(files[i], size)


def decoded(file: Path | BinaryIO, size: int, name: str | None = None) -> np.ndarray:
    """The square in the middle of an image, shape (size, size, 3), uint8; errors call it by its name, or its path.

    Raises
    ------
    UnreadableImage
        If the file is damaged, not an image, or has more pixels than Pillow's limit.
    OSError
        If the file cannot be opened.
    """
    from PIL import Image

    with _readable(repr(str(file)) if name is None else name), Image.open(file, formats=FORMATS) as image:
        _refuse_bomb(image)
        image.draft(None, (2 * size, 2 * size))  # JPEG leaves out detail that the scaling would
        return _square(image, size)


def square_of(image: PillowImage | np.ndarray, size: int, name: str) -> np.ndarray:
    """The same of an image in memory: Pillow's, or an array of shape (height, width) or (height, width, 3), uint8.

    Raises
    ------
    UnreadableImage
        If the file behind Pillow's image is damaged.
    TypeError, ValueError
        If an array is of another dtype or shape.
    """
    from PIL import Image

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise TypeError(f"{name} must have dtype uint8, from 0 to 255; got {image.dtype}. Convert it first.")
        if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or 0 in image.shape:
            raise ValueError(f"{name} must have shape (height, width, 3) or (height, width); got {image.shape}.")
        image = Image.fromarray(np.ascontiguousarray(image))
    with _readable(name):
        return _square(image, size)


def _square(image: PillowImage, size: int) -> np.ndarray:
    from PIL import Image, ImageOps

    upright = _rgb(ImageOps.exif_transpose(image))
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC))


@contextmanager
def _readable(name: str) -> Generator[None]:
    """Turn errors of Pillow into our own, which name the image."""
    from PIL import Image

    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(
            f"{name} has too many pixels: {error} Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if it is yours."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise many types of errors for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableImage(
            f"{name} cannot be decoded: {error or type(error).__name__}. Replace or remove it, "
            f"or pass errors='skip' (--skip-unreadable)."
        ) from error


def _refuse_bomb(image: PillowImage) -> None:
    """Refuse images above Pillow's limit; Pillow itself warns, and raises only above twice the limit."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width} x {image.height}; the limit is {limit}.")


def _rgb(image: PillowImage) -> PillowImage:
    """An image of any mode as 8-bit RGB, with white for transparent parts."""
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
    """16-bit grey, which some readers return in 32 bits, as 8-bit grey: 65535 / 257 = 255."""
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError("its pixels are 32-bit integers of unknown range; save it with 8 or 16 bits")
    return np.rint(grey / 257).astype(np.uint8)


def from_bytes(pixels: np.ndarray, dtype: Any, be: Backend) -> Array:
    """k / 255 for the bytes k = 0, 1, ..., 255, divided on the host and therefore the same on every backend."""
    host = np.float64 if backends.dtype_name(dtype) == "float64" else np.float32
    return be.asarray(fractions_of(pixels, host), dtype)


def fractions_of(pixels: np.ndarray, dtype: Any) -> np.ndarray:
    """k / 255 for the bytes k = 0, 1, ..., 255, in a NumPy dtype."""
    return np.divide(pixels, 255, dtype=dtype)
