from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from nnarray.initializers import INITIALIZERS, Orthogonal, VarianceScaling, fans

SHAPE = (200, 300)
VARIANCE = {
    "zeros": 0.0,
    "ones": 0.0,
    "normal": 0.05**2,
    "uniform": 0.1**2 / 12,
    "glorot": 2 / 500,
    "glorot_normal": 2 / 500,
    "he": 2 / 200,
    "he_normal": 2 / 200,
    "lecun": 1 / 200,
    "lecun_normal": 1 / 200,
    "orthogonal": 1 / 300,
}


def draw(init, shape=SHAPE, seed: int = 0) -> np.ndarray:
    host = nn.backend("numpy")
    return init.draw(nn.Key(seed), shape, host.xp, host.device)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_variance(name: str) -> None:
    w = draw(INITIALIZERS[name])
    assert w.dtype == np.float64
    assert abs(w.mean() - (name == "ones")) < 2e-3
    np.testing.assert_allclose(w.var(), VARIANCE[name], rtol=0.02, atol=1e-30)
    if VARIANCE[name]:
        assert not np.array_equal(w, draw(INITIALIZERS[name], seed=1))


@pytest.mark.parametrize("name", ["glorot", "he", "lecun"])
def test_uniform_ones_have_their_bounds(name: str) -> None:
    bound = np.sqrt(3 * VARIANCE[name])
    w = draw(INITIALIZERS[name])
    assert -bound <= w.min() < -0.99 * bound
    assert 0.99 * bound < w.max() <= bound


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (2, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = draw(Orthogonal(2.0), shape).reshape(-1, shape[-1]) / 2.0
    small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)
    with pytest.raises(ValueError, match="at least 2 axes"):
        draw(Orthogonal(), (3,))


def test_fans_of_windows() -> None:
    assert fans((3, 3, 8, 16)) == (72, 144)
    assert fans((5,)) == (5, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_seed_gives_the_same_weights_everywhere(be: nn.Backend, host: nn.Backend, dtype: str) -> None:
    if dtype not in be.dtypes:
        dtype = "float32"
    layers = [nn.Dense(6, "tanh", init=name, bias_init="normal") for name in INITIALIZERS]
    got, want = (nn.Network(*layers).init((3,), seed=4, backend=b, dtype=dtype).theta for b in (be, host))
    np.testing.assert_array_equal(be.to_numpy(got), want)


def test_layers_start_differently() -> None:
    params = nn.Network(nn.Dense(4), nn.Dense(4)).init((4,)).params
    assert not np.array_equal(params["0.weight"], params["1.weight"])


@pytest.mark.parametrize(
    ("activation", "name"), [("relu", "he"), ("tanh", "glorot"), ("selu", "lecun_normal"), ("silu", "he")]
)
def test_the_activation_chooses(activation: str, name: str) -> None:
    wanted = nn.Network(nn.Dense(4, "tanh", init=name)).init((8,)).theta
    np.testing.assert_array_equal(nn.Network(nn.Dense(4, activation)).init((8,)).theta, wanted)


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="'in', 'out' or 'average'; got 'both'"):
        VarianceScaling(fan="both")
    with pytest.raises(ValueError, match="'uniform' or 'normal'; got 'cauchy'"):
        VarianceScaling(distribution="cauchy")
