"""The kinds of targets that a network learns to predict, fitted to the training rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from nnarray.tables.almost_numbers import as_missing, beside, mixture
from nnarray.tables.arrow import arrow
from nnarray.tables.cells import (
    TRUTH,
    Rows,
    all_integers,
    centre,
    distinct,
    is_missing,
    is_text,
    listed,
    numbers_of,
    positions,
    refuse_kind,
    refuse_kinds,
    refuse_missing,
    shown,
    standardised,
    text_of,
    where,
)
from nnarray.tables.kinds import FEW, numbers_in, words_for_nothing
from nnarray.tables.saved import finite, items_of, object_of, positive, string, strings

if TYPE_CHECKING:
    import pyarrow as pa

PART = 4_096  # entries of a target that are looked at together
TEXT, INTEGERS, TRUTH_VALUES = "text", "integers", "truth values"
WHOLE = r"\A[+-]?[0-9]{1,1000}(\.0*)?\z"  # pandas writes integers as 1.0 if one is missing


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes; class k has the name `classes[k]`, and `values[k]` is its entry in the column."""

    name: str
    classes: tuple[str, ...]
    labels: str = TEXT
    """What the entries are: "text", "integers" or "truth values"."""

    kind: ClassVar[str] = "classes"
    notes: ClassVar[tuple[str, ...]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return (self.name,)

    @property
    def values(self) -> np.ndarray:
        """The classes as what the entries are, shape (K,): text, int64 or bool."""
        if self.labels == INTEGERS:
            return np.asarray([int(each) for each in self.classes], dtype=np.int64)
        return np.asarray([each == "true" for each in self.classes] if self.labels == TRUTH_VALUES else self.classes)

    def known(self, table: pa.Table) -> np.ndarray:
        """Which rows have a class, shape (n,), bool."""
        return ~text_of(table.column(self.name)).is_null().to_numpy()

    @property
    def described(self) -> list[tuple[str, str, str]]:
        """The description for a report."""
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
                f"{where(self.name, i, rows)}: {shown(text, i)} is not one of the classes {listed(self.classes)} "
                f"of the training. Correct it, or leave the row out."
            )
        return position

    def to_json(self) -> dict[str, Any]:
        """The settings of the target for a file."""
        return {"kind": self.kind, "name": self.name, "classes": list(self.classes), "labels": self.labels}

    @classmethod
    def from_json(cls, data: object, what: str) -> ClassTarget:
        """The target from saved settings, checked; errors call it `what`."""
        older = {"labels": TEXT, **data} if isinstance(data, dict) else data  # without it, all labels were text
        fields = object_of(older, {"kind", "name", "classes", "labels"}, what)
        classes, labels = strings(fields["classes"], "the classes", 2), string(fields["labels"], f"'labels' of {what}")
        if labels not in _possible_labels(classes):
            raise ValueError(f"the classes {listed(classes)} of {what} cannot be {labels!r}.")
        return cls(string(fields["name"], f"the name of {what}"), classes, labels)


@dataclass(frozen=True)
class ValueTarget:
    """One or more numbers, each standardised:  z = (y - mean) / scale."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """A note for the user when it is fitted; not saved."""

    kind: ClassVar[str] = "values"

    def known(self, table: pa.Table) -> np.ndarray:
        """Which rows have all values, shape (n,), bool."""
        return ~np.any([is_missing(table.column(name)) for name in self.names], axis=0)

    @property
    def described(self) -> list[tuple[str, str, str]]:
        """The description for a report."""
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
        """The settings of the target for a file."""
        return {"kind": self.kind, "names": list(self.names), "means": list(self.means), "scales": list(self.scales)}

    @classmethod
    def from_json(cls, data: object, what: str) -> ValueTarget:
        """The target from saved settings, checked; errors call it `what`."""
        fields = object_of(data, {"kind", "names", "means", "scales"}, what)
        names = strings(fields["names"], f"the names of {what}", 1)
        means = tuple(finite(x, f"a mean of {what}") for x in items_of(fields["means"], f"the means of {what}"))
        scales = tuple(positive(x, f"a scale of {what}") for x in items_of(fields["scales"], f"the scales of {what}"))
        if not len(names) == len(means) == len(scales):
            raise ValueError(f"{what} needs as many means and scales as names, {len(names)}.")
        return cls(names, means, scales)


TARGET_KINDS: Mapping[str, Callable[[object, str], ClassTarget | ValueTarget]] = {
    ClassTarget.kind: ClassTarget.from_json,
    ValueTarget.kind: ValueTarget.from_json,
}


def fit_target(table: pa.Table, names: list[str], task: str, rows: Rows) -> ClassTarget | ValueTarget:
    """Classes or values, according to the task."""
    refuse_kinds(table, names)
    for name in names:
        refuse_missing(missing_target(table.column(name), name, task), name, rows)
    if len(names) > 1 and task == "classify":
        raise ValueError(
            f"only a single target can have classes; got the targets {listed(names)}. Train a model for each."
        )
    if task == "classify":
        classes = _classes(table.column(names[0]), names[0], rows)
        return ClassTarget(names[0], classes, _labels(table.column(names[0]).type, classes))
    columns = [(table.column(name), name) for name in names]
    means, scales, notes = zip(
        *(centre(numbers_of(column, name, rows), column, name, rows) for column, name in columns), strict=True
    )
    hints = tuple(f"target {note}: for names of classes, use --task classify" for note in notes if note)
    return ValueTarget(tuple(names), means, scales, hints)


def _labels(kind: Any, classes: tuple[str, ...]) -> str:
    """What the entries of a column of this type are: of text, such as that of a CSV file, what they all can be."""
    names = arrow().types.is_dictionary(kind) and is_text(kind.value_type)
    return TEXT if names else _possible_labels(classes)[-1]


def _possible_labels(classes: tuple[str, ...]) -> list[str]:
    """What entries with these names can be; text always."""
    if TRUTH.issuperset(classes):
        return [TEXT, TRUTH_VALUES]
    exact = all(re.fullmatch(r"0|-?[1-9][0-9]{0,18}", each) and -(2**63) <= int(each) < 2**63 for each in classes)
    return [TEXT, INTEGERS] if exact else [TEXT]


def missing_target(column: Any, name: str, task: str) -> np.ndarray:
    """Which rows have no target, bool: a word for a missing entry may also be the name of a class."""
    chosen = task_of(column, name)[0] if task == "auto" else task
    return text_of(column).is_null().to_numpy() if chosen == "classify" else is_missing(column)


def task_of(column: Any, name: str) -> tuple[Literal["classify", "regress"], str]:
    """Whether a target has classes or values by default, and a note on the choice for the user.

    Classes are text, truth values, Arrow dictionaries, and at most `FEW` different integers of any size, which may be
    written as 1.0.
    """
    types, kind = arrow().types, column.type
    texts = is_text(kind) or types.is_dictionary(kind)
    if types.is_boolean(kind) or (texts and numbers_in(column) is None):
        return "classify", mixture(column, f"target {name!r} is taken as classes")
    values = _few_values(column)
    if values is None:
        return "regress", ""
    classes: list[str] = sorted(values.to_pylist(), key=_by_number if all_integers(values) else float)
    if arrow().compute.all(arrow().compute.match_substring_regex(values, WHOLE)).as_py():
        words = words_for_nothing(text_of(column)) if is_text(kind) else {}
        if words:
            count, summary = sum(words.values()), f"target {name!r}: {len(classes) + len(words)} classes"
            return "classify", f"{summary}, of which {listed(words)} in {count} entries. {as_missing(list(words))}"
        chosen = f"target {name!r}: {len(classes)} classes, because it has few different integers"
        return "classify", f"{chosen} ({listed(classes, 5)}); if they are numbers, --task regress (task='regress')"
    if len(classes) <= 2:
        chosen = f"target {name!r}: numbers, because it has decimal numbers that are not integers"
        return "regress", f"{chosen} ({listed(classes, 5)}); if they are classes, --task classify (task='classify')"
    return "regress", ""


def _few_values(column: Any) -> Any:
    """The different entries of a column as text, in their order; None if they are more than `FEW`.

    Looked at part by part, since different numbers take ten times their size as text in a table of hashes.
    """
    values, known = arrow().array([], "string"), arrow().array(~is_missing(column))
    for start in range(0, len(column), PART):
        part = text_of(column.slice(start, PART)).filter(known.slice(start, PART))
        values = arrow().concat_arrays([values, part.unique().cast("string")]).unique()
        if len(values) > FEW:
            return None
    return values


def _classes(column: Any, name: str, rows: Rows) -> tuple[str, ...]:
    """The names of the classes, sorted."""
    values = distinct(text_of(column))
    if len(values) < 2:
        raise ValueError(
            f"the target {name!r} has a single class in the training rows, {listed(values)}; at least two are needed. "
            f"If another class has the name NA or null: put it in quotes, or --missing '', or TextFormat(missing=[])."
        )
    if len(values) > FEW and 2 * len(values) > len(column):
        raise ValueError(
            f"the target {name!r} has {len(values)} different classes in {len(column)} rows"
            f", too many to learn{beside(values)}. "
            f"Use another target, or task='regress' (--task regress) if it is numbers."
        )
    return tuple(sorted(values, key=_by_number) if all_integers(arrow().array(values)) else sorted(values))


def _by_number(text: str) -> tuple[int, str]:
    return int(text), text
