"""Files of pipelines: ONNX Runtime alone turns raw rows into the answers of `nnarray predict`."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import nnarray as nn
from nnarray.apps.workflow.exporting import columns, examples, files
from nnarray.apps.workflow.exporting.spellings import spellings
from nnarray.cli import app
from nnarray.onnx.writing import checking
from nnarray.tables.text_format import MISSING, TextFormat

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
importlib.import_module("onnx.reference")

ROWS = 120
USUAL = ("--backend", "numpy", "--epochs", 3, "--hidden", 8, "--no-linear")


def call(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], prog_name="nnarray")
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def table(classes: int = 3) -> pd.DataFrame:
    """All kinds of columns, with missing entries in most; classes with blanks, and letters beyond ASCII."""
    draws = np.random.default_rng(0)
    kind = draws.integers(classes, size=ROWS)
    names = np.asarray(["daisy", "wild røse", "チューリップ", "a, b", 'with "marks"'], dtype=object)[:classes]
    frame = pd.DataFrame(
        {
            "length": (kind + draws.normal(5, 0.3, ROWS)).round(2),
            "two words": draws.integers(1, 9, ROWS).astype(float),
            "price": np.exp(draws.normal(3, 2, ROWS)).round(2),
            "colour": draws.choice(np.asarray(["red", "dark blüe", "1 2"], dtype=object), ROWS),
            "code": draws.choice(np.asarray(["10", "20", "30"], dtype=object), ROWS),
            "alive": draws.choice([True, False], ROWS),
            "day": pd.date_range("2023-12-01", periods=ROWS, freq="9D").strftime("%Y-%m-%d").to_numpy(dtype=object),
            "kind": names[kind],
        }
    )
    for number, name in enumerate(("two words", "price", "colour", "day")):
        frame.loc[number::7, name] = None
    return frame


def trained(folder: Path, frame: pd.DataFrame, target: str, *options: object) -> nn.Pipeline:
    data, file = folder / "t.parquet", folder / "m.safetensors"
    frame.to_parquet(data, index=False)
    call("train", data, "--target", target, "--out", file, "--restart", *USUAL, *options)
    return nn.load_pipeline(file, backend="numpy")


def feed(session: Any, frame: pd.DataFrame) -> dict[str, Any]:
    """Raw rows as a program gives them: numbers with nan, and texts with "" for what is missing."""
    found = {}
    for port in session.get_inputs():
        assert port.shape == ["batch", 1]
        entries = frame[port.name]
        if port.type == "tensor(double)":
            found[port.name] = entries.to_numpy(dtype="float64")[:, None]
        else:
            assert port.type == "tensor(string)"
            texts = ["" if entry is None or entry != entry else str(entry) for entry in entries]
            found[port.name] = np.asarray(texts, dtype=object)[:, None]
    return found


def both(path: Path, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The answers of ONNX Runtime and of the reference evaluator."""
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = feed(session, frame)
    names = [port.name for port in session.get_outputs()]
    evaluator = onnx.reference.ReferenceEvaluator(str(path))
    return [dict(zip(names, each.run(None, given), strict=True)) for each in (session, evaluator)]


def same(pipeline: nn.Pipeline, path: Path, frame: pd.DataFrame) -> None:
    """The file answers as the pipeline does."""
    onnx.checker.check_model(str(path), full_check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of missing entries
        wanted = pipeline.predict(frame, unknown="ignore")
        p = pipeline.predict_proba(frame, unknown="ignore") if pipeline.classes else None
    for found in both(path, frame):
        if p is None:
            value = found["value"]
            assert (value.shape, value.dtype) == ((len(frame), len(pipeline.targets)), wanted.dtype)
            np.testing.assert_allclose(value, wanted.reshape(value.shape), rtol=2e-5, atol=1e-5)
        else:
            np.testing.assert_allclose(found["probabilities"], p, rtol=0, atol=1e-5)
            assert found["label"].tolist() == wanted.tolist()
    session = runtime.InferenceSession(path)
    assert all(len(each) == 0 for each in session.run(None, feed(session, frame[:0])))  # no rows have no answers


CASES: dict[str, tuple[int, str, tuple[object, ...]]] = {
    "two classes": (2, "kind", ()),
    "five classes": (5, "kind", ()),
    "weighted classes": (3, "kind", ("--class-weight", "balanced")),
    "integers as classes": (3, "code", ()),
    "truth values as classes": (3, "alive", ()),
    "a value": (3, "price", ()),
    "several values": (3, "length,price", ()),
    "float64": (3, "kind", ("--dtype", "float64")),
    "linear": (3, "kind", ("--hidden", "")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_answers_as_the_pipeline(tmp_path: Path, case: str) -> None:
    classes, target, options = CASES[case]
    frame = table(classes)
    pipeline = trained(tmp_path, frame if target != "price" else frame.dropna(subset="price"), target, *options)
    pipeline.to_onnx(tmp_path / "m.onnx")
    unseen = frame.assign(colour="green", price=np.nan, day=None)
    unseen.loc[3:, "two words"] = np.nan
    for each in (frame, unseen, frame[:1]):
        same(pipeline, tmp_path / "m.onnx", each)


@pytest.mark.parametrize("name", ["length", "two words", "colour", "day", "alive"])
def test_one_column_is_enough(tmp_path: Path, name: str) -> None:
    frame = table()
    pipeline = trained(tmp_path, frame[[name, "kind"]], "kind")
    pipeline.to_onnx(tmp_path / "m.onnx")
    same(pipeline, tmp_path / "m.onnx", frame)


def test_names_that_a_file_uses_itself(tmp_path: Path) -> None:
    frame = table()[["length", "price", "colour", "two words", "kind"]]
    frame.columns = ["label", "outputs", "0.weight", "X", "probabilities"]
    frame = frame.assign(**{"Gemm_0": frame["X"] + 1, "constant.0": frame["label"] * 2, "input X": frame["label"]})
    pipeline = trained(tmp_path, frame, "probabilities")
    pipeline.to_onnx(tmp_path / "m.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wanted, p = pipeline.predict(frame), pipeline.predict_proba(frame)
    for found in both(tmp_path / "m.onnx", frame):
        assert found["predicted label"].tolist() == wanted.tolist()
        np.testing.assert_allclose(found["probabilities"], p, rtol=0, atol=1e-5)


def test_a_fixed_number_of_rows(tmp_path: Path) -> None:
    pipeline = trained(tmp_path, table(), "kind")
    pipeline.to_onnx(tmp_path / "m.onnx", batch=2)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    assert [port.shape for port in session.get_outputs()] == [[2], [2, 3]]


def test_other_spellings_of_a_category() -> None:
    known = spellings(["10", "2.5", "red"], TextFormat())
    ten = {*("10", "10.", "10.0", "10.00"), *("1e1", "1e+1", "1e+01", "1E1", "1E+1", "1E+01")}
    assert {form for form, k in known.items() if k == 0} == ten | {
        f"+{form}" for form in ten if "1e" not in form.lower()
    }
    assert {"2.5", "+2.50", "2.500", "2.5e0"} <= {form for form, k in known.items() if k == 1}
    assert [form for form, k in known.items() if k == 2] == ["red"]
    truth = spellings(["false", "true"], TextFormat())
    assert {
        "true": 1,
        "tRUE": 1,
        "TRUE": 1,
        "1": 1,
        "1.0": 1,
        "false": 0,
        "False": 0,
        "0.00": 0,
    }.items() <= truth.items()
    assert "1" not in spellings(["true", "perhaps"], TextFormat())


@pytest.mark.parametrize(
    ("decimal", "thousands", "forms"),
    [
        (",", ".", {"1,5": "1.5", "1.5": "1.5", "1.000": "1000", "1000": "1000", "1.000,0": "1000", "1,50": "1.5"}),
        (",", "", {"1,5": "1.5", "1000": "1000", "1000,00": "1000"}),
        (".", ",", {"1.5": "1.5", "1,000": "1000", "1,000.00": "1000"}),
        (",", " ", {"1 000": "1000", "1\u00a0000": "1000", "1\u202f000,0": "1000"}),
    ],
)
def test_categories_are_known_as_the_table_had_them(decimal: str, thousands: str, forms: dict[str, str]) -> None:
    names = ["1.5", "1000", "1.234", "2026-11-29"]
    known = spellings(names, TextFormat(decimal=decimal, thousands=thousands, dates="%d.%m.%Y"))
    assert {form: names[known[form]] for form in forms} == forms
    assert names[known["29.11.2026"]] == "2026-11-29"
    assert ("1.234" in known) == (decimal == ".")  # a point is none of a decimal comma: the reader refuses it


def test_a_file_knows_the_texts_of_its_table(tmp_path: Path) -> None:
    """Words for a missing entry, numbers with a decimal comma, truth values: as `nnarray predict` of the same file."""
    lines = [
        f"{i % 7},{i % 10};{(['1.000', '2.000,5', '30'][i % 3])};{['red', 'dark blue', 'NA', ''][i % 4]};"
        f"{['True', 'False'][i % 2]};{2010 + i % 9}-02-03;{'abc'[i % 3]}"
        for i in range(ROWS)
    ]
    names = "length;code;colour;alive;day;kind"
    (tmp_path / "t.csv").write_text("\n".join([names, *lines]))
    form = ("--delimiter", ";", "--decimal", ",", "--thousands", ".", "--categories", "code,alive")
    call("train", tmp_path / "t.csv", "--target", "kind", "--out", tmp_path / "m.safetensors", *form, *USUAL)
    call("export", tmp_path / "m.safetensors")
    codes = ("1.000", "1000,00", "2000,50", "30,0", "+30", "3e1", "40", "")
    colours = ("red", "NA", "null", "None", "nan", "", "na", "Red")
    rows = [
        f"1,5;{code};{word};{truth};{day}"
        for code, word, truth, day in zip(
            codes,
            colours,
            ("true", "tRUE", "0", "1,0", "FALSE", "", "NULL", "1"),
            ("2015-02-28", "NaN", "") * 3,
            strict=False,
        )
    ]
    for part in (rows, *([row] for row in rows)):  # alone, a column may be wholly empty
        (tmp_path / "q.csv").write_text("\n".join([names.removesuffix(";kind"), *part]))
        call(
            "predict",
            tmp_path / "m.safetensors",
            tmp_path / "q.csv",
            "--unknown",
            "ignore",
            "--out",
            tmp_path / "a.csv",
        )
        wanted = pd.read_csv(tmp_path / "a.csv")
        given = pd.DataFrame([row.split(";") for row in part], columns=names.split(";")[:-1]).assign(length=1.5)
        for found in both(tmp_path / "m.onnx", given):
            np.testing.assert_allclose(found["probabilities"], wanted.filter(like="p_"), rtol=0, atol=1e-5)
            assert found["label"].tolist() == wanted["prediction"].tolist()


# --- Dates -----------------------------------------------------------------------------------------------------------

FORMS = {
    "days": ("%Y-%m-%d", "", "23h"),
    "minutes": ("%Y-%m-%dT%H:%M", "", "1111min"),
    "seconds after a blank": ("%Y-%m-%d %H:%M:%S", "", "77777s"),
    "fractions": ("%Y-%m-%dT%H:%M:%S.%f", "", "77777777ms"),
    "UTC": ("%Y-%m-%dT%H:%M:%S", "Z", "1111min"),
    "an offset": ("%Y-%m-%dT%H:%M", "-05:30", "1111min"),
    "hours of an offset": ("%Y-%m-%dT%H:%M", "+14", "1111min"),
    "an offset without a colon": ("%Y-%m-%dT%H:%M:%S", "-0530", "1111min"),
    "minutes of an offset": ("%Y-%m-%dT%H:%M", "+0015", "1111min"),
}


@pytest.mark.parametrize("form", FORMS)
def test_dates(tmp_path: Path, form: str) -> None:
    written, zone, step = FORMS[form]
    start = "1899-12-25" if form == "days" else "2019-12-25"
    moments = pd.date_range(start, periods=1600, freq=step)
    frame = pd.DataFrame({"when": [each + zone for each in moments.strftime(written)]}, dtype=object)
    frame["kind"] = np.where(moments.day_of_week > 4, "late", "early")
    pipeline = trained(tmp_path, frame, "kind")
    assert pipeline.columns[0].kind == "date"
    pipeline.to_onnx(tmp_path / "m.onnx")
    same(pipeline, tmp_path / "m.onnx", frame)


@pytest.mark.parametrize("far", ["9999-12-31", "0001-01-01"])
def test_dates_that_stand_for_ever(tmp_path: Path, far: str) -> None:
    frame = pd.DataFrame({"until": [f"2024-0{1 + i % 9}-1{i % 7}" if i % 9 else far for i in range(200)]}, dtype=object)
    frame["kind"] = np.where(frame["until"] == far, "open", "closed")
    pipeline = trained(tmp_path, frame, "kind")
    pipeline.to_onnx(tmp_path / "m.onnx")
    same(pipeline, tmp_path / "m.onnx", frame)


@pytest.mark.parametrize("text", ["29.11.2026", "2023-02-29", "2024-13-01", "2024-01-32", "2024-01-01T24:00", "now"])
def test_what_is_no_date_is_no_answer(tmp_path: Path, text: str) -> None:
    frame = table()
    pipeline = trained(tmp_path, frame[["day", "kind"]], "kind")
    pipeline.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    session.run(None, {"day": np.asarray([["2024-02-29"], [""]], dtype=object)})
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session.run(None, {"day": np.asarray([["2024-02-29"], [text]], dtype=object)})


@pytest.mark.parametrize("zone", ["+99:99", "+24:00", "+05:99", "+0599", "+5", ""])
def test_a_zone_that_does_not_exist_is_no_answer(tmp_path: Path, zone: str) -> None:
    frame = table()
    days = [f"{day}T10:00+05:30" if isinstance(day, str) else None for day in frame["day"]]
    pipeline = trained(tmp_path, pd.DataFrame({"day": days, "kind": frame["kind"]}), "kind")
    pipeline.to_onnx(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"is no date as those of the column are|has no time zone"):
        pipeline.predict([{"day": f"2024-02-29T10:00{zone}"}])
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session.run(None, {"day": np.asarray([[f"2024-02-29T10:00{zone}"]], dtype=object)})


# --- What is refused -------------------------------------------------------------------------------------------------


def test_infinity_is_no_answer(tmp_path: Path) -> None:
    frame = table()
    pipeline = trained(tmp_path, frame[["length", "price", "kind"]], "kind")
    pipeline.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session.run(None, {"length": np.asarray([[np.inf]]), "price": np.asarray([[1.0]])})


def test_hashed_text_is_refused(tmp_path: Path) -> None:
    words = ("good", "bad", "dear", "cheap", "fine", "green", "old", "new")
    rng = np.random.default_rng(0)
    frame = table().assign(note=[" ".join(rng.choice(words, 5)) for _ in range(ROWS)])
    pipeline = trained(tmp_path, frame, "kind")
    with pytest.raises(ValueError, match="column 'note' is free text, whose words are hashed by CRC-32"):
        pipeline.to_onnx(tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("evaluator", ["ONNX Runtime", "the reference evaluator of ONNX"])
@pytest.mark.parametrize("target", ["kind", "length"])
def test_a_difference_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluator: str, target: str) -> None:
    pipeline = trained(tmp_path, table(), target)
    if evaluator != "ONNX Runtime":
        monkeypatch.setattr(checking, "_by_runtime", lambda data: None)
    pipeline.to_onnx(tmp_path / "right.onnx")
    real = columns.spellings
    monkeypatch.setattr(columns, "spellings", lambda *given: dict.fromkeys(real(*given), 0))
    with pytest.raises(ValueError, match=f"the file was not written: as {evaluator} computes it"):
        pipeline.to_onnx(tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()
    pipeline.to_onnx(tmp_path / "wrong.onnx", check=False)


def test_labels_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = trained(tmp_path, table(), "kind")
    real = files.labelled
    monkeypatch.setattr(files, "labelled", lambda w, outputs, labels, *more: real(w, outputs, labels[::-1], *more))
    with pytest.raises(ValueError, match="the labels are "):
        pipeline.to_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("batch", [1, 700])
def test_a_fixed_number_of_rows_is_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    pipeline = trained(tmp_path, table(), "kind")
    pipeline.to_onnx(tmp_path / "right.onnx", batch=batch)
    real = columns.spellings
    monkeypatch.setattr(columns, "spellings", lambda *given: dict.fromkeys(real(*given), 0))
    with pytest.raises(ValueError, match="the file was not written: as ONNX Runtime computes it"):
        pipeline.to_onnx(tmp_path / "wrong.onnx", batch=batch)


def test_made_rows_have_missing_and_unknown_entries(tmp_path: Path) -> None:
    pipeline = trained(tmp_path, table(), "kind", "--categories", "code")
    made = examples.rows(pipeline.inputs.preparation.columns, TextFormat(), unknown=True)  # type: ignore[union-attr]
    assert {examples.UNKNOWN, "red", "dark blüe", "1 2"} == {*made["colour"]} - {*MISSING}
    assert {*MISSING} <= {*made["colour"]}
    assert {*spellings(["10", "20", "30"], TextFormat())} <= {*made["code"]}
    assert np.isnan(made["two words"]).any()
    assert "" in made["day"]


def test_unknown_categories_may_be_refused(tmp_path: Path) -> None:
    frame = table()
    trained(tmp_path, frame[["colour", "code", "length", "kind"]], "kind")
    call("export", tmp_path / "m.safetensors", "--unknown", "error")
    pipeline = nn.load_pipeline(tmp_path / "m.safetensors", backend="numpy")
    same(pipeline, tmp_path / "m.onnx", frame)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session.run(None, feed(session, frame.assign(colour="green")))
    assert "unknown choice of unknown 'refuse'" in call(
        "export", tmp_path / "m.safetensors", "--unknown", "refuse", code=2
    )


# --- The command line ------------------------------------------------------------------------------------------------


def test_export(tmp_path: Path) -> None:
    trained(tmp_path, table(), "kind")
    said = call("export", tmp_path / "m.safetensors")
    assert "compared with the model" in said
    assert "two words: float64 (batch, 1)" in said
    facts = json.loads(call("export", tmp_path / "m.safetensors", "-o", tmp_path / "n.onnx", "--json"))
    assert facts["outputs"] == {"label": "string (batch)", "probabilities": "float32 (batch, 3)"}
    assert json.loads(facts["notes"]["classes"]) == ["daisy", "wild røse", "チューリップ"]
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "n.onnx").read_bytes()
    shown = call("show", tmp_path / "m.onnx")
    assert "ai.onnx.ml.LabelEncoder" in shown
    assert "label: string (batch)" in shown
    assert "must end in .onnx" in call("export", tmp_path / "m.safetensors", "-o", tmp_path / "m.txt", code=2)


def test_export_of_a_network_and_of_a_text(tmp_path: Path) -> None:
    nn.Network(nn.Dense(2)).init((3,), seed=0).save(tmp_path / "net.safetensors")
    assert "outputs: float32 (batch, 2)" in call("export", tmp_path / "net.safetensors", "--dtype", "float32")
    (tmp_path / "t.txt").write_text("There was a time. " * 40)
    size = ("--context", 8, "--blocks", 1, "--heads", 1, "--features", 4, "--epochs", 1, "--backend", "numpy")
    call("train", tmp_path / "t.txt", "--out", tmp_path / "text.safetensors", *size)
    facts = json.loads(call("export", tmp_path / "text.safetensors", "--json"))
    assert facts["inputs"] == {"X": "int64 (batch, 8)"}
    assert "tokenizer" in facts["notes"]


def test_export_of_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    draws = np.random.default_rng(0)
    for kind in ("cat", "big dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(6):
            pixels = draws.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{i}.png")
    call(*("train", tmp_path / "photos", "--size", 16, "--epochs", 1, "--out", tmp_path / "m.safetensors"), *USUAL[:2])
    pipeline = nn.load_pipeline(tmp_path / "m.safetensors", backend="numpy")
    pipeline.to_onnx(tmp_path / "m.onnx")
    pixels = draws.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    label, p = runtime.InferenceSession(tmp_path / "m.onnx").run(None, {"image": pixels})
    np.testing.assert_allclose(p, pipeline.predict_proba(pixels), rtol=0, atol=1e-5)
    assert label.tolist() == pipeline.predict(pixels).tolist()
