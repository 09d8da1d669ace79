"""The command line, and what its demos compute."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nnarray as nn
from nnarray import plotting
from nnarray.apps import demos
from nnarray.apps import pets as demo_pets
from nnarray.backends import choosing
from nnarray.cli import app
from tests.processes import LIMIT, NNARRAY, run, run_python, started


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are written where the command is run."""
    monkeypatch.chdir(tmp_path)


def call(*words: str):
    return CliRunner().invoke(app, list(words), prog_name="nnarray")


def fails(code: int, *words: str) -> str:
    """The one line that a wrong call says."""
    done = call(*words)
    assert done.exit_code == code, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("nnarray: ")
    return lines[0]


def size_of(picture: str) -> tuple[int, int]:
    """Width and height of a PNG."""
    data = Path(picture).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


# --- info ----------------------------------------------------------------------------------------------------

FOUND = [
    nn.BackendInfo("numpy", True, "2.4.6", "CPU", 2**34, ("float32", "float64")),
    nn.BackendInfo("jax", False, reason="backend 'jax' cannot be used: " + 20 * "long " + "pip install 'nnarray[jax]'"),
]


def test_info_shows_every_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnarray.backends.list_backends", lambda: FOUND)
    said = call("info").stdout
    assert f"nnarray {nn.__version__}, Python {sys.version.split()[0]}" in said
    row = next(line for line in said.splitlines() if line.startswith("numpy"))
    assert row.split() == ["numpy", "2.4.6", "CPU", "16.0", "GiB", "float32,", "float64"]
    assert f"  jax: {20 * 'long '}pip install 'nnarray[jax]'\n" in said  # in one piece, to be copied


def test_info_for_machines() -> None:
    report = json.loads(call("info", "--json").stdout)
    assert report["nnarray"] == nn.__version__
    flags = {each["name"]: each for each in report["backends"]}
    assert {"numpy", "cupy", "torch", "jax", "strict"} <= {flag.split(":")[0] for flag in flags}
    assert flags["numpy"]["usable"]
    assert "float64" in flags["numpy"]["dtypes"]
    assert all(each["usable"] or each["reason"] for each in flags.values())


def test_version_and_help() -> None:
    assert call("--version").stdout == f"nnarray {nn.__version__}\n"
    assert "Examples:\n    nnarray info" in call().stdout
    for words in (["info"], ["demo"], ["demo", "line"], ["demo", "sine"], ["demo", "pets"]):
        said = call(*words, "--help").stdout
        assert f"Examples:\n    nnarray {' '.join(words)}" in said


# --- demo ----------------------------------------------------------------------------------------------------


def test_the_demo_shows_trains_and_draws() -> None:
    done = call("demo", "--backend", "numpy", "--epochs", "3")
    assert done.exit_code == 0, done.output
    for words in ("numpy", "float64", "2-5-2, tanh, 27 parameters", "3 epochs", "before any training", "logits"):
        assert words in done.stdout
    for row in ("loss", "accuracy", "accuracy on 1000 new points"):
        assert any(line.startswith(row) for line in done.stdout.splitlines())
    assert "steps per second" in done.stdout
    assert done.stdout.endswith("figure: nnarray-demo.png\n")
    assert not done.stderr
    width, height = size_of("nnarray-demo.png")
    assert width > 1500
    assert height > 500


def test_the_usual_demo_solves_the_moons(host: nn.Backend) -> None:
    done = demos.train(demos.untrained(host))
    assert done.scores.accuracy == 1.0
    assert done.scores.new_accuracy > 0.99
    assert done.scores.loss < 0.01 < done.start.scores.loss


@pytest.mark.parametrize("dataset", demos.DATASETS)
def test_each_dataset_is_drawn(dataset: str) -> None:
    done = call("demo", "--backend", "numpy", "--dataset", dataset, "--epochs", "2", "--out", "it.png")
    assert done.exit_code == 0, done.output
    assert size_of("it.png")[0] > 1500


def test_every_backend_shows_the_same(be: nn.Backend, host: nn.Backend) -> None:
    """Before the training; after it, rounding has had its way."""
    here, there = demos.untrained(be), demos.untrained(host)
    np.testing.assert_allclose(be.to_numpy(here.probabilities), host.to_numpy(there.probabilities), rtol=1e-5)
    done = demos.train(demos.untrained(be, epochs=20))
    assert done.scores.loss < 0.7 * here.scores.loss
    demos.draw_training(done).savefig("it.svg")


def test_the_settings_are_taken() -> None:
    words = "demo --backend numpy --hidden 7,3 --activation relu --noise 0.3 --seed 4 --epochs 2 --out a.pdf"
    said = call(*words.split()).stdout
    assert "2-7-3-2, relu" in said
    assert "noise 0.3, seed 4" in said
    assert Path("a.pdf").read_bytes().startswith(b"%PDF")


def test_hidden_sizes_draw_a_panel_each() -> None:
    done = call("demo", "--backend", "numpy", "--hidden-sizes", "1,2,30", "--epochs", "2")
    assert done.exit_code == 0, done.output
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.strip()[:1].isdecimal()]
    assert rows == [["1", "7"], ["2", "12"], ["30", "152"]]
    size_of("nnarray-hidden-sizes.png")


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8])
def test_any_number_of_panels_fits(count: int, host: nn.Backend) -> None:
    done = demos.train(demos.untrained(host, hidden=(2,), epochs=1))
    figure = demos.draw_sizes([done] * count)
    assert sum(bool(axes.images) for axes in figure.axes) == count
    figure.savefig("panels.png", dpi=30)


def test_auto_says_what_it_took_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNARRAY_BACKEND", "strict")
    assert "float64 (auto: NNARRAY_BACKEND=strict)" in call("demo", "--epochs", "1").stdout
    monkeypatch.delenv("NNARRAY_BACKEND")
    monkeypatch.setattr("nnarray.backends.choosing.cuda_driver_version", lambda: None)
    assert "(auto: a GPU does not pay below 100,000 parameters)" in call("demo", "--epochs", "1").stdout


def test_only_all_is_called_all() -> None:
    assert [demos.percent(x) for x in (1.0, 0.9999, 0.985, 0.0)] == ["100 %", "99.9 %", "98.5 %", "0.0 %"]


# --- demo line -----------------------------------------------------------------------------------------------


def test_line_finds_what_least_squares_finds() -> None:
    done = call("demo", "line", "--backend", "numpy", "--slope", "-3", "--intercept", "2")
    assert done.exit_code == 0, done.output
    rows = {
        " ".join(words[:2]): [float(x) for x in words[2:]] for words in map(str.split, done.stdout.splitlines()[-5:])
    }
    np.testing.assert_allclose(rows["gradient descent"], rows["least squares"], rtol=1e-4)
    np.testing.assert_allclose(rows["least squares"][:2], [-3.0, 2.0], atol=0.3)
    size_of("nnarray-line.png")


def test_line_agrees_on_every_backend(be: nn.Backend) -> None:
    fit = demos.fit_line(be, slope=5.0, intercept=-2.0)
    want = np.polyfit(be.to_numpy(fit.X)[:, 0].astype(float), be.to_numpy(fit.y)[:, 0].astype(float), 1)
    np.testing.assert_allclose(fit.least_squares[:2], want, rtol=1e-5)
    np.testing.assert_allclose(fit.descent, fit.least_squares, rtol=1e-4)
    assert fit.least_squares.error <= fit.true.error
    assert list(fit.by_epoch) == list(demos.SHOWN_EPOCHS)
    demos.draw_line(fit).savefig("line.png", dpi=50)


# --- demo sine -----------------------------------------------------------------------------------------------


def test_sine_beats_straight_lines() -> None:
    done = call("demo", "sine", "--backend", "numpy")
    assert done.exit_code == 0, done.output
    assert "1-20-1, tanh, 61 parameters" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("straight", "network  "))]
    errors = [float(row[-2]) for row in rows if row[-1] != "parameters"]
    assert len(errors) == 15  # 2 to 15 samples, and the network
    assert errors[-1] < 0.01 < errors[-2]
    size_of("nnarray-sine.png")


def test_interpolation_is_interpolation(be: nn.Backend) -> None:
    fit = demos.fit_sine(be, epochs=1, samples=4)
    at = be.to_numpy(fit.grid)[:, 0].astype(float)
    assert list(fit.interpolated) == [2, 3, 4]
    for samples, values in fit.interpolated.items():
        x = np.linspace(0, 1, samples)
        np.testing.assert_allclose(be.to_numpy(values)[:, 0], np.interp(at, x, np.sin(2 * np.pi * x)), atol=1e-5)


@pytest.mark.parametrize(("samples", "panels"), [(2, 3), (4, 4), (15, 6)])
def test_a_few_interpolations_are_drawn(samples: int, panels: int, host: nn.Backend) -> None:
    figure = demos.draw_sine(demos.fit_sine(host, epochs=2, samples=samples))
    assert len([axes for axes in figure.axes if axes.get_title()]) == panels
    figure.savefig("sine.png", dpi=30)


# --- demo pets -----------------------------------------------------------------------------------------------


def test_pets_are_reported_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_pets, "NEW_IMAGES", 40)
    done = call("demo", "pets", "--images", "40", "--epochs", "1", "--backend", "numpy")
    assert done.exit_code == 0, done.output
    assert "40 drawn images of 64 x 64" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    counts = [[int(word) for word in row[1:]] for row in rows if row[:1] in (["cat"], ["dog"])]
    assert [sum(row) for row in counts] == [20, 20]
    assert size_of("nnarray-pets.png")[0] > 1500


def test_the_sheet_of_pets_is_drawn_when_none_is_wrong(be: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_pets, "NEW_IMAGES", 30)
    X, y = nn.datasets.pets(30, size=16, backend=be)
    model = nn.models.cnn(2).init((16, 16, 3), backend=be, dtype="float32")
    model.loss = "cross_entropy"
    history = nn.History()
    history.append({"epoch": 1, "loss": 0.5})
    for right in (0.9, 0.1):
        p = np.asarray([[right, 1 - right], [1 - right, right]] * 15)
        fit = demo_pets.PetsFit(model, history, X, y, be.asarray(p, dtype="float32"))
        assert fit.accuracy == (1.0 if right > 0.5 else 0.0)
        figure = demo_pets.draw_pets(fit)
        titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
        assert any(
            "None was wrong" in title if right > 0.5 else "Wrong predictions: 6 of 30" in title for title in titles
        )
        plotting.save(figure, "sheet.png")
        assert size_of("sheet.png")[0] > 1500


# --- What goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("demo --backend nupmy", "unknown backend 'nupmy'; use one of numpy, cupy, torch, jax, strict."),
        ("demo --dataset mons", "Did you mean 'moons'?"),
        ("demo --hidden 5,x", "--hidden must be integers above 0 separated by commas, such as 5,5; got '5,x'."),
        ("demo --hidden 0", "--hidden must be integers above 0"),
        ("demo --hidden 3 --hidden-sizes 3", "not both"),
        ("demo --activation tan", "unknown activation 'tan'"),
        ("demo --epochs 0", "--epochs must be an integer of at least 1; got 0."),
        ("demo --epochs x", "See 'nnarray demo --help'."),
        ("demo --noise -1", "noise must be a finite number of at least 0; got -1.0."),
        ("demo --out picture.txt", "--out must end in .png, .svg or .pdf; got 'picture.txt'."),
        ("demo --backend numpy line", "write --backend after 'line'"),
        ("demo line --points 1", "--points must be an integer of at least 2; got 1."),
        ("demo sine --samples 1", "--samples must be an integer of at least 2; got 1."),
        ("demo pets --images 1", "--images must be an integer of at least 2; got 1."),
        ("demo pets --epochs 0", "--epochs must be an integer of at least 1; got 0."),
        ("demo sines", "See 'nnarray demo --help'."),
        ("--verbose", "See 'nnarray --help'."),
    ],
)
def test_what_is_asked_for_wrongly_exits_2(words: str, says: str) -> None:
    assert says in fails(2, *words.split())


@pytest.mark.parametrize("command", ["demo", "demo line", "demo sine"])
def test_a_place_that_cannot_be_written_to_is_found_before_the_training(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Model, "fit", None)
    said = fails(1, *command.split(), "--out", "nowhere/it.png")
    path = os.path.join("nowhere", "it.png")
    assert f"cannot write the figure {path!r}: No such file or directory. Choose another path with --out." in said


def test_an_earlier_picture_outlives_a_failure() -> None:
    Path("it.png").write_bytes(b"precious")
    fails(2, "demo", "--out", "it.png", "--dataset", "none")
    assert Path("it.png").read_bytes() == b"precious"
    fails(2, "demo", "--out", "new.png", "--dataset", "none")
    assert not Path("new.png").exists()


def test_a_backend_that_is_not_installed_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    choosing._proved.cache_clear()
    assert "pip install 'nnarray[cuda13]'" in fails(1, "demo", "--backend", "cupy")


def test_a_divergence_exits_1() -> None:
    assert "the loss became NaN or infinite" in fails(1, "demo", "line", "--noise", "1e300", "--backend", "numpy")


def test_a_bug_of_ours_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnarray.backends.list_backends", lambda: {}["flag"])
    assert fails(1, "info") == "nnarray: KeyError: 'flag' (nnarray --debug ... shows where)"
    done = call("--debug", "info")
    assert done.exit_code == 1
    assert "Traceback" in done.stderr


def test_without_matplotlib_there_is_a_table_and_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = call("demo", "--backend", "numpy", "--epochs", "1")
    assert done.exit_code == 0
    assert done.stderr == "nnarray: no figure is drawn: figures need matplotlib; pip install 'nnarray[plot]'.\n"
    assert "accuracy" in done.stdout
    assert "figure:" not in done.stdout
    assert "pip install 'nnarray[plot]'" in fails(1, "demo", "--out", "wanted.png")


# --- As a process --------------------------------------------------------------------------------------------


def test_a_pipe_gets_plain_text() -> None:
    done = run(*NNARRAY, "demo", "--backend", "numpy", "--epochs", "2", env=os.environ | {"FORCE_COLOR": "1"})
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.isascii()
    assert not done.stderr
    assert "figure: nnarray-demo.png" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_exits_130_without_a_traceback() -> None:
    words = [*NNARRAY, "demo", "--backend", "numpy", "--epochs", "100000000"]
    with started(*words, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        while "class" not in process.stdout.readline():  # until the table before the training
            pass
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LIMIT)
    assert (process.returncode, said) == (130, "nnarray: interrupted\n")


def test_importing_the_command_line_loads_no_heavy_library() -> None:
    heavy = ["torch", "jax", "cupy", "scipy", "matplotlib", "pandas", "rich", "array_api_strict"]
    code = f"import sys, nnarray.cli; print([m for m in {heavy} if m in sys.modules])"
    done = run_python(code)
    assert done.stdout.strip() == "[]"
