"""The preparation of a table as nodes of a file: an input of shape (N, 1) for each column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from nnarray.apps.workflow.exporting.dates import dates
from nnarray.apps.workflow.exporting.spellings import missing_words, spellings
from nnarray.onnx.writing.around import TEXT, Port, fails_where, inside, numbered
from nnarray.onnx.writing.formulas import Real
from nnarray.onnx.writing.writer import Writer
from nnarray.tables.columns import Column, NumberColumn, SkewedColumn
from nnarray.tables.dates import DateColumn
from nnarray.tables.preparation import Preparation
from nnarray.tables.text_format import TextFormat
from nnarray.tables.words import TextColumn

NUMBERS = "float64"
"""The dtype of inputs that are numbers: that in which they are prepared."""


NONE, NEW = -1, -2
"""The numbers of texts that are no category: those that are welcome, and those that may be refused."""


class Block(NamedTuple):
    """Some inputs of the network, shape (N, k), and the position of each among all."""

    array: str
    positions: Sequence[int]


def refuse_hashed(columns: Sequence[Column]) -> None:
    """Refuse columns that no file can prepare."""
    if hashed := [column.name for column in columns if isinstance(column, TextColumn)]:
        raise ValueError(
            f"column {', '.join(map(repr, hashed))} is free text, whose words are hashed by CRC-32, and ONNX has no "
            f"operator for that. Train without it (--drop {','.join(hashed)}), or with an input for each of its values "
            f"(--categories {','.join(hashed)}); or keep it and use nnarray serve."
        )


def ports(columns: Sequence[Column]) -> list[Port]:
    """The inputs of a file: numbers are float64, all others text."""
    return [Port(each.name, NUMBERS if isinstance(each, NumberColumn) else TEXT, (1,)) for each in columns]


def prepared(w: Writer, preparation: Preparation, text: TextFormat, dtype: str, unknown: str) -> str:
    """The inputs of the network, shape (N, d), of the columns.

    `text` says how numbers and missing entries are written. Of unknown categories, all inputs are 0 if `unknown` is
    "ignore"; else the computation fails.
    """
    starts, start = list[int](), 0
    for column in preparation.columns:
        starts.append(start)
        start += len(column.features)
    placed = list(zip(starts, preparation.columns, strict=True))
    blocks = [block for kind in (NumberColumn, SkewedColumn) for block in _numbers(w, placed, kind, dtype)]
    for at, column in placed:
        if isinstance(column, NumberColumn):
            continue
        if isinstance(column, DateColumn):
            made = dates(w, column, missing_words(text), dtype)
        else:
            made = _categories(w, column, text, dtype, unknown)
        blocks.append(Block(made, range(at, at + len(column.features))))
    order = [i for block in blocks for i in block.positions]
    whole = together(w, [block.array for block in blocks])
    return whole if order == sorted(order) else w.add("Gather", whole, w.integers(np.argsort(order).tolist()), axis=1)


def together(w: Writer, arrays: Sequence[str]) -> str:
    """Blocks side by side."""
    return arrays[0] if len(arrays) == 1 else w.add("Concat", *arrays, axis=1)


def _numbers(w: Writer, placed: list[tuple[int, Column]], kind: type[NumberColumn], dtype: str) -> Iterator[Block]:
    """All columns of numbers of one kind at once: z = (x - mean) / scale, 0 where x is nan, and which are nan."""
    some = [(at, column) for at, column in placed if isinstance(column, NumberColumn) and type(column) is kind]
    if not some:
        return
    columns = [column for _, column in some]
    x = together(w, [inside(column.name) for column in columns])
    missing = w.add("IsNaN", x)
    u = Real(w, x)
    if kind is SkewedColumn:
        u = _arsinh(u / _row(w, columns, "unit"))
    z = (u - _row(w, columns, "mean")) / _row(w, columns, "scale")
    z = w.add("Where", missing, w.number(0.0, w.xp.float64), z.name)
    yield Block(w.cast(z, w.xp.dtype(dtype)), [at for at, _ in some])
    if marked := [i for i, column in enumerate(columns) if column.missing]:
        flags = missing if len(marked) == len(some) else w.add("Gather", missing, w.integers(marked), axis=1)
        yield Block(w.cast(flags, w.xp.dtype(dtype)), [some[i][0] + 1 for i in marked])


def _row(w: Writer, columns: Sequence[NumberColumn], name: str) -> Real:
    return Real(w, w.constant(w.xp.asarray([getattr(column, name) for column in columns], dtype=w.xp.float64)))


def _arsinh(u: Real) -> Real:
    """sign(u) (log m + log(a + sqrt(a^2 + b^2))) with m = max(|u|, 1), a = |u| / m, b = 1 / m: no square overflows."""
    size = u.of("Abs")
    m = size.with_("Max", 1.0)
    a = size / m
    b = m.of("Reciprocal")
    return u.of("Sign") * (m.of("Log") + (a + (a * a + b * b).of("Sqrt")).of("Log"))


def _categories(w: Writer, column: Any, text: TextFormat, dtype: str, unknown: str) -> str:
    """1 where the text is a category, else 0; a missing one is one if any was missing in the training."""
    count = len(column.features)
    numbers = dict.fromkeys(spellings(column.others, text), NONE) | spellings(column.categories, text)
    numbers |= dict.fromkeys(missing_words(text, list(numbers)), count - 1 if column.missing else NONE)
    index = numbered(w, inside(column.name), numbers, NONE if unknown == "ignore" else NEW)
    hot = w.cast(w.add("Equal", index, w.integers(range(count))), w.xp.dtype(dtype))
    if unknown == "ignore":
        return hot
    return w.add("Add", hot, fails_where(w, w.add("Equal", index, w.integers([NEW])), dtype))
