"""NumPy, which computes on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.backends.dtypes import of_numpy
from nnarray.backends.library import Library


class NumPy(Library):
    """NumPy, which computes on the host."""

    name = module = distribution = extra = "numpy"
    compat = "array_api_compat.numpy"
    engines = ("numba", "numpy")
    is_host = True

    def remedy(self) -> str:
        return "pip install numpy"

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray | np.generic)

    def shared(self, x: Any) -> np.ndarray:
        return x

    def from_shared(self, x: np.ndarray) -> Any:
        return x

    def borrow(self, x: Any) -> Any:
        """A plain array: np.matrix multiplies in another way, and the mask of a masked array would be lost."""
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError("a masked array would lose its mask; fill it with x.filled(...) or drop the masked rows.")
        return of_numpy(x if type(x) is np.ndarray else np.asarray(x))
