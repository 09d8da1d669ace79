"""Matrix products on one thread, because the number of threads determines the order of summation."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from nnarray.backends import library_of
from nnarray.typing import Array

MISSING = "grains need threadpoolctl, as each is computed on one thread; pip install 'nnarray[dask]'."


def one_thread(like: Array) -> AbstractContextManager[None]:
    """Within the block, the library of `like` uses one thread per product.

    It applies to NumPy, and to PyTorch on the CPU. The setting is global in the process, and the last block
    restores it.

    Raises
    ------
    ImportError
        If threadpoolctl, which sets the threads of NumPy's products, is not installed.
    """
    owner = library_of(like)
    return _LIMITS[owner.name]() if owner is not None and owner.name in _LIMITS else nullcontext()


class _Limit:
    """One thread, as long as at least one block is active."""

    def __init__(self) -> None:
        self.users, self.lock, self.before = 0, threading.Lock(), None

    def set(self) -> Any:
        """Set the limit, and return the argument of `put_back`."""
        raise NotImplementedError

    def put_back(self, before: Any) -> None:
        """Undo it."""
        raise NotImplementedError

    @contextmanager
    def __call__(self) -> Generator[None]:
        with self.lock:
            before = self.set()
            self.before = before if self.users == 0 else self.before
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    self.put_back(self.before)


class _Blas(_Limit):
    def set(self) -> Any:
        try:
            limits = importlib.import_module("threadpoolctl").threadpool_limits
        except ImportError as error:
            raise ImportError(MISSING) from error
        return limits(1, user_api="blas") if self.users == 0 else None

    def put_back(self, before: Any) -> None:
        before.restore_original_limits()


class _Torch(_Limit):
    def set(self) -> Any:
        torch = importlib.import_module("torch")
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # for each thread that computes, not only once
        return before

    def put_back(self, before: Any) -> None:
        importlib.import_module("torch").set_num_threads(before)


_LIMITS = {"numpy": _Blas(), "torch": _Torch()}
