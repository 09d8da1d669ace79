"""The workshop's network, followed by a direct transcription of its algorithm in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn

RATE, DECAY = 0.01, 0.01


def transcription(X: np.ndarray, y: np.ndarray, params: dict[str, np.ndarray], passes: int):
    """Full-batch gradient descent on the summed cross-entropy of a 2-h-2 tanh net with softmax, by hand."""
    W1, b1, W2, b2 = (params[name].copy() for name in ("0.weight", "0.bias", "1.weight", "1.bias"))
    losses, rows = [], np.arange(len(X))
    for _ in range(passes):
        a1 = np.tanh(X @ W1 + b1)
        scores = np.exp(a1 @ W2 + b2)
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        losses.append(-np.log(probabilities[rows, y]).sum())
        delta3 = probabilities.copy()
        delta3[rows, y] -= 1
        delta2 = delta3 @ W2.T * (1 - a1**2)
        W2, b2 = W2 - RATE * (a1.T @ delta3 + DECAY * W2), b2 - RATE * delta3.sum(axis=0)
        W1, b1 = W1 - RATE * (X.T @ delta2 + DECAY * W1), b1 - RATE * delta2.sum(axis=0)
    return np.asarray(losses), {"0.weight": W1, "0.bias": b1, "1.weight": W2, "1.bias": b2}


def train(be: nn.Backend, hidden: int, passes: int):
    """The same by `fit`, and the transcription from the same first parameters."""
    X, y = nn.datasets.moons(200, noise=0.1, seed=0, dtype="float64", backend=be)
    model = nn.Network(nn.Dense(hidden, "tanh"), nn.Dense(2)).init((2,), seed=0, backend=be, dtype="float64")
    start = {name: be.to_numpy(p).copy() for name, p in model.params.items()}
    history = model.fit(
        X,
        y,
        loss=nn.losses.CrossEntropy(reduction="sum"),
        optimizer=nn.SGD(RATE, weight_decay=DECAY),
        epochs=passes,
        batch_size=None,
    )
    losses, params = transcription(be.to_numpy(X), be.to_numpy(y), start, passes)
    return model, X, y, history, losses, params


def assert_follows(be: nn.Backend, hidden: int, passes: int) -> None:
    model, X, _, history, losses, params = train(be, hidden, passes)
    np.testing.assert_allclose(history["loss"][::100], losses[::100], rtol=1e-9)
    for name, want in params.items():
        np.testing.assert_allclose(be.to_numpy(model.params[name]), want, rtol=1e-9, atol=1e-9 * np.abs(want).max())
    by_hand = np.tanh(be.to_numpy(X) @ params["0.weight"] + params["0.bias"]) @ params["1.weight"] + params["1.bias"]
    np.testing.assert_allclose(be.to_numpy(model(X)), by_hand, rtol=1e-9, atol=1e-9 * np.abs(by_hand).max())


@pytest.mark.parametrize("hidden", [1, 3, 4, 5, 20, 50])
def test_4000_passes_follow_the_transcription(hidden: int, host: nn.Backend) -> None:
    assert_follows(host, hidden, 4000)


def test_hidden_size_2_follows_until_it_is_chaotic(host: nn.Backend) -> None:
    assert_follows(host, 2, 1500)
    model, X, y, *_ = train(host, 2, 4000)
    assert float(nn.metrics.accuracy(model(X), y)) > 0.8


def test_hidden_size_1_ends_in_a_two_cycle(host: nn.Backend) -> None:
    losses = train(host, 1, 4000)[3]["loss"]
    np.testing.assert_allclose(losses[-2:], losses[-4:-2], rtol=1e-9)
    assert abs(losses[-1] - losses[-2]) > 1.0


def test_every_backend_follows(be: nn.Backend) -> None:
    if "float64" in be.dtypes:
        assert_follows(be, 5, 300)
    else:
        X, y = nn.datasets.moons(200, noise=0.1, seed=0, backend=be)
        model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0, backend=be)
        model.fit(X, y, optimizer=nn.Adam(0.1), epochs=30)
        assert float(nn.metrics.accuracy(model(X), y)) > 0.95
