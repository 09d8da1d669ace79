"""The search for a learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.training.rates import Limit, RateSearch
from tests.tolerances import to_host

NET = nn.Network(nn.Dense(8), nn.BatchNorm(), nn.Activation("tanh"), nn.Dropout(0.1), nn.Dense(2))


def test_the_rate_that_is_found_trains_and_the_model_stays(be: nn.Backend) -> None:
    X, y = nn.datasets.moons(100, noise=0.1, seed=0, backend=be, dtype="float32")
    model = NET.init((2,), seed=0, backend=be, dtype="float32").freeze("0.bias")
    before = to_host(be, model.theta), to_host(be, model.state)
    found = model.find_lr(X, y, batch_size=25, steps=60)
    np.testing.assert_array_equal(to_host(be, model.theta), before[0])
    np.testing.assert_array_equal(to_host(be, model.state), before[1])
    assert len(model.history) == 0
    assert len(found.rates) == len(found.losses) <= 60
    assert found.rates[0] == 1e-6
    np.testing.assert_allclose(np.diff(np.log(found.rates)), np.log(1e7) / 59)
    history = model.fit(X, y, optimizer=nn.Adam(found.suggestion), epochs=5)
    assert history["loss"][-1] < 0.8 * found.losses[0]


def test_the_losses_are_those_of_a_training_with_these_rates(host: nn.Backend) -> None:
    """The first of the search is the loss before any step; and SGD's steps are theta - rate g."""
    X, y = nn.datasets.moons(40, noise=0.1, seed=0)
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), seed=0)
    found, own = model.find_lr(X, y, optimizer="sgd", batch_size=None, lowest=1e-2, highest=1.0, steps=10), model.copy()
    for rate, loss in zip(found.rates, found.losses, strict=True):
        value, gradient = nn.value_and_grad(own, X, y)
        assert float(value) == pytest.approx(loss)
        own.theta = own.theta - rate * gradient


def test_it_ends_where_the_loss_rises(host: nn.Backend) -> None:
    X, y = nn.datasets.line(50, slope=2.0, noise=0.1, seed=0)
    model = nn.Network(nn.Dense(1)).init((1,), seed=0)
    found = model.find_lr(X, y, loss="mse", optimizer="sgd", batch_size=None, lowest=1e-3, highest=1e3)
    assert found.rates[-1] < 1e3
    assert 1e-3 < found.suggestion < 1.0
    assert min(found.losses) < 0.5 * found.losses[0]


def test_where_the_loss_does_not_fall_nothing_is_suggested() -> None:
    noise = (1.0 + 0.3 * np.random.default_rng(2).normal(size=100)).tolist()
    rising = np.where(np.arange(100) < 30, 0.5, np.linspace(-0.2, 3.0, 100)).tolist()  # of a trained model
    for search in (
        RateSearch(np.logspace(-6, 1, 100).tolist(), rising),
        RateSearch([0.1, 1.0, 10.0], [1.0, 2.0, 3.0]),
        RateSearch(np.logspace(-9, -2, 100).tolist(), noise),
    ):
        with pytest.raises(ValueError, match="the loss does not fall by more than it scatters"):
            _ = search.suggestion


@pytest.mark.parametrize("seed", range(8))
def test_the_noise_of_small_batches_is_not_followed(host: nn.Backend, seed: int) -> None:
    """A rate from 1e-6 on, as the largest fall between two batches would give, trains nothing."""
    X, y = nn.datasets.sine(200, noise=0.1, seed=seed)
    model = nn.Network(nn.Dense(16, "tanh"), nn.Dense(1)).init((1,), seed=seed)
    search = model.find_lr(X, y, loss="mse", batch_size=8)
    assert len(search.rates) > 60
    assert 3e-3 < search.suggestion < 1.0


def test_a_long_flat_bottom_does_not_raise_the_suggestion() -> None:
    rates = np.logspace(-6, 1, 100)
    losses = np.where(rates < 1e-3, 1.0, np.where(rates < 1e-2, 0.3, 0.1)) - 1e-3 * np.log10(rates)
    found = RateSearch(rates.tolist(), losses.tolist())
    assert rates[np.argmin(losses)] > 5.0
    assert 5e-3 < found.suggestion < 2e-2  # five times a rate near 2e-3, where the loss has fallen most


def test_one_unusual_batch_does_not_end_the_search() -> None:
    limit = Limit()
    assert not any(limit.exceeded(loss) for loss in [1.0] * 15 + [30.0] + [1.0] * 15)
    assert [limit.exceeded(loss) for loss in [30.0] * 8].count(True) == 4


def test_the_search_is_drawn(host: nn.Backend) -> None:
    pytest.importorskip("matplotlib")
    for losses, lines in (([1.0, 1.0, 0.9, 0.3, 0.4, 2.0], ["0.1"]), ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [])):
        axes = RateSearch([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0], losses).plot()
        assert axes.get_xscale() == "log"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["each batch", "smoothed", *lines]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 5}, ValueError, "steps must be an integer of at least 10; got 5"),
        ({"lowest": 0.0}, ValueError, "lowest must be a finite number of at least 1e-30; got 0.0"),
        ({"highest": 1e-9}, ValueError, "highest must be a finite number of at least 1e-06; got 1e-09"),
        ({"optimizer": "lbfgs"}, ValueError, "LBFGS has no learning rate"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1; got 0"),
    ],
)
def test_bad_settings(host: nn.Backend, settings: dict[str, Any], error: type[Exception], message: str) -> None:
    X, y = nn.datasets.moons(20)
    with pytest.raises(error, match=message):
        nn.Network(nn.Dense(2)).init((2,)).find_lr(X, y, **settings)
