"""The command line for scripts: exit codes, lines an epoch, logs, and what the tab key offers."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nnarray
from nnarray import files
from nnarray.cli import app, completion
from nnarray.persistence import archive
from nnarray.persistence.archive import Archive
from tests.processes import ENDING, NNARRAY, run

PAGE = Path(__file__).parent.parent.parent / "docs" / "howto" / "commandline.md"
TRAIN = ("train", "a.csv", "--target", "kind", "--backend", "numpy", "--no-early-stopping", "--epochs", "3")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(40))
    Path("a.csv").write_text(f"length,lucky number,kind\n{rows}")


@pytest.fixture(autouse=True)
def _signals_of_a_fresh_shell() -> Iterator[None]:
    """Under nohup, SIGHUP is ignored, here and in the commands."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), prog_name="nnarray")


# --- Exit codes ------------------------------------------------------------------------------------------------------


def arriving(number: int) -> Any:
    """A step of a command in the middle of which a signal comes."""

    def step(*_: Any, **__: Any) -> None:
        signal.raise_signal(number)
        raise AssertionError("the signal has not ended the command")

    return step


def without_reader(*_: Any, **__: Any) -> None:
    raise BrokenPipeError


CODES: dict[int, tuple[tuple[str, ...], Any]] = {
    0: (("info",), None),
    1: (("show", "none.safetensors"), None),
    2: (("train", "a.csv", "--target", "size"), None),
    129: (TRAIN, arriving(getattr(signal, "SIGHUP", 0))),
    130: (TRAIN, arriving(signal.SIGINT)),
    141: (TRAIN, without_reader),
    143: (TRAIN, arriving(signal.SIGTERM)),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("code", CODES)
def test_each_exit_code(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words, read = CODES[code]
    if read is not None:
        monkeypatch.setattr("nnarray.apps.workflow.steps.read", read)
    done = call(*words)
    assert done.exit_code == code, done.output
    assert len(done.stderr.splitlines()) == (0 if code in (0, 141) else 1)


def test_two_trainings_do_not_write_one_file() -> None:
    with Path(".model.safetensors.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = call(*TRAIN)
        assert call(*TRAIN, "--out", "other.safetensors").exit_code == 0
    assert (done.exit_code, done.stdout) == (1, "")
    assert "'model.safetensors' is being written by another training" in done.stderr
    assert call(*TRAIN).exit_code == 0  # what a killed training left does not matter
    assert sorted(os.listdir()) == ["a.csv", "model.safetensors", "other.safetensors"]


def test_the_page_lists_the_exit_codes() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("### Exit codes")[2].partition("\n#")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == list(CODES)


# --- Lines and logs --------------------------------------------------------------------------------------------------


def epochs_in(text: str) -> list[str]:
    return re.findall(r"^(epoch \d+/\d+)  loss \S+ \| \S+  accuracy \S+ \| \S+  lr 0\.001$", text, re.MULTILINE)


def test_a_pipe_gets_a_line_an_epoch_and_json_none(monkeypatch: pytest.MonkeyPatch) -> None:
    done = call(*TRAIN)
    assert epochs_in(done.stdout) == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert done.stderr == ""
    assert json.loads(call(*TRAIN, "--json").stdout)["epochs"] == 3
    more = call(*TRAIN[:-1], "5", "--resume")
    assert epochs_in(more.stdout) == ["epoch 4/5", "epoch 5/5"]
    monkeypatch.setattr("nnarray.cli.train.terminal", lambda: True)
    assert epochs_in(call(*TRAIN).stdout) == []


def test_a_log_has_the_settings_the_epochs_and_the_end() -> None:
    log = logging.getLogger("nnarray")
    before = log.level, log.handlers[:]
    done = call(*TRAIN, "--no-linear", "--log-file", "a.log")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = Path("a.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", line) for line in lines)
    assert f"INFO nnarray {nnarray.__version__} trains on a.csv, target kind, into model.safetensors" in lines[0]
    assert "INFO training starts: Model(Dense(64" in lines[1]
    assert [line.partition(" DEBUG ")[2].partition(":")[0] for line in lines if " DEBUG epoch" in line] == [
        "epoch 1",
        "epoch 2",
        "epoch 3",
    ]
    assert "INFO training ends after epoch 3" in lines[-3]
    assert re.search(r"INFO scores on 8 held-out examples: \{'accuracy': [0-9.]+, ", lines[-2])
    assert lines[-1].endswith("INFO model.safetensors is saved, with the parameters of epoch 3")
    assert call(*TRAIN[:3], "size", *TRAIN[4:], "--log-file", "a.log").exit_code == 2
    more = Path("a.log").read_text().splitlines()
    assert more[:-2] == lines
    assert " ERROR ValueError: target: there is no column 'size'" in more[-1]
    assert (log.level, log.handlers[:]) == before


def test_a_log_says_where_it_resumes_and_which_epochs_are_of_the_linear_model() -> None:
    call(*TRAIN)
    call(*TRAIN[:-1], "5", "--resume", "--log-file", "a.log")
    text = Path("a.log").read_text()
    assert " INFO training resumes after epoch 3 of 5, from model.safetensors\n" in text
    assert re.findall(r" DEBUG (.*epoch \d): ", text) == [
        "epoch 4",
        "epoch 5",
        *(f"linear model: epoch {k}" for k in range(1, 6)),
    ]
    call(*TRAIN, "--folds", "2", "--no-linear", "--log-file", "folds.log")
    folds = re.findall(r" INFO (.*)training ends after epoch 3", Path("folds.log").read_text())
    assert folds == ["fold 1 of 2: ", "fold 2 of 2: ", ""]


def test_verbose_is_on_standard_error_and_warnings_stay_there() -> None:
    said = call(*TRAIN, "--verbose").stderr.splitlines()
    assert said[1].startswith("nnarray: training starts: ")
    assert not [line for line in said if line.startswith("nnarray: epoch 1:")]
    assert "nnarray: epoch 3 is saved in model.unfinished.safetensors" in said

    done = run(*NNARRAY, *TRAIN, "--log-file", "a.log", "--verbose", "--json")
    assert json.loads(done.stdout)["epochs"] == 3
    code = (
        "import logging; from nnarray.cli.logs import logged\nwith logged(__import__('pathlib').Path('b.log'), False):"
    )
    warned = run(NNARRAY[0], "-c", f"{code}\n    logging.getLogger('nnarray').warning('%d are left out', 3)")
    assert warned.stderr == "nnarray: 3 are left out\n"
    assert Path("b.log").read_text().endswith("WARNING 3 are left out\n")


def test_a_log_that_cannot_be_written() -> None:
    done = call(*TRAIN, "--log-file", "none/a.log")
    assert done.exit_code == 1
    assert (
        done.stderr
        == "nnarray: --log-file 'none/a.log' cannot be written to: no such file or directory; choose another.\n"
    )
    assert not Path("model.safetensors").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_log_on_a_full_disk_is_reported_once_and_the_training_goes_on() -> None:
    done = call(*TRAIN, "--log-file", "/dev/full")
    assert (done.exit_code, Path("model.safetensors").exists()) == (0, True)
    assert done.stderr == (
        "nnarray: --log-file '/dev/full' cannot be written to: no space left on device; it lacks lines from here on\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_output_beyond_a_limit_names_what_could_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    monkeypatch.setattr("nnarray.apps.workflow.steps.read", too_large)
    done = call(*TRAIN)
    remedy = "raise the limit of ulimit -f, or pass --out"
    said = f"nnarray: File too large, for standard output or for temporary files; {remedy}\n"
    assert (done.exit_code, done.stderr) == (1, said)


def test_a_warning_says_whose_it_is() -> None:
    call(*TRAIN)
    Path("model.safetensors").rename("late.safetensors")
    saved = archive.read(Path("late.safetensors"))
    facts = {name: value for name, value in saved.facts["metadata"].items() if name != "scores"}
    archive.write(Path("late.safetensors"), Archive(saved.arrays, saved.facts | {"metadata": facts}))
    said = run(*NNARRAY, "predict", "late.safetensors", "a.csv").stderr
    assert said.startswith("nnarray: 'late.safetensors' is the file of a training that has not ended: epoch 3.")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line_with_a_remedy(monkeypatch: pytest.MonkeyPatch, unbuffered: str) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        done = run(*NNARRAY, "info", check=False, stdout=full)
    assert done.returncode == 1
    assert done.stderr == (
        "nnarray: No space left on device, for standard output or for temporary files; free some space, or set TMPDIR\n"
    )

    def no_space(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", no_space)
    done = call(*TRAIN)
    assert done.exit_code == 1
    said = "No space left on device; free some space, or write to another disk"
    assert done.stderr == f"nnarray: cannot write 'model.unfinished.safetensors': {said}\n"


def in_a_shell(words: str) -> Any:
    return run("/bin/sh", "-c", f"exec {' '.join(NNARRAY)} {words}", check=False)


@pytest.mark.skipif(os.name == "nt", reason="Windows has another shell")
def test_a_training_without_standard_output_keeps_its_model() -> None:
    train = " ".join(TRAIN)
    for where, said in ((">&-", ""), (">&- 2>&- <&-", ""), (">/dev/full", "No space left on device")):
        if where == ">/dev/full" and not Path("/dev/full").exists():
            continue
        done = in_a_shell(f"{train} --out m.safetensors {where}")
        assert (done.returncode, said in done.stderr) == (0, True), done
        assert done.stderr.count("\n") <= 1
        assert call("predict", "m.safetensors", "a.csv").exit_code == 0
        Path("m.safetensors").unlink()


@pytest.mark.skipif(os.name == "nt", reason="Windows has another shell")
def test_unbuffered_predictions_on_a_full_disk_are_an_error() -> None:
    """Python's unbuffered streams drop what the disk does not take."""
    call(*TRAIN)
    lines = Path("a.csv").read_text().splitlines(keepends=True)
    Path("many.csv").write_text(lines[0] + "".join(lines[1:] * (2000 // len(lines) + 1)))
    limited = f"ulimit -f 8; PYTHONUNBUFFERED=1 exec {' '.join(NNARRAY)} predict model.safetensors many.csv > out.csv"
    done = run("/bin/sh", "-c", limited, check=False)
    assert (done.returncode, "File too large" in done.stderr) == (1, True), done


@pytest.mark.skipif(os.name == "nt", reason="Windows has another shell")
def test_predictions_are_not_lost_in_silence() -> None:
    call(*TRAIN)
    done = in_a_shell("predict model.safetensors a.csv >&-")
    assert (done.returncode, done.stderr.endswith("predictions would be lost: pass --out FILE.\n")) == (1, True)
    os.mkfifo("pipe.csv")
    done = call("predict", "model.safetensors", "a.csv", "--out", "pipe.csv")
    assert (done.exit_code, "replace --out by > pipe.csv" in done.stderr) == (1, True)
    assert Path("pipe.csv").is_fifo()
    with files.owned(Path("p.csv")):
        done = call("predict", "model.safetensors", "a.csv", "--out", "p.csv")
    assert (done.exit_code, "'p.csv' is being written by another prediction" in done.stderr) == (1, True)
    assert call("predict", "model.safetensors", "a.csv", "--out", "p.csv").exit_code == 0
    assert sorted(os.listdir()) == ["a.csv", "model.safetensors", "p.csv", "pipe.csv"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has links for administrators alone")
def test_a_training_into_a_link_names_the_file_that_it_replaces() -> None:
    Path("v1").mkdir()
    Path("current.safetensors").symlink_to("v1/m.safetensors")
    said = call(*TRAIN, "--out", "current.safetensors").stdout
    assert f"model: current.safetensors, a link to {Path('v1/m.safetensors').resolve()}\n" in said
    facts = json.loads(call(*TRAIN, "--out", "current.safetensors", "--json").stdout)
    assert facts["link to"] == str(Path("v1/m.safetensors").resolve())
    assert Path("current.safetensors").is_symlink()


# --- The tab key -----------------------------------------------------------------------------------------------------


def completed(line: str) -> list[str]:
    """What bash offers after this line."""
    words = line.split(" ")
    environment = os.environ | {
        "_NNARRAY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "from nnarray.cli import app; app(prog_name='nnarray')"
    return run(NNARRAY[0], "-c", code, env=environment).stdout.split("\n")[:-1]


def test_the_shell_is_offered_backends_and_columns() -> None:
    assert completed("nnarray train a.csv --target l") == ["length", "lucky number"]
    assert completed("nnarray predict m.safetensors a.csv --backend t") == ["torch"]


@pytest.mark.parametrize(
    ("words", "incomplete", "wanted"),
    [
        ("a.csv", "", ["length", "lucky number", "kind"]),
        ("a.csv", "length,", ["length,lucky number", "length,kind"]),
        ("a.csv", "length,k", ["length,kind"]),
        ("a.csv", "x", []),
        ("none.csv", "", []),
        ("", "", []),
        (".", "", []),
    ],
)
def test_columns_of_the_table_on_the_line(words: str, incomplete: str, wanted: list[str]) -> None:
    class Context:
        params = {"data": Path(words)} if words else {}
        args: tuple[str, ...] = ()

    assert completion.column_names(Context(), incomplete) == wanted  # type: ignore[arg-type]


def test_backends_are_offered_without_trying_them() -> None:
    assert completion.backend_names("") == ["auto", "numpy", "cupy", "torch", "jax", "strict"]
    assert completion.backend_names("t") == ["torch"]
