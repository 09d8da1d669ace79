"""From the columns of a table to the inputs and targets of a network, as the training rows say, and back."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from nnarray.checks import integer
from nnarray.datasets.tables import arrow
from nnarray.names import named

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
TRUTH = {"false", "true"}

MOST_CATEGORIES = 1_000  # of one column
FEW = 20  # so many different integers are classes, and so many different texts are never too many
INTEGER = r"\A[+-]?[0-9]{1,18}\z"
NUMBER = r"\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z"


# --- The preparation ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preparation:
    """How the columns of a table become the inputs of a network, and what its outputs mean.

    Made by `Preparation.fit(training_rows, target)`, which alone decides; whatever comes later is treated alike. It is
    saved with the model, as JSON.

    Attributes
    ----------
    columns : tuple of NumberColumn and CategoryColumn
        The inputs, in the order of the training table.
    target : ClassTarget or ValueTarget
        What is predicted: one of several classes, or one or more numbers.

    Notes
    -----
    Text is an entry of a CSV file or of a column of text; spaces around it do not count. The text `NA`, `N/A`, `NaN`,
    `nan`, `null`, `NULL` or nothing at all is a missing entry, as are the nulls and NaN of a typed file.

    *Numbers.* A column is numbers if all its training entries that are not missing are decimal numbers; truth values
    of a typed file are 0 and 1. It becomes z = (x - mean) / scale, with the mean and the standard deviation (divided
    by n) of the training rows; a constant column has the scale 1. A missing number becomes the mean, z = 0, and if any
    were missing in training, a further input `NAME missing` is 1 there and 0 elsewhere. Infinity is refused.

    *Categories.* Every other column is categories, and so is one of Arrow's type dictionary. Each value of the training
    rows, sorted, has an input `NAME=VALUE` that is 1 where the column has it and 0 elsewhere; so has what is missing,
    `NAME missing`, if any was missing in training. A column of the text true and false, in capitals or not, is two
    categories. A value that is new is refused, or ignored: all its inputs are 0. More than 1,000 different values are
    refused, as are more than 20 if over half of the rows differ: such a column names rows and tells nothing.

    *Target.* Text, truth values and Arrow's dictionaries are classes, as are at most 20 different integers; any other
    numbers are values, standardised like inputs. `task` decides otherwise. The names of classes are text, sorted as
    integers if all are such.
    """

    columns: tuple[NumberColumn | CategoryColumn, ...]
    target: ClassTarget | ValueTarget

    @classmethod
    def fit(
        cls,
        table: pa.Table,
        target: str | Sequence[str],
        *,
        task: Literal["auto", "classify", "regress"] = "auto",
        drop: Sequence[str] = (),
        categories: Sequence[str] = (),
    ) -> Preparation:
        """What the training rows say about their columns.

        Parameters
        ----------
        table : pyarrow.Table
            The training rows, and none of those to test with.
        target : str, or sequence of str
            The column to predict; several only where all are numbers.
        task : "auto", "classify" or "regress"
            Whether the target is classes or values; "auto" looks at it.
        drop : sequence of str
            Columns to leave out.
        categories : sequence of str
            Columns whose numbers are names, such as postcodes.

        Raises
        ------
        TypeError
            If `table` is no table of pyarrow's.
        ValueError
            If there are no rows, no such column, or none to learn from; if a column cannot be used (the message lists
            all of those), a number is infinite, or the target has missing entries, a single class, or text where
            numbers are needed.
        """
        named(task, dict.fromkeys(("auto", "classify", "regress")), "task")
        names = _checked_table(table)
        if not all(names):
            raise ValueError("the table has a column without a name; name or remove it.")
        if table.num_rows == 0:
            raise ValueError("the table has no rows to learn from; give at least one.")
        targets = _present(target, names, "target")
        if not targets:
            raise ValueError("target names no column; name the one to predict.")
        dropped, forced = _present(drop, names, "drop"), _present(categories, names, "categories")
        clash = [name for name in targets if name in dropped + forced]
        if clash:
            raise ValueError(f"{_listed(clash)} cannot be the target and in drop or categories as well.")
        features = [name for name in names if name not in {*targets, *dropped}]
        if not features:
            raise ValueError(
                f"no column is left to learn from: the table has {_listed(names)}, and "
                f"{_listed(targets + dropped)} are targets or left out. Leave out fewer."
            )
        return cls(_fit_columns(table, features, forced), _fit_target(table, targets, task))

    @staticmethod
    def known(table: pa.Table, target: str | Sequence[str]) -> np.ndarray:
        """Which rows have a target, shape (n,), bool: only those can be learned from or tested with."""
        targets = _present(target, _checked_table(table), "target")
        missing = np.zeros(table.num_rows, dtype=bool)
        for name in targets:
            _refuse_kinds(table, [name])
            missing |= _is_missing(table.column(name))
        return ~missing

    def features(
        self, table: pa.Table, *, first_row: int = 0, unknown: Literal["error", "ignore"] = "error"
    ) -> np.ndarray:
        """The inputs of the network, shape (n, d), float64; further columns of the table are ignored.

        Parameters
        ----------
        table : pyarrow.Table
            With all the columns of the preparation, of any type that can be read as theirs.
        first_row : int
            Rows that came before this table; errors count from there.
        unknown : "error" or "ignore"
            What to do with a category that was not met in training: refuse it, or let all its inputs be 0.

        Raises
        ------
        ValueError
            If columns are missing (all are listed), or an entry cannot be one of its column: the message names the
            row, counted from 1, the column and the entry.
        """
        named(unknown, {"error": None, "ignore": None}, "choice of unknown")
        first_row = integer(first_row, "first_row", 0, usual=0)
        self._need(table, [column.name for column in self.columns])
        inputs = np.zeros((table.num_rows, len(self.feature_names)))
        start = 0
        for column in self.columns:
            block = inputs[:, start : start + len(column.features)]
            column.write(block, table.column(column.name), first_row, unknown == "ignore")
            start += len(column.features)
        return inputs

    def targets(self, table: pa.Table, first_row: int = 0) -> np.ndarray:
        """The number of each row's class, shape (n,), int64; or standardised values, shape (n, t), float64.

        Raises
        ------
        ValueError
            If a target column is missing, or an entry is missing, infinite, no number or no known class: the message
            names the row, counted from 1.
        """
        first_row = integer(first_row, "first_row", 0, usual=0)
        self._need(table, list(self.target.names))
        return self.target.read(table, first_row)

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs of the network, shape (n, t), in the units of the targets:  mean + scale z.

        Raises
        ------
        ValueError
            If the target is classes, or the shape is another.
        """
        if isinstance(self.target, ClassTarget):
            raise ValueError(f"the target {self.target.name!r} is classes; its outputs have no units. See classes.")
        return self.target.values(outputs)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of their numbers; none where values are predicted."""
        return self.target.classes if isinstance(self.target, ClassTarget) else ()

    @property
    def is_classification(self) -> bool:
        """Whether classes are predicted."""
        return isinstance(self.target, ClassTarget)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What each input is called, in order; d of them."""
        return tuple(name for column in self.columns for name in column.features)

    def describe(self) -> list[tuple[str, str, str]]:
        """For each column, the targets last: its name, its kind, and what was done with it."""
        return [(column.name, column.kind, column.done) for column in self.columns] + self.target.described

    def _need(self, table: pa.Table, needed: list[str]) -> None:
        names = _checked_table(table)
        lacking = [name for name in needed if name not in set(names)]
        if lacking:
            raise ValueError(
                f"the table lacks {_listed(lacking, 50)}, which the model was trained with; it has {_listed(names)}."
            )

    def to_json(self) -> dict[str, Any]:
        """The whole preparation in what JSON can say; `from_json` takes it back."""
        return {"columns": [column.to_json() for column in self.columns], "target": self.target.to_json()}

    @classmethod
    def from_json(cls, data: object) -> Preparation:
        """The preparation that `to_json` gave.

        Raises
        ------
        ValueError
            If anything is missing, too much, of a wrong type, or out of its range.
        """
        fields = _object(data, {"columns", "target"}, "the preparation")
        items = _items(fields["columns"], "columns")
        columns = tuple(_of_kind(item, COLUMN_KINDS, f"column {i}") for i, item in enumerate(items, 1))
        target = _of_kind(fields["target"], TARGET_KINDS, "the target")
        names = [column.name for column in columns] + list(target.names)
        if not columns or len(set(names)) < len(names):
            raise ValueError(f"a preparation needs columns of different names; got {_listed(names)}.")
        return cls(columns, target)


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

    kind: ClassVar[str] = "number"

    @classmethod
    def fit(cls, name: str, x: np.ndarray, truth: bool) -> NumberColumn:
        """From the training entries; NaN is what is missing, and not all are."""
        mean, scale = _centre(x[~np.isnan(x)], name)
        return cls(name, mean, scale, bool(np.isnan(x).any()), truth)

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        return [self.name, f"{self.name} missing"] if self.missing else [self.name]

    @property
    def done(self) -> str:
        """What was done, for a report."""
        text = f"standardised: mean {self.mean:.4g}, scale {self.scale:.4g}"
        return text + ("; a further input tells what is missing" if self.missing else "")

    def write(self, out: np.ndarray, column: Any, first_row: int, ignore: bool) -> None:
        """Fill the inputs of this column, shape (n, 1 or 2)."""
        x = _numbers(_truth_as_numbers(column) if self.truth else column, self.name, first_row)
        missing = np.isnan(x)
        out[:, 0] = np.where(missing, 0, _standardised(x, self.mean, self.scale, self.name, first_row))
        if self.missing:
            out[:, 1] = missing

    def to_json(self) -> dict[str, Any]:
        numbers = {"mean": self.mean, "scale": self.scale, "missing": self.missing, "truth": self.truth}
        return {"kind": self.kind, "name": self.name, **numbers}

    @classmethod
    def from_json(cls, data: object, what: str) -> NumberColumn:
        fields = _object(data, {"kind", "name", "mean", "scale", "missing", "truth"}, what)
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

    kind: ClassVar[str] = "category"

    @classmethod
    def fit(cls, name: str, text: Any, values: list[str]) -> CategoryColumn:
        """From the training entries, and the different ones among them."""
        lower = {value.lower() for value in values}
        return cls(name, tuple(sorted(lower if lower <= TRUTH else values)), text.null_count > 0)

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        names = [f"{self.name}={value}" for value in self.categories]
        return [*names, f"{self.name} missing"] if self.missing else names

    @property
    def done(self) -> str:
        """What was done, for a report."""
        text = f"an input for each of {len(self.categories)}: {_listed(self.categories, 5)}"
        return text + ("; and one for what is missing" if self.missing else "")

    def write(self, out: np.ndarray, column: Any, first_row: int, ignore: bool) -> None:
        """Fill the inputs of this column, shape (n, categories)."""
        _refuse_kind(column, self.name, "categories")
        text = _text(column)
        position, missing = _positions(text, self.categories)
        new = np.flatnonzero((position < 0) & ~missing)
        if new.size and not ignore:
            raise ValueError(
                f"{_place(self.name, new[0], first_row)}: {_shown(text, new[0])} was not met in training, where "
                f"{_listed(self.categories)} were. Correct it, or ignore what is new with --unknown ignore, or "
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
        fields = _object(data, {"kind", "name", "categories", "missing"}, what)
        return cls(
            _string(fields["name"], f"the name of {what}"),
            _strings(fields["categories"], f"the categories of {what}", 1, MOST_CATEGORIES),
            _flag(fields["missing"], f"'missing' of {what}"),
        )


def _fit_columns(table: pa.Table, names: list[str], forced: list[str]) -> tuple[NumberColumn | CategoryColumn, ...]:
    """The columns to learn from; one error for all that cannot be used."""
    _refuse_kinds(table, names)
    fitted: list[NumberColumn | CategoryColumn] = []
    faults: dict[str, str] = {}
    for name in names:
        made = _fit_column(name, table.column(name), name in forced)
        if isinstance(made, str):
            faults[name] = made
        else:
            fitted.append(made)
    if faults:
        listed = "; ".join(f"{name!r} {fault}" for name, fault in faults.items())
        raise ValueError(f"nothing can be learned from these columns: {listed}. {_leave_out(faults)}")
    return tuple(fitted)


def _fit_column(name: str, column: Any, forced: bool) -> NumberColumn | CategoryColumn | str:
    """The column as the training rows say, or what is wrong with it."""
    pa = arrow()
    x = None if forced or pa.types.is_dictionary(column.type) else _parsed(column)
    if x is not None:
        return "has no entries" if np.isnan(x).all() else NumberColumn.fit(name, x, pa.types.is_boolean(column.type))
    text = _text(column)
    values: list[str] = text.drop_null().unique().to_pylist()
    known = len(text) - text.null_count
    if not values:
        return "has no entries"
    if len(values) > MOST_CATEGORIES or (len(values) > FEW and 2 * len(values) > known):
        return f"has {len(values)} different values in {known} rows{_almost_numbers(text)}"
    return CategoryColumn.fit(name, text, values)


def _almost_numbers(text: Any) -> str:
    """What keeps a column of text from being numbers, if over half of its entries are."""
    numbers = arrow().compute.sum(arrow().compute.match_substring_regex(text, NUMBER)).as_py() or 0
    i = _first_text(text) if 2 * numbers > len(text) - text.null_count else None
    return "" if i is None else f" (numbers, but for {_shown(text, i)} in row {i + 1})"


# --- Targets ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes; class k is called `classes[k]`."""

    name: str
    classes: tuple[str, ...]

    kind: ClassVar[str] = "classes"

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return (self.name,)

    @property
    def described(self) -> list[tuple[str, str, str]]:
        """For a report."""
        return [(self.name, "target", f"{len(self.classes)} classes: {_listed(self.classes, 5)}")]

    def read(self, table: pa.Table, first_row: int) -> np.ndarray:
        """The number of each row's class, shape (n,), int64."""
        column = table.column(self.name)
        _refuse_kind(column, self.name, "classes")
        text = _text(column)
        position, missing = _positions(text, self.classes)
        _refuse_missing(missing, self.name, first_row)
        if (position < 0).any():
            i = int(np.argmax(position < 0))
            raise ValueError(
                f"{_place(self.name, i, first_row)}: {_shown(text, i)} is none of the classes {_listed(self.classes)} "
                f"that were met in training. Correct it, or leave the row out."
            )
        return position

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "classes": list(self.classes)}

    @classmethod
    def from_json(cls, data: object, what: str) -> ClassTarget:
        fields = _object(data, {"kind", "name", "classes"}, what)
        return cls(_string(fields["name"], f"the name of {what}"), _strings(fields["classes"], "the classes", 2))


@dataclass(frozen=True)
class ValueTarget:
    """One or more numbers, each standardised:  z = (y - mean) / scale."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]

    kind: ClassVar[str] = "values"

    @property
    def described(self) -> list[tuple[str, str, str]]:
        """For a report."""
        each = zip(self.names, self.means, self.scales, strict=True)
        return [(name, "target", f"standardised: mean {m:.4g}, scale {s:.4g}") for name, m, s in each]

    def read(self, table: pa.Table, first_row: int) -> np.ndarray:
        """Standardised values, shape (n, t), float64."""
        out = np.zeros((table.num_rows, len(self.names)))
        for j, name in enumerate(self.names):
            x = _numbers(table.column(name), name, first_row)
            _refuse_missing(np.isnan(x), name, first_row)
            out[:, j] = _standardised(x, self.means[j], self.scales[j], name, first_row)
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
        fields = _object(data, {"kind", "names", "means", "scales"}, what)
        names = _strings(fields["names"], f"the names of {what}", 1)
        means = tuple(_real(x, f"a mean of {what}") for x in _items(fields["means"], f"the means of {what}"))
        scales = tuple(_positive(x, f"a scale of {what}") for x in _items(fields["scales"], f"the scales of {what}"))
        if not len(names) == len(means) == len(scales):
            raise ValueError(f"{what} needs as many means and scales as names, {len(names)}.")
        return cls(names, means, scales)


def _fit_target(table: pa.Table, names: list[str], task: str) -> ClassTarget | ValueTarget:
    """Classes or values, as the task or the training rows say."""
    _refuse_kinds(table, names)
    for name in names:
        _refuse_missing(_is_missing(table.column(name)), name, 0)
    if len(names) > 1 and task == "classify":
        raise ValueError(f"one column alone can be classes; got the targets {_listed(names)}. Train a model for each.")
    if task == "classify" or (task == "auto" and len(names) == 1 and _looks_like_classes(table.column(names[0]))):
        return ClassTarget(names[0], _classes(table.column(names[0]), names[0]))
    centres = [_centre(_numbers(table.column(name), name, 0), name) for name in names]
    return ValueTarget(tuple(names), tuple(mean for mean, _ in centres), tuple(scale for _, scale in centres))


def _looks_like_classes(column: Any) -> bool:
    types = arrow().types
    if types.is_boolean(column.type) or types.is_dictionary(column.type):
        return True
    if not types.is_integer(column.type):
        if not _is_text(column.type):
            return False
        if _parsed(column) is None:
            return True
    values = _text(column).unique()
    return len(values) <= FEW and _all_integers(values)


def _classes(column: Any, name: str) -> tuple[str, ...]:
    """The names of the classes, sorted."""
    found = _text(column).unique()
    values: list[str] = found.to_pylist()
    if len(values) < 2:
        raise ValueError(
            f"the target {name!r} has a single class in the training rows, {_listed(values)}; at least two are needed."
        )
    if len(values) > FEW and 2 * len(values) > len(column):
        raise ValueError(
            f"the target {name!r} has {len(values)} different classes in {len(column)} rows"
            f"{_almost_numbers(_text(column))}, too many to learn. "
            f"Use another target, or task='regress' (--task regress) if it is numbers."
        )
    return tuple(sorted(values, key=_by_number) if _all_integers(found) else sorted(values))


def _by_number(text: str) -> tuple[int, str]:
    return int(text), text


def _all_integers(text: Any) -> bool:
    compute = arrow().compute
    return bool(compute.all(compute.match_substring_regex(text, INTEGER)).as_py())


# --- Reading entries ----------------------------------------------------------------------------------------


def _text(column: Any) -> Any:
    """The entries as text without spaces around it; null is what is missing."""
    pa = arrow()
    text = pa.compute.utf8_trim_whitespace(_plain(column).cast(pa.string()))
    return pa.compute.if_else(pa.compute.is_in(text, value_set=pa.array(MISSING)), pa.scalar(None, pa.string()), text)


def _plain(column: Any) -> Any:
    """The column without a dictionary."""
    return column.cast(column.type.value_type) if arrow().types.is_dictionary(column.type) else column


def _parsed(column: Any) -> np.ndarray | None:
    """The entries as float64, NaN for what is missing; None if any is text that is no number."""
    pa = arrow()
    column = _plain(column)
    if not _is_text(column.type):
        return column.cast(pa.float64(), safe=False).to_numpy()  # integers beyond 2**53 are rounded
    x = _cast(column)
    if x is not None and np.count_nonzero(np.isnan(x)) == column.null_count:
        return x
    text = pa.compute.replace_substring_regex(_text(column), r"\A\+([0-9.])", r"\1")  # no plus sign in Arrow's numbers
    x = _cast(text)
    return x if x is not None and np.count_nonzero(np.isnan(x)) == text.null_count else None


def _cast(text: Any) -> np.ndarray | None:
    pa = arrow()
    try:
        return text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None


def _numbers(column: Any, name: str, first_row: int) -> np.ndarray:
    """The entries as float64, NaN for what is missing; refuses text."""
    _refuse_kind(column, name, "numbers")
    x = _parsed(column)
    if x is None:
        text = _text(column)
        i = _first_text(text) or 0
        raise ValueError(
            f"{_place(name, i, first_row)}: {_shown(text, i)} is no number, and the column needs numbers. Correct it, "
            f"or leave it empty if it is not known."
        )
    _refuse_infinity(x, name, first_row)
    return x


def _first_text(text: Any) -> int | None:
    """The first entry that is no number; by halves, since all before it parse at once."""
    if _parsed(text) is not None:
        return None
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _parsed(text.slice(low, middle - low)) is None else (middle, high)
    return low


def _truth_as_numbers(column: Any) -> Any:
    """The text true and false, in capitals or not, as 1 and 0; the rest as it is."""
    pa = arrow()
    if not _is_text(_plain(column).type):
        return column
    text = _text(column)
    position = pa.compute.index_in(pa.compute.utf8_lower(text), value_set=pa.array(sorted(TRUTH)))
    return pa.compute.coalesce(position.cast(pa.string()), text)


def _positions(text: Any, values: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where each entry is among the values, -1 where it is not, int64; and which entries are missing."""
    pa = arrow()
    lower = [value.lower() for value in values]
    if TRUTH.issuperset(lower) and len(set(lower)) == len(lower):  # typed files have no capitals in them
        text, values = pa.compute.utf8_lower(text), lower
    position = pa.compute.index_in(text, value_set=pa.array(values, pa.string())).fill_null(-1)
    return position.to_numpy().astype(np.int64), text.is_null().to_numpy()


def _is_missing(column: Any) -> np.ndarray:
    text = _text(column) if _is_text(_plain(column).type) else _plain(column)
    return text.is_null(nan_is_null=True).to_numpy()


def _centre(x: np.ndarray, name: str) -> tuple[float, float]:
    """The mean and the deviation, 1 for none; by way of u = (x - low) / span, so that no square overflows."""
    _refuse_infinity(x, name, 0)
    low = float(x.min())
    span = float(x.max()) - low or 1.0
    if math.isinf(span):
        raise ValueError(f"column {name!r} is from {low} to {float(x.max())}, too far apart; use another unit.")
    u = (x - low) / span
    return low + span * float(u.mean()), span * float(u.std()) or 1.0


def _standardised(x: np.ndarray, mean: float, scale: float, name: str, first_row: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = (x - mean) / scale
    if np.isinf(z).any():
        i = int(np.argmax(np.isinf(z)))
        raise ValueError(f"{_place(name, i, first_row)}: {x[i]} is too far from the training rows' mean, {mean}.")
    return z


# --- What is refused ----------------------------------------------------------------------------------------


def _is_text(kind: Any) -> bool:
    types = arrow().types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_usable(kind: Any) -> bool:
    """Whether entries of this type are numbers, truth values or text, or all missing."""
    types = arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return numbers or types.is_boolean(kind) or types.is_null(kind) or _is_text(kind)


def _refuse_kinds(table: pa.Table, names: Iterable[str]) -> None:
    bad = {name: table.column(name).type for name in names if not _is_usable(table.column(name).type)}
    if bad:
        listed = ", ".join(f"{name!r} ({kind})" for name, kind in bad.items())
        raise ValueError(f"columns must be numbers, truth values or text; these are not: {listed}. {_leave_out(bad)}")


def _refuse_kind(column: Any, name: str, wanted: str) -> None:
    if not _is_usable(column.type):
        raise ValueError(f"column {name!r} is of type {column.type}, and {wanted} are needed, as in training.")


def _refuse_infinity(x: np.ndarray, name: str, first_row: int) -> None:
    if np.isinf(x).any():
        i = int(np.argmax(np.isinf(x)))
        raise ValueError(
            f"{_place(name, i, first_row)}: infinity, or a number beyond 1.8e308. Correct it, or leave it empty if it "
            f"is not known."
        )


def _refuse_missing(missing: np.ndarray, name: str, first_row: int) -> None:
    if missing.any():
        raise ValueError(
            f"{_place(name, int(np.argmax(missing)), first_row)}: the target is missing. Leave out such rows, "
            f"{int(missing.sum())} of {len(missing)}; Preparation.known tells which have one."
        )


def _place(name: str, i: int, first_row: int) -> str:
    return f"row {first_row + int(i) + 1}, column {name!r}"


def _shown(text: Any, i: int) -> str:
    entry = str(text[int(i)].as_py())
    return repr(entry if len(entry) <= 60 else entry[:60] + "...")


def _listed(names: Iterable[str], most: int = 10) -> str:
    found = list(names)
    more = f", ... ({len(found)} in all)" if len(found) > most else ""
    return ", ".join(map(repr, found[:most])) + more


def _leave_out(names: Iterable[str]) -> str:
    found = list(names)
    return f"Leave out what cannot be used: --drop {','.join(found)}, or drop={found!r}."


def _checked_table(table: Any) -> list[str]:
    """The names of the columns of what must be a table."""
    if not isinstance(table, arrow().Table):
        raise TypeError(f"table must be a pyarrow.Table, as open_table(path).read() gives; got {type(table).__name__}.")
    names: list[str] = table.column_names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the table has several columns of one name: {_listed(twice)}. Rename all but one.")
    return names


def _present(names: str | Sequence[str], there: list[str], argument: str) -> list[str]:
    """The names as a list; each is that of a column, and comes once."""
    found = list(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in found:
        if name not in there:
            folded = {column.casefold(): column for column in there}
            near = difflib.get_close_matches(str(name).casefold(), folded, n=1)
            guess = f" Did you mean {folded[near[0]]!r}?" if near else ""
            raise ValueError(f"{argument}: there is no column {name!r}; the table has {_listed(there, 20)}.{guess}")
    return found


# --- JSON ---------------------------------------------------------------------------------------------------

COLUMN_KINDS: Mapping[str, Callable[[object, str], NumberColumn | CategoryColumn]] = {
    NumberColumn.kind: NumberColumn.from_json,
    CategoryColumn.kind: CategoryColumn.from_json,
}
TARGET_KINDS: Mapping[str, Callable[[object, str], ClassTarget | ValueTarget]] = {
    ClassTarget.kind: ClassTarget.from_json,
    ValueTarget.kind: ValueTarget.from_json,
}


def _of_kind(data: object, kinds: Mapping[str, Callable[[object, str], T]], what: str) -> T:
    """What the entry "kind" says it is."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{what} must be of kind {' or '.join(kinds)}; got {_brief(kind)}.")
    return kinds[kind](data, what)


def _object(data: object, keys: set[str], what: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.keys() != keys:
        got = _brief(list(data) if isinstance(data, dict) else data)
        raise ValueError(f"{what} must have the entries {', '.join(sorted(keys))} and no others; got {got}.")
    return data


def _items(data: object, what: str) -> list[Any]:
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
    found = tuple(_string(item, f"each of {what}") for item in _items(data, what))
    if not least <= len(found) <= most or len(set(found)) < len(found):
        raise ValueError(f"{what} must be at least {least}, at most {most:g}, and different; got {_listed(found)}.")
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
