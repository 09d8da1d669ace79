"""What the README shows is so."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(shown) == README.count("```python") == 1
    for code, prints in shown:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code, "README.md", "exec"), {})
        assert said.getvalue() == prints
    assert (tmp_path / "moons.png").stat().st_size > 10_000


def test_its_links_and_pictures_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) >= 6
    assert not [link for link in links if not (ROOT / link).exists()]


def test_its_picture_is_light() -> None:
    assert (ROOT / "docs/images/moons.png").stat().st_size < 200_000
