"""A trained file in Python: the numbers of `nnarray predict`, whatever holds the rows or the images."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

import nnarray as nn
from nnarray.apps.workflow import inputs
from nnarray.cli import app
from nnarray.tables.containers import table_of
from nnarray.tables.text_format import TextFormat
from tests.processes import run_python


def call(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], prog_name="nnarray")
    assert done.exit_code == 0, done.output
    return done.stdout


def flowers(rows: int = 120) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    kind = draws.integers(3, size=rows)
    age = draws.integers(1, 9, rows).astype(float)
    age[::10] = np.nan
    return pd.DataFrame(
        {
            "length": (kind + draws.normal(5, 0.3, rows)).round(2),
            "colour": np.asarray(["red", "blue", "white"])[kind],
            "age": age,
            "alive": draws.integers(2, size=rows).astype(bool),
            "kind": np.asarray(["daisy", "rose", "tulip"])[kind],
        }
    )


FRAME = flowers()
GOOD = {"length": 5.5, "colour": "red", "age": 3, "alive": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained files, and the tables that they were trained on."""
    place = tmp_path_factory.mktemp("flowers")
    FRAME.to_csv(place / "flowers.csv", index=False)
    FRAME.to_parquet(place / "flowers.parquet")
    usual = ("--backend", "numpy", "--epochs", 3, "--hidden", 8)
    call("train", place / "flowers.parquet", "--target", "kind", "--out", place / "kind.safetensors", *usual)
    call("train", place / "flowers.csv", "--target", "length", "--out", place / "length.safetensors", *usual)
    return place


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> nn.Pipeline:
    return nn.load_pipeline(folder / "kind.safetensors")


CONTAINERS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: FRAME,
    "pandas with an index": lambda: FRAME.set_index(pd.Index(range(50, 50 + len(FRAME)), name="number")),
    "polars": lambda: pl.from_pandas(FRAME),
    "pyarrow": lambda: pa.Table.from_pandas(FRAME),
    "a reader of batches": lambda: pa.Table.from_pandas(FRAME).to_reader(max_chunksize=7),
    "rows": lambda: FRAME.to_dict("records"),
    "a tuple of rows": lambda: tuple(FRAME.to_dict("records")),
    "lists": lambda: FRAME.to_dict("list"),
    "arrays": lambda: {name: FRAME[name].to_numpy() for name in FRAME},
    "swapped bytes": lambda: {n: FRAME[n].to_numpy().astype(">f8") if n == "length" else FRAME[n] for n in FRAME},
    "series": lambda: {name: FRAME[name] for name in FRAME},
    "scalars of NumPy": lambda: [{name: np.asarray(row[name])[()] for name in row} for row in FRAME.to_dict("records")],
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_numbers_of_the_command_line_whatever_holds_the_rows(container: str, folder: Path) -> None:
    for model, target in (("kind", "kind"), ("length", "length")):
        out = folder / f"{model}-predictions.parquet"
        call("predict", folder / f"{model}.safetensors", folder / "flowers.parquet", "--out", out, "--backend", "numpy")
        wanted = parquet.read_table(out)
        pipeline = nn.load_pipeline(folder / f"{model}.safetensors")
        assert pipeline.targets == (target,)
        got = pipeline.predict(CONTAINERS[container]())
        if pipeline.classes:
            assert got.tolist() == wanted["prediction"].to_pylist()
            probabilities = pipeline.predict_proba(CONTAINERS[container]())
            for k, name in enumerate(pipeline.classes):
                assert np.array_equal(probabilities[:, k], wanted[f"p_{name}"].to_numpy())
        else:
            assert np.array_equal(got, wanted["length"].to_numpy())


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "entries", [[0, 1], [False, True], [1.0, 0.0], ["no", "yes"], ["0", "1"]], ids=lambda entries: repr(entries)
)
def test_predictions_can_be_compared_with_the_column(entries: list[Any], ending: str, tmp_path: Path) -> None:
    """As pandas has it: integers, truth values and text."""
    frame = pd.DataFrame({"x": [float(i % 2) for i in range(60)], "churn": [entries[i % 2] for i in range(60)]})
    data, file, out = tmp_path / f"a{ending}", tmp_path / "m.safetensors", tmp_path / "p.parquet"
    frame.to_csv(data, index=False) if ending == ".csv" else frame.to_parquet(data)
    frame = pd.read_csv(data) if ending == ".csv" else pd.read_parquet(data)
    call("train", data, "--target", "churn", "--out", file, "--backend", "numpy", "--epochs", 60, "--lr", 0.02)
    pipeline = nn.load_pipeline(file)
    assert (pipeline.predict(frame) == frame.churn).mean() == 1
    assert pipeline.classes == tuple(sorted(frame.churn.unique().tolist()))
    call("predict", file, data, "--out", out)
    assert (pd.read_parquet(out).prediction == frame.churn).all()
    row = json.loads(call("predict", file, data, "--json").splitlines()[0])
    assert row["prediction"] == frame.churn[0]


def test_paths_and_parts(pipeline: nn.Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = pipeline.predict_proba(FRAME)
    assert np.array_equal(pipeline.predict_proba(folder / "flowers.csv"), wanted)
    assert np.array_equal(pipeline.predict_proba(str(folder / "flowers.parquet")), wanted)
    with open(folder / "flowers.csv", newline="") as file:
        assert np.array_equal(pipeline.predict_proba(list(csv.DictReader(file))), wanted)  # all of it text
    monkeypatch.setattr("nnarray.apps.workflow.pipeline.ROWS", 7)
    assert np.allclose(pipeline.predict_proba(FRAME), wanted, rtol=1e-5, atol=1e-7)
    rows = FRAME.to_dict("records")
    with pytest.raises(ValueError, match="row 100, column 'age': 'x' is not a number"):
        pipeline.predict([{**row, "age": "x" if i == 99 else str(row["age"])} for i, row in enumerate(rows)])


def test_on_every_backend(be: nn.Backend, folder: Path, pipeline: nn.Pipeline) -> None:
    there = nn.load_pipeline(folder / "kind.safetensors", backend=be, dtype="float32")
    got = there.predict_proba(FRAME)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float32
    assert np.allclose(got, pipeline.predict_proba(FRAME), rtol=1e-4, atol=1e-6)
    assert there.predict(FRAME).tolist() == pipeline.predict(FRAME).tolist()


def test_in_another_dtype(folder: Path, pipeline: nn.Pipeline) -> None:
    got = nn.load_pipeline(folder / "kind.safetensors", dtype="float64").predict_proba([GOOD])
    assert got.dtype == np.float64
    assert got.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.allclose(got, pipeline.predict_proba([GOOD]), rtol=1e-5)


def test_what_it_takes_and_gives(pipeline: nn.Pipeline, folder: Path) -> None:
    columns = {column.name: column for column in pipeline.columns}
    assert list(columns) == ["length", "colour", "age", "alive"]
    assert columns["colour"][1:] == (
        "category",
        "'blue', 'red', 'white'; a missing one is none of them",
        ("blue", "red", "white"),
    )
    assert columns["age"].kind == "number"
    assert "a missing one is taken as the mean" in columns["age"].accepts
    assert "numbers, true and false" in columns["alive"].accepts
    assert pipeline.classes == ("daisy", "rose", "tulip")
    assert repr(pipeline).startswith("Pipeline(from 4 columns to kind: classes daisy, rose, tulip; Model(Dense(8")
    values = nn.load_pipeline(folder / "length.safetensors")
    assert (values.targets, values.classes) == (("length",), ())
    assert values.predict([{**GOOD, "kind": "rose"}]).shape == (1,)
    with pytest.raises(ValueError, match=r"values of 'length' are predicted, and no classes; use predict\."):
        values.predict_proba(FRAME)


def test_each_kind_of_column_is_described(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    words = ["loose bolt", "dry bearing", "worn seal found", "loud fan"]
    rows = [
        {"made": f"20{10 + k % 9}-0{1 + k % 9}-11", "said": f"{words[k % 4]} {k}", "cost": np.exp(draws.normal(5, 2))}
        for k in range(80)
    ]
    pd.DataFrame([{**row, "kind": "ab"[k % 2]} for k, row in enumerate(rows)]).to_csv(tmp_path / "a.csv", index=False)
    out = tmp_path / "a.safetensors"
    call("train", tmp_path / "a.csv", "--target", "kind", "--epochs", 1, "--out", out, "--backend", "numpy")
    pipeline = nn.load_pipeline(out)
    made, said, cost = pipeline.columns
    assert (made.kind, said.kind, cost.kind) == ("date", "text", "skewed number")
    assert made.accepts.startswith("dates and times in ISO form, without a time zone, in training from 2010-0")
    assert said.accepts == "text; a missing one is one without words"
    usual = re.match(r"numbers, in training about (\S+), in many sizes; a missing one is taken as this", cost.accepts)
    assert usual is not None
    known = pipeline.predict_proba([{**rows[0], "cost": float(usual[1])}])[0]
    with pytest.warns(
        UserWarning, match="1 of 1 rows have missing entries where the training had none: column 'cost' in"
    ):
        missing = pipeline.predict_proba([{**rows[0], "cost": None}])[0]
    assert np.allclose(known, missing, rtol=1e-3)


def test_several_targets_are_columns(tmp_path: Path) -> None:
    FRAME.dropna().to_csv(tmp_path / "a.csv", index=False)
    out = tmp_path / "a.safetensors"
    call("train", tmp_path / "a.csv", "--target", "length,age", "--epochs", 1, "--out", out, "--backend", "numpy")
    assert nn.load_pipeline(out).predict(FRAME).shape == (len(FRAME), 2)


def test_missing_entries_and_other_columns(pipeline: nn.Pipeline) -> None:
    missing = pipeline.predict_proba([{**GOOD, "age": None}, {**GOOD, "age": math.nan}])
    assert np.array_equal(missing[0], missing[1])
    assert not np.array_equal(missing[0], pipeline.predict_proba([GOOD])[0])
    more = pipeline.predict_proba([dict(reversed(GOOD.items())) | {"price": [object()]}])
    assert np.array_equal(more, pipeline.predict_proba([GOOD]))


def test_a_new_category(pipeline: nn.Pipeline) -> None:
    rows = [GOOD, {**GOOD, "colour": "pink"}]
    with pytest.raises(ValueError, match="row 2, column 'colour': 'pink' is not a category of the training"):
        pipeline.predict(rows)
    assert len(pipeline.predict(rows, unknown="ignore")) == 2
    with pytest.raises(ValueError, match="unknown choice of unknown 'skip'"):
        pipeline.predict(rows, unknown="skip")  # type: ignore[arg-type]


def test_no_rows_have_no_predictions(folder: Path) -> None:
    for name, shape in (("kind", (0, 3)), ("length", None)):
        pipeline = nn.load_pipeline(folder / f"{name}.safetensors")
        for none in (FRAME[:0], pl.from_pandas(FRAME[:0]), {column.name: [] for column in pipeline.columns}):
            assert pipeline.predict(none).shape == (0,)
            assert shape is None or pipeline.predict_proba(none).shape == shape
        assert pipeline.predict(FRAME[:0]).dtype == pipeline.predict(FRAME[:3]).dtype


def test_numbers_far_from_those_of_the_training_are_warned_of(pipeline: nn.Pipeline) -> None:
    said = "1 of 1 rows have numbers far outside the range of the training: column 'length' in 1"
    with pytest.warns(UserWarning, match=said):
        pipeline.predict([{**GOOD, "length": 1e7}])


class Lazy:
    def collect(self) -> None: ...


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], ValueError, "there are no rows to predict; give at least one"),
        ([1], TypeError, r"rows are needed, as a dataframe .*, or a dict of columns; got \[1\]"),
        (3, TypeError, "rows are needed"),
        (b"length", TypeError, "rows are needed"),
        (np.zeros((3, 4)), TypeError, "rows are needed"),
        (
            pd.DataFrame([GOOD]).iloc[0],
            TypeError,
            r"got Series of shape \(4,\)\. For one row .*: df\.iloc\[\[0\]\]\.",
        ),
        (pd.Series([1.0, 2.0]), TypeError, r"got Series of shape \(2,\)"),
        (pl.Series([1.0, 2.0]), TypeError, r"got Series of shape \(2,\)\.$"),
        (Lazy(), TypeError, r"rows are needed.* Call its collect\(\) first\."),
        (GOOD, TypeError, "column 'length' must be a list or an array of its entries; got 5.5"),
        ([GOOD, {"length": 1}], ValueError, "row 2 lacks 'colour', 'age', 'alive'; it has 'length'. Give null"),
        ([{"length": 1}], ValueError, "the table lacks 'colour', 'age', 'alive', which the model was trained with"),
        ({"length": [1]}, ValueError, "the table lacks 'colour', 'age', 'alive'"),
        (FRAME[["length"]], ValueError, "the table lacks 'colour', 'age', 'alive'"),
        ({**{k: [v] for k, v in GOOD.items()}, "age": [1, 2]}, ValueError, "must be equally long; got .*'age': 2"),
        ({**{k: [v] for k, v in GOOD.items()}, "age": np.zeros((1, 1))}, ValueError, "'age' must have one axis"),
        ([GOOD, {**GOOD, "age": "3"}], ValueError, "row 2, column 'age': '3' is text, and row 1 has a number"),
        ([GOOD, {**GOOD, "age": True}], ValueError, "row 2, column 'age': True is a truth value, and row 1 has a num"),
        ([{**GOOD, "age": "old"}], ValueError, "row 1, column 'age': 'old' is not a number"),
        ([{**GOOD, "age": [3]}], ValueError, r"row 1, column 'age': \[3\] is no number, text, truth value or date"),
        ([{**GOOD, "age": pd.NA}], ValueError, "row 1, column 'age': <NA> is no number, .* in Python None"),
        ([{**GOOD, "age": math.inf}], ValueError, "row 1, column 'age': infinity"),
        ([{**GOOD, "age": 10**400}], ValueError, "row 1, column 'age': infinity"),
        ([{**GOOD, "age": 10**5000}, {**GOOD, "age": 0.5}], ValueError, "row 1, column 'age': infinity"),
        ([{**GOOD, "age": date(2020, 1, 1)}], ValueError, "column 'age' has type date32"),
        ([{**GOOD, "age": 1.5}, {**GOOD, "age": Decimal("1.5")}], ValueError, "column 'age' cannot be read"),
        (pd.DataFrame({**{k: [v, v] for k, v in GOOD.items()}, "age": [1, "x"]}), ValueError, "cannot be read as a ta"),
    ],
)
def test_what_are_no_rows(data: Any, error: type[Exception], message: str, pipeline: nn.Pipeline) -> None:
    with pytest.raises(error, match=message):
        pipeline.predict(data)


def test_two_columns_of_one_name(pipeline: nn.Pipeline) -> None:
    columns = [[1.0], ["red"], [3], [True], [3]]
    with pytest.raises(ValueError, match=r"several columns of one name: 'age'\. Rename all but one"):
        pipeline.predict(pa.table([pa.array(c) for c in columns], names=["length", "colour", "age", "alive", "age"]))


def test_large_integers_stay_exact() -> None:
    column = table_of([{"id": 10**25 + 1}, {"id": None}], ["id"]).column("id")
    assert column.to_pylist() == ["10000000000000000000000001", None]
    assert table_of([{"id": 2**60}, {"id": 0.5}], ["id"]).column("id").to_pylist() == [2.0**60, 0.5]
    assert table_of([{"id": 10**25}, {"id": 0.5}], ["id"]).column("id").to_pylist() == [1e25, 0.5]


def test_numbers_are_no_text_and_text_is_written_as_in_training() -> None:
    german = TextFormat(decimal=",", thousands=".")
    assert table_of([{"x": 1.234}], ["x"], german).column("x").to_pylist() == [1.234]
    assert table_of([{"x": "1.234,5"}], ["x"], german).column("x").to_pylist() == ["1234.5"]


def test_files_that_are_no_pipelines(tmp_path: Path) -> None:
    file = tmp_path / "moons.safetensors"
    nn.Network(nn.Dense(2)).init((2,)).save(file)
    with pytest.raises(ValueError, match="has no description of its data: it was not trained by `nnarray train`"):
        nn.load_pipeline(file)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        nn.load_pipeline(tmp_path / "none.safetensors")


# --- Images ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, draws = tmp_path_factory.mktemp("pets"), np.random.default_rng(0)
    for name, shade in (("cats", 60), ("dogs", 190)):
        (place / "photos" / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.clip(draws.normal(shade, 30, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / "photos" / name / f"{i}.png")
    call("train", place / "photos", "--size", 16, "--hidden", 4, "--epochs", 2, "--out", place / "pets.safetensors")
    return place


def test_images_in_memory_and_in_files(pets: Path) -> None:
    pipeline = nn.load_pipeline(pets / "pets.safetensors", backend="numpy")
    assert (pipeline.columns, pipeline.classes, pipeline.targets) == ((), ("cats", "dogs"), ("class",))
    assert "from images to class" in repr(pipeline)
    files = sorted((pets / "photos").rglob("*.png"))
    wanted = pipeline.predict_proba(pets / "photos")
    assert wanted.shape == (12, 2)
    pixels = [np.asarray(Image.open(file)) for file in files]
    for data in (files, list(map(str, files)), [Image.open(file) for file in files], pixels, np.stack(pixels)):
        assert np.array_equal(pipeline.predict_proba(data), wanted)
    lines = call("predict", pets / "pets.safetensors", pets / "photos", "--json", "--backend", "numpy").splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == pipeline.predict(files).tolist()
    one = pipeline.predict_proba(files[0])
    for data in (Image.open(files[0]), pixels[0], str(files[0])):
        assert np.array_equal(pipeline.predict_proba(data), one)
    with open(files[0], "rb") as file:
        assert np.array_equal(pipeline.predict_proba(file), one)


def test_images_come_in_parts(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, files = nn.load_pipeline(pets / "pets.safetensors"), sorted((pets / "photos").rglob("*.png"))
    wanted = pipeline.predict(files).tolist()
    monkeypatch.setattr(inputs, "IMAGES", 5)
    assert pipeline.predict(files).tolist() == wanted


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], ValueError, "there are no images to predict; give at least one"),
        (3, TypeError, r"images are needed: a path, .*; got 3"),
        ([3], TypeError, "image 1 must be a path, an image of Pillow's or an array of uint8; got 3"),
        (np.zeros((2, 4, 4, 3)), TypeError, "image 1 must have dtype uint8, from 0 to 255; got float64"),
        (
            np.zeros((4, 4, 2), "uint8"),
            ValueError,
            r"image 1 must have shape \(height, width, 3\) or \(height, width\)",
        ),
        (np.zeros((0, 4, 3), "uint8"), ValueError, r"image 1 must have shape .*; got \(0, 4, 3\)"),
        (["a.csv"], ValueError, "'a.csv' does not have the ending of an image"),
        ("none", FileNotFoundError, "there is no file or folder 'none'"),
    ],
)
def test_what_are_no_images(data: Any, error: type[Exception], message: str, pets: Path) -> None:
    with pytest.raises(error, match=message):
        nn.load_pipeline(pets / "pets.safetensors").predict(data)


def test_a_damaged_image_is_named(pets: Path, tmp_path: Path) -> None:
    whole = (pets / "photos" / "cats" / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:200])
    pipeline = nn.load_pipeline(pets / "pets.safetensors")
    with pytest.raises(nn.datasets.UnreadableImage, match=r"cut\.png' cannot be decoded"):
        pipeline.predict([tmp_path / "cut.png"])
    good = np.full((4, 4), 7, "uint8")
    with Image.open(tmp_path / "cut.png") as cut, pytest.raises(nn.datasets.UnreadableImage, match="image 2 cannot be"):
        pipeline.predict([good, cut])


def test_importing_nnarray_does_not_bring_the_reading_of_tables() -> None:
    code = """
        import sys, nnarray
        for name in set(nnarray.__all__) - {"Pipeline", "load_pipeline", "playground"}:
            getattr(nnarray, name)
        assert not [name for name in sys.modules if name.startswith(("nnarray.tables", "nnarray.apps", "pyarrow"))]
        assert {"Pipeline", "load_pipeline"} <= set(dir(nnarray))
        print(nnarray.load_pipeline.__module__)
    """
    assert run_python(code).stdout.strip() == "nnarray.apps.workflow.pipeline"
