"""Made series, and windows over series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import to_host


def test_a_series_is_the_same_everywhere(be: nn.Backend, host: nn.Backend) -> None:
    settings: Any = {"n": 50, "seed": 3, "dtype": "float32"}
    x = nn.datasets.series(**settings, backend=be)
    np.testing.assert_array_equal(to_host(be, x), nn.datasets.series(**settings, backend=host))
    assert tuple(x.shape) == (50, 1)
    assert nn.device_of(x) == be.device


def test_a_series_is_what_it_says(host: nn.Backend) -> None:
    """Without noise, a season repeats, and the trend is what is left of the difference."""
    x = nn.datasets.series(100, periods=(12, 6), amplitudes=(2.0, 1.0), trend=0.5, noise=0, dtype="float64")
    np.testing.assert_allclose(x[12:] - x[:-12], 12 * 0.5)
    flat = x[:, 0] - 0.5 * np.arange(100)
    assert 2.0 < np.abs(flat).max() <= 3.0
    noisy = nn.datasets.series(4000, periods=(), amplitudes=(), trend=0, noise=0.3, dtype="float64")
    assert abs(noisy.std() - 0.3) < 0.02
    assert (nn.datasets.series(9, seed=0) != nn.datasets.series(9, seed=1)).any()


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 3)])
@pytest.mark.parametrize(("length", "ahead", "stride"), [(4, 1, 1), (5, 3, 2), (1, 1, 7), (19, 1, 1)])
def test_windows_and_what_follows(be: nn.Backend, shape: tuple[int, ...], length: int, ahead: int, stride: int) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    X, y = nn.datasets.windows(be.asarray(x), length, ahead=ahead, stride=stride)
    row = x.reshape(20, -1)
    starts = range(0, 20 - (length - 1 + ahead), stride)
    assert X.shape == (len(starts), length, row.shape[1])
    assert len(X) == y.shape[0] == len(starts)
    got = X.rows(slice(0, len(X)))
    assert nn.namespace(got) is be.xp
    assert nn.device_of(got) == be.device
    np.testing.assert_array_equal(to_host(be, got), [row[i : i + length] for i in starts])
    np.testing.assert_array_equal(to_host(be, y), [row[i + length - 1 + ahead] for i in starts])
    some = np.asarray([len(X) - 1, 0, 0])
    np.testing.assert_array_equal(to_host(be, X.rows(some)), to_host(be, got)[some])
    np.testing.assert_array_equal(to_host(be, X.rows(slice(1, len(X), 2))), to_host(be, got)[1::2])


def test_a_network_is_fitted_and_predicts_from_windows(be: nn.Backend) -> None:
    """As from the array of all windows, on every library."""
    x = nn.datasets.series(80, periods=(8,), amplitudes=(1,), dtype="float32", backend=be)
    X, y = nn.datasets.windows(x, 6)
    whole = X.rows(slice(0, len(X)))
    losses, outputs = [], []
    for given in (X, whole):
        model = nn.Network(nn.Flatten(), nn.Dense(4, "tanh"), nn.Dense(1)).init(
            (6, 1), seed=0, backend=be, dtype="float32"
        )
        losses.append(model.fit(given, y, epochs=3, batch_size=16)["loss"])
        outputs.append(to_host(be, model.predict(given, batch_size=32)))
        assert model.evaluate(given, y)["loss"] < losses[-1][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.datasets.series(0), ValueError, "n must be an integer of at least 1; got 0"),
        (lambda: nn.datasets.series(periods=(3,)), ValueError, "each period needs an amplitude; got 1 periods and 2"),
        (lambda: nn.datasets.series(periods=(0, 2)), ValueError, "each of periods must be .*at least 1.*got 0"),
        (lambda: nn.datasets.series(noise=-1), ValueError, "noise must be"),
        (lambda: nn.datasets.windows(np.zeros(5), 5), ValueError, "5 positions and a target 1 ahead need at least 6"),
        (lambda: nn.datasets.windows(np.zeros(5), 0), ValueError, "length must be an integer of at least 1"),
        (lambda: nn.datasets.windows(np.zeros((5, 2, 2)), 2), ValueError, r"series must have shape .*got \(5, 2, 2\)"),
        (lambda: nn.datasets.windows([1.0, 2.0], 1), TypeError, "an array is needed; got list"),
    ],
)  # fmt: skip
def test_bad_settings(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
