"""What the functions of this folder accept as numbers."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any


def integer(value: Any, name: str, least: int, *, usual: int) -> int:
    """`value` as a Python integer of at least `least`; NumPy's integers are welcome, truth values are not."""
    wanted = f"{name} must be an integer of at least {least}; got {value!r}. Use for example {name}={usual}."
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
    wanted = f"{name} must be a finite number{low}{high}; got {value!r}. Use for example {name}={usual:g}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(wanted)
    try:
        number = float(value)
    except OverflowError:  # an integer beyond every float
        raise ValueError(wanted) from None
    if not (least <= number < below and math.isfinite(number)):  # nan fails every comparison
        raise ValueError(wanted)
    return number
