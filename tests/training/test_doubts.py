"""After a training that learned next to nothing, one warning says why; after any other there is none."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nnarray as nn

DRAW = np.random.default_rng(0)
HOST_X = DRAW.normal(size=(120, 2))
HOST_Y = (HOST_X[:, 0] > 0).astype("int32")
VALUES = HOST_X[:, :1] + HOST_X[:, 1:]


def trained(be: nn.Backend, X: Any, y: Any, *layers: nn.Layer, **settings: Any) -> nn.History:
    y = be.asarray(y, dtype="float32" if y.ndim > 1 else None)
    outputs = 2 if y.ndim == 1 else 1
    network = nn.Network(*layers, nn.Dense(8, "tanh"), nn.Dense(outputs))
    model = network.init((2,), backend=be, dtype="float32")
    return model.fit(be.asarray(X, dtype="float32"), y, **{"epochs": 6, "progress": False} | settings)


CASES: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "large features": (
        HOST_X * 5e4,
        HOST_Y[::-1],
        {},
        r"X has features of the size [45]\d,\d{3}\. Standardise X: scaler",
    ),
    "small features": (HOST_X * 1e-6, HOST_Y, {}, r"X has features of the size [91][.\d]*e-0[67]\. Standardise X"),
    "one large feature": (HOST_X * [1.0, 5e4], HOST_Y, {}, "X has features of the size"),
    "large values": (
        HOST_X,
        VALUES * 500 + 2e5,
        {},
        r"y has values of the size (199|200),\d{3}\. Standardise y: scaler",
    ),
    "a high rate": (
        HOST_X,
        HOST_Y[::-1],
        {"optimizer": nn.SGD(50.0)},
        "The loss rose .* rate, 50, may be too high: lower lr",
    ),
    "equal examples": (HOST_X * 0.0, HOST_Y, {}, r"all examples in X are the same, .* Look at X"),
    "a low rate": (
        HOST_X,
        HOST_Y,
        {"optimizer": nn.Adam(1e-9)},
        r"did not change: .*rate, 1e-09, may be too low\. Multiply lr by 10",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_training_that_learned_next_to_nothing_says_why(be: nn.Backend, what: str) -> None:
    X, y, settings, says = CASES[what]
    with pytest.warns(RuntimeWarning, match=says) as caught:
        trained(be, X, y, **settings)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("hidden", "says"), [((nn.Dense(8), nn.Dense(4)), True), ((nn.Dense(8, "tanh"),), False)])
def test_a_network_without_activations_is_named(be: nn.Backend, hidden: tuple[nn.Layer, ...], says: bool) -> None:
    X, y = nn.datasets.circles(120, noise=0.0, seed=0, backend=be, dtype="float32")
    model = nn.Network(*hidden, nn.Dense(2)).init((2,), seed=0, backend=be, dtype="float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, optimizer=nn.Adam(0.01), epochs=20, progress=False)
    assert [str(each.message).count("No hidden layer has an activation") for each in caught] == [1] * says


def standardised(be: nn.Backend, x: Any) -> Any:
    array = be.asarray(x, dtype="float32")
    return be.to_numpy(nn.datasets.Standardizer.fit(array).transform(array))


def test_to_standardise_as_the_warning_says_works(be: nn.Backend) -> None:
    for X, y in ((HOST_X * 5e4, HOST_Y), (HOST_X, VALUES * 500 + 2e5)):
        X, y = (standardised(be, each) if each.ndim == 2 else each for each in (X, y))
        history = trained(be, X, y, optimizer=nn.Adam(0.02))
        assert history["loss"][-1] < 0.5


@pytest.mark.parametrize(
    ("X", "y", "layers", "settings"),
    [
        (HOST_X, HOST_Y, (), {}),
        (HOST_X, DRAW.permutation(HOST_Y), (), {"epochs": 20}),  # nothing to learn
        (HOST_X, DRAW.permutation(VALUES), (), {"epochs": 20, "optimizer": nn.Adam(0.01)}),
        (HOST_X * 5e4, HOST_Y, (nn.BatchNorm(),), {}),
        (HOST_X * 5e4, HOST_Y, (), {"epochs": 2}),  # too short to say
        (HOST_X, HOST_Y, (), {"optimizer": nn.Adam(1e-4)}),
        (HOST_X, HOST_Y, (), {"optimizer": "lbfgs", "batch_size": None, "epochs": 30}),
    ],
)
def test_no_false_alarm(be: nn.Backend, X: Any, y: Any, layers: tuple[nn.Layer, ...], settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(be, X, y, *layers, **settings)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [4, 32])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("count", [40, 120])
def test_noise_of_few_examples_is_no_high_rate(
    host: nn.Backend, seed: int, batch_size: int, dropout: float, count: int
) -> None:
    X = host.asarray(np.random.default_rng(seed).normal(size=(count, 6)), dtype="float32")
    y = host.asarray(np.random.default_rng(seed + 9).integers(0, 3, count))  # nothing to learn
    layers = nn.Dense(32, "relu"), nn.Dropout(dropout), nn.Dense(32, "relu"), nn.Dropout(dropout), nn.Dense(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = nn.Network(*layers).init((6,), seed=seed, backend=host, dtype="float32")
        model.fit(X, y, epochs=20, batch_size=batch_size, seed=seed, progress=False)  # Adam at 0.001


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("optimizer", [nn.SGD(50.0), nn.SGD(200.0), nn.Adam(10.0)])
def test_a_high_rate_is_named_in_spite_of_noise(host: nn.Backend, seed: int, optimizer: nn.Optimizer) -> None:
    y = host.asarray(np.random.default_rng(seed).permutation(HOST_Y))
    model = nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)).init((2,), seed=seed, backend=host)
    with pytest.warns(RuntimeWarning, match="may be too high: lower lr"):
        model.fit(host.asarray(HOST_X), y, optimizer=optimizer, epochs=20, seed=seed, progress=False)


@pytest.mark.parametrize(
    ("last", "loss", "says"),
    [
        ("relu", "cross_entropy", r"ends in 'relu', but CrossEntropy takes logits.*no negative.*: nn\.Dense\(2\)"),
        (
            "tanh",
            "cross_entropy",
            r"ends in 'tanh', but CrossEntropy.*tanh limits them\. Leave out the last activation",
        ),
        ("relu", "binary_cross_entropy", "ends in 'relu', but BinaryCrossEntropy takes logits"),
    ],
)
def test_a_last_activation_that_limits_logits_is_named_once(be: nn.Backend, last: str, loss: str, says: str) -> None:
    X, y = be.asarray(HOST_X, dtype="float32"), be.asarray(HOST_Y)
    if loss == "binary_cross_entropy":
        y = be.xp.stack([y, 1 - y], axis=-1)
    fits = {"loss": loss, "epochs": 2, "progress": False}
    with pytest.warns(RuntimeWarning, match=says) as caught:
        nn.Network(nn.Dense(2, last)).init((2,), backend=be, dtype="float32").fit(X, y, **fits)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Network(nn.Dense(2)).init((2,), backend=be, dtype="float32").fit(X, y, **fits)
        nn.Network(nn.Dense(2, "leaky_relu")).init((2,), backend=be, dtype="float32").fit(X, y, **fits)
        values = be.asarray(VALUES * VALUES, dtype="float32")
        nn.Network(nn.Dense(1, "relu")).init((2,), backend=be, dtype="float32").fit(X, values, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("last", "low", "high", "says"),
    [
        (
            "relu",
            -3.0,
            -1.0,
            r"ends in 'relu', which has no outputs below 0, but y has values from -3 to -1\..*Dense\(1\)",
        ),
        ("softplus", -1.0, 1.0, r"ends in 'softplus', which has no outputs below 0"),
        (
            "logistic",
            0.5,
            9.0,
            r"ends in 'logistic', which has outputs from 0 to 1 only, but y has values from 0.5 to 9\.",
        ),
        ("tanh", -2.0, 2.0, r"ends in 'tanh', which has outputs from -1 to 1 only"),
    ],
)
def test_a_last_activation_that_does_not_reach_y_is_named(
    be: nn.Backend, last: str, low: float, high: float, says: str
) -> None:
    X = be.asarray(HOST_X, dtype="float32")
    y = be.asarray(np.linspace(low, high, len(HOST_X))[:, None], dtype="float32")
    model = nn.Network(nn.Dense(1, last)).init((2,), backend=be, dtype="float32")
    with pytest.warns(RuntimeWarning, match=says) as caught:
        model.fit(X, y, loss="mse", epochs=1, progress=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, (y - low) / (high - low), loss="mse", epochs=1, progress=False)
        nn.Network(nn.Dense(1)).init((2,), backend=be, dtype="float32").fit(X, y, epochs=1, progress=False)


@pytest.mark.once_a_library
def test_a_network_whose_signals_end_is_named_by_its_layer(be: nn.Backend) -> None:
    """Eight layers of sigmoids, and units of relu that are all 0: the loss is that of equal predictions."""
    X, y = be.asarray(HOST_X, dtype="float32"), be.asarray(HOST_Y)
    settings: dict[str, Any] = {"optimizer": nn.SGD(0.1), "epochs": 6, "progress": False}

    def fit(*layers: nn.Layer, **changed: list[float]) -> None:
        network = nn.Network(nn.Dense(8, "tanh"), *layers, nn.Dense(2))
        model = network.init((2,), backend=be, dtype="float32")
        model.set_params({name.replace("_", "."): value for name, value in changed.items()})
        model.fit(X, y, **settings)

    with pytest.warns(RuntimeWarning, match=r"From layer '[1-5]', Dense\(8, activation='logistic'\), on the") as caught:
        fit(*[nn.Dense(8, "sigmoid")] * 7)
    assert len(caught) == 1
    with pytest.warns(RuntimeWarning, match=r"All outputs of layer '1', Dense\(8, activation='relu'\), are 0 for all"):
        fit(nn.Dense(8, "relu"), **{"1_bias": [-50.0] * 8})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(*[nn.Dense(8, "relu")] * 7)
        fit(*[nn.Dense(8, "tanh")] * 7)
        fit(nn.Dense(8, "sigmoid"), nn.BatchNorm(), nn.Dense(8, "sigmoid"), nn.BatchNorm())


def test_a_training_in_which_all_is_frozen_is_named(be: nn.Backend) -> None:
    X, y = be.asarray(HOST_X, dtype="float32"), be.asarray(HOST_Y)
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), backend=be, dtype="float32").freeze("*")
    with pytest.warns(
        RuntimeWarning, match=r"all parameters are frozen.*Call model\.unfreeze\(\) before fit"
    ) as caught:
        model.fit(X, y, epochs=1, progress=False)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.unfreeze().freeze("0").fit(X, y, epochs=1, progress=False)


def test_equal_weights_in_each_layer_are_named(be: nn.Backend) -> None:
    X, y = be.asarray(HOST_X, dtype="float32"), be.asarray(HOST_Y)

    def fit(*layers: nn.Layer) -> None:
        nn.Network(*layers).init((2,), backend=be, dtype="float32").fit(X, y, epochs=1, progress=False)

    with pytest.warns(RuntimeWarning, match="all weights are equal, .* Leave out init=") as caught:
        fit(nn.Dense(4, "tanh", init="zeros"), nn.Dense(2, init="zeros"))
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(nn.Dense(2, init="zeros"))  # one layer learns from zeros
        fit(nn.Dense(4, "tanh"), nn.Dense(2, init="zeros"))


def test_integers_and_streams_are_not_looked_at(be: nn.Backend) -> None:
    words = be.asarray(DRAW.integers(0, 900, size=(120, 4)))
    y = be.asarray(DRAW.permutation(HOST_Y))
    network = nn.Network(nn.Embedding(900, 2), nn.GlobalAvgPool(), nn.Dense(2))
    network.init((4,), backend=be, dtype="float32").fit(words, y, epochs=6, progress=False)
    X = be.asarray(HOST_X * 5e4, dtype="float32")
    model = nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)).init((2,), backend=be, dtype="float32")
    model.fit([(X[:60, :], y[:60]), (X[60:, :], y[60:])] * 2, epochs=6, progress=False)
