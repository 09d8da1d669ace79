"""Mistakes of beginners: the error names the mistake and the line that mends it, and that line works."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import nnarray as nn
from nnarray.training.rates import RateSearch

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 2)), np.arange(30) % 3
HOLED = np.where(np.arange(60).reshape(30, 2) == 9, np.nan, X)
WORDS = np.asarray(["ant", "bee", "cow"])[Y]
SEARCH = RateSearch([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0], [1.0, 1.0, 0.9, 0.3, 0.4, 1.0])
IMAGES = RNG.integers(0, 256, size=(60, 8, 8, 3)).astype("uint8")
NET = nn.Network(nn.Dense(5, "tanh"), nn.Dense(3))


def fit(X: Any = X, y: Any = Y, network: nn.Network = NET, shape: Any = (2,), **settings: Any) -> nn.Model:
    model = network.init(shape, backend="numpy")
    model.fit(X, y, **{"epochs": 2, "progress": False} | settings)
    return model


def asarray(x: Any) -> Any:
    return nn.backend("numpy").asarray(x)


def coded(y: Any) -> Any:
    """As the error says."""
    names = sorted(set(y))
    return nn.backend("numpy").asarray([names.index(each) for each in y])


def frame() -> Any:
    return pytest.importorskip("pandas").DataFrame(X, columns=["a", "b"])


def series() -> Any:
    return pytest.importorskip("pandas").Series(WORDS)


def typed(line: str, **names: Any) -> dict[str, Any]:
    """The names after a line that a message says was typed."""
    exec(line, {"nn": nn}, names)
    return names


HALVES = np.arange(30) % 2


def two_classes() -> nn.Model:
    return fit(y=HALVES, network=nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)))


class Mistake(NamedTuple):
    """What is written, what the error says, and what mends it."""

    wrong: Callable[[], object]
    says: str
    right: Callable[[], object]


MISTAKES = {
    "lists": Mistake(
        lambda: fit(X.tolist(), Y.tolist()),
        "(1) X must be an array; got list. Make one with nn.backend('numpy').asarray(X). (2) y must be an array",
        lambda: fit(asarray(X.tolist()), asarray(Y.tolist())),
    ),
    "a frame of pandas": Mistake(
        lambda: fit(frame()),
        "got pandas.DataFrame. Make one with nn.backend('numpy').asarray(X)",
        lambda: fit(asarray(frame())),
    ),
    "a column of names": Mistake(
        lambda: fit(y=series()),
        "got pandas.Series. Make one with nn.backend('numpy').asarray(y)",
        lambda: fit(y=coded(series())),
    ),
    "names of classes": Mistake(
        lambda: fit(y=WORDS),
        "got y of dtype <U3. Convert it to numbers first. If these are names of classes: names = sorted(set(y)), and "
        "y = nn.backend('numpy').asarray([names.index(each) for each in y])",
        lambda: fit(y=coded(WORDS)),
    ),
    "a list of names": Mistake(
        lambda: asarray(WORDS.tolist()),
        "If these are names of classes: names = sorted(set(y)), and",
        lambda: fit(y=coded(WORDS.tolist())),
    ),
    "numbers as text": Mistake(
        lambda: fit(X.astype(str)),
        "If these are numbers that are written as text: X = X.astype('float64')",
        lambda: fit(X.astype(str).astype("float64")),
    ),
    "labels from 1": Mistake(
        lambda: fit(y=Y + 1),
        "label 3 is out of range: with 3 outputs, labels are 0 to 2. Number them from 0: y - 1",
        lambda: fit(y=(Y + 1) - 1),
    ),
    "labels as floats": Mistake(
        lambda: fit(y=Y.astype(float)),
        "for classes, pass integers, y = nn.namespace(y).astype(y, nn.namespace(y).int32)",
        lambda: fit(y=typed("y = nn.namespace(y).astype(y, nn.namespace(y).int32)", y=Y.astype(float))["y"]),
    ),
    "NaN": Mistake(
        lambda: fit(HOLED),
        "X contains NaN or infinity: row 4, column 1. Remove or repair these entries",
        lambda: fit(np.nan_to_num(HOLED)),
    ),
    "one example": Mistake(
        lambda: NET.init((2,)).predict(X[0]),
        "For a single example, use X[None, ...]",
        lambda: NET.init((2,), backend="numpy").predict(X[0][None, ...]),
    ),
    "one example to train on": Mistake(
        lambda: fit(X[0], Y[0]), "got X of shape (2,). For a single example", lambda: fit(X[0][None, ...], Y[0][None])
    ),
    "the shape of all": Mistake(
        lambda: fit(shape=X.shape),
        "Was the network made by init(X.shape)? Make it with the shape of one example, init(X.shape[1:])",
        lambda: fit(shape=X.shape[1:]),
    ),
    "X and y swapped": Mistake(lambda: fit(Y, X), "Were X and y swapped?", lambda: fit(X, Y)),
    "X and y swapped in a picture": Mistake(
        lambda: nn.plotting.plot_data(Y, X), "Were X and y swapped?", lambda: nn.plotting.plot_data(X, Y)
    ),
    "a rate for an optimizer": Mistake(
        lambda: fit(optimizer=0.1),
        "got the number 0.1. For a learning rate, pass nn.Adam(0.1)",
        lambda: fit(optimizer=nn.Adam(0.1)),
    ),
    "a misspelt optimizer": Mistake(
        lambda: fit(optimizer="Adamm"), "Did you mean 'adam'?", lambda: fit(optimizer="adam")
    ),
    "a misspelt activation": Mistake(lambda: nn.Dense(3, "rleu"), "Did you mean 'relu'?", lambda: nn.Dense(3, "relu")),
    "units as text": Mistake(
        lambda: nn.Dense("16"),  # type: ignore[arg-type]
        "Dense units must be an integer of at least 1; got '16'. Use for example Dense(units=16)",
        lambda: nn.Dense(units=16),
    ),
    "inputs before outputs": Mistake(
        lambda: nn.Dense(2, 3),  # type: ignore[arg-type]
        "A layer takes only the size of its outputs, not that of its inputs",
        lambda: nn.Dense(3),
    ),
    "layers in a list": Mistake(
        lambda: nn.Network([nn.Dense(2)]),  # type: ignore[arg-type]
        "Pass the layers as arguments, without brackets",
        lambda: nn.Network(nn.Dense(2)),
    ),
    "a network for a model": Mistake(
        lambda: NET.fit(X, Y),
        "Make a model first, model = nn.Network(...).init(X.shape[1:]), and use it: model.fit(X, y)",
        lambda: fit(shape=X.shape[1:]),
    ),
    "softmax at the end": Mistake(
        lambda: fit(network=nn.Network(nn.Dense(3, "softmax"))),
        "Leave out the last activation",
        lambda: fit(network=nn.Network(nn.Dense(3))),
    ),
    "classes for outputs": Mistake(
        lambda: nn.metrics.accuracy(fit().predict_class(X), Y),
        "A metric takes the outputs, not the predicted classes: model(X)",
        lambda: nn.metrics.accuracy(fit()(X), Y),
    ),
    "labels before outputs": Mistake(
        lambda: nn.metrics.accuracy(Y, fit()(X)),
        "Were outputs and labels swapped?",
        lambda: nn.metrics.accuracy(fit()(X), Y),
    ),
    "the loss of a model called with X": Mistake(
        lambda: two_classes().loss(X, HALVES),  # type: ignore[misc]
        "For the loss of examples, write model.evaluate(X, y)['loss']; for that of outputs, "
        "nn.losses.CrossEntropy(reduction='mean', label_smoothing=0.0, class_weights=None)(model(X), y)",
        lambda: [
            typed(f"x = {line}", model=two_classes(), X=X, y=HALVES)
            for line in (
                "model.evaluate(X, y)['loss']",
                "nn.losses.CrossEntropy(reduction='mean', label_smoothing=0.0, class_weights=None)(model(X), y)",
            )
        ],
    ),
    "probabilities for logits": Mistake(
        lambda: nn.metrics.accuracy(two_classes().predict_proba(X)[:, 1], HALVES),
        "could be probabilities or logits: for probabilities, pass threshold=0.5",
        lambda: nn.metrics.accuracy(two_classes().predict_proba(X)[:, 1], HALVES, threshold=0.5),
    ),
    "two classes for outputs": Mistake(
        lambda: nn.metrics.recall(two_classes().predict_class(X), HALVES),
        "takes the outputs first, then the labels; got outputs of dtype int64",
        lambda: nn.metrics.recall(two_classes()(X), HALVES),
    ),
    "the order of scikit-learn": Mistake(
        lambda: nn.metrics.confusion_matrix(HALVES, two_classes().predict_class(X)),
        "A metric takes the outputs, not the predicted classes: model(X). For predicted labels 0 and 1, pass "
        "threshold=0.5",
        lambda: nn.metrics.confusion_matrix(two_classes().predict_class(X), HALVES, threshold=0.5),
    ),
    "scores after labels": Mistake(
        lambda: nn.metrics.roc_auc(HALVES, two_classes().predict_proba(X)[:, 1]),
        "roc_auc takes the outputs first, then the labels. Were outputs and labels swapped?",
        lambda: nn.metrics.roc_auc(two_classes().predict_proba(X)[:, 1], HALVES),
    ),
    "pixels in a row": Mistake(
        lambda: nn.Network(nn.Conv2D(2, 3), nn.Flatten(), nn.Dense(3)).init((64,)),
        "put nn.Reshape((8, 8, 1)) before this layer",
        lambda: nn.Network(nn.Reshape((8, 8, 1)), nn.Conv2D(2, 3), nn.Flatten(), nn.Dense(3)).init((64,)),
    ),
    "no seed": Mistake(
        lambda: fit(seed=None), "seed must be an integer; got None. Use for example seed=0", lambda: fit(seed=0)
    ),
    "the path of a table": Mistake(
        lambda: fit("flowers.csv"),
        "To learn from the table, run: nnarray train flowers.csv --target COLUMN",
        lambda: None,  # tests/cli runs this
    ),
    "a scaler without numbers": Mistake(
        lambda: nn.datasets.Standardizer(),  # type: ignore[call-arg]
        "They follow from the examples: Standardizer.fit(X)",
        lambda: nn.datasets.Standardizer.fit(X),
    ),
    "the model last": Mistake(
        lambda: nn.value_and_grad(X, Y, fit()),  # type: ignore[arg-type]
        "the model comes first, as network.init gives it: nn.value_and_grad(model, X, y); got ndarray",
        lambda: nn.value_and_grad(fit(), X, Y),
    ),
    "the model last in an explanation": Mistake(
        lambda: nn.explain(X, Y, fit()),  # type: ignore[arg-type]
        "the model comes first, as network.init gives it: nn.explain(model, X, y); got ndarray",
        lambda: nn.explain(fit(), X, Y, check=False),
    ),
    "the history for the model": Mistake(
        lambda: fit().history(X),
        "fit trains the model itself and returns the history: call the model, and write model.fit(X, y), not",
        lambda: fit()(X),
    ),
    "fit of a history": Mistake(
        lambda: fit().history.fit(X, Y),
        "fit trains the model itself and returns the history: call the model",
        lambda: fit().fit(X, Y, epochs=1, progress=False),
    ),
    "a search for a rate": Mistake(
        lambda: nn.Adam(SEARCH),  # type: ignore[arg-type]
        "the learning rate must be a number; got RateSearch(6 rates from 0.0001 to 10, suggestion=0.1). Pass its "
        ".suggestion",
        lambda: nn.Adam(SEARCH.suggestion),
    ),
    "a copy by another name": Mistake(lambda: fit().clone(), "Use model.copy()", lambda: fit().copy()),
    "init of a model": Mistake(lambda: fit().init((2,)), "network.init(X.shape[1:])", lambda: NET.init(X.shape[1:])),
    "a reset": Mistake(
        lambda: fit().reset(),
        "model.network.init(model.input_shape, seed=0)",
        lambda: fit().network.init(fit().input_shape, seed=0),
    ),
    "a method that is a function": Mistake(
        lambda: fit().explain(X, Y), "Use nn.explain(model, X, y)", lambda: nn.explain(fit(), X, Y, check=False)
    ),
    "full-width letters": Mistake(
        lambda: nn.Dense(5, "ｔａｎ"), "Did you mean 'tanh'?", lambda: nn.Dense(5, "ｔａｎｈ")
    ),
    "a model for its history": Mistake(
        lambda: nn.plotting.plot_history(fit()),  # type: ignore[arg-type]
        "Pass its history: plot_history(model.history)",
        lambda: nn.plotting.plot_history(fit().history),
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_named_with_what_mends_it(what: str) -> None:
    mistake = MISTAKES[what]
    with pytest.raises((TypeError, ValueError, AttributeError), match=re.escape(mistake.says)):
        mistake.wrong()
    mistake.right()


def test_pixels_from_0_to_255_are_standardised_as_the_warning_says() -> None:
    network, y = nn.Network(nn.Flatten(), nn.Dense(16, "relu"), nn.Dense(3)), np.arange(60) % 3
    with pytest.warns(RuntimeWarning, match=r"Standardise X: scaler = nn\.datasets\.Standardizer\.fit\(X\)"):
        fit(IMAGES, y, network, (8, 8, 3), epochs=12)
    scaler = nn.datasets.Standardizer.fit(IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(scaler.transform(IMAGES), y, network, (8, 8, 3), epochs=12)


def test_a_loss_of_probabilities_is_warned_of_and_its_remedy_works() -> None:
    """They would be taken for logits, and the loss would be another one."""
    model = two_classes()
    p, want = model.predict_proba(X), float(nn.losses.CrossEntropy()(model(X), HALVES))
    with pytest.warns(
        RuntimeWarning, match=r"sum to 1 in each row.*takes logits. Pass model\(X\), not model.pred"
    ) as of:
        assert abs(float(nn.losses.CrossEntropy()(p, HALVES)) - want) > 0.01
    line = "xp = nn.namespace(p); logits = xp.log(p)"
    assert line in str(of[0].message)
    assert float(nn.losses.CrossEntropy()(typed(line, p=p)["logits"], HALVES)) == pytest.approx(want)
    binary, column = nn.losses.BinaryCrossEntropy(), HALVES[:, None].astype(float)
    z = model(X)[:, 1:] - model(X)[:, :1]
    with pytest.warns(RuntimeWarning, match="lie from 0 to 1, as probabilities do") as of:
        binary(p[:, 1:], column)
    line = "xp = nn.namespace(p); logits = xp.log(p / (1 - p))"
    assert line in str(of[0].message)
    assert float(binary(typed(line, p=p[:, 1:])["logits"], column)) == pytest.approx(float(binary(z, column)))


def test_training_and_evaluation_take_outputs_as_logits_wherever_they_lie() -> None:
    """Only a call by hand has to say what they are."""
    model, y = nn.Network(nn.Dense(1)).init((2,), backend="numpy"), HALVES[:, None].astype(float)
    model.theta = 0.0 * model.theta + 0.1
    near = 0.1 * X
    assert 0.0 <= float(model(near).min()) <= float(model(near).max()) <= 1.0
    names = ["accuracy", "f1", "f1_micro", "roc_auc"]
    history = model.fit(near, y, loss="binary_cross_entropy", optimizer=nn.SGD(1e-9), epochs=1, metrics=names)
    assert history["accuracy"] == [0.5]
    assert "0.5" in str(model.evaluate(near, y))


def test_a_slip_of_the_keys_is_nearer_than_another_name() -> None:
    for written, meant in {"adma": "adam", "Adamm": "adam", "rmsprob": "rmsprop"}.items():
        with pytest.raises(ValueError, match=rf"Did you mean '{meant}'\?"):
            fit(optimizer=written)
