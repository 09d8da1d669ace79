"""Checks of saved columns and targets when they are read back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from nnarray.checks import holds
from nnarray.tables.cells import listed

T = TypeVar("T")


def of_kind(data: object, kinds: Mapping[str, Callable[[object, str], T]], what: str) -> T:
    """The entry "kind", checked."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{what} must be of kind {' or '.join(kinds)}; got {_brief(kind)}.")
    return kinds[kind](data, what)


def object_of(data: object, keys: set[str], what: str) -> dict[str, Any]:
    """An object with these entries and no others."""
    if not isinstance(data, dict) or data.keys() != keys:
        got = _brief(list(data) if isinstance(data, dict) else data)
        raise ValueError(f"{what} must have the entries {', '.join(sorted(keys))} and no others; got {got}.")
    return data


def items_of(data: object, what: str) -> list[Any]:
    """The items of a list."""
    if not isinstance(data, list):
        raise ValueError(f"{what} must be a list; got {_brief(data)}.")
    return data


def string(data: object, what: str) -> str:
    """A string that is not empty."""
    try:
        if isinstance(data, str) and data.encode():
            return data
    except UnicodeEncodeError:  # an incomplete character, which is not possible in a file
        pass
    raise ValueError(f"{what} must be text, and not empty; got {_brief(data)}.")


def strings(data: object, what: str, least: int, most: float = math.inf) -> tuple[str, ...]:
    """Different strings, whose number is between two limits."""
    items = tuple(string(item, f"each of {what}") for item in items_of(data, what))
    if not least <= len(items) <= most or len(set(items)) < len(items):
        raise ValueError(f"{what} must be at least {least}, at most {most:g}, and different; got {listed(items)}.")
    return items


def finite(data: object, what: str) -> float:
    """A number that is neither NaN nor infinite."""
    if isinstance(data, bool) or not holds(data, math.isfinite):
        raise ValueError(f"{what} must be a finite number; got {_brief(data)}.")
    return float(cast(float, data))


def positive(data: object, what: str) -> float:
    """A number above 0."""
    number = finite(data, what)
    if number <= 0:
        raise ValueError(f"{what} must be more than 0; got {number}.")
    return number


def flag(data: object, what: str) -> bool:
    """A truth value."""
    if not isinstance(data, bool):
        raise ValueError(f"{what} must be true or false; got {_brief(data)}.")
    return data


def _brief(data: object) -> str:
    """A short description of a value of any size."""
    if isinstance(data, (str, float, bool)) or data is None:
        return repr(data[:60] if isinstance(data, str) else data)
    return f"a {type(data).__name__}"
