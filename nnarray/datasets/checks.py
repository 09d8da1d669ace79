"""What the functions of this folder accept as numbers."""

from __future__ import annotations

import math
import operator
from numbers import Real


def integer(value: object, name: str, least: int) -> int:
    """`value` as a Python integer of at least `least`; NumPy's integers are welcome, truth values are not."""
    wanted = f"{name} must be an integer and at least {least}; got {value!r}. Use for example {name}={least}."
    if isinstance(value, bool):
        raise TypeError(wanted)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(wanted) from None
    if number < least:
        raise ValueError(wanted)
    return number


def real(value: object, name: str, *, least: float = -math.inf, below: float = math.inf, remedy: str) -> float:
    """`value` as a finite Python float with least <= value < below."""
    low = "" if least == -math.inf else f"{least:g} <= "
    high = "" if below == math.inf else f" < {below:g}"
    wanted = f"{name} must be a finite number, {low}{name}{high}" if low or high else f"{name} must be a finite number"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{wanted}; got {value!r}. {remedy}")
    if not (least <= value < below and abs(value) < math.inf):  # nan fails every comparison
        raise ValueError(f"{wanted}; got {value!r}. {remedy}")
    return float(value)
