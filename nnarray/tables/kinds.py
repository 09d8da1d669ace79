"""Whether a column is of numbers or of names, where nobody says so."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.tables.arrow import arrow
from nnarray.tables.cells import NO_NUMBER, is_text, parsed, text_of, without_dictionary
from nnarray.tables.text_format import MISSING

FEW = 20  # so many different integers are classes, and so many different texts are never too many
MOST_CATEGORIES = 1_000  # of one column


def numbers_in(column: Any) -> np.ndarray | None:
    """The entries of a column that is numbers where nobody says so, float64; None of one that is not."""
    if arrow().types.is_dictionary(column.type):
        if not is_text(column.type.value_type) or len(column.unique()) <= FEW:
            return None  # few numbers are names, as whoever made the dictionary said
        column = without_dictionary(column)
    x = parsed(column)
    if x is None or not is_text(column.type) or not np.isnan(x).all():
        return x
    return None if words_for_nothing(text_of(column)).keys() - MISSING else x  # "-" and "?" alone are names


def words_for_nothing(text: Any) -> dict[str, int]:
    """The words that stand for nothing where numbers should be, and how often they do."""
    words = text.filter(arrow().compute.is_in(text, value_set=arrow().array(NO_NUMBER))).value_counts().to_pylist()
    return {word["values"]: word["counts"] for word in words if word["values"] is not None}


def too_many(count: int, known: int) -> bool:
    """Whether so many different values of so many entries are of no use as categories."""
    return count > MOST_CATEGORIES or (count > FEW and 2 * count > known)
