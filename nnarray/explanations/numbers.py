"""Numbers and sums as they stand in a line of arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from nnarray.backends import namespace
from nnarray.explanations.text import rounded
from nnarray.typing import Array

MOST_TERMS = 6
"""Longer sums show their first terms and how many there are."""


def products(a: Array, b: Array, more: Sequence[str] = ()) -> str:
    """The products of two vectors, entry by entry, and the other terms, with plus signs between them."""
    terms = (f"{signed(a[k])} · {signed(b[k])}" for k in range(a.shape[0]))
    return shortened(chain(terms, map(signed, more)), a.shape[0] + len(more))


def total(values: Array) -> str:
    """The entries of a vector with plus signs between them."""
    return shortened((signed(values[k]) for k in range(values.shape[0])), values.shape[0])


def shortened(terms: Iterable[str], count: int) -> str:
    """All terms, or the first ones and how many there are: only those are read that are shown."""
    if count <= MOST_TERMS:
        return " + ".join(terms)
    return f"{' + '.join(islice(terms, MOST_TERMS - 2))} + ... ({count} terms)"


def few(places: Sequence[int]) -> Sequence[int]:
    """All places, or the first ones if there are many."""
    return places if len(places) <= MOST_TERMS else places[: MOST_TERMS - 2]


def vector(x: Array) -> str:
    """The first entries of a vector in brackets."""
    shown = [number(x[k]) for k in range(min(x.shape[0], MOST_TERMS - 2))]
    return f"({', '.join(shown)}{', ...' if len(shown) < x.shape[0] else ''})"


def number(x: Array | float) -> str:
    """A number, or an array of one, with the digits that are shown."""
    return rounded(float(x))


def at(x: Array) -> str:
    """The first entry."""
    return number(x[(0,) * x.ndim])


def signed(x: Array | float | str) -> str:
    """In brackets if there is a minus before it."""
    text = x if isinstance(x, str) else number(x)
    return f"({text})" if text.startswith("-") else text


def place(*index: int) -> str:
    """An index, such as [0, 2]."""
    return f"[{', '.join(map(str, index))}]"


def first(x: Array) -> str:
    """The index of the first entry, such as [0, 0]."""
    return place(*(0,) * x.ndim)


def near(wanted: float, x: Array | float) -> bool:
    """Whether a number is this one, in the digits that are shown."""
    return math.isclose(wanted, float(x), rel_tol=1e-2, abs_tol=1e-6)


def rows_of(x: Array) -> Array:
    """All axes but the last as one, shape (rows, features)."""
    return namespace(x).reshape(x, (-1, x.shape[-1]))


def letters(x: Array) -> str:
    """The names of all axes but the last: "n" for the examples, "n, t" with positions."""
    return ", ".join(("n", "t", *(f"t{k}" for k in range(2, x.ndim - 1)))[: x.ndim - 1])


def counted(mask: Array | None, length: int) -> list[int]:
    """The positions of the first example that count."""
    return [t for t in range(length) if mask is None or bool(mask[0, t])]
