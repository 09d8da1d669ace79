from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from nnarray.layers.activations import FUNCTIONS
from tests.tolerances import close, to_host

torch = pytest.importorskip("torch")

IN_TORCH = {
    "identity": torch.nn.Identity(),
    "logistic": torch.nn.Sigmoid(),
    "tanh": torch.nn.Tanh(),
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "gelu": torch.nn.GELU(),
    "gelu_tanh": torch.nn.GELU(approximate="tanh"),
    "silu": torch.nn.SiLU(),
    "mish": torch.nn.Mish(),
    "softplus": torch.nn.Softplus(threshold=1000),
    "softsign": torch.nn.Softsign(),
    "hard_sigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),  # Hardsigmoid's slope is a float32 one
    "hard_tanh": torch.nn.Hardtanh(),
    "softmax": torch.nn.Softmax(dim=-1),
    "log_softmax": torch.nn.LogSoftmax(dim=-1),
    "gaussian": lambda x: torch.exp(-x * x),
    "sin": torch.sin,
}
ELEMENTWISE = sorted(set(FUNCTIONS) - {"softmax", "log_softmax"})
LIMITS = {  # at minus and plus infinity
    "identity": (-np.inf, np.inf),
    "logistic": (0, 1),
    "tanh": (-1, 1),
    "gaussian": (0, 0),
    "relu": (0, np.inf),
    "leaky_relu": (-np.inf, np.inf),
    "elu": (-1, np.inf),
    "selu": (-1.0507009873554805 * 1.6732632423543772, np.inf),
    "gelu": (0, np.inf),
    "gelu_tanh": (0, np.inf),
    "silu": (0, np.inf),
    "mish": (0, np.inf),
    "softplus": (0, np.inf),
    "softsign": (-1, 1),
    "hard_sigmoid": (0, 1),
    "hard_tanh": (-1, 1),
    "sin": (np.nan, np.nan),
}


def value_and_slope(be: nn.Backend, dtype: str, name: str, x: np.ndarray, dy: np.ndarray):
    layer = nn.Activation(name)
    out = layer.forward({}, be.asarray(x, dtype=dtype), nn.Context())
    return to_host(be, out.y), to_host(be, out.pullback(be.asarray(dy, dtype=dtype))[0])


def test_all_are_compared() -> None:
    assert set(IN_TORCH) == set(FUNCTIONS)
    assert set(LIMITS) == set(ELEMENTWISE)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_value_and_gradient_equal_pytorch(be: nn.Backend, dtype: str, name: str) -> None:
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(9, 11)) * 4, rng.normal(size=(9, 11))
    x[0, :3] = 0.5, -2.9, 2.9
    x = x.astype(dtype).astype(float)  # the same numbers for both
    inputs = torch.tensor(x, requires_grad=True)
    want = IN_TORCH[name](inputs)
    want.backward(torch.tensor(dy))
    y, dx = value_and_slope(be, dtype, name, x, dy)
    close(y, want.detach().numpy(), dtype)
    close(dx, inputs.grad.numpy(), dtype)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_far_out(be: nn.Backend, dtype: str, name: str) -> None:
    """The value of exact arithmetic, at infinity the limit, and nan stays nan: without a warning."""
    x = np.asarray([-np.inf, -1e38, -1e4, 0.0, 1e4, 1e38, np.inf, np.nan]).astype(dtype).astype(float)
    y, dx = value_and_slope(be, dtype, name, x, np.ones(8))
    low, high = LIMITS[name]
    close(y[[0, 6]], np.asarray([low, high], dtype=float), dtype)
    assert np.isnan(y[7])
    assert np.isfinite(y[1:6]).all()
    assert np.isfinite(dx[1:6]).all()
    if name != "sin":
        assert np.isfinite(dx[[0, 6]]).all()
        exact = IN_TORCH[name](torch.tensor(x[1:6])).numpy()
        ok = np.isfinite(exact)  # where PyTorch itself is finite
        close(y[1:6][ok], exact[ok], dtype)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_far_out(be: nn.Backend, dtype: str, name: str) -> None:
    x = np.asarray([[1e4, -1e4, 0.0], [1e38, -1e38, 1e38], [np.inf, 0.0, np.inf], [-np.inf, 0.0, -np.inf]])
    y, dx = value_and_slope(be, dtype, name, x, np.ones((4, 3)))
    p = np.exp(y) if name == "log_softmax" else y
    close(p, np.asarray([[1, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5], [0, 1, 0]]), dtype)
    assert np.isfinite(dx).all()
    y, _ = value_and_slope(be, dtype, name, np.asarray([[np.nan, 0.0]]), np.ones((1, 2)))
    assert np.isnan(y).all()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_half_precision_is_finite(flag: str, name: str) -> None:
    be = nn.backend(flag)
    most = 3e4 if name == "log_softmax" else 6e4  # whose value is a difference
    x = np.asarray([[-most, -100.0, -1.0, 0.0, 1.0, 100.0, most]])
    y, dx = value_and_slope(be, "float16", name, x, np.ones((1, 7)))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    rows = x[:, 1:6] if name in ELEMENTWISE else x
    want = IN_TORCH[name](torch.tensor(rows)).numpy()
    close(value_and_slope(be, "float16", name, rows, np.ones(rows.shape))[0], want, "float16")


def test_jax_differentiates_to_the_same() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")
    x = be.asarray(np.random.default_rng(2).normal(size=(3, 4)), dtype="float64")
    for f in FUNCTIONS.values():
        y, back = jax.vjp(f.value, x)
        close(to_host(be, f.pullback(x + 1.0, x, y)), to_host(be, back(x + 1.0)[0]), "float64")


@pytest.mark.parametrize(("name", "options"), [("leaky_relu", {"slope": 0.2}), ("elu", {"alpha": 0.5})])
def test_options(be: nn.Backend, name: str, options: dict[str, float]) -> None:
    nn.testing.check_layer(nn.Activation(name, options=options), (4,), backends=[be])
    x = be.asarray([[-1.0]], dtype="float32")
    want = -0.2 if name == "leaky_relu" else 0.5 * np.expm1(-1)
    close(
        to_host(be, nn.Activation(name, options=options).forward({}, x, nn.Context()).y),
        np.asarray([[want]]),
        "float32",
    )
