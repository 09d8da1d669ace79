"""Groups of parameters that are trained with settings of their own, chosen by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from nnarray.checks import in_range
from nnarray.functional.layout import Layout
from nnarray.names import named, shown

SETTINGS = ("lr", "weight_decay")


@dataclass(frozen=True)
class Group:
    """Parameters whose names fit a pattern, and what is other for them; None is the optimizer's own.

    A pattern is a name, "0.weight", or a layer, "0" or "encoder"; `*` stands for any letters, `?` for one.
    """

    pattern: str
    lr: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        for name in SETTINGS:
            value: Any = getattr(self, name)
            if value is not None:
                in_range(value, f"groups[{self.pattern!r}][{name!r}]", 0, math.inf)
                object.__setattr__(self, name, float(value))

    def fits(self, path: Sequence[str]) -> bool:
        """Whether it is a parameter of this path, or one inside of a layer that fits."""
        return fits(path, self.pattern)


def fits(path: Sequence[str], pattern: str) -> bool:
    """Whether a pattern fits the parameter of this path, or a layer around it."""
    names = [".".join(path[:end]) for end in range(1, len(path) + 1)]
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def groups_of(given: Any) -> tuple[Group, ...]:
    """Groups out of a mapping of patterns to settings.

    Raises
    ------
    TypeError, ValueError
        If it is none, or a setting is unknown or out of its range; the message names the pattern.
    """
    if isinstance(given, tuple) and all(isinstance(each, Group) for each in given):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f"groups must map patterns of names to settings, such as {{'head.*': {{'lr': 0.01}}}}; got {shown(given)}."
        )
    return tuple(_group(pattern, settings) for pattern, settings in given.items())


def _group(pattern: Any, settings: Any) -> Group:
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern of groups is a text, such as 'head.*'; got {shown(pattern)}.")
    if not isinstance(settings, Mapping) or not settings:
        raise TypeError(f"groups[{pattern!r}] must be settings, such as {{'lr': 0.01}}; got {shown(settings)}.")
    for name, value in settings.items():
        named(name, dict.fromkeys(SETTINGS), f"setting of groups[{pattern!r}]")
        if value is None:
            raise TypeError(
                f"groups[{pattern!r}][{name!r}] must be a number; got None. Leave it out to keep the optimizer's own."
            )
    return Group(pattern, **settings)


def settings_in(groups: Sequence[Group], layout: Layout, setting: str) -> dict[str, float]:
    """The values of a setting for the parameters that have one of their own, by name.

    Raises
    ------
    ValueError
        If a pattern fits no parameter, or two give one parameter different values.
    """
    found: dict[str, float] = {}
    for group in groups:
        fitting = [slot for slot in layout.slots if group.fits(slot.path)]
        if not fitting:
            names = ", ".join(slot.name for slot in layout.slots)
            raise ValueError(f"groups: {group.pattern!r} fits no parameter; the model has {names}.")
        value: float | None = getattr(group, setting)
        if value is None:
            continue
        for slot in fitting:
            if found.setdefault(slot.name, value) != value:
                raise ValueError(
                    f"groups give {slot.name!r} the {setting} {found[slot.name]:g} and, by {group.pattern!r}, "
                    f"{value:g}. Make the patterns narrower."
                )
    return found
