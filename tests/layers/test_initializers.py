from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from nnarray.layers.activations import FUNCTIONS
from nnarray.layers.initializers import (
    INITIALIZERS,
    Constant,
    Normal,
    Orthogonal,
    Uniform,
    VarianceScaling,
    fans,
    initializer,
)
from tests.packages import package

stats = package("scipy.stats")
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
def test_mean_and_variance(name: str) -> None:
    """Within 5 standard deviations of what 60,000 draws give."""
    w, variance = draw(INITIALIZERS[name]), VARIANCE[name]
    assert w.dtype == np.float64
    assert w.shape == SHAPE
    assert abs(w.mean() - (name == "ones")) <= 5 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / w.size))
    if variance:
        assert not np.array_equal(w, draw(INITIALIZERS[name], seed=1))
        assert np.array_equal(w, draw(INITIALIZERS[name]))


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"zeros", "ones", "orthogonal"}))
def test_distribution(name: str) -> None:
    """Uniform between plus and minus the bound, or normal; by the test of Kolmogorov and Smirnov."""
    std, w = np.sqrt(VARIANCE[name]), draw(INITIALIZERS[name]).ravel()
    if name.endswith("normal"):
        assert stats.kstest(w / std, "norm").pvalue > 0.001
    else:
        bound = np.sqrt(3) * std
        assert stats.kstest(w / bound / 2 + 0.5, "uniform").pvalue > 0.001
        assert -bound <= w.min() < -0.99 * bound
        assert 0.99 * bound < w.max() <= bound


def test_settings_do_what_they_say() -> None:
    assert (draw(Constant(0.25)) == 0.25).all()
    w = draw(Uniform(2.0, 3.0))
    assert 2.0 <= w.min() < 2.001 < 2.999 < w.max() < 3.0
    w = draw(Normal(5.0, 0.5))
    assert (w.mean(), w.std()) == (pytest.approx(5.0, abs=0.01), pytest.approx(0.5, rel=0.02))
    for fan, n in (("in", 200), ("out", 300), ("average", 250)):
        assert draw(VarianceScaling(3.0, fan, "normal")).var() == pytest.approx(3.0 / n, rel=0.03)
    assert draw(VarianceScaling(2.0), (3, 3, 20, 10)).var() == pytest.approx(2.0 / 180, rel=0.2)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (2, 2, 3), (1, 1), (4, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = draw(Orthogonal(2.0), shape).reshape(-1, shape[-1]) / 2.0
    small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)
    with pytest.raises(ValueError, match="at least 2 axes"):
        draw(Orthogonal(), (3,))


def test_orthogonal_is_uniform_over_rotations() -> None:
    """In a plane: half of them mirror, and all angles are alike; without the signs of QR, they are not."""
    drawn = np.stack([draw(Orthogonal(), (2, 2), seed) for seed in range(500)])
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(500)
    turn = np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0]) / (2 * np.pi) + 0.5
    assert stats.kstest(turn, "uniform").pvalue > 0.001


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


def test_the_dtype_only_rounds() -> None:
    net = nn.Network(nn.Dense(6, init="normal"), nn.Dense(3))
    exact, rounded = (net.init((3,), seed=4, dtype=dtype).theta for dtype in ("float64", "float32"))
    np.testing.assert_array_equal(rounded, exact.astype(np.float32))


def test_parameters_start_differently() -> None:
    """By their names: neither the number of layers before nor their sizes matter."""
    net = nn.Network(nn.Dense(4, bias_init="normal"), nn.Dense(4, bias_init="normal"), nn.Dense(4, name="head"))
    params = net.init((4,)).params
    rows = [p.ravel()[:4].tobytes() for name, p in params.items() if name != "head.bias"]
    assert len(set(rows)) == len(rows) == 5
    assert not params["head.bias"].any()
    alone = nn.Network(nn.Dense(4, name="head")).init((4,)).params
    np.testing.assert_array_equal(params["head.weight"], alone["head.weight"])
    assert not np.array_equal(net.init((4,), seed=1).theta, net.init((4,), seed=0).theta)


def test_the_activation_chooses() -> None:
    wanted = dict.fromkeys(FUNCTIONS, "glorot")
    wanted |= dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus"), "he")
    wanted["selu"] = "lecun_normal"
    for activation, name in wanted.items():
        theta = nn.Network(nn.Dense(4, activation)).init((8,)).theta
        named = nn.Network(nn.Dense(4, activation, init=name)).init((8,)).theta
        np.testing.assert_array_equal(theta, named, err_msg=activation)
        assert theta[:32].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VarianceScaling(fan="both"), "'in', 'out' or 'average'; got 'both'"),
        (lambda: VarianceScaling(distribution="cauchy"), "'uniform' or 'normal'; got 'cauchy'"),
        (lambda: Uniform(1.0), r"needs low <= high; got low=1, high=0.05.*Uniform\(-a, a\)"),
        (lambda: VarianceScaling(-1.0), "gain must be a finite number of at least 0; got -1.0"),
        (lambda: VarianceScaling(float("nan")), "gain must be a finite number.*got nan"),
        (lambda: initializer("javier"), "unknown initializer 'javier'; use one of zeros, ones"),
        (lambda: initializer("glorot_norml"), "Did you mean 'glorot_normal'"),
    ],
)
def test_bad_settings(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
