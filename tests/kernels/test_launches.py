"""What a training step asks of the device is exact: kernels launched, products, waits and copies to the host."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests import cupy_on_cpu
from tests.kernels.launches import CASES, table

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "gpu.md"
counting = pytest.mark.skipif(
    not cupy_on_cpu.is_built() or importlib.util.find_spec("cupy") is None, reason="CuPy on the CPU is not in use"
)


@counting
@pytest.mark.parametrize("name", CASES)
def test_a_step_asks_for_exactly_this(name: str) -> None:
    """Whoever lowers a number lowers it in the list; nobody raises one unseen."""
    assert CASES[name].of_a_step() == CASES[name].counts


@counting
@pytest.mark.parametrize("name", CASES)
def test_an_epoch_waits_for_its_loss_and_no_more(name: str) -> None:
    an_epoch = CASES[name].of_an_epoch()
    assert (an_epoch.waits, an_epoch.copies) == (2, 2)


def test_the_page_shows_the_list() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
