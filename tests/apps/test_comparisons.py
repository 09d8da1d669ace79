"""Third parts, folds, weights, linear models and importance: what they are, and that they are what they say."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from sklearn import datasets
from typer.testing import CliRunner

import nnarray as nn
from nnarray import files
from nnarray.apps.workflow import comparisons, importance, inputs, reports, steps, using
from nnarray.apps.workflow.scores import ClassTally
from nnarray.cli import app
from nnarray.persistence import archive
from nnarray.persistence.archive import Archive


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str, code: int = 0, stdin: bytes | None = None) -> Any:
    done = CliRunner().invoke(app, list(words), prog_name="nnarray", input=stdin)
    assert done.exit_code == code, done.output
    return done


def rows(count: int = 300, seed: int = 0, rare: float = 0.5) -> pa.Table:
    """The label follows from a and the day of the week; b is noise. Fewer of the class "yes" if it is rare."""
    draw = np.random.default_rng(seed)
    a, b, day = draw.normal(size=count), draw.normal(size=count), draw.integers(0, 28, count)
    score = a + 2.0 * (day % 7 >= 5) - 0.6 + 0.1 * draw.normal(size=count)
    label = np.where(score > np.quantile(score, 1 - rare), "yes", "no")
    when = [f"2024-01-{k + 1:02d}" for k in day]
    names = [f"row {k:03d}" for k in range(count)]
    return pa.table({"name": names, "a": a, "b": b, "when": when, "label": label, "value": score})


def write(path: str, table: pa.Table) -> Path:
    if path.endswith(".csv"):
        arrow_csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)
    return Path(path)


PLAN = steps.Plan(target=("label",), drop=("name", "value"), epochs=6)
TRAIN = ("--target", "label", "--drop", "name,value", "--epochs", "6", "--backend", "numpy")


def trained(data: Path, plan: steps.Plan) -> steps.Trained:
    examples = steps.read(data, plan)
    return steps.train(steps.model_for(data, examples, plan, nn.backend("numpy")), examples, plan)


# --- Test parts, folds, weights ---------------------------------------------------------------------------------------


def test_a_test_part_is_scored_and_changes_nothing_else() -> None:
    data = write("rows.csv", rows())
    facts = json.loads(run("train", str(data), *TRAIN, "--test", "0.2", "--json").stdout)
    assert facts["data"] == {"name": "rows.csv", "examples": 300, "trained on": 180, "held out": 60, "test": 60}
    assert facts["test scores"]["examples"] == 60
    assert "(of 60 examples)" in run("show", "model.safetensors").stdout
    plan = replace(PLAN, test=0.2)
    examples = steps.read(data, plan)
    done = trained(data, plan)
    assert done.tested is not None
    assert done.tested.to_json() == facts["test scores"]
    X = examples.X[examples.test]
    hits = using.outputs_of(done.model, X.astype(np.float32)).argmax(1) == examples.y[examples.test]
    assert done.tested.rows["accuracy"][0] == pytest.approx(hits.mean())
    damaged = examples._replace(y=examples.y.copy())
    damaged.y[examples.test] = 1 - damaged.y[examples.test]
    model = steps.model_for(data, damaged, plan, nn.backend("numpy"))
    again = steps.train(model, damaged, plan)
    np.testing.assert_array_equal(np.asarray(again.model.theta), np.asarray(done.model.theta))
    assert again.tested is not None
    assert again.tested.rows["accuracy"][0] == pytest.approx(1 - hits.mean())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--test", "1"), "--test must"),
        (("--test", "0.5", "--validation", "0.5"), "--validation 0.5 and --test 0.5 leave nothing to train on"),
        (("--class-weight", "equal"), "unknown --class-weight 'equal'"),
        (("--target", "value", "--task", "regress", "--class-weight", "balanced"), "--class-weight is about classes"),
        (("--folds", "1"), "--folds must"),
        (("--folds", "3", "--validation", "0.3"), "--folds holds out each part once: leave out --validation"),
        (("--folds", "400"), "--folds 400 needs at least as many examples; got 300"),
    ],
)
def test_wrong_parts_are_refused(words: tuple[str, ...], message: str) -> None:
    data = write("rows.csv", rows().drop_columns(["name"]))
    target = () if "--target" in words else ("--target", "label")
    line = run("train", str(data), *target, "--epochs", "2", "--backend", "numpy", *words, code=2).stderr
    assert message in line


def test_folds_give_mean_and_spread_and_a_network_of_all_rows() -> None:
    data, be = write("rows.csv", rows()), nn.backend("numpy")
    folded = comparisons.cross_validated(data, PLAN, 4, be)
    assert [scores.examples for scores in folded.scores] == [75] * 4
    accuracies = [scores.rows["accuracy"][0] for scores in folded.scores]
    mean, spread, _ = folded.rows["accuracy"]
    assert (mean, spread) == (pytest.approx(np.mean(accuracies)), pytest.approx(np.std(accuracies, ddof=1)))
    alone = trained(data, replace(PLAN, fold=(2, 4)))
    assert alone.scores.rows["accuracy"][0] == accuracies[2]
    facts = json.loads(run("train", str(data), *TRAIN, "--folds", "4", "--json").stdout)
    assert facts["folds"].items() >= json.loads(json.dumps(folded.to_json())).items()
    assert (facts["data"]["trained on"], facts["data"]["held out"]) == (300, 0)
    assert facts["epochs"] == folded.mean_epoch == round(np.mean(folded.epochs))
    assert nn.load("model.safetensors").metadata["scores"]["of"] == "held-out examples of 4 folds"
    output = run("train", str(data), *TRAIN, "--folds", "4", "--test", "0.2").stdout
    assert "mean and spread of 4 folds" in output
    assert "was trained on all folds, for" in output
    assert "on 60 test examples" in output
    assert "4 folds" in run("show", "model.safetensors").stdout


def test_the_last_network_of_folds_is_resumed() -> None:
    """A training that is killed there continues with the options of its start and --resume, as the message says."""
    data, words = str(write("rows.csv", rows())), [*TRAIN, "--folds", "3", "--no-linear"]
    run("train", data, *words, "--out", "whole.safetensors")
    whole = nn.load("whole.safetensors")
    saved = archive.read(Path("whole.safetensors"))
    facts = {name: value for name, value in saved.facts["metadata"].items() if name not in ("scores", "trained")}
    archive.write(Path("model.unfinished.safetensors"), Archive(saved.arrays, saved.facts | {"metadata": facts}))
    assert "Continue it with --resume" in run("train", data, *words, code=1).stderr
    for other, remedy in (
        ((*TRAIN, "--no-linear", "--no-early-stopping"), "its training began with --folds 3. To continue it, pass it;"),
        (
            (*TRAIN, "--folds", "4"),
            "its training began with --folds 3. To continue it, pass it; or begin again with --rest",
        ),
    ):
        assert remedy in run("train", data, *other, "--resume", code=2).stderr
    run("train", data, *words, "--resume")
    model = nn.load("model.safetensors")
    np.testing.assert_array_equal(np.asarray(model.theta), np.asarray(whole.theta))
    assert model.metadata["scores"] == whole.metadata["scores"]
    assert not Path("model.unfinished.safetensors").exists()
    assert "nothing to do" in run("train", data, *words, "--resume").stdout
    run("train", data, *TRAIN, "--restart")
    assert (
        "began without --folds. To continue it, leave it out" in run("train", data, *words, "--resume", code=2).stderr
    )


def test_an_interrupt_in_the_folds_says_that_nothing_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nnarray.apps.workflow.comparisons.train", interrupted)
    said = run("train", str(write("rows.csv", rows())), *TRAIN, "--folds", "3", code=130).stderr
    assert "interrupted while the folds were trained; they are not saved, and the same command begins again" in said


def test_a_training_with_other_parts_names_them() -> None:
    data, words = str(write("rows.csv", rows())), (*TRAIN, "--no-linear")
    run("train", data, *words, "--test", "0.2")
    said = run("train", data, *words, "--resume", code=2).stderr
    assert (
        "numbers of examples: examples 300, trained on 180, held out 60, test 60; now examples 300, trained on 240"
        in said
    )
    assert "Pass the data, --target, --validation, --test and --seed of its start" in said


def test_folds_have_the_notes_and_the_tables_of_classes_too() -> None:
    data = write("rare.csv", rows(300, rare=0.04).drop_columns(["a", "when", "name", "value"]))  # noise is left
    words = ("train", str(data), "--target", "label", "--epochs", "8", "--backend", "numpy", "--folds", "3")
    said = " ".join(run(*words).stdout.split())
    for part in (
        "this network is not better than always predicting 'no'",
        "rare classes are mostly predicted as others: 'yes' (12 of 12 examples)",
        "class examples recall precision f1 no 288 1 0.96 0.98 yes 12 0 nan 0",
        "predicted no predicted yes no 288 0 yes 12 0",
        "f1 (macro)",
    ):
        assert part in said
    scores = json.loads(run(*words, "--json").stdout)["folds"]
    assert (scores["confusion"], scores["overlooked classes"]) == ([[288, 0], [12, 0]], ["yes"])
    assert "accuracy" in scores["no better than baseline"]
    assert "f1 (macro) " in run("show", "model.safetensors").stdout


def test_balanced_training_says_which_numbers_are_weighted() -> None:
    data = str(write("rows.csv", rows(rare=0.2)))
    said = run("train", data, *TRAIN, "--no-linear", "--class-weight", "balanced").stdout
    assert said.count("accuracy (weighted) ") == 6  # of each epoch, but not of the scores
    assert "note: the classes are balanced: " in said
    said = "note: the classes were balanced in the training: probabilities are those of equally frequent classes"
    assert said in run("predict", "model.safetensors", data).stderr
    shown = run("show", "model.safetensors").stdout
    assert "accuracy (weighted) " in shown
    assert "val_accuracy (weighted) " in shown
    assert "class weights   balanced" in shown
    assert "(weighted)" not in run("train", data, *TRAIN, "--no-linear").stdout
    assert "balanced" not in run("predict", "model.safetensors", data).stderr


def test_balanced_classes_find_more_of_a_rare_one() -> None:
    data = write("rows.csv", rows(2000, rare=0.04))
    plain, balanced = (
        trained(data, replace(PLAN, epochs=12, drop=("name", "value", "when"), class_weight=weight))
        for weight in (None, "balanced")
    )
    (recall, _), (more, _) = (
        next((r, p) for name, _, r, p, _ in each.scores.by_class if name == "yes") for each in (plain, balanced)
    )
    assert more > recall + 0.2
    assert balanced.model.metadata["class counts"] == plain.model.metadata["class counts"]


def test_weights_make_classes_count_alike() -> None:
    examples = steps.read(write("rows.csv", rows(400, rare=0.1)), PLAN)
    weights = np.asarray(steps._weights(nn.backend("numpy"), examples, replace(PLAN, class_weight="balanced")))
    y = examples.y[examples.train]
    sums = [weights[examples.train][y == k].sum() for k in (0, 1)]
    assert sums == pytest.approx([len(y) / 2] * 2, rel=1e-5)


# --- Linear models ----------------------------------------------------------------------------------------------------


def test_a_linear_model_is_compared() -> None:
    data = write("rows.csv", rows())
    facts = json.loads(run("train", str(data), *TRAIN, "--json").stdout)
    examples = steps.read(data, PLAN)
    alone = json.loads(run("train", str(data), *TRAIN, "--hidden", "", "--json").stdout)  # as the note advises
    assert facts["linear model"] == alone["scores"]
    assert facts["linear model predicts"] in ("better", "as well", "worse")
    assert "linear model" in run("train", str(data), *TRAIN).stdout
    assert "linear model" not in run("train", str(data), *TRAIN, "--no-linear").stdout
    be = nn.backend("numpy")
    assert comparisons.linear_model(data, examples, replace(PLAN, hidden=()), be) is None
    assert comparisons.linear_model(data, examples._replace(held_out=examples.held_out[:0]), PLAN, be) is None


def test_a_note_says_where_a_linear_model_does_as_well() -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(200, 5))
    straight = pa.table({f"x{j}": X[:, j] for j in range(5)} | {"y": X.sum(axis=1) + 0.3 * draw.normal(size=200)})
    words = ("train", str(write("rows.csv", straight)), "--target", "y", "--backend", "numpy", "--epochs", "60")
    assert "note: a linear model predicts these examples" in run(*words).stdout
    facts = json.loads(run(*words, "--hidden", "", "--json").stdout)
    assert facts["parameters"] == 6
    curved = pa.table({"x": X[:, 0], "y": X[:, 0] ** 2})
    words = ("train", str(write("curved.csv", curved)), "--target", "y", "--backend", "numpy")
    assert "a linear model predicts" not in run(*words).stdout


@pytest.mark.parametrize("load", [datasets.load_diabetes, datasets.load_breast_cancer])
def test_tables_for_which_a_linear_model_is_enough_are_reported(load: Any) -> None:
    """A strong weight decay, which a network of few rows needs, would hold the linear model back."""
    load(as_frame=True).frame.to_csv("data.csv", index=False)
    words = ("train", "data.csv", "--target", "target", "--backend", "numpy")
    assert "note: a linear model predicts these examples" in run(*words).stdout


def test_of_a_wide_table_the_first_columns_and_the_target_are_listed() -> None:
    X = np.random.default_rng(0).normal(size=(60, 70))
    wide = pa.table({f"x{j}": X[:, j] for j in range(70)} | {"y": X[:, 0]})
    words = ("train", str(write("wide.csv", wide)), "--target", "y", "--epochs", "1", "--no-linear")
    output = run(*words, "--backend", "numpy").stdout
    assert "21 more columns" in output
    assert ("\nx48 " in output, "\nx49 " in output, "\ny " in output) == (True, False, True)


def test_folds_and_test_parts_have_a_linear_model_beside() -> None:
    data = write("rows.csv", rows())
    words = ("train", str(data), *TRAIN, "--folds", "3", "--test", "0.2")
    facts = json.loads(run(*words, "--json").stdout)
    be, plan = nn.backend("numpy"), replace(PLAN, test=0.2)
    folded = comparisons.cross_validated(data, plan, 3, be, linear=True)
    mean = np.mean([fold.linear.rows["accuracy"][0] for fold in folded.folds if fold.linear])
    assert facts["folds"]["linear model"]["accuracy"] == pytest.approx(mean)
    assert facts["folds"]["linear model predicts"] == folded.verdict
    assert "linear model" in run(*words).stdout
    assert "linear model" not in run(*words, "--no-linear").stdout
    tested = json.loads(run("train", str(data), *TRAIN, "--test", "0.2", "--json").stdout)
    assert tested["linear model on test"]["examples"] == 60


@pytest.mark.parametrize(
    ("excess", "verdict"),
    [([0.1, 0.1, 0.2], "worse"), ([-0.1, 0.1, 0.05], "as well"), ([-0.1, -0.1, -0.2], "better"), ([0.1], "worse")],
)
def test_a_difference_counts_beyond_one_standard_error(excess: list[float], verdict: str) -> None:
    assert comparisons.verdict(np.asarray(excess)) == verdict
    assert comparisons.verdict(np.zeros(4)) == "as well"


def test_rare_classes_that_are_overlooked_are_named() -> None:
    tally = ClassTally(("no", "yes"), (995, 5))
    outputs = np.log([[0.9, 0.1]] * 199 + [[0.2, 0.8]])
    tally.add(outputs, np.asarray([0] * 196 + [1] * 4))
    scores = tally.scores()
    assert scores.rows["balanced_accuracy"] == (pytest.approx((1 + 1 / 4) / 2), 0.5)
    assert scores.overlooked == [("yes", 3, 4)]
    assert scores.to_json()["overlooked classes"] == ["yes"]
    data = write("rare.csv", rows(600, rare=0.03).drop_columns(["a", "when", "name", "value"]))  # noise is left
    said = " ".join(run("train", str(data), "--target", "label", "--epochs", "3", "--backend", "numpy").stdout.split())
    assert "rare classes are mostly predicted as others: 'yes' (4 of 4 examples)" in said
    assert "--class-weight balanced" in said


# --- Importance -------------------------------------------------------------------------------------------------------


def test_importance_is_of_columns_and_finds_those_that_count() -> None:
    data, test = write("rows.csv", rows(600)), write("test.csv", rows(300, seed=1))
    run("train", str(data), *TRAIN[:-4], "--epochs", "40", "--backend", "numpy")
    facts = json.loads(run("evaluate", "model.safetensors", str(test), "--importance", "--json").stdout)["importance"]
    assert (facts["rise of"], facts["rows"], facts["repeats"]) == ("cross_entropy", 300, 5)
    names = [column["name"] for column in facts["columns"]]
    assert sorted(names) == ["a", "b", "when"]
    assert names[-1] == "b"
    rise = {column["name"]: column["mean"] for column in facts["columns"]}
    assert min(rise["a"], rise["when"]) > 10 * abs(rise["b"])
    output = run("evaluate", "model.safetensors", str(test), "--importance").stdout
    assert "a column shuffled among 300 rows" in output


def test_importance_of_balanced_classes_is_by_the_loss_with_their_weights() -> None:
    data = write("rows.csv", rows(2000, rare=0.04))
    done = trained(data, replace(PLAN, epochs=12, class_weight="balanced"))
    found = importance.importance_in(done.model, done.inputs, data)
    assert found.loss == "cross_entropy (weighted)"
    rise = {each.name: each.mean for each in found.columns}
    assert min(rise["a"], rise["when"]) > 1.0  # without the weights, 0.35 and 0.26
    assert abs(rise["b"]) < 0.2
    y = np.asarray([0] * 90 + [1] * 10)
    done.model.metadata["class counts"] = [90, 10]
    weights = using.weights_of(done.model, y)
    assert weights is not None
    assert (weights.mean(), weights[:90].sum()) == (pytest.approx(1), pytest.approx(50))
    del done.model.metadata["class weights"]  # as in older files
    np.testing.assert_array_equal(using.weights_of(done.model, y), weights)
    assert using.weights_of(trained(data, replace(PLAN, epochs=1)).model, y) is None


def test_importance_of_a_sample_is_near_that_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write("rows.parquet", rows(600))
    done = trained(data, replace(PLAN, epochs=20))
    whole = importance.importance_in(done.model, done.inputs, data)
    monkeypatch.setattr(inputs, "ROWS", 70)
    sample = importance.importance_in(done.model, done.inputs, data, most=200)
    assert (whole.rows, sample.rows) == (600, 200)
    for each in whole.columns:
        (same,) = (other for other in sample.columns if other.name == each.name)
        assert same.mean == pytest.approx(each.mean, rel=0.3, abs=0.15)
    assert importance.importance_in(done.model, done.inputs, data) == whole  # in other parts, the same


def test_importance_of_values_is_in_standard_deviations() -> None:
    data = write("rows.csv", rows(400))
    plan = replace(PLAN, target=("value",), drop=("name", "label"), epochs=30)
    found = importance.importance_in(*trained(data, plan)[:2], data)
    assert found.loss.startswith("rmse")
    assert [each.name for each in found.columns][-1] == "b"
    assert 0.3 < found.columns[0].mean < 3


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_a_report_shows_importance_on_rows_that_were_not_trained_on(stream: str) -> None:
    pytest.importorskip("matplotlib")
    data = str(write("rows.csv", rows()))
    output = run("train", data, *TRAIN, stream, "--report", "report", "--test", "0.1").stdout
    assert "importance.png" in output
    found = json.loads(Path("report/report.json").read_text())["importance"]
    assert found["rows"] == 30
    assert sorted(column["name"] for column in found["columns"]) == ["a", "b", "when"]
    assert Path("report/importance.png").read_bytes()[:4] == b"\x89PNG"


def test_a_report_without_rows_to_judge_by_says_so() -> None:
    pytest.importorskip("matplotlib")
    words = ("train", str(write("rows.csv", rows())), *TRAIN, "--report", "report", "--validation", "0")
    output = run(*words).stdout
    assert "importance.png" not in output
    assert "note: the report does not show how important each column is, because no examples were held out" in output
    facts = json.loads(run(*words, "--json").stdout)
    assert any("no examples were held out; use --validation, --test or --folds" in note for note in facts["notes"])


@pytest.mark.parametrize("target", ["label", "value"])
def test_a_report_of_folds_shows_the_rows_that_they_held_out(target: str) -> None:
    pytest.importorskip("matplotlib")
    table = rows()
    data, other = write("rows.csv", table), {"label": "value", "value": "label"}[target]
    words = ("train", str(data), "--target", target, "--drop", f"name,{other}", "--epochs", "6", "--backend", "numpy")
    output = run(*words, "--folds", "3", "--report", "report").stdout
    assert "importance.png" in output
    assert "note: the report" not in output
    plan, be = replace(PLAN, target=(target,), drop=("name", other)), nn.backend("numpy")
    folded = comparisons.cross_validated(data, plan, 3, be, importance=True)
    found = json.loads(Path("report/report.json").read_text())["importance"]
    assert (found["rows"], found["folds"]) == (300, 3)
    assert folded.importance is not None
    assert found == json.loads(json.dumps(folded.importance.to_json()))
    alone = importance.importance_after(trained(data, replace(plan, fold=(1, 3))))
    assert folded.folds[1].importance == alone
    for column in folded.importance.columns:
        rises = [each.mean for fold in folded.folds for each in fold.importance.columns if each.name == column.name]
        assert (column.mean, column.spread) == (pytest.approx(np.mean(rises)), pytest.approx(np.std(rises, ddof=1)))
    if target == "label":
        assert folded.values is None
        assert folded.confusion.sum() == 300
        assert np.trace(folded.confusion) / 300 == pytest.approx(folded.rows["accuracy"][0])
    else:
        assert folded.confusion is None
        assert sorted(folded.values[1][:, 0]) == pytest.approx(sorted(table["value"].to_pylist()), rel=1e-5, abs=1e-5)


def test_a_column_that_one_fold_has_no_use_for_is_of_no_importance_there() -> None:
    columns = [importance.ColumnImportance(name, 0.3, 0.1) for name in "ab"]
    parts = [importance.Importance("rmse", 10, columns), importance.Importance("rmse", 11, columns[:1])]
    mean = importance.mean_over_folds(parts)
    assert (mean.rows, mean.folds) == (21, 2)
    assert [(each.name, each.mean) for each in mean.columns] == [("a", pytest.approx(0.3)), ("b", pytest.approx(0.15))]


@pytest.mark.parametrize("letters", [3, 90])
@pytest.mark.parametrize("loss", ["cross_entropy", "rmse, in standard deviations of the target"])
def test_nothing_of_the_figure_of_importance_is_cut_off(loss: str, letters: int) -> None:
    pytest.importorskip("matplotlib")
    columns = [importance.ColumnImportance(name * letters, 0.5, 0.1) for name in "ab"]
    figure = reports._importance(importance.Importance(loss, 100, columns))
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0) >= 0
    assert (box.x1 <= width, box.y1 <= height) == (True, True), box
    assert figure.axes[0].get_position().width > 0.4


def test_importance_is_not_of_images() -> None:
    model = nn.Network(nn.Flatten(), nn.Dense(2)).init((8, 8, 3))
    with pytest.raises(ValueError, match="--importance is about the columns of a table"):
        importance.importance_in(model, inputs.Images(8, ("a", "b")), Path("."))


# --- Columns that are kept, and standard input ------------------------------------------------------------------------


def test_kept_columns_come_first_and_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(100)
    data = str(write("rows.csv", table))
    run("train", data, *TRAIN)
    plain = list(csv.reader(io.StringIO(run("predict", "model.safetensors", data).stdout)))
    monkeypatch.setattr(inputs, "ROWS", 30)
    kept = list(csv.reader(io.StringIO(run("predict", "model.safetensors", data, "--keep", "name,when").stdout)))
    assert kept[0] == ["name", "when", "prediction", "p_no", "p_yes"]
    assert [row[0] for row in kept[1:]] == table["name"].to_pylist()
    assert [row[1] for row in kept[1:]] == table["when"].to_pylist()
    assert [row[2:3] for row in kept] == [row[:1] for row in plain]
    typed = table.set_column(3, "when", table["when"].cast(pa.date32()))
    write("typed.parquet", typed)
    run("predict", "model.safetensors", "typed.parquet", "--keep", "when", "--keep", "value", "--out", "out.parquet")
    out = parquet.read_table("out.parquet")
    assert out.select(["when", "value"]).equals(typed.select(["when", "value"]))
    line = json.loads(
        run("predict", "model.safetensors", "typed.parquet", "--keep", "when", "--json").stdout.splitlines()[0]
    )
    assert line["when"] == table["when"][0].as_py()


def test_an_id_that_is_kept_has_no_more_quotes_than_it_needs() -> None:
    table = rows(20)
    named = table.set_column(0, "name", pa.array([f"{k:03d}" for k in range(19)] + ["Smith, J."]))
    data = str(write("rows.csv", named))
    assert '"007"' in Path(data).read_text()
    run("train", data, *TRAIN)
    lines = run("predict", "model.safetensors", data, "--keep", "name").stdout.splitlines()
    assert lines[0] == "name,prediction,p_no,p_yes"
    assert lines[8].startswith(("007,no,", "007,yes,"))
    assert lines[20].startswith('"Smith, J.",')


def test_kept_columns_that_cannot_be_are_refused() -> None:
    table = rows(100)
    data = str(write("rows.csv", table))
    run("train", data, *TRAIN)
    assert (
        "--keep: there is no column 'Name'"
        in run("predict", "model.safetensors", data, "--keep", "Name", code=2).stderr
    )
    write("more.csv", table.append_column("prediction", table["label"]))
    line = run("predict", "model.safetensors", "more.csv", "--keep", "prediction", code=2).stderr
    assert "the predictions have a column 'prediction' of their own" in line


def test_a_target_that_is_kept_stands_beside_its_prediction() -> None:
    table = rows(100)
    data = str(write("rows.csv", table))
    run("train", data, "--target", "value", "--drop", "name,label", "--epochs", "2", "--backend", "numpy")
    plain = list(csv.DictReader(io.StringIO(run("predict", "model.safetensors", data).stdout)))
    kept = list(csv.DictReader(io.StringIO(run("predict", "model.safetensors", data, "--keep", "value").stdout)))
    assert list(kept[0]) == ["value", "predicted value"]
    assert [row["predicted value"] for row in kept] == [row["value"] for row in plain]
    assert [float(row["value"]) for row in kept] == pytest.approx(table["value"].to_pylist())
    write("more.csv", table.append_column("predicted value", table["value"]))
    words = ("predict", "model.safetensors", "more.csv", "--keep")
    assert "predicted value" in run(*words, "predicted value").stdout
    line = run(*words, "value,predicted value", code=2).stderr
    assert "the predictions have a column 'predicted value' of their own" in line


def test_standard_input_is_a_table_and_standard_output_its_predictions() -> None:
    data = write("rows.csv", rows(100))
    text = data.read_bytes()
    run("train", str(data), *TRAIN, "--out", "file.safetensors")
    run("train", "-", *TRAIN, "--out", "pipe.safetensors", stdin=text)
    file, pipe = nn.load("file.safetensors"), nn.load("pipe.safetensors")
    np.testing.assert_array_equal(np.asarray(pipe.theta), np.asarray(file.theta))
    want = run("predict", "file.safetensors", str(data)).stdout
    assert run("predict", "file.safetensors", "-", "--out", "-", stdin=text).stdout == want
    assert run("predict", "file.safetensors", "-", stdin=text).stdout == want
    scores = json.loads(run("evaluate", "file.safetensors", "-", "--json", stdin=text).stdout)
    assert scores["examples"] == 100
    line = run("train", "-", *TRAIN, "--cache", "kept", stdin=text, code=2).stderr
    assert "--cache keeps the rows of a file" in line


def test_copies_of_standard_input_that_killed_commands_left_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    ages = {"left": 3600.0, "held": 3600.0, "new": 0.0}
    for name, age in ages.items():
        copy = tmp_path / "temporary" / f"nnarray-{name}" / "standard-input.csv"
        copy.parent.mkdir(parents=True)
        copy.write_text("a\n1\n")
        os.utime(copy, (time.time() - age,) * 2)
    with (tmp_path / "temporary/nnarray-held/standard-input.csv").open("rb+") as file, files.held(file):
        run("train", "-", *TRAIN[:2], "--epochs", "1", "--backend", "numpy", stdin=b"a,label\n" + b"1,u\n2,v\n" * 20)
    assert sorted(os.listdir(tmp_path / "temporary")) == ["nnarray-held", "nnarray-new"]


def test_errors_of_standard_input_name_it() -> None:
    text = write("rows.csv", rows(100)).read_bytes()
    run("train", "-", *TRAIN, "--out", "pipe.safetensors", stdin=text)
    header = text.partition(b"\n")[0]
    for stdin, said in (
        (b"", "standard input is empty; its first row must"),
        (header + b"\n1\n", "standard input, row 1: 1 entries for"),
        (header + "\né".encode("latin-1") * 2, "standard input"),
        (b"\x1f\x8b" + text, "standard input is compressed by gzip, and not a text table (CSV). Unpack it first"),
    ):
        for words in (("predict", "pipe.safetensors", "-"), ("train", "-", *TRAIN)):
            line = run(*words, stdin=stdin, code=2).stderr
            assert said in line
            assert "nnarray-" not in line
            assert ".csv" not in line


def test_parts_that_a_killed_prediction_left_are_removed() -> None:
    text = write("rows.csv", rows(100)).read_bytes()
    run("train", "-", *TRAIN, "--out", "pipe.safetensors", stdin=text)
    left = Path(".prices.csv.abc.part")
    left.write_bytes(b"1")
    run("predict", "pipe.safetensors", "rows.csv", "--out", "prices.csv")
    assert not left.exists()


def test_an_empty_night_has_no_predictions_and_is_no_error() -> None:
    text = write("rows.csv", rows(100)).read_bytes()
    run("train", "-", *TRAIN, "--out", "pipe.safetensors", stdin=text)
    header = text.partition(b"\n")[0] + b"\n"
    names = run("predict", "pipe.safetensors", "-", stdin=text).stdout.splitlines()[0]
    assert run("predict", "pipe.safetensors", "-", stdin=header).stdout.splitlines() == [names]
    assert run("predict", "pipe.safetensors", "-", "--json", stdin=header).stdout == ""
    for out in ("none.csv", "none.parquet", "none.npz"):
        assert run("predict", "pipe.safetensors", "-", "--out", out, stdin=header).stdout == f"0 predictions: {out}\n"
    assert Path("none.csv").read_text().splitlines() == [names]
    for words in (("evaluate", "pipe.safetensors", "-"), ("train", "-", *TRAIN)):
        assert "standard input has columns but no rows" in run(*words, stdin=header, code=2).stderr
    assert "the table lacks" in run("predict", "pipe.safetensors", "-", stdin=b"other\n", code=2).stderr


@pytest.mark.parametrize("ending", [".xlsx", ".xls", ".ods", ".XLSM"])
def test_spreadsheets_are_refused_with_what_to_do(ending: str) -> None:
    Path(f"rows{ending}").write_bytes(b"PK")
    line = run("train", f"rows{ending}", "--target", "y", code=2).stderr
    assert f"'rows{ending}' is a spreadsheet, which is not supported; save it as CSV" in line
    assert f"pandas.read_excel('rows{ending}').to_csv('rows.csv', index=False)" in line


def test_unknown_categories_that_are_ignored_are_counted() -> None:
    flowers = pa.table({"colour": ["red", "blue"] * 30, "shop": ["a", "b", "c"] * 20, "kind": ["u", "v"] * 30})
    run("train", str(write("f.csv", flowers)), "--target", "kind", "--epochs", "2", "--backend", "numpy")
    new = pa.table({"colour": ["pink", "red", "pink"], "shop": ["d", "a", None], "kind": ["u", "v", "u"]})
    words = ("model.safetensors", str(write("new.csv", new)), "--unknown", "ignore")
    note = (
        "2 of 3 rows have categories that were not in the training, and count as none there: "
        "column 'colour' in 2, 'shop' in 1"
    )
    done = run("predict", *words)
    assert note in done.stderr
    assert note not in done.stdout
    assert note in run("evaluate", *words).stdout
    facts = json.loads(run("evaluate", *words, "--json").stdout)
    assert facts["unknown categories"] == {"rows": 2, "columns": {"colour": 2, "shop": 1}}
    assert facts["missing entries"] == {"rows": 1, "columns": {"shop": 1}}
    assert "1 of 3 rows have missing entries where the training had none: column 'shop' in 1" in done.stderr
    known = ("model.safetensors", "f.csv", "--unknown", "ignore")
    assert "were not in the training" not in run("predict", *known).stderr
