"""The page of the playground: it is whole, needs no other site, and has each text in each language."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import PurePosixPath

import pytest

from nnarray.apps.playground.handler import SAFE
from tests.test_words import faults

PAGE = resources.files("nnarray.apps.playground") / "page"
SCRIPTS = {each.name: each.read_text("utf-8") for each in PAGE.iterdir() if each.name.endswith(".js")}
TEXTS = {each.name: each.read_text("utf-8") for each in (PAGE / "texts").iterdir() if each.name.endswith(".js")}
STYLE, INDEX = (PAGE.joinpath(name).read_text("utf-8") for name in ("style.css", "index.html"))
LONGEST = 400


def keys(texts: str) -> list[str]:
    """The names of the texts of a language."""
    return re.findall(r'^  "?([\w.]+)"?:', texts, re.MULTILINE)


def test_the_page_names_only_files_that_are_there() -> None:
    named = re.findall(r'(?:href|src)="page/([\w.]+)"', INDEX)
    assert {"main.js", "style.css", "icon.svg", "theme.js"} <= {*named}
    assert all(PAGE.joinpath(name).is_file() for name in named)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_module_imports_only_what_others_export(name: str) -> None:
    for wanted, path in re.findall(r'^import (.+) from "\./([\w./]+)";$', SCRIPTS[name], re.MULTILINE):
        source = PAGE.joinpath(*PurePosixPath(path).parts).read_text("utf-8")
        for each in re.findall(r"\w+", wanted) if wanted.startswith("{") else ():
            assert re.search(rf"^export (?:const|function|class|async function) {each}\b", source, re.MULTILINE), each


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_module_is_short(name: str) -> None:
    assert SCRIPTS[name].count("\n") <= LONGEST


@pytest.mark.parametrize("text", [*SCRIPTS.values(), STYLE, INDEX], ids=[*SCRIPTS, "style.css", "index.html"])
def test_nothing_comes_from_another_site(text: str) -> None:
    assert {*re.findall(r"(?:https?:)?//[\w-]+\.\w[\w./]*", text)} <= {"http://www.w3.org/2000/svg"}


def test_scripts_and_styles_are_files_so_that_a_strict_policy_may_be_set() -> None:
    assert "<style" not in INDEX
    assert "unsafe" not in SAFE["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=", INDEX)
    unsafe = r"\beval\(|innerHTML|insertAdjacentHTML|document\.write"
    assert not any(re.search(unsafe, each) for each in SCRIPTS.values())


def test_each_language_has_the_same_texts_once() -> None:
    english = keys(TEXTS["en.js"])
    assert len(english) == len({*english}) > 100
    for name, texts in TEXTS.items():
        assert sorted(keys(texts)) == sorted(english), name
        named = re.search(r'^import \w+ from "\./texts/' + re.escape(name), SCRIPTS["texts.js"], re.MULTILINE)
        assert named, f"texts.js does not name {name}"


def test_each_text_that_a_module_names_is_there() -> None:
    english = {*keys(TEXTS["en.js"])}
    named = {key for each in SCRIPTS.values() for key in re.findall(r'\bt\("([\w.]+)"', each)}
    assert len(named) > 50
    assert named <= english


def test_translations_fill_in_the_same_names() -> None:
    english = dict(re.findall(r'^  "?([\w.]+)"?: "(.*)",$', TEXTS["en.js"], re.MULTILINE))
    for texts in TEXTS.values():
        for key, text in re.findall(r'^  "?([\w.]+)"?: "(.*)",$', texts, re.MULTILINE):
            assert {*re.findall(r"\{\w+\}", text)} == {*re.findall(r"\{\w+\}", english[key])}, key


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_each_tour_has_a_text_for_each_step(name: str) -> None:
    tours = re.search(r"^const TOURS = \{(.*?)^\};", SCRIPTS["tours.js"], re.MULTILINE | re.DOTALL)
    assert tours
    written = re.findall(r"(\w+): \[\n(.*?)\n  \]", tours[1], re.DOTALL)
    steps = {tour: listed.count("{ look") for tour, listed in written}
    steps |= {tour: sizes.count(",") + 1 for tour, sizes in re.findall(r"(\w+): \[([\d, ]+)\]\.map", tours[1])}
    assert len(steps) == 6
    texts = dict(re.findall(r'^  "tour\.(\w+)": \{(.*?)^  \},$', TEXTS[name], re.MULTILINE | re.DOTALL))
    assert {tour: len(re.findall(r'^      "', text, re.MULTILINE)) for tour, text in texts.items()} == steps


@pytest.mark.parametrize("text", [*SCRIPTS.values(), TEXTS["en.js"]], ids=[*SCRIPTS, "en.js"])
def test_the_page_is_in_plain_english(text: str) -> None:
    assert not [*faults("page", text)]
