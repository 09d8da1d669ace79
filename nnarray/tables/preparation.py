"""The conversion of a table to inputs and targets of a network, fitted to the training rows, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nnarray.names import named
from nnarray.tables.almost_numbers import almost_numbers
from nnarray.tables.arrow import plain
from nnarray.tables.cells import (
    Rows,
    checked_table,
    index_columns,
    listed,
    present,
    refuse_kinds,
    without_kind,
)
from nnarray.tables.columns import COLUMN_KINDS, Column, fit_columns
from nnarray.tables.kinds import numbers_in
from nnarray.tables.notes import notes_on
from nnarray.tables.oddities import Masks, Odd
from nnarray.tables.problems import attempted, refuse_all
from nnarray.tables.saved import items_of, object_of, of_kind
from nnarray.tables.targets import TARGET_KINDS, TEXT, ClassTarget, ValueTarget, fit_target, missing_target, task_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Preparation:
    """The conversion of the columns of a table to inputs of a network, and of its outputs to targets.

    It is made by `Preparation.fit(training_rows, target)`, and then applied to new data without changes. It is
    saved with the model, as JSON.

    Attributes
    ----------
    columns : tuple of NumberColumn, CategoryColumn, DateColumn and TextColumn
        The inputs, in the order of the training table.
    target : ClassTarget or ValueTarget
        The target: one of several classes, or one or more numbers.

    Notes
    -----
    Text is an entry of a CSV file or of a column of text; surrounding spaces are ignored. Empty entries are missing, as
    are the nulls and NaN of a typed file.

    *Numbers.* A column is numbers if all its entries that are not missing are decimal numbers, whether a row is trained
    on or not; `NA`, `N/A`, `None`, `-`, `?` and the like are missing there. Where most entries are numbers and some are
    not, the column is refused. Truth values of a typed file are 0 and 1. A column of numbers becomes
    z = (x - mean) / scale, with the mean and the standard deviation (divided by n) of the training rows; a constant
    column has the scale 1. A missing number becomes the mean, z = 0, and if any were missing in training, a further
    input `NAME missing` is 1 there and 0 elsewhere. Infinity is refused.

    *Dates.* Columns of dates and times, and of text in ISO form (2026-11-29, 2026-11-29T13:15), become days since the
    first training date and the year, both standardised, sine and cosine of the time of year, an input for each day of
    the week, and sine and cosine of the time of day where there is any. Missing dates are treated as missing numbers.
    Times with a zone are taken in UTC.

    *Text.* What would be too many categories, and mostly is of several words, becomes 256 inputs: words and pairs of
    words, hashed. So do sentences: more than 30 different values, with at least 3 words and in fewer than 100 rows on
    average.

    *Categories.* Every other column is categories, and so is one of Arrow's type dictionary, but for more than 20
    different texts that are numbers. Each value of the training rows, sorted, has an input `NAME=VALUE` that is 1
    where the column has it and 0 elsewhere; so has what is missing, `NAME missing`, if any was missing in training.
    Values are compared as numbers where they are such: 1, 1.0 and +1 are one category, and so are true and false in
    capitals or not. A new value is refused or ignored. If it is ignored, all its inputs are 0. More than 1,000
    different values are refused, as are more than 20 if over half of the rows differ: such a column only names the
    rows.

    *Target.* Text, truth values and Arrow's dictionaries are classes, as are at most 20 different integers of any size,
    also written as 1.0; any other numbers are values, standardised like inputs. `task` decides otherwise. Words such as
    `NA` and `-` are classes if there are at most 20 different integers, or with `task="classify"`; otherwise the row
    has no target. The names of classes are text, sorted as integers if all are integers. Their labels are what the
    entries are.

    *Rounding.* A column that is constant up to rounding is not divided by its deviation, as in `Standardizer`.
    Integers beyond 2**53 that are taken as numbers are rounded. `notes` mentions both.
    """

    columns: tuple[Column, ...]
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
        train: np.ndarray | None = None,
        rows: Rows = 0,
        between: Callable[[], object] = lambda: None,
    ) -> Preparation:
        """Fit to a table: all rows determine the kind of each column, the training rows its mean or its categories.

        Parameters
        ----------
        table : pyarrow.Table
            All rows, so that the kinds of columns do not depend on the choice of training rows. What
            `index_columns` lists is left out, unless it is the target or in `categories`.
        target : str, or sequence of str
            The column to predict; several only where all are numbers.
        task : "auto", "classify" or "regress"
            Whether the target has classes or values; "auto" decides by its entries.
        drop : sequence of str
            Columns to leave out.
        categories : sequence of str
            Columns whose numbers are categories, such as postcodes.
        train : array of int, shape (m,)
            The rows to train on, all of them with a target; None: all rows.
        rows : int, or array of int, shape (n,)
            The positions of the rows, counted from 0, for errors: the number of rows before, or the position of each.
        between : callable
            Called after each column, when the memory of a mapped table may be released.

        Raises
        ------
        TypeError
            If `table` is not a pyarrow table.
        ValueError
            If there are no rows, no such column, or none to learn from; if a column cannot be used (the message lists
            all of those), a number is infinite, or the target has missing entries, a single class, or text where
            numbers are needed.
        """
        named(task, dict.fromkeys(("auto", "classify", "regress")), "task")
        names = checked_table(table)
        if not all(names):
            raise ValueError("the table has a column without a name; name or remove it.")
        if table.num_rows == 0:
            raise ValueError("the table has no rows to learn from; pass at least one.")
        targets = present(target, names, "target")
        if not targets:
            raise ValueError("target has no column; pass the name of the one to predict.")
        dropped, forced = present(drop, names, "drop"), present(categories, names, "categories")
        clash = [name for name in targets if name in dropped + forced]
        if clash:
            raise ValueError(f"{listed(clash)} cannot be the target and in drop or categories as well.")
        index = [name for name in index_columns(table) if name not in forced]
        features = [name for name in names if name not in {*targets, *dropped, *index}]
        if not features:
            kept = [name for name in index if name not in targets + dropped]
            raise ValueError(
                f"no column is left to learn from: the table has {listed(names)}, and "
                f"{listed(list(dict.fromkeys(targets + dropped + index)))} are targets or left out. "
                + (
                    f"{listed(kept)} name the rows, as an index of pandas: to learn from them, save the table after "
                    f"frame.reset_index(), or give them names."
                    if kept
                    else "Leave out fewer."
                )
            )
        train = np.arange(table.num_rows) if train is None else train
        problems: list[str] = []
        fitted = attempted(problems, _fitted_target, table, targets, task, train, rows)
        columns, of_columns = fit_columns(table, features, forced, train, rows, between)
        refuse_all([*problems, *of_columns])
        assert fitted is not None
        return cls(columns, fitted)

    def notes(self, table: pa.Table, between: Callable[[], object] = lambda: None) -> list[str]:
        """Notes for the user on the columns of the table that it was fitted to; `between` as in `fit`."""
        used = {column.name: column.kind for column in self.columns}
        index = [name for name in index_columns(table) if name not in {*used, *self.target.names}]
        notes = [f"column {name!r} was left out: it is an index of pandas, or has no name" for name in index]
        for name, kind in used.items():
            notes += notes_on(name, table.column(name), kind)
            between()
        return [*notes, *(column.note for column in self.columns if column.note), *self.target.notes]

    @staticmethod
    def known(
        table: pa.Table, target: str | Sequence[str], task: Literal["auto", "classify", "regress"] = "auto"
    ) -> np.ndarray:
        """Which rows have a target, shape (n,), bool: only these can be used for training or scores."""
        targets = present(target, checked_table(table), "target")
        missing = np.zeros(table.num_rows, dtype=bool)
        for name in targets:
            refuse_kinds(table, [name])
            missing |= missing_target(table.column(name), name, task if len(targets) == 1 else "regress")
        return ~missing

    def features(
        self,
        table: pa.Table,
        *,
        rows: Rows = 0,
        unknown: Literal["error", "ignore"] = "error",
        dtype: Literal["float32", "float64"] = "float64",
    ) -> np.ndarray:
        """The inputs of the network, shape (n, d); further columns of the table are ignored.

        Parameters
        ----------
        table : pyarrow.Table
            With all the columns of the preparation, of any type that can be read as theirs.
        rows : int, or array of int, shape (n,)
            The positions of the rows, counted from 0, for errors: the number of rows before, or the position of each.
        unknown : "error" or "ignore"
            What to do with a category that was not in the training rows: refuse it, or set all its inputs to 0.
        dtype : "float32" or "float64"
            The dtype of the inputs; they are computed in float64.

        Raises
        ------
        ValueError
            If columns are missing (all are listed), or an entry does not fit its column; the message names the
            row, counted from 1, the column and the entry.
        """
        return self.read(table, rows=rows, unknown=unknown, dtype=dtype)[0]

    def read(
        self,
        table: pa.Table,
        *,
        rows: Rows = 0,
        unknown: Literal["error", "ignore"] = "error",
        dtype: Literal["float32", "float64"] = "float64",
    ) -> tuple[np.ndarray, Odd]:
        """As `features`, and by column the entries that the training has met none like: see `Oddities`."""
        named(unknown, {"error": None, "ignore": None}, "choice of unknown")
        self._need(table, [column.name for column in self.columns])
        inputs = np.zeros((table.num_rows, len(self.feature_names)), dtype)
        start, odd = 0, dict[str, Masks]()
        for column in self.columns if table.num_rows else ():
            block = inputs[:, start : start + len(column.features)]
            if masks := column.write(block, without_kind(table.column(column.name)), rows, unknown == "ignore"):
                odd[column.name] = masks
            start += len(column.features)
        return inputs, odd

    def targets(self, table: pa.Table, *, rows: Rows = 0) -> np.ndarray:
        """The number of each row's class, shape (n,), int64; or standardised values, shape (n, t), float64.

        Raises
        ------
        ValueError
            If a target column is missing, or an entry is missing, infinite, not a number or not a known
            class; the message names the row, counted from 1.
        """
        self._need(table, list(self.target.names))
        return self.target.read(table, rows)

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs of the network, shape (n, t), in the units of the targets:  mean + scale z.

        Raises
        ------
        ValueError
            If the target is classes, or the shape is another.
        """
        if isinstance(self.target, ClassTarget):
            raise ValueError(f"the target {self.target.name!r} has classes; its outputs have no units. See classes.")
        return self.target.values(outputs)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of their numbers; none where values are predicted."""
        return self.target.classes if isinstance(self.target, ClassTarget) else ()

    @property
    def labels(self) -> np.ndarray:
        """The classes as the entries of the target are, shape (K,): text, int64 or bool; none for values."""
        return self.target.values if isinstance(self.target, ClassTarget) else np.asarray([])

    def with_text_labels(self) -> Preparation:
        """The same, but all labels are text, as in a column of text of a typed file."""
        return replace(self, target=replace(self.target, labels=TEXT)) if self.classes else self  # type: ignore[call-arg]

    @property
    def is_classification(self) -> bool:
        """Whether classes are predicted."""
        return isinstance(self.target, ClassTarget)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the d inputs, in order."""
        return tuple(name for column in self.columns for name in column.features)

    def describe(self) -> list[tuple[str, str, str]]:
        """For each column, the targets last: its name, its kind, and what was done with it."""
        return [(column.name, column.kind, column.done) for column in self.columns] + self.target.described

    def known_in(self, table: pa.Table) -> np.ndarray:
        """Which rows of another table have a target, shape (n,), bool."""
        self._need(table, list(self.target.names))
        return self.target.known(table)

    def _need(self, table: pa.Table, needed: list[str]) -> None:
        names = checked_table(table)
        lacking = [name for name in needed if name not in set(names)]
        if lacking:
            raise ValueError(
                f"the table lacks {listed(lacking, 50)}, which the model was trained with; it has {listed(names)}."
            )

    def to_json(self) -> dict[str, Any]:
        """The whole preparation as JSON values; `from_json` is the inverse."""
        return {"columns": [column.to_json() for column in self.columns], "target": self.target.to_json()}

    @classmethod
    def from_json(cls, data: object) -> Preparation:
        """The preparation from the result of `to_json`.

        Raises
        ------
        ValueError
            If anything is missing, unexpected, of a wrong type, or out of range.
        """
        fields = object_of(data, {"columns", "target"}, "the preparation")
        items = items_of(fields["columns"], "columns")
        columns = tuple(of_kind(item, COLUMN_KINDS, f"column {i}") for i, item in enumerate(items, 1))
        target = of_kind(fields["target"], TARGET_KINDS, "the target")
        names = [column.name for column in columns] + list(target.names)
        if not columns or len(set(names)) < len(names):
            raise ValueError(f"a preparation needs columns of different names; got {listed(names)}.")
        return cls(columns, target)


def _fitted_target(
    table: pa.Table, names: list[str], task: Literal["auto", "classify", "regress"], train: np.ndarray, rows: Rows
) -> ClassTarget | ValueTarget:
    """The target, fitted to the training rows; all rows decide whether it has classes."""
    refuse_kinds(table, names)
    columns = plain(table.select(names))
    chosen = _task(columns, task, rows)
    return fit_target(columns.take(train), names, chosen, train + rows if isinstance(rows, int) else rows[train])


def _task(targets: pa.Table, task: Literal["auto", "classify", "regress"], rows: Rows) -> Any:
    """What all rows say, if nobody says it; several targets are values."""
    name, column = targets.column_names[0], targets.column(0)
    if task == "classify":
        return task
    if task == "auto" and len(targets.column_names) > 1:
        return "regress"
    if numbers_in(column) is None and (fault := almost_numbers(column, name, rows, target=True)):
        raise ValueError(f"the target: {fault}")
    if task == "regress":
        return task
    return task_of(column, name)[0]
