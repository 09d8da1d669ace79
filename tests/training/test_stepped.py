"""A training that is continued call by call is that of fit, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest

import nnarray as nn
from nnarray.schedules import Constant, Cosine
from nnarray.training.stepped import SteppedFit


def model(be: nn.Backend, *layers: nn.Layer) -> nn.Model:
    return nn.Network(*layers, nn.Dense(2)).init((2,), seed=0, dtype="float32", backend=be)


def data(be: nn.Backend, n: int = 50) -> tuple[Any, Any]:
    return nn.datasets.moons(n, noise=0.2, seed=0, dtype="float32", backend=be)


NETWORKS = {"chain": [nn.Dense(4, "tanh")], "layers": [nn.Dense(4), nn.BatchNorm(), nn.Dropout(0.2)]}


@pytest.mark.once_a_library
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [16, None])
def test_epochs_are_those_of_fit(be: nn.Backend, network: str, size: int | None) -> None:
    X, y = data(be)
    settings = {"optimizer": nn.Adam(Cosine(0.05, 5)), "batch_size": size, "seed": 3}
    one, other = (model(be, *NETWORKS[network]) for _ in range(2))
    stepped = SteppedFit(one, X, y, epochs=100, **settings)
    losses = [stepped.epoch() for _ in range(6)]
    history = other.fit(X, y, epochs=6, progress=False, **settings)
    assert losses == stepped.history["loss"] == history["loss"]
    assert stepped.history["lr"] == history["lr"]
    assert bool(be.xp.all(one.theta == other.theta))
    assert one.loss == other.loss
    stepped.release()


@pytest.mark.once_a_library
def test_batches_lead_to_the_same_epochs(be: nn.Backend) -> None:
    X, y = data(be)
    one, other = (model(be, *NETWORKS["layers"]) for _ in range(2))
    stepped = SteppedFit(one, X, y, batch_size=16, epochs=10)
    seen = []
    for _ in range(9):
        stepped.batch_more()
        seen.append((stepped.run.epoch, stepped.batch, [*map(float, one.theta[:3])]))
    assert [each[:2] for each in seen] == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]
    assert len({str(each[2]) for each in seen}) == 9
    stepped.epoch()
    assert other.fit(X, y, batch_size=16, epochs=3, progress=False)["loss"] == stepped.history["loss"]
    assert bool(be.xp.all(one.theta == other.theta))


def test_the_rate_may_be_changed_between_epochs() -> None:
    be = nn.backend("numpy")
    stepped = SteppedFit(model(be), *data(be), optimizer=nn.SGD(0.1), epochs=10)
    stepped.epoch()
    stepped.rates = Constant(0.05)
    assert stepped.rate == 0.05
    stepped.epoch()
    assert stepped.history["lr"] == [0.1, 0.05]


@pytest.mark.parametrize("by_batches", [False, True])
def test_a_training_that_diverges_keeps_its_last_finite_parameters(by_batches: bool) -> None:
    be = nn.backend("numpy")
    X, y = nn.datasets.line(40, dtype="float32", backend=be)
    one, other = (nn.Network(nn.Dense(1)).init((1,), dtype="float32", backend=be) for _ in range(2))
    settings: dict[str, Any] = {"optimizer": nn.SGD(1e4), "batch_size": 8, "loss": "mse"}
    stepped = SteppedFit(one, X, y, epochs=50, **settings)

    def train() -> None:
        for _ in range(300):
            stepped.batch_more() if by_batches else stepped.epoch()

    with pytest.raises(nn.DivergenceError) as error:
        train()
    with pytest.raises(nn.DivergenceError) as expected:
        other.fit(X, y, epochs=50, progress=False, **settings)
    assert str(error.value) == str(expected.value)
    assert bool(be.xp.all(one.theta == other.theta))


def test_wrong_arguments_are_refused_as_by_fit() -> None:
    be = nn.backend("numpy")
    with pytest.raises(ValueError, match="unknown loss 'msee'"):
        SteppedFit(model(be), *data(be), loss="msee")
    with pytest.raises(TypeError, match="epoch"):
        SteppedFit(model(be), *data(be), epoch=3)
