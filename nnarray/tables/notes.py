"""Notes on a column for the user: missing entries, and whether it may only name the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.tables.cells import is_missing, is_text, parsed, text_of
from nnarray.tables.kinds import FEW, words_for_nothing

ALMOST = 0.95  # fraction of different integers: some may be repeated or missing
NUMBERS = ("number", "skewed number")
NAMES = (*NUMBERS, "category")  # kinds that may name the rows; dates may all differ and still have information
CODES, OFTEN, APART = 100, 10, 3  # integers that may be names: at most so many, each so often, so far apart
LEAST = 10  # smallest number of numbered rows, as 1, 2, 3 may be a coincidence


def notes_on(name: str, column: Any, kind: str) -> list[str]:
    """Notes on words taken as missing in a column, and on whether it may name the rows."""
    x = parsed(column) if kind in NUMBERS else None
    text = text_of(column) if x is None or is_text(column.type) else None
    words = words_for_nothing(text) if text is not None and x is not None else {}
    count, missing = len(column), int((is_missing(column) if x is None else np.isnan(x)).sum())
    notes = [f"{word!r} is taken as missing in {n} of {count} entries of column {name!r}" for word, n in words.items()]
    if others := missing - sum(words.values()):
        notes.append(f"{others} of {count} entries of column {name!r} are missing")
    if x is not None and (codes := _codes(x)):
        notes.append(
            f"column {name!r} has {codes} different integers, and is taken as numbers; if they are names, such as "
            f"postcodes: --categories {name}"
        )
    if kind in NAMES and (naming := _all_different(text) if x is None else _numbering(x)):
        notes.append(f"column {name!r} {naming}; if it only names the rows, leave it out: --drop {name}")
    return notes


def _codes(x: np.ndarray) -> int:
    """How many different integers there are, if they are few and far apart, as postcodes are; else 0.

    Those of a count, such as rooms, stand close together.
    """
    x = x[~np.isnan(x)]
    if (x != np.floor(x)).any():
        return 0
    different = len(np.unique(x))
    apart = x.size > 0 and x.max() - x.min() >= APART * different
    return different if apart and 3 <= different <= CODES and OFTEN * different <= len(x) else 0


def _all_different(text: Any) -> str:
    return "is different in every row" if len(text) > 2 and len(text.unique()) == len(text) else ""


def _numbering(x: np.ndarray) -> str:
    """Whether a column has a different integer in every row, or in nearly every row."""
    n, x = len(x), x[~np.isnan(x)]
    different = len(np.unique(x))
    if n < LEAST or different < ALMOST * n or (x != np.floor(x)).any():
        return ""
    spread = x.max() - x.min() + 1
    if different == n:
        return "numbers the rows" if spread == n else "has a different integer in every row" if n > FEW else ""
    return "has a different integer in nearly every row" if different == len(x) > FEW or spread <= 2 * n else ""
