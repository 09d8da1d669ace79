"""From a file to a trained network and back, by the command line."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from subprocess import Popen
from textwrap import dedent
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import feather, parquet
from typer.testing import CliRunner

import nnarray as nn
from nnarray.apps.workflow import inputs, model_files, scores, steps, using
from nnarray.cli import app, console
from nnarray.persistence import archive
from nnarray.persistence.archive import Archive
from nnarray.tables.memory import memory_of_text
from nnarray.tables.read import open_table
from tests.processes import LIMIT, NNARRAY, run, started


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*words: str) -> Any:
    done = CliRunner().invoke(app, list(words), prog_name="nnarray")
    assert done.exit_code == 0, done.output
    return done


def fails(code: int, *words: str) -> str:
    done = CliRunner().invoke(app, list(words), prog_name="nnarray")
    assert done.exit_code == code, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnarray: ")
    return line


def houses(rows: int = 300, seed: int = 0) -> dict[str, list[Any]]:
    """A price that follows from two numbers and a city; some numbers and some targets are missing."""
    draws = np.random.default_rng(seed)
    age, rooms = draws.normal(40, 12, rows).round(1), draws.integers(1, 9, rows)
    city = draws.choice(["Basel", "Bern", "Genève, GE"], rows)
    price = (age + 20 * rooms + 50 * (city == "Basel") + draws.normal(0, 2, rows)).round(2)
    return {
        "age": [None if i % 50 == 7 else float(x) for i, x in enumerate(age)],
        "rooms": rooms.tolist(),
        "city": city.tolist(),
        "price": price.tolist(),
        "kind": [None if i % 100 == 5 else ("dear" if p > np.median(price) else "cheap") for i, p in enumerate(price)],
    }


def write(path: str, columns: dict[str, list[Any]]) -> str:
    file, table = Path(path), pa.table(columns)
    if file.suffix in (".csv", ".tsv"):
        with file.open("w", newline="", encoding="utf-8") as sink:
            writer = csv.writer(sink, delimiter="," if file.suffix == ".csv" else "\t")
            writer.writerow(columns)
            writer.writerows(
                zip(*(["" if x is None else x for x in column] for column in columns.values()), strict=True)
            )
    elif file.suffix == ".parquet":
        parquet.write_table(table, file)
    else:
        feather.write_feather(table, file)
    return path


TRAIN = ("--target", "kind", "--drop", "price", "--epochs", "8", "--backend", "numpy")
VALUES = ("--target", "price", "--drop", "kind", "--epochs", "30", "--backend", "numpy")


# --- Tables ----------------------------------------------------------------------------------------------------------


def test_from_a_file_to_predictions(be: nn.Backend) -> None:
    data = write("houses.csv", houses())
    output = call("train", data, *TRAIN[:-1], be.name, "--out", "kind.safetensors").stdout
    for words in (
        "238 examples for training, 59 held out",
        "3 of 300 rows have no target and were left out",
        "2 classes: cheap, dear",
        "an input for each of 3: 'Basel', 'Bern', 'Genève, GE'",
        "a further input marks missing entries",
        "always cheap",
        "predicted dear",
        "model: kind.safetensors",
    ):
        assert words in output
    assert (
        call("predict", "kind.safetensors", data, "--backend", be.name, "--out", "predictions.csv").stdout
        == "300 predictions: predictions.csv\n"
    )
    with Path("predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["prediction", "p_cheap", "p_dear"]
    truth = houses()["kind"]
    hits = [row["prediction"] == truth[i] for i, row in enumerate(rows) if truth[i]]
    assert np.mean(hits) > 0.85
    assert all(abs(float(row["p_cheap"]) + float(row["p_dear"]) - 1) < 1e-5 for row in rows)
    output = json.loads(call("evaluate", "kind.safetensors", data, "--backend", be.name, "--json").stdout)
    assert output["examples"] == 297
    assert output["metrics"]["accuracy"] == pytest.approx(np.mean(hits))
    assert np.sum(output["confusion"]) == 297


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".feather"])
def test_every_format_says_the_same(ending: str) -> None:
    data = write(f"houses{ending}", houses())
    output = json.loads(call("train", data, *VALUES, "--out", "m.safetensors", "--json").stdout)
    assert output["scores"]["metrics"]["r2"] > 0.9
    assert output["scores"]["baseline"]["r2"] < 0.1
    call("predict", "m.safetensors", data, "--out", f"predictions{ending}")
    call("predict", "m.safetensors", data, "--out", "predictions.npz")
    with np.load("predictions.npz", allow_pickle=False) as file:
        values = file["price"]
    csv_data = write("same.csv", houses())
    printed = call("predict", "m.safetensors", csv_data).stdout.splitlines()
    np.testing.assert_allclose([float(x) for x in printed[1:]], values, rtol=1e-6)
    assert np.corrcoef(values, houses()["price"])[0, 1] > 0.95


def test_arrays_are_tables_too() -> None:
    X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    np.savez("moons.npz", X=X, y=y)
    output = json.loads(call("train", "moons.npz", "--target", "y", "--epochs", "40", "--json").stdout)
    assert output["scores"]["metrics"]["accuracy"] > 0.75
    np.save("moons.npy", np.column_stack([X, y]))
    output = json.loads(
        call("train", "moons.npy", "--target", "2", "--task", "classify", "--epochs", "2", "--json").stdout
    )
    assert output["scores"]["examples"] == 40


def test_predictions_do_not_replace_what_they_are_made_from() -> None:
    data = write("houses.csv", houses())
    call("train", data, *VALUES, "--epochs", "1", "--no-linear")
    before = {name: Path(name).read_bytes() for name in (data, "model.safetensors")}
    os.symlink(data, "same.csv")
    for out in (data, "same.csv"):
        assert "would replace 'houses.csv', which is read. Choose another" in fails(
            2, "predict", "model.safetensors", data, "--out", out
        )
    assert before == {name: Path(name).read_bytes() for name in before}


def test_several_values_at_once_and_pictures_of_them() -> None:
    data = write("houses.csv", houses())
    words = ("--target", "price,age", "--drop", "kind", "--epochs", "3", "--report", "deep/report")
    Path("full.csv").write_text(Path(data).read_text().replace(",,", ",0,"))
    write("full.csv", {**houses(), "age": [x or 0.0 for x in houses()["age"]]})
    output = json.loads(call("train", "full.csv", *words, "--json").stdout)
    assert set(output["scores"]["metrics"]) == {
        f"{name} of {of}" for name in ("rmse", "mae", "r2") for of in ("price", "age")
    }
    assert sorted(os.listdir("deep/report")) == ["importance.png", "predictions.png", "report.json", "training.png"]
    assert call("predict", "model.safetensors", "full.csv").stdout.splitlines()[0] == "price,age"
    call("train", data, *TRAIN, "--report", "r")
    assert sorted(os.listdir("r")) == ["confusion.png", "importance.png", "report.json", "training.png"]
    assert json.loads(Path("r/report.json").read_text(encoding="utf-8"))["history"]["loss"]


def test_predictions_stream_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write("houses.parquet", houses())
    call("train", data, *VALUES, "--out", "m.safetensors")
    whole = call("predict", "m.safetensors", data).stdout
    monkeypatch.setattr(inputs, "ROWS", 7)
    model, takes = using.load(Path("m.safetensors"), nn.backend("numpy"))
    parts = [len(part["price"]) for part in using.predict(model, takes, Path(data))]
    assert parts == [7] * 42 + [6]
    np.testing.assert_allclose(
        [float(x) for x in call("predict", "m.safetensors", data).stdout.split()[1:]],
        [float(x) for x in whole.split()[1:]],
        rtol=1e-5,
    )
    pieces = json.loads(call("evaluate", "m.safetensors", data, "--json").stdout)
    monkeypatch.setattr(inputs, "ROWS", 10_000)
    assert json.loads(call("evaluate", "m.safetensors", data, "--json").stdout)["metrics"] == pytest.approx(
        pieces["metrics"]
    )


def test_the_preparation_knows_the_training_part_alone() -> None:
    columns = houses()
    output = json.loads(call("train", write("a.csv", columns), *VALUES, "--json").stdout)
    model = nn.load("model.safetensors")
    mean = model.metadata["input"]["preparation"]["columns"][1]["mean"]
    examples = steps.read(Path("a.csv"), steps.Plan(target=("price",), drop=("kind",)))
    assert mean == pytest.approx(np.mean(np.asarray(columns["rooms"])[examples.train]))
    assert mean != pytest.approx(np.mean(columns["rooms"]))
    assert output["data"] == {"name": "a.csv", "examples": 300, "trained on": 240, "held out": 60}


NUMBERS = [f"{i * 37 % 88 / 4}" for i in range(60)]


def written(name: str, x: list[str], delimiter: str = ",", kind: tuple[str, ...] = ("a", "b"), lead: str = "") -> str:
    rows = [delimiter.join(("x", "kind")), *(delimiter.join((entry, kind[i % len(kind)])) for i, entry in enumerate(x))]
    Path(name).write_text(lead + "\n".join(rows) + "\n")
    return name


def noted(data: str, *options: str) -> list[str]:
    words = ("--target", "kind", "--epochs", "1", "--backend", "numpy", "--json")
    return json.loads(call("train", data, *words, *options).stdout)["notes"]


def test_the_kind_of_a_column_does_not_hang_on_the_seed() -> None:
    good, odd = written("good.csv", [*NUMBERS, "-"]), written("odd.csv", [*NUMBERS, "#REF!"])
    for seed in "0123":
        assert noted(good, "--seed", seed) == ["'-' is taken as missing in 1 of 61 entries of column 'x'"]
        output = fails(2, "train", odd, "--target", "kind", "--backend", "numpy", "--seed", seed)
        assert "column 'x' has numbers, except in 1 of 61 entries: row 61 has '#REF!'" in output
        assert "--missing '#REF!'" in output
    assert noted(odd, "--missing", "?,#REF!") == ["1 of 61 entries of column 'x' are missing"]
    call("predict", "model.safetensors", odd, "--backend", "numpy")


def test_how_a_text_is_written_is_kept_with_the_model() -> None:
    commas = written("commas.csv", [x.replace(".", ",") for x in NUMBERS], ";")
    points = written("points.csv", NUMBERS)
    assert "--delimiter ';'" in fails(2, "train", commas, "--target", "kind", "--backend", "numpy")
    output = fails(2, "train", commas, "--target", "kind", "--backend", "numpy", "--delimiter", ";")
    assert "--decimal ','" in output
    assert noted(commas, "--delimiter", ";", "--decimal", ",") == []
    alike = ("--backend", "numpy")
    want = call("predict", "model.safetensors", commas, *alike).stdout
    assert "--delimiter ','" in fails(2, "predict", "model.safetensors", points, *alike)
    options = ("--delimiter", ",", "--decimal", ".")
    assert call("predict", "model.safetensors", points, *alike, *options).stdout == want
    scored = [call("evaluate", "model.safetensors", commas, *alike, "--json").stdout]
    scored += [call("evaluate", "model.safetensors", points, *alike, *options, "--json").stdout]
    assert scored[0].replace(commas, points) == scored[1]
    sep = written("sep.csv", NUMBERS, ";", lead="sep=;\n")
    assert noted(sep) == []
    assert "are for CSV and TSV files" in fails(2, "train", write("t.parquet", houses()), *TRAIN, "--delimiter", ";")
    Path("names.csv").write_text("1,2\n" + "".join(f"{i % 7 / 2},{i % 2}\n" for i in range(20)))
    words = ("--target", "2", "--epochs", "1", "--backend", "numpy", "--json")
    output = "the columns are called 1, 2, ...; if these are data, use --no-header"
    assert output in json.loads(call("train", "names.csv", *words).stdout)["notes"]
    written("points.tsv", [x.replace(".", ",") for x in NUMBERS], "\t")
    assert "--decimal ','" in fails(2, "train", "points.tsv", "--target", "kind", "--backend", "numpy")


def test_a_word_for_nothing_can_be_a_class() -> None:
    plain, quoted = written("p.csv", NUMBERS, kind=("NA", "b")), written("q.csv", NUMBERS, kind=('"NA"', '"b"'))
    table = write("t.parquet", {"x": list(range(60)), "kind": ["NA", "b"] * 30})
    assert "--missing ''" in fails(2, "train", plain, "--target", "kind", "--backend", "numpy")
    for data, *options in ((plain, "--missing", ""), (quoted,), (table,)):
        noted(data, *options)
        assert call("predict", "model.safetensors", data, "--backend", "numpy").stdout.startswith("prediction,p_NA,p_b")


def test_a_word_for_nothing_beside_numbers_can_be_a_class() -> None:
    plain, quoted = (written(f"{k}.csv", NUMBERS, kind=(word, "1", "2")) for k, word in enumerate(("NA", '"NA"')))
    table = write("t.parquet", {"x": list(range(60)), "kind": ["NA", "1", "2"] * 20})
    for data, *options in ((plain, "--missing", ""), (quoted,), (table,)):
        assert any("3 classes, of which 'NA'" in note for note in noted(data, *options))
        assert any("20 of 60" in note for note in noted(quoted, "--missing", "NA")) or data != quoted


def test_a_table_whose_names_are_hidden_is_reported() -> None:
    for mark in " :":
        Path("t.csv").write_text("".join(f"{mark.join(row)}\n" for row in ("aby", "123", "456")))
        output = fails(2, "train", "t.csv", "--target", "y", "--backend", "numpy")
        assert f"--delimiter '{mark}', or TextFormat" in output
    Path("t.csv").write_text("p,x,kind\n" + "p,x,u\ne,x,v\n" * 20)
    assert any("the names of the columns, p, x, also occur as entries" in note for note in noted("t.csv"))
    assert not any("occur as entries" in note for note in noted("t.csv", "--header"))


def test_columns_without_a_name_may_be_left_out_by_none() -> None:
    Path("twice.csv").write_text(",Unnamed: 0,a,kind\n" + "".join(f"{i},{i},{i % 7 / 2},{i % 2}\n" for i in range(20)))
    assert sum("has no name" in note for note in noted("twice.csv")) == 2
    assert not any("has no name" in note for note in noted("twice.csv", "--drop", ""))


def test_an_index_is_left_out_and_a_number_of_the_row_is_reported() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": np.random.default_rng(0).normal(size=60), "kind": ["a"] * 30 + ["b"] * 30})
    frame.to_csv("index.csv")
    frame.set_index(frame.index * 1.0).to_parquet("index.parquet")
    for data, name in (("index.csv", "Unnamed: 0"), ("index.parquet", "__index_level_0__")):
        assert noted(data) == [f"column {name!r} was left out: it is an index of pandas, or has no name"]
        assert noted(data, "--drop", name) == []
        assert set(using.load(Path("model.safetensors"), nn.backend("numpy"))[1].preparation.feature_names) == {"x"}  # type: ignore
    frame.assign(id=range(60)).to_csv("numbered.csv", index=False)
    assert noted("numbered.csv") == ["column 'id' numbers the rows; if it only names the rows, leave it out: --drop id"]


def test_a_file_of_polars_and_a_compressed_one_are_trained_on() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"x": NUMBERS, "city": ["u", "v", None] * 20, "l": [[1]] * 60, "kind": ["a", "b"] * 30})
    frame.write_ipc("t.arrow")
    frame.write_ipc("t.feather")
    frame.write_parquet("t.parquet")
    with gzip.open("t.csv.gz", "wb") as file:
        file.write(frame.drop("l").write_csv().encode())
    said = set()
    for data in ("t.arrow", "t.feather", "t.parquet", "t.csv.gz"):
        noted(data, *(() if data == "t.csv.gz" else ("--drop", "l")))
        said |= {
            call("predict", "model.safetensors", other, "--backend", "numpy").stdout for other in (data, "t.arrow")
        }
        call("evaluate", "model.safetensors", data, "--backend", "numpy")
    assert len(said) == 1


def test_what_was_not_met_in_training() -> None:
    call("train", write("a.csv", houses()), *VALUES)
    new = {"age": [30.0, 30.0], "rooms": [3, 3], "city": ["Bern", "Zug"]}
    message = fails(2, "predict", "model.safetensors", write("new.csv", new))
    for words in ("row 2", "'city'", "'Zug'", "'Basel', 'Bern'", "--unknown ignore"):
        assert words in message
    assert len(call("predict", "model.safetensors", "new.csv", "--unknown", "ignore").stdout.splitlines()) == 3
    assert "lacks 'city'" in fails(2, "predict", "model.safetensors", write("less.csv", {"age": [1.0], "rooms": [2]}))
    more = {"extra": ["x"], "city": ["Bern"], "rooms": [3], "age": [30.0]}
    lines = call("predict", "model.safetensors", write("more.csv", more)).stdout.splitlines()
    same = call("predict", "model.safetensors", "new.csv", "--unknown", "ignore").stdout.splitlines()
    assert float(lines[1]) == pytest.approx(float(same[1]), rel=1e-5)


def test_a_seed_repeats_everything() -> None:
    data = write("a.csv", houses())
    for out in ("a.safetensors", "b.safetensors"):
        call("train", data, *VALUES, "--seed", "3", "--out", out, "--dropout", "0.1")
    a, b = nn.load("a.safetensors"), nn.load("b.safetensors")
    np.testing.assert_array_equal(a.theta, b.theta)


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs", "adamw"])
def test_optimizers_by_name(optimizer: str) -> None:
    output = json.loads(call("train", write("a.csv", houses()), *VALUES, "--optimizer", optimizer, "--json").stdout)
    assert output["scores"]["metrics"]["r2"] > 0.3


# --- Images ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    X, y = nn.datasets.pets(160, size=32, seed=0)
    folder = tmp_path_factory.mktemp("pets")
    for i in range(160):
        place = folder / ("cat", "dog")[int(y[i])]
        place.mkdir(exist_ok=True)
        Image.fromarray((np.asarray(X[i]) * 255).astype(np.uint8)).save(place / f"{i:03d}.png")
    return folder


def test_a_folder_of_images(pets: Path) -> None:
    output = call("train", str(pets), "--size", "32", "--epochs", "15", "--out", "pets.safetensors").stdout
    assert "128 examples for training, 32 held out" in output
    scored = json.loads(call("evaluate", "pets.safetensors", str(pets), "--json").stdout)
    assert scored["metrics"]["accuracy"] > 0.8
    lines = call("predict", "pets.safetensors", str(pets)).stdout.splitlines()
    assert lines[0] == "file,prediction,p_cat,p_dog"
    assert [line.split(",")[0] for line in lines[1:3]] == ["cat/000.png", "cat/002.png"]
    assert len(lines) == 161
    one = next(iter(sorted((pets / "dog").iterdir())))
    assert len(call("predict", "pets.safetensors", str(one)).stdout.splitlines()) == 2
    assert "Conv2D(32, 3" in call("show", "pets.safetensors").stdout


def test_images_that_cannot_be_used(pets: Path) -> None:
    call("train", str(pets), "--size", "32", "--epochs", "1", "--out", "pets.safetensors")
    Path("mixed/cat").mkdir(parents=True)
    Path("mixed/cat/a.png").write_bytes(next((pets / "cat").iterdir()).read_bytes())
    Path("mixed/cat/b.png").write_text("no image")
    assert "'mixed/cat/b.png' cannot be decoded" in fails(2, "predict", "pets.safetensors", "mixed")
    assert len(call("predict", "pets.safetensors", "mixed", "--skip-unreadable").stdout.splitlines()) == 2
    Path("mixed/cow").mkdir()
    Path("mixed/cow/c.png").write_bytes(Path("mixed/cat/a.png").read_bytes())
    assert "'cow', which is not one of the classes cat, dog" in fails(2, "evaluate", "pets.safetensors", "mixed")
    Path("empty").mkdir()
    assert "has no images" in fails(2, "predict", "pets.safetensors", "empty")
    assert "no file or folder 'none'" in fails(1, "predict", "pets.safetensors", "none")
    assert "does not have the ending of an image" in fails(2, "predict", "pets.safetensors", write("a.csv", houses(5)))
    Path("single/cat").mkdir(parents=True)
    Path("single/cat/a.png").write_bytes(Path("mixed/cat/a.png").read_bytes())
    assert "one class only" in fails(2, "train", "single")
    assert "--size 8 is too small for 3 convolutions" in fails(2, "train", str(pets), "--size", "8")
    assert "--target, --drop and --categories are for columns" in fails(2, "train", str(pets), "--target", "x")


# --- What is chosen, and how good it is -----------------------------------------------------------------------------


def test_large_integers_are_classes_from_the_file_to_the_predictions() -> None:
    labels = [9_007_199_254_740_993_001 + k for k in range(3)]
    rows: dict[str, list[Any]] = {"x": [float(i % 3) for i in range(60)], "y": [labels[i % 3] for i in range(60)]}
    for ending in (".csv", ".parquet"):
        data = write(f"a{ending}", rows)
        output = call("train", data, "--target", "y", "--epochs", "60", "--lr", "0.02", "--backend", "numpy").stdout
        assert "3 classes: 9007199254740993001, 9007199254740993002, 9007199254740993003" in output
        assert "target 'y': 3 classes, because it has few different integers" in output
        assert "--task regress" in output
        call("predict", "model.safetensors", data, "--out", "predictions.parquet")
        assert parquet.read_table("predictions.parquet")["prediction"].to_pylist() == rows["y"]
        assert json.loads(call("evaluate", "model.safetensors", data, "--json").stdout)["metrics"]["accuracy"] == 1.0
    output = call("train", data, "--target", "y", "--task", "regress", "--epochs", "1", "--backend", "numpy").stdout
    assert "target 'y' has integers beyond 2**53, which are rounded: for names of classes" in output


def test_decimal_targets_are_numbers_and_the_option_makes_them_classes() -> None:
    data = write("a.csv", {"x": [float(i % 2) for i in range(60)], "y": [f"{i % 2}.5" for i in range(60)]})
    words = ("train", data, "--target", "y", "--epochs", "2", "--backend", "numpy", "--json")
    output = json.loads(call(*words).stdout)
    (note,) = output["notes"]
    assert note.startswith("target 'y': numbers, because it has decimal numbers that are not integers ('0.5', '1.5')")
    assert (output["task"], "--task classify" in note) == ("regress", True)
    output = json.loads(call(*words, "--task", "classify").stdout)
    assert (output["task"], output["notes"]) == ("classify", [])


def test_the_whole_table_decides_the_task() -> None:
    """Not its training part, which may have one integer less."""
    data = write("a.csv", {"x": list(range(84)), "y": [i % 21 for i in range(84)]})
    output = json.loads(call("train", data, "--target", "y", "--epochs", "1", "--validation", "0.9", "--json").stdout)
    assert output["task"] == "regress"


def imbalanced(rows: int, strength: float, seed: int = 0) -> dict[str, list[Any]]:
    """A fifth says yes; how much that follows from the columns is the strength."""
    draws = np.random.default_rng(seed)
    x, city = draws.normal(size=(rows, 6)), draws.choice(["Bern", "Basel", "Chur", "Genf"], size=rows)
    chance = 1 / (1 + np.exp(1.6 - strength * (x[:, 0] + (city == "Bern") - 0.25)))
    kind = np.where(draws.random(rows) < chance, "yes", "no")
    return {f"n{j}": x[:, j].tolist() for j in range(6)} | {"city": city.tolist(), "kind": kind.tolist()}


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_by_default_an_imbalanced_table_is_not_worse_than_a_constant_without_a_word(strength: float) -> None:
    data = write("a.csv", imbalanced(2000, strength))
    output = call("train", data, "--target", "kind", "--backend", "numpy", "--out", "m.safetensors").stdout
    scores = nn.load("m.safetensors").metadata["scores"]
    mine, constant = scores["metrics"], scores["baseline"]
    worse = [
        name for name, sign in (("accuracy", 1), ("cross_entropy", -1)) if not sign * mine[name] > sign * constant[name]
    ]
    assert scores["no better than baseline"] == worse
    assert all(f"{name} {mine[name]:.4g}, baseline {constant[name]:.4g}" in output for name in worse)
    assert ("note: this network is not better than always predicting 'no'" in output) == bool(set(worse) - {"accuracy"})
    of_accuracy = "note: the accuracy is not better than always predicting 'no'" in output
    assert of_accuracy == (worse == ["accuracy"])
    assert ("but the probabilities are (cross_entropy " in output) == of_accuracy
    assert mine["cross_entropy"] < constant["cross_entropy"] * (1.05 if strength == 0 else 1)
    assert mine["accuracy"] > constant["accuracy"] - 0.02


def test_a_regression_that_does_not_beat_the_mean_is_reported() -> None:
    draws = np.random.default_rng(0)
    data = write("a.csv", {"x": draws.normal(size=200).tolist(), "y": draws.normal(size=200).tolist()})
    words = ("train", data, "--target", "y", "--backend", "numpy", "--epochs", "200", "--no-early-stopping")
    assert "is not better than always predicting" in call(*words).stdout
    assert "rmse" in call("evaluate", "model.safetensors", data).stdout


def test_early_stopping_is_on_where_examples_are_held_out() -> None:
    data = write("a.csv", imbalanced(300, 0.0))
    words = ("train", data, "--target", "kind", "--backend", "numpy", "--epochs", "80", "--lr", "0.01")
    output = json.loads(call(*words, "--out", "stopped.safetensors", "--json").stdout)
    losses = nn.load("stopped.safetensors").history["val_loss"]
    assert output["epochs"] == output["best epoch"] + 11 < 80
    assert min(losses) == losses[output["best epoch"] - 1]
    assert output["scores"]["metrics"]["cross_entropy"] == pytest.approx(min(losses), rel=1e-4)
    assert f"by which early stopping chose epoch {output['best epoch']}" in call(*words).stdout
    for more in (("--no-early-stopping",), ("--validation", "0")):
        output = json.loads(call(*words, *more, "--json").stdout)
        assert (output["epochs"], output["best epoch"], output["stopped"]) == (80, None, None)
    said = fails(2, *words, "--out", "stopped.safetensors", "--resume", "--no-early-stopping")
    assert "its training began with early stopping. To continue it, leave out --no-early-stopping" in said
    assert "--patience is for early stopping" in fails(2, *words, "--patience", "3", "--no-early-stopping")


# --- Saving and going on ---------------------------------------------------------------------------------------------


def test_what_is_left_out_of_a_folder_is_reported(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(pets, "pets")
    first = next(file for file in sorted(Path("pets").rglob("*")) if file.is_file())
    shutil.copy(first, f"pets/stray{first.suffix}")
    Path("pets/@eaDir").mkdir()
    shutil.copy(first, "pets/@eaDir")
    words = ["train", "pets", "--epochs", "1", "--size", "16", "--backend", "numpy", "--out", "m.safetensors"]
    facts = json.loads(call(*words, "--json").stdout)
    assert facts["notes"] == [f"left out: images outside of the subfolders, without a class: 1 (stray{first.suffix})"]
    caplog.clear()
    scores = json.loads(call("evaluate", "m.safetensors", "pets", "--backend", "numpy", "--json").stdout)
    assert scores["examples"] == facts["data"]["examples"]
    assert "without a class: 1" in caplog.text
    for folder in ("train/cats", "train/dogs", "test/cats", "test/dogs"):
        Path("data", folder).mkdir(parents=True)
    for words in (["train", "data"], ["evaluate", "m.safetensors", "data", "--backend", "numpy"]):
        assert "Pass one of them: 'data/train'" in fails(2, *words)
    Path("all").mkdir()
    Path("pets").rename("all/pets")
    assert "If the subfolders of 'pets' are the classes, pass 'all/pets'." in fails(2, "train", "all")


def test_training_goes_on_as_if_it_had_not_stopped() -> None:
    data = write("a.csv", houses())
    words = ("train", data, *VALUES[:4], "--backend", "numpy", "--dropout", "0.1")
    call(*words, "--epochs", "9", "--out", "whole.safetensors")
    call(*words, "--epochs", "4", "--out", "parts.safetensors")
    call(*words, "--epochs", "9", "--out", "parts.safetensors", "--resume")
    whole, parts = nn.load("whole.safetensors"), nn.load("parts.safetensors")
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert whole.history["val_loss"] == parts.history["val_loss"]
    assert [name for name in whole.metadata if whole.metadata[name] != parts.metadata[name]] in ([], ["trained"])
    for other in (("--seed", "1"), ("--validation", "0.3"), ("--drop", "rooms")):
        assert "cannot be resumed" in fails(
            2, *words, "--epochs", "10", "--out", "parts.safetensors", "--resume", *other
        )
    np.testing.assert_array_equal(nn.load("parts.safetensors").theta, parts.theta)


@pytest.mark.parametrize(
    ("more", "said"), [((), "3 of 3 epochs"), (("--lr", "0.05"), r"\d+ of 60 epochs, val_loss has not improved")]
)
def test_a_training_that_has_ended_is_not_changed_by_resuming_it(more: tuple[str, ...], said: str) -> None:
    words = ["train", write("a.csv", imbalanced(300, 0.0)), "--target", "kind", "--backend", "numpy"]
    words += ["--out", "m.safetensors", "--epochs", "60" if more else "3", *more]
    call(*words)
    before, file = Path("m.safetensors").read_bytes(), Path("m.safetensors").stat()
    output = call(*words, "--resume").stdout
    assert re.search(rf"nothing to do: {said}.*; the model is as it was\n", output), output
    facts = json.loads(call(*words, "--resume", "--json").stdout)
    assert facts["nothing to do"]
    assert Path("m.safetensors").read_bytes() == before
    assert (Path("m.safetensors").stat().st_ino, Path("m.safetensors").stat().st_mtime_ns) == (
        file.st_ino,
        file.st_mtime_ns,
    )
    assert not Path("m.unfinished.safetensors").exists()


def test_an_unfinished_training_is_not_lost_by_the_same_command() -> None:
    data = write("a.csv", houses())
    words = ("train", data, *VALUES[:4], "--backend", "numpy", "--out", "m.safetensors", "--epochs", "3")
    call(*words)
    Path("m.safetensors").rename("m.unfinished.safetensors")
    before = Path("m.unfinished.safetensors").read_bytes()
    said = fails(1, *words)
    assert said.endswith("Continue it with --resume, or replace it by a new training with --restart.")
    assert "'m.unfinished.safetensors' holds the epochs of a training that has not ended" in said
    assert Path("m.unfinished.safetensors").read_bytes() == before
    assert not Path("m.safetensors").exists()
    assert "leave one of them out" in fails(2, *words, "--resume", "--restart")
    assert "3 epochs" in call(*words, "--restart").stdout
    assert not Path("m.unfinished.safetensors").exists()
    call(*words, "--restart")


def training_on(data: str, *words: str, epochs: int = 1_000_000) -> list[str]:
    given = [*VALUES[:4], "--backend", "numpy", "--out", "m.safetensors", "--checkpoint-every", "5"]
    given += ["--no-early-stopping"]
    return ["train", data, *given, "--epochs", str(epochs), *words]


@contextmanager
def trainer(data: str, *words: str, ignoring: tuple[int, ...] = ()) -> Iterator[Popen[str]]:
    """A training that has saved some epochs, and not the last ones."""
    with started(*NNARRAY, *training_on(data, *words), ignoring=ignoring) as process:
        while not Path("m.unfinished.safetensors").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        time.sleep(0.3)
        yield process


on_unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send")


@on_unix
@pytest.mark.parametrize(
    ("number", "ignored"),
    [("SIGINT", ""), ("SIGTERM", ""), ("SIGTERM", "SIGINT"), ("SIGHUP", ""), ("SIGHUP", "SIGINT")],
)
def test_what_ends_a_training_saves_it_and_is_reported_by_the_exit_code(number: str, ignored: str) -> None:
    """SIGINT is ignored where a script starts the training in the background."""
    data, sent = write("a.csv", houses()), signal.Signals[number]
    with trainer(data, ignoring=(signal.Signals[ignored],) if ignored else ()) as run:
        run.send_signal(sent)
        _, said = run.communicate(timeout=LIMIT)
    assert run.returncode == 128 + sent
    epochs = len(nn.load("m.unfinished.safetensors").history["loss"])
    by = "" if sent == signal.SIGINT else f" by {number}"
    saved = f"after epoch {epochs} of 1000000, which is saved in 'm.unfinished.safetensors'; continue with --resume"
    assert said == f"nnarray: interrupted{by} {saved}\n"
    assert not Path("m.safetensors").exists()
    call(*training_on(data, "--resume", epochs=epochs + 2))
    call("predict", "m.safetensors", data)
    call(*training_on(data, "--out", "whole.safetensors", epochs=epochs + 2))
    np.testing.assert_array_equal(nn.load("m.safetensors").theta, nn.load("whole.safetensors").theta)


def test_an_interrupt_after_the_training_says_that_the_model_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nnarray.apps.workflow.comparisons.linear_model", interrupted)
    said = fails(130, *training_on(write("a.csv", houses()), epochs=1))
    assert said == "nnarray: interrupted after the end of the training; its model is saved in 'm.safetensors'"
    assert nn.load("m.safetensors").metadata["scores"]


@on_unix
def test_a_killed_training_leaves_the_model_before_it_and_is_resumed(caplog: pytest.LogCaptureFixture) -> None:
    data = write("a.csv", houses())
    call(*training_on(data, "--seed", "7", epochs=1))
    before = Path("m.safetensors").read_bytes()
    with trainer(data) as run:
        run.kill()
        run.communicate(timeout=LIMIT)
    assert Path("m.safetensors").read_bytes() == before
    call("predict", "m.safetensors", data)
    assert "not ended" not in caplog.text
    epochs = len(nn.load("m.unfinished.safetensors").history["loss"])
    call("predict", "m.unfinished.safetensors", data)
    assert f"'m.unfinished.safetensors' is the file of a training that has not ended: epoch {epochs}." in caplog.text
    assert f"not ended (continue: --resume); {epochs} epochs" in call("show", "m.unfinished.safetensors").stdout
    call(*training_on(data, "--resume", epochs=epochs + 2))
    call(*training_on(data, "--out", "whole.safetensors", epochs=epochs + 2))
    np.testing.assert_array_equal(nn.load("m.safetensors").theta, nn.load("whole.safetensors").theta)
    assert not Path("m.unfinished.safetensors").exists()


def test_a_file_that_was_replaced_each_epoch_is_resumed(caplog: pytest.LogCaptureFixture) -> None:
    """As versions before wrote them: under the name of --out, without scores."""
    data = write("a.csv", houses())
    words = [word.replace("m.safetensors", "old.safetensors") for word in training_on(data, epochs=2)]
    call(*words)
    saved = archive.read(Path("old.safetensors"))
    facts = {name: value for name, value in saved.facts["metadata"].items() if name not in ("scores", "trained")}
    archive.write(Path("old.safetensors"), Archive(saved.arrays, saved.facts | {"metadata": facts}))
    call("predict", "old.safetensors", data)
    assert "has not ended: epoch 2" in caplog.text
    call(*words[:-1], "4", "--resume")
    call(*training_on(data, epochs=4))
    np.testing.assert_array_equal(nn.load("m.safetensors").theta, nn.load("old.safetensors").theta)
    assert "scores" in nn.load("old.safetensors").metadata


@on_unix
def test_what_is_ignored_when_a_training_starts_stays_ignored() -> None:
    """Both as `nohup` in a script does; the signal that asks to end is heard."""
    with trainer(write("a.csv", houses()), ignoring=(signal.SIGINT, signal.SIGHUP)) as run:
        for number in (signal.SIGINT, signal.SIGHUP):
            run.send_signal(number)
            time.sleep(0.3)
            assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=LIMIT)
    assert run.returncode == 143


@on_unix
@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL, lambda *_: None])
def test_a_command_gives_the_handlers_back(before: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hit(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("nnarray.apps.workflow.steps.read", hit)
    given = {number: signal.signal(number, before) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert fails(143, "train", write("a.csv", houses()), *VALUES) == "nnarray: interrupted by SIGTERM"
        assert [signal.getsignal(number) for number in given] == [before, before]
    finally:
        for number, handler in given.items():
            signal.signal(number, handler)


@on_unix
def test_a_signal_while_it_reads_or_prepares_ends_it_too() -> None:
    words = [*NNARRAY, *training_on(write("a.csv", houses())), "--restart"]
    for delay in np.linspace(0.2, 1.6, 8):
        with started(*words, ignoring=(signal.SIGINT,)) as run:
            time.sleep(delay)
            run.send_signal(signal.SIGTERM)
            _, said = run.communicate(timeout=LIMIT)
        assert run.returncode in (143, -signal.SIGTERM), said  # the latter while Python starts
        assert "Traceback" not in said


@on_unix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("later", [None, AttributeError("partially initialized module 'pandas'")])
def test_a_signal_that_an_import_loses_ends_the_command(
    number: int, code: int, later: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write("a.csv", houses())
    call(*training_on(data, epochs=1))
    monkeypatch.setattr("nnarray.apps.workflow.using.predict", _losing(number, using.predict, later))
    by = "" if number == signal.SIGINT else " by SIGTERM"
    assert fails(code, "predict", "m.safetensors", data, "--out", "o.csv") == f"nnarray: interrupted{by}"
    assert not Path("o.csv").exists()
    monkeypatch.setattr("nnarray.apps.workflow.steps.model_for", _losing(number, steps.model_for))
    assert "nothing is saved" in fails(code, *training_on(data, "--out", "n.safetensors", epochs=1))
    assert not Path("n.safetensors").exists()


@on_unix
def test_a_signal_where_python_lets_no_error_out_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Cleaned:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    plain = steps.model_for

    def model_for(*words: Any, **options: Any) -> Any:
        Cleaned()
        return plain(*words, **options)

    data = write("a.csv", houses())
    monkeypatch.setattr("nnarray.apps.workflow.steps.model_for", model_for)
    assert "nothing is saved" in fails(143, *training_on(data, "--out", "n.safetensors", epochs=1))
    assert "ignored" not in capsys.readouterr().err


def _losing(number: int, function: Any, later: Exception | None = None) -> Any:
    """The function, after an import in which a signal was lost."""

    def lost(*words: Any, **options: Any) -> Any:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        if later is not None:
            raise later
        return function(*words, **options)

    return lost


@on_unix
def test_a_second_signal_does_not_wait() -> None:
    code = """
        import signal, time
        import nnarray as nn
        from nnarray.training.context import Ending

        class Slow(nn.Layer):
            def forward(self, params, x, ctx):
                print("in a step", flush=True)
                time.sleep(600)

        signal.signal(signal.SIGTERM, Ending())
        X, y = nn.datasets.moons(20, noise=0.1, seed=0)
        nn.Network(Slow(), nn.Dense(2)).init((2,)).fit(X, y, epochs=1)
    """
    with started(sys.executable, "-c", dedent(code)) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "in a step\n"
        run.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=LIMIT)
    assert run.returncode == -signal.SIGTERM


@on_unix
def test_lbfgs_saves_the_last_iteration_when_it_is_ended(host: nn.Backend) -> None:
    X, y = nn.datasets.moons(200, noise=0.3, seed=0)
    model = nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)).init((2,))

    def end(run: nn.Run) -> None:
        if run.epoch == 4:
            signal.raise_signal(signal.SIGINT)

    kept = nn.Checkpoint("run.safetensors", every=50)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, optimizer="lbfgs", epochs=20, batch_size=None, checkpoint=kept, callbacks=end)
    saved = nn.load("run.safetensors")
    assert len(saved.history["loss"]) == 4
    np.testing.assert_array_equal(saved.theta, model.theta)


@on_unix
@pytest.mark.parametrize(
    "words",
    [("evaluate", "m.safetensors", "a.csv"), ("predict", "m.safetensors", "a.csv"), ("show", "m.safetensors"),
     ("predict", "m.safetensors", "a.csv", "--json"), ("info",), ("--help",), ("train", "--help")],
    ids=" ".join,
)  # fmt: skip
def test_a_pipe_without_a_reader_ends_a_command_quietly(words: tuple[str, ...]) -> None:
    data = write("a.csv", houses())
    if "m.safetensors" in words:
        call(*training_on(data, epochs=1))
    end, beginning = os.pipe()
    os.close(end)
    try:
        done = run(*NNARRAY, *words, check=False, stdout=beginning)
    finally:
        os.close(beginning)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@on_unix
def test_a_training_outlives_the_reader_of_its_pipe() -> None:
    data = write("a.csv", houses())
    end, beginning = os.pipe()
    os.close(end)
    try:
        done = run(*NNARRAY, *training_on(data, epochs=3), check=False, stdout=beginning)
    finally:
        os.close(beginning)
    assert done.stderr == ""
    assert len(nn.load("m.safetensors").history["epoch"]) == 3


def test_show_prints_what_is_in_a_file() -> None:
    data = write("a.csv", houses())
    call("train", data, *TRAIN, "--optimizer", "adam", "--dropout", "0", "--out", "m.safetensors")
    said = call("show", "m.safetensors").stdout
    for words in (
        "m.safetensors, ",
        "name a.csv, examples 297",
        "8 epochs",
        "Adam(lr=0.001",
        "accuracy",
        "Dense(64",
        "city",
        "2 classes",
    ):
        assert words in said
    digest = sha256(Path("m.safetensors").read_bytes()).hexdigest()
    assert f"sha256 {digest[:12]}\n" in said
    assert re.search(rf"\btrained +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ, nnarray {nn.__version__}\n", said)
    output = json.loads(call("show", "m.safetensors", "--json").stdout)
    assert (output["sha256"], output["training ended"]) == (digest, True)
    assert output["trained"] == output["metadata"]["trained"]
    assert output["layers"] == ["Dense(64, activation='relu')", "Dense(64, activation='relu')", "Dense(2)"]
    assert output["metadata"]["data"]["held out"] == 59
    nn.Network(nn.Dense(3)).init((2,)).save("plain.safetensors")
    assert "9 parameters" in call("show", "plain.safetensors").stdout
    assert json.loads(call("show", "plain.safetensors", "--json").stdout)["trained"] is None
    assert "not trained by `nnarray train`" in fails(2, "predict", "plain.safetensors", data)


@pytest.mark.parametrize("noted", [None, 3, {"nnarray": "0.1.0"}, {"nnarray": 1, "ended": "2026"}])
def test_what_made_a_model_may_be_unknown(noted: Any) -> None:
    origin = model_files.origin_of({"trained": noted})
    assert (origin.text, origin.to_json()) == ("not known", None)


# --- What goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("train", "none.csv", "--target", "x"), 1, "there is no file 'none.csv'"),
        (("train", "a.csv"), 2, "Pass it with --target COLUMN"),
        (("train", "a.csv", "--target", "prise"), 2, "there is no column 'prise'.* Did you mean 'price'"),
        (("train", "a.csv", "--target", "price", "--drop", "agee"), 2, "Did you mean 'age'"),
        (("train", "a.csv", "--target", "price", "--optimizer", "adma"), 2, "Did you mean 'adam'"),
        (("train", "a.csv", "--target", "price", "--activation", "relo"), 2, "Did you mean 'relu'"),
        (("train", "a.csv", "--target", "price", "--backend", "nunpy"), 2, "Did you mean 'numpy'"),
        (("train", "a.csv", "--target", "price", "--task", "clasify"), 2, "Did you mean 'classify'"),
        (("train", "a.csv", "--target", "city", "--task", "regress"), 2, "'Ba|'Be|'Ge.* is not a number"),
        (("train", "a.csv", "--target", "price", "--hidden", "8,x"), 2, "--hidden must be integers above 0"),
        (("train", "a.csv", "--target", "price", "--epochs", "0"), 2, "--epochs must be an integer of at least 1"),
        (("train", "a.csv", "--target", "price", "--validation", "1"), 2, "--validation must be a finite number"),
        (("train", "a.csv", "--target", "price", "--dropout", "1.5"), 2, "--dropout must be"),
        (("train", "a.csv", "--target", "price", "--test", "b.csv"), 2, "nnarray evaluate MODEL b.csv"),
        (("train", "a.csv", "--target", "price", "--lr", "-1"), 2, "learning rate must be a finite number above 0"),
        (("train", "a.csv", "--target", "price", "--dtype", "int32"), 2, "dtype must be real floating"),
        (("train", "a.csv", "--target", "price", "--out", "m.pkl"), 2, r"must end in \.safetensors"),
        (("train", "a.csv", "--target", "price", "--out", "no/m.safetensors"), 1, "there is no folder 'no'"),
        (
            ("train", "a.csv", "--target", "price", "--lr", "1e30", "--optimizer", "sgd"),
            1,
            "the loss became NaN or infinite",
        ),
        (("train", "a.xlsx", "--target", "price"), 2, "is a spreadsheet, which is not supported"),
        (("train", "a.csv", "--target", "price", "--epoch", "3"), 2, "No such option: --epoch .*--epochs"),
        (("predict", "none.safetensors", "a.csv"), 1, "there is no file 'none.safetensors'"),
        (("predict", "a.csv", "a.csv"), 2, r"must end in \.safetensors"),
        (("predict", "m.safetensors", "none.csv"), 1, "there is no file 'none.csv'"),
        (("predict", "m.safetensors", "a.csv", "--out", "predictions.xlsx"), 2, "let its name end in .csv, .tsv"),
        (("predict", "m.safetensors", "a.csv", "--unknown", "maybe"), 2, "unknown choice of unknown 'maybe'"),
        (("evaluate", "m.safetensors", "short.csv"), 2, "the table lacks 'price'"),
        (("show", "none.safetensors"), 1, "there is no file"),
    ],
)
def test_wrong_calls(words: tuple[str, ...], code: int, message: str) -> None:
    write("a.csv", {**houses(60), "kind": ["x", "y"] * 30})
    write("a.feather", houses(3))
    Path("a.xlsx").touch()
    write("short.csv", {"age": [1.0], "rooms": [2], "city": ["Bern"]})
    if "m.safetensors" in words:
        call("train", "a.csv", "--target", "price", "--epochs", "1", "--out", "m.safetensors")
    assert re.search(message, fails(code, *words))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "no rows"),
        ("a,a\n1,2\n", "several columns with the same name: 'a'"),
        ("a,b\n1,2\n3\n", "row 2: 1 entries for 2 columns"),
        ("a,b\n1,2\n3,4,5\n", "row 2: 3 entries for 2 columns"),
        ("a,b\n1,x\n1e400,y\n2,x\n", "row 2, column 'a': infinity"),
        ("a,b\n1,x\n2,x\n3,x\n", "a single class"),
        ("a,b\n1,\n2,\n", "no row of 't.csv' has a target"),
        ("b\nx\ny\n", "no column is left to learn from"),
        ("a,b\n,x\n,y\n,x\n,y\n,x\n,y\n", "'a' has no entries"),
    ],
)
def test_tables_that_cannot_be_learned_from(text: str, message: str) -> None:
    Path("t.csv").write_text(text)
    assert message in fails(2, "train", "t.csv", "--target", "b", "--validation", "0")


def test_data_in_another_encoding_and_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.csv").write_bytes("größe,b\n1,x\n".encode("latin-1"))
    assert "is not UTF-8" in fails(2, "train", "t.csv", "--target", "b")


def test_few_rows() -> None:
    write("t.csv", {"a": [1.0, 2.0, 3.0, 4.0], "b": ["x", "y", "x", "y"]})
    assert "holds out none" in fails(2, "train", "t.csv", "--target", "b")
    output = call("train", "t.csv", "--target", "b", "--validation", "0", "--epochs", "2").stdout
    assert "none were held out" in output
    call("train", "t.csv", "--target", "b", "--validation", "0.5", "--epochs", "2")


# --- Its parts -------------------------------------------------------------------------------------------------------


def test_a_table_is_read_with_word_of_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write("a.csv", houses(3000))
    output: list[tuple[str, float | None]] = []
    monkeypatch.setattr("nnarray.tables.limits.BLOCK", 1 << 14)
    steps.read(Path(data), steps.Plan(target=("price",), drop=("kind",)), lambda *each: output.append(each))
    fractions = [fraction for what, fraction in output if what.startswith("reading a.csv")]
    assert fractions == sorted(fractions)
    assert 0.9 < fractions[-1] <= 1.0
    assert output[-2][0] == f"reading a.csv: {fractions[-1]:.0%}, 3,000 rows"
    assert output[-1][0] == "preparing 5 columns of 3,000 rows"


def test_without_a_terminal_what_takes_long_is_reported_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    read = steps.read

    def slowly(data: Path, plan: steps.Plan, watch: Any) -> Any:
        watch("reading a.csv: 50%, 150 rows", 0.5)
        time.sleep(0.5)
        return read(data, plan, watch)

    monkeypatch.setattr("nnarray.apps.workflow.steps.read", slowly)
    monkeypatch.setattr("nnarray.cli.console.QUIET", 0.1)
    done = call("train", write("a.csv", houses()), *VALUES, "--json")
    assert json.loads(done.stdout)["epochs"]
    assert done.stderr.splitlines()[0] == "nnarray: reading a.csv: 50%, 150 rows (0 s)"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is taken, and keeps to the limit")
def test_a_full_memory_is_reported_with_what_was_needed_and_what_helps() -> None:
    row = ",".join("7" * 60)
    Path("large.csv").write_text(",".join(f"x{i}" for i in range(60)) + "\n" + f"{row}\n{row[:-1]}8\n" * 150_000)
    Path("narrow.csv").write_text("x0,x59\n" + "7,7\n7,8\n" * 100)
    code = """
        import resource, sys
        from nnarray.cli import app
        from nnarray.tables import limits

        limits.BLOCK, limits.RESERVE = limits.BLOCK >> 4, limits.RESERVE >> 4  # less is read ahead

        def train(file, *words):
            words = ["train", file, "--target", "x59", "--backend", "numpy", "--epochs", "1", *words]
            return app(words, standalone_mode=False)

        train("narrow.csv")  # starts the threads, which take memory of their own
        with open("/proc/self/statm") as file:
            most = int(file.read().split()[0]) * resource.getpagesize() + (150 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        sys.exit(train("large.csv", *sys.argv[1:]))
    """
    one_thread = os.environ | {
        "OPENBLAS_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "1",
    }
    words = [sys.executable, "-c", dedent(code), "--no-stream"]
    done = run(*words, check=False, env=one_thread)
    assert done.returncode == 1
    forecast, output = done.stderr.splitlines()
    assert re.match(
        r"nnarray: 'large\.csv' will take about \d+\.\d MiB of memory, but \d+\.\d MiB are free\. Remedies", forecast
    )
    assert output.startswith("nnarray: no memory is left for the table 'large.csv', a file of 34.3 MiB; it needs about")
    assert "leave out columns (--drop)" in output


def test_columns_that_are_left_out_take_no_memory() -> None:
    """So that what a full memory advises helps; and the forecast knows it."""
    text = {f"x{i}": ["a long text of some length"] * 2000 for i in range(20)} | {"y": [1, 2] * 1000}
    data = Path(write("large.csv", text))
    drop = [f"x{i}" for i in range(1, 20)]
    table = open_table(data)
    whole, kept = (
        pa.concat_tables(inputs._parts(table, table.batches(), set(names), lambda *_: None)) for names in ((), drop)
    )
    assert kept.column_names == whole.column_names
    assert 10 * kept.nbytes < whole.nbytes
    assert kept.select(["x0", "y"]).equals(whole.select(["x0", "y"]))
    assert 10 * memory_of_text(data, len(drop)) < memory_of_text(data)
    assert "no column is left to learn from" in fails(
        2, "train", str(data), "--target", "y", "--drop", "x0," + ",".join(drop)
    )


def test_inputs_come_in_the_dtype_of_the_training() -> None:
    data = Path(write("a.csv", houses()))
    full, narrow = (steps.read(data, steps.Plan(target=("kind",), dtype=kind)) for kind in ("float64", "float32"))
    assert (full.X.dtype, narrow.X.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(full.X.astype(np.float32), narrow.X)


def test_scores_are_what_they_say(host: nn.Backend) -> None:
    draws = np.random.default_rng(0)
    logits, y = draws.normal(size=(50, 3)), draws.integers(0, 3, 50)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    tally = scores.ClassTally(("a", "b", "c"), (1, 5, 2))
    tally.add(log_p[:20], y[:20])
    tally.add(log_p[20:], y[20:])
    rows = tally.scores().rows
    assert rows["accuracy"] == pytest.approx((np.mean(logits.argmax(1) == y), np.mean(y == 1)))
    assert rows["cross_entropy"][0] == pytest.approx(float(nn.losses.CrossEntropy()(logits, y)))
    assert rows["f1"][0] == pytest.approx(float(nn.metrics.f1(logits, y)))
    outputs, truth = draws.normal(size=(50, 2)), draws.normal(size=(50, 2))
    values = scores.ValueTally(("u", "v"), (1.0, 2.0), (3.0, 4.0))
    values.add(outputs[:9], truth[:9])
    values.add(outputs[9:], truth[9:])
    rows = values.scores().rows
    assert rows["rmse of v"][0] == pytest.approx(4 * np.sqrt(np.mean((outputs - truth)[:, 1] ** 2)))
    assert rows["mae of u"] == pytest.approx((3 * np.abs(outputs - truth)[:, 0].mean(), 3 * np.abs(truth[:, 0]).mean()))
    assert np.mean([rows["r2 of u"][0], rows["r2 of v"][0]]) == pytest.approx(float(nn.metrics.r2(outputs, truth)))
    with pytest.raises(ValueError, match="no example has a known target"):
        scores.ClassTally(("a", "b"), (1, 1)).scores()


def test_completion_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # tests may have no shell above them
    done = CliRunner().invoke(app, ["--show-completion", "bash"], prog_name="nnarray")
    assert "_NNARRAY_COMPLETE" in done.stdout


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "show", "bench", "info", "demo"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    said = call(command, "--help").stdout
    assert f"Examples:\n    nnarray {command}" in said


# --- What others tried -----------------------------------------------------------------------------------------------


def test_notes_of_any_kind_are_shown() -> None:
    model = nn.Network(nn.Dense(2)).init((3,))
    model.metadata = {"data": "moons, noise 0.2", "scores": 3, "class counts": "many", "input": ["two", "columns"]}
    model.save("m.safetensors")
    said = call("show", "m.safetensors").stdout
    assert "moons, noise 0.2" in said
    assert "['two', 'columns']" in said
    model.metadata = {"input": {"kind": "table", "preparation": {"columns": "x"}}}
    model.save("m.safetensors")
    call("show", "m.safetensors")
    assert "'m.safetensors' cannot be used: the description of its data is damaged" in fails(
        2, "predict", "m.safetensors", write("a.csv", houses(5))
    )


def test_notes_that_do_not_fit_the_network_are_refused() -> None:
    data = write("a.csv", houses())
    call("train", data, *TRAIN, "--out", "m.safetensors")
    model = nn.load("m.safetensors")
    other = nn.Network(nn.Dense(3)).init(model.input_shape)
    other.metadata = model.metadata
    other.save("other.safetensors")
    message = fails(2, "predict", "other.safetensors", data)
    assert "needs a network from (6,) to (2,), but its network is from (6,) to (3,)" in message


def test_a_number_beyond_the_dtype_is_reported_with_its_row_and_column() -> None:
    columns = houses()
    call("train", write("a.csv", columns), *VALUES)
    columns["age"][49] = 1e300
    message = fails(2, "predict", "model.safetensors", write("b.parquet", columns))
    assert "row 50, column 'age': 1e+300 is too far from the mean of the training rows" in message


def test_another_dtype_where_the_backend_lacks_that_of_the_file() -> None:
    data = write("a.csv", houses())
    call("train", data, *VALUES, "--dtype", "float64", "--out", "m.safetensors")
    lacks = "strict:no_float64"
    assert "--dtype float32" in fails(2, "predict", "m.safetensors", data, "--backend", lacks)
    call("predict", "m.safetensors", data, "--backend", lacks, "--dtype", "float32")


def test_what_would_be_ignored_is_refused() -> None:
    data = write("a.csv", houses())
    for words in (("--lr", "0.1"), ("--batch-size", "8")):
        assert "leave out --lr and --batch-size" in fails(2, "train", data, *VALUES, "--optimizer", "lbfgs", *words)
    output = json.loads(call("train", data, *VALUES[:4], "--epochs", "500", "--patience", "2", "--json").stdout)
    assert output["stopped"].startswith("val_loss has not improved")
    Path("file").touch()
    assert "'file' is a file" in fails(1, "train", data, *VALUES, "--report", "file")
    assert "is a folder" in fails(1, "predict", "model.safetensors", ".")


def test_a_pipe_gets_no_blanks_at_the_ends_of_lines() -> None:
    said = call("train", write("a.csv", houses()), *TRAIN).stdout
    assert not [line for line in said.splitlines() if line != line.rstrip()]


def test_the_bar_fits_into_80_columns() -> None:
    row = {"epoch": 123.0, "loss": 0.012345, "accuracy": 0.98765, "val_loss": 0.0412345, "val_accuracy": 0.97531}
    text = console._newest(row | {"lr": 0.001, "seconds": 12.3}, {})
    assert text == "loss 0.0123 | 0.0412  accuracy 0.988 | 0.975  lr 0.001"
    assert 10 + len(" 123/1000 ") + len(text) + len(" 00:02") <= 80


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_before_the_first_epoch_says_that_nothing_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nnarray.apps.workflow.steps.train", interrupted)
    said = fails(130, "train", write("a.csv", houses()), *VALUES)
    assert said == "nnarray: interrupted before the end of the first epoch; nothing is saved"
