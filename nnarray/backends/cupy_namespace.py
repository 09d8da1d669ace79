"""The functions of the standard for CuPy: array-api-compat's, except those that ignore a device or wait for it.

CuPy launches on the current device of its thread, not on that of the arrays. So functions that make an array set the
current device to the array's, and `namespace(x)` sets it to that of `x`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)
from array_api_compat import cupy as compat

from nnarray.backends.cupy_products import matmul as matmul

cp: Any = cupy
_compat: Any = compat


def _where_asked(create: Callable[..., Any]) -> Callable[..., Any]:
    """The function that makes an array, on the requested device."""

    @functools.wraps(create)
    def created(*arguments: Any, device: Any = None, **options: Any) -> Any:
        if device is not None:
            device.use()
        return create(*arguments, **options)

    return created


arange, empty, eye, full, linspace, ones, zeros = map(
    _where_asked,
    (_compat.arange, _compat.empty, _compat.eye, _compat.full, _compat.linspace, _compat.ones, _compat.zeros),
)
empty_like, full_like, ones_like, zeros_like = map(
    _where_asked, (_compat.empty_like, _compat.full_like, _compat.ones_like, _compat.zeros_like)
)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """As in the standard; an array on another device is copied to the requested one."""
    if device is not None:
        device.use()
        if isinstance(obj, cp.ndarray) and obj.device != device:
            if copy is False:
                raise ValueError(
                    f"an array on {obj.device} cannot be moved to {device} without a copy. Pass copy=None or copy=True."
                )
            obj = obj.copy()  # CuPy's copies are made on the current device
    return _compat.asarray(obj, dtype=dtype, copy=copy)


def sign(x: Any, /) -> Any:
    """-1, 0 or 1, and NaN for NaN, for which CuPy's own function returns 0."""
    signs = _compat.sign(x) if x.dtype.kind == "c" else cp.sign(x)
    return cp.where(cp.isnan(x), x, signs) if x.dtype.kind == "f" else signs


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Entries below `min` become `min`, and those above `max` become `max`; NaN stays NaN."""
    y = x.copy() if min is None and max is None else x
    y = y if min is None else cp.maximum(y, _bound(min, x.dtype))
    return y if max is None else cp.minimum(y, _bound(max, x.dtype))


def _bound(bound: Any, dtype: Any) -> Any:
    """A bound in the dtype of the entries; an integer that is out of range becomes the nearest one in range."""
    if isinstance(bound, cp.ndarray):
        return bound.astype(dtype, copy=False)
    if dtype.kind in "iu":
        limits = cp.iinfo(dtype)
        bound = sorted((limits.min, bound, limits.max))[1]
    return dtype.type(bound)


globals().update({name: value for name, value in vars(_compat).items() if name not in globals()})
