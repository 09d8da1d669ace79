"""Faster versions for NumPy arrays: written in place, in blocks that stay in the cache."""

from nnarray.kernels.numpy import general, images, lookup, recurrent
from nnarray.kernels.numpy.memory import keep_what_is_freed

keep_what_is_freed()

__all__ = ["general", "images", "lookup", "recurrent"]
