"""The settings of the playground: checked, and the same again from JSON and from a link."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from nnarray.apps.playground import catalog
from nnarray.apps.playground.checking import Wrong
from nnarray.apps.playground.settings import Settings

CHANGED: dict[str, Any] = {
    "data": {"kind": "spirals", "n": 300, "noise": 0.05, "options": {"turns": 2.5, "classes": 3}},
    "network": {
        "layers": [
            {"units": 5, "activation": "relu"},
            {"units": 3, "activation": "gelu", "dropout": 0.1, "batch_norm": True},
        ],
        "init": "he",
        "precision": "float64",
    },
    "training": {"optimizer": "sgd", "options": {"lr": 0.1, "momentum": 0.9, "nesterov": True}, "batch_size": None},
}


def test_settings_come_back_from_json_and_from_a_link() -> None:
    settings = Settings().changed(CHANGED)
    assert Settings.of(json.loads(settings.json)) == settings
    assert Settings.from_link(settings.link) == settings
    assert Settings.from_link(f"http://127.0.0.1:8000/?token=abc#{settings.link}") == settings
    assert Settings.from_link(Settings().link) == Settings()


def test_options_that_were_left_out_stay_so_in_a_link() -> None:
    tree = Settings().tree
    tree["training"]["options"] = {"beta1": 0.8}
    settings = Settings.of(tree)
    assert Settings.from_link(settings.link) == settings


def test_a_link_with_all_drawn_points_is_short_enough_for_an_address() -> None:
    points = [[(i * 37 % 1000) / 997, -(i * 91 % 1000) / 983, i % 3] for i in range(catalog.POINTS)]
    settings = Settings().changed({"data": {"kind": "drawn", "points": points}})
    assert Settings.from_link(settings.link) == settings
    assert len(settings.link) < 8000


def test_another_choice_begins_with_its_own_options() -> None:
    settings = Settings().changed({"training": {"options": {"beta1": 0.8}}})
    assert settings.training.options == {"lr": 0.01, "beta1": 0.8}
    assert settings.changed({"training": {"optimizer": "sgd"}}).training.options == {}
    assert settings.changed({"training": {"optimizer": "sgd", "options": {"lr": 0.2}}}).training.options == {"lr": 0.2}


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        ({"x": 1}, "x", "is not known; use one of data, network, training"),
        ({"data": 3}, "data", "must be an object; got 3"),
        ({"data": {"kind": "spiral"}}, "data.kind", "Did you mean 'spirals'"),
        ({"data": {"options": {"turns": 1}}}, "data.options.turns", "is no option of moons; it has none"),
        ({"data": {"test": 0.95}}, "data.test", "must be a number from 0 to 0.9; got 0.95"),
        ({"data": {"low": 1.0}}, "data.high", "must be above low, 1; got 1"),
        ({"data": {"points": [[0, 0]]}}, "data.points.0", r"must be a point, \[x1, x2, class\]"),
        ({"data": {"points": [[0, 0, 0]] * 401}}, "data.points", "at most 400 entries"),
        ({"network": {"layers": [{"units": 0}]}}, "network.layers.0.units", "an integer from 1 to 64; got 0"),
        ({"network": {"layers": [{"units": True}]}}, "network.layers.0.units", "an integer from 1 to 64; got True"),
        ({"network": {"layers": [{}] * 9}}, "network.layers", "at most 8 entries"),
        ({"network": {"layers": [{"batch_norm": 1}]}}, "network.layers.0.batch_norm", "must be true or false; got 1"),
        ({"training": {"options": {"lr": float("nan")}}}, "training.options.lr", "must be a number"),
        ({"training": {"options": {"momentum": 1}}}, "training.options.momentum", "is no option of adam; it has lr"),
        ({"training": {"optimizer": "lbfgs"}}, "training.optimizer", "unknown optimizer 'lbfgs'"),
        ({"training": {"batch_size": 0}}, "training.batch_size", "an integer from 1 to 5000; got 0"),
    ],
)
def test_wrong_settings_are_refused_with_their_place(change: Any, where: str, reason: str) -> None:
    with pytest.raises(Wrong, match=reason) as refused:
        Settings().changed(change)
    assert refused.value.at == where


def _link(text: bytes) -> str:
    return "s=" + base64.urlsafe_b64encode(zlib.compress(text)).decode()


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (3, "must be a text"),
        ("s=" + "A" * 70_000, "must be a text of at most"),
        ("s=§", "is damaged"),
        ("s=AAAA", "is damaged"),
        (Settings().changed(CHANGED).link[:-8], "is damaged or too long"),
        (_link(b" " * 10**7), "is damaged or too long"),
        (_link(b"[" * 30_000), "is not JSON"),
        (_link(b'{"data": NaN}'), "which is not a number"),
        (_link(b'{"data": {"n": ' + b"9" * 5000 + b"}}"), "is not JSON"),
        (_link(b"[]"), "must be an object"),
        (_link(b'{"data": {"kind": "os"}}'), "unknown kind of data"),
    ],
)
def test_damaged_links_are_refused(link: Any, reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        Settings.from_link(link)


def test_every_default_value_in_the_catalog_is_accepted() -> None:
    for name, options in catalog.STEPPERS.items():
        Settings().changed({"training": {"optimizer": name, "options": options}})
    for name, options in catalog.SCHEDULES.items():
        Settings().changed({"training": {"schedule": name, "schedule_options": options}})
    for name, kind in catalog.DATA.items():
        Settings().changed({"data": {"kind": name, "options": kind.options}})
