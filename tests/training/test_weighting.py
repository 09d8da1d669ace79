"""Classes that count more than others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn

NET = nn.Network(nn.Dense(3))
LABELS = np.asarray([0] * 12 + [1] * 3 + [2] * 5)


def data(be: nn.Backend) -> Any:
    X = np.random.default_rng(0).normal(size=(20, 2))
    return be.asarray(X, dtype="float32"), be.asarray(LABELS)


def trained(be: nn.Backend, y: Any = None, net: nn.Network = NET, **settings: Any) -> Any:
    X, labels = data(be)
    model = net.init((2,), seed=0, backend=be, dtype="float32")
    model.fit(X, labels if y is None else y, epochs=3, batch_size=7, **settings)
    return be.to_numpy(model.theta)


def test_balanced_classes_count_alike(be: nn.Backend) -> None:
    weights = 20 / (3 * np.bincount(LABELS)[LABELS])
    assert [weights[k == LABELS].sum() for k in range(3)] == pytest.approx([20 / 3] * 3)
    want = trained(be, sample_weight=be.asarray(weights, dtype="float32"))
    np.testing.assert_allclose(trained(be, class_weight="balanced"), want, rtol=1e-5, atol=1e-6)
    assert (trained(be) != want).all()


def test_weights_by_label_multiply_those_of_examples(be: nn.Backend) -> None:
    each = np.linspace(0.5, 1.5, 20)
    want = trained(be, sample_weight=be.asarray(each * np.asarray([1.0, 4.0, 1.0])[LABELS], dtype="float32"))
    given = be.asarray(each, dtype="float32")
    np.testing.assert_allclose(trained(be, class_weight={1: 4}, sample_weight=given), want, rtol=1e-5, atol=1e-6)


def test_they_are_the_class_weights_of_the_loss(host: nn.Backend) -> None:
    want = trained(host, loss=nn.losses.CrossEntropy(class_weights=(1.0, 4.0, 2.0)))
    np.testing.assert_allclose(trained(host, class_weight={1: 4.0, 2: 2.0}), want, rtol=1e-5, atol=1e-6)


def test_one_logit_has_two_classes(host: nn.Backend) -> None:
    two, one = (LABELS > 0)[:, None], nn.Network(nn.Dense(1))
    want = trained(host, two, one, sample_weight=np.where(two[:, 0], 20 / (2 * 8), 20 / (2 * 12)))
    for y in (two, two.astype(int), two.astype(float)):
        got = trained(host, y, one, class_weight="balanced", loss="binary_cross_entropy")
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_class_that_nobody_is_of_does_no_harm(host: nn.Backend) -> None:
    X, _ = data(host)
    model = nn.Network(nn.Dense(5)).init((2,), dtype="float32")
    model.fit(X, LABELS, epochs=1, class_weight="balanced")
    assert np.isfinite(model.theta).all()


def test_held_out_examples_count_alike_and_resuming_needs_the_same(host: nn.Backend, tmp_path: Path) -> None:
    X, y = data(host)
    model = NET.init((2,), dtype="float32")
    path = tmp_path / "run.safetensors"
    history = model.fit(X, y, epochs=1, validation=(X, y), class_weight="balanced", checkpoint=path)
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X, y)["loss"], rel=1e-6)
    assert history.settings["class_weight"] == "'balanced'"
    with pytest.raises(ValueError, match="its weighted is True, but here it is False"):
        NET.init((2,), dtype="float32").fit(X, y, epochs=2, validation=(X, y), resume=path)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"class_weight": "balance"}, TypeError, "class_weight must be 'balanced', or map labels to weights"),
        ({"class_weight": [1.0, 2.0, 3.0]}, TypeError, "class_weight must be 'balanced', or map labels to weights"),
        ({"class_weight": {3: 1.0}}, ValueError, "class_weight names the label 3; with 3 classes"),
        ({"class_weight": {0: 0.0}}, ValueError, "class_weight.0. must"),
        ({"class_weight": {0: float("nan")}}, ValueError, "class_weight.0. must"),
        ({"class_weight": {"cat": 1.0}}, (TypeError, ValueError), "each label of class_weight must"),
        ({"class_weight": {-1: 1.0}}, ValueError, "each label of class_weight must"),
        (
            {"class_weight": "balanced", "loss": nn.losses.CrossEntropy(class_weights=(1, 2, 3))},
            ValueError,
            "leave out",
        ),
        ({"class_weight": "balanced", "loss": "mse"}, ValueError, "class_weight needs a loss of classes"),
        (
            {"class_weight": "balanced", "y": np.eye(3)[LABELS], "loss": "cross_entropy"},
            ValueError,
            "needs labels, one",
        ),
        ({"class_weight": "balanced", "y": LABELS + 1}, ValueError, "label 3 is out of range"),
    ],
)
def test_bad_weights_are_refused(host: nn.Backend, settings: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        trained(host, **settings)


def test_a_stream_has_weights_of_its_own(host: nn.Backend) -> None:
    with pytest.raises(ValueError, match="class_weight counts the labels of all examples, but a stream has batches"):
        NET.init((2,), dtype="float32").fit([data(host)], class_weight="balanced")
