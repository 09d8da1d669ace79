from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.layers.activations import FUNCTIONS
from tests.packages import package
from tests.tolerances import as_called, close, to_host

torch = package("torch")

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
    "hard_sigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),  # Hardsigmoid's derivative is a float32 one
    "hard_tanh": torch.nn.Hardtanh(),
    "softmax": torch.nn.Softmax(dim=-1),
    "log_softmax": torch.nn.LogSoftmax(dim=-1),
    "gaussian": lambda x: torch.exp(-x * x),
    "sin": torch.sin,
}
CORNERS = (0.0, -1.0, 1.0, -3.0, 3.0)  # where some functions have no derivative
ELEMENTWISE = sorted(name for name, function in FUNCTIONS.items() if function.elementwise)
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


def value_and_derivative(be: nn.Backend, dtype: str, layer: Any, x: np.ndarray, dy: np.ndarray):
    """f(x) and dy f'(x) of the layer, as float64 on the host."""
    layer = nn.Activation(layer) if isinstance(layer, str) else layer

    def both(x: Any, dy: Any) -> tuple[Any, Any]:
        out = layer.forward({}, x, nn.Context())
        return out.y, out.pullback(dy)[0]

    found = as_called(be, both)(be.asarray(x, dtype=dtype), be.asarray(dy, dtype=dtype))
    assert all(each.dtype == be.dtype(dtype) for each in found)
    return tuple(to_host(be, each) for each in found)


def in_torch(function: Callable[[Any], Any], x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inputs = torch.tensor(x, requires_grad=True)
    y = function(inputs)
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), inputs.grad.numpy()


def narrowest(be: nn.Backend) -> str:
    return "float16" if "float16" in be.dtypes else "float32"


def theirs(name: str) -> Callable[[Any], Any]:
    """PyTorch's function; where it has none, our definition, whose gradient PyTorch finds itself."""
    return IN_TORCH.get(name) or FUNCTIONS[name].value.definition


def limits(name: str) -> tuple[float, float]:
    """The values at minus and plus infinity."""
    return LIMITS.get(name) or tuple(FUNCTIONS[name].value(np.asarray([-1e300, 1e300])))


def test_the_names_of_the_tables_are_functions() -> None:
    assert set(IN_TORCH) <= set(FUNCTIONS)
    assert set(LIMITS) <= set(ELEMENTWISE)
    assert len(IN_TORCH) == 19


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_value_and_gradient_equal_pytorch(be: nn.Backend, dtype: str, name: str) -> None:
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(9, 11)) * 4, rng.normal(size=(9, 11))
    x[0, :3] = 0.5, -2.9, 2.9
    x, dy = (a.astype(dtype).astype(float) for a in (x, dy))  # the same numbers for both
    for got, want in zip(value_and_derivative(be, dtype, name, x, dy), in_torch(theirs(name), x, dy), strict=True):
        close(got, want, dtype)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_gradient_is_the_derivative(be: nn.Backend, name: str) -> None:
    """Central differences along a random direction, whose error is about 1e-9 in float64."""
    be = be if "float64" in be.dtypes else nn.backend("strict")
    rng, f = np.random.default_rng(2), FUNCTIONS[name]
    x, dy, u = rng.normal(size=(3, 9, 11)) * 2.0
    for corner in CORNERS:
        x[np.abs(x - corner) < 1e-3] += 0.01
    x, dy, u = (be.asarray(a, dtype="float64") for a in (x, dy, u))

    def both_derivatives(x: Any, dy: Any, u: Any) -> tuple[Any, Any]:
        h = 1e-6
        numeric = be.xp.sum(dy * (f.value(x + h * u) - f.value(x - h * u))) / (2 * h)
        return numeric, be.xp.sum(f.pullback(dy, x, f.value(x)) * u)

    numeric, exact = (float(each) for each in as_called(be, both_derivatives)(x, dy, u))
    assert numeric == pytest.approx(exact, rel=1e-7, abs=1e-7)


def test_jax_differentiates_to_the_same() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")

    def both(x: Any) -> list[Any]:
        found = []
        for f in FUNCTIONS.values():
            y, back = jax.vjp(f.value, x)
            found.append((f.pullback(x + 1.0, x, y), back(x + 1.0)[0]))
        return found

    x = be.asarray(np.random.default_rng(2).normal(size=(3, 4)), dtype="float64")
    for ours, theirs in as_called(be, both)(x):
        close(to_host(be, ours), to_host(be, theirs), "float64")


@pytest.mark.parametrize("width", ["narrow", "float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_far_out(be: nn.Backend, width: str, name: str) -> None:
    """The value and slope of exact arithmetic, at infinity the limit, and nan stays nan: without a warning."""
    dtype = width if width in be.dtypes else narrowest(be)
    huge = 6e4 if dtype == "float16" else 1e38
    x = np.asarray([-np.inf, -huge, -1e4, -30.0, 0.0, 30.0, 1e4, huge, np.inf, np.nan])
    x = x.astype(dtype).astype(float)
    y, dx = value_and_derivative(be, dtype, name, x, np.ones(10))
    close(y[[0, 8]], np.asarray(limits(name), dtype=float), dtype)
    assert np.isnan(y[9])
    assert np.isfinite(y[1:8]).all()
    assert np.isfinite(dx[1:8]).all()
    if name == "sin":
        return  # has no limit, and libraries differ in the digits of large angles
    assert np.isfinite(dx[[0, 8]]).all()
    want, derivative = in_torch(theirs(name), x[1:8], np.ones(7))
    derivative[3] = dx[4]  # at 0, some have no derivative
    for got, exact in ((y[1:8], want), (dx[1:8], derivative)):
        known = np.isfinite(exact)  # where PyTorch itself is finite
        assert known.sum() >= 4
        close(got[known], exact[known], dtype)
    close(dx[[0, 8]], dx[[1, 7]], dtype)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_far_out(be: nn.Backend, dtype: str, name: str) -> None:
    x = [
        [1e4, -1e4, 0.0],
        [1e38, -1e38, 1e38],
        [np.inf, 0.0, np.inf],
        [-np.inf, 0.0, -np.inf],
        [3e38, -3e38, 0.0],
        [np.nan, 0.0, np.inf],
    ]
    y, dx = value_and_derivative(be, dtype, name, np.asarray(x), np.ones((6, 3)))
    p = np.exp(y) if name == "log_softmax" else y
    want = [[1, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5], [0, 1, 0], [1, 0, 0]]
    close(p[:5], np.asarray(want), dtype)
    assert np.isfinite(dx[:5]).all()
    assert np.isnan(y[5]).all()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_half_precision_is_finite_and_exact(flag: str, name: str) -> None:
    be = nn.backend(flag)
    most = 3e4 if name == "log_softmax" else 6e4  # whose value is a difference
    x = np.asarray([[-most, -100.0, -1.0, -0.1, 0.1, 1.0, 100.0, most]]).astype("float16").astype(float)
    y, dx = value_and_derivative(be, "float16", name, x, np.ones((1, 8)))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    rows = x[:, 1:7] if name in ELEMENTWISE else x
    want, derivative = in_torch(theirs(name), rows, np.ones(rows.shape))
    if name in ("hard_tanh", "hard_sigmoid"):
        derivative[:, 1], derivative[:, 4] = (1 / 6, 1 / 6) if name == "hard_sigmoid" else (0, 0)  # at the corners
    got = value_and_derivative(be, "float16", name, rows, np.ones(rows.shape))
    close(got[0], want, "float16", c=8)
    close(got[1], derivative, "float16", c=8)


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("leaky_relu", {"slope": 0.2}, torch.nn.LeakyReLU(0.2)),
        ("elu", {"alpha": 0.5}, torch.nn.ELU(0.5)),
    ],
)
def test_options(be: nn.Backend, dtype: str, name: str, options: dict[str, float], theirs) -> None:
    x, dy = np.random.default_rng(4).normal(size=(2, 5, 3)).astype(dtype).astype(float)
    layer = nn.Activation(name, options=options)
    for got, want in zip(value_and_derivative(be, dtype, layer, x, dy), in_torch(theirs, x, dy), strict=True):
        close(got, want, dtype)


def test_a_function_of_ones_own(be: nn.Backend, dtype: str) -> None:
    layer = nn.Activation(lambda x: x * x * x, lambda x: 3.0 * x * x)
    x, dy = np.random.default_rng(3).normal(size=(2, 4, 3)).astype(dtype).astype(float)
    y, dx = value_and_derivative(be, dtype, layer, x, dy)
    close(y, x**3, dtype)
    close(dx, 3 * dy * x**2, dtype)
    model = nn.Network(nn.Dense(3, layer)).init((3,), backend=be)
    assert model(be.asarray(x, dtype=model.theta.dtype)).shape == (4, 3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: nn.Activation("sigmod"),
            ValueError,
            "'sigmod'; use one of identity, .*Did you mean 'sigmoid'",
        ),
        (lambda: nn.Activation("RelU2x"), ValueError, "unknown activation 'RelU2x'.*Did you mean 'relu'"),
        (lambda: nn.Activation("softmx"), ValueError, "Did you mean 'softmax'"),
        (
            lambda: nn.Activation("relu", options={"slope": 0.1}),
            TypeError,
            "'relu' has no option {'slope'}; it has none",
        ),
        (lambda: nn.Activation("elu", options={"slope": 0.1}), TypeError, "no option {'slope'}; it has {'alpha'}"),
    ],
)
def test_bad_settings(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
