"""Columns of dates and of free text: what they become, what they refuse, and that parts give the same as the whole."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from zlib import crc32

import numpy as np
import pytest

from nnarray.tables.dates import DateColumn, other_form
from nnarray.tables.preparation import Preparation
from nnarray.tables.text_format import TextFormat, as_meant
from nnarray.tables.words import BUCKETS, TextColumn

pa = pytest.importorskip("pyarrow")

DAYS = [date(2024, 12, 30) + timedelta(days=5 * i) for i in range(40)]
Y = ["a", "b"] * 20


def fitted(**columns):
    return Preparation.fit(pa.table({**columns, "y": Y}), "y")


def inputs(prepared, *values):
    """By the name of the input."""
    X = prepared.features(pa.table({"when": list(values)}))
    return {name.removeprefix("when "): X[:, j] for j, name in enumerate(prepared.feature_names)}


# --- Dates ------------------------------------------------------------------------------------------------------------


def test_a_date_is_days_year_season_and_day_of_the_week():
    prepared = fitted(when=[day.isoformat() for day in DAYS])
    assert prepared.feature_names == tuple(
        f"when {part}"
        for part in ("days", "year", "season sin", "season cos", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    )
    z = inputs(prepared, "2024-12-30", "2025-07-02", "2025-01-05", "1969-07-20")
    steps = 5 * np.arange(40)
    np.testing.assert_allclose(z["days"][:2], (np.asarray([0, 184]) - steps.mean()) / steps.std(), rtol=1e-12)
    years = np.asarray([day.year for day in DAYS])
    np.testing.assert_allclose(z["year"][:2], (np.asarray([2024, 2025]) - years.mean()) / years.std(), rtol=1e-9)
    angle = 2 * math.pi * 182 / 365.2425
    np.testing.assert_allclose([z["season sin"][1], z["season cos"][1]], [math.sin(angle), math.cos(angle)], rtol=1e-12)
    for k, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")):
        np.testing.assert_array_equal(z[name], [k == 0, k == 2, k == 6, k == 6])  # a Monday, a Wednesday, two Sundays


def test_the_time_of_day_counts_where_there_is_one():
    prepared = fitted(when=[f"{day.isoformat()}T18:00" for day in DAYS])
    z = inputs(prepared, "2025-01-01 06:00:00", "2025-01-01T12:00:00.123456789", "2025-01-01")
    np.testing.assert_allclose(z["hour sin"], [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(z["hour cos"], [0, -1, 1], atol=1e-4)


def test_a_missing_date_is_a_missing_number():
    prepared = fitted(when=[None if i % 7 == 3 else day.isoformat() for i, day in enumerate(DAYS)])
    z = inputs(prepared, "", None, "2025-01-01")
    np.testing.assert_array_equal(z.pop("missing"), [1, 1, 0])
    assert all((column[:2] == 0).all() for column in z.values())
    unmarked = fitted(when=DAYS)  # none was missing in training
    np.testing.assert_array_equal(unmarked.features(pa.table({"when": [None]})), np.zeros((1, 11)))


def test_types_of_dates_agree_with_their_text():
    text = [day.isoformat() for day in DAYS]
    prepared = fitted(when=text)
    want = prepared.features(pa.table({"when": text}))
    for kind in (pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns")):
        typed = pa.array(DAYS, pa.date32()).cast(kind)
        assert fitted(when=typed) == prepared
        np.testing.assert_array_equal(prepared.features(pa.table({"when": typed})), want)
    np.testing.assert_array_equal(prepared.features(pa.table({"when": pa.array(text).dictionary_encode()})), want)


def test_times_with_a_zone_are_compared_in_utc():
    zoned = fitted(when=[f"{day.isoformat()}T12:00+02:00" for day in DAYS])
    same = ("2025-01-01T12:00+02:00", "2025-01-01T10:00Z", "2025-01-01 05:00:00-0500")
    X = zoned.features(pa.table({"when": list(same)}))
    assert (X[0] == X).all()
    moment = pa.array([datetime(2025, 1, 1, 10, tzinfo=UTC)], pa.timestamp("us", "Europe/Zurich"))
    np.testing.assert_array_equal(zoned.features(pa.table({"when": moment})), X[:1])
    with pytest.raises(ValueError, match=r"row 2, column 'when': '2025-01-01T10:00' has no time zone, and .* had one"):
        zoned.features(pa.table({"when": [None, "2025-01-01T10:00"]}))
    with pytest.raises(ValueError, match=r"row 1, column 'when': .* has a time zone, and .* had none"):
        fitted(when=DAYS).features(pa.table({"when": [same[0]]}))


@pytest.mark.parametrize(
    "fault", ["tomorrow", "2025-02-30", "2025-13-01", "01.02.2025", "20250101", "2025-01", "7", "-"]
)
def test_what_is_no_date_is_refused_with_its_row(fault):
    prepared = fitted(when=DAYS)
    rows = [day.isoformat() for day in DAYS[:5]] + [None, fault, "2025-01-01", "nothing"]
    with pytest.raises(ValueError, match=rf"row 107, column 'when': '{fault}' is no date as .* such as 2026-11-29"):
        prepared.features(pa.table({"when": rows}), rows=100)


def test_numbers_are_no_dates_later():
    with pytest.raises(ValueError, match=r"row 1, column 'when': '3' is no date"):
        fitted(when=DAYS).features(pa.table({"when": [3]}))


def test_a_column_that_is_dates_but_for_one_is_not_dates():
    text = [day.isoformat() for day in DAYS]
    with pytest.raises(ValueError, match=r"'when' has dates, except in 1 of 40 entries: row 40 has '31\.12\.2025'"):
        fitted(when=[*text[:-1], "31.12.2025"])
    with pytest.raises(ValueError, match=r"'when' has dates, but some do not exist, .*: row 40 has '2025-02-30'"):
        fitted(when=[*text[:-1], "2025-02-30"])
    with pytest.raises(ValueError, match=r"or only some have a time zone: row 2 has '2025-01-04T10:00Z'.* --drop when"):
        fitted(when=[f"{day}T10:00" + "Z" * (i % 2) for i, day in enumerate(text)])
    assert Preparation.fit(pa.table({"when": text[:2] * 20, "y": Y}), "y", categories=["when"]).feature_names == (
        *("when=2024-12-30", "when=2025-01-04"),
    )


def test_a_single_date_is_a_constant():
    prepared = fitted(when=["2025-01-01"] * 40)
    z = inputs(prepared, "2025-01-01", "2025-01-03")
    np.testing.assert_array_equal(z["days"], [0, 2])
    np.testing.assert_array_equal(z["year"], [0, 0])


# --- Text -------------------------------------------------------------------------------------------------------------

WORDS = ("old", "new", "house", "garden", "lake", "tower", "quiet", "street")
TEXTS = [f"{WORDS[i % 8]} {WORDS[i // 8 % 8].upper()}, no. {i}" for i in range(40)]


def by_hand(*terms):
    out = np.zeros(BUCKETS)
    for term in terms:
        code = crc32(term.encode())
        out[code % 256] += -1 if code >= 2**31 else 1
    return out / np.linalg.norm(out)


def test_words_and_pairs_are_hashed_and_of_length_1():
    prepared = fitted(about=TEXTS)
    X = prepared.features(pa.table({"about": ["New house,  by the LAKE", "Zürich", " ", None, "?!"]}))
    words = ("new", "house", "by", "the", "lake")
    pairs = ("new house", "house by", "by the", "the lake")
    np.testing.assert_allclose(X[0], by_hand(*words, *pairs), rtol=1e-12)
    np.testing.assert_allclose(X[1], by_hand("zürich"), rtol=1e-12)
    np.testing.assert_array_equal(X[2:], np.zeros((3, BUCKETS)))
    assert len(prepared.feature_names) == len(set(prepared.feature_names)) == BUCKETS
    assert "'about' is taken as free text" in " ".join(prepared.notes(pa.table({"about": TEXTS, "y": Y})))


@pytest.mark.parametrize(
    ("values", "repeats", "words", "kind"),
    [(31, 4, 3, "text"), (31, 99, 3, "text"), (30, 4, 3, "category"), (31, 100, 3, "category"), (31, 4, 2, "category")],
)
def test_sentences_that_repeat_are_text_and_new_ones_are_welcome(values: int, repeats: int, words: int, kind: str):
    texts = [" ".join([*(["very"] * (words - 2)), WORDS[k % 8], f"x{k}"]) for k in range(values)] * repeats
    y = [k % 2 for k in range(len(texts))]
    table = pa.table({"about": texts, "y": y})
    prepared = Preparation.fit(table, "y")
    assert prepared.columns[0].kind == kind
    told = (
        f"column 'about' has {values} different sentences, and is taken as free text; for an input for each instead: "
    )
    assert any(told in note for note in prepared.notes(table)) is (kind == "text")
    if kind == "text":
        assert prepared.features(pa.table({"about": ["a new sentence, never met"]})).any()
    assert Preparation.fit(table, "y", categories="about").columns[0].kind == "category"
    coded = table.set_column(0, "about", table["about"].combine_chunks().dictionary_encode())
    assert Preparation.fit(coded, "y").columns[0].kind == "category"


def test_hashes_are_those_of_saved_models():
    """The inputs of these words must never change: networks in files were trained on them."""
    prepared = fitted(about=TEXTS)
    for word, (place, sign) in {"house": (157, 1), "zürich": (162, 1)}.items():
        (x,) = prepared.features(pa.table({"about": [word]}))
        assert (np.flatnonzero(x).tolist(), x[place]) == ([place], sign)


@pytest.mark.parametrize(
    "entries",
    [
        [f"u{i}" for i in range(40)],  # codes
        [f"{i} {i + 1}" for i in range(40)],  # numbers with blanks
        [f"{i}.02.2025 10:00 h" for i in range(40)],  # one word of letters
        [f"{i} kg" for i in range(40)],
        [f"code-{i}" if i % 2 else f"two words {i}" for i in range(40)],  # no more than half
    ],
)
def test_names_of_rows_are_no_text(entries):
    with pytest.raises(ValueError, match=r"'about' has 40 different values in 40 rows.*--drop about"):
        fitted(about=entries)


def test_a_few_texts_are_categories():
    assert fitted(about=["a b", "b c"] * 20).feature_names == ("about=a b", "about=b c")


# --- Both -------------------------------------------------------------------------------------------------------------


def test_parts_give_what_the_whole_gives_and_so_does_the_saved_preparation():
    rows = pa.table({"when": [None, *DAYS[1:]], "about": TEXTS, "y": Y})
    prepared = Preparation.fit(rows, "y")
    assert [column.kind for column in prepared.columns] == ["date", "text"]
    whole = prepared.features(rows)
    parts = [prepared.features(rows.slice(i, 7)) for i in range(0, 40, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    again = Preparation.from_json(json.loads(json.dumps(prepared.to_json())))
    assert again == prepared
    np.testing.assert_array_equal(again.features(pa.concat_tables([rows.slice(0, 9), rows.slice(9)])), whole)
    assert all(done for _, _, done in prepared.describe())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": "soon"}, "the first date of column 1 must be one in ISO form; got 'soon'"),
        ({"first": "2025-02-30"}, "the first date of column 1 must be one in ISO form"),
        ({"days": [1.0]}, "the days of column 1 must be a mean and a scale"),
        ({"days": [1.0, 0.0]}, "the scale of the days of column 1 must be more than 0"),
        ({"years": [math.nan, 1.0]}, "the mean of the years of column 1 must be a finite number"),
        ({"timed": 1}, "'timed' of column 1 must be true or false"),
        ({"more": 1}, "column 1 must have the entries"),
    ],
)
def test_damaged_dates_are_refused(change, message):
    good = fitted(when=DAYS).columns[0].to_json()
    assert DateColumn.from_json(good, "column 1") == fitted(when=DAYS).columns[0]
    with pytest.raises(ValueError, match=message):
        DateColumn.from_json(good | change, "column 1")


@pytest.mark.parametrize("buckets", [255, True, "256", None])
def test_another_number_of_buckets_is_refused(buckets):
    with pytest.raises(ValueError, match="the buckets of column 1 must be 256"):
        TextColumn.from_json({"kind": "text", "name": "about", "buckets": buckets}, "column 1")


# --- Dates in other forms ---------------------------------------------------------------------------------------------


def test_dates_of_the_form_that_is_given_are_read() -> None:
    entries = ["29.11.2026", "1.2.2026", " 03.04.2026 ", "2026-05-06", "31.02.2026", "soon", None]
    given = pa.table({"day": entries, "n": ["1.5"] * 7})
    read = as_meant(given, TextFormat(dates="%d.%m.%Y"), 0).column("day").to_pylist()
    assert read == ["2026-11-29", "2026-02-01", "2026-04-03", "2026-05-06", "31.02.2026", "soon", None]
    timed = as_meant(pa.table({"t": ["11/29/2026 1:05 PM"]}), TextFormat(dates="%m/%d/%Y %I:%M %p"), 0)
    assert timed.column("t").to_pylist() == ["2026-11-29T13:05:00"]


def test_a_model_keeps_the_form_of_its_dates() -> None:
    text = TextFormat(dates="%d/%m/%Y", decimal=",")
    assert TextFormat.from_json(text.to_json()) == text
    columns = as_meant(pa.table({"day": [f"{k:02d}/11/2026" for k in range(1, 31)]}), text, 0)
    prepared = Preparation.fit(columns.append_column("y", pa.array(["u", "v"] * 15)), "y")
    assert prepared.columns[0].kind == "date"


@pytest.mark.parametrize(
    ("entries", "forms"),
    [
        ([f"{k:02d}.11.2026" for k in range(1, 31)], ["%d.%m.%Y"]),
        ([f"11/{k:02d}/2026" for k in range(1, 31)], ["%m/%d/%Y"]),
        ([f"{k % 9 + 1}/{k % 7 + 1}/2026" for k in range(30)], ["%d/%m/%Y", "%m/%d/%Y"]),
        ([f"Nov {k}, 2026" for k in range(1, 31)], ["%b %d, %Y"]),
        ([*(f"{k:02d}.11.2026 08:30" for k in range(1, 31)), "2026-01-01"], ["%d.%m.%Y %H:%M"]),
        (["red", "blue", "1.2.20x"], []),
        (["2026-11-29"], []),
    ],
)
def test_the_form_of_dates_is_guessed_for_the_message(entries: list[str], forms: list[str]) -> None:
    said = other_form(pa.chunked_array([entries]))
    assert [
        form for form in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%b %d, %Y", "%d.%m.%Y %H:%M") if repr(form) in said
    ] == forms


def test_dates_in_several_forms_are_reported() -> None:
    entries = [f"{k:02d}.11.2026" if k % 2 else f"Nov {k}, 2026" for k in range(1, 31)]
    with pytest.raises(ValueError, match=r"several forms, such as '01\.11\.2026' and 'Nov 2, 2026': write all"):
        Preparation.fit(pa.table({"day": entries, "y": ["u", "v"] * 15}), "y")
    assert other_form(pa.chunked_array([[*entries[:20], "soon"]])) == ""


def test_dates_among_categories_have_a_note() -> None:
    given = pa.table({"day": ["29.11.2026", "30.11.2026"] * 20, "y": ["u", "v"] * 20})
    notes = " ".join(Preparation.fit(given, "y").notes(given))
    assert "column 'day' is taken as categories, but has dates that are not in ISO form" in notes
    assert "--dates '%d.%m.%Y'" in notes
