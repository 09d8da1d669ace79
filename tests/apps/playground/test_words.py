"""What is said of a training: each remark where its cause is, in both languages."""

from __future__ import annotations

import string
from typing import Any

import pytest

from nnarray.apps.playground import english, japanese
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings

SMALL = {"data": {"n": 80}}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_texts_with_the_same_facts() -> None:
    assert english.WORDS.keys() == japanese.WORDS.keys()
    assert english.LABELS.keys() == japanese.LABELS.keys()
    for key, texts in english.WORDS.items():
        for here, there in zip(texts, japanese.WORDS[key], strict=True):
            assert fields(here) == fields(there), key
            assert bool(here) == bool(there), key


def trained(change: dict[str, Any], epochs: int, *before: dict[str, Any]) -> Session:
    session = Session(Settings().changed(SMALL).changed(change), backend="numpy")
    for message in before:
        session.handle(message)
    for _ in range(epochs):
        session.lab.train_epoch()
        if not session.lab.epoch % 5:
            session.frame()
    return session


def weights(layer: str, inputs: int, units: int, value: float) -> list[dict[str, Any]]:
    return [
        {"type": "weight", "name": f"{layer}.weight", "index": [i, j], "value": value}
        for i in range(inputs)
        for j in range(units)
    ]


def biases(layer: str, units: int, value: float) -> list[dict[str, Any]]:
    return [{"type": "weight", "name": f"{layer}.bias", "index": [j], "value": value} for j in range(units)]


DEAD = {"network": {"layers": [{"units": 4, "activation": "relu"}]}}
FLAT = {"network": {"layers": [{"units": 3, "activation": "tanh"}]}}
DEEP = {"network": {"layers": [{"units": 4, "activation": "logistic"}] * 8, "init": "normal"}}
NOISY = {"data": {"n": 40, "noise": 0.9, "test": 0.5}, "network": {"layers": [{"units": 40}]}}
TOO_SMALL = {"data": {"kind": "spirals", "test": 0}, "network": {"layers": [{"units": 1}]}}


@pytest.mark.parametrize(
    ("key", "change", "epochs", "before"),
    [
        ("untrained", {}, 0, []),
        ("learning", {}, 1, []),
        ("learned", {"training": {"options": {"lr": 0.1}}}, 60, []),
        ("dying_relu", DEAD, 1, biases("hidden1", 3, -50.0)),
        ("saturation", FLAT, 1, [*weights("hidden1", 2, 3, 0.0), *biases("hidden1", 3, 9.0)]),
        ("vanishing", DEEP, 1, []),
        ("overfitting", NOISY | {"training": {"options": {"lr": 0.05}}}, 300, []),
        ("linear", {"network": {"layers": []}, "training": {"options": {"lr": 0.1}}}, 200, []),
        ("underfitting", TOO_SMALL, 250, []),
        ("rate_too_low", {"training": {"options": {"lr": 1e-9}}}, 30, []),
        ("rate_too_high", {"training": {"optimizer": "sgd", "options": {"lr": 30.0}}}, 40, []),
    ],
)
def test_a_remark_where_its_cause_is(key: str, change: dict[str, Any], epochs: int, before: list[Any]) -> None:
    session = trained(change, epochs, *before)
    said = {each["key"]: each for each in session.frame()["words"]}
    assert key in said, [*said]
    assert 1 <= len(said) <= 3
    remedy = said[key]["try"]
    assert (remedy is None) == (said[key]["button"] is None) == (said[key]["control"] is None)
    if remedy:
        assert session.handle({"type": "set", "settings": remedy})[0]["type"] == "settings"
    session.handle({"type": "language", "to": "ja"})
    assert all(each["text"] and each["why"] for each in session.frame()["words"])
