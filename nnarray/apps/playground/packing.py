"""Arrays in events: their bytes as text, with dtype and shape."""

from __future__ import annotations

import base64
from typing import Any

from nnarray.backends import library_of, namespace
from nnarray.typing import Array


def packed(x: Array) -> dict[str, Any]:
    """An array of bytes, or of anything else as float32."""
    xp = namespace(x)
    name = "uint8" if x.dtype == xp.uint8 else "float32"
    if name != "uint8":
        x = xp.astype(x, xp.float32, copy=False)
    owner = library_of(x)
    assert owner is not None
    content = base64.b64encode(owner.to_host(x).tobytes()).decode()
    return {"dtype": name, "shape": list(x.shape), "data": content}


def as_bytes(x: Array) -> Array:
    """Numbers from 0 to 255, rounded; NaN is 0."""
    xp = namespace(x)
    x = xp.where(x > 0.0, x, xp.zeros_like(x))
    return xp.astype(xp.round(xp.where(x < 255.0, x, xp.full_like(x, 255.0))), xp.uint8)


def numbers(x: Array) -> list[float]:
    """The entries of a small array in a row, as Python numbers."""
    owner = library_of(x)
    assert owner is not None
    return [*map(float, owner.to_host(x).reshape(-1))]
