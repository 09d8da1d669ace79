"""Made rows and images, on which a file is compared with the pipeline; some entries are missing or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnarray.apps.workflow.exporting.spellings import missing_words, spellings
from nnarray.tables.arrow import arrow
from nnarray.tables.columns import CategoryColumn, Column, NumberColumn, SkewedColumn
from nnarray.tables.dates import DateColumn
from nnarray.tables.text_format import TextFormat, as_meant

LEAST, MOST, IMAGES = 200, 2_000, 4
"""The numbers of rows, the latter for all spellings of categories, and of images."""
UNKNOWN = "a category of no row"
STEP = 9
"""Each so many rows, an entry is missing or unknown."""


def rows(columns: Sequence[Column], text: TextFormat, *, unknown: bool, least: int = 1) -> dict[str, Any]:
    """Entries by column, shape (N,) with N >= `least`, as the file takes them. With `unknown`, some are new.

    Missing are nan, "" and the words for a missing entry. Few categories come in all their spellings, many in some.
    """
    named = [column for column in columns if isinstance(column, CategoryColumn)]
    spelled = [2 * len(column.categories) * max(map(len, _forms(column, text))) for column in named]
    count = max(least, LEAST, *(2 * len(column.categories) for column in named), *(min(MOST, n) for n in spelled))
    rng = np.random.default_rng(0)
    made = {column.name: _entries(column, i, count, rng, text) for i, column in enumerate(columns)}
    for i, column in enumerate(columns):
        if unknown and isinstance(column, CategoryColumn):
            made[column.name][np.arange(count) % STEP == (i + 2) % STEP] = UNKNOWN
    return made


def table_of_rows(made: dict[str, Any], columns: Sequence[Column], text: TextFormat) -> Any:
    """The rows as a table of the pipeline, as a text file of them is read."""
    nothing = {column.name: missing_words(text, _names(column, text)) for column in columns}
    cells = {name: [None if x != x or x in nothing[name] else x for x in each.tolist()] for name, each in made.items()}
    return as_meant(arrow().table(cells), text, 0)


def images(shape: tuple[int, ...], least: int = 1) -> np.ndarray:
    """Some images as bytes, at least so many."""
    return np.random.default_rng(0).integers(0, 256, (max(least, IMAGES), *shape), dtype=np.uint8)


def _names(column: Column, text: TextFormat) -> list[str]:
    """All texts that are categories."""
    every = (*column.categories, *column.others) if isinstance(column, CategoryColumn) else ()
    return list(spellings(every, text)) if every else []


def _entries(column: Column, i: int, count: int, rng: np.random.Generator, form: TextFormat) -> Any:
    number = np.arange(count)
    missing = number % STEP == (i + 1) % STEP
    z = rng.normal(size=count)
    if isinstance(column, NumberColumn):
        x = column.mean + column.scale * z
        x = column.unit * np.sinh(x) if isinstance(column, SkewedColumn) else x
        return np.where(missing, np.nan, x)
    if isinstance(column, CategoryColumn):
        text = _spelled(column, count, rng, form)
    else:
        text = _dates(column, z) if isinstance(column, DateColumn) else np.full(count, "", dtype=object)
    words = np.asarray(missing_words(form, _names(column, form)), dtype=object)
    text[missing] = words[np.arange(np.count_nonzero(missing)) % len(words)]
    return text


def _forms(column: CategoryColumn, text: TextFormat) -> list[list[str]]:
    """The spellings of each category."""
    forms: list[list[str]] = [[] for _ in column.categories]
    for form, k in spellings(column.categories, text).items():
        forms[k].append(form)
    return [each or [""] for each in forms]


def _spelled(column: CategoryColumn, count: int, rng: np.random.Generator, text: TextFormat) -> Any:
    """Each category once in each round, every time in another spelling."""
    forms, drawn, size = _forms(column, text), rng.permutation(count), len(column.categories)
    return np.asarray([forms[k % size][k // size % len(forms[k % size])] for k in drawn.tolist()], dtype=object)


def _dates(column: DateColumn, z: np.ndarray) -> Any:
    """Around the dates of the training; with a zone, at several offsets."""
    days = np.round(column.days[0] + 3 * column.days[1] * z)
    seconds = np.arange(len(z)) * 7_919 % 86_400 * (column.timed or column.zone)
    first = np.datetime64(column.first, "D")
    ends = [float((np.datetime64(each, "D") - first).astype(np.int64)) for each in ("0001-01-03", "9999-12-29")]
    moments = first + np.clip(days, ends[0], ends[1]).astype(np.int64) * np.timedelta64(
        1, "D"
    )  # years as dates have them
    texts = np.datetime_as_string(moments.astype("M8[s]") + seconds.astype("m8[s]")).astype(object)
    if not column.timed and not column.zone:
        return np.asarray([each[:10] for each in texts], dtype=object)
    zones = ("Z", "+05:30", "-08", "+0015", "-0330", "+00:00") if column.zone else ("",)
    return np.asarray([each + zones[k % len(zones)] for k, each in enumerate(texts)], dtype=object)
