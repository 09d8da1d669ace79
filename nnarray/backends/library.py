"""The differences between array libraries: the base class of each of them."""

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
    """The differences between array libraries; the base class has the properties that most of them share."""

    name: str
    module: str  # the module to import
    distribution: str  # its name for `pip`
    extra: str  # nnarray[extra] installs it
    compat: str  # the namespace that follows the standard
    weak: tuple[str, ...] = ()  # dtypes that it has, but for which it supports few functions
    engines: tuple[str, ...] = ()  # engines that are faster than the layers one by one, the fastest first
    is_host: bool = False  # whether its arrays are the host's own, NumPy's
    compiles: bool = False  # whether it compiles whole functions, which then round differently
    imitates: bool = False  # whether it is for tests only

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
        from importlib.metadata import version  # slow to import, and only used by `list_backends`

        return version(self.distribution)

    def owns(self, x: object) -> bool:
        raise NotImplementedError

    def flags(self) -> list[str]:
        """The flags to list: one per device."""
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

    def engines_for(self, x: Any) -> tuple[str, ...]:
        """The engines that take arrays in the place of `x`."""
        return self.engines

    def shared(self, x: Any) -> np.ndarray | None:
        """`x` as an array of NumPy's in the same memory; None if there is no such array.

        Writes are seen in both, so only the owner of `x` may write, and nothing may record a gradient.
        """
        return None

    def from_shared(self, x: np.ndarray) -> Any:
        """An array of NumPy's, which nothing else uses, as one of this library in the same memory."""
        raise NotImplementedError

    def borrow(self, x: Any) -> Any:
        """`x` as a plain array.

        Raises
        ------
        TypeError
            If it stores its numbers in another way.
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
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is reported by an error
            changed = xp.astype(x, dtype)
        if not (xp.isdtype(changed.dtype, "real floating") and bool(xp.all(xp.isfinite(changed)))):
            refuse_change(self.to_host(x), dtype)
        return changed

    def lack(self, name: str) -> str:
        """How to get a dtype that the library does not have by default."""
        return ""

    def has_record(self, x: Any) -> bool:
        """Whether the library records computations with `x` for a gradient with respect to it."""
        return False

    def without_record(self, x: Any) -> Any:
        """The array without a gradient record."""
        return x

    def copied(self, x: Any) -> Any:
        """A copy, without a gradient record."""
        return self.namespace().asarray(self.without_record(x), copy=True)

    def apart(self, x: Any) -> Any:
        """The array in memory of its own, if it can be written to; it keeps its gradient record."""
        return self.namespace().asarray(x, copy=True)

    def is_differentiated(self, x: Any) -> bool:
        """Whether the library may differentiate what is computed from `x`."""
        return self.stands_in(x)

    def detached(self, x: Any) -> Any:
        """The array as a constant: the library's derivatives with respect to it are 0."""
        return x

    def stands_in(self, x: object) -> bool:
        """Whether `x` is a placeholder inside a function that is being compiled or differentiated."""
        return False

    def traced(self, x: object) -> bool:
        """Whether `x` is a placeholder whose value is not known yet (inside a compiled function)."""
        return False

    def is_read_at_once(self, x: Any) -> bool:
        """Whether the values of `x` can be read now, without waiting for another device or stopping a recording."""
        return self.is_host or self.imitates

    def follow(self, x: Any) -> None:
        """Make the device of `x` the current one, in a library that does not do so itself."""

    @property
    def follows(self) -> bool:
        """Whether `follow` does anything."""
        return type(self).follow is not Library.follow

    def device_kept(self) -> AbstractContextManager[object]:
        """Within the block the current device may change; afterwards it is restored."""
        return nullcontext()

    def synchronize(self, device: Device) -> None:
        """Wait until the device has finished all its work."""

    def hardware(self, device: Device) -> tuple[str, int | None]:
        """The device's name and its memory in bytes."""
        return "CPU", host_memory()

    def free(self, device: Device) -> int | None:
        """The free memory of the device in bytes; None if the library does not report it."""
        return None

    def explain(self, error: Exception) -> str:
        """Why a first computation failed, and how to fix it."""
        return f"{type(error).__name__}: {error}"

    def out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)


def device_number(text: str, flag: str) -> int:
    """The device number at the end of a backend's name, such as 1 in "cupy:1"; refuses anything else."""
    if not text.isdecimal():
        raise ValueError(f"backend {flag!r} must end in a device number such as 0; got {text!r}.")
    return int(text)
