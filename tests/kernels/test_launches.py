"""What a training step asks of the device is exact: kernels launched, products, waits and copies to the host."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import nnarray as nn
from tests import cupy_on_cpu
from tests.cupy_on_cpu.counts import counted
from tests.kernels.launches import CASES, GOOGLENET, of_googlenet, table

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
def test_a_deep_network_forward_asks_for_exactly_this() -> None:
    assert of_googlenet() == GOOGLENET


@counting
@pytest.mark.parametrize("name", CASES)
def test_an_epoch_waits_for_its_loss_and_no_more(name: str) -> None:
    an_epoch = CASES[name].of_an_epoch()
    assert (an_epoch.waits, an_epoch.copies) == (2, 2)


@counting
def test_signs_and_clipping_are_the_standard_s_and_wait_for_nothing() -> None:
    be, host = nn.backend("cupy"), nn.backend("numpy")
    real, whole = (
        np.asarray([-2.0, -0.0, 0.5, np.nan, np.inf], dtype="float16"),
        np.asarray([-100, 0, 100], dtype="int8"),
    )
    functions = {
        "sign": lambda xp, x: xp.sign(x),
        "clip": lambda xp, x: xp.clip(x, -1, 1),
        "clip below": lambda xp, x: xp.clip(x, min=-1000),
        "clip above": lambda xp, x: xp.clip(x, max=xp.asarray(1, dtype=x.dtype)),
        "clip nowhere": lambda xp, x: xp.clip(x),
    }
    for name, function in functions.items():
        for values in (real, whole):
            x = be.asarray(values)
            want = function(host.xp, values)
            got = be.to_numpy(function(be.xp, x))
            assert got.dtype == want.dtype, name
            np.testing.assert_array_equal(got, want, err_msg=name)
            assert not counted(lambda x=x, function=function: function(be.xp, x))["waits"]


def test_the_page_shows_the_list() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
