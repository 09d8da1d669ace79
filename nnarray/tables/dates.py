"""Columns of dates and times: how far along they are, and where in the year, the week and the day."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nnarray.datasets.preparation import centred
from nnarray.tables.arrow import arrow
from nnarray.tables.cells import Rows, is_dated, is_text, row_number, shown, text_of, where, without_dictionary
from nnarray.tables.oddities import Masks, masks
from nnarray.tables.saved import finite, flag, object_of, positive, string
from nnarray.tables.text_format import iso_date

ISO = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?\z"
ZONE = r"[0-9]{2}:[0-9]{2}.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)\z"
FINER = r"(\.[0-9]{6})[0-9]+"  # than a microsecond
DAY = np.timedelta64(1, "D")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
YEAR = 365.2425  # days, on average
FORMS = (  # in which dates are written elsewhere; without a leading 0 too
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
LOOKED_AT = 1_000  # different entries of a column
FEW_LOOKED_AT = 50  # each in all forms
MOSTLY = 0.9  # of them are dates, if some are entries that went wrong


@dataclass(frozen=True)
class DateColumn:
    """Days since the first date of the training, and the year, standardised; sine and cosine of the time of year.

    The day of the week is one of seven inputs, for weekends do not come gradually. Sine and cosine of the time of day
    are there if any training entry has one that is not midnight. A missing date is 0 in all of them, and a further
    input marks it if any was missing in training. Times with a zone are taken in UTC.
    """

    name: str
    first: str
    """Of the training, in ISO form."""
    days: tuple[float, float]
    """Mean and scale of the days since then."""
    years: tuple[float, float]
    zone: bool = False
    """Whether times have a zone."""
    timed: bool = False
    missing: bool = False
    note: str = field(default="", compare=False, repr=False)

    kind: ClassVar[str] = "date"

    @classmethod
    def fit(cls, name: str, moments: np.ndarray, zone: bool) -> DateColumn:
        """From the training entries; NaT is what is missing, and not all are."""
        missing = np.isnat(moments)
        known = moments[~missing]
        first = known.min()
        days, years = (_mean_and_scale(x) for x in (_days_since(first, known), _years(known)))
        timed = bool((known != known.astype("M8[D]")).any())
        return cls(name, str(first), days, years, zone, timed, bool(missing.any()))

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        parts = ["days", "year", "season sin", "season cos", *DAYS]
        parts += ["hour sin", "hour cos"] if self.timed else []
        return [f"{self.name} {part}" for part in parts + ["missing"] * self.missing]

    @property
    def done(self) -> str:
        """What was done, for a report."""
        hour = ", time of day" if self.timed else ""
        text = (
            f"days since {self.first[:10]} and year, standardised; time of year{hour} (sine, cosine), day of the week"
        )
        utc = "; in UTC" if self.zone else ""
        return text + utc + ("; one more input marks missing dates" if self.missing else "")

    def write(self, out: np.ndarray, column: Any, rows: Rows, ignore: bool) -> Masks:
        """Fill the inputs of this column, shape (n, 11 to 14); its odd entries."""
        moments = self._moments(column, rows)
        missing = np.isnat(moments)
        known = ~missing
        moments = moments[known]
        day = moments.astype("M8[D]")
        season = 2 * np.pi * ((day - day.astype("M8[Y]")) / DAY) / YEAR
        hour = 2 * np.pi * ((moments - day) / DAY)
        week = (day.astype(np.int64) + 3) % 7  # day 0 was a Thursday
        inputs = [
            _standard(_days_since(np.datetime64(self.first), moments), self.days),
            _standard(_years(moments), self.years),
            np.sin(season),
            np.cos(season),
            *(week == k for k in range(7)),
            *((np.sin(hour), np.cos(hour)) if self.timed else ()),
        ]
        for j, values in enumerate(inputs):
            out[known, j] = values
        if self.missing:
            out[:, -1] = missing
            return {}
        return masks(missing=missing)

    def _moments(self, column: Any, rows: Rows) -> np.ndarray:
        found = moments_in(column)
        if found is None:
            i, text = _first_fault(column), text_of(column)
            raise ValueError(
                f"{where(self.name, i, rows)}: {shown(text, i)} is no date as those of the column are, such as "
                f"2026-11-29 or 2026-11-29T13:15. Correct it, or leave it empty if it is not known. If dates are "
                f"written in another form: --dates '%d.%m.%Y', or TextFormat(dates='%d.%m.%Y')."
            )
        moments, zone = found
        if zone != self.zone and not np.isnat(moments).all():
            has, had = ("a time zone", "none") if zone else ("no time zone", "one")
            i = int(np.argmin(np.isnat(moments)))
            raise ValueError(
                f"{where(self.name, i, rows)}: {shown(text_of(column), i)} has {has}, and the dates of the training "
                f"had {had}. Write all times as in training."
            )
        return moments

    def to_json(self) -> dict[str, Any]:
        """The column's settings, as they are saved in a file."""
        fields = {"first": self.first, "days": list(self.days), "years": list(self.years)}
        flags = {"zone": self.zone, "timed": self.timed, "missing": self.missing}
        return {"kind": self.kind, "name": self.name, **fields, **flags}

    @classmethod
    def from_json(cls, data: object, what: str) -> DateColumn:
        """The column from saved settings; refuses what is not valid, and calls it `what`."""
        fields = object_of(data, {"kind", "name", "first", "days", "years", "zone", "timed", "missing"}, what)
        first = string(fields["first"], f"the first date of {what}")
        if re.match(ISO.replace(r"\z", r"\Z"), first) is None or not _is_moment(first):
            raise ValueError(f"the first date of {what} must be one in ISO form; got {first[:60]!r}.")
        return cls(
            string(fields["name"], f"the name of {what}"),
            first,
            _pair(fields["days"], f"the days of {what}"),
            _pair(fields["years"], f"the years of {what}"),
            flag(fields["zone"], f"'zone' of {what}"),
            flag(fields["timed"], f"'timed' of {what}"),
            flag(fields["missing"], f"'missing' of {what}"),
        )


def other_form(text: Any) -> str:
    """Advice where a column of text has dates, but not in ISO form; empty if it has none."""
    entries: list[str] = text.drop_null().unique().slice(0, LOOKED_AT).to_pylist()
    others = [entry for entry in entries if not re.match(ISO.replace(r"\z", r"\Z"), entry)]
    if not others:
        return ""
    counts = {form + time: 0 for form in FORMS for time in TIMES}
    for form in counts:
        if iso_date(others[0], form) != others[0] or iso_date(others[-1], form) != others[-1]:
            counts[form] = sum(iso_date(entry, form) != entry for entry in others)
    most = max(counts.values())
    if most < MOSTLY * len(others):
        return _several_forms(others[:FEW_LOOKED_AT], list(counts))
    forms = [form for form, count in counts.items() if count == most]
    options = " or ".join(f"--dates {form!r}" for form in forms)
    return f"dates that are not in ISO form, such as {others[0]!r}: {options}, or TextFormat(dates={forms[0]!r})"


def _several_forms(entries: list[str], forms: list[str]) -> str:
    """Advice where all entries are dates, but not in one form; empty if one is no date."""
    of_first = [form for form in forms if iso_date(entries[0], form) != entries[0]]
    if not of_first or not all(any(iso_date(entry, form) != entry for form in forms) for entry in entries):
        return ""
    other = next((e for e in entries if all(iso_date(e, form) == e for form in of_first)), entries[-1])
    return f"dates in several forms, such as {entries[0]!r} and {other!r}: write all of them as 2026-11-29"


def almost_dates(column: Any, name: str, rows: Rows) -> str:
    """The fault and the remedy for a column of text that is almost dates in ISO form; empty if it has names."""
    if not is_text(without_dictionary(column).type):
        return ""
    compute, text = arrow().compute, text_of(column)
    known = len(text) - text.null_count
    dated = compute.sum(compute.match_substring_regex(text, ISO)).as_py() or 0
    if dated < max(MOSTLY * known, 1) or moments_in(column) is not None:
        return ""
    i = _first_fault(column)
    other = f"except in {known - dated} of {known} entries"
    if dated == known:
        other = "but some do not exist, or only some have a time zone"
    return (
        f"column {name!r} has dates, {other}: row {row_number(i, rows)} has {shown(text, i)}. Correct the entry, leave "
        f"it empty if it is not known, or leave the column out: --drop {name}, or drop=[{name!r}]."
    )


def moments_in(column: Any) -> tuple[np.ndarray, bool] | None:
    """The entries as `datetime64[us]`, NaT where one is missing, and whether they have a time zone; None of no dates.

    Text is dates if all its entries are in ISO form, the day at least, and either all of them have a zone or none has.
    Times with a zone are in UTC.
    """
    pa = arrow()
    column = without_dictionary(column)
    kind = column.type
    if is_dated(kind):
        return _numpy(column), pa.types.is_timestamp(kind) and kind.tz is not None
    if not is_text(kind) or column.null_count == len(column):
        return (np.full(len(column), "NaT", "M8[us]"), False) if pa.types.is_null(kind) else None
    text = text_of(column)
    compute = pa.compute
    if not compute.all(compute.match_substring_regex(text, ISO), min_count=0).as_py():
        return None
    zone = bool(compute.any(compute.match_substring_regex(text, ZONE), min_count=0).as_py())
    try:
        times = compute.replace_substring_regex(text, FINER, r"\1")
        return _numpy(times.cast(pa.timestamp("us", "UTC" if zone else None))), zone
    except pa.ArrowInvalid:  # the 30th of February; or some have a zone and some have none
        return None


def _numpy(column: Any) -> np.ndarray:
    pa = arrow()
    times = column.cast(pa.timestamp("us"), safe=False) if not pa.types.is_timestamp(column.type) else column
    return times.cast(pa.timestamp("us", times.type.tz), safe=False).to_numpy().astype("M8[us]")


def _first_fault(column: Any) -> int:
    """The first entry that is no date as those before it are."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        part = column.slice(low, middle - low)
        fine = part.null_count == len(part) or moments_in(part) is not None
        low, high = (middle, high) if fine else (low, middle)
    return low


def _days_since(first: Any, moments: np.ndarray) -> np.ndarray:
    return (moments - first) / DAY


def _years(moments: np.ndarray) -> np.ndarray:
    return moments.astype("M8[Y]").astype(np.float64) + 1970


def _mean_and_scale(x: np.ndarray) -> tuple[float, float]:
    values: Any = x
    mean, scale, _ = centred(values, float(np.finfo(np.float64).eps))
    return float(mean), float(scale)


def _standard(x: np.ndarray, by: tuple[float, float]) -> np.ndarray:
    return (x - by[0]) / by[1]


def _is_moment(text: str) -> bool:
    try:
        return not np.isnat(np.datetime64(text))
    except ValueError:
        return False


def _pair(data: object, what: str) -> tuple[float, float]:
    if not isinstance(data, list) or len(data) != 2:
        raise ValueError(f"{what} must be a mean and a scale.")
    return finite(data[0], f"the mean of {what}"), positive(data[1], f"the scale of {what}")
