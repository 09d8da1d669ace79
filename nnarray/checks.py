"""Looking at what is given before it is used, with errors that say what, where, and what to do."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

from nnarray.backends import dtype_name, namespace
from nnarray.names import shown
from nnarray.typing import Array


def integer(value: Any, name: str, least: int, *, usual: int) -> int:
    """`value` as a Python integer of at least `least`; NumPy's integers are welcome, truth values are not."""
    wanted = f"{name} must be an integer of at least {least}; got {shown(value)}. Use for example {name}={usual}."
    if isinstance(value, bool):
        raise TypeError(wanted)
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(wanted) from None
    if number < least:
        raise ValueError(wanted)
    return number


def real(value: Any, name: str, *, least: float = -math.inf, below: float = math.inf, usual: float) -> float:
    """`value` as a finite Python float with least <= value < below."""
    low = f" of at least {least:g}" if least > -math.inf else ""
    high = f" and less than {below:g}" if below < math.inf else ""
    wanted = f"{name} must be a finite number{low}{high}; got {shown(value)}. Use for example {name}={usual:g}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(wanted)
    try:
        number = float(value)
    except OverflowError:  # an integer beyond every float
        raise ValueError(wanted) from None
    if not (least <= number < below and math.isfinite(number)):  # nan fails every comparison
        raise ValueError(wanted)
    return number


REPAIR = "Remove or repair these entries."


def refuse_non_finite(x: Array, name: str, remedy: str = REPAIR) -> None:
    """Refuse NaN and infinity, and say where the first one is. Waits for the device."""
    if not _all_finite(x):
        raise ValueError(f"{name} contains NaN or infinity: {_first_non_finite(x)}. {remedy}")


def refuse_overflow(x: Array, given: Array, name: str, remedy: str = REPAIR) -> None:
    """As `refuse_non_finite`; what is infinite in `x` only because its dtype is narrower than that of `given`, too."""
    if _all_finite(x):
        return
    refuse_non_finite(given, name, remedy)
    _refuse_narrowed(x, name)


def refuse_narrowed(x: Array, given: Array, name: str) -> None:
    """Refuse what is infinite in `x` only because its dtype is narrower than that of `given`. Waits for the device."""
    xp = namespace(x)
    if x.dtype != given.dtype and not xp.isdtype(given.dtype, "bool"):
        lost = xp.isfinite(given) & ~xp.isfinite(x)
        if bool(xp.any(lost)):
            _refuse_narrowed(xp.where(lost, x, xp.zeros_like(x)), name)


def _refuse_narrowed(x: Array, name: str) -> None:
    raise ValueError(
        f"{name} has numbers that {dtype_name(x.dtype)}, the model's dtype, cannot hold: {_first_non_finite(x)}. "
        f"Standardise {name}, or make the model with another dtype."
    )


def _all_finite(x: Array) -> bool:
    xp = namespace(x)
    return not xp.isdtype(x.dtype, "real floating") or bool(xp.all(xp.isfinite(x)))


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
