"""Images in the playground: filters in place of units, what each sees of one image, and predictions of others."""

from __future__ import annotations

from typing import Any

import pytest

import nnarray as nn
from nnarray.apps.playground.catalog import DATA
from nnarray.apps.playground.packing import numbers as listed
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings
from tests.apps.playground.test_script import assert_same, change, losses_here, run
from tests.apps.playground.test_session import numbers, one

LAYERS = [{"units": 3, "activation": "relu"}, {"units": 2, "kernel": 5, "activation": "tanh"}]
PETS: dict[str, Any] = {
    "data": {"kind": "pets", "n": 32, "options": {"size": 8}},
    "network": {"layers": LAYERS},
    "training": {"batch_size": 8},
}


def session(backend: Any = "numpy") -> Session:
    return Session(Settings().changed(PETS), backend=backend)


def test_what_a_page_gets(be: nn.Backend) -> None:
    events = session(be).open()
    data, frame = one(events, "data"), one(events, "frame")
    assert (data["task"], data["classes"], data["range"]) == ("classes", ["cat", "dog"], [])
    assert (data["axes"], data["train"]["shape"]) == (["red", "green", "blue"], [24, 1])
    sheet = data["sheet"]
    assert (sheet["part"], sheet["images"]["shape"]) == ("test", [8, 8, 8, 3])
    assert frame["grid"]["shape"] == [1, 8]
    assert [units["maps"]["shape"] for units in frame["units"]] == [[3, 8, 8], [2, 4, 4], [2]]
    assert [each["weight"]["shape"] for each in frame["weights"]] == [[3, 3, 3, 3], [5, 5, 3, 2], [2, 2]]


def test_the_sheet_is_of_images_that_were_held_out() -> None:
    X, y = nn.datasets.pets(32, size=8, seed=0)
    _, X_test, _, y_test = nn.datasets.train_test_split(X, y, test_size=0.25, seed=0)
    sheet = one(session().open(), "data")["sheet"]
    seen = numbers(sheet["images"])
    assert all(abs(255.0 * float(x) - byte) <= 0.51 for x, byte in zip(X_test.ravel(), seen, strict=True))
    assert sheet["labels"] == y_test.tolist()


def test_predictions_are_those_of_the_model() -> None:
    learner = session()
    frame = one(learner.handle({"type": "step", "epochs": 3}), "frame")
    X, _ = learner.lab.examples.sheet
    outputs = learner.lab.model(X)
    expected = 255.0 / (1.0 + nn.namespace(outputs).exp(outputs[:, 0] - outputs[:, 1]))
    assert all(abs(float(p) - byte) <= 0.51 for p, byte in zip(expected, numbers(frame["grid"]), strict=True))


def test_a_filter_shows_what_it_sees_of_the_chosen_image(be: nn.Backend) -> None:
    learner = session(be)
    first = one(learner.handle({"type": "watch"}), "frame")
    chosen = one(learner.handle({"type": "choose", "image": 3}), "frame")
    assert chosen["grid"] == first["grid"]
    assert chosen["units"] != first["units"]
    layer, (X, _) = chosen["units"][0], learner.lab.examples.sheet
    kernel = nn.Conv2D(3, 3, padding="same", activation="relu")
    params = {name: learner.lab.model.params[f"hidden1.{name}"] for name in ("weight", "bias")}
    y = kernel.forward(params, X[3:4, ...], nn.layers.Context()).y
    bytes_of = numbers(layer["maps"])
    for unit, scale in enumerate(layer["scale"]):
        seen = [(byte - 128) / 127 * scale for byte in bytes_of[64 * unit : 64 * (unit + 1)]]
        assert all(abs(a - b) <= 0.005 * scale for a, b in zip(seen, listed(y[0, :, :, unit]), strict=True))


def test_weights_that_fit_are_kept() -> None:
    learner = session()
    learner.handle({"type": "step", "epochs": 2})
    before = {name: array + 0.0 for name, array in learner.lab.model.params.items()}
    run(learner, change(data={"options": {"size": 16}}), change(network={"layers": [{**LAYERS[0], "units": 4}]}))
    after = learner.lab.model.params
    assert after["hidden1.weight"].shape == (3, 3, 3, 4)
    assert (after["hidden1.weight"][..., :3] == before["hidden1.weight"]).all()
    assert (after["hidden1.bias"][:3] == before["hidden1.bias"]).all()
    run(learner, change(network={"layers": [{**LAYERS[0], "units": 4, "kernel": 5}]}))
    assert learner.lab.model.params["hidden1.weight"].shape == (5, 5, 3, 4)
    run(learner, change(data={"kind": "moons", "options": {}}))
    assert learner.lab.model.params["hidden1.weight"].shape == (2, 4)


def test_its_script_gives_the_same_losses_in_another_process() -> None:
    learner = run(session(), {"type": "step", "epochs": 3}, change(training={"options": {"lr": 0.03}}))
    more = [*LAYERS, {"units": 4, "batch_norm": True, "dropout": 0.2}]
    run(learner, {"type": "step", "epochs": 2}, change(network={"layers": more}), {"type": "step", "epochs": 2})
    run(learner, change(network={"layers": []}), {"type": "step", "epochs": 2}, change(data={"kind": "moons"}))
    assert_same(run(learner, {"type": "step", "epochs": 2}))


def test_its_script_on_every_backend(be: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = run(session(be), {"type": "step", "epochs": 2}, change(network={"layers": LAYERS[:1]}))
    run(learner, {"type": "step", "epochs": 1})
    assert losses_here(learner, monkeypatch) == [*learner.lab.losses]


def test_a_link_has_all_of_it() -> None:
    settings = Settings().changed(PETS)
    assert Settings.from_link(settings.link) == settings


def test_what_is_suggested_learns() -> None:
    """The suggested network, with fewer images and no test, learns them."""
    suggested = DATA["pets"].suggests
    settings = {**suggested, "data": {"kind": "pets", "n": 60, "test": 0.0}}
    learner = Session(Settings().changed(settings), backend="numpy")
    data = one(learner.open(), "data")
    assert (data["sheet"]["part"], data["sheet"]["images"]["shape"][0]) == ("train", 24)
    frame = one(run_epochs(learner, 100), "frame")
    assert frame["accuracy"] == {"train": pytest.approx(1.0, abs=0.06), "test": None}
    assert frame["words"]


def run_epochs(learner: Session, count: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while learner.lab.epoch < count:
        events = learner.handle({"type": "step", "epochs": count - learner.lab.epoch})
    return events


def test_a_step_on_an_image_is_explained_and_checked() -> None:
    event = one(session().handle({"type": "explain", "example": 5}), "explanation")
    assert event["ok"]
    assert event["inputs"] == []
    assert [each["layer"] for each in event["layers"]][0::3] == ["hidden1", "hidden2"] or event["layers"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"type": "choose", "image": 8}, "image must be an integer from 0 to 7; got 8."),
        ({"type": "choose"}, "image must be an integer from 0 to 7; got None."),
        ({"type": "probe", "at": [0.0, 0.0]}, "at is for points, and the examples are images"),
        (change(data={"n": 2001}), "data.n must be an integer from 4 to 2000; got 2001."),
        (change(data={"options": {"size": 7}}), "data.options.size must be an integer from 8 to 48; got 7."),
        (change(data={"options": {"noise": 1}}), "data.options.noise is no option of pets; it has size."),
        (change(network={"layers": [{"kernel": 8}]}), "network.layers.0.kernel must be an integer from 1 to 7; got 8."),
    ],
)
def test_what_is_refused_changes_nothing(message: dict[str, Any], reason: str) -> None:
    learner = session()
    before = learner.lab.settings
    assert reason in one(learner.handle(message), "refused")["reason"]
    assert learner.lab.settings == before


def test_points_have_no_image_to_choose() -> None:
    assert "is for images" in one(Session(backend="numpy").handle({"type": "choose", "image": 0}), "refused")["reason"]
