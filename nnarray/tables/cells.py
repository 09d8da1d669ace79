"""The entries of a table's columns as numbers and text, with errors that name the position of a bad entry."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nnarray.datasets.preparation import centred
from nnarray.tables.arrow import arrow, plain
from nnarray.tables.text_format import INTEGER, MISSING

if TYPE_CHECKING:
    import pyarrow as pa

Rows: TypeAlias = int | np.ndarray
"""The positions of rows in the file, counted from 0: the number of rows before them, or the position of each."""

FARTHEST = 1e30  # standard deviations: float32 has numbers up to 3e38, and sums must not overflow
EXACT = 2.0**53  # from here on float64 skips integers
NO_NUMBER = tuple(sorted({*map(str.lower, MISSING), "n.a.", "-", "--", "?", ".", "..", ":"}))
"""Words for a missing entry in lower case, if all other entries are numbers; the last two are those of statistics."""
TRUTH = {"false", "true"}
UNNAMED = r"Unnamed: \d+(\.\d+)*"  # columns without a name in the file
WHOLE = r"[+-]?(0|[1-9][0-9]{0,30})(\.0*)?"
DECIMAL = r"[+-]?(0|[1-9][0-9]{0,30})(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?"  # 0123 is text

# --- Reading entries ----------------------------------------------------------------------------------------


def text_of(column: Any) -> Any:
    """The entries as text without surrounding spaces; missing entries are null. A time at midnight is a date."""
    pa = arrow()
    column = without_dictionary(column)
    if pa.types.is_floating(column.type):
        column = pa.compute.if_else(pa.compute.is_nan(column), pa.scalar(None, column.type), column)
    text = pa.compute.utf8_trim_whitespace(column.cast(pa.string()))
    if pa.types.is_timestamp(column.type):
        text = pa.compute.replace_substring_regex(text, r" 00:00:00(\.0*)?\z", "")
    return _null_where(pa.compute.equal(text, ""), text)


def is_no_number(text: Any) -> Any:
    """Which entries are words for a missing entry among numbers, in any case."""
    return arrow().compute.is_in(arrow().compute.utf8_lower(text), value_set=arrow().array(NO_NUMBER))


def _null_where(nothing: Any, text: Any) -> Any:
    pa = arrow()
    return pa.compute.if_else(nothing, pa.scalar(None, pa.string()), text)


def without_dictionary(column: Any) -> Any:
    """The column without a dictionary, in a type that pyarrow's functions support."""
    column = plain(arrow().table([column], names=[""])).column(0)
    return column.cast(column.type.value_type) if arrow().types.is_dictionary(column.type) else column


def without_kind(column: Any) -> Any:
    """The column itself; nulls of no type if all entries are missing, which are missing numbers, dates and names."""
    pa = arrow()
    nothing = column.null_count == len(column)
    if not nothing and pa.types.is_floating(column.type) and ((first := column[0].as_py()) is None or first != first):
        nothing = bool(pa.compute.all(pa.compute.is_nan(column)).as_py())  # of nan, as frames have them
    return pa.chunked_array([pa.nulls(len(column))]) if nothing else column


def parsed(column: Any) -> np.ndarray | None:
    """The entries as float64, with NaN for missing ones; None if a text is not a number."""
    pa = arrow()
    column = without_dictionary(column)
    if not is_text(column.type):
        return column.cast(pa.float64(), safe=False).to_numpy()  # integers beyond 2**53 are rounded
    x = cast(column)
    if x is not None and np.count_nonzero(np.isnan(x)) == column.null_count:
        return x
    text = text_of(column)
    text = _null_where(is_no_number(text), text)
    text = pa.compute.replace_substring_regex(text, r"\A\+([0-9.])", r"\1")  # no plus sign in Arrow's numbers
    x = cast(text)
    return x if x is not None and np.count_nonzero(np.isnan(x)) == text.null_count else None


def cast(text: Any) -> np.ndarray | None:
    """The texts as float64, with NaN for missing ones; None if a text is not a number."""
    pa = arrow()
    try:
        return text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None


def numbers_of(column: Any, name: str, rows: Rows) -> np.ndarray:
    """The entries as float64, with NaN for missing ones; refuses other text."""
    refuse_kind(column, name, "numbers")
    x = parsed(column)
    if x is None:
        text = text_of(column)
        i = first_text(text) or 0
        raise ValueError(
            f"{where(name, i, rows)}: {shown(text, i)} is not a number, but the column needs numbers. Correct it, "
            f"or leave the entry empty if it is not known."
        )
    refuse_infinity(x, name, rows)
    return x


def first_text(text: Any) -> int | None:
    """The first entry that is not a number, found by bisection."""
    if parsed(text) is not None:
        return None
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if parsed(text.slice(low, middle - low)) is None else (middle, high)
    return low


def truth_as_numbers(column: Any) -> Any:
    """The text with true and false, in any case, replaced by 1 and 0."""
    pa = arrow()
    if not is_text(without_dictionary(column).type):
        return column
    text = text_of(column)
    position = pa.compute.index_in(pa.compute.utf8_lower(text), value_set=pa.array(sorted(TRUTH)))
    return pa.compute.coalesce(position.cast(pa.string()), text)


def positions(text: Any, values: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The position of each entry among the values, int64, or -1 if it is not there; and which entries are missing."""
    index_of = _place_among(tuple(values))
    codes = text.combine_chunks().dictionary_encode()
    indices = np.asarray([*map(index_of, codes.dictionary.to_pylist()), -1], dtype=np.int64)
    return indices[codes.indices.fill_null(len(indices) - 1).to_numpy()], text.is_null().to_numpy()


@lru_cache(maxsize=256)  # a service asks for each request
def _place_among(values: tuple[str, ...]) -> Callable[[str], int]:
    """The position of a text among the values: the same text, or else the only equal number or truth value."""
    truth = {_value(value, truth=True) for value in values} <= {"0", "1"}
    spelled = {value: k for k, value in enumerate(values)}
    keys = [_value(value, truth=truth) for value in values]
    count = Counter(keys)
    equal = {key: k for k, key in enumerate(keys) if count[key] == 1}
    return lambda text: spelled.get(text, equal.get(_value(text, truth=truth), -1))


def _value(text: str, *, truth: bool) -> str:
    """A canonical text for equal numbers, and for truth values, which are 0 and 1."""
    if truth and text.lower() in TRUTH:
        return str(int(text.lower() == "true"))
    return str(Decimal(text).normalize(Context(prec=80)) + 0) if re.fullmatch(DECIMAL, text) else text


def distinct(text: Any) -> list[str]:
    """The different values; of values that are equal as integers or truth values, one is kept."""
    values: list[str] = text.drop_null().unique().to_pylist()
    lower = list(dict.fromkeys(value.lower() for value in values))
    if TRUTH.issuperset(lower):
        return lower
    short = sorted(values, key=lambda v: (re.fullmatch(WHOLE, v) is None, len(v), v))
    alike = {_value(v, truth=False): v for v in reversed(short)}
    return [str(int(v.split(".")[0])) if re.fullmatch(WHOLE, v) else v for v in alike.values()]


def is_missing(column: Any) -> np.ndarray:
    """Which entries are missing; words such as "-" are missing if all other entries are numbers."""
    x = parsed(column) if is_usable(column.type) else None
    return text_of(column).is_null().to_numpy() if x is None or np.isnan(x).all() else np.isnan(x)


def centre(x: np.ndarray, column: Any, name: str, rows: Rows) -> tuple[float, float, str]:
    """The mean, the scale, and a note on rounding; `x` are the numbers of the column."""
    refuse_infinity(x, name, rows)
    x = x[~np.isnan(x)]
    low, high = float(x.min()), float(x.max())
    if math.isinf(high - low):
        raise ValueError(f"column {name!r} is from {low} to {high}, too far apart; use another unit.")
    values: Any = x
    mean, scale, rounded = centred(values, _rounding(column))
    if max(-low, high) > EXACT and all_integers(text_of(column)):
        note = f"{name!r} has integers beyond 2**53, which are rounded"
    elif rounded:
        note = f"{name!r} is constant up to rounding, and is not divided by its deviation"
    else:
        note = ""
    return float(mean), float(scale), note


def _rounding(column: Any) -> float:
    """The relative rounding error of the type of a column."""
    kind, pa = without_dictionary(column).type, arrow()
    return float(np.finfo(kind.to_pandas_dtype() if pa.types.is_floating(kind) else np.float64).eps)


def all_integers(text: Any) -> bool:
    """Whether all entries that are not missing are decimal integers, of any size."""
    compute = arrow().compute
    return bool(compute.all(compute.match_substring_regex(text, INTEGER)).as_py())


def standardised(x: np.ndarray, mean: float, scale: float, name: str, rows: Rows) -> np.ndarray:
    """z = (x - mean) / scale, shape (n,); refuses numbers that are too far from the mean."""
    with np.errstate(over="ignore"):
        z = (x - mean) / scale
    beyond = np.abs(z) > FARTHEST
    if beyond.any():
        i = int(np.argmax(beyond))
        raise ValueError(
            f"{where(name, i, rows)}: {x[i]} is too far from the mean of the training rows, {mean}. Correct it."
        )
    return z


# --- What is refused ----------------------------------------------------------------------------------------


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text."""
    types = arrow().types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_usable(kind: Any) -> bool:
    """Whether entries of this type are numbers, truth values or text, or all missing."""
    types = arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return numbers or types.is_boolean(kind) or types.is_null(kind) or is_text(kind)


def is_dated(kind: Any) -> bool:
    """Whether an Arrow type is of dates, with or without a time."""
    types = arrow().types
    return types.is_date(kind) or types.is_timestamp(kind)


def refuse_kinds(table: pa.Table, names: Iterable[str], *, dates: bool = False) -> None:
    """Raise a ValueError that names the columns which are not numbers, truth values or text; nor dates if `dates`."""
    kinds = {name: table.column(name).type for name in names}
    bad = {name: kind for name, kind in kinds.items() if not is_usable(kind) and not (dates and is_dated(kind))}
    if bad:
        listed = ", ".join(f"{name!r} ({kind})" for name, kind in bad.items())
        wanted = "numbers, truth values, dates or text" if dates else "numbers, truth values or text"
        raise ValueError(f"columns must be {wanted}; these are not: {listed}. {leave_out(bad)}")


def refuse_kind(column: Any, name: str, wanted: str) -> None:
    """Raise a ValueError if the column cannot be read as `wanted`, such as "numbers"."""
    named = wanted != "numbers" and arrow().types.is_temporal(column.type)  # in text files dates are names
    if not named and not is_usable(column.type):
        raise ValueError(f"column {name!r} has type {column.type}, but {wanted} are needed, as in training.")


def refuse_infinity(x: np.ndarray, name: str, rows: Rows) -> None:
    """Raise a ValueError that names the first infinite entry, if there is one."""
    if np.isinf(x).any():
        i = int(np.argmax(np.isinf(x)))
        raise ValueError(
            f"{where(name, i, rows)}: infinity, or a number above 1.8e308. Correct it, or leave the entry empty if it "
            f"is not known."
        )


def refuse_missing(missing: np.ndarray, name: str, rows: Rows) -> None:
    """Raise a ValueError that names the first row without a target, if there is one; `missing` has shape (n,), bool."""
    if missing.any():
        raise ValueError(
            f"{where(name, int(np.argmax(missing)), rows)}: the target is missing. Leave out such rows, "
            f"{int(missing.sum())} of {len(missing)}; Preparation.known shows which rows have a target."
        )


def where(name: str, i: int, rows: Rows) -> str:
    """The row and the column of an entry, for an error message."""
    return f"row {row_number(i, rows)}, column {name!r}"


def row_number(i: int, rows: Rows) -> int:
    """The number of a row, counted from 1."""
    return int(i) + 1 + rows if isinstance(rows, int) else int(rows[int(i)]) + 1


def shown(text: Any, i: int) -> str:
    """An entry in quotes, truncated after 60 characters."""
    entry = str(text[int(i)].as_py())
    return repr(entry if len(entry) <= 60 else entry[:60] + "...")


def listed(names: Iterable[str], most: int = 10) -> str:
    """The first `most` names in quotes, and the total number if there are more."""
    every = list(names)
    more = f", ... ({len(every)} in all)" if len(every) > most else ""
    return ", ".join(map(repr, every[:most])) + more


def leave_out(names: Iterable[str]) -> str:
    """How to leave out these columns, for an error message."""
    left_out = list(names)
    return f"Leave these columns out: --drop {','.join(left_out)}, or drop={left_out!r}."


FRAMES = {  # attributes that identify frames of Polars, lazy or not, and of pandas
    "collect": "frame.collect().to_arrow()",
    "to_arrow": "frame.to_arrow()",
    "iloc": "pyarrow.Table.from_pandas(frame)",
}


def index_columns(table: pa.Table) -> list[str]:
    """Columns that number or name the rows: an index of pandas, or a column without a name, as pandas writes it."""
    noted = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    index = [name for name in noted.get("index_columns", []) if isinstance(name, str)]
    return [name for name in table.column_names if name in index or re.fullmatch(UNNAMED, name)]


def checked_table(table: Any) -> list[str]:
    """The names of the columns of a table; refuses other objects."""
    if not isinstance(table, arrow().Table):
        remedy = "".join(f" Make one with {how}." for has, how in FRAMES.items() if hasattr(table, has))
        raise TypeError(
            f"table must be a pyarrow.Table, as open_table(path).read() returns; got {type(table).__name__}.{remedy}"
        )
    names: list[str] = table.column_names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the table has several columns with the same name: {listed(twice)}. Rename all but one.")
    return names


def present(names: str | Sequence[str], known: list[str], argument: str) -> list[str]:
    """The names of columns as a list without repetitions; refuses unknown names."""
    if not isinstance(names, str) and not isinstance(names, Iterable):
        raise TypeError(f"{argument} must name a column or several; got {names!r}. The table has {listed(known, 20)}.")
    chosen = list(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in chosen:
        if name not in known:
            folded = {column.casefold(): column for column in known}
            near = difflib.get_close_matches(str(name).casefold(), folded, n=1)
            guess = f" Did you mean {folded[near[0]]!r}?" if near else ""
            raise ValueError(f"{argument}: there is no column {name!r}; the table has {listed(known, 20)}.{guess}")
    return chosen
