"""What differs between array libraries: the class that each of them derives from."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from nnarray.backends.dtypes import is_safe, refuse_change
from nnarray.backends.errors import BackendNotInstalled
from nnarray.backends.host import host_memory
from nnarray.typing import Array, Device, DType, Namespace


class Library:
    """What differs between array libraries; the base class holds what most of them share."""

    name: str
    module: str  # what is imported
    distribution: str  # what `pip` calls it
    extra: str  # nnarray[extra] installs it
    compat: str  # the namespace that follows the standard
    weak: tuple[str, ...] = ()  # dtypes that it can hold, and hardly compute with
    engines: tuple[str, ...] = ()  # what computes faster than the layers one by one, the fastest first
    is_host: bool = False  # whether its arrays are the host's own, NumPy's
    compiles: bool = False  # whether whole functions can be compiled, and are then rounded otherwise
    imitates: bool = False  # whether it is there to prove what is written, and not to compute with

    def namespace(self) -> Namespace:
        """Import the library and return its standard namespace."""
        try:
            importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name != self.module:
                raise
            raise BackendNotInstalled(f"{self.distribution} is not installed; {self.remedy()}") from error
        return importlib.import_module(self.compat)

    def remedy(self) -> str:
        return f"pip install 'nnarray[{self.extra}]'"

    def version(self) -> str:
        from importlib.metadata import version  # slow to import, and needed by `list_backends` only

        return version(self.distribution)

    def owns(self, x: object) -> bool:
        raise NotImplementedError

    def flags(self) -> list[str]:
        """The flags to list: one a device."""
        return [self.name]

    def device(self, text: str) -> Device:
        """The device named `text`; an empty text is the library's default."""
        if text not in ("", "cpu"):
            raise ValueError(f"backend {self.name!r} computes on the CPU only; got device {text!r}. Use {self.name!r}.")
        return "cpu"

    def from_host(self, host: np.ndarray, dtype: DType, device: Device) -> Array:
        return self.namespace().asarray(host, dtype=dtype, device=device)

    def to_host(self, x: Any) -> np.ndarray:
        return np.asarray(x)

    def borrow(self, x: Any) -> Any:
        """`x` as the plain array that is computed with.

        Raises
        ------
        TypeError
            If it holds its numbers in another way.
        """
        return x

    def converted(self, x: Any, dtype: DType) -> Any:
        """`x`, an array of this library, in another dtype.

        Raises
        ------
        ValueError
            If the dtype cannot hold one of the numbers.
        """
        if x.dtype == dtype or is_safe(x.dtype, dtype) or self.stands_in(x) or self.traced(x):
            return self.namespace().astype(x, dtype, copy=False)
        xp = self.namespace()
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported by an error
            changed = xp.astype(x, dtype)
        if not (xp.isdtype(changed.dtype, "real floating") and bool(xp.all(xp.isfinite(changed)))):
            refuse_change(self.to_host(x), dtype)
        return changed

    def lack(self, name: str) -> str:
        """Why the library has no dtype of this name, where that can be mended."""
        return ""

    def has_record(self, x: Any) -> bool:
        """Whether a gradient with respect to `x` is asked of the library, which records what is computed from it."""
        return False

    def without_record(self, x: Any) -> Any:
        """The same numbers, of which nothing is recorded."""
        return x

    def stands_in(self, x: object) -> bool:
        """Whether `x` stands for a value inside of a function that is being compiled or differentiated."""
        return False

    def traced(self, x: object) -> bool:
        """Whether `x` stands for a value that is not known yet (inside a compiled function)."""
        return False

    def follow(self, x: Any) -> None:
        """Make the device of `x` the one that is computed on, in a library that does not see to it by itself."""

    @property
    def follows(self) -> bool:
        """Whether `follow` does anything."""
        return type(self).follow is not Library.follow

    def device_kept(self) -> AbstractContextManager[object]:
        """Within it the device that is computed on may change; afterwards it is the one from before."""
        return nullcontext()

    def synchronize(self, device: Device) -> None:
        """Wait until the device has done what it was asked to do."""

    def hardware(self, device: Device) -> tuple[str, int | None]:
        """The device's name and its memory in bytes."""
        return "CPU", host_memory()

    def free(self, device: Device) -> int | None:
        """Bytes of the device that are free; None where the library does not say."""
        return None

    def explain(self, error: Exception) -> str:
        """Why a first computation failed, and what mends it."""
        return f"{type(error).__name__}: {error}"

    def out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)


def device_number(text: str, flag: str) -> int:
    """The device number at the end of a backend's name, such as 1 in "cupy:1"; refuses what is no number."""
    if not text.isdecimal():
        raise ValueError(f"backend {flag!r} must end in a device number such as 0; got {text!r}.")
    return int(text)
