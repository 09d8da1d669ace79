"""The range checks that settings of optimizers, schedules, layers and losses share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import checks, datasets, losses, optimizers, schedules
from nnarray.layers import initializers
from nnarray.names import shown
from nnarray.optimizers import transforms

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


# --- Every setting of every class ---------------------------------------------------------------------------------

NEEDED: dict[str, Any] = {
    "count": 5,
    "decay": 0.5,
    "epochs": 5,
    "every": 2,
    "factor": 0.5,
    "filters": 3,
    "function": "relu",
    "kernel": 2,
    "limit": 0.5,
    "lr": 0.1,
    "milestones": (1,),
    "norm": 0.5,
    "places": 2,
    "rate": 0.5,
    "shape": (2,),
    "size": 3,
    "then": 0.1,
    "units": 3,
}
CALLED = {"lr": "learning rate", "then": "learning rate"}
NUMBERS = {"float", "int", "Pair", "Sides", "Schedule"}


def settings_of_all() -> Iterator[tuple[type, str, str]]:
    """Each class of settings, the name of a field that holds a number or a truth value, and its type."""
    seen = set[type]()
    for module in (nn, schedules, losses, optimizers, transforms, initializers, datasets):
        for kind in (getattr(module, name) for name in dir(module)):
            if not isinstance(kind, type) or not is_dataclass(kind) or kind in seen or kind.__name__.startswith("_"):
                continue
            seen.add(kind)
            needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
            for each in fields(kind) if all(name in NEEDED for name in needed) else ():
                words = set(re.findall(r"\w+", str(each.type)))
                if each.init and words & (NUMBERS | {"bool"}) and not words & {"Sequence", "Mapping"}:
                    yield kind, each.name, str(each.type)


SETTINGS = {f"{kind.__name__}.{name}": (kind, name, words) for kind, name, words in settings_of_all()}


def made(kind: type, name: str, value: Any) -> Any:
    needed = {f.name: NEEDED[f.name] for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    return kind(**{**needed, name: value})


def test_the_table_of_settings_is_long() -> None:
    assert len(SETTINGS) > 100
    assert {"Conv2D.padding", "Adam.epsilon", "Plateau.lowest", "Normal.std", "Augment.rotate"} <= set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_is_no_number_is_refused_with_the_name_of_the_setting(setting: str) -> None:
    kind, name, words = SETTINGS[setting]
    given: list[Any] = ["0.1", [1], np.asarray(0.5), math.nan, math.inf]
    if "bool" in words:
        given += [0, 1, np.int64(1)]
    else:
        given += [True, np.True_]
    if "None" not in words:
        given.append(None)
    for value in given:
        with pytest.raises((TypeError, ValueError)) as raised:
            made(kind, name, value)
        message = str(raised.value)
        assert re.search(rf"{name}|{CALLED.get(name, name)}", message), (value, message)
        assert f"got {shown(value)}" in message, (value, message)


@pytest.mark.parametrize("setting", SETTINGS)
def test_numbers_of_numpy_are_taken_as_those_of_python(setting: str) -> None:
    kind, name, _ = SETTINGS[setting]
    for of_numpy, of_python in ((np.float32(0.5), 0.5), (np.float64(0.5), 0.5), (np.int64(3), 3), (np.True_, True)):
        try:
            want = made(kind, name, of_python)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error)):
                made(kind, name, of_numpy)
        else:
            got = made(kind, name, of_numpy)
            assert (repr(got), type(getattr(got, name))) == (repr(want), type(getattr(want, name)))


def test_lists_of_numbers_are_checked_too() -> None:
    for wrong in (["1", 2], [1, None], [1, True, "x"], np.asarray(1.0), "12"):
        with pytest.raises((TypeError, ValueError), match="class_weights"):
            losses.CrossEntropy(class_weights=wrong)  # type: ignore[arg-type]
    for wrong in (["1"], [1.5], np.asarray(1), 3):
        with pytest.raises(TypeError, match="milestones"):
            schedules.MultiStep(0.1, wrong)  # type: ignore[arg-type]
    for wrong in ((1, 2, 3), (1, "2"), (1, (1, 2, 3)), (1, -1), ["same", "same"]):
        with pytest.raises((TypeError, ValueError), match="padding"):
            nn.Conv2D(3, 2, padding=wrong)  # type: ignore[arg-type]
    for wrong in ([("slope", 0.2)], {"slope": "0.2"}, {"slope": math.nan}, None):
        with pytest.raises(TypeError if wrong is None else (TypeError, ValueError), match="option"):
            nn.Activation("leaky_relu", options=wrong)  # type: ignore[arg-type]
    assert nn.Conv2D(3, 2, padding=[np.int64(1), (0, 1)]).padding == (1, (0, 1))  # type: ignore[arg-type]
    assert nn.Reshape((np.int64(2), -1)) == nn.Reshape((2, -1))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["shuffle", "progress", "check_finite"])
@pytest.mark.parametrize("value", ["False", 1, [True], math.nan])
def test_switches_of_fit_are_truth_values(name: str, value: Any) -> None:
    X, y = nn.datasets.moons(10, seed=0)
    model = nn.Network(nn.Dense(2)).init((2,), seed=0)
    with pytest.raises(TypeError, match=f"{name} must be True or False; got"):
        model.fit(X, y, epochs=1, **{name: value})
