"""What the README shows is so."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nnarray as nn
from nnarray import plotting
from nnarray.apps import demos

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


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(float) / 255


def test_its_picture_of_moons_is_that_of_the_demo(tmp_path: Path) -> None:
    drawn = tmp_path / "moons.png"
    plotting.save(demos.draw_training(demos.train(demos.untrained(nn.backend("numpy")))), drawn)
    stored, now = pixels(ROOT / "docs/images/moons.png"), pixels(drawn)
    assert stored.shape == now.shape
    assert np.abs(stored - now).mean() < 0.01  # fonts and lines differ between versions of matplotlib


def test_its_picture_of_pets_is_that_of_the_data_set() -> None:
    X, _ = nn.datasets.pets(40, size=64, backend="numpy")
    sheet = X.reshape(4, 10, 64, 64, 3).transpose(0, 2, 1, 3, 4).reshape(256, 640, 3)
    stored = pixels(ROOT / "docs/images/pets.png")
    assert stored.shape == sheet.shape
    assert np.abs(stored - sheet).mean() < 0.03  # it has 256 colours


def test_its_picture_is_light() -> None:
    assert (ROOT / "docs/images/moons.png").stat().st_size < 200_000
