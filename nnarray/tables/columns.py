"""The kinds of columns: the conversion of their entries to inputs of a network, fitted to the training rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnarray.datasets.preparation import centred
from nnarray.tables.almost_numbers import almost_numbers, beside, mixture
from nnarray.tables.arrow import arrow
from nnarray.tables.cells import (
    FARTHEST,
    Rows,
    centre,
    distinct,
    is_dated,
    is_usable,
    leave_out,
    listed,
    numbers_of,
    positions,
    refuse_infinity,
    refuse_kind,
    refuse_kinds,
    shown,
    standardised,
    text_of,
    truth_as_numbers,
    where,
)
from nnarray.tables.dates import DateColumn, almost_dates, moments_in, other_form
from nnarray.tables.kinds import MOST_CATEGORIES, numbers_in, too_many
from nnarray.tables.oddities import Masks, masks
from nnarray.tables.problems import attempted
from nnarray.tables.saved import finite, flag, items_of, object_of, positive, string, strings
from nnarray.tables.text_format import MISSING
from nnarray.tables.words import TextColumn, are_sentences, is_free_text

if TYPE_CHECKING:
    import pyarrow as pa

DATES = "--dates"  # a fault that names it has a remedy
SKEWED = 2.0  # skewness, the mean of z^3, that of exponential times: beyond it a few entries outweigh all others
SMALL = 0.05  # the part of the entries other than 0 that are smaller than the unit


@dataclass(frozen=True)
class NumberColumn:
    """z = (x - mean) / scale; what is missing is 0, and a further input marks it if any was missing in training.

    `truth` says that the training column was of truth values: then the text true and false are welcome.
    """

    name: str
    mean: float
    scale: float
    missing: bool = False
    truth: bool = False
    note: str = field(default="", compare=False, repr=False)
    """What a person should know; said when it is fitted, and not saved."""
    range: tuple[float, float] | None = None
    """The smallest and the largest z of the training; None in older files."""

    kind: ClassVar[str] = "number"

    @classmethod
    def fit(cls, name: str, x: np.ndarray, column: Any, rows: Rows) -> NumberColumn:
        """From the training entries as numbers and as they are; NaN is what is missing, and not all are."""
        mean, scale, note = centre(x, column, name, rows)
        note = note and f"column {note}: leave it out (--drop {name}), or use --categories {name} for names"
        missing = bool(np.isnan(x).any())
        if spread := _spread(x[~np.isnan(x)], mean, scale):
            made: NumberColumn = SkewedColumn(name, spread[1], spread[2], missing, note=note, unit=spread[0])
        else:
            made = cls(name, mean, scale, missing, arrow().types.is_boolean(column.type), note)
        z = (made._measured(x) - made.mean) / made.scale
        return replace(made, range=(float(np.nanmin(z)), float(np.nanmax(z))))

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        return [self.name, f"{self.name} missing"] if self.missing else [self.name]

    @property
    def done(self) -> str:
        """What was done, for a report."""
        text = f"standardised: mean {self.mean:.4g}, scale {self.scale:.4g}"
        return text + ("; a further input marks missing entries" if self.missing else "")

    def write(self, out: np.ndarray, column: Any, rows: Rows, ignore: bool) -> Masks:
        """Fill the inputs of this column, shape (n, 1 or 2); its odd entries."""
        self._refuse_truth(column, rows)
        x = numbers_of(truth_as_numbers(column) if self.truth else column, self.name, rows)
        missing = np.isnan(x)
        out[:, 0] = np.where(missing, 0, standardised(self._measured(x), self.mean, self.scale, self.name, rows))
        if self.missing:
            out[:, 1] = missing
            return masks(far=self._far(out[:, 0]))
        return masks(missing=missing, far=self._far(out[:, 0]))

    def _far(self, z: np.ndarray) -> np.ndarray:
        """Which numbers are further beyond the range of the training than that is wide."""
        low, high = self.range or (-math.inf, math.inf)
        width = max(high - low, 1.0)
        return (z < low - width) | (z > high + width)

    def _refuse_truth(self, column: Any, rows: Rows) -> None:
        """Refuse truth values, unless those of the training were: 1 for true is not a measurement."""
        if self.truth or not arrow().types.is_boolean(column.type) or column.null_count == len(column):
            return
        first = next(i for i, each in enumerate(column.to_pylist()) if each is not None)
        raise ValueError(
            f"{where(self.name, first, rows)}: a truth value, but the column needs numbers, as in training."
        )

    def _measured(self, x: np.ndarray) -> np.ndarray:
        """The numbers that are standardised."""
        return x

    def to_json(self) -> dict[str, Any]:
        """The column's settings, as they are saved in a file."""
        numbers = {"mean": self.mean, "scale": self.scale, "missing": self.missing, "truth": self.truth}
        return {"kind": self.kind, "name": self.name, **numbers, "range": self.range and list(self.range)}

    @classmethod
    def from_json(cls, data: object, what: str) -> NumberColumn:
        """The column from saved settings; refuses what is not valid, and calls it `what`."""
        older = {"range": None, **data} if isinstance(data, dict) else data
        fields = object_of(older, {"kind", "name", "mean", "scale", "missing", "truth", "range"}, what)
        return cls(
            string(fields["name"], f"the name of {what}"),
            finite(fields["mean"], f"the mean of {what}"),
            positive(fields["scale"], f"the scale of {what}"),
            flag(fields["missing"], f"'missing' of {what}"),
            flag(fields["truth"], f"'truth' of {what}"),
            range=None if fields["range"] is None else _range(fields["range"], what),
        )


def _range(data: object, what: str) -> tuple[float, float]:
    numbers = [finite(each, f"each of 'range' of {what}") for each in items_of(data, f"'range' of {what}")]
    if len(numbers) != 2:
        raise ValueError(f"'range' of {what} must be two numbers; got {len(numbers)}.")
    return numbers[0], numbers[1]


@dataclass(frozen=True)
class SkewedColumn(NumberColumn):
    """z = (arsinh(x / unit) - mean) / scale: numbers of many sizes, as prices are, by their logarithm.

    arsinh(u) is about log(2u) for large u and u for small ones, of both signs, so that 0 and debts are welcome.
    """

    unit: float = 1.0

    kind: ClassVar[str] = "skewed number"

    @property
    def done(self) -> str:
        """What was done, for a report."""
        return f"arsinh(x / {self.unit:.4g}), because it is skewed; {super().done}"

    def _measured(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.arcsinh(x / self.unit)

    def to_json(self) -> dict[str, Any]:
        """The column's settings, as they are saved in a file."""
        return super().to_json() | {"unit": self.unit}

    @classmethod
    def from_json(cls, data: object, what: str) -> SkewedColumn:
        """The column from saved settings; refuses what is not valid, and calls it `what`."""
        older = {"range": None, **data} if isinstance(data, dict) else data
        fields = object_of(older, {"kind", "name", "mean", "scale", "missing", "truth", "range", "unit"}, what)
        unit = positive(fields["unit"], f"the unit of {what}")
        number = NumberColumn.from_json({key: value for key, value in fields.items() if key != "unit"}, what)
        return cls(number.name, number.mean, number.scale, number.missing, number.truth, range=number.range, unit=unit)


def _spread(x: np.ndarray, mean: float, scale: float) -> tuple[float, float, float] | None:
    """The unit of a skewed column, and mean and scale of arsinh(x / unit); None if that does not help much."""
    skewness = abs(float(np.mean(((x - mean) / scale) ** 3)))
    if not skewness > SKEWED:
        return None
    sizes = np.abs(x[x != 0])
    unit = float(np.quantile(sizes, SMALL))
    if not unit > sizes.max() / FARTHEST:
        return None
    values: Any = np.arcsinh(x / unit)
    center, width, _ = centred(values, float(np.finfo(np.float64).eps))
    after = abs(float(np.mean(((values - float(center)) / float(width)) ** 3)))
    return (unit, float(center), float(width)) if 2 * after < skewness else None


@dataclass(frozen=True)
class CategoryColumn:
    """An input for each value: 1 where the column has it, else 0; what is missing is a value if met in training."""

    name: str
    categories: tuple[str, ...]
    missing: bool = False
    note: str = field(default="", compare=False, repr=False)
    """What a person should know; said when it is fitted, and not saved."""
    others: tuple[str, ...] = ()
    """Categories of rows that were held out: nothing is known of them, but they are no surprise."""

    kind: ClassVar[str] = "category"

    @classmethod
    def fit(cls, name: str, text: Any, values: list[str], every: list[str]) -> CategoryColumn:
        """From the training entries, the different ones among them, and those of all rows."""
        categories = tuple(sorted(values))
        position, _ = positions(arrow().chunked_array([every], "string"), categories)
        others = tuple(value for value, k in zip(every, position, strict=True) if k < 0)
        note = f"column {name!r} has {listed(others, 5)} in held-out rows alone, which count as no category"
        return cls(name, categories, text.null_count > 0, note if others else "", others)

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        names = [f"{self.name}={value}" for value in self.categories]
        return [*names, f"{self.name} missing"] if self.missing else names

    @property
    def done(self) -> str:
        """What was done, for a report."""
        text = f"an input for each of {len(self.categories)}: {listed(self.categories, 5)}"
        return text + ("; and one for missing entries" if self.missing else "")

    def write(self, out: np.ndarray, column: Any, rows: Rows, ignore: bool) -> Masks:
        """Fill the inputs of this column, shape (n, categories); its odd entries."""
        refuse_kind(column, self.name, "categories")
        text = text_of(column)
        position, missing = positions(text, self.categories)
        unknown = (position < 0) & ~missing
        new = np.flatnonzero(unknown & (positions(text, self.others)[0] < 0) if self.others else unknown)
        if new.size and not ignore:
            raise ValueError(
                f"{where(self.name, new[0], rows)}: {shown(text, new[0])} is not a category of the training, "
                f"{listed(self.categories)}. Correct it, or ignore new categories with --unknown ignore, or "
                f"unknown='ignore'.{_if_missing(text[int(new[0])].as_py())}"
            )
        rows = np.flatnonzero(position >= 0)
        out[rows, position[rows]] = 1
        if self.missing:
            out[:, -1] = missing
            return masks(unknown=unknown)
        return masks(unknown=unknown, missing=missing)

    def to_json(self) -> dict[str, Any]:
        """The column's settings, as they are saved in a file."""
        names = {"categories": list(self.categories), "others": list(self.others)}
        return {"kind": self.kind, "name": self.name, **names, "missing": self.missing}

    @classmethod
    def from_json(cls, data: object, what: str) -> CategoryColumn:
        """The column from saved settings; refuses what is not valid, and calls it `what`."""
        older = {"others": [], **data} if isinstance(data, dict) else data
        fields = object_of(older, {"kind", "name", "categories", "missing", "others"}, what)
        return cls(
            string(fields["name"], f"the name of {what}"),
            strings(fields["categories"], f"the categories of {what}", 1, MOST_CATEGORIES),
            flag(fields["missing"], f"'missing' of {what}"),
            others=strings(fields["others"], f"the others of {what}", 0, MOST_CATEGORIES),
        )


def _if_missing(entry: str) -> str:
    """What to do if a new category is a word for a missing entry, which the training did not take for a name."""
    if entry not in MISSING:
        return ""
    return (
        f" In text files {entry!r} is a missing entry: leave it empty, in Python None. To have it as a category, train "
        f"with --missing ''."
    )


Column = NumberColumn | CategoryColumn | DateColumn | TextColumn

COLUMN_KINDS: Mapping[str, Callable[[object, str], Column]] = {
    NumberColumn.kind: NumberColumn.from_json,
    SkewedColumn.kind: SkewedColumn.from_json,
    CategoryColumn.kind: CategoryColumn.from_json,
    DateColumn.kind: DateColumn.from_json,
    TextColumn.kind: TextColumn.from_json,
}


def fit_columns(
    table: pa.Table,
    names: list[str],
    forced: list[str],
    train: np.ndarray,
    rows: Rows,
    between: Callable[[], object],
) -> tuple[tuple[Column, ...], list[str]]:
    """The columns to learn from, and the problems of those that cannot be used. `between` is called after each."""
    fitted: list[Column] = []
    faults: dict[str, str] = {}
    problems: list[str] = []
    usable = [name for name in names if name in forced or is_usable(kind := table.column(name).type) or is_dated(kind)]
    attempted(problems, refuse_kinds, table, [name for name in names if name not in usable], dates=True)
    for name in usable:
        column = table.column(name)
        made = attempted(problems, _fitted, name, column, train, rows, forced=name in forced)
        if isinstance(made, str) and DATES in made:
            problems.append(f"column {name!r} {made}. Or leave it out: --drop {name}, or drop=[{name!r}].")
        elif isinstance(made, str):
            faults[name] = made
        elif made is not None:
            fitted.append(made)
        between()
    if faults:
        listed = "; ".join(f"{name!r} {fault}" for name, fault in faults.items())
        problems.append(f"nothing can be learned from these columns: {listed}. {leave_out(faults)}")
    return tuple(fitted), problems


def _fitted(name: str, column: Any, train: np.ndarray, rows: Rows, *, forced: bool) -> Column | str:
    """The column, or why nothing can be learned from it; refuses one that is almost numbers or dates."""
    made = _fit_category(name, column, train) if forced else _fit(name, column, train, rows)
    settled = forced or isinstance(made, (NumberColumn, DateColumn))
    if fault := "" if settled else almost_numbers(column, name, rows) or almost_dates(column, name, rows):
        raise ValueError(fault)
    return made


def _fit(name: str, column: Any, train: np.ndarray, rows: Rows) -> Column | str:
    """The column as its entries are, or what is wrong with them."""
    if (dates := moments_in(column)) is not None:
        return _fit_date(name, *dates, train)
    x = numbers_in(column)
    if x is not None:
        return _fit_number(name, column, x, train, rows)
    made = _fit_category(name, column, train)
    if isinstance(made, CategoryColumn):
        text = text_of(column)
        dates = other_form(text)
        if not dates and not arrow().types.is_dictionary(column.type) and are_sentences(text, values := distinct(text)):
            return TextColumn.of_sentences(name, len(values))
        note = f"column {name!r} is taken as categories, but has {dates}" if dates else ""
        return replace(made, note=note or mixture(column, f"column {name!r} is taken as categories") or made.note)
    return TextColumn.fit(name) if is_free_text(text_of(column)) else made


def _fit_date(name: str, moments: np.ndarray, zone: bool, train: np.ndarray) -> DateColumn | str:
    """Dates as the training rows say, or what is wrong with them as all rows say."""
    if np.isnat(moments).all():
        return "has no entries"
    known = moments[train]
    return DateColumn.fit(name, moments if np.isnat(known).all() else known, zone)


def _fit_number(name: str, column: Any, x: np.ndarray, train: np.ndarray, rows: Rows) -> NumberColumn | str:
    """Numbers as the training rows say, or what is wrong with them as all rows say."""
    if np.isnan(x).all():
        return "has no entries"
    refuse_infinity(x, name, rows)
    known = x[train]
    return NumberColumn.fit(name, x if np.isnan(known).all() else known, column, rows)


def _fit_category(name: str, column: Any, train: np.ndarray) -> CategoryColumn | str:
    """Categories as the training rows say, or what is wrong with them as all rows say."""
    text = text_of(column)
    values, known = distinct(text), len(text) - text.null_count
    if not values:
        return "has no entries"
    if too_many(len(values), known):
        dates = other_form(text)
        return f"has {len(values)} different values in {known} rows{f', {dates}' if dates else beside(values)}"
    part = text.take(arrow().array(train))
    return CategoryColumn.fit(name, part, distinct(part) or values, values)
