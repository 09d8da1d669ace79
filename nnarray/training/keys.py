"""Keys of settings, under which compiled steps are kept for later trainings."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any

from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.registry import TABLE


class _Foreign(TypeError):
    """A part whose meaning its fields need not say, such as a function or a class of the user's."""


def key_of(*settings: Any) -> Hashable | None:
    """A key that is equal only if all settings are; None if a part of them is not this package's own.

    A class or a function of the user's may read what changes between two trainings, such as a global number. So no key
    has one. Activations are found by name, so their table is a part of the key. Equal numbers of different types have
    different keys: 1 and 1.0 differ in the dtype of a result, and 0.0 and -0.0 in their sign.

    >>> key_of(1) == key_of(1.0), key_of(lambda x: x)
    (False, None)
    """
    try:
        return _key(settings), (*FUNCTIONS.values(),), (*TABLE.values(),)
    except _Foreign:
        return None


def _key(x: Any) -> Hashable:
    kind: Any = type(x)
    if x is None or kind in (bool, int, str, bytes):
        return kind, x
    if kind is float:
        return kind, x.hex()
    if kind in (dict, MappingProxyType):
        return dict, *((_key(name), _key(each)) for name, each in x.items())  # in order: that of parameters in theta
    if kind in (set, frozenset):
        return kind, frozenset(map(_key, x))
    if kind in (tuple, list) or (is_ours(kind) and issubclass(kind, tuple)):
        return kind, *map(_key, x)
    if is_ours(kind) and is_dataclass(x):
        return kind, *((each.name, _key(getattr(x, each.name))) for each in fields(x))
    raise _Foreign(kind.__name__)


def is_ours(kind: type) -> bool:
    """Whether a class is part of this package."""
    return kind.__module__.startswith("nnarray.")
