"""A session of the playground without a server: messages in, events and frames out."""

from __future__ import annotations

import base64
import json
import struct
import time
from typing import Any

import pytest

import nnarray as nn
from nnarray.apps.playground.session import HANDLERS, Session
from nnarray.apps.playground.settings import Settings

SMALL = {"data": {"n": 40}, "network": {"layers": [{"units": 4}]}}


def session(change: dict[str, Any] | None = None, backend: Any = "numpy") -> Session:
    return Session(Settings().changed(SMALL).changed(change or {}), backend=backend)


def one(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only event of this type; all events are JSON."""
    json.dumps(events, allow_nan=False)
    (found,) = [event for event in events if event["type"] == kind]
    return found


def numbers(array: dict[str, Any]) -> tuple[float, ...]:
    content = base64.b64decode(array["data"])
    return tuple(content) if array["dtype"] == "uint8" else struct.unpack(f"<{len(content) // 4}f", content)


def test_what_a_page_gets_first(be: nn.Backend) -> None:
    events = session(backend=be).open()
    assert [event["type"] for event in events] == ["hello", "settings", "data", "frame"]
    hello, data, frame = events[0], events[2], events[3]
    assert hello["backend"] == be.name
    assert {"cosine", "one_cycle"} <= set(hello["catalog"]["schedules"])
    assert data["train"]["shape"] == [30, 3]
    assert set(numbers(data["train"])[2::3]) == {0.0, 1.0}
    assert frame["grid"]["shape"] == [1, 60, 60]
    assert [units["maps"]["shape"] for units in frame["units"]] == [[4, 20, 20], [2, 20, 20]]
    assert [layer["weight"]["shape"] for layer in frame["weights"]] == [[2, 4], [4, 2]]
    assert [layer["layer"] for layer in frame["gradients"]] == ["hidden1", "output"]
    assert frame["words"][0]["key"] == "untrained"
    one(events, "hello")


def test_it_learns_while_it_is_changed(be: nn.Backend) -> None:
    lab = (learner := session(backend=be)).lab
    first = one(learner.handle({"type": "step", "epochs": 2}), "frame")
    assert (first["epoch"], first["step"], first["curve"]["from"]) == (2, 2, 0)
    before = [float(x) for x in lab.model.params["hidden1.weight"][0, :]]
    changes: list[dict[str, Any]] = [
        {"training": {"options": {"lr": 0.05}}},
        {"training": {"optimizer": "sgd", "options": {"momentum": 0.9}}},
        {"network": {"layers": [{"units": 6}, {"units": 3, "activation": "relu"}]}},
        {"network": {"layers": [{"units": 6, "batch_norm": True, "dropout": 0.1}]}},
        {"training": {"batch_size": None, "l2": 0.001, "l1": 0.001}},
        {"training": {"loss": "binary_cross_entropy"}},
        {"data": {"kind": "circles"}},
    ]
    for change in changes:
        events = learner.handle({"type": "set", "settings": change})
        assert one(events, "settings")["settings"] == lab.settings.tree
        frame = one(learner.handle({"type": "step"}), "frame")
        assert frame["loss"]["train"] > 0.0
        assert len(frame["curve"]["loss"]) == 1
        if change is changes[0]:
            after = [float(x) for x in lab.model.params["hidden1.weight"][0, :]]
            assert max(abs(a - b) for a, b in zip(before, after, strict=True)) < 0.2
    assert lab.epoch == 2 + len(changes)


def test_weights_that_fit_are_kept(be: nn.Backend) -> None:
    learner = session(backend=be)
    learner.handle({"type": "step"})
    before = {name: [*map(float, be.xp.reshape(x, (-1,)))] for name, x in learner.lab.model.params.items()}
    learner.handle({"type": "set", "settings": {"network": {"layers": [{"units": 6}], "precision": "float32"}}})
    weight = learner.lab.model.params["hidden1.weight"]
    assert weight.shape == (2, 6)
    assert [float(x) for x in weight[0, :4]] == before["hidden1.weight"][:4]
    assert [float(x) for x in learner.lab.model.params["output.bias"]] == before["output.bias"]
    learner.handle({"type": "set", "settings": {"network": {"layers": [{"units": 3}]}}})
    assert [float(x) for x in learner.lab.model.params["hidden1.weight"][0, :]] == before["hidden1.weight"][:3]


def test_batches_are_the_parts_of_an_epoch(be: nn.Backend) -> None:
    learner, other = (session({"training": {"batch_size": 8}}, be) for _ in range(2))
    batches = [one(learner.handle({"type": "batch"}), "frame") for _ in range(4)]
    assert [(frame["epoch"], frame["batch"], frame["batches"]) for frame in batches] == [
        (0, 1, 4),
        (0, 2, 4),
        (0, 3, 4),
        (1, 0, 4),
    ]
    assert len({frame["loss"]["train"] for frame in batches}) == 4
    other.handle({"type": "step"})
    assert [*learner.lab.losses] == [*other.lab.losses]
    assert bool(be.xp.all(learner.lab.model.theta == other.lab.model.theta))


def test_a_change_in_an_epoch_takes_effect_at_its_end() -> None:
    learner = session({"training": {"batch_size": 8}})
    learner.handle({"type": "batch"})
    frame = one(learner.handle({"type": "set", "settings": {"training": {"options": {"lr": 0.1}}}}), "frame")
    assert (frame["epoch"], frame["batch"], frame["lr"]) == (1, 0, 0.1)


def test_running_gives_frames_in_time_and_stops() -> None:
    learner = session({"training": {"epochs": 50}})
    assert one(learner.handle({"type": "run"}), "state")["running"]
    learner.frames.watch = learner.frames.watch.of({"fps": 60, "grid": 10, "units": 0}, learner.frames.watch)
    events, end = [], time.monotonic() + 20
    while learner.running and time.monotonic() < end:
        events.append(learner.advance(0.005))
    assert one([event for event in events if event], "state")["reason"] == "epochs"
    assert learner.lab.epoch == 50
    assert learner.is_busy
    assert learner.advance(0.01)["epoch"] == 50  # type: ignore[index]
    assert not learner.is_busy
    assert learner.advance(0.01) is None
    losses = [loss for event in events if event and event["type"] == "frame" for loss in event["curve"]["loss"]]
    assert len(losses) <= 50


def test_it_says_that_the_next_step_is_prepared_first() -> None:
    learner = session()
    assert one(learner.handle({"type": "run"}), "state")["preparing"]
    assert one(learner.handle({"type": "set", "settings": {"training": {"seed": 1}}}), "frame")["preparing"]
    learner.advance(0.001)
    assert not learner.frame()["preparing"]
    assert one(learner.handle({"type": "set", "settings": {"training": {"batch_size": 8}}}), "frame")["preparing"]
    learner.handle({"type": "pause"})
    assert not learner.frame()["preparing"]
    learner.advance(0.001)
    learner.handle({"type": "step"})
    assert not one(learner.handle({"type": "run"}), "state")["preparing"]


def test_a_pace_is_kept() -> None:
    learner = session()
    learner.handle({"type": "watch", "pace": 20, "fps": 60})
    learner.handle({"type": "run"})
    begun = time.perf_counter()
    frames = [learner.advance(0.01) for _ in range(40)]
    assert 1 <= learner.lab.epoch <= 20 * (time.perf_counter() - begun) + 1
    assert [frame["epoch"] for frame in frames if frame] == sorted({frame["epoch"] for frame in frames if frame})
    learner.handle({"type": "watch", "pace": None})
    before = learner.lab.epoch
    for _ in range(10):
        learner.advance(0.01)
    assert learner.lab.epoch > before + 5


def test_a_weight_can_be_set(be: nn.Backend) -> None:
    learner = session(backend=be)
    frame = one(learner.handle({"type": "weight", "name": "hidden1.weight", "index": [1, 2], "value": 0.5}), "frame")
    assert numbers(frame["weights"][0]["weight"])[6] == 0.5
    frame = one(learner.handle({"type": "weight", "name": "output.bias", "index": [1], "value": -2}), "frame")
    assert numbers(frame["weights"][1]["bias"]) == (0.0, -2.0)


def test_a_reset_draws_the_same_weights_or_others() -> None:
    learner = session()
    first = one(learner.open(), "frame")["weights"]
    learner.handle({"type": "step", "epochs": 3})
    again = one(learner.handle({"type": "reset"}), "frame")
    assert (again["weights"], again["epoch"], again["curve"]["from"]) == (first, 0, 0)
    other = one(learner.handle({"type": "reset", "seed": 5}), "frame")
    assert other["weights"] != first


@pytest.mark.parametrize("kind", ["blobs", "formula", "sine"])
def test_a_point_with_its_values_through_the_network(be: nn.Backend, kind: str) -> None:
    change = {"data": {"kind": kind, "formula": "x * y"}}
    learner = session(change, be)
    place = [0.2] if kind == "sine" else [0.2, -0.4]
    probe = one(learner.handle({"type": "probe", "at": place}), "probe")
    outputs = learner.lab.model(be.asarray([place], dtype="float32"))
    assert probe["outputs"] == pytest.approx([float(x) for x in outputs[0, :]], abs=1e-5)
    assert [len(layer["values"]) for layer in probe["layers"]] == [4, outputs.shape[1]]
    if kind == "blobs":
        assert sum(probe["probabilities"]) == pytest.approx(1.0)
        assert probe["class"] == probe["probabilities"].index(max(probe["probabilities"]))
    else:
        assert probe["probabilities"] is None
        assert probe["class"] is None


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_a_step_is_explained_and_checked(loss: str) -> None:
    learner = session({"training": {"loss": loss}, "network": {"precision": "float64"}})
    learner.handle({"type": "step"})
    shown = one(learner.handle({"type": "explain", "example": 3}), "explanation")
    assert shown["ok"]
    assert [layer["layer"] for layer in shown["layers"]] == ["", "hidden1", "output"] or shown["layers"]
    gradients = [each for layer in shown["layers"] for each in layer["gradients"]]
    assert len(gradients) == 4
    assert all(each["relative"] < 1e-4 for each in gradients)
    assert any("=" in line for layer in shown["layers"] for line in layer["forward"])
    there = one(learner.handle({"type": "explain", "at": [0.1, 0.2], "target": 1}), "explanation")
    assert (there["inputs"], there["target"]) == ([0.1, 0.2], 1.0)


def test_previews_of_all_made_data(be: nn.Backend) -> None:
    found = one(session(backend=be).handle({"type": "preview", "n": 12}), "previews")["previews"]
    assert {"moons", "checkerboard", "sine", "step"} <= set(found)
    images = found.pop("pets")
    assert images["sheet"]["images"]["shape"] == [4, 24, 24, 3]
    assert {tuple(each["points"]["shape"]) for each in found.values()} == {(12, 3), (12, 2)}


def test_drawn_points_wait_until_there_are_enough() -> None:
    learner = session()
    events = learner.handle({"type": "draw", "points": [[0, 0, 0], [1, 1, 1]]})
    assert one(events, "sketch")["points"] == [[0.0, 0.0, 0], [1.0, 1.0, 1]]
    events = learner.handle({"type": "draw", "points": [[0, 1, 1], [1, 0, 0], [2, 2, 2]]})
    data = one(events, "data")
    assert data["classes"] == ["0", "1", "2"]
    assert len(one(events, "settings")["settings"]["data"]["points"]) == 5
    assert len(learner.handle({"type": "draw", "points": [[3, 3, 0]]})) == 3


def test_drawn_points_are_erased_and_drawn_again() -> None:
    learner = session({"data": {"kind": "drawn", "points": [[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0]]}})
    learner.handle({"type": "run"})
    events = learner.handle({"type": "erase"})
    assert one(events, "sketch")["points"] == []
    assert not one(events, "state")["running"]
    assert one(learner.handle({"type": "hello"}), "sketch")["points"] == []
    assert one(learner.handle({"type": "run"}), "refused")["at"] == "data.points"
    assert len(one(learner.handle({"type": "draw", "points": [[5, 5, 1]]}), "sketch")["points"]) == 1
    events = learner.handle({"type": "draw", "points": [[6, 5, 0], [5, 6, 1], [7, 7, 0]]})
    assert one(events, "settings")["settings"]["data"]["points"][0] == [5.0, 5.0, 1]
    assert "sketch" not in [event["type"] for event in learner.handle({"type": "hello"})]
    learner.handle({"type": "erase"})
    one(learner.handle({"type": "set", "settings": {"data": {"kind": "drawn"}}}), "data")  # these again
    assert one(learner.handle({"type": "run"}), "state")["running"]


def test_the_last_frame_is_that_of_the_pause() -> None:
    learner = session()
    learner.handle({"type": "run"})
    before = learner.advance(0.1) or learner.frame()
    learner.advance(0.05, watched=False)
    events = learner.handle({"type": "pause"})
    state, frame = one(events, "state"), one(events, "frame")
    assert (state["running"], frame["running"], frame["epoch"]) == (False, False, learner.lab.epoch)
    assert frame["number"] > before["number"]


def test_other_data_get_a_loss_that_fits() -> None:
    learner = session({"training": {"loss": "binary_cross_entropy"}})
    rows = "".join(f"{i},{i % 7},{'abc'[i % 3]}\n" for i in range(30))
    events = learner.file("table.csv", f"u,v,kind\n{rows}".encode())
    assert one(events, "settings")["settings"]["training"]["loss"] == "auto"
    assert one(events, "data")["classes"] == ["a", "b", "c"]
    learner.handle({"type": "set", "settings": {"data": {"kind": "sine"}, "training": {"loss": "huber"}}})
    events = learner.handle({"type": "set", "settings": {"data": {"kind": "moons"}}})
    assert one(events, "settings")["settings"]["training"]["loss"] == "auto"
    wrong = {"data": {"kind": "sine"}, "training": {"loss": "cross_entropy"}}  # what is asked for is not changed
    assert one(learner.handle({"type": "set", "settings": wrong}), "refused")["at"] == "training.loss"


def test_a_file_brings_its_first_choice_of_columns() -> None:
    learner = session()
    rows = "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(30))
    events = learner.file("table.csv", f"u,v,kind\n{rows}".encode())
    assert [event["type"] for event in events] == ["table", "settings", "data", "frame"]
    assert one(events, "data")["axes"] == ["u", "v"]
    again = learner.file("other.csv", f"u,v,kind\n{rows.replace('1', '2')}".encode())
    assert [event["type"] for event in again] == ["table", "settings", "data", "frame"]
    assert one(again, "data")["train"] != one(events, "data")["train"]
    (refused,) = learner.file("../../etc/passwd", b"")
    assert refused["type"] == "refused"


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (3, "message"),
        ({}, ""),
        ({"type": "sat"}, ""),
        ({"type": "set"}, ""),
        ({"type": "set", "settings": {"network": {"layers": [{"units": 99}]}}}, "network.layers.0.units"),
        ({"type": "set", "settings": {"training": {"loss": "mse"}}}, "training.loss"),
        ({"type": "set", "settings": {"training": {"options": {"lr": -1}}}}, "training.options"),
        ({"type": "set", "settings": {"data": {"kind": "formula", "formula": "__import__('os')"}}}, "data.formula"),
        ({"type": "step", "epochs": 0}, "epochs"),
        ({"type": "batch", "count": "all"}, "count"),
        ({"type": "weight", "name": "x", "index": [0], "value": 1}, "name"),
        ({"type": "weight", "name": "hidden1.bias", "index": [9], "value": 1}, "index"),
        ({"type": "weight", "name": "hidden1.bias", "index": [0], "value": None}, "value"),
        ({"type": "probe", "at": [1]}, "at"),
        ({"type": "probe", "at": [1, "x"]}, "at.1"),
        ({"type": "explain", "example": 40}, "example"),
        ({"type": "explain", "at": [0, 0], "target": 2}, "target"),
        ({"type": "take", "what": "money"}, "what"),
        ({"type": "watch", "grid": 5}, "grid"),
        ({"type": "watch", "pace": 0}, "pace"),
        ({"type": "preview", "n": 1}, "n"),
        ({"type": "watch", "sound": True}, "sound"),
        ({"type": "language", "to": "xx"}, "to"),
        ({"type": "restore", "link": "s=x"}, "link"),
        ({"type": "reset", "seed": -1}, "seed"),
    ],
)
def test_what_is_refused_changes_nothing(message: Any, where: str) -> None:
    learner = session()
    learner.handle({"type": "step"})
    before = learner.lab.settings, [*learner.lab.losses], learner.lab.model.theta
    (refused,) = learner.handle(message)
    assert refused["type"] == "refused"
    assert refused["at"] == where
    assert "\n" not in refused["reason"]
    assert (learner.lab.settings, [*learner.lab.losses]) == before[:2]
    assert learner.lab.model.theta is before[2]
    assert one(learner.handle({"type": "step"}), "frame")["epoch"] == 2


def test_a_training_that_diverges_says_why_and_what_helps() -> None:
    learner = session(
        {"training": {"optimizer": "sgd", "options": {"lr": 100000.0}, "loss": "mse"}, "data": {"kind": "sine"}}
    )
    events = learner.handle({"type": "step", "epochs": 1000})
    state, frame = one(events, "state"), one(events, "frame")
    assert state["reason"] == "diverged"
    assert "NaN or infinite" in state["text"]
    assert frame["words"][0]["key"] == "diverged"
    assert frame["words"][0]["try"] == {"training": {"options": {"lr": 10000.0}}}
    assert frame["words"][0]["reset"]
    learner.handle({"type": "set", "settings": {"training": {"options": {"lr": 0.001}}}})
    learner.handle({"type": "reset"})
    assert one(learner.handle({"type": "step"}), "frame")["words"][0]["key"] != "diverged"


def test_a_running_training_that_diverges_shows_its_last_frame() -> None:
    learner = session({"training": {"optimizer": "sgd", "options": {"lr": 1e5}}, "data": {"kind": "sine"}})
    learner.handle({"type": "run"})
    events = []
    while learner.is_busy:
        events.append(learner.advance(0.01))
    assert [event["type"] for event in events if event][-2:] == ["state", "frame"]
    assert events[-1]["words"][0]["key"] == "diverged"  # type: ignore[index]


def test_settings_and_model_are_taken_along(tmp_path: Any) -> None:
    learner = session({"training": {"options": {"lr": 0.02}}})
    learner.handle({"type": "step"})
    link = one(learner.handle({"type": "take", "what": "link"}), "taken")["text"]
    text = one(learner.handle({"type": "take", "what": "settings"}), "taken")["text"]
    other = Session(backend="numpy")
    other.handle({"type": "restore", "link": link})
    assert other.lab.settings == learner.lab.settings == Settings.of(json.loads(text))
    taken = one(learner.handle({"type": "take", "what": "model"}), "taken")
    (tmp_path / taken["name"]).write_bytes(base64.b64decode(taken["data"]))
    assert bool((nn.load(tmp_path / taken["name"]).theta == learner.lab.model.theta).all())


def test_the_language_is_that_of_the_page() -> None:
    learner = session()
    hello = one(learner.handle({"type": "language", "to": "ja"}), "hello")
    assert hello["texts"]["run"] == "実行"
    assert "重み" in one(learner.handle({"type": "hello"}), "frame")["words"][0]["text"]


def test_histograms_count_every_entry() -> None:
    frame = one(session().handle({"type": "watch", "histograms": True, "grid": 0, "units": 0}), "frame")
    assert not {"grid", "units"} & set(frame)
    counts = {(each["layer"], each["of"]): sum(each["counts"]) for each in frame["histograms"]}
    assert counts["hidden1", "weights"] == 8
    assert counts["hidden1", "outputs"] == 4 * 30


def test_every_message_of_the_protocol_is_known() -> None:
    from pathlib import Path

    import nnarray.apps.playground as package

    text = (Path(package.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
    for name in HANDLERS:
        assert f'{{"type": "{name}"' in text
