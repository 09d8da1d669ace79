"""What the notebooks say to an answer: right, not right yet with a hint, or not yet."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import nnarray as nn
from nnarray.notebooks import check, japanese
from nnarray.notebooks.exercises import EXERCISES

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"


def said(capsys: pytest.CaptureFixture[str], name: str, answer: Any) -> str:
    check(name, answer)
    return capsys.readouterr().out


def huber(e: float) -> float:
    return e**2 / 2 if abs(e) <= 0.5 else 0.5 * (abs(e) - 0.25)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_is_right_and_a_missing_one_is_not_yet_there(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, name, EXERCISES[name].wanted) == f"Exercise {name}: right!\n"
    assert said(capsys, name, ...).startswith(f"Exercise {name}: not yet. Write your answer in place of the three dots")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("2.1", 27),
        ("2.1", "27"),
        ("2.1", 27.0),
        ("2.3", [200, 3]),
        ("2.3", np.asarray([200, 3])),
        ("3.1", -0.53),
        ("1.3", huber),
    ],
)
def test_the_same_in_other_words_is_right(name: str, answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "right!" in said(capsys, name, answer)


def test_arrays_of_every_library_are_right(be: nn.Backend, capsys: pytest.CaptureFixture[str]) -> None:
    assert "right!" in said(capsys, "2.1", be.asarray([27.0])[0])
    assert "right!" in said(capsys, "2.4", lambda z: be.asarray([math.exp(a) / sum(map(math.exp, z)) for a in z]))


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("2.1", 25, "not right yet; you have 25. Hint: count"),
        ("2.1", float("nan"), "not right yet; you have nan."),
        ("2.1", "many", "one number is asked for, you have 'many'."),
        ("2.1", None, "not yet. Write your answer"),
        ("2.1", [27, 27], r"one number is asked for, you have \[27, 27\]"),
        ("2.3", 200, "2 numbers are asked for, you have 200"),
        ("2.3", (3, 200), r"not right yet; you have \(3, 200\)"),
        ("1.3", 0.5, "a function is asked for, one that begins with def; you have 0.5"),
        ("1.3", lambda e: e**2 / 2, r"not right yet; you have 2.0 for 2.0. Hint: inside"),
        ("1.3", lambda e: None, "not yet. Your function gives nothing back"),
        ("1.3", lambda e: 1 / e, "for 0.0 your function stops with ZeroDivisionError: float division by zero"),
        ("1.3", lambda: 0.0, "your function stops with TypeError"),
    ],
)
def test_what_is_not_right_yet_gets_friendly_words(
    name: str, answer: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, name, answer)
    assert "right!" not in text
    assert re.search(words, text), text


def test_an_unknown_exercise_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"there is no exercise '9\.9'; there are 1\.1, 1\.2"):
        check("9.9", 1)


def test_each_exercise_is_asked_once_and_checked_in_its_notebook() -> None:
    asked: list[str] = []
    for path in sorted(FOLDER.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        here = [line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()]
        names = [line.split('"')[1] for line in here if line.startswith("check(")]
        texts = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert all(f"**Exercise {name}.**" in texts for name in names), path.name
        assert all(name[0] == path.name[0] for name in names)
        asked += names
    assert asked == list(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
def test_in_japanese_each_exercise_has_its_hint(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said_of(answer: Any) -> str:
        japanese.check(name, answer)
        return capsys.readouterr().out

    wrong: Any = (lambda *arguments: 77.0) if callable(EXERCISES[name].wanted) else 77.0
    assert said_of(EXERCISES[name].wanted) == f"問題 {name}: 正解です！\n"
    assert said_of(...).startswith(f"問題 {name}: まだです。")
    assert said_of(wrong).endswith(f"ヒント: {japanese.HINTS[name]}\n")
    assert "Exercise" not in said_of(wrong) + said_of("a")
    numbers = re.findall(r"\d[\d.]*", EXERCISES[name].hint)
    assert {each.rstrip(".") for each in numbers} <= {
        each.rstrip(".") for each in re.findall(r"\d[\d.]*", japanese.HINTS[name])
    }
