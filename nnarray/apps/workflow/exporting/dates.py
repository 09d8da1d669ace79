"""A column of dates as nodes of a file, which read texts in ISO form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nnarray.onnx.writing.around import fails_where, inside, numbered, texts
from nnarray.onnx.writing.formulas import Real, real
from nnarray.onnx.writing.writer import Writer
from nnarray.tables.dates import DAY, DAYS, YEAR, DateColumn

DAY_SECONDS = 86_400.0
OPSET = 20
"""The first version of the operators that has those for texts."""
CLOCK = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
OFFSET = r"(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)"
SHORT = r".*[+-][0-9]{4}"
"""With a zone that has no colon, as in +0530."""
LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Of the months, from the first one on."""
BEFORE = 719_162.0
"""The days from 1 January of the year 1 to that of 1970."""


def dates(w: Writer, column: DateColumn, words: Sequence[str], dtype: str) -> str:
    """The inputs of the network, shape (N, 11 to 14). A text that is no date makes the computation fail.

    `words` are the texts for a missing date. All is computed in float64, in days since 1970.
    """
    return _Dates(w, column, words).inputs(dtype)


class _Moment(NamedTuple):
    """Days are counted from 1970 on; the fraction is that of the day."""

    year: Real
    new_year: Real
    day: Real
    fraction: Real
    refused: Real
    """0; computing it fails where the text is no date."""


class _Dates:
    """The nodes of one column."""

    def __init__(self, w: Writer, column: DateColumn, words: Sequence[str]) -> None:
        self.w, self.column = w, column
        one_more = w.add("Unsqueeze", texts(w, [""]), w.integers([0]))  # of no text, no part would be split off
        text = w.add("Concat", inside(column.name), one_more, axis=0)
        self.missing = w.cast(numbered(w, text, dict.fromkeys(words, 1), 0), w.xp.bool)
        self.text = w.add("Where", self.missing, texts(w, [""]), text)

    def inputs(self, dtype: str) -> str:
        """All of them."""
        w, column = self.w, self.column
        at = self._moment()
        first, first_day = np.datetime64(column.first), np.datetime64(column.first, "D")
        since = at.day - float(first_day.astype(np.int64)) + (at.fraction - float((first - first_day) / DAY))
        season, hour = (at.day - at.new_year) * (2 * math.pi / YEAR), at.fraction * (2 * math.pi)
        parts = [(since - column.days[0]) / column.days[1], (at.year - column.years[0]) / column.years[1]]
        parts += [season.of("Sin"), season.of("Cos"), self._weekday(at.day)]
        parts += [hour.of("Sin"), hour.of("Cos")] if column.timed else []
        whole = Real(w, w.add("Concat", *(part.name for part in parts), axis=1)) + at.refused
        known = w.add("Where", self.missing, w.number(0.0, w.xp.float64), whole.name)
        flag = [self.missing] if column.missing else []
        rows = w.add("Concat", *(w.cast(each, w.xp.dtype(dtype)) for each in (known, *flag)), axis=1)
        return w.add("Slice", rows, w.integers([0]), w.integers([-1]), w.integers([0]))

    def _moment(self) -> _Moment:
        """What the texts say, in UTC if there is a zone."""
        date, clock = self._parts()
        year, month, day = self._numbers(date, "-", 3)
        new_year, next_year = _new_year(year), _new_year(year + 1.0)
        leap = next_year - new_year - 365.0
        refused = self._refused(month, day, leap)
        seconds = self._seconds(clock)
        shift = seconds // DAY_SECONDS  # a zone may lead to another day
        fraction = (seconds - shift * DAY_SECONDS) / DAY_SECONDS
        of_year = self._at(month, [0.0, *np.cumsum(LENGTHS)[:-1].tolist()]) + self._if(month, "Greater", 2.0) * leap
        day = new_year + of_year + day - 1.0 + shift
        if self.column.zone:
            year = year + self._if(day, "GreaterOrEqual", next_year) - self._if(day, "Less", new_year)
            new_year = _new_year(year)
        return _Moment(year, new_year, day, fraction, refused)

    def _parts(self) -> tuple[str, str]:
        """The date, and the clock with its zone: "" where there is none."""
        both, after_t = self._split(self.text, "T", 2)
        date, after_blank = self._split(both, " ", 2)
        return date, self.w.add("StringConcat", after_t, after_blank)

    def _split(self, text: str, mark: str, count: int) -> list[str]:
        """The first parts between marks; those that are not there are ""."""
        padded = self.w.add("StringConcat", text, texts(self.w, [mark * (count - 1)]))
        pieces, _ = self.w.add_many("StringSplit", 2, padded, delimiter=mark)
        return [self.w.add("Gather", pieces, self.w.number(i, self.w.xp.int64), axis=2) for i in range(count)]

    def _numbers(self, text: str, mark: str, count: int) -> list[Real]:
        """The first parts as numbers; 0 for those that are not there."""
        parts = self._split(text, mark, count)
        return [real(self.w, self.w.add("StringConcat", texts(self.w, ["0"]), part)) for part in parts]

    def _seconds(self, clock: str) -> Real:
        """Since midnight, in UTC if there is a zone."""
        if not self.column.zone:
            return self._clock(clock)
        clock, _ = self._split(clock, "Z", 2)
        clock, east = self._split(clock, "+", 2)
        clock, west = self._split(clock, "-", 2)
        return self._clock(clock) - self._offset(east) + self._offset(west)

    def _clock(self, text: str) -> Real:
        hours, minutes, seconds = self._numbers(text, ":", 3)
        return hours * 3600.0 + minutes * 60.0 + seconds

    def _offset(self, text: str) -> Real:
        """The seconds of 05:30, 0530 or 05."""
        digits, _ = self._numbers(text, ":", 2)
        short = digits + digits // 100.0 * (60.0 - 100.0)  # the minutes
        joined = self.w.add("RegexFullMatch", self.text, pattern=SHORT)
        return Real(self.w, self.w.add("Where", joined, (short * 60.0).name, self._clock(text).name))

    def _refused(self, month: Real, day: Real, leap: Real) -> Real:
        """0; the computation fails where the text is no date."""
        w = self.w
        pattern = f"{DATE}{CLOCK}{OFFSET}" if self.column.zone else f"{DATE}({CLOCK})?"
        length = self._at(month, LENGTHS) + self._if(month, "Equal", 2.0) * leap
        fine = w.add("And", w.add("RegexFullMatch", self.text, pattern=pattern), day.compared("LessOrEqual", length))
        return Real(w, fails_where(w, w.add("Not", w.add("Or", fine, self.missing)), "float64"))

    def _at(self, index: Real, entries: Sequence[float]) -> Real:
        """The entries of a list at an index."""
        listed = self.w.constant(self.w.xp.asarray(list(entries), dtype=self.w.xp.float64))
        return Real(self.w, self.w.add("Gather", listed, self.w.cast(index.name, self.w.xp.int64), axis=0))

    def _if(self, x: Real, op: str, other: Real | float) -> Real:
        """1 where a comparison holds, else 0."""
        return real(self.w, x.compared(op, other))

    def _weekday(self, day: Real) -> Real:
        """An input for each day of the week; day 0 was a Thursday."""
        shifted = day + 3.0
        every = self.w.constant(self.w.xp.arange(len(DAYS), dtype=self.w.xp.float64))
        return self._if(shifted - shifted // 7.0 * 7.0, "Equal", Real(self.w, every))


def _new_year(year: Real) -> Real:
    """The first day of a year of the Gregorian calendar, counted from 1970."""
    before = year - 1.0
    return before * 365.0 + before // 4.0 - before // 100.0 + before // 400.0 - BEFORE
