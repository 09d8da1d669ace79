"""Data: made ones to learn with, and what is done to data before training."""

from nnarray.datasets.preparation import Standardizer, batches, standardize, train_test_split
from nnarray.datasets.synthetic import blobs, checkerboard, circles, line, moons, sine, spirals, xor

__all__ = [
    "Standardizer",
    "batches",
    "blobs",
    "checkerboard",
    "circles",
    "line",
    "moons",
    "sine",
    "spirals",
    "standardize",
    "train_test_split",
    "xor",
]
