"""`nnarray notebooks`: the files of this version, in each language, and nothing of the reader's overwritten."""

from __future__ import annotations

import json
import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nnarray.cli import app
from nnarray.notebooks import copies
from nnarray.notebooks.copies import LANGUAGES, copy_notebooks, notebook_texts, source_folder, translated

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "notebooks"
NAMES = [path.name for path in sorted(FOLDER.glob("*.ipynb"))]


def call(*words: str):
    return CliRunner().invoke(app, ["notebooks", *words], prog_name="nnarray")


def texts_of(notebook: str, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == kind]


# --- The command -----------------------------------------------------------------------------------------------------


def test_the_command_copies_the_notebooks_and_says_how_to_open_them(tmp_path: Path) -> None:
    folder = tmp_path / "my" / "course"
    done = call(str(folder))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert all((folder / name).read_bytes() == (FOLDER / name).read_bytes() for name in NAMES)
    assert f"jupyter lab {folder}" in done.output
    assert all(str(folder / name) in done.output for name in NAMES)


def test_without_a_folder_they_go_into_notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call().exit_code == 0
    assert sorted(path.name for path in (tmp_path / "notebooks").iterdir()) == NAMES


def test_what_is_there_is_never_changed(tmp_path: Path) -> None:
    mine = tmp_path / NAMES[0]
    mine.write_text("my answers", encoding="utf-8")
    done = call(str(tmp_path))
    assert done.exit_code == 0
    assert mine.read_text(encoding="utf-8") == "my answers"
    assert f"{mine} is there already, and is left as it is" in done.output
    assert "name another folder" in done.output
    assert all((tmp_path / name).exists() for name in NAMES)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    taken = tmp_path / "course"
    taken.write_text("x", encoding="utf-8")
    done = call(str(taken))
    assert done.exit_code == 1
    assert "course is a file; give a folder for the notebooks" in done.stderr
    assert taken.read_text(encoding="utf-8") == "x"


def test_an_unknown_language_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    done = call(str(tmp_path / "course"), "--language", "de")
    assert done.exit_code == 2
    assert "no notebooks in the language 'de'; there are en, ja" in done.stderr
    assert not (tmp_path / "course").exists()


# --- Where the files are ---------------------------------------------------------------------------------------------


def test_an_installation_without_them_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(copies, "__file__", str(tmp_path / "a" / "b" / "copies.py"))
    with pytest.raises(FileNotFoundError, match=r"is without its notebooks.*pip install --force-reinstall nnarray"):
        source_folder()


def test_the_settings_put_them_into_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["docs/notebooks"] == "nnarray/notebooks/files"


def test_a_wheel_holds_them(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel")
    (wheel,) = builder.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {f"nnarray/notebooks/files/{name}" for name in NAMES} <= names
        assert {f"nnarray/notebooks/files/ja/{Path(name).stem}.md" for name in NAMES} <= names
        archive.extractall(tmp_path / "site")
    assert [path.name for path in sorted((tmp_path / "site/nnarray/notebooks/files").glob("*.ipynb"))] == NAMES


# --- Translations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_translation_has_the_same_code_and_as_many_texts(language: str) -> None:
    ours, theirs = notebook_texts(), notebook_texts(language)
    assert list(theirs) == NAMES
    for name in NAMES:
        check = "from nnarray.notebooks import check", "from nnarray.notebooks.japanese import check"
        assert texts_of(theirs[name], "code") == [text.replace(*check) for text in texts_of(ours[name], "code")]
        before, after = texts_of(ours[name], "markdown"), texts_of(theirs[name], "markdown")
        for text, translation in zip(before, after, strict=True):
            assert translation.strip()
            assert translation != text, f"{name}: not translated:\n{text}"
            for sign in ("<details>", "</details>", "```", "$$"):
                assert text.count(sign) == translation.count(sign), f"{name}: {sign} in\n{translation}"


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_no_translation_is_without_its_notebook(language: str) -> None:
    assert sorted(path.stem for path in (FOLDER / language).iterdir()) == [Path(name).stem for name in NAMES]


def test_a_translation_of_another_length_is_refused() -> None:
    notebook = json.loads(notebook_texts()[NAMES[0]])
    with pytest.raises(ValueError, match="the translation has 1 texts, and the notebook"):
        translated(notebook, "<!-- cell -->\none")


def test_copies_in_japanese_are_notebooks(tmp_path: Path) -> None:
    copied = copy_notebooks(tmp_path, "ja")
    assert [path.name for path in copied.written] == NAMES
    for path in copied.written:
        text = path.read_text(encoding="utf-8")
        assert json.loads(text)["nbformat"] == 4
        assert "です" in text
