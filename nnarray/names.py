"""Looking up names, with an error that lists the known ones and suggests the nearest; and how messages show values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from unicodedata import normalize

T = TypeVar("T")

Also = Mapping[str, str | None]
"""Other names in use for the entries of a table; None for names of things that the table does not have."""


def also(*, absent: str = "", **others: str) -> Also:
    """A table of other names for each entry, separated by blanks; `absent` are names without an entry."""
    return {other: entry for entry, words in others.items() for other in words.split()} | dict.fromkeys(absent.split())


def named(name: object, table: Mapping[str, T], kind: str, also: Also | None = None) -> T:
    """The entry of `table` called `name`; raises as `canonical`."""
    return table[canonical(name, table, kind, also)]


def canonical(name: object, table: Mapping[str, Any], kind: str, also: Also | None = None) -> str:
    """The name as the table spells it, by the rules of `spelled`.

    Raises
    ------
    ValueError
        If there is no such name; the message lists the names and suggests the nearest.
    """
    spelling = spelled(name, table, also)
    if spelling is not None:
        return spelling
    known, wanted = _spellings(table, also or {}), plain(name)
    if wanted in known and known[wanted][1] is None:
        raise ValueError(f"there is no {kind} {shown(name)} here; use one of {', '.join(table)}.")
    present = [each for each, (_, entry) in known.items() if entry]
    close = difflib.get_close_matches(wanted, present, n=3, cutoff=0.75)
    near = sorted(close, key=lambda each: _slips(each, wanted))
    guess = f" Did you mean {known[near[0]][0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {shown(name)}; use one of {', '.join(table)}.{guess}")


def _slips(meant: str, written: str) -> int:
    """How many letters are missing, too many, wrong, or swapped with the next one: the optimal string alignment."""
    before, row = [], [*range(len(written) + 1)]
    for i, letter in enumerate(meant, 1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(written, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other)))
            if i > 1 and j > 1 and (letter, other) == (written[j - 2], meant[i - 2]):
                row[j] = min(row[j], earlier[j - 2] + 1)
    return row[-1]


def spelled(name: object, table: Mapping[str, Any], also: Also | None = None) -> str | None:
    """The name as the table spells it; None if there is no such name.

    With a table of other names, these are accepted too, and case, spaces, dots, _ and - are ignored.
    """
    if isinstance(name, str) and name in table:
        return name
    return None if also is None else _spellings(table, also).get(plain(name), (None, None))[1]


def _spellings(table: Mapping[str, Any], also: Also) -> dict[str, tuple[str, str | None]]:
    """Each name and its entry, by the plain spelling of the name."""
    others = {name: entry for name, entry in also.items() if entry is None or entry in table}
    return {plain(name): (name, entry) for name, entry in (others | {entry: entry for entry in table}).items()}


def converted(name: str, dtype: str = "int32", of: str = "") -> str:
    """The line that converts an array, or a part `of` it, for messages. It works with every library as it stands."""
    return f"{name} = nn.namespace({name}).astype({of or name}, nn.namespace({name}).{dtype})"


def plain(name: object) -> str:
    """The letters and digits of a name, in lower case; full-width letters count as usual ones."""
    return "".join(filter(str.isalnum, normalize("NFKC", name).lower())) if isinstance(name, str) else ""


def shown(value: Any) -> str:
    """A value as messages show it; for a long one, such as data, its type and size."""
    kind, shape = type(value).__name__, getattr(value, "shape", None)
    if hasattr(value, "ndim") and isinstance(shape, tuple) and math.prod(shape) > 10:
        return f"{kind} of shape {tuple(shape)}"
    if isinstance(value, list | tuple | dict | set) and len(value) > 10:
        return f"{kind} of {len(value)} entries"
    text = repr(value)
    if type(value) in (list, tuple):
        inner = ", ".join(map(shown, value)) + ("," if kind == "tuple" and len(value) == 1 else "")
        text = f"[{inner}]" if kind == "list" else f"({inner})"
    return text if len(text) <= 80 else f"{text[:77]}..."


def memory(size: int) -> str:
    """A number of bytes as text, such as "2.3 MiB"."""
    power = min(max(size.bit_length() - 1, 0) // 10, 4)
    return f"{size / 2 ** (10 * power):.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}" if power else f"{size} B"


def by_name(*functions: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Functions in a table, each under its own name."""
    return {function.__name__: function for function in functions}
