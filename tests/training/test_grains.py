"""Steps in grains: the gradient of the whole batch, and the same bits whoever computes which part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.backends import dtype_name
from nnarray.training.grains import blocks_in, cut, summed
from tests.tolerances import close


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 100])
@pytest.mark.parametrize("grains", [1, 2, 8])
def test_a_batch_is_cut_into_parts_of_two_examples_at_least(count: int, grains: int) -> None:
    parts = cut(count, grains)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(count))
    assert len(parts) <= grains
    assert count == 1 or min(part.stop - part.start for part in parts) >= 2


@pytest.mark.parametrize("members", [1, 2, 3, 5, 8])
def test_the_sum_does_not_depend_on_who_adds(members: int) -> None:
    numbers = np.random.default_rng(0).normal(size=(8, 500)).astype(np.float32)
    leaves = {(i, i + 1): each for i, each in enumerate(numbers)}
    nodes = {}
    for i in range(members):
        for block in blocks_in(range(i * 8 // members, (i + 1) * 8 // members), 8):
            nodes[block] = summed(leaves, block)
    assert summed(nodes, (0, 8)).tobytes() == summed(leaves, (0, 8)).tobytes()
    one_by_one = np.add.accumulate(numbers)[-1]
    assert one_by_one.tobytes() != summed(leaves, (0, 8)).tobytes()  # the order matters


def trained(be: nn.Backend, grains: int | None, *, layers: Any = None, **settings: Any) -> nn.Model:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    weights = settings.pop("weights", None)
    dtype = "float64" if "float64" in be.dtypes else "float32"
    model = nn.Network(*(layers or (nn.Dense(8, "tanh"), nn.Dense(2)))).init((3,), seed=0, backend=be, dtype=dtype)
    settings = {"epochs": 2, "batch_size": 16, "optimizer": nn.Adam(0.01), "grains": grains} | settings
    if weights is not None:
        settings["sample_weight"] = be.asarray(weights)
    model.fit(be.asarray(X, dtype=dtype), be.asarray(y), **settings)
    return model


SETTINGS: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"loss": nn.losses.CrossEntropy(reduction="sum"), "optimizer": nn.SGD(0.001)},
    "weights": {"weights": np.random.default_rng(1).random(50)},
    "weights of zero": {"weights": 1.0 * (np.arange(50) % 8 == 0)},
    "momentum, average": {"optimizer": nn.SGD(0.01, momentum=0.9), "ema": 0.9},
    "all at once": {"batch_size": None, "metrics": ["accuracy"]},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_step_is_that_of_the_whole_batch(be: nn.Backend, name: str) -> None:
    """But for rounding; layers that draw, or look at the whole batch, do so grain by grain."""
    whole, parts = (trained(be, grains, **SETTINGS[name].copy()) for grains in (None, 4))
    dtype = dtype_name(whole.theta.dtype)
    close(be.to_numpy(parts.theta), be.to_numpy(whole.theta), dtype, 200.0)
    for column in set(whole.history.columns) - {"seconds"}:
        np.testing.assert_allclose(parts.history[column], whole.history[column], rtol=1e-5, err_msg=column)
    assert parts.history.settings["grains"] == 4
    assert "grains" not in whole.history.settings


def test_draws_of_grains_differ_and_are_the_same_each_time(be: nn.Backend) -> None:
    layers = (nn.Dropout(0.5), nn.Dense(8, "tanh"), nn.BatchNorm(), nn.Dense(2))
    first, again, other = (trained(be, grains, layers=layers) for grains in (4, 4, 2))
    assert be.to_numpy(first.theta).tobytes() == be.to_numpy(again.theta).tobytes()
    assert be.to_numpy(first.state).tobytes() == be.to_numpy(again.state).tobytes()
    assert not np.allclose(be.to_numpy(first.theta), be.to_numpy(other.theta))


def test_running_statistics_are_the_mean_of_those_of_the_grains() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 3))
    model = nn.Network(nn.BatchNorm(momentum=0.5)).init((3,), dtype="float64")
    model.fit(X, y, loss="mse", optimizer=nn.SGD(1e-9), epochs=1, batch_size=None, grains=2)
    state = model.wiring.state.views(model.state)
    mean, variance = (state[f"0.{name}"] for name in ("mean", "variance"))
    halves = X.reshape(2, 4, 3)
    np.testing.assert_allclose(mean, 0.5 * halves.mean(axis=(0, 1)), atol=1e-12)
    np.testing.assert_allclose(variance, 0.5 + 0.5 * halves.var(axis=1, ddof=1).mean(axis=0))


def test_one_thread_or_several_come_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnarray.training import grains

    layers = (nn.Dense(300, "relu"), nn.Dropout(0.3), nn.Dense(300, "gelu"), nn.Dense(2))
    several, mapped = trained(nn.backend("numpy"), 8, layers=layers), grains.mapped
    monkeypatch.setattr(grains, "mapped", lambda f, items, like, threads: mapped(f, items, like, 1))
    assert trained(nn.backend("numpy"), 8, layers=layers).theta.tobytes() == several.theta.tobytes()


def test_a_training_goes_on_with_as_many_grains(tmp_path: Path) -> None:
    be, file = nn.backend("numpy"), tmp_path / "m.safetensors"
    whole = trained(be, 4, epochs=4)
    trained(be, 4, epochs=2, checkpoint=file)
    resumed = trained(be, 4, epochs=4, checkpoint=file, resume=True)
    assert resumed.theta.tobytes() == whole.theta.tobytes()
    assert resumed.history["loss"] == whole.history["loss"]
    with pytest.raises(ValueError, match="its grains is 4, but here it is 2"):
        trained(be, 2, epochs=5, checkpoint=file, resume=True)


def test_what_diverges_is_reported(be: nn.Backend) -> None:
    X = be.asarray(np.random.default_rng(0).normal(size=(50, 3)), dtype="float32")
    model = nn.Network(nn.Dense(3)).init((3,), seed=0, backend=be, dtype="float32")
    with pytest.raises(nn.DivergenceError, match="became NaN or infinite in epoch 1, step"):
        model.fit(X, X, loss="mse", optimizer=nn.SGD(1e15), batch_size=8, grains=4)
    assert np.isfinite(be.to_numpy(model.theta)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grains": 0}, "grains must be an integer of at least 1"),
        ({"grains": 6}, "grains must be a power of two, such as 4 or 8; got 6"),
        ({"grains": 4, "accumulate": 2}, "grains=4 cannot be combined with accumulate: leave out one of the two"),
        ({"grains": 4, "precision": "bfloat16"}, "grains=4 cannot be combined with precision"),
        ({"grains": 4, "engine": "numpy"}, "engine 'numpy' does not support grains: pass engine='layers'"),
        ({"grains": 4, "optimizer": "lbfgs", "batch_size": None}, "LBFGS takes all examples at once, not in"),
        ({"cluster": 3}, "cluster must be a Client of Dask or the address of a scheduler; got 3"),
        ({"cluster": "tcp://127.0.0.1:9", "grains": 1}, "grains must be an integer of at least 2"),
    ],
)
def test_what_does_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        trained(nn.backend("numpy"), **{"grains": None} | settings)
