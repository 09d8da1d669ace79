"""Looking at what is given before it is used, with errors that say what, where, and what to do."""

from __future__ import annotations

from nnarray.backends import namespace
from nnarray.typing import Array


def positive_int(value: object, what: str) -> None:
    """Refuse anything but an integer above 0."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an integer; got {value!r}.")
    if value < 1:
        raise ValueError(f"{what} must be at least 1; got {value}.")


def refuse_non_finite(x: Array, name: str, remedy: str = "Remove or repair these entries.") -> None:
    """Refuse NaN and infinity, and say where the first one is. Waits for the device."""
    xp = namespace(x)
    if xp.isdtype(x.dtype, "real floating") and not bool(xp.all(xp.isfinite(x))):
        raise ValueError(f"{name} contains NaN or infinity: {_first_non_finite(x)}. {remedy}")


def _first_non_finite(x: Array) -> str:
    xp = namespace(x)
    position = int(xp.argmin(xp.reshape(xp.astype(xp.isfinite(x), xp.int32), (-1,))))
    index: list[int] = []
    for size in reversed(x.shape):
        index.insert(0, position % size)
        position //= size
    if len(index) > 2:
        return f"index {tuple(index)}"
    return ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), index, strict=False))
