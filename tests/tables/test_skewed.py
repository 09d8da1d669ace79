"""Numbers of many sizes: when they are taken by their logarithm, and what they become."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nnarray.tables.columns import NumberColumn, SkewedColumn
from nnarray.tables.preparation import Preparation

pa = pytest.importorskip("pyarrow")

DRAW = np.random.default_rng(0)
PRICES = np.exp(2 * DRAW.normal(size=400)) * 1000
Y = ["a", "b"] * 200


def fitted(x):
    return Preparation.fit(pa.table({"x": x, "y": Y}), "y")


def test_prices_become_their_logarithm_standardised():
    prepared = fitted(PRICES)
    (column,) = prepared.columns
    assert isinstance(column, SkewedColumn)
    assert column.unit == pytest.approx(np.quantile(PRICES, 0.05))
    z = prepared.features(pa.table({"x": PRICES}))[:, 0]
    assert (abs(z.mean()), z.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    want = np.arcsinh(PRICES / column.unit)
    np.testing.assert_allclose(z, (want - want.mean()) / want.std(), rtol=1e-9, atol=1e-12)
    assert abs((z**3).mean()) < 0.5
    np.testing.assert_allclose(np.corrcoef(z, np.log(PRICES))[0, 1], 1, atol=0.01)


def test_nothing_debts_and_what_is_missing_are_welcome():
    x = np.where(np.arange(400) % 50 == 0, 0.0, PRICES * np.where(np.arange(400) % 10 == 1, -0.01, 1))
    entries = [None if i == 3 else value for i, value in enumerate(x)]
    prepared = fitted(entries)
    assert prepared.feature_names == ("x", "x missing")
    assert prepared.columns[0].kind == "skewed number"
    z = prepared.features(pa.table({"x": [-1e4, -1.0, 0.0, 1.0, 1e4, None, 1e300]}))
    assert (np.diff(z[:5, 0]) > 0).all()
    assert z[5].tolist() == [0, 1]
    assert np.isfinite(z).all()


@pytest.mark.parametrize(
    "x",
    [
        DRAW.normal(size=400),
        DRAW.uniform(size=400),
        DRAW.exponential(size=400) ** 0.5,
        [1.0] * 3 + [0.0] * 397,  # two values stay two values
        [5.0] * 400,
    ],
)
def test_other_numbers_are_only_standardised(x):
    assert type(fitted(x).columns[0]) is NumberColumn


@pytest.mark.parametrize("unit", [1e-250, 1.0, 1e250])
def test_the_unit_of_the_file_does_not_count(unit):
    one, other = fitted(PRICES), fitted(PRICES * unit)
    np.testing.assert_allclose(
        other.features(pa.table({"x": PRICES * unit})), one.features(pa.table({"x": PRICES})), rtol=1e-9, atol=1e-9
    )


def test_it_is_saved_and_damage_is_refused():
    prepared = fitted(PRICES)
    data = json.loads(json.dumps(prepared.to_json()))
    again = Preparation.from_json(data)
    assert again == prepared
    rows = pa.table({"x": PRICES})
    np.testing.assert_array_equal(again.features(rows), prepared.features(rows))
    for unit, message in ((0.0, "the unit of column 1 must be more than 0"), (math.nan, "must be a finite number")):
        data["columns"][0]["unit"] = unit
        with pytest.raises(ValueError, match=message):
            Preparation.from_json(data)
    del data["columns"][0]["unit"]
    with pytest.raises(ValueError, match="column 1 must have the entries"):
        Preparation.from_json(data)


def test_text_is_refused_as_in_other_numbers():
    with pytest.raises(ValueError, match="row 1, column 'x': 'dear' is not a number"):
        fitted(PRICES).features(pa.table({"x": ["dear"]}))
