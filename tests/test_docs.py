"""Every block of Python in the documentation runs, and prints what the page says it prints."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib.util
import io
import re
import sys
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

import nnarray
from nnarray.layers.activations import FUNCTIONS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FILES = [ROOT / "CONTRIBUTING.md", *(p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts)]

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
OPTIONAL = ("torch", "jax", "pandas", "polars", "scipy", "array_api_strict", "sklearn", "matplotlib")
OPTIONAL += ("onnx", "onnxruntime")
FENCE = re.compile(r"^```(python|text|\{plot\}(?:\n:[^\n]*)*\n)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+(?= )", re.MULTILINE)
RUNS = re.compile(r"^```(python|\{plot\})$", re.MULTILINE)
TRANSLATIONS = sorted(DOCS.rglob("*.??.md"))  # their code is that of the English page, which runs
NO_PAGES = {*TRANSLATIONS, *(DOCS / "notebooks" / "ja").iterdir()}  # texts of notebooks: their code is not here
PAGES = [path for path in FILES if path not in NO_PAGES and RUNS.search(path.read_text(encoding="utf-8"))]


class Block(NamedTuple):
    """A block of Python: what it holds, where, and what the page says it prints (a `text` block right below it)."""

    code: str
    line: int
    prints: str


def blocks(page: str) -> list[Block]:
    fences = list(FENCE.finditer(page))
    found = []
    for fence, following in zip_longest(fences, fences[1:]):
        if fence[1] != "text":
            below = following if following and not page[fence.end() : following.start()].strip() else None
            prints = below[2] if below and below[1] == "text" else ""
            found.append(Block(fence[2], page.count("\n", 0, fence.start(2)) + 1, prints))
    return found


def run(block: Block, names: dict, page: str) -> None:
    if ">>> " in block.code:
        test = doctest.DocTestParser().get_doctest(block.code, names, page, page, block.line - 1)
        test.globs = names  # the parser has made a copy
        said = io.StringIO()
        runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
        assert runner.run(test, out=said.write, clear_globs=False).failed == 0, said.getvalue()
        return
    said = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.code, page, "exec")  # so that errors name the page's line
    with contextlib.redirect_stdout(said):
        exec(code, names)
    wanted, got = block.prints, said.getvalue()
    assert doctest.OutputChecker().check_output(wanted, got, FLAGS), (
        f"{page}, line {block.line}: says\n{wanted}\nprints\n{got}"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_on_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(page.read_text(encoding="utf-8"))
    every = "".join(block.code for block in found).replace('"strict', "array_api_strict")
    for library in OPTIONAL:
        if library in every and importlib.util.find_spec(library) is None:
            pytest.skip(f"the page needs {library}")
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    for block in found:
        run(block, names, str(page.relative_to(ROOT)))
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


HEADING = re.compile(r"^#+(?= )", re.MULTILINE)
TRANSLATIONS = sorted(DOCS.glob("*.??.md"))


@pytest.mark.parametrize("page", TRANSLATIONS, ids=lambda p: p.name)
def test_a_translation_has_the_code_and_the_sections_of_its_page(page: Path) -> None:
    english, translated = (p.read_text(encoding="utf-8") for p in (page.with_suffix("").with_suffix(".md"), page))
    assert FENCE.findall(translated) == FENCE.findall(english)
    sections = HEADING.findall(english)
    assert HEADING.findall(translated)[: len(sections)] == sections  # a list of what to read next may follow


def test_there_is_a_translation() -> None:
    assert TRANSLATIONS


def test_a_page_that_says_something_wrong_is_found() -> None:
    page = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n\n```python\n>>> 1 + 1\n3\n```\n"
    for block in blocks(page):
        with pytest.raises(AssertionError, match="3"):
            run(block, {}, "page")


def levels() -> list[list[str]]:
    """The order of the rooms, read off the test that guards it."""
    source = (ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LEVELS":
            return ast.literal_eval(node.value)
    raise AssertionError("tests/test_architecture.py has no LEVELS")


def test_the_drawing_of_the_house_has_every_room_in_its_order() -> None:
    drawing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    rows = [re.split(r"\s{2,}", line)[1] for line in drawing.splitlines()]
    assert [[name.rstrip("/") for name in row.split(", ")] for row in rows] == levels()


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(p.read_text(encoding="utf-8") for p in (DOCS / "reference").glob("*.md"))
    modules = {"datasets", "initializers", "losses", "metrics", "models", "plotting", "random", "schedules"}
    modules |= {"distributed", "testing", "text", "trackers"}
    for name in set(nnarray.__all__) - modules:
        assert re.search(rf"auto\w+:: (nnarray\.)?{name}\b", pages), f"nn.{name} is not in docs/reference"
    for name in FUNCTIONS:
        assert f'| `"{name}"` |' in pages, f"the activation {name!r} is not in docs/reference/layers.md"


def sources() -> set[tuple[str, str]]:
    """First author and year of everything that a docstring cites."""
    cited = re.compile(r"(?:^\.\. \[\d+\] |[.,:] )([A-Z][\w-]+)(?:,? [^.()]*|et al\. )\((\d{4})\)", re.MULTILINE)
    found: set[tuple[str, str]] = set()
    for path in (ROOT / "nnarray").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found |= set(cited.findall(ast.get_docstring(node) or ""))
    return found


def test_every_cited_source_is_in_the_bibliography() -> None:
    page = (DOCS / "bibliography.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^- ([A-Z][\w-]+)[^()]*\((\d{4})\)", page, re.MULTILINE))
    assert len(sources()) > 30
    assert not sources() - listed
