"""The range checks that settings of optimizers, schedules, layers and losses share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import checks, losses
from nnarray.layers import initializers

ENDS = {"[)": (0.0, 0.5), "(]": (0.5, 1.0), "()": (0.5,), "[]": (0.0, 0.5, 1.0)}


@pytest.mark.parametrize("ends", ENDS)
def test_the_ends_of_a_range_belong_to_it_or_not(ends: str) -> None:
    for value in (-0.1, 0.0, 0.5, 1.0, 1.1, math.nan, math.inf):
        if value in ENDS[ends]:
            checks.in_range(value, "share", 0, 1, ends=ends)
        else:
            with pytest.raises(ValueError, match=r"share must satisfy 0 <=? share <=? 1; got"):
                checks.in_range(value, "share", 0, 1, ends=ends)


@pytest.mark.parametrize("value", [0.0, -1, math.nan, math.inf, "1", None, [1], 1j, 10**400])
def test_what_is_no_finite_number_above_0_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="width must be a finite number above 0; got"):
        checks.above_zero(value, "width")


def test_zero_may_pass() -> None:
    checks.above_zero(0, "width", or_zero=True)
    with pytest.raises(ValueError, match=r"width must be a finite number of at least 0; got -1\."):
        checks.above_zero(-1, "width", or_zero=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.BatchNorm(momentum="a"), "BatchNorm momentum must satisfy 0 < momentum <= 1; got 'a'"),  # type: ignore[arg-type]
        (lambda: nn.LayerNorm(epsilon=None), "LayerNorm epsilon must be a finite number above 0; got None"),  # type: ignore[arg-type]
        (lambda: nn.Dropout("a"), "Dropout rate must satisfy 0 <= rate < 1; got 'a'. Use rate=0 to switch it off."),  # type: ignore[arg-type]
        (lambda: losses.Huber(delta="a"), "Huber delta must be a finite number above 0; got 'a'"),  # type: ignore[arg-type]
        (lambda: losses.CrossEntropy(label_smoothing=[0.1]), r"must satisfy 0 <= s < 1; got \[0.1\]"),  # type: ignore[arg-type]
        (lambda: initializers.VarianceScaling(gain="a"), "gain must be a finite number of at least 0; got 'a'"),  # type: ignore[arg-type]
        (lambda: nn.Adam(beta1=10**400), "beta1 must satisfy 0 <= beta1 < 1; got 1000"),
    ],
)
def test_what_is_no_number_is_refused_in_the_same_words(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_of_numpy_become_those_of_python() -> None:
    @dataclass(frozen=True)
    class Settings:
        share: float
        count: int
        name: str

    settings = Settings(np.float32(0.5), 3, "it")  # type: ignore[arg-type]
    checks.numbers_of_python(settings)
    assert type(settings.share) is float
    assert (settings.count, settings.name) == (3, "it")
    assert type(nn.Dropout(np.float32(0.5)).rate) is float  # type: ignore[arg-type]
    assert nn.Dropout(Fraction(1, 2)) == nn.Dropout(0.5)  # type: ignore[arg-type]


def test_a_number_that_does_not_fit_and_what_is_none_differ() -> None:
    assert checks.number(np.float32(2), "two", lambda x: x == 2) == 2.0
    for value, kind in ((3, ValueError), (10**400, ValueError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(kind, match="two"):
            checks.number(value, "two", lambda x: x == 2)
