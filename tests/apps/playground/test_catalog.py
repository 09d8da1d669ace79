"""Whatever the page offers can be trained, and its script gives the same losses."""

from __future__ import annotations

from typing import Any

import pytest

from nnarray.apps.playground import catalog
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings
from tests.apps.playground.test_script import losses_here

SMALL = {"data": {"n": 24}, "network": {"layers": [{"units": 3}, {"units": 2}]}, "training": {"batch_size": 9}}


def choices() -> list[dict[str, Any]]:
    layers = [{"units": 3}, {"units": 3}]
    made: list[dict[str, Any]] = [{"training": {"optimizer": name}} for name in catalog.STEPPERS]
    made += [{"training": {"optimizer": name, "l1": 0.01, "l2": 0.01}} for name in catalog.STEPPERS]
    made += [{"training": {"schedule": name}} for name in catalog.SCHEDULES]
    made += [{"network": {"layers": [each | {"activation": name} for each in layers]}} for name in catalog.ACTIVATIONS]
    made += [{"network": {"init": name}} for name in catalog.INITS]
    made += [{"data": {"kind": "sine"}, "training": {"loss": name}} for name in catalog.BY_TASK[catalog.VALUES]]
    made += [{"training": {"loss": name}} for name in catalog.BY_TASK[catalog.CLASSES]]
    made += [{"data": {"kind": name}} for name, kind in catalog.DATA.items() if kind.task and name != "drawn"]
    return made


@pytest.mark.parametrize("change", choices(), ids=str)
def test_every_choice_trains_and_its_script_agrees(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(Settings().changed(SMALL).changed(change), backend="numpy")
    for _ in range(3):  # one at a time: a step of many ends early where the first one has to be compiled
        frame = session.handle({"type": "step"})[-1]
    assert (frame["type"], frame["epoch"]) == ("frame", 3)
    assert session.handle({"type": "explain"})[0]["type"] == "explanation"
    assert losses_here(session, monkeypatch) == [*session.lab.losses]
