"""Faster versions for NumPy arrays: written in place, in blocks that stay in the cache."""

from nnarray.kernels.numpy import attention, blocks, functions, general, images, lookup, recurrent
from nnarray.kernels.numpy.memory import keep_what_is_freed

keep_what_is_freed()

__all__ = ["attention", "blocks", "functions", "general", "images", "lookup", "recurrent"]
