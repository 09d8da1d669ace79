"""Cats and dogs, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import to_host


def test_images_have_their_shapes_and_ranges(be: nn.Backend, dtype: str) -> None:
    X, y = nn.datasets.pets(5, size=16, dtype=dtype, backend=be)
    assert tuple(X.shape) == (5, 16, 16, 3)
    assert X.dtype == be.dtype(dtype)
    assert be.xp.isdtype(y.dtype, "integral")
    images = to_host(be, X)
    assert images.min() >= 0.0
    assert images.max() <= 1.0
    assert to_host(be, y).tolist() == [0, 1, 0, 1, 0]


def test_every_backend_draws_the_same(be: nn.Backend, host: nn.Backend) -> None:
    got, want = (to_host(on, nn.datasets.pets(6, size=24, seed=3, backend=on)[0]) for on in (be, host))
    assert np.abs(got - want).max() < 1e-3  # a pixel on the edge of a dot: cos and sqrt differ in the last place
    assert np.abs(got - want).mean() < 1e-6


def test_single_precision_unless_asked(host: nn.Backend) -> None:
    assert nn.datasets.pets(2, size=8)[0].dtype == np.float32
    assert nn.datasets.pets(2, size=8, dtype=None)[0].dtype == np.float64


@pytest.fixture(scope="module")
def many() -> tuple[Any, Any]:
    return nn.datasets.pets(2000, size=32, seed=5)


def test_no_two_are_the_same(many: tuple[Any, Any]) -> None:
    means = many[0].mean(axis=(1, 2))
    assert len(np.unique(means, axis=0)) == 2000
    assert many[0].std(axis=(1, 2, 3)).min() > 0.02  # none is blank


def test_seeds_give_different_sets_and_repeat_them(many: tuple[Any, Any]) -> None:
    np.testing.assert_array_equal(nn.datasets.pets(2000, size=32, seed=5)[0], many[0])
    assert np.abs(nn.datasets.pets(4, size=32, seed=6)[0] - many[0][:4]).mean() > 0.05


def test_a_smaller_set_begins_a_larger_one(many: tuple[Any, Any]) -> None:
    """But for the grain, which is drawn a batch at a time."""
    assert np.abs(nn.datasets.pets(7, size=32, seed=5)[0] - many[0][:7]).max() < 0.3
    whole = nn.datasets.pets(1001, size=32, seed=5)[0]
    np.testing.assert_array_equal(whole[:256], many[0][:256])


def test_colours_do_not_depend_on_the_class(many: tuple[Any, Any]) -> None:
    X, y = many
    cats, dogs = X[y == 0].mean(axis=(1, 2)), X[y == 1].mean(axis=(1, 2))
    assert np.abs(cats.mean(axis=0) - dogs.mean(axis=0)).max() < 0.04


def test_a_linear_model_fails(many: tuple[Any, Any]) -> None:
    X, y = (part[:, ...] for part in many)
    flat = X.reshape(len(X), -1) - X.mean()
    model = nn.Network(nn.Dense(2)).init((flat.shape[1],), dtype="float32")
    model.fit(flat[:1500], y[:1500], epochs=20, optimizer=nn.Adam(3e-4), progress=False)
    assert float(nn.metrics.accuracy(model(flat[1500:]), y[1500:])) < 0.75


def test_a_convolutional_network_sees_more() -> None:
    """A short training, of which the demo is the long one."""
    X, y = nn.datasets.pets(1200, size=32, seed=1)
    new, truth = nn.datasets.pets(300, size=32, seed=2)
    layers = [
        layer
        for filters in (16, 32, 32)
        for layer in (
            nn.Conv2D(filters, 3, padding="same", bias=False), nn.BatchNorm(), nn.Activation("relu"), nn.MaxPool2D(2)
        )
    ]  # fmt: skip
    model = nn.Network(*layers, nn.GlobalAvgPool(), nn.Dense(2)).init((32, 32, 3), dtype="float32")
    model.fit(X, y, epochs=6, optimizer=nn.Adam(nn.schedules.Cosine(0.01, 6)), progress=False)
    assert float(nn.metrics.accuracy(model(new), truth)) > 0.8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be an integer of at least 1; got 0"),
        ({"n": 2.5}, TypeError, "n must be an integer"),
        ({"size": 4}, ValueError, "size must be an integer of at least 8; got 4"),
        ({"size": "64"}, TypeError, "size must be an integer"),
        ({"seed": -1}, ValueError, "seed must satisfy"),
        ({"dtype": "int32"}, ValueError, "int32"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.datasets.pets(**({"n": 2} | arguments))


def test_the_input_gradient_is_the_derivative_of_the_answer(be: nn.Backend) -> None:
    be = be if "float64" in be.dtypes else nn.backend("strict")
    net = nn.Network(nn.Conv2D(3, 3, activation="tanh"), nn.BatchNorm(), nn.GlobalAvgPool(), nn.Dense(4))
    model = net.init((5, 4, 2), seed=1, backend=be, dtype="float64")
    model.loss = "cross_entropy"
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 3, 5, 4, 2))
    X = be.asarray(x)
    largest = to_host(be, model(X)).argmax(axis=1)
    for classes in (None, [3, 0, 1]):
        k = largest if classes is None else np.asarray(classes)
        found = model.input_gradient(X, None if classes is None else be.asarray(k))
        exact = (to_host(be, found) * u).sum(axis=(1, 2, 3))
        up, down = (to_host(be, model(be.asarray(x + h * u)))[np.arange(3), k] for h in (1e-6, -1e-6))
        np.testing.assert_allclose((up - down) / 2e-6, exact, rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match=r"input_gradient needs outputs of shape \(N, classes\)"):
        nn.Network(nn.Conv2D(3, 3)).init((5, 4, 2), backend=be).input_gradient(X)
