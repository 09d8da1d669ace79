"""The format of text tables: words for missing entries, numbers, delimiters."""

from __future__ import annotations

import codecs
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nnarray.tables.arrow import arrow

if TYPE_CHECKING:
    import pyarrow as pa


MISSING = (
    *("", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "None", "null", "NULL", "NaN", "nan", "-NaN", "-nan"),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Entries without quotes that mean a missing entry: the words of `pandas.read_csv` [1]_.

Other spellings, such as Null and na, may be names: they are missing among numbers only.

.. [1] The pandas development team, pandas.read_csv, `na_values`.
"""

BLANKS = " \u00a0\u202f"  # the last two are non-breaking
NUMBER = r"\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z"
GROUPED = r"\A\s*[+-]?[0-9]{1,3}(\.[0-9]{3})+\s*\z"
INTEGER = r"\A[+-]?[0-9]{1,1000}\z"


@dataclass(frozen=True)
class TextFormat:
    """The format of a CSV or TSV file. In other formats it applies to columns of text only.

    Parameters
    ----------
    delimiter : str, optional
        The character between entries, "tab" for a tab. None: a comma in `.csv`, a tab in `.tsv`, or the one in a first
        line such as `sep=;`.
    decimal : "." or ","
        The decimal mark.
    thousands : str
        The character between groups of three digits; empty for none.
    missing : sequence of str, optional
        Further words for a missing entry, in quotes or not. None: `MISSING` without quotes. With no words, or only an
        empty one, only empty entries are missing.
    header : bool, optional
        Whether the first row has the names of the columns; if not, they are called 0, 1, ... None: it has names, and
        names that look like data are refused.
    encoding : str
        The encoding of the file, by Python's name.
    dates : str, optional
        How dates are written, in the letters of `datetime.strptime`, such as "%d.%m.%Y" or "%m/%d/%Y %H:%M": in columns
        of text, an entry of this form is read as the same date in ISO form. None: only ISO form is a date.

    Raises
    ------
    TypeError, ValueError
        If a setting has another value.

    Examples
    --------
    >>> TextFormat(delimiter=";", decimal=",", missing=("?", "-"))
    TextFormat(delimiter=';', decimal=',', thousands='', missing=('?', '-'), header=None, encoding='utf-8', dates=None)
    """

    delimiter: str | None = None
    decimal: str = "."
    thousands: str = ""
    missing: tuple[str, ...] | None = None
    header: bool | None = None
    encoding: str = "utf-8"
    dates: str | None = None

    def __post_init__(self) -> None:
        texts = {"delimiter": self.delimiter or "", "decimal": self.decimal, "thousands": self.thousands}
        texts["dates"] = self.dates or ""
        for name, value in {**texts, "encoding": self.encoding}.items():
            if not isinstance(value, str):
                raise TypeError(f"{name} must be text; got {value!r}.")
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and (len(self.delimiter.encode()) != 1 or self.delimiter in '"\r\n'):
            raise ValueError(f"delimiter must be one character, such as ';' or 'tab'; got {self.delimiter!r}.")
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal must be '.' or ','; got {self.decimal!r}.")
        if len(self.thousands) > 1 or self.thousands in ("+", "-", self.decimal) or self.thousands.isalnum():
            raise ValueError(
                f"thousands must be one character, such as ',' or '.', and not the decimal mark, "
                f"{self.decimal!r}; got {self.thousands!r}."
            )
        if isinstance(self.missing, str):
            raise TypeError(f"missing must be a sequence of words; got {self.missing!r}. Write [{self.missing!r}].")
        if not all(isinstance(word, str) for word in self.missing or ()):
            raise TypeError(f"missing must be a sequence of words; got {self.missing!r}.")
        if self.header not in (None, True, False):
            raise TypeError(f"header must be True, False or None; got {self.header!r}.")
        if self.dates is not None and not ("%y" in self.dates.lower() and re.search("%[dj]", self.dates)):
            raise ValueError(
                f"dates must be written with %d, %m and %Y, such as '%d.%m.%Y' for 29.11.2026; got {self.dates!r}."
            )
        if self.missing is not None:
            object.__setattr__(self, "missing", tuple(self.missing))
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(
                f"unknown encoding {self.encoding!r}; use one of Python's, such as 'cp932', 'cp1252' or 'utf-16'."
            ) from None

    @property
    def of_files(self) -> bool:
        """Whether a setting concerns the file itself, not the numbers and words in it."""
        return (self.delimiter, self.header, self.encoding) != (None, None, "utf-8")

    @property
    def words(self) -> tuple[str, ...]:
        """All words for a missing entry."""
        if self.missing is None:
            return MISSING
        further = tuple(word for word in self.missing if word)
        return (*MISSING, *further) if further else ("",)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self) | {"missing": None if self.missing is None else list(self.missing)}

    @classmethod
    def from_json(cls, data: object) -> TextFormat:
        """The format from the result of `to_json`; the default for None.

        Raises
        ------
        TypeError, ValueError
            If it is not valid.
        """
        if data is None:
            return cls()
        if not isinstance(data, dict):
            raise ValueError(f"the format of the text must be an object; got a {type(data).__name__}.")
        return cls(**data)


USUAL = TextFormat()


def as_meant(table: pa.Table, text: TextFormat, start: int) -> pa.Table:
    """All columns of text with null for further words, a point as the decimal mark, and dates in ISO form."""
    pa = arrow()
    if text.decimal == "." and not text.thousands and not text.missing and not text.dates:
        return table
    for i, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        coded = pa.types.is_dictionary(column.type)
        column = column.cast(column.type.value_type) if coded else column
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            words = pa.array(text.words, column.type)
            nothing = pa.compute.is_in(pa.compute.utf8_trim_whitespace(column), value_set=words)
            column = pa.compute.if_else(nothing, pa.scalar(None, column.type), column) if text.missing else column
            column = iso_dates(column, text.dates) if text.dates else column
            column = _plain_numbers(column, text, name, start)
            table = table.set_column(i, name, column.dictionary_encode() if coded else column)
    return table


def iso_dates(column: Any, form: str) -> Any:
    """The entries that are dates of this form as such in ISO form; the others as they are."""
    pa = arrow()
    codes = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    codes = codes.dictionary_encode()
    known = pa.array([iso_date(entry, form) for entry in codes.dictionary.to_pylist()], column.type)
    return known.take(codes.indices)


def iso_date(entry: str, form: str) -> str:
    """A date of this form in ISO form, with its time if the form has one; any other text as it is."""
    try:
        moment = datetime.strptime(entry.strip(), form)  # Arrow's would read the 31st of February
    except ValueError:
        return entry
    return moment.isoformat() if re.search("%[HIMSfXcp]", form) else moment.date().isoformat()


def doubtful(column: Any, text: TextFormat) -> Any:
    """Which entries may have points between thousands, though the format does not say so."""
    if text.decimal != "," or text.thousands == ".":
        return arrow().compute.invert(arrow().compute.true_unless_null(column))
    return arrow().compute.match_substring_regex(column, GROUPED)


def _plain_numbers(column: Any, text: TextFormat, name: str, start: int) -> Any:
    """Numbers in the standard format: no separator of thousands, and a point as the decimal mark."""
    compute = arrow().compute
    unclear = doubtful(column, text)
    if compute.any(unclear).as_py():
        i = compute.index(unclear, True).as_py()
        raise ValueError(
            f"row {start + i + 1}, column {name!r}: {column[i].as_py()!r} has a point, but the decimal mark is "
            f"a comma. If points separate thousands: --thousands '.', or TextFormat(thousands='.')."
        )
    blank = text.thousands in tuple(BLANKS)  # any kind of blank
    between, before = f"[{BLANKS}]" if blank else re.escape(text.thousands), re.escape(text.decimal)
    whole = rf"[0-9]{{1,3}}({between}[0-9]{{3}})+|[0-9]+" if text.thousands else "[0-9]+"
    number = rf"\A\s*[+-]?(({whole})({before}[0-9]*)?|{before}[0-9]+)([eE][+-]?[0-9]+)?\s*\z"
    plain = compute.replace_substring_regex(column, between, "") if text.thousands else column
    plain = compute.replace_substring(plain, text.decimal, ".")
    return compute.if_else(compute.match_substring_regex(column, number), plain, column)
