"""Whether a column has numbers or names, if the user does not say so."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.tables.arrow import arrow
from nnarray.tables.cells import is_no_number, is_text, parsed, text_of, without_dictionary
from nnarray.tables.text_format import MISSING

FEW = 20  # up to this many different integers are classes; this many different texts are never too many
MOST_CATEGORIES = 1_000  # per column


def numbers_in(column: Any) -> np.ndarray | None:
    """The entries of a column as float64 if it has numbers by default, else None."""
    if arrow().types.is_dictionary(column.type):
        if not is_text(column.type.value_type) or len(column.unique()) <= FEW:
            return None  # few numbers in a dictionary are names
        column = without_dictionary(column)
    x = parsed(column)
    if x is None or not is_text(column.type) or not np.isnan(x).all():
        return x
    return None if words_for_nothing(text_of(column)).keys() - MISSING else x  # "-" and "?" with no numbers are names


def words_for_nothing(text: Any) -> dict[str, int]:
    """The words for missing entries in a column of numbers, with their counts."""
    words = text.filter(is_no_number(text)).value_counts().to_pylist()
    return {word["values"]: word["counts"] for word in words if word["values"] is not None}


def too_many(count: int, known: int) -> bool:
    """Whether there are too many different values among the entries for categories."""
    return count > MOST_CATEGORIES or (count > FEW and 2 * count > known)
