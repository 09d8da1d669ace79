"""Dtypes by name: which of them a device computes with, and which numbers each can hold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nnarray.typing import Device, DType, Namespace

FLOATS = ("float16", "bfloat16", "float32", "float64")
_ON_HOST = {"bfloat16": "float32"}  # the same range


def dtype_name(dtype: Any) -> str:
    """`"float32"` for the float32 of any library, as a dtype, a type or a text."""
    text = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
    return text.rsplit(".", 1)[-1]


def default_float(xp: Namespace, device: Device) -> DType:
    """The default real floating dtype of the device."""
    return xp.__array_namespace_info__().default_dtypes(device=device)["real floating"]


def computes(xp: Namespace, device: Device, dtype: DType) -> bool:
    """Whether the device has the dtype: decided by an array, for JAX quietly gives another one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return xp.zeros((1,), dtype=dtype, device=device).dtype == dtype
    except (TypeError, ValueError, RuntimeError):
        return False


def is_safe(dtype: DType, wanted: DType) -> bool:
    """Whether `wanted` can hold all numbers of `dtype`, but for the rounding of integers to floats."""
    narrow, wide = (np.dtype(_ON_HOST.get(dtype_name(each), dtype_name(each))) for each in (dtype, wanted))
    return np.can_cast(narrow, wide) or (narrow.kind in "iu" and wide.kind == "f" and wide.itemsize > 2)


def of_numpy(host: np.ndarray) -> np.ndarray:
    """In a dtype of NumPy's own: bfloat16 and the like, which others add, as float32."""
    return host.astype(np.float32) if host.dtype.isbuiltin == 2 else host


def refuse_change(host: np.ndarray, wanted: DType, remedy: str = "") -> None:
    """Refuse what would become another number in the wanted dtype: infinity, another integer, no NaN any more."""
    name = dtype_name(wanted)
    dtype = np.dtype(_ON_HOST.get(name, name))
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
