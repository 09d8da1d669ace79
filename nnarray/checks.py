"""Checks of arguments, with errors that say what was given, where, and what to do."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from nnarray.backends import device_of, dtype_name, is_traced, namespace
from nnarray.names import shown
from nnarray.typing import Array, Shape


def integer(value: Any, name: str, least: int, *, usual: int) -> int:
    """`value` as a Python integer of at least `least`; accepts NumPy integers, but no truth values."""
    wanted = (
        f"{name} must be an integer of at least {least}; got {shown(value)}. Use for example {_example(name, usual)}."
    )
    if isinstance(value, bool):
        raise TypeError(wanted)
    try:
        whole = operator.index(value)
    except TypeError:
        raise TypeError(wanted) from None
    if whole < least:
        raise ValueError(wanted)
    return whole


def real(value: Any, name: str, *, least: float = -math.inf, below: float = math.inf, usual: float) -> float:
    """`value` as a finite Python float with least <= value < below."""
    low = f" of at least {least:g}" if least > -math.inf else ""
    high = f" and less than {below:g}" if below < math.inf else ""
    example = _example(name, f"{usual:g}")
    wanted = f"{name} must be a finite number{low}{high}; got {shown(value)}. Use for example {example}."
    return number(value, wanted, lambda x: least <= x < below and math.isfinite(x))


def _example(name: str, usual: object) -> str:
    """What can be written for the setting of that name: "units" or "Dense units"."""
    *before, last = name.split()
    if not before:
        return f"{last}={usual}"
    return f"{before[0]}({last}={usual})" if len(before) == 1 and before[0][0].isupper() else f"{usual}"


def number(value: Any, wanted: str, fits: Callable[[float], bool]) -> float:
    """`value` as a Python float that `fits`; the errors say what is `wanted`.

    Raises
    ------
    TypeError
        If it is not a number, or a truth value.
    ValueError
        If it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(wanted)
    if not holds(value, fits):
        raise ValueError(wanted)
    return float(value)


def above_zero(value: Any, name: str, *, or_zero: bool = False) -> None:
    """Raise ValueError unless `value` is a finite number above 0; with `or_zero`, 0 is accepted too."""
    if not holds(value, lambda x: 0 < x < math.inf or (or_zero and x == 0)):
        low = "of at least 0" if or_zero else "above 0"
        raise ValueError(f"{name} must be a finite number {low}; got {shown(value)}.")


def in_range(
    value: Any, name: str, low: float, high: float, *, ends: str = "[)", symbol: str = "", remedy: str = ""
) -> None:
    """Raise ValueError unless `value` is a number between two others; `ends` says which ends belong to the range.

    The message calls the number by its `symbol`, which is the last word of its name by default.
    """
    above, below = ("<=" if end in "[]" else "<" for end in ends)
    if not holds(value, lambda x: _ordered(low, above, x) and _ordered(x, below, high)):
        wanted = f"{low:g} {above} {symbol or name.split()[-1]} {below} {high:g}"
        raise ValueError(f"{name} must satisfy {wanted}; got {shown(value)}.{remedy}")


def _ordered(x: float, sign: str, y: float) -> bool:
    return x <= y if sign == "<=" else x < y


def holds(value: Any, fits: Callable[[float], bool]) -> bool:
    """Whether `value` is a number that `fits`; truth values are no numbers."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and fits(float(value))
    except OverflowError:  # an integer that is too large for a float
        return False


def numbers_of_python(settings: Any) -> None:
    """Convert NumPy numbers among the fields to Python's: a NumPy number could change the dtype of the arrays it meets.

    Raises
    ------
    TypeError
        If the value of a bool field is not a truth value.
    """
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.type in ("bool", bool):
            object.__setattr__(settings, each.name, switch(value, f"{type(settings).__name__} {each.name}"))
        elif isinstance(value, Integral) and not isinstance(value, int):
            object.__setattr__(settings, each.name, int(value))
        elif isinstance(value, Real) and not isinstance(value, int):
            object.__setattr__(settings, each.name, float(value))


def switch(value: Any, name: str) -> bool:
    """`value` as a Python truth value; accepts NumPy's, but no numbers or strings."""
    if isinstance(value, bool) or (type(value).__name__.startswith("bool") and getattr(value, "ndim", None) == 0):
        return bool(value)
    meant = f" Use {name.split()[-1]}={bool(value)}." if holds(value, lambda x: x in (0.0, 1.0)) else ""
    raise TypeError(f"{name} must be True or False; got {shown(value)}.{meant}")


def is_several(value: Any) -> bool:
    """Whether `value` can be iterated over; a string or an array of shape () counts as a single value."""
    return isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) != 0


def refuse_other_sums(sums: Array, what: str, remedy: str) -> None:
    """Refuse rows of probabilities that do not sum to 1, up to rounding. Waits for the device; not if traced."""
    if is_traced(sums):
        return
    xp = namespace(sums)
    if not bool(xp.all(xp.abs(sums - 1.0) < 0.01)):
        raise ValueError(
            f"{what} needs probabilities that sum to 1 in each row; got sums from {float(xp.min(sums)):g} to "
            f"{float(xp.max(sums)):g}. {remedy}"
        )


def refuse_crossed(
    losses: Callable[[Array, Array], Array], target: Array, outputs: Shape, dtype: Any, name: str
) -> None:
    """Refuse a loss that crosses each output with each target: shapes (N, 1) and (N,) make (N, N), silently.

    Some losses compare the examples of a batch with each other on purpose. So it counts as a mistake only where targets
    as a column, shape (N, 1), make the losses independent of the other examples.

    Parameters
    ----------
    losses : callable
        Outputs, shape (N, ...), and targets to losses, shape (N,).
    target : array
        As the loss reads it.
    outputs : tuple of int
        The shape of one example's outputs.
    dtype : dtype
        That of the outputs.
    name : str
        That of the loss.
    """
    if target.ndim != 1 or not outputs or target.shape[0] < 2 or is_traced(target):
        return
    xp, rows = namespace(target), 3 * math.prod(outputs)
    wave = xp.sin(xp.arange(rows, dtype=dtype, device=device_of(target)))
    some, few = xp.reshape(wave, (3, *outputs)), xp.concat([target[:1], target[1:2] + 1, target[:1] + 3])
    try:
        crossed = not _alone(losses, some, few) and _alone(losses, some, few[:, None])
    except Exception:  # it takes other targets, or none that are traced
        return
    if crossed:
        raise ValueError(
            f"{name} compares the outputs of each example with the targets of all: y has shape ({target.shape[0]},), "
            f"and the outputs have shape ({target.shape[0]}, {', '.join(map(str, outputs))}). Pass y[:, None], or read "
            f"target[:, None] in the loss."
        )


def _alone(losses: Callable[[Array, Array], Array], outputs: Array, target: Array) -> bool:
    """Whether the loss of the first example is the same without the others."""
    first, together = float(losses(outputs[:1, ...], target[:1, ...])[0]), float(losses(outputs, target)[0])
    return math.isclose(first, together, rel_tol=1e-3, abs_tol=1e-6)


def existing(path: str | os.PathLike[str], what: str) -> Path:
    """The path of an existing file.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is none, or it is a folder.
    """
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{str(file)!r} is a folder; pass the path of {what}.")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(file)!r}; check the path.")
    return file


def refuse_text(sizes: Any, name: str) -> None:
    """Refuse the sizes of layers as text, such as "64,64"; the error has the line to write."""
    if isinstance(sizes, str):
        numbers = tuple(int(digits) for digits in re.findall(r"\d+", sizes)) or (100,)
        raise TypeError(
            f"{name} must be a sequence of integers, one per layer; got {shown(sizes)}. Write {name}={numbers}."
        )


REPAIR = "Remove or repair these entries."


def refuse_non_finite(x: Array, name: str, remedy: str = REPAIR) -> None:
    """Refuse NaN and infinity, and say where the first one is. Waits for the device."""
    if not _all_finite(x):
        raise ValueError(f"{name} contains NaN or infinity: {_first_non_finite(x)}. {remedy}")


def refuse_overflow(x: Array, source: Array, name: str, remedy: str = REPAIR) -> None:
    """As `refuse_non_finite`; also of values of `source` that are infinite in the narrower dtype of `x`."""
    if _all_finite(x):
        return
    refuse_non_finite(source, name, remedy)
    _refuse_narrowed(x, name)


def refuse_outside(x: Array, name: str, below: int | None) -> None:
    """Refuse integers below 0, or not below a bound, and say where the first one is. Waits for the device."""
    xp = namespace(x)
    if below is None or is_traced(x) or 0 in x.shape:
        return
    wrong = x < 0 if not xp.isdtype(x.dtype, "unsigned integer") else xp.zeros_like(x, dtype=xp.bool)
    if below <= xp.iinfo(x.dtype).max:
        wrong = wrong | (x >= below)
    if bool(xp.any(wrong)):
        position = _first(wrong)
        value = int(xp.reshape(x, (-1,))[position])
        raise ValueError(
            f"{name} must hold integers from 0 to {below - 1}; got {value} at {_at(position, x.shape)}. Renumber them, "
            f"or make the Embedding larger."
        )


def refuse_narrowed(x: Array, source: Array, name: str) -> None:
    """Refuse values of `source` that are infinite in the narrower dtype of `x`. Waits for the device."""
    xp = namespace(x)
    if x.dtype != source.dtype and not xp.isdtype(source.dtype, "bool"):
        lost = xp.isfinite(source) & ~xp.isfinite(x)
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
    return _at(_first(~namespace(x).isfinite(x)), x.shape)


def _first(wrong: Array) -> int:
    """The position of the first true entry of the flattened array."""
    xp = namespace(wrong)
    return int(xp.argmax(xp.reshape(xp.astype(wrong, xp.int32), (-1,))))


def _at(position: int, shape: Shape) -> str:
    """A position in words, by its index along each axis."""
    index: list[int] = []
    for size in reversed(shape):
        index.insert(0, position % size)
        position //= size
    if len(index) > 2:
        return f"index {tuple(index)}"
    return ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), index, strict=False))
