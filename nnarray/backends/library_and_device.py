"""A backend: an array library and one of its devices. It makes and moves arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnarray.arguments import explain_settings
from nnarray.backends.copies import copy
from nnarray.backends.dtypes import (
    FLOATS,
    computes,
    default_float,
    dtype_name,
    is_of_real_numbers,
    is_safe,
    refuse_change,
)
from nnarray.backends.library import Library
from nnarray.backends.reading import DLPACK_CPU, plain, read, refuse_non_numeric
from nnarray.backends.registry import device_of, library_of
from nnarray.typing import Array, Device, DType, Namespace


@explain_settings
@dataclass(frozen=True)
class Backend:
    """An array library and one of its devices, made by `nn.backend(flag)`.

    Attributes
    ----------
    name : str
        The flag of this backend, such as `"torch:cuda:0"`.
    xp : module
        The library's namespace that follows the array API standard.
    device : object
        The device object of the library.
    reason : str
        Why it was chosen, if `"auto"` chose it.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> be.asarray([1, 2, 3], dtype="float32")
    array([1., 2., 3.], dtype=float32)
    """

    name: str
    library: Library = field(repr=False)
    xp: Namespace = field(repr=False)
    device: Device = field(hash=False)  # CuPy's devices have no hash; the name identifies it
    reason: str = field(default="", repr=False, compare=False)

    def dtype(self, dtype: object = None) -> DType:
        """The library's dtype of that name; None is the default real floating dtype of the device."""
        if dtype is None:
            return default_float(self.xp, self.device)
        name = dtype_name(dtype)
        wanted = getattr(self.xp, name, None)
        if wanted is None or not is_of_real_numbers(wanted) or not computes(self.xp, self.device, wanted):
            hint = self.library.lack(name)
            raise ValueError(f"backend {self.name!r} has no dtype {name!r}; it has {', '.join(self.dtypes)}.{hint}")
        return wanted

    def floating(self, dtype: object = None) -> DType:
        """The library's real floating dtype of that name; None is the default."""
        wanted = self.dtype(dtype)
        if not self.xp.isdtype(wanted, "real floating"):
            raise ValueError(f"dtype must be real floating, one of {', '.join(self.dtypes)}; got {dtype!r}.")
        return wanted

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The real floating dtypes that the device computes with."""
        return tuple(n for n in FLOATS if hasattr(self.xp, n) and computes(self.xp, self.device, getattr(self.xp, n)))

    def asarray(self, x: Any, dtype: object = None) -> Array:
        """`x` as an array of this backend. This is the only function that moves data between libraries and devices.

        It takes arrays of every supported library, other objects with `__dlpack__`, nested lists, numbers, and
        frames and series of pandas and Polars. Numbers and lists get the library's default dtype. Arrays keep
        their dtype, unless `dtype` is given or the device does not have it (float64 becomes float32 on JAX
        without x64). Floats may be rounded. A number that the dtype cannot hold is an error. Missing entries of
        frames and series become NaN.

        An array that is already on this backend is returned unchanged, a PyTorch tensor with its gradient
        record. (PyTorch's unsigned integers of more than 8 bits become int64, as PyTorch supports few functions
        for them.) Arrays of other libraries are copied to CuPy, PyTorch and JAX. The copy is made on the device
        if it is the same (by DLPack: from CuPy to PyTorch on one GPU nothing passes through the host), else
        through the host. NumPy shares memory if possible, like `numpy.asarray`: with a PyTorch tensor on the
        host, and with a JAX array as a read-only view. Copy the result before you write into it.

        Raises
        ------
        TypeError
            If `x` has text, objects, dates or complex numbers, is sparse or a lazy query, or is on a device
            that only its own library can access. ValueError If rows have different lengths, the device does
            not have the dtype, or the dtype cannot hold a number.
        """
        wanted = None if dtype is None else self.dtype(dtype)
        owner = library_of(x)
        if owner and owner is not self.library and dtype_name(x.dtype) in owner.weak:
            return self.asarray(owner.to_host(x), dtype)  # unchanged: another library may have what its own does not
        x = owner.borrow(x) if owner else x
        exchanged = x if owner is self.library else self._exchanged(x, owner)
        if exchanged is not None:
            refuse_non_numeric(exchanged)
            moved = exchanged if self.library.traced(exchanged) else self.xp.asarray(exchanged, device=self.device)
            return moved if wanted is None else self.library.converted(moved, wanted)
        host = plain(owner.to_host(x) if owner else read(x), type(x).__name__)
        if wanted is None:
            wanted = self._nearest(host.dtype, from_python=isinstance(x, list | tuple | int | float))
        if not is_safe(host.dtype, wanted):
            refuse_change(host, wanted, self.library.lack(host.dtype.name) if dtype is None else "")
        return self.library.from_host(host, wanted, self.device)

    def to_numpy(self, x: Any) -> np.ndarray:
        """A NumPy array with the values of `x`, an array of any library on any device. Waits for the device."""
        owner = library_of(x)
        return owner.to_host(x) if owner else np.asarray(x)

    def synchronize(self) -> None:
        """Wait until the device has finished all work given to it."""
        self.library.synchronize(self.device)

    def _exchanged(self, x: Any, owner: Library | None) -> Array | None:
        """`x`, an array of another library on this device, copied there through DLPack; None if that is not possible.

        Arrays on the host are copied through NumPy instead, unless their library can copy them first: PyTorch ends the
        process if it gets negative strides, and the strides of an unknown object are not known beforehand.
        """
        if self.library.name == "numpy" or (owner and owner.name == "numpy") or not hasattr(x, "__dlpack__"):
            return None
        try:
            own_device = tuple(self.xp.zeros((1,), device=self.device).__dlpack_device__())
            if tuple(x.__dlpack_device__()) != own_device or (owner is None and own_device == DLPACK_CPU):
                return None
            moved = self.library.borrow(self.xp.from_dlpack(copy(x) if owner else x))
            if owner is None:
                moved = copy(moved)
                self.synchronize()  # the owner of x may free it as soon as this returns
        except Exception:  # each library has its own errors for unsupported arrays; the copy through the host works
            return None
        kept = owner is None or dtype_name(moved.dtype) == dtype_name(x.dtype)  # JAX silently uses a narrower one
        usable = device_of(moved) == self.device and computes(self.xp, self.device, moved.dtype)
        return moved if kept and usable else None

    def _nearest(self, dtype: np.dtype, *, from_python: bool) -> DType:
        if from_python and dtype.kind == "f":
            return self.dtype()
        same = getattr(self.xp, dtype.name, None)
        if same is not None and computes(self.xp, self.device, same) and dtype.name not in self.library.weak:
            return same
        kind = "real floating" if dtype.kind == "f" else "integral"
        return self.xp.__array_namespace_info__().default_dtypes(device=self.device)[kind]
