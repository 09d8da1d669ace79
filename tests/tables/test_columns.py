"""The preparation of columns: the rules of the training rows, kept to ever after, and errors that name the cell."""

from __future__ import annotations

import itertools
import json
import math
import re
from datetime import datetime, time
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnarray.tables.columns import CategoryColumn, NumberColumn
from nnarray.tables.preparation import Preparation
from nnarray.tables.targets import ClassTarget, ValueTarget, task_of

pa = pytest.importorskip("pyarrow")

TRAIN = {
    "size": ["1", " 2 ", "+3", "NA"],
    "colour": ["red", "blue", "red", None],
    "sunny": ["True", "FALSE", "true", "false"],
    "kind": ["a", "b", "a", "b"],
}


def table(**columns):
    return pa.table(columns)


def changed(source, **columns):
    return pa.table({**source, **columns})


def repeated(n, *values):
    return [values[i % len(values)] for i in range(n)]


@pytest.fixture
def fitted():
    return Preparation.fit(table(**TRAIN), "kind")


# --- Inputs -----------------------------------------------------------------------------------------------


def test_columns_are_numbers_and_categories(fitted):
    assert fitted.feature_names == (
        *("size", "size missing", "colour=blue", "colour=red", "colour missing", "sunny=false", "sunny=true"),
    )
    z = math.sqrt(1.5)
    want = [[-z, 0, 0, 1, 0, 0, 1], [0, 0, 1, 0, 0, 1, 0], [z, 0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 1, 1, 0]]
    X = fitted.features(table(**TRAIN))
    assert X.dtype == np.float64
    np.testing.assert_allclose(X, want, rtol=1e-15)


def test_only_the_training_rows_decide(fitted):
    new = table(extra=["?"], colour=["blue"], size=["11"], sunny=["TRUE"])
    np.testing.assert_allclose(fitted.features(new), [[9 * math.sqrt(1.5), 0, 1, 0, 0, 0, 1]], rtol=1e-15)
    assert fitted.features(new.slice(0, 0)).shape == (0, 7)


def test_missing_entries_not_met_in_training_are_the_mean_and_no_category():
    columns = {"x": ["1", "3"], "c": ["a", "b"], "y": ["a", "b"]}
    prepared = Preparation.fit(table(**columns), "y")
    assert prepared.feature_names == ("x", "c=a", "c=b")
    for nothing in ("", "  ", None):
        np.testing.assert_array_equal(prepared.features(table(x=["3", nothing], c=["b", nothing]))[1], [0, 0, 0])
    for word in ("NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None", "-", "?", "Null", "na", "N.A.", "..", ":"):
        np.testing.assert_array_equal(prepared.features(table(x=["3", word], c=["b", "a"]))[1], [0, 1, 0])
    np.testing.assert_array_equal(prepared.features(table(x=pa.nulls(1), c=pa.nulls(1))), [[0, 0, 0]])
    np.testing.assert_array_equal(prepared.features(table(x=[math.nan], c=["a"])), [[0, 1, 0]])


TYPED = {
    "int": pa.array([1, 2, None, 2**62]),
    "small": pa.array([1, 2, 3, 4], pa.uint8()),
    "half": pa.array(np.asarray([0.5, 1, 2, 3], dtype=np.float16)),
    "float": pa.array([0.1, math.nan, 1e300, -5.5]),
    "decimal": pa.array([Decimal("1.50"), None, Decimal(2), Decimal(3)]),
    "truth": pa.array([True, False, None, True]),
    "text": pa.array(["a", "b", None, "a"], pa.large_string()),
    "view": pa.array(["a", "b", None, "a"], pa.string_view()),
    "dictionary": pa.array([7, 8, None, 7]).dictionary_encode(),
    "y": pa.array([1.5, 2.5, 3.5, 4.5]),
}


KINDS = ("string", "float64", "float16", "bool", "int64", "date32", "time64[us]")


@pytest.mark.parametrize("entries", [*map(pa.type_for_alias, KINDS), "blank", "nan"])
def test_a_column_of_any_kind_may_be_wholly_missing(entries):
    days = [f"20{10 + i % 9}-01-0{1 + i % 7}" for i in range(40)]
    words = [" ".join(pick) for pick in itertools.islice(itertools.permutations("abcdefg", 5), 40)]
    columns = {
        "number": np.arange(40.0) ** 1.5,
        "colour": ["red", "blue"] * 20,
        "day": days,
        "alive": [True, False] * 20,
    }
    zoned = [f"{day}T10:00Z" for day in days]
    table = pa.table({**columns, "moment": zoned, "note": words, "y": np.arange(40.0) ** 2})
    prepared = Preparation.fit(table, "y")
    assert {column.kind for column in prepared.columns} == {"number", "category", "date", "text"}
    names = [column.name for column in prepared.columns]
    none = {"blank": pa.array(["", " "]), "nan": pa.array([None, math.nan], from_pandas=False)}
    empty = none[entries] if isinstance(entries, str) else pa.nulls(2, entries)
    some = prepared.features(table.select(names).slice(0, 1))
    nothing = {name: pa.array([None, None, table.column(name)[0].as_py()]) for name in names}
    np.testing.assert_array_equal(
        prepared.features(pa.table(dict.fromkeys(names, empty))), prepared.features(pa.table(nothing))[:2]
    )
    np.testing.assert_array_equal(prepared.features(pa.table(nothing))[2:], some)


def test_typed_files_and_their_text_agree():
    typed = pa.table(TYPED)
    prepared = Preparation.fit(typed, "y")
    kinds = {column.name: column.kind for column in prepared.columns}
    numbers = ("int", "small", "half", "float", "decimal", "truth")
    assert kinds == {**dict.fromkeys(numbers, "number"), **dict.fromkeys(("text", "view", "dictionary"), "category")}
    text = {name: [None if v is None else str(v) for v in typed.column(name).to_pylist()] for name in TYPED}
    np.testing.assert_array_equal(prepared.features(pa.table(text)), prepared.features(typed))
    np.testing.assert_array_equal(prepared.targets(pa.table(text)), prepared.targets(typed))


def test_parts_of_a_table_give_parts_of_the_inputs():
    whole = pa.concat_tables([pa.table(TYPED)] * 3)
    prepared = Preparation.fit(whole, "y")
    parts = [prepared.features(whole.slice(i, 5)) for i in range(0, 12, 5)]
    np.testing.assert_array_equal(np.concatenate(parts), prepared.features(whole))


@pytest.mark.parametrize("unit", [1e-320, 1e-160, 1.0, 1e150, 1e307])
def test_numbers_are_standardised_in_any_unit(unit):
    x = np.asarray([1.0, 2.0, 4.0, 9.0]) * unit
    prepared = Preparation.fit(table(x=x, y=[0, 1, 0, 1]), "y")
    z = prepared.features(table(x=x))[:, 0]
    np.testing.assert_allclose(z, (x / unit - 4) / math.sqrt(9.5), rtol=1e-2 if unit < 1e-300 else 1e-14, atol=1e-14)


def test_entries_unlike_those_of_the_training_are_found():
    """They are computed with: a number as it is, a missing entry as the mean or as no category."""
    draws = np.random.default_rng(0)
    number, price = draws.normal(100, 5, 200), np.exp(draws.normal(5, 1, 200))
    gaps = [None if i % 5 == 0 else float(i) for i in range(200)]
    days = [f"2026-01-{i % 28 + 1:02}" for i in range(200)]
    told = {"number": number, "price": price, "gaps": gaps, "day": days, "colour": repeated(200, "red", "blue")}
    rows = table(**told, y=repeated(200, "a", "b"))
    prepared = Preparation.fit(rows, "y")
    prepared = Preparation.from_json(json.loads(json.dumps(prepared.to_json())))
    assert prepared.columns[1].kind == "skewed number"
    assert prepared.read(rows)[1] == {}
    new = table(
        number=[100.0, None, 1e9, 130.0],
        price=[None, 1e9, 100.0, 2000.0],
        gaps=[None, 1.0, -1e5, 200.0],
        day=[None, *days[:3]],
        colour=["red", "blue", None, "red"],
    )
    odd = {
        column: {kind: mask.tolist() for kind, mask in masks.items()} for column, masks in prepared.read(new)[1].items()
    }
    assert odd == {
        "number": {"missing": [False, True, False, False], "far": [False, False, True, False]},
        "price": {"missing": [True, False, False, False], "far": [False, True, False, False]},
        "gaps": {"far": [False, False, True, False]},
        "day": {"missing": [True, False, False, False]},
        "colour": {"missing": [False, False, True, False]},
    }


def test_columns_of_older_files_have_no_range():
    older = {name: value for name, value in NUMBER.items() if name != "range"}
    prepared = Preparation.from_json({"columns": [older], "target": VALUES})
    assert prepared.read(table(n=[1e9]))[1] == {}


def test_categories_of_held_out_rows_alone_are_no_surprise():
    rows = table(colour=["red", "blue", "red", "blue", "pink"], y=["a", "b", "a", "b", "a"])
    prepared = Preparation.fit(rows, "y", train=np.arange(4))
    assert "column 'colour' has 'pink' in held-out rows alone, which count as no category" in prepared.notes(rows)
    again = Preparation.from_json(json.loads(json.dumps(prepared.to_json())))
    inputs, odd = again.read(rows)
    assert inputs[4].tolist() == [0, 0]
    assert odd["colour"]["unknown"].tolist() == [False] * 4 + [True]
    with pytest.raises(ValueError, match="row 1, column 'colour': 'green' is not a category of the training"):
        again.read(table(colour=["green"]))


def test_a_constant_column_becomes_0():
    prepared = Preparation.fit(table(x=[0.1] * 7, y=repeated(7, 0, 1)), "y")
    assert prepared.columns == (NumberColumn("x", 0.1, 1.0, range=(0.0, 0.0)),)
    np.testing.assert_allclose(prepared.features(table(x=[0.1, 1.1]))[:, 0], [0, 1], atol=1e-15)


@pytest.mark.parametrize(
    "x",
    [
        1e9 + 1e-7 * (np.arange(40) % 2),
        pa.array(np.float32(1e4) + np.float32(1e-3) * (np.arange(40, dtype=np.float32) % 2)),
        [repr(0.1 + 0.2), repr(0.3)] * 20,
        1e20 + 2**14 * (np.arange(40) % 2),
    ],
    ids=["float64", "float32", "text", "large"],
)
def test_a_column_that_is_constant_but_for_rounding_becomes_0_and_is_reported(x):
    rows = table(x=x, y=repeated(40, 0.0, 5.0))
    prepared = Preparation.fit(rows, "y")
    (note,) = prepared.notes(rows)
    assert "column 'x' is constant up to rounding, and is not divided by its deviation: leave it out (--drop x)" in note
    assert abs(prepared.features(rows)).max() < 1
    target = Preparation.fit(table(x=repeated(40, 0, 1), y=x), "y", task="regress")
    assert target.notes(table(x=repeated(40, 0, 1)))[-1].startswith("target 'y' is constant up to rounding")
    back = target.values(target.targets(table(y=x)))
    np.testing.assert_allclose(back[:, 0], [float(v) for v in rows["x"].to_pylist()], rtol=1e-15)


def test_a_small_spread_that_is_more_than_rounding_is_standardised():
    x = 1e9 + 1e-5 * (np.arange(40) % 2)
    prepared = Preparation.fit(table(x=x, y=repeated(40, 0, 1)), "y")
    np.testing.assert_allclose(prepared.features(table(x=x))[:, 0], repeated(40, -1, 1), atol=0.01)
    assert prepared.notes(table(x=x, y=repeated(40, 0, 1))) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=20))
def test_values_come_back_in_their_units(y):
    rows = table(x=list(range(len(y))), y=y)
    prepared = Preparation.fit(rows, "y", task="regress")
    back = prepared.values(prepared.targets(rows))[:, 0]
    np.testing.assert_allclose(back, y, atol=1e-14 * max(map(abs, y)), rtol=1e-14)


def test_categories_may_be_asked_for_and_columns_left_out():
    rows = table(post=[12, 34, 12], id=["u", "v", "w"], y=["a", "b", "a"])
    prepared = Preparation.fit(rows, "y", categories=["post"], drop="id")
    assert prepared.feature_names == ("post=12", "post=34")
    np.testing.assert_array_equal(prepared.features(table(post=["34", "12"])), [[0, 1], [1, 0]])


def test_unknown_categories_are_refused_or_ignored(fitted):
    new = changed(TRAIN, colour=["red", "blue", "pink", "red"])
    message = (
        r"row 103, column 'colour': 'pink' is not a category of the training, 'blue', 'red'. .* --unknown ignore, or "
        r"unknown='ignore'"
    )
    with pytest.raises(ValueError, match=message):
        fitted.features(new, rows=100)
    np.testing.assert_array_equal(fitted.features(new, unknown="ignore")[2, 2:5], [0, 0, 0])
    with pytest.raises(ValueError, match=r"'NA' is not a category .* leave it empty, in Python None.* --missing ''\.$"):
        fitted.features(changed(TRAIN, colour=["red", "blue", "NA", "red"]))
    with pytest.raises(ValueError, match="unknown choice of unknown 'skip'; use one of error, ignore"):
        fitted.features(new, unknown="skip")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["1", "", "two", "x"], "row 13, column 'size': 'two' is not a number, but the column needs numbers"),
        (["1", "2", "0x10", "1"], "row 13, column 'size': '0x10' is not a number"),
        (["1", "2", "1,5", "1"], "row 13, column 'size': '1,5' is not a number"),
        (["1", "2", "true", "1"], "row 13, column 'size': 'true' is not a number"),
        (["1", "2", "nil", "1"], "row 13, column 'size': 'nil' is not a number"),
        (["1", "2", "1e400", "1"], r"row 13, column 'size': infinity, or a number above 1.8e308"),
        (["1", "2", "-inf", "1"], "row 13, column 'size': infinity"),
        ([1, 2, math.inf, math.nan], "row 13, column 'size': infinity"),
        ([[1], [2], [3], [4]], r"column 'size' has type list<.*int64>, but numbers are needed"),
    ],
)
def test_what_is_no_number_is_refused_later(fitted, entries, message):
    with pytest.raises(ValueError, match=message):
        fitted.features(changed(TRAIN, size=entries), rows=10)


def test_numbers_too_far_away_are_refused():
    prepared = Preparation.fit(table(x=[1e-10, 2e-10], y=[0, 1]), "y")
    with pytest.raises(ValueError, match=r"row 2, column 'x': 1e\+300 is too far from the mean of the training rows"):
        prepared.features(table(x=[1.0, 1e300]))


def test_missing_columns_are_all_named(fitted):
    with pytest.raises(
        ValueError, match=r"the table lacks 'size', 'sunny', which .* trained with; it has 'colour', 'x'"
    ):
        fitted.features(table(colour=["red"], x=["1"]))
    with pytest.raises(ValueError, match="the table lacks 'kind'"):
        fitted.targets(table(colour=["red"]))


# --- What kind a column is --------------------------------------------------------------------------------


def numbers(n=300, **odd):
    """Numbers as text, but for the entries of some rows."""
    return [odd.get(f"row{i + 1}", f"{i * 37 % 88 / 4}") for i in range(n)]


def test_the_kind_of_a_column_is_the_same_whatever_rows_are_trained_on():
    rows = {"y": repeated(300, "a", "b")}
    good, odd = table(x=numbers(row8="-", row9="?"), **rows), table(x=numbers(row8="6 kg"), **rows)
    for seed in range(5):
        train = np.random.default_rng(seed).permutation(300)[:200]
        assert Preparation.fit(good, "y", train=train).columns[0].kind == "number"
        with pytest.raises(ValueError, match="column 'x' has numbers, except in 1 of 300 entries: row 8 has '6 kg'"):
            Preparation.fit(odd, "y", train=train)
    assert Preparation.fit(good, "y").notes(good) == [
        "'-' is taken as missing in 1 of 300 entries of column 'x'",
        "'?' is taken as missing in 1 of 300 entries of column 'x'",
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            numbers(row4="#REF!", row6="x"),
            r"row 4 has '#REF!'. If this means a missing entry: --missing '#REF!,x', or TextFormat",
        ),
        (
            [x.replace(".", ",") for x in numbers()],
            r"row 1 has '0,0'. If the decimal mark .*: --decimal ',', or TextFormat",
        ),
        (numbers(row5="1,5"), r"row 5 has '1,5'. If the decimal mark .* --decimal ','"),
        ([f"{i % 9 + 1},{i:03}.5" for i in range(300)], r"row 1 has '1,000.5'. If ',' separates .* --thousands ','"),
        ([f"{i % 9 + 1}.{i:03},5" for i in range(300)], r"--decimal ',' --thousands '\.'"),
        ([f"1,{i % 30:03}" for i in range(300)], r"--decimal ',', .* If ',' separates thousands: --thousands ','"),
        ([f"{i % 9 + 1}\u00a0{i:03}" for i in range(300)], r"If a blank separates thousands: --thousands ' '"),
        (numbers(row4="\\N", row6="it's"), r"If this means a missing entry: --missing '\\N,it'\"'\"'s', or TextFormat"),
        (numbers(row4="n,a"), r"contain commas, so use TextFormat\(missing=...\)"),
        (numbers(row4="\u22122.5"), "is a negative number: write it as '-2.5'"),
        (numbers(row4="(2.5)"), "is a negative number: write it as '-2.5'"),
        ([x if i % 20 > 10 else "unk" for i, x in enumerate(numbers())], "165 of 300 .* --missing 'unk'"),
        (repeated(300, *"1234567890", "1234x"), "If the entries are names: --categories x, or categories=.'x'."),
    ],
)
def test_numbers_that_are_written_otherwise_are_no_categories(entries, message):
    rows = table(x=entries, y=repeated(300, "a", "b"))
    with pytest.raises(ValueError, match=message):
        Preparation.fit(rows, "y")
    with pytest.raises(ValueError, match=r"the target: column 'x' has numbers, except in .*--task classify"):
        Preparation.fit(rows, "x")
    assert (
        Preparation.fit(table(x=repeated(300, "2", "3", "4", "5more"), y=rows["y"]), "y").columns[0].kind == "category"
    )


@pytest.mark.parametrize("coded", [False, True])
def test_numbers_among_which_is_a_common_word_are_reported(coded):
    entries = [str(i % 10) if i % 8 else "unk" for i in range(300)]
    x = pa.array(entries).dictionary_encode() if coded else entries
    rows = table(x=x, y=repeated(300, "a", "b"))
    told = "though 262 of 300 entries are numbers, and others are 'unk'. If this means a missing entry: --missing 'unk'"
    assert f"column 'x' is taken as categories {told}" in Preparation.fit(rows, "y").notes(rows)[0]
    assert Preparation.fit(rows, "y", categories=["x"]).notes(rows) == []
    assert f"target 'x' is taken as classes {told}" in task_of(rows["x"], "x")[1]


def test_a_dictionary_of_many_texts_that_are_numbers_is_numbers():
    rows = table(x=pa.array(numbers()).dictionary_encode(), y=repeated(300, "a", "b"))
    assert Preparation.fit(rows, "y").feature_names == ("x",)
    odd = table(x=pa.array(numbers(row4="unk")).dictionary_encode(), y=rows["y"])
    with pytest.raises(ValueError, match=r"row 4 has 'unk'\. If this means a missing entry"):
        Preparation.fit(odd, "y")


@pytest.mark.parametrize("written", ["{}%", "${}", "{} kg", "CHF {}"])
def test_what_stands_beside_all_numbers_is_reported(written):
    rows = table(x=[written.format(i * 1.5) for i in range(60)], y=repeated(60, "a", "b"))
    said = f"numbers with '{re.escape(written.replace('{}', '').strip())}' added"
    with pytest.raises(ValueError, match=said):
        Preparation.fit(rows, "y")
    abroad = table(x=[written.format(f"1.{100 + i},50") for i in range(60)], y=repeated(60, "a", "b"))
    with pytest.raises(ValueError, match=said):
        Preparation.fit(abroad, "y")


@pytest.mark.parametrize("word", ["NA", "none", "-"])
def test_a_word_for_nothing_beside_few_integers_is_a_class(word):
    rows = table(x=list(range(0, 90, 3)), y=["1", "2", word] * 10)
    for task in ("auto", "classify"):
        assert set(Preparation.fit(rows, "y", task=task).classes) == {"1", "2", word}
        assert Preparation.known(rows, "y", task).all()
    assert (
        f"3 classes, of which '{word}' in 10 entries. If this means a missing entry: --missing"
        in task_of(rows["y"], "y")[1]
    )
    assert Preparation.known(rows, "y", "regress").sum() == 20


def test_few_integers_that_are_far_apart_may_be_names():
    draws = np.random.default_rng(0)
    rows = table(
        postcode=draws.choice([8001, 8002, 8005, 8032, 8045, 8051, 8102, 8153], 300),
        text=[str(code) for code in draws.choice([101, 205, 330], 300)],
        rooms=draws.integers(1, 10, 300),
        year=draws.integers(1900, 2025, 300),
        flag=draws.choice([0, 100], 300),
        share=draws.choice([0.5, 20.5, 99.0], 300),
        y=repeated(300, "a", "b"),
    )
    said = "different integers, and is taken as numbers; if they are names, such as postcodes: --categories"
    assert Preparation.fit(rows, "y").notes(rows) == [
        f"column 'postcode' has 8 {said} postcode",
        f"column 'text' has 3 {said} text",
    ]
    assert Preparation.fit(rows, "y", categories=["postcode", "text"]).notes(rows) == []


def test_a_target_with_a_currency_names_it():
    rows = table(x=[float(i) for i in range(60)], y=[f"CHF {1000 + i},{100 + i}" for i in range(60)])
    with pytest.raises(
        ValueError, match=r"too many to learn: numbers with 'CHF' added, such as 'CHF 1.*write the numbers"
    ):
        Preparation.fit(rows, "y")


def test_dates_in_another_form_have_one_remedy():
    rows = table(day=[f"{i % 28 + 1:02}.{i % 12 + 1:02}.2022" for i in range(60)], y=repeated(60, "a", "b"))
    with pytest.raises(
        ValueError, match=r"^column 'day' has .* --dates '%d.%m.%Y', .*Or leave it out: --drop day"
    ) as said:
        Preparation.fit(rows, "y")
    assert "nothing can be learned" not in str(said.value)


def test_a_number_of_the_row_is_reported_where_one_is_missing_or_twice():
    told = "column 'n' has a different integer in nearly every row; if it only names the rows, leave it out: --drop n"
    for n in ([None, *range(59)], [0, *range(59)]):
        rows = table(n=n, y=repeated(60, "a", "b"))
        assert told in Preparation.fit(rows, "y").notes(rows)


def test_columns_that_are_all_an_index_are_reported_as_such():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": range(30), "b": range(30), "y": repeated(30, "u", "v")}).set_index(["a", "b"])
    with pytest.raises(ValueError, match=r"'a', 'b' name the rows, .* after frame.reset_index\(\)"):
        Preparation.fit(pa.Table.from_pandas(frame), "y")


def test_spellings_of_one_decimal_are_one_category():
    rows = table(x=["1.5", "1.50", "u", "v"], y=["a", "b", "a", "b"])
    assert Preparation.fit(rows, "y").feature_names == ("x=1.5", "x=u", "x=v")


def test_a_column_without_entries_in_the_training_rows_can_be_used():
    rows = table(x=["1", "3", *[None] * 8], c=["u", *[None] * 9], y=repeated(10, "a", "b"))
    prepared = Preparation.fit(rows, "y", train=np.arange(2, 10))
    assert prepared.feature_names == ("x", "x missing", "c=u", "c missing")
    assert prepared.columns[0].mean == 2


@pytest.mark.parametrize("kind", [("+", "-"), ("?", "-"), ("A+", "A-"), (".", ","), ("1-2", "3-4")])
def test_signs_are_names_too(kind):
    rows = table(x=list(range(30)), c=repeated(30, *kind), y=repeated(30, *kind))
    prepared = Preparation.fit(rows, "y", categories=["c"] if kind == ("?", "-") else [])
    assert prepared.classes == tuple(sorted(kind))
    assert set(prepared.columns[1].to_json()["categories"]) == set(kind)
    assert prepared.known_in(rows.slice(1, 1)).all()


ONE_TWO = [
    pa.array([1, 2]),
    pa.array([1.0, 2.0], pa.float32()),
    pa.array(["1.0", "+2"]),
    pa.array(["1", "2"], pa.string_view()),
    pa.array([1, 2], pa.uint8()).dictionary_encode(),
    pa.array([Decimal("1.00"), Decimal(2)]),
]


@pytest.mark.parametrize("train", ONE_TWO, ids=lambda column: str(column.type))
@pytest.mark.parametrize("test", ONE_TWO, ids=lambda column: str(column.type))
def test_categories_and_classes_are_compared_by_value(train, test):
    prepared = Preparation.fit(table(x=train, y=train), "y", task="classify", categories=["x"])
    np.testing.assert_array_equal(prepared.features(table(x=test)), np.eye(2))
    np.testing.assert_array_equal(prepared.targets(table(y=test)), [0, 1])


def test_spellings_of_one_integer_are_one_category_and_codes_are_not():
    rows = table(x=["1", "1.0", "+1", "2"], code=["01", "1", "01", "1.50"], y=["a", "b", "a", "b"])
    prepared = Preparation.fit(rows, "y", categories=["x", "code"])
    assert prepared.feature_names == ("x=1", "x=2", "code=01", "code=1", "code=1.50")
    np.testing.assert_array_equal(prepared.features(table(x=[2.0], code=[1.5])), [[0, 1, 0, 0, 1]])


def test_dates_and_truth_values_are_the_categories_of_their_text():
    text = table(x=["2020-01-01", "2020-01-02"], t=["True", "False"], y=["a", "b"])
    prepared = Preparation.fit(text, "y", categories=["x"])
    when = [datetime(2020, 1, 1), datetime(2020, 1, 2)]
    for x, t in ((when, [True, False]), ([day.date() for day in when], [1, 0])):
        np.testing.assert_array_equal(prepared.features(table(x=x, t=t)), [[1, 0, 0, 1], [0, 1, 1, 0]])


def test_an_index_is_left_out_and_what_may_be_one_is_reported():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": repeated(60, 1.5, 2), "y": repeated(60, "a", "b")})
    for index in (np.arange(60.0), pandas.Index(range(1, 61), name="id"), pandas.Index([f"u{i}" for i in range(60)])):
        rows = pa.Table.from_pandas(frame.set_index(index), preserve_index=True)
        prepared = Preparation.fit(rows, "y")
        assert prepared.feature_names == ("x",)
        assert prepared.notes(rows) == [
            f"column {rows.column_names[2]!r} was left out: it is an index of pandas, or has no name"
        ]
    rows = table(n=list(range(1, 61)), id=[i * 7 % 61 + 5 for i in range(1, 61)], x=repeated(60, 1, 2), y=frame["y"])
    shuffled = table(n=[i * 7 % 60 for i in range(60)], y=frame["y"])
    told = "; if it only names the rows, leave it out: --drop"
    assert Preparation.fit(rows, "y").notes(rows) == [
        f"column 'n' numbers the rows{told} n",
        f"column 'id' numbers the rows{told} id",
    ]
    assert Preparation.fit(shuffled, "y").notes(shuffled) == [f"column 'n' numbers the rows{told} n"]
    few = table(id=[f"u{i}" for i in range(12)], y=repeated(12, "a", "b"))
    assert Preparation.fit(few, "y").notes(few) == [f"column 'id' is different in every row{told} id"]


def test_frames_of_others_are_refused_with_what_makes_a_table(fitted):
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    for frame, remedy in (
        (pandas.DataFrame(TRAIN), r"pyarrow.Table.from_pandas\(frame\)"),
        (polars.DataFrame(TRAIN), r"got DataFrame. Make one with frame.to_arrow\(\)"),
        (polars.LazyFrame(TRAIN), r"got LazyFrame. Make one with frame.collect\(\).to_arrow\(\)"),
    ):
        with pytest.raises(TypeError, match=remedy):
            fitted.features(frame)
    np.testing.assert_array_equal(
        fitted.features(polars.LazyFrame(TRAIN).collect().to_arrow()), fitted.features(table(**TRAIN))
    )
    rows = {"t": [True, None], "d": polars.Series([Decimal("1.5"), Decimal("2.5")]), "l": [[1], [2]], "y": ["a", "b"]}
    rows = polars.DataFrame(rows).to_arrow()
    assert Preparation.fit(rows, "y", drop=["l"]).feature_names == ("t", "t missing", "d")
    with pytest.raises(ValueError, match=r"these are not: 'l' .*list.*--drop l"):
        Preparation.fit(rows, "y")


# --- What nothing can be learned from ---------------------------------------------------------------------

N = 60
GOOD = {"x": list(range(N)), "y": repeated(N, "a", "b")}


def test_all_useless_columns_are_named_at_once():
    rows = changed(
        GOOD,
        id=[f"u{i}" for i in range(N)],
        none=["NA"] * N,
        nulls=pa.nulls(N),
    )
    message = (
        r"'id' has 60 different values in 60 rows; 'none' has no entries; 'nulls' has no entries. .*"
        r"--drop id,none,nulls, or drop=\['id', 'none', 'nulls'\]"
    )
    with pytest.raises(ValueError, match=message):
        Preparation.fit(rows, "y")
    assert Preparation.fit(rows, "y", drop=["id", "none", "nulls"]).feature_names == ("x",)


def test_many_categories_are_welcome_up_to_a_limit():
    rows = {"y": repeated(4_000, "a", "b")}
    many = changed(rows, c=[f"v{i % 1000}" for i in range(4_000)])
    assert len(Preparation.fit(many, "y").feature_names) == 1_000
    with pytest.raises(ValueError, match="'c' has 1001 different values in 4000 rows"):
        Preparation.fit(changed(rows, c=[f"v{i % 1001}" for i in range(4_000)]), "y")
    few = changed(GOOD, c=[f"v{i}" if i < 20 else None for i in range(N)])
    assert len(Preparation.fit(few, "y").feature_names) == 22
    with pytest.raises(ValueError, match="'c' has 21 different values in 21 rows"):
        Preparation.fit(changed(GOOD, c=[f"v{i}" if i < 21 else None for i in range(N)]), "y")


def test_types_that_are_no_numbers_are_refused_where_they_are_used():
    rows = changed(GOOD, when=[time(9)] * N, parts=[{"a": 1}] * N, raw=[b"x"] * N)
    message = r"these are not: 'when' \(time.*\), 'parts' \(struct.*\), 'raw' \(binary\). .*--drop when,parts,raw"
    with pytest.raises(ValueError, match=message):
        Preparation.fit(rows, "y")
    prepared = Preparation.fit(rows, "y", drop=["when", "parts", "raw"])
    assert prepared.features(rows).shape == (N, 1)
    with pytest.raises(ValueError, match="these are not: 'when'"):
        Preparation.fit(changed(GOOD, when=[datetime(2020, 1, 1)] * N), "when")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"Price": [1.5, 2], "x": [1, 2]}, {"target": "price"}, "no column 'price'; .* Did you mean 'Price'?"),
        (GOOD, {"drop": ["z"]}, "drop: there is no column 'z'; the table has 'x', 'y'"),
        (GOOD, {"categories": ["z"]}, "categories: there is no column 'z'"),
        (GOOD, {"drop": ["y"]}, "'y' cannot be the target and in drop or categories as well"),
        (GOOD, {"drop": ["x"]}, "no column is left to learn from: the table has 'x', 'y', and 'y', 'x' are targets"),
        (GOOD, {"target": []}, "target has no column"),
        (GOOD, {"task": "guess"}, "unknown task 'guess'; use one of auto, classify, regress"),
        ({"x": [], "y": []}, {}, "the table has no rows to learn from"),
        ({"": [1], "y": [1]}, {}, "a column without a name"),
        ({"x": ["1", "1e400"], "y": [1, 2]}, {}, "row 2, column 'x': infinity"),
        ({"x": ["1", "-inf"], "y": [1, 2]}, {}, "row 2, column 'x': infinity"),
        ({"x": [1.7e308, -1.7e308], "y": [1, 2]}, {}, "column 'x' is from -1.7e.308 to 1.7e.308, too far apart"),
        ({"x": [1, 2], "y": ["a", None]}, {}, "row 2, column 'y': the target is missing. Leave out such rows, 1 of 2"),
        ({"x": [1, 2], "y": [1.5, math.nan]}, {}, "row 2, column 'y': the target is missing"),
        ({"x": [1, 2], "y": [1.5, math.inf]}, {}, "row 2, column 'y': infinity"),
        ({"x": [1, 2], "y": ["a", "a"]}, {}, "'y' has a single class in the training rows, 'a'"),
        ({"x": [1, 2], "y": ["1", "a"]}, {"task": "regress"}, "row 2, column 'y': 'a' is not a number"),
        ({**GOOD, "z": GOOD["x"]}, {"target": ["x", "y"]}, "row 1, column 'y': 'a' is not a number"),
        ({**GOOD, "z": GOOD["x"]}, {"target": ["x", "z"], "task": "classify"}, "only a single target can have classes"),
        (
            {"x": list(range(30)), "y": [f"u{i}" for i in range(30)]},
            {},
            r"the target 'y' has 30 different classes in 30 rows, too many to learn. .*task='regress'",
        ),
        (
            {"x": list(range(30)), "y": ["?", *map(str, range(29))]},
            {},
            "row 1, column 'y': the target is missing",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(columns, options, message):
    with pytest.raises(ValueError, match=message):
        Preparation.fit(pa.table(columns), **{"target": "y", **options})


def test_what_is_no_table_is_refused(fitted):
    with pytest.raises(
        TypeError, match=r"table must be a pyarrow.Table, as open_table\(path\).read\(\) returns; got dict"
    ):
        Preparation.fit(GOOD, "y")
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(ValueError, match="several columns with the same name: 'a'"):
        fitted.features(twice)


# --- Targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (["b", "a", "b"], "auto", ("a", "b")),
        (["10", "9", "9"], "auto", ("9", "10")),
        ([10, -9, 9], "auto", ("-9", "9", "10")),
        ([True, False, True], "auto", ("false", "true")),
        (["x,\n'", 'x"', "x,\n'"], "auto", ('x"', "x,\n'")),
        (pa.array([2, 1, 2]).dictionary_encode(), "auto", ("1", "2")),
        ([1.5, 2.5, 1.5], "classify", ("1.5", "2.5")),
        ([1.0, 2.0, 1.0], "classify", ("1", "2")),
        ([1.0, 2.0, 1.0], "auto", ("1", "2")),
        ([1.0, 2.0, 1.0], "regress", ()),
        (["1.5", "2", "1.5"], "auto", ()),
        ([1, 2, 1], "regress", ()),
    ],
)
def test_the_target_or_the_task_decides(y, task, classes):
    rows = table(x=[1, 2, 3], y=y)
    prepared = Preparation.fit(rows, "y", task=task)
    assert prepared.classes == classes
    assert prepared.is_classification is bool(classes)
    targets = prepared.targets(rows)
    if classes:
        assert targets.dtype == np.int64
        text = [str(v).lower() if isinstance(v, bool) else f"{v:g}" if isinstance(v, float) else str(v) for v in y]
        if not isinstance(y, pa.Array):
            assert [classes[k] for k in targets] == text
    else:
        assert targets.shape == (3, 1)
        np.testing.assert_allclose([targets.mean(), targets.std()], [0, 1], atol=1e-14)


def test_many_integers_are_values():
    assert not Preparation.fit(table(x=list(range(21)), y=list(range(21))), "y").is_classification
    assert Preparation.fit(table(x=list(range(20)), y=list(range(20))), "y").is_classification
    assert not Preparation.fit(table(x=list(range(42)), y=[str(i % 21) for i in range(42)]), "y").is_classification


VAST = [9_007_199_254_740_993_001, 9_007_199_254_740_993_002, 9_007_199_254_740_993_003]


@pytest.mark.parametrize(
    "y",
    [
        VAST,
        [-n for n in reversed(VAST)],
        pa.array([2**64 - 3, 2**64 - 2, 2**64 - 1], pa.uint64()),
        pa.array([Decimal(n) * 10**10 for n in VAST], pa.decimal128(38, 0)),
        [str(n) for n in VAST],
        [f"{n}{n}" for n in VAST],
        pa.array(VAST).dictionary_encode(),
    ],
    ids=["int64", "negative", "uint64", "decimal", "text", "long text", "dictionary"],
)
def test_integers_of_any_size_are_classes_and_stay_exact(y):
    rows = table(x=[1.0, 2.0, 3.0], y=y)
    prepared = Preparation.fit(rows, "y")
    assert prepared.classes == tuple(str(n) for n in rows["y"].to_pylist())
    again = Preparation.from_json(json.loads(json.dumps(prepared.to_json())))
    assert again == prepared
    assert again.targets(rows).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="row 1, column 'y': '9007199254740993000' is not one of the classes"):
        again.targets(table(y=["9007199254740993000"]))


@pytest.mark.parametrize(
    ("y", "task", "says"),
    [
        (
            VAST,
            "classify",
            r"3 classes, because it has few different integers \('9007199254740993001', .*regress",
        ),
        (["0", "1"], "classify", r"2 classes, because .* \('0', '1'\); if they are numbers, --task regress"),
        ([0.0, 1.0], "classify", r"2 classes, because .* \('0', '1'\); if they are numbers, --task regress"),
        (["0.0", "1.0", "2"], "classify", r"3 classes, because .* \('0.0', '1.0', '2'\).*task='regress'"),
        (["0.0", "1.5", "2.0"], "regress", "^$"),
        ([0.5, 1.5], "regress", "if they are classes, --task classify"),
        ([0.5, 1.5, 2.5], "regress", "^$"),
        (list(range(21)), "regress", "^$"),
        (["a", "b"], "classify", "^$"),
        ([True, False], "classify", "^$"),
    ],
)
def test_the_choice_of_the_task_is_reported(y, task, says):
    found, note = task_of(table(y=y)["y"], "y")
    assert found == task
    assert re.search(says, note)


@pytest.mark.parametrize(
    ("y", "values"),
    [
        ([0, 1], [0, 1]),
        ([1.0, None, 0.0], [0, 1]),
        (["0", "1.0"], [0, 1]),
        (["-2", "10"], [-2, 10]),
        ([False, True], [False, True]),
        (["True", "FALSE"], [False, True]),
        (["yes", "no"], ["no", "yes"]),
        (["01", "02"], ["01", "02"]),
        (pa.array(["0", "1"]).dictionary_encode(), ["0", "1"]),
        ([2**63 - 1, 0], [0, 2**63 - 1]),
        ([str(2**64), "0"], ["0", str(2**64)]),
    ],
)
def test_labels_are_what_the_entries_of_the_target_are(y, values):
    rows = table(x=np.arange(len(y), dtype=float), y=y)
    train = np.flatnonzero(Preparation.known(rows, "y"))
    prepared = Preparation.fit(rows, "y", train=train)
    assert prepared.labels.tolist() == values
    assert [type(label) for label in prepared.labels.tolist()] == [type(value) for value in values]
    again = Preparation.from_json(json.loads(json.dumps(prepared.to_json())))
    assert again.labels.tolist() == values
    assert again.with_text_labels().labels.tolist() == list(prepared.classes)


def test_labels_of_older_files_are_text():
    older = {name: value for name, value in ClassTarget("y", ("0", "1")).to_json().items() if name != "labels"}
    assert ClassTarget.from_json(older, "the target").values.tolist() == ["0", "1"]


def test_integers_that_are_rounded_are_reported():
    rows = table(x=["1", "2", None], id=[2**53 + 3, 0, 1], y=[str(n) for n in VAST])
    notes = Preparation.fit(rows, "y", task="regress").notes(rows)
    assert notes[-2:] == [
        "column 'id' has integers beyond 2**53, which are rounded: leave it out (--drop id), or use "
        "--categories id for names",
        "target 'y' has integers beyond 2**53, which are rounded: for names of classes, use --task classify",
    ]
    assert not any("2**53" in note for note in Preparation.fit(rows, "y", categories=["id"]).notes(rows))


def test_several_values_are_standardised_each():
    rows = table(x=[1, 2, 3], y=[1.0, 2.0, 6.0], z=["100", "100", "400"])
    prepared = Preparation.fit(rows, ["z", "y"])
    targets = prepared.targets(rows)
    np.testing.assert_allclose(targets.std(axis=0), [1, 1])
    np.testing.assert_allclose(prepared.values(targets), [[100, 1], [100, 2], [400, 6]])
    with pytest.raises(ValueError, match=r"outputs must have shape \(n, 2\); got \(3,\)"):
        prepared.values(targets[:, 0])


def test_classes_have_no_units(fitted):
    with pytest.raises(ValueError, match="'kind' has classes; its outputs have no units"):
        fitted.values(np.zeros((1, 2)))


def test_rows_without_a_target_are_reported():
    rows = table(x=[1, 2, 3, 4], y=["a", "", None, "b"], z=[1.0, 2.0, 3.0, math.nan], d=["1", "-", "2", "3"])
    np.testing.assert_array_equal(Preparation.known(rows, "y"), [True, False, False, True])
    np.testing.assert_array_equal(Preparation.known(rows, ["z", "d"]), [True, False, True, False])
    with pytest.raises(ValueError, match="target: there is no column 'w'"):
        Preparation.known(rows, "w")
    assert Preparation.fit(rows.filter(pa.array(Preparation.known(rows, "y"))), "y").classes == ("a", "b")


def test_targets_that_cannot_be_one_are_named(fitted):
    with pytest.raises(
        ValueError, match="row 8, column 'kind': 'c' is not one of the classes 'a', 'b' of the training"
    ):
        fitted.targets(table(kind=["a", "b", "c"]), rows=5)
    with pytest.raises(ValueError, match="row 2, column 'kind': the target is missing"):
        fitted.targets(table(kind=["a", ""]))
    values = Preparation.fit(table(x=[1, 2], y=[0.5, 1.5]), "y")
    with pytest.raises(ValueError, match="row 2, column 'y': infinity"):
        values.targets(table(y=[1.0, math.inf]))
    with pytest.raises(ValueError, match="row 1, column 'y': the target is missing"):
        values.targets(table(y=[math.nan]))


@pytest.mark.parametrize("train", [[True, False], ["True", "False"], ["TRUE", "false"]])
@pytest.mark.parametrize("test", [[True, False], ["True", "False"], ["true", "FALSE"]])
def test_truth_values_are_the_same_in_every_file(train, test):
    prepared = Preparation.fit(table(x=train, y=train), "y")
    targets, inputs = prepared.targets(table(y=test)), prepared.features(table(x=test))
    np.testing.assert_array_equal(targets, prepared.targets(table(y=train)))
    np.testing.assert_array_equal(inputs, prepared.features(table(x=train)))


# --- Reports and JSON -------------------------------------------------------------------------------------


def test_the_report_has_every_column(fitted):
    assert fitted.describe() == [
        ("size", "number", "standardised: mean 2, scale 0.8165; a further input marks missing entries"),
        ("colour", "category", "an input for each of 2: 'blue', 'red'; and one for missing entries"),
        ("sunny", "category", "an input for each of 2: 'false', 'true'"),
        ("kind", "target", "2 classes: 'a', 'b'"),
    ]
    values = Preparation.fit(table(x=[1, 2], y=[0.5, 1.5]), "y")
    assert values.describe()[-1] == ("y", "target", "standardised: mean 1, scale 0.5")


def test_json_gives_the_same_preparation_back(fitted):
    for prepared in (fitted, Preparation.fit(pa.table(TYPED), ["y", "half"])):
        text = json.dumps(prepared.to_json(), allow_nan=False)
        assert Preparation.from_json(json.loads(text)) == prepared


NUMBER = NumberColumn("n", 0.0, 1.0).to_json()
CATEGORY = CategoryColumn("c", ("a", "b")).to_json()
CLASSES = ClassTarget("y", ("a", "b")).to_json()
VALUES = ValueTarget(("y",), (0.0,), (1.0,)).to_json()


def deep(n=100_000):
    data: list = []
    for _ in range(n):
        data = [data]
    return data


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, "column 1 must be of kind number or .* or text; got None"),
        ({**NUMBER, "kind": "picture"}, "must be of kind number or .* or text; got 'picture'"),
        ({**NUMBER, "kind": ["number"]}, "must be of kind number or .* or text; got a list"),
        (
            {**NUMBER, "more": 1},
            "column 1 must have the entries kind, mean, missing, name, range, scale, truth and no others",
        ),
        ({"kind": "number", "name": "n"}, "must have the entries"),
        ({**NUMBER, "mean": math.nan}, "the mean of column 1 must be a finite number; got nan"),
        ({**NUMBER, "mean": "0"}, "the mean of column 1 must be a finite number; got '0'"),
        ({**NUMBER, "mean": True}, "must be a finite number; got True"),
        ({**NUMBER, "mean": 10**400}, "must be a finite number; got a int"),
        ({**NUMBER, "range": [0]}, "'range' of column 1 must be two numbers; got 1"),
        ({**NUMBER, "range": [0, math.inf]}, "each of 'range' of column 1 must be a finite number"),
        ({**NUMBER, "range": 1}, "'range' of column 1 must be a list"),
        ({**CATEGORY, "others": ["x", "x"]}, "the others of column 1 must be .* different"),
        ({**NUMBER, "scale": 0}, "the scale of column 1 must be more than 0"),
        ({**NUMBER, "scale": -1.0}, "must be more than 0; got -1"),
        ({**NUMBER, "scale": math.inf}, "must be a finite number; got inf"),
        ({**NUMBER, "missing": 1}, "'missing' of column 1 must be true or false; got a int"),
        ({**NUMBER, "name": 5}, "the name of column 1 must be text, and not empty; got a int"),
        ({**NUMBER, "name": "\ud800"}, "must be text"),
        ({**NUMBER, "name": "y"}, "columns of different names; got 'y', 'y'"),
        ({**NUMBER, "name": deep()}, "must be text, and not empty; got a list"),
        ({**CATEGORY, "categories": []}, "the categories of column 1 must be at least 1, at most 1000, and different"),
        ({**CATEGORY, "categories": ["a", "a"]}, "and different; got 'a', 'a'"),
        ({**CATEGORY, "categories": [str(i) for i in range(1_001)]}, "at most 1000"),
        ({**CATEGORY, "categories": "ab"}, "must be a list; got 'ab'"),
        ({**CATEGORY, "categories": [1]}, "each of the categories of column 1 must be text"),
    ],
)
def test_hostile_columns_are_refused(column, message):
    with pytest.raises(ValueError, match=message):
        Preparation.from_json({"columns": [column], "target": CLASSES})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({**CLASSES, "classes": ["a"]}, "the classes must be at least 2"),
        ({**CLASSES, "kind": "values"}, "the target must have the entries kind, means, names, scales"),
        ({**VALUES, "scales": [0.0]}, "a scale of the target must be more than 0"),
        ({**VALUES, "scales": []}, "needs as many means and scales as names, 1"),
        ({**VALUES, "names": ["y", "y"]}, "must be at least 1"),
        (deep(), "the target must be of kind classes or values; got None"),
    ],
)
def test_hostile_targets_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        Preparation.from_json({"columns": [NUMBER], "target": target})


@pytest.mark.parametrize(
    "data", [None, [], {}, {"columns": []}, {"columns": [], "target": CLASSES}, {"columns": {}, "target": CLASSES}]
)
def test_hostile_preparations_are_refused(data):
    with pytest.raises(ValueError, match=r"the preparation must have|needs columns of|columns must be a list"):
        Preparation.from_json(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.sampled_from(["number", "category", "classes"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(NUMBER)), inner, max_size=6),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(column=JSON, target=JSON)
def test_any_other_json_is_a_value_error(column, target):
    with pytest.raises(ValueError, match=r"."):
        Preparation.from_json({"columns": [column], "target": target})


def test_errors_speak_of_the_rows_of_the_file() -> None:
    """Also where the training rows are some of them, in another order, and entries before are missing."""
    rows = np.asarray([7, 3, 12])
    with pytest.raises(ValueError, match="row 13, column 'size': infinity"):
        Preparation.fit(pa.table({"size": [None, 1.0, math.inf], "kind": ["a", "b", "a"]}), "kind", rows=rows)
    fitted = Preparation.fit(pa.table({"size": [2.0, 1.0, 3.0], "kind": ["a", "b", "a"]}), "kind")
    with pytest.raises(ValueError, match="row 4, column 'size': 'x' is not a number"):
        fitted.features(pa.table({"size": ["1", "x", "2"]}), rows=rows)


def test_truth_values_are_no_numbers() -> None:
    """Unless those of the training were: true is not the pressure 1."""
    data = pa.table({"pressure": [1.5, 2.5, 3.5, 4.5], "kind": ["u", "v", "u", "v"]})
    prepared = Preparation.fit(data, "kind")
    with pytest.raises(ValueError, match="row 2, column 'pressure': a truth value, but the column needs numbers"):
        prepared.features(pa.table({"pressure": [None, True]}))
    with pytest.raises(ValueError, match="row 12, column 'pressure': a truth value"):
        prepared.features(pa.table({"pressure": [None, True]}), rows=10)
    assert prepared.features(pa.table({"pressure": pa.array([None], pa.bool_())})).shape == (1, 1)
