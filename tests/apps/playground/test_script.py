"""A session as Python: another process that runs the script gets the same losses, bit for bit."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import pytest

import nnarray as nn
from nnarray.apps.playground.catalog import STEPPERS
from nnarray.apps.playground.record import LONGEST, Trained
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings
from tests.processes import run_python

ROW = re.compile(r"^(\d+) (\S+)$", re.MULTILINE)


def script_of(session: Session) -> str:
    (taken,) = session.handle({"type": "take", "what": "python"})
    return str(taken["text"])


def losses_here(session: Session, patch: pytest.MonkeyPatch) -> list[float]:
    """The losses that the script prints if it is run in this process."""
    module, printed = ModuleType("playground_script"), list[tuple[Any, ...]]()
    patch.setitem(sys.modules, module.__name__, module)  # dataclasses look there
    names = vars(module) | {"print": lambda *words: printed.append(words)}
    exec(compile(script_of(session), "playground.py", "exec"), names)
    return [float(words[1]) for words in printed if len(words) == 2]


def assert_same(session: Session) -> None:
    """The script prints the losses of the session."""
    printed = ROW.findall(run_python(script_of(session)).stdout)
    assert [float(loss) for _, loss in printed] == [*session.lab.losses]
    assert [int(epoch) for epoch, _ in printed] == [*range(1, session.lab.epoch + 1)]


def run(session: Session, *messages: dict[str, Any]) -> Session:
    for message in messages:
        events = session.handle(message)
        assert events[0]["type"] != "refused", events[0]
    return session


def change(**settings: Any) -> dict[str, Any]:
    return {"type": "set", "settings": settings}


STEP = {"type": "step", "epochs": 7}


def test_a_training_without_changes_is_one_call() -> None:
    session = run(Session(backend="numpy"), STEP)
    assert script_of(session).count("model.fit(") == 1
    assert_same(session)


def test_a_training_that_was_changed_in_every_way() -> None:
    session = run(
        Session(backend="numpy"),
        STEP,
        change(training={"options": {"lr": 0.03}}),
        STEP,
        change(training={"options": {"lr": 0.02}}),
        {"type": "batch", "count": 2},
        {"type": "batch"},
        change(network={"layers": [{"units": 10, "activation": "relu"}, {"units": 3, "dropout": 0.2}]}),
        STEP,
        {"type": "weight", "name": "hidden1.weight", "index": [1, 3], "value": 0.123456789},
        {"type": "weight", "name": "output.bias", "index": [0], "value": -0.5},
        STEP,
        change(network={"layers": [{"units": 5, "batch_norm": True}], "init": "he"}),
        STEP,
        change(training={"optimizer": "sgd", "options": {"momentum": 0.9, "clip_norm": 1.0}, "l1": 0.001, "l2": 0.01}),
        STEP,
        change(training={"schedule": "cosine", "schedule_options": {"epochs": 10}, "l1": 0}),
        STEP,
        change(training={"loss": "binary_cross_entropy", "batch_size": None}),
        STEP,
        change(data={"kind": "blobs", "options": {"classes": 4}}, training={"loss": "auto"}),
        STEP,
        change(data={"kind": "formula", "formula": "sin(6*x) + 0.5*x^2"}, network={"precision": "float64"}),
        STEP,
        change(data={"formula": "x*y - tanh(y)"}, training={"schedule": "constant"}),
        STEP,
        change(data={"formula": "x^2 + y^2 < 0.5"}),
        STEP,
        {"type": "draw", "points": [[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0], [0.5, 0.25, 2]]},
        STEP,
    )
    assert session.lab.epoch == 7 * 13 + 1
    assert_same(session)


def test_a_table_and_a_training_that_diverged() -> None:
    rows = "".join(f"{i / 7},{i % 5},{i * 0.3}\n" for i in range(40))
    session = Session(backend="numpy")
    session.file("table.csv", f"a,b,c\n{rows}".encode())
    run(session, STEP, change(training={"optimizer": "sgd", "options": {"lr": 1e5}}))
    assert session.handle({"type": "step", "epochs": 1000})[0]["reason"] == "diverged"
    assert_same(session)


@pytest.mark.once_a_library
def test_on_every_backend(be: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"type": "step", "epochs": 2}
    session = run(
        Session(backend=be), few, change(network={"layers": [{"units": 4}]}), few, change(training={"l2": 0.1}), few
    )
    assert session.lab.record.entries[-1].earlier
    assert losses_here(session, monkeypatch) == [*session.lab.losses]


@pytest.mark.parametrize("name", STEPPERS)
def test_the_optimizer_keeps_its_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = change(training={"optimizer": name, "batch_size": None, "options": OPTIONS.get(name, {})})
    as_one = change(training={"batch_size": 150})  # all examples too, so that the training stays the same
    uninterrupted = run(Session(backend="numpy"), whole, STEP, STEP)
    changed = run(Session(backend="numpy"), whole, STEP, as_one, STEP)
    assert len(changed.lab.record.entries) == 4  # the second training is another one
    assert [*changed.lab.losses] == pytest.approx([*uninterrupted.lab.losses], rel=1e-4)
    assert losses_here(changed, monkeypatch) == [*changed.lab.losses]


OPTIONS = {"sgd": {"momentum": 0.9}}


@pytest.mark.parametrize(
    ("between", "keeps"),
    [
        (change(training={"l1": 0.001, "l2": 0.01}), True),
        (change(training={"options": {"beta1": 0.8, "clip_norm": 0.5}}), True),
        (change(training={"seed": 5}), True),
        (change(training={"schedule": "cosine", "schedule_options": {"epochs": 9}}), True),
        (change(data={"kind": "circles"}), True),
        (change(network={"layers": [{"activation": "relu", "dropout": 0.1}]}), True),
        ({"type": "weight", "name": "output.bias", "index": [0], "value": 0.5}, True),
        (change(network={"layers": [{"units": 9}]}), False),
        (change(network={"layers": [{"batch_norm": True}]}), False),
        (change(network={"precision": "float64"}), False),
        (change(training={"optimizer": "rmsprop"}), False),
        ({"type": "reset"}, False),
    ],
)
def test_when_the_memory_is_kept(between: dict[str, Any], keeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    session = run(Session(backend="numpy"), STEP, between, STEP, change(training={"batch_size": 64}), STEP)
    trained = [each for each in session.lab.record.entries if isinstance(each, Trained)]
    assert [bool(each.earlier) for each in trained] == [False, keeps, True][-len(trained) :]
    assert losses_here(session, monkeypatch) == [*session.lab.losses]


def test_a_training_that_diverged_leaves_no_memory() -> None:
    wild = change(data={"kind": "sine"}, training={"optimizer": "sgd", "options": {"lr": 1e5, "momentum": 0.9}})
    session = run(Session(backend="numpy"), wild)
    assert session.handle({"type": "step", "epochs": 1000})[0]["reason"] == "diverged"
    run(session, change(training={"options": {"lr": 0.01}}), STEP)
    assert not session.lab.record.entries[-1].earlier


def test_a_reset_begins_the_script_again() -> None:
    session = run(Session(backend="numpy"), STEP, change(training={"l2": 0.1}), STEP, {"type": "reset"}, STEP)
    assert script_of(session).count("model.fit(") == 1
    assert len(session.lab.losses) == 7
    assert_same(session)


def test_changes_without_training_leave_no_trace() -> None:
    session = Session(backend="numpy")
    for i in range(30):
        run(session, change(data={"noise": i / 100}, training={"options": {"lr": 0.01 * (i + 1)}}))
    assert len(session.lab.record.entries) < 5
    assert "noise=0.29" in script_of(run(session, STEP))
    assert_same(session)


def test_too_many_changes_are_refused() -> None:
    session = Session(Settings().changed({"data": {"n": 4}}), backend="numpy")
    for i in range(LONGEST):
        session.lab.set_weight("hidden1.bias", (0,), i / 7)
    (refused,) = session.handle({"type": "take", "what": "python"})
    assert "too many for a script; reset it" in refused["reason"]
    session.handle({"type": "reset"})
    assert "model = " in script_of(session)
