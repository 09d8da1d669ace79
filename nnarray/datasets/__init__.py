"""Data: synthetic datasets to learn with, images, and the preparation before training."""

from typing import TYPE_CHECKING

from nnarray.arguments import attribute_errors, explain_classes
from nnarray.late import late
from nnarray.names import also

if TYPE_CHECKING:
    from nnarray.datasets import augmentation
    from nnarray.datasets.augmentation import Augment, augment
    from nnarray.datasets.decoding import UnreadableImage
    from nnarray.datasets.images import ImageFolder, images
    from nnarray.datasets.pets import pets
    from nnarray.datasets.preparation import Standardizer, batches, standardize, train_test_split
    from nnarray.datasets.published import cifar10, digits, mnist
    from nnarray.datasets.series import Windows, series, windows
    from nnarray.datasets.sources import MemoryMapped, Source, memory_mapped
    from nnarray.datasets.streams import Stream, stream
    from nnarray.datasets.synthetic import blobs, checkerboard, circles, line, moons, sine, spirals, xor
    from nnarray.datasets.tales import tales
    from nnarray.datasets.tokens import TokenWindows, token_windows, tokenized

__all__ = [
    "Augment",
    "ImageFolder",
    "MemoryMapped",
    "Source",
    "Standardizer",
    "Stream",
    "TokenWindows",
    "UnreadableImage",
    "Windows",
    "augment",
    "augmentation",
    "batches",
    "blobs",
    "checkerboard",
    "cifar10",
    "circles",
    "digits",
    "images",
    "line",
    "memory_mapped",
    "mnist",
    "moons",
    "pets",
    "series",
    "sine",
    "spirals",
    "standardize",
    "stream",
    "tales",
    "token_windows",
    "tokenized",
    "train_test_split",
    "windows",
    "xor",
]

late(
    __name__,
    {
        "augmentation": "Augment augment augmentation",
        "decoding": "UnreadableImage",
        "images": "ImageFolder images",
        "pets": "pets",
        "preparation": "Standardizer batches standardize train_test_split",
        "published": "cifar10 digits mnist",
        "series": "Windows series windows",
        "sources": "MemoryMapped Source memory_mapped",
        "streams": "Stream stream",
        "synthetic": "blobs checkerboard circles line moons sine spirals xor",
        "tales": "tales",
        "tokens": "TokenWindows token_windows tokenized",
    },
    explain_classes,
    attribute_errors(
        __name__,
        __all__,
        also(
            Standardizer="standard_scaler normalization",
            blobs="make_blobs",
            cifar10="load_cifar10",
            circles="make_circles",
            digits="load_digits",
            images="image_folder image_dataset_from_directory",
            windows="timeseries_dataset_from_array sliding_window",
            mnist="load_mnist fetch_mnist",
            moons="make_moons",
            stream="data_loader",
            standardize="normalize scale",
        ),
        " The data sets here are blobs, checkerboard, circles, line, moons, series, sine, spirals, tales and xor, "
        "which are computed, and cifar10, digits, mnist and pets. Arrays of any other data set go into model.fit as "
        "they are.",
    ),
)
