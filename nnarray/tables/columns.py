"""The kinds of columns: how their entries become inputs and targets of a network, as the training rows say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from nnarray.tables.arrow import arrow
from nnarray.tables.cells import (
    NO_NUMBER,
    Rows,
    all_integers,
    centre,
    distinct,
    first_text,
    is_missing,
    is_text,
    leave_out,
    listed,
    numbers_of,
    parsed,
    positions,
    refuse_infinity,
    refuse_kind,
    refuse_kinds,
    refuse_missing,
    row_number,
    shown,
    standardised,
    text_of,
    truth_as_numbers,
    where,
    without_dictionary,
)
from nnarray.tables.text_format import BLANKS, MISSING, NUMBER

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

MOST_CATEGORIES = 1_000  # of one column
ALMOST = 0.95  # of the rows have another integer: one may be there twice, or be missing
LEAST = 10  # rows that are numbered, and do not happen to be 1, 2, 3
FEW = 20  # so many different integers are classes, and so many different texts are never too many
OFTEN = 0.9  # of the entries of a column: a column of numbers with a few faults, and not of categories
HANDFUL = 5  # different numbers with one or two words among them are hardly names
OTHERWISE = (  # as other countries write numbers
    rf"\A[+-]?([0-9]{{1,3}}([.,'{BLANKS}][0-9]{{3}})+([.,][0-9]+)?|[0-9]*[.,][0-9]+)\z"
)
MINUS = "\u2212"
NEGATIVE = rf"\A({MINUS}[0-9.,]+|\([0-9.,]+\))\z"  # with a minus sign that no keyboard has, or as accountants do
BESIDE = re.compile(r"([^\w\s#]{0,2})\s*[+-]?\d+(?:\.\d+)?\s*(\D*)")  # a sign of a currency, or a unit behind


# --- Columns ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NumberColumn:
    """z = (x - mean) / scale; what is missing is 0, and told by a further input if any was missing in training.

    `truth` says that the training column was of truth values: then the text true and false are welcome.
    """

    name: str
    mean: float
    scale: float
    missing: bool = False
    truth: bool = False
    note: str = field(default="", compare=False, repr=False)
    """What a person should know; said when it is fitted, and not saved."""

    kind: ClassVar[str] = "number"

    @classmethod
    def fit(cls, name: str, x: np.ndarray, column: Any, rows: Rows) -> NumberColumn:
        """From the training entries as numbers and as they are; NaN is what is missing, and not all are."""
        mean, scale, note = centre(x, column, name, rows)
        note = note and f"column {note}: leave it out (--drop {name}), or take names as such (--categories {name})"
        return cls(name, mean, scale, bool(np.isnan(x).any()), arrow().types.is_boolean(column.type), note)

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        return [self.name, f"{self.name} missing"] if self.missing else [self.name]

    @property
    def done(self) -> str:
        """What was done, for a report."""
        text = f"standardised: mean {self.mean:.4g}, scale {self.scale:.4g}"
        return text + ("; a further input tells what is missing" if self.missing else "")

    def write(self, out: np.ndarray, column: Any, rows: Rows, ignore: bool) -> None:
        """Fill the inputs of this column, shape (n, 1 or 2)."""
        x = numbers_of(truth_as_numbers(column) if self.truth else column, self.name, rows)
        missing = np.isnan(x)
        out[:, 0] = np.where(missing, 0, standardised(x, self.mean, self.scale, self.name, rows))
        if self.missing:
            out[:, 1] = missing

    def to_json(self) -> dict[str, Any]:
        numbers = {"mean": self.mean, "scale": self.scale, "missing": self.missing, "truth": self.truth}
        return {"kind": self.kind, "name": self.name, **numbers}

    @classmethod
    def from_json(cls, data: object, what: str) -> NumberColumn:
        fields = object_of(data, {"kind", "name", "mean", "scale", "missing", "truth"}, what)
        return cls(
            _string(fields["name"], f"the name of {what}"),
            _real(fields["mean"], f"the mean of {what}"),
            _positive(fields["scale"], f"the scale of {what}"),
            _flag(fields["missing"], f"'missing' of {what}"),
            _flag(fields["truth"], f"'truth' of {what}"),
        )


@dataclass(frozen=True)
class CategoryColumn:
    """An input for each value: 1 where the column has it, else 0; what is missing is a value if met in training."""

    name: str
    categories: tuple[str, ...]
    missing: bool = False
    note: str = field(default="", compare=False, repr=False)
    """What a person should know; said when it is fitted, and not saved."""

    kind: ClassVar[str] = "category"

    @classmethod
    def fit(cls, name: str, text: Any, values: list[str]) -> CategoryColumn:
        """From the training entries, and the different ones among them."""
        return cls(name, tuple(sorted(values)), text.null_count > 0)

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        names = [f"{self.name}={value}" for value in self.categories]
        return [*names, f"{self.name} missing"] if self.missing else names

    @property
    def done(self) -> str:
        """What was done, for a report."""
        text = f"an input for each of {len(self.categories)}: {listed(self.categories, 5)}"
        return text + ("; and one for what is missing" if self.missing else "")

    def write(self, out: np.ndarray, column: Any, rows: Rows, ignore: bool) -> None:
        """Fill the inputs of this column, shape (n, categories)."""
        refuse_kind(column, self.name, "categories")
        text = text_of(column)
        position, missing = positions(text, self.categories)
        new = np.flatnonzero((position < 0) & ~missing)
        if new.size and not ignore:
            raise ValueError(
                f"{where(self.name, new[0], rows)}: {shown(text, new[0])} was not met in training, where "
                f"{listed(self.categories)} were. Correct it, or ignore what is new with --unknown ignore, or "
                f"unknown='ignore'."
            )
        rows = np.flatnonzero(position >= 0)
        out[rows, position[rows]] = 1
        if self.missing:
            out[:, -1] = missing

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "categories": list(self.categories), "missing": self.missing}

    @classmethod
    def from_json(cls, data: object, what: str) -> CategoryColumn:
        fields = object_of(data, {"kind", "name", "categories", "missing"}, what)
        return cls(
            _string(fields["name"], f"the name of {what}"),
            _strings(fields["categories"], f"the categories of {what}", 1, MOST_CATEGORIES),
            _flag(fields["missing"], f"'missing' of {what}"),
        )


def fit_columns(
    table: pa.Table, names: list[str], forced: list[str], train: np.ndarray, rows: Rows
) -> tuple[NumberColumn | CategoryColumn, ...]:
    """The columns to learn from; one error for all that cannot be used."""
    refuse_kinds(table, [name for name in names if name not in forced])
    fitted: list[NumberColumn | CategoryColumn] = []
    faults: dict[str, str] = {}
    almost: list[str] = []
    for name in names:
        column = table.column(name)
        x = None if name in forced else numbers_in(column)
        made = _fit_category(name, column, train) if x is None else _fit_number(name, column, x, train, rows)
        if x is None and name not in forced and (told := almost_numbers(column, name, rows)):
            almost.append(told)
        elif isinstance(made, str):
            faults[name] = made
        elif isinstance(made, CategoryColumn) and name not in forced:
            fitted.append(replace(made, note=_mixture(column, f"column {name!r} is taken as categories")))
        else:
            fitted.append(made)
    if almost:
        raise ValueError(" ".join(almost))
    if faults:
        listed = "; ".join(f"{name!r} {fault}" for name, fault in faults.items())
        raise ValueError(f"nothing can be learned from these columns: {listed}. {leave_out(faults)}")
    return tuple(fitted)


def numbers_in(column: Any) -> np.ndarray | None:
    """The entries of a column that is numbers where nobody says so, float64; None of one that is not."""
    if arrow().types.is_dictionary(column.type):
        if not is_text(column.type.value_type) or len(column.unique()) <= FEW:
            return None  # few numbers are names, as whoever made the dictionary said
        column = without_dictionary(column)
    x = parsed(column)
    if x is None or not is_text(column.type) or not np.isnan(x).all():
        return x
    return None if _words(text_of(column)).keys() - MISSING else x  # "-" and "?" alone are names


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
    if _too_many(len(values), known):
        return f"has {len(values)} different values in {known} rows{_beside(values)}"
    part = text.take(arrow().array(train))
    return CategoryColumn.fit(name, part, distinct(part) or values)


def _too_many(count: int, known: int) -> bool:
    """Whether so many different values of so many entries tell nothing."""
    return count > MOST_CATEGORIES or (count > FEW and 2 * count > known)


def almost_numbers(column: Any, name: str, rows: Rows, *, target: bool = False) -> str:
    """What keeps a column of text from being numbers, and what can be done; nothing if it is of names."""
    if not is_text(without_dictionary(column).type):
        return ""
    compute, text = arrow().compute, text_of(column)
    known, numbers, written = _as_written(text)
    share = (compute.sum(written).as_py() or 0) / max(len(known), 1)
    many = len(known.unique()) > FEW and (2 * share > 1 or len(known.filter(compute.invert(written)).unique()) <= 2)
    i = first_text(text) if share >= OFTEN or many else None
    if i is None:
        return ""
    names = f"If the entries are names: --categories {name}, or categories=[{name!r}]. "
    drop = f"Else correct them, or leave the column out: --drop {name}, or drop=[{name!r}]."
    if target:
        names, drop = "If the entries are classes: --task classify, or task='classify'. ", "Else correct them."
    elif _too_many(len(known.unique()), len(known)):
        names = ""
    odd: list[str] = known.filter(compute.invert(numbers)).unique().to_pylist()
    return (
        f"column {name!r} has numbers, but not in {len(known) - compute.sum(numbers).as_py()} of {len(known)} entries: "
        f"row {row_number(i, rows)} has {shown(text, i)}. {_remedy(odd)} {names}{drop}"
    )


def _as_written(text: Any) -> tuple[Any, Any, Any]:
    """The entries that are there; which are numbers; and which are, or would be in another country."""
    compute = arrow().compute
    known = text.filter(compute.invert(compute.is_in(text, value_set=arrow().array(NO_NUMBER)))).drop_null()
    numbers = compute.match_substring_regex(known, NUMBER)
    otherwise = compute.match_substring_regex(known, f"{OTHERWISE}|{NEGATIVE}")
    return known, numbers, compute.or_(numbers, otherwise)


def _mixture(column: Any, taken: str) -> str:
    """What to know of names among which are numbers, so many that the names may stand for nothing."""
    if not is_text(without_dictionary(column).type):
        return ""
    known, _, written = _as_written(text_of(column))
    odd: list[str] = known.filter(arrow().compute.invert(written)).unique().to_pylist()
    count, different = arrow().compute.sum(written).as_py() or 0, len(known.unique()) - len(odd)
    if not odd or not (2 * count > len(known) or (len(odd) <= 2 and different > HANDFUL)):
        return ""
    return (
        f"{taken} though {count} of {len(known)} entries are numbers, and others are {listed(odd, 5)}. {_nothing(odd)}"
    )


def _nothing(words: list[str]) -> str:
    """How words are taken as missing."""
    words = [word for word in words if "," not in word][:FEW]
    if not words:
        return "They have commas in them, which --missing cannot name: TextFormat(missing=...) can."
    return f"If that is missing: --missing {_typed(','.join(words))}, or TextFormat(missing={words!r})."


def _typed(text: str) -> str:
    """As it is typed in a shell, always in quotes."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _beside(values: list[str]) -> str:
    """What stands beside the numbers of a column, if the same does everywhere."""
    parts = {match.groups() if (match := BESIDE.fullmatch(value)) else None for value in values}
    before, after = next(iter(parts)) or ("", "")
    if len(parts) > 1 or not (before or after):
        return ""
    return f": numbers with {(before or after)!r} beside them, such as {values[0]!r} (write the numbers alone)"


def _remedy(odd: list[str]) -> str:
    """How numbers can be read that are written in another way, or words that stand for nothing."""
    commas = [text for text in odd if re.match(OTHERWISE.replace(r"\z", r"\Z"), text)]
    if negative := [text for text in odd if re.match(NEGATIVE.replace(r"\z", r"\Z"), text)]:
        return f"{negative[0]!r} is a negative number: write it as '-{negative[0].strip('()' + MINUS)}'."
    if not commas:
        return _nothing(odd)
    points = any("." in text and (text.rfind(".") < text.rfind(",") or text.count(".") > 1) for text in commas)
    if points:
        return (
            "If a comma stands before the decimals: --decimal ',' --thousands '.', or TextFormat(decimal=',', "
            "thousands='.')."
        )
    told: list[str] = []
    if all("," in text and re.fullmatch(r"[+-]?\d*,\d+", text) for text in commas):
        told.append("If a comma stands before the decimals: --decimal ',', or TextFormat(decimal=',').")
    for mark in (",", "'"):
        if all(re.fullmatch(rf"[+-]?\d{{1,3}}({mark}\d{{3}})+(\.\d+)?", text) for text in commas):
            told.append(
                f"If {mark!r} separates thousands: --thousands {_typed(mark)}, or TextFormat(thousands={mark!r})."
            )
    if all(re.fullmatch(rf"[+-]?\d{{1,3}}([{BLANKS}]\d{{3}})+([.,]\d+)?", text) for text in commas):
        told.append("If a blank separates thousands: --thousands ' ', or TextFormat(thousands=' ').")
    return " ".join(told) or "They are written in several ways."


# --- What a person should know ------------------------------------------------------------------------------


def notes_on(name: str, column: Any, number: bool) -> list[str]:
    """What is taken as missing in a column, and whether it may name the rows."""
    x = parsed(column) if number else None
    text = text_of(column) if x is None or is_text(column.type) else None
    told = _words(text) if text is not None and x is not None else {}
    count, missing = len(column), int((is_missing(column) if x is None else np.isnan(x)).sum())
    notes = [f"{word!r} is taken as missing in {n} of {count} entries of column {name!r}" for word, n in told.items()]
    if others := missing - sum(told.values()):
        notes.append(f"{others} of {count} entries of column {name!r} are missing")
    if naming := (_all_different(text) if x is None else _numbering(x)):
        notes.append(f"column {name!r} {naming}; if it only names the rows, leave it out: --drop {name}")
    return notes


def _words(text: Any) -> dict[str, int]:
    """The words that stand for nothing where numbers should be, and how often they do."""
    words = text.filter(arrow().compute.is_in(text, value_set=arrow().array(NO_NUMBER))).value_counts().to_pylist()
    return {word["values"]: word["counts"] for word in words if word["values"] is not None}


def _all_different(text: Any) -> str:
    return "is different in every row" if len(text) > 2 and len(text.unique()) == len(text) else ""


def _numbering(x: np.ndarray) -> str:
    """Whether a column has another integer in every row, or in nearly every one."""
    n, x = len(x), x[~np.isnan(x)]
    different = len(np.unique(x))
    if n < LEAST or different < ALMOST * n or (x != np.floor(x)).any():
        return ""
    spread = x.max() - x.min() + 1
    if different == n:
        return "numbers the rows" if spread == n else "has another integer in every row" if n > FEW else ""
    return "has another integer in nearly every row" if different == len(x) > FEW or spread <= 2 * n else ""


# --- Targets ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes; class k is called `classes[k]`."""

    name: str
    classes: tuple[str, ...]

    kind: ClassVar[str] = "classes"
    notes: ClassVar[tuple[str, ...]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return (self.name,)

    def known(self, table: pa.Table) -> np.ndarray:
        """Which rows have a class, shape (n,), bool."""
        return ~text_of(table.column(self.name)).is_null().to_numpy()

    @property
    def described(self) -> list[tuple[str, str, str]]:
        """For a report."""
        return [(self.name, "target", f"{len(self.classes)} classes: {listed(self.classes, 5)}")]

    def read(self, table: pa.Table, rows: Rows) -> np.ndarray:
        """The number of each row's class, shape (n,), int64."""
        column = table.column(self.name)
        refuse_kind(column, self.name, "classes")
        text = text_of(column)
        position, missing = positions(text, self.classes)
        refuse_missing(missing, self.name, rows)
        if (position < 0).any():
            i = int(np.argmax(position < 0))
            raise ValueError(
                f"{where(self.name, i, rows)}: {shown(text, i)} is none of the classes {listed(self.classes)} "
                f"that were met in training. Correct it, or leave the row out."
            )
        return position

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "classes": list(self.classes)}

    @classmethod
    def from_json(cls, data: object, what: str) -> ClassTarget:
        fields = object_of(data, {"kind", "name", "classes"}, what)
        return cls(_string(fields["name"], f"the name of {what}"), _strings(fields["classes"], "the classes", 2))


@dataclass(frozen=True)
class ValueTarget:
    """One or more numbers, each standardised:  z = (y - mean) / scale."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """What a person should know; said when it is fitted, and not saved."""

    kind: ClassVar[str] = "values"

    def known(self, table: pa.Table) -> np.ndarray:
        """Which rows have all values, shape (n,), bool."""
        return ~np.any([is_missing(table.column(name)) for name in self.names], axis=0)

    @property
    def described(self) -> list[tuple[str, str, str]]:
        """For a report."""
        each = zip(self.names, self.means, self.scales, strict=True)
        return [(name, "target", f"standardised: mean {m:.4g}, scale {s:.4g}") for name, m, s in each]

    def read(self, table: pa.Table, rows: Rows) -> np.ndarray:
        """Standardised values, shape (n, t), float64."""
        out = np.zeros((table.num_rows, len(self.names)))
        for j, name in enumerate(self.names):
            x = numbers_of(table.column(name), name, rows)
            refuse_missing(np.isnan(x), name, rows)
            out[:, j] = standardised(x, self.means[j], self.scales[j], name, rows)
        return out

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs in the units of the target."""
        outputs = np.asarray(outputs, dtype=np.float64)
        if outputs.ndim != 2 or outputs.shape[1] != len(self.names):
            raise ValueError(f"outputs must have shape (n, {len(self.names)}); got {outputs.shape}.")
        return np.asarray(self.means) + np.asarray(self.scales) * outputs

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": list(self.names), "means": list(self.means), "scales": list(self.scales)}

    @classmethod
    def from_json(cls, data: object, what: str) -> ValueTarget:
        fields = object_of(data, {"kind", "names", "means", "scales"}, what)
        names = _strings(fields["names"], f"the names of {what}", 1)
        means = tuple(_real(x, f"a mean of {what}") for x in items_of(fields["means"], f"the means of {what}"))
        scales = tuple(_positive(x, f"a scale of {what}") for x in items_of(fields["scales"], f"the scales of {what}"))
        if not len(names) == len(means) == len(scales):
            raise ValueError(f"{what} needs as many means and scales as names, {len(names)}.")
        return cls(names, means, scales)


def fit_target(table: pa.Table, names: list[str], task: str, rows: Rows) -> ClassTarget | ValueTarget:
    """Classes or values, as the task says."""
    refuse_kinds(table, names)
    for name in names:
        refuse_missing(missing_target(table.column(name), name, task), name, rows)
    if len(names) > 1 and task == "classify":
        raise ValueError(f"one column alone can be classes; got the targets {listed(names)}. Train a model for each.")
    if task == "classify":
        return ClassTarget(names[0], _classes(table.column(names[0]), names[0], rows))
    columns = [(table.column(name), name) for name in names]
    means, scales, notes = zip(
        *(centre(numbers_of(column, name, rows), column, name, rows) for column, name in columns), strict=True
    )
    told = tuple(f"target {note}: take names of classes as such (--task classify)" for note in notes if note)
    return ValueTarget(tuple(names), means, scales, told)


def missing_target(column: Any, name: str, task: str) -> np.ndarray:
    """Which rows have no target, bool: a word that stands for nothing among numbers may be the name of a class."""
    chosen = task_of(column, name)[0] if task == "auto" else task
    return text_of(column).is_null().to_numpy() if chosen == "classify" else is_missing(column)


def task_of(column: Any, name: str) -> tuple[Literal["classify", "regress"], str]:
    """Whether a target is classes or values where nobody says so, and what a person should know about the choice.

    Classes are text, truth values, Arrow's dictionaries, and at most `FEW` different integers, whatever their size.
    """
    types, kind = arrow().types, column.type
    texts = is_text(kind) or types.is_dictionary(kind)
    if types.is_boolean(kind) or (texts and numbers_in(column) is None):
        return "classify", _mixture(column, f"target {name!r} is taken as classes")
    values = text_of(column).filter(arrow().array(~is_missing(column))).unique()
    if len(values) > FEW:
        return "regress", ""
    integers = all_integers(values)
    found: list[str] = sorted(values.to_pylist(), key=_by_number if integers else float)
    if integers and (types.is_integer(kind) or is_text(kind) or (types.is_decimal(kind) and kind.scale == 0)):
        words = _words(text_of(column)) if is_text(kind) else {}
        if words:
            count, told = sum(words.values()), f"target {name!r}: {len(found) + len(words)} classes"
            return "classify", f"{told}, of which {listed(words)} in {count} entries. {_nothing(list(words))}"
        chosen = f"target {name!r}: {len(found)} classes, since its entries are few different integers"
        return "classify", f"{chosen} ({listed(found, 5)}); if they are numbers, --task regress (task='regress')"
    if len(found) <= 2 or all(float(value).is_integer() for value in found):
        found = [str(float(value)) for value in found] if types.is_floating(kind) else found
        chosen = f"target {name!r}: numbers, since its entries are no integers but decimal numbers"
        return "regress", f"{chosen} ({listed(found, 5)}); if they are classes, --task classify (task='classify')"
    return "regress", ""


def _classes(column: Any, name: str, rows: Rows) -> tuple[str, ...]:
    """The names of the classes, sorted."""
    values = distinct(text_of(column))
    if len(values) < 2:
        raise ValueError(
            f"the target {name!r} has a single class in the training rows, {listed(values)}; at least two are needed. "
            f"If another one is called NA or null: put it in quotes, or --missing '', or TextFormat(missing=[])."
        )
    if len(values) > FEW and 2 * len(values) > len(column):
        raise ValueError(
            f"the target {name!r} has {len(values)} different classes in {len(column)} rows"
            f", too many to learn. "
            f"Use another target, or task='regress' (--task regress) if it is numbers."
        )
    return tuple(sorted(values, key=_by_number) if all_integers(arrow().array(values)) else sorted(values))


def _by_number(text: str) -> tuple[int, str]:
    return int(text), text


# --- JSON ---------------------------------------------------------------------------------------------------

COLUMN_KINDS: Mapping[str, Callable[[object, str], NumberColumn | CategoryColumn]] = {
    NumberColumn.kind: NumberColumn.from_json,
    CategoryColumn.kind: CategoryColumn.from_json,
}
TARGET_KINDS: Mapping[str, Callable[[object, str], ClassTarget | ValueTarget]] = {
    ClassTarget.kind: ClassTarget.from_json,
    ValueTarget.kind: ValueTarget.from_json,
}


def of_kind(data: object, kinds: Mapping[str, Callable[[object, str], T]], what: str) -> T:
    """What the entry "kind" says it is."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{what} must be of kind {' or '.join(kinds)}; got {_brief(kind)}.")
    return kinds[kind](data, what)


def object_of(data: object, keys: set[str], what: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.keys() != keys:
        got = _brief(list(data) if isinstance(data, dict) else data)
        raise ValueError(f"{what} must have the entries {', '.join(sorted(keys))} and no others; got {got}.")
    return data


def items_of(data: object, what: str) -> list[Any]:
    if not isinstance(data, list):
        raise ValueError(f"{what} must be a list; got {_brief(data)}.")
    return data


def _string(data: object, what: str) -> str:
    try:
        if isinstance(data, str) and data.encode():
            return data
    except UnicodeEncodeError:  # half a character, which no file has
        pass
    raise ValueError(f"{what} must be text, and not empty; got {_brief(data)}.")


def _strings(data: object, what: str, least: int, most: float = math.inf) -> tuple[str, ...]:
    found = tuple(_string(item, f"each of {what}") for item in items_of(data, what))
    if not least <= len(found) <= most or len(set(found)) < len(found):
        raise ValueError(f"{what} must be at least {least}, at most {most:g}, and different; got {listed(found)}.")
    return found


def _real(data: object, what: str) -> float:
    try:
        number = float(data) if isinstance(data, (int, float)) and not isinstance(data, bool) else math.nan
    except OverflowError:  # an integer beyond every float
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{what} must be a finite number; got {_brief(data)}.")
    return number


def _positive(data: object, what: str) -> float:
    number = _real(data, what)
    if number <= 0:
        raise ValueError(f"{what} must be more than 0; got {number}.")
    return number


def _flag(data: object, what: str) -> bool:
    if not isinstance(data, bool):
        raise ValueError(f"{what} must be true or false; got {_brief(data)}.")
    return data


def _brief(data: object) -> str:
    """What was given, in a few words, however large it is."""
    if isinstance(data, (str, float, bool)) or data is None:
        return repr(data[:60] if isinstance(data, str) else data)
    return f"a {type(data).__name__}"
