"""Dense layers that Numba computes in one loop predict as the layers do, for any number of rows."""

from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from nnarray.kernels import threads
from tests.tolerances import close

dense = pytest.importorskip("nnarray.kernels.numba.dense", reason="Numba is not installed: its loops are not tested")

ROUNDED = 400.0  # sums of up to 300 products, in another order
NETWORKS = {
    "one layer": (nn.Dense(3),),
    "odd sizes": (nn.Dense(17, "relu"), nn.Dense(33, "relu"), nn.Dense(1)),
    "no bias": (nn.Dense(16, "relu", bias=False), nn.Dense(5, bias=False)),
    "an activation of its own": (nn.Dense(40), nn.Activation("relu"), nn.Dropout(0.5), nn.Dense(2, "relu")),
    "another function in between": (nn.Dense(8, "relu"), nn.Dense(9, "tanh"), nn.Dense(7, "relu"), nn.Dense(4)),
    "many weights": (nn.Dense(500, "relu"), nn.Dense(300)),
}


def made(name: str, features: int = 300) -> nn.Model:
    """A model with biases that are not 0."""
    model = nn.Network(*NETWORKS[name]).init((features,), seed=0, dtype="float32", engine="numba")
    rng = np.random.default_rng(1)
    model.theta = (model.theta + 0.1 * rng.normal(size=model.theta.shape)).astype("float32")
    return model


def rows(count: int, features: int = 300) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, features)).astype("float32")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, dense.TOGETHER, 2 * dense.TOGETHER + 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_rows_are_those_of_the_layers(name: str, count: int) -> None:
    model, X = made(name), rows(count)
    want = model.predict(X, engine="layers")
    close(model(X), want, "float32", c=ROUNDED)
    close(model(np.asfortranarray(X)), want, "float32", c=ROUNDED)


def test_the_loop_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    compute = dense.Dense.__call__
    monkeypatch.setattr(dense.Dense, "__call__", lambda self, x: (used.append(len(x)), compute(self, x))[1])
    model = made("odd sizes")
    model(rows(4)), model(rows(1))
    assert used == [4, 1]
    with monkeypatch.context() as patch:
        patch.setattr(dense, "LARGE_WEIGHTS", 1000)
        made("many weights")(rows(1))  # whose weights NumPy's threads read
    model.predict(rows(4), engine="numpy")
    model.predict(rows(4), engine="auto")  # a first prediction does not load the compiler
    assert used == [4, 1]
    made("another function in between")(rows(3))
    assert used == [4, 1, 3, 3]


def test_nan_and_infinity_stay_where_they_are() -> None:
    model, X = made("odd sizes"), rows(9)
    X[2, 5], X[4, 7] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        got, want = model(X), model.predict(X, engine="layers", check_finite=False)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


def test_the_bits_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    model, X, found = made("many weights"), rows(64), []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        threads._team.cache_clear()
        found.append(model(X))
    threads._team.cache_clear()
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])
