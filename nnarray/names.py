"""Names looked up, with an error that lists them and guesses the one that was meant; and bytes in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def named(name: object, table: Mapping[str, T], kind: str) -> T:
    """The entry of `table` called `name`.

    Raises
    ------
    ValueError
        If there is none: the message lists the names and guesses the nearest.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    near = difflib.get_close_matches(str(name).lower(), table, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {name!r}; use one of {', '.join(table)}.{guess}")


def memory(size: int) -> str:
    """Bytes in words: "2.3 MiB"."""
    power = min(max(size.bit_length() - 1, 0) // 10, 4)
    return f"{size / 2 ** (10 * power):.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}" if power else f"{size} B"
