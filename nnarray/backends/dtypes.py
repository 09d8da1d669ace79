"""Dtypes by name: those that a device supports, and the numbers that each can hold."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np

from nnarray.typing import Device, DType, Namespace

FLOATS = ("float16", "bfloat16", "float32", "float64")
_REAL = re.compile(r"bool_?|u?int(8|16|32|64)|float(16|32|64|96|128)|bfloat16|longdouble")
_FLOAT_OF_FEW_BITS = re.compile(r"bfloat16|float[468]_\w+")


def dtype_name(dtype: Any) -> str:
    """`"float32"` for the float32 of any library, given as a dtype, a type or a string."""
    text = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
    return text.rsplit(".", 1)[-1]


def default_float(xp: Namespace, device: Device) -> DType:
    """The default real floating dtype of the device."""
    return xp.__array_namespace_info__().default_dtypes(device=device)["real floating"]


def is_of_real_numbers(dtype: DType) -> bool:
    """Whether it is a dtype of truth values, integers or real numbers with which networks can compute."""
    return _REAL.fullmatch(dtype_name(dtype)) is not None


def computes(xp: Namespace, device: Device, dtype: DType) -> bool:
    """Whether the device has the dtype, tested with an array, as JAX silently uses another one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return xp.zeros((1,), dtype=dtype, device=device).dtype == dtype
    except (TypeError, ValueError, RuntimeError):
        return False


def _on_host(dtype: DType) -> np.dtype:
    """NumPy's dtype of that name; float32 for small float types that NumPy does not have."""
    name = dtype_name(dtype)
    return np.dtype("float32" if _FLOAT_OF_FEW_BITS.fullmatch(name) else name)


def is_safe(dtype: DType, wanted: DType) -> bool:
    """Whether `wanted` can hold all numbers of `dtype`, except for the rounding of integers to floats."""
    narrow, wide = (_on_host(each) for each in (dtype, wanted))
    return np.can_cast(narrow, wide) or (narrow.kind in "iu" and wide.kind == "f" and wide.itemsize > 2)


def of_numpy(host: np.ndarray) -> np.ndarray:
    """The array in a dtype of NumPy; of added dtypes, small integers become int8, and bfloat16 and others float32.

    Raises
    ------
    TypeError
        If neither can hold all its numbers.
    """
    if host.dtype.isbuiltin != 2:
        return host
    for wide in (np.int8, np.float32):
        if np.can_cast(host.dtype, wide):
            return host.astype(wide)
    raise TypeError(f"an array of real numbers is needed; got dtype {host.dtype}. Convert it to numbers first.")


def refuse_change(host: np.ndarray, wanted: DType, remedy: str = "") -> None:
    """Refuse numbers that would change in the wanted dtype: to infinity, to another integer, or from NaN."""
    name, dtype = dtype_name(wanted), _on_host(wanted)
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind == "f":
            changed = np.isinf(host.astype(dtype)) & np.isfinite(host)
        elif dtype.kind == "b":
            changed = (host != 0) & (host != 1)
        else:
            least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
            changed = ~((host >= least) & (host < most + 1) & (host == np.trunc(host)))
    if np.any(changed):
        where = np.unravel_index(int(np.argmax(changed)), host.shape)
        index = f" at index {tuple(map(int, where))}" if where else ""
        raise ValueError(
            f"{name} cannot hold {host[where]!s}, of dtype {host.dtype}{index}.{remedy} Pass another dtype=, or "
            f"change such numbers first."
        )
