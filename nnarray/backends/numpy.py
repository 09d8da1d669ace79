"""NumPy, which computes on the host."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnarray.backends.dtypes import of_numpy
from nnarray.backends.library import Library
from nnarray.typing import Namespace

TOOLS = ("char", "core", "ctypeslib", "f2py", "ma", "polynomial", "random", "rec", "strings", "testing", "typing")
"""NumPy's modules beside the standard, which are imported only when somebody asks for them."""


class NumPy(Library):
    """NumPy, which computes on the host."""

    name = module = distribution = extra = "numpy"
    compat = "array_api_compat.numpy"
    engines = ("numba", "numpy")
    is_host = True

    def remedy(self) -> str:
        return "pip install numpy"

    def namespace(self) -> Namespace:
        if self.compat in sys.modules:
            return sys.modules[self.compat]
        with _hidden_tools() as hidden:
            xp = super().namespace()
        for name in hidden:
            delattr(xp, name)
        vars(xp).setdefault("__getattr__", _tool)
        return xp

    def copied(self, x: Any) -> Any:
        return np.array(x)

    def apart(self, x: Any) -> Any:
        return np.array(x) if isinstance(x, np.ndarray) else x  # nobody can write to a scalar

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray | np.generic)

    def shared(self, x: Any) -> np.ndarray:
        return x

    def from_shared(self, x: np.ndarray) -> Any:
        return x

    def borrow(self, x: Any) -> Any:
        """A plain array: np.matrix multiplies in another way, and the mask of a masked array would be lost."""
        masked = sys.modules.get("numpy.ma")  # without it, there is no masked array
        if masked is not None and isinstance(x, masked.MaskedArray):
            raise TypeError("a masked array would lose its mask; fill it with x.filled(...) or drop the masked rows.")
        return of_numpy(x if type(x) is np.ndarray else np.asarray(x))


@contextmanager
def _hidden_tools() -> Generator[list[str]]:
    """A block in which NumPy has None for the tools that are not imported yet, so that copying its names is fast.

    array-api-compat copies every name. The import of these takes longer than that of all other names together.
    """
    hidden = [name for name in TOOLS if name not in vars(np)]
    for name in hidden:
        setattr(np, name, None)
    try:
        yield hidden
    finally:
        for name in hidden:
            if getattr(np, name) is None:  # else another thread has imported it meanwhile
                delattr(np, name)


def _tool(name: str) -> Any:
    """The attribute of the namespace that is imported only now; NumPy's other names stay out of it."""
    if name in TOOLS:
        return getattr(np, name)
    raise AttributeError(f"module {NumPy.compat!r} has no attribute {name!r}", name=name)
