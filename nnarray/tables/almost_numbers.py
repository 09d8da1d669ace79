"""Columns of text that are almost numbers, with advice for the user."""

from __future__ import annotations

import re
from typing import Any

from nnarray.tables.arrow import arrow
from nnarray.tables.cells import (
    Rows,
    first_text,
    is_no_number,
    is_text,
    listed,
    row_number,
    shown,
    text_of,
    without_dictionary,
)
from nnarray.tables.kinds import FEW, too_many
from nnarray.tables.text_format import BLANKS, NUMBER

OFTEN = 0.9  # the fraction of numbers in a column above which the other entries are faults, not categories
HANDFUL = 5  # different numbers with one or two words among them are hardly names

OTHERWISE = (  # as other countries write numbers
    rf"\A[+-]?([0-9]{{1,3}}([.,'{BLANKS}][0-9]{{3}})+([.,][0-9]+)?|[0-9]*[.,][0-9]+)\z"
)

MINUS = "\u2212"
NEGATIVE = rf"\A({MINUS}[0-9.,]+|\([0-9.,]+\))\z"  # with a typographic minus sign, or in parentheses
BESIDE = (
    re.compile(  # a currency's sign or code, or a unit after the number, which may be written as other countries do
        rf"([^\w\s#]{{0,2}}|[A-Z]{{3}})\s*[+-]?\d(?:[\d.,'{BLANKS}]*\d)?\s*(\D*)"
    )
)


def almost_numbers(column: Any, name: str, rows: Rows, *, target: bool = False) -> str:
    """The fault and the remedy for a column of text that is almost numbers; empty if it has names."""
    if not is_text(without_dictionary(column).type):
        return ""
    compute, text = arrow().compute, text_of(column)
    known, numbers, written = _as_written(text)
    fraction = (compute.sum(written).as_py() or 0) / max(len(known), 1)
    many = len(known.unique()) > FEW and (2 * fraction > 1 or len(known.filter(compute.invert(written)).unique()) <= 2)
    i = first_text(text) if fraction >= OFTEN or many else None
    if i is None:
        return ""
    names = f"If the entries are names: --categories {name}, or categories=[{name!r}]. "
    drop = f"Otherwise correct them, or leave the column out: --drop {name}, or drop=[{name!r}]."
    if target:
        names, drop = "If the entries are classes: --task classify, or task='classify'. ", "Otherwise correct them."
    elif too_many(len(known.unique()), len(known)):
        names = ""
    odd: list[str] = known.filter(compute.invert(numbers)).unique().to_pylist()
    return (
        f"column {name!r} has numbers, except in {len(known) - compute.sum(numbers).as_py()} of {len(known)} entries: "
        f"row {row_number(i, rows)} has {shown(text, i)}. {_remedy(odd)} {names}{drop}"
    )


def _as_written(text: Any) -> tuple[Any, Any, Any]:
    """The entries that are not missing; which of them are numbers; and which are in any country's format."""
    compute = arrow().compute
    known = text.filter(compute.invert(is_no_number(text))).drop_null()
    numbers = compute.match_substring_regex(known, NUMBER)
    otherwise = compute.match_substring_regex(known, f"{OTHERWISE}|{NEGATIVE}")
    return known, numbers, compute.or_(numbers, otherwise)


def mixture(column: Any, taken: str) -> str:
    """A note on names among numbers, if there are so many numbers that the names may be missing entries."""
    if not is_text(without_dictionary(column).type):
        return ""
    known, _, written = _as_written(text_of(column))
    odd: list[str] = known.filter(arrow().compute.invert(written)).unique().to_pylist()
    count, different = arrow().compute.sum(written).as_py() or 0, len(known.unique()) - len(odd)
    if not odd or not (2 * count > len(known) or (len(odd) <= 2 and different > HANDFUL)):
        return ""
    numbers = f"{taken} though {count} of {len(known)} entries are numbers"
    return f"{numbers}, and others are {listed(odd, 5)}. {as_missing(odd)}"


def as_missing(words: list[str]) -> str:
    """How to treat words as missing."""
    words = [word for word in words if "," not in word][:FEW]
    if not words:
        return "They contain commas, so use TextFormat(missing=...) instead of --missing."
    return f"If this means a missing entry: --missing {_typed(','.join(words))}, or TextFormat(missing={words!r})."


def _typed(text: str) -> str:
    """The text as typed in a shell, always in quotes."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def beside(values: list[str]) -> str:
    """The text before or after the numbers of a column, if it is the same in all entries."""
    parts = {match.groups() if (match := BESIDE.fullmatch(value)) else None for value in values}
    before, after = next(iter(parts)) or ("", "")
    if len(parts) > 1 or not (before or after):
        return ""
    return f": numbers with {(before or after)!r} added, such as {values[0]!r} (write the numbers only)"


def _remedy(odd: list[str]) -> str:
    """How to read numbers in another format, and words for missing entries."""
    commas = [text for text in odd if re.match(OTHERWISE.replace(r"\z", r"\Z"), text)]
    if negative := [text for text in odd if re.match(NEGATIVE.replace(r"\z", r"\Z"), text)]:
        return f"{negative[0]!r} is a negative number: write it as '-{negative[0].strip('()' + MINUS)}'."
    if not commas:
        return as_missing(odd)
    remedies: list[str] = []
    points = any("." in text and (text.rfind(".") < text.rfind(",") or text.count(".") > 1) for text in commas)
    if points:
        remedies = [
            "If the decimal mark is a comma: --decimal ',' --thousands '.', or TextFormat(decimal=',', thousands='.')."
        ]
    elif all("," in text and re.fullmatch(r"[+-]?\d*,\d+", text) for text in commas):
        remedies.append("If the decimal mark is a comma: --decimal ',', or TextFormat(decimal=',').")
    for mark in (",", "'"):
        if all(re.fullmatch(rf"[+-]?\d{{1,3}}({mark}\d{{3}})+(\.\d+)?", text) for text in commas):
            remedies.append(
                f"If {mark!r} separates thousands: --thousands {_typed(mark)}, or TextFormat(thousands={mark!r})."
            )
    if all(re.fullmatch(rf"[+-]?\d{{1,3}}([{BLANKS}]\d{{3}})+([.,]\d+)?", text) for text in commas):
        remedies.append("If a blank separates thousands: --thousands ' ', or TextFormat(thousands=' ').")
    words = [text for text in odd if not re.search(r"\d", text)]
    how = " ".join(remedies) or "They have several formats."
    return f"{how} {as_missing(words)}" if words else how
