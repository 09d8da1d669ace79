"""Checks of settings that come as JSON: a check takes a value and gives the checked one, or says what is wanted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from nnarray.names import canonical, shown

Check = Callable[[Any], Any]


class Wrong(ValueError):
    """A setting, or a part of a message, that is refused; `at` is its path, such as "network.layers.0.units"."""

    def __init__(self, reason: str, at: str = "") -> None:
        super().__init__(f"{at} {reason}" if at else reason)
        self.reason, self.at = reason, at

    def below(self, name: str) -> Wrong:
        """The same error, one level further up in the tree."""
        return Wrong(self.reason, f"{name}.{self.at}" if self.at else name)


def at(name: str, check: Check, value: Any) -> Any:
    """The checked value of the part with this name."""
    try:
        return check(value)
    except Wrong as wrong:
        raise wrong.below(name) from None


def whole(least: int, most: int) -> Check:
    """An integer in a range; a float without a fraction counts as one, as JSON has one kind of numbers."""

    def check(value: Any) -> int:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise Wrong(f"must be an integer from {least} to {most}; got {shown(value)}.")
        return number

    return check


def number(least: float = -1e6, most: float = 1e6) -> Check:
    """A finite number in a range."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise Wrong(f"must be a number from {least:g} to {most:g}; got {shown(value)}.")
        return float(value)

    return check


def switch(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false; got {shown(value)}.")
    return value


def text(most: int) -> Check:
    """A text of limited length."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise Wrong(f"must be a text of at most {most} characters; got {shown(value)}.")
        return value

    return check


def one_of(table: Mapping[str, Any] | Sequence[str], kind: str) -> Check:
    """A name of a table."""
    names = table if isinstance(table, Mapping) else dict.fromkeys(table)

    def check(value: Any) -> str:
        try:
            return canonical(value, names, kind)
        except ValueError as error:
            raise Wrong(f"is refused: {error}") from None

    return check


def optional(inner: Check) -> Check:
    """As another check; null is accepted too."""
    return lambda value: None if value is None else inner(value)


def several(inner: Check, most: int, least: int = 0) -> Check:
    """A list, as a tuple."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise Wrong(
                f"must be a list of {f'{least} to ' if least else 'at most '}{most} entries; got {shown(value)}."
            )
        return tuple(at(str(i), inner, each) for i, each in enumerate(value))

    return check


def numbers_by_name(value: Any) -> dict[str, Any]:
    """Options: numbers, truth values or null by name."""
    if not isinstance(value, Mapping) or len(value) > 20:
        raise Wrong(f"must be an object of numbers by name; got {shown(value)}.")
    checks = {True: switch, False: optional(number())}
    return {str(name): at(str(name), checks[isinstance(each, bool)], each) for name, each in value.items()}


def object_of(value: Any, known: Sequence[str]) -> Mapping[str, Any]:
    """An object without other names than the known ones."""
    if not isinstance(value, Mapping):
        raise Wrong(f"must be an object; got {shown(value)}.")
    for name in value:
        if name not in known:
            raise Wrong(f"is not known; use one of {', '.join(known)}.", str(name))
    return value


def from_json(written: str | bytes) -> Any:
    """What a JSON text says; NaN and infinity are not JSON.

    Raises
    ------
    Wrong
        If the text is anything else.
    """
    try:
        return json.loads(written, parse_constant=_refuse_constant)
    except Wrong:
        raise
    except (ValueError, RecursionError) as error:
        raise Wrong(f"is not JSON: {type(error).__name__}.", "the text") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Wrong(f"holds {name}, which is not a number.", "the text")


def finite(value: float) -> float | None:
    """The number, rounded to what a page shows; None if it is NaN or infinite, as JSON has neither."""
    return float(f"{value:.9g}") if math.isfinite(value) else None
