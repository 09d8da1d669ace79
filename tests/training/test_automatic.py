"""The loss that nobody has named, and batches that need no wrapping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn

DTYPES = {"labels": "int32", "truth": "bool"}


def model_of(be: nn.Backend, outputs: int) -> nn.Model:
    return nn.Network(nn.Dense(outputs)).init((2,), seed=0, backend=be, dtype="float32")


def inputs(be: nn.Backend, n: int = 12) -> Any:
    return be.asarray(np.random.default_rng(0).normal(size=(n, 2)), dtype="float32")


@pytest.mark.parametrize(
    ("outputs", "y", "dtype", "loss"),
    [
        (3, np.arange(12) % 3, "int32", nn.losses.CrossEntropy()),
        (2, np.arange(12) % 2, "bool", nn.losses.CrossEntropy()),
        (1, np.arange(12)[:, None] % 2, "int32", nn.losses.BinaryCrossEntropy()),
        (1, np.arange(12)[:, None] % 2, "bool", nn.losses.BinaryCrossEntropy()),
        (1, np.linspace(0, 1, 12)[:, None], "float32", nn.losses.MeanSquaredError()),
        (2, np.linspace(0, 1, 24).reshape(12, 2), "float32", nn.losses.MeanSquaredError()),
    ],
)
def test_the_loss_follows_from_y(be: nn.Backend, outputs: int, y: Any, dtype: str, loss: nn.Loss) -> None:
    X, given = inputs(be), be.xp.astype(be.asarray(y), getattr(be.xp, dtype))
    chosen, named = model_of(be, outputs), model_of(be, outputs)
    history = chosen.fit(X, given, epochs=2)
    assert history.settings["loss"] == repr(loss)
    assert chosen.loss == loss
    named.fit(X, given, epochs=2, loss=loss)
    np.testing.assert_array_equal(be.to_numpy(chosen.theta), be.to_numpy(named.theta))


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (1, np.arange(12) % 2, "these integers could be two classes or numbers"),
        (1, np.arange(12) % 2 == 0, "these integers could be two classes or numbers"),
        (2, np.zeros((12, 2), int), "could be meant in three ways"),
        (1, np.arange(12)[:, None] % 2.0, "all 0 or 1, and could be meant in two ways: for classes, pass loss='binary"),
        (2, np.eye(2)[np.arange(12) % 2], "for classes, pass loss='cross_entropy', or 'binary_cross_entropy' where"),
        (2, np.full((12, 2), 0.5), "sum to 1 in each row, and could be meant in two ways: for probabilities"),
        (2, np.linspace(0, 1, 12), "y has real numbers of shape"),
        (1, np.linspace(0, 1, 12), "MeanSquaredError needs a target of the outputs' shape"),
        (1, np.arange(12)[:, None], "BinaryCrossEntropy needs targets from 0 to 1; got values from 0 to 11"),
        (3, np.arange(12)[:, None] % 3, r"got \(12, 1\)\. Pass y\[:, 0\]"),
        (3, np.zeros(()), "y has shape"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(host: nn.Backend, outputs: int, y: Any, message: str) -> None:
    model = model_of(host, outputs)
    before = model.theta
    for call in (model.fit, model.find_lr):
        with pytest.raises((ValueError, TypeError), match=message):
            call(inputs(host), y)
    assert model.theta is before
    assert model.loss is None


def test_a_training_goes_on_with_the_loss_that_was_chosen_only(host: nn.Backend, tmp_path: Path) -> None:
    X, y, path = inputs(host), np.arange(12) % 2, tmp_path / "run.safetensors"
    model_of(host, 2).fit(X, y, epochs=1, checkpoint=path)
    assert nn.load(path).loss == nn.losses.CrossEntropy()
    whole, again = model_of(host, 2), model_of(host, 2)
    again.fit(X, y, epochs=2, checkpoint=path, resume=True)
    whole.fit(X, y, epochs=2)
    np.testing.assert_array_equal(again.theta, whole.theta)
    with pytest.raises(ValueError, match=r"its loss is .*CrossEntropy.*but here it is .*MeanSquaredError"):
        model_of(host, 2).fit(X, X, epochs=3, checkpoint=path, resume=True)


def test_a_name_that_is_nearly_auto_is_no_loss(host: nn.Backend) -> None:
    with pytest.raises(ValueError, match="unknown loss 'Auto'"):
        model_of(host, 2).fit(inputs(host), np.arange(12) % 2, loss="Auto")


# --- Batches ---------------------------------------------------------------------------------------------------------


def test_the_first_batch_of_a_stream_chooses_and_is_not_lost(be: nn.Backend) -> None:
    X, y = inputs(be), be.asarray(np.arange(12) % 2)
    met: list[tuple[int, int]] = []

    def batches(epoch: int) -> Any:
        for i in range(3):
            met.append((epoch, i))
            yield X[4 * i : 4 * i + 4, ...], y[4 * i : 4 * i + 4]

    model, other = model_of(be, 2), model_of(be, 2)
    history = model.fit(nn.datasets.stream(batches), epochs=2)
    assert met == [(epoch, i) for epoch in range(2) for i in range(3)]
    assert history.settings["loss"] == repr(nn.losses.CrossEntropy())
    other.fit(X, y, epochs=2, batch_size=4, shuffle=False)
    np.testing.assert_allclose(be.to_numpy(model.theta), be.to_numpy(other.theta), rtol=1e-6)


def test_batches_need_no_wrapping(host: nn.Backend) -> None:
    X, y = inputs(host), np.arange(12) % 2
    pairs = [(X[:5], y[:5]), (X[5:], y[5:])]

    class Loader:
        def __iter__(self) -> Any:
            return iter(pairs)

    want = model_of(host, 2)
    want.fit(nn.datasets.stream(pairs), epochs=2)
    for given in (pairs, tuple(pairs), Loader(), [list(pair) for pair in pairs]):
        model = model_of(host, 2)
        model.fit(given, epochs=2)
        np.testing.assert_array_equal(model.theta, want.theta)
        assert model.evaluate(given).examples == 12


def test_a_loader_of_pytorch_needs_no_wrapping() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    be = nn.backend("torch")
    X, y = inputs(be), torch.arange(12) % 2
    model = model_of(be, 2)
    history = model.fit(DataLoader(TensorDataset(X, y), batch_size=5), epochs=2)
    assert history.steps == 6
    assert model.loss == nn.losses.CrossEntropy()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X: X, "fit needs y, the labels or target values"),
        (lambda X: X.tolist(), "fit needs y, the labels or target values"),
        (lambda X: [], "fit needs y, the labels or target values"),
        (lambda X: {"X": X}, "fit needs y, the labels or target values"),
        (lambda X: "batches.npy", "fit needs y, the labels or target values"),
        (lambda X: iter([(X, X)]), "each epoch needs all batches again"),
        (lambda X: (pair for pair in [(X, X)]), "each epoch needs all batches again"),
    ],
)
def test_what_is_no_batches_needs_y(host: nn.Backend, make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        model_of(host, 2).fit(make(inputs(host)), epochs=1)
