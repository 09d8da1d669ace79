"""The notebooks of this version as files, in each language; and a copy of them for a reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

LANGUAGES = ("en", "ja")
CELL = "<!-- cell -->"
"""Stands above each cell in the file of a translation."""


class Copied(NamedTuple):
    """What was written, and what was there before and is left as it is."""

    written: list[Path]
    kept: list[Path]


def source_folder() -> Path:
    """Where the notebooks are: inside of the installed package, or in `docs/notebooks` of a clone.

    Raises
    ------
    FileNotFoundError
        If they are in neither.
    """
    places = (Path(__file__).parent / "files", Path(__file__).parents[2] / "docs" / "notebooks")
    for place in places:
        if any(place.glob("*.ipynb")):
            return place
    raise FileNotFoundError(
        f"this installation of nnarray is without its notebooks: there are none in {places[0]}. Install it once more: "
        f"pip install --force-reinstall nnarray."
    )


def translated(notebook: dict[str, Any], text: str) -> dict[str, Any]:
    """The notebook with other texts: those of a translation, in order; the code is the same, but for `check`.

    Parameters
    ----------
    notebook : dict
        As its JSON says.
    text : str
        All Markdown cells of the other language, each below a line `<!-- cell -->`.

    Raises
    ------
    ValueError
        If there are not as many texts as Markdown cells.
    """
    texts = [each.strip() for each in text.split(CELL)[1:]]
    places = [i for i, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "markdown"]
    if len(texts) != len(places):
        raise ValueError(f"the translation has {len(texts)} texts, and the notebook {len(places)} cells of text.")
    cells = [_with_translated_check(cell) for cell in notebook["cells"]]
    for place, translation in zip(places, texts, strict=True):
        cells[place] = cells[place] | {"source": translation.splitlines(keepends=True)}
    return notebook | {"cells": cells}


def _with_translated_check(cell: dict[str, Any]) -> dict[str, Any]:
    """The cell; one that imports `check` takes the one that answers in Japanese, the one other language."""
    if cell["cell_type"] != "code":
        return cell
    imports = "from nnarray.notebooks import check\n", "from nnarray.notebooks.japanese import check\n"
    return cell | {"source": [line.replace(*imports) for line in cell["source"]]}


def notebook_texts(language: str = "en") -> dict[str, str]:
    """The contents of each notebook, by the name of its file.

    Raises
    ------
    ValueError
        If the language is not one of those that there are.
    """
    if language not in LANGUAGES:
        raise ValueError(f"there are no notebooks in the language {language!r}; there are {', '.join(LANGUAGES)}.")
    folder = source_folder()
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.ipynb"))}
    if language == "en":
        return texts
    return {
        name: json.dumps(
            translated(json.loads(text), (folder / language / name).with_suffix(".md").read_text(encoding="utf-8")),
            ensure_ascii=False,
            indent=1,
        )
        + "\n"
        for name, text in texts.items()
    }


def copy_notebooks(folder: Path, language: str = "en") -> Copied:
    """Write the notebooks into a folder, which is made if it is not there; a file that is there is never changed.

    Raises
    ------
    ValueError
        If the language is not one of those that there are.
    NotADirectoryError
        If the folder is a file.
    """
    texts = notebook_texts(language)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder for the notebooks, such as notebooks.")
    folder.mkdir(parents=True, exist_ok=True)
    copied = Copied([], [])
    for name, text in texts.items():
        path = folder / name
        try:
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            copied.kept.append(path)
        else:
            copied.written.append(path)
    return copied
