"""Made rows and images, on which a file is compared with the pipeline; some entries are missing or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnarray.tables.arrow import arrow
from nnarray.tables.columns import CategoryColumn, Column, NumberColumn, SkewedColumn
from nnarray.tables.dates import DateColumn

LEAST, IMAGES = 50, 4
"""The numbers of rows and of images."""
UNKNOWN = "a category of no row"
STEP = 9
"""Each so many rows, an entry is missing or unknown."""


def rows(columns: Sequence[Column], *, unknown: bool) -> dict[str, Any]:
    """Entries by column, shape (N,), as the file takes them: nan and "" are missing. With `unknown`, some are new."""
    sizes = [len(column.categories) for column in columns if isinstance(column, CategoryColumn)]
    count = max(LEAST, *(2 * size for size in sizes)) if sizes else LEAST
    rng = np.random.default_rng(0)
    made = {column.name: _entries(column, i, count, rng) for i, column in enumerate(columns)}
    for i, column in enumerate(columns):
        if unknown and isinstance(column, CategoryColumn):
            made[column.name][np.arange(count) % STEP == (i + 2) % STEP] = UNKNOWN
    return made


def table_of_rows(made: dict[str, Any]) -> Any:
    """The rows as a table of the pipeline."""
    return arrow().table(
        {name: [None if x != x or x == "" else x for x in each.tolist()] for name, each in made.items()}
    )


def images(shape: tuple[int, ...]) -> np.ndarray:
    """Some images as bytes."""
    return np.random.default_rng(0).integers(0, 256, (IMAGES, *shape), dtype=np.uint8)


def _entries(column: Column, i: int, count: int, rng: np.random.Generator) -> Any:
    number = np.arange(count)
    missing = number % STEP == (i + 1) % STEP
    z = rng.normal(size=count)
    if isinstance(column, NumberColumn):
        x = column.mean + column.scale * z
        x = column.unit * np.sinh(x) if isinstance(column, SkewedColumn) else x
        return np.where(missing, np.nan, x)
    if isinstance(column, CategoryColumn):
        text = np.asarray(column.categories, dtype=object)[rng.permutation(count) % len(column.categories)]
    else:
        text = _dates(column, z) if isinstance(column, DateColumn) else np.full(count, "", dtype=object)
    text[missing] = ""
    return text


def _dates(column: DateColumn, z: np.ndarray) -> Any:
    """Around the dates of the training; with a zone, at several offsets."""
    days = np.round(column.days[0] + 3 * column.days[1] * z)
    seconds = np.arange(len(z)) * 7_919 % 86_400 * (column.timed or column.zone)
    moments = np.datetime64(column.first, "D") + days.astype(np.int64) * np.timedelta64(1, "D")
    texts = np.datetime_as_string(moments.astype("M8[s]") + seconds.astype("m8[s]")).astype(object)
    if not column.timed and not column.zone:
        return np.asarray([each[:10] for each in texts], dtype=object)
    zones = ("Z", "+05:30", "-08", "+00:00") if column.zone else ("",)
    return np.asarray([each + zones[k % len(zones)] for k, each in enumerate(texts)], dtype=object)
