"""The texts that a file knows: how the categories of a column are written, and which words are missing entries."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Context, Decimal

from nnarray.tables.arrow import arrow
from nnarray.tables.cells import DECIMAL, TRUTH, positions
from nnarray.tables.text_format import BLANKS, TextFormat, as_meant, doubtful

LONGEST = 30  # digits of a number that is written with an exponent
GROUPS = r"(?<=[0-9])(?=([0-9]{3})+\Z)"


def missing_words(text: TextFormat, names: Sequence[str] = ()) -> list[str]:
    """The words for a missing entry in text files, "" among them; a category of this name is that category."""
    return [word for word in dict.fromkeys(["", *text.words]) if word not in names]


def spellings(categories: Sequence[str], text: TextFormat) -> dict[str, int]:
    """Texts that a table would have for one of the categories, with its number: 1.0 and +1 are 1, and True is true."""
    forms = list(dict.fromkeys(raw for name in categories for form in _forms(name) for raw in _raw(form, text)))
    column = arrow().chunked_array([forms], "string")
    column = column.filter(arrow().compute.invert(doubtful(column, text)))
    meant = as_meant(arrow().table({"": column}), text, 0).column(0)
    numbers, _ = positions(meant, categories)
    return {form: int(k) for form, k in zip(column.to_pylist(), numbers, strict=True) if k >= 0}


def _forms(name: str) -> Iterator[str]:
    """Ways to write a category in the usual format; which of them are this category alone is asked later."""
    yield name
    lower = name.lower()
    if lower in TRUTH:
        yield from _truth()
        lower = str(int(lower == "true"))
    if re.fullmatch(DECIMAL, lower):
        yield from _truth() if Decimal(lower) in (0, 1) else ()
        yield from _numbers(Decimal(lower))


def _truth() -> Iterator[str]:
    for word in sorted(TRUTH):
        yield from map("".join, itertools.product(*zip(word, word.upper(), strict=True)))


def _numbers(x: Decimal) -> Iterator[str]:
    """10, 10., 10.0, 10.00, each also with +; and 1e1, 1e+1, 1e+01, also with E."""
    x = x.normalize(Context(prec=80))
    sign, digits, exponent = x.as_tuple()
    assert isinstance(exponent, int)
    minus, power = "-" * sign, exponent + len(digits) - 1
    first, *rest = map(str, digits)
    mantissa = f"{minus}{first}{'.' if rest else ''}{''.join(rest)}"
    tens = dict.fromkeys([str(power), f"{power:+}", f"{power:+03}"])
    yield from (f"{mantissa}{e}{ten}" for e in "eE" for ten in tens)
    if abs(power) > LONGEST:
        return
    whole = f"{x:f}"
    more = ("0", "00") if "." in whole else (".", ".0", ".00")
    for form in (whole, *(whole + end for end in more)):
        yield from (form,) if minus else (form, f"+{form}")


def _raw(form: str, text: TextFormat) -> Iterator[str]:
    """The form itself, and as a table of this format has it."""
    yield form
    if text.dates and (date := _date(form, text.dates)):
        yield date
    if not re.fullmatch(DECIMAL, form) or (text.decimal, text.thousands) == (".", ""):
        return
    whole, mark, rest = form.partition(".")
    end = f"{text.decimal}{rest}" if mark else ""
    between = tuple(BLANKS) if text.thousands in tuple(BLANKS) else (text.thousands,)
    yield whole + end
    yield from (re.sub(GROUPS, each, whole) + end for each in between if each)


def _date(form: str, written: str) -> str:
    try:
        return datetime.fromisoformat(form).strftime(written)
    except ValueError:
        return ""
