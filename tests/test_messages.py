"""The field's other names; and messages, followed word for word, end in a trained model."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import losses, metrics, names, optimizers
from nnarray.layers import activations, initializers

# --- Names -----------------------------------------------------------------------------------------------------------

FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Swish": lambda x: x / (1 + np.exp(-x)),
    "linear": lambda x: x,
    None: lambda x: x,
    "Leaky ReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "hard sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "HardTanh": lambda x: np.clip(x, -1, 1),
    "ReLU": lambda x: np.maximum(x, 0),
    "log-softmax": lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True)),
    "gelu_new": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_by_the_names_of_the_field(be: nn.Backend, name: str | None) -> None:
    x = np.linspace(-4, 4, 24).reshape(8, 3).astype("float32")
    model = nn.Network(nn.Dense(3, name, init="orthogonal", bias=False)).init((3,), backend=be, dtype="float32")  # type: ignore[arg-type]
    z = x @ be.to_numpy(model.params["0.weight"])
    np.testing.assert_allclose(be.to_numpy(model(be.asarray(x))), FORMULAS[name](z), rtol=1e-4, atol=1e-5)
    assert model.network.layers[0].activation in activations.FUNCTIONS  # type: ignore[attr-defined]


T = np.asarray([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype="float32")
Z = np.asarray([[0.3, -2.0], [0.2, 3.0], [-0.1, 0.4]], dtype="float32")
D = np.abs(Z - T)
LOGISTIC = 1 / (1 + np.exp(-Z))
LOSS_VALUES = {
    "MSE": (D**2).mean(),
    "L2": (D**2).mean(),
    "mean_squared_error": (D**2).mean(),
    "L1": D.mean(),
    "MeanAbsoluteError": D.mean(),
    "smooth_l1": np.where(D < 1, D**2 / 2, D - 0.5).mean(),
    "BCE": -(T * np.log(LOGISTIC) + (1 - T) * np.log(1 - LOGISTIC)).mean(),
    "binary_crossentropy": -(T * np.log(LOGISTIC) + (1 - T) * np.log(1 - LOGISTIC)).mean(),
    "CategoricalCrossentropy": (np.log(np.exp(Z).sum(axis=1)) - (T * Z).sum(axis=1)).mean(),
    "CrossEntropyLoss": (np.log(np.exp(Z).sum(axis=1)) - (T * Z).sum(axis=1)).mean(),
}


@pytest.mark.parametrize("name", LOSS_VALUES)
def test_losses_by_the_names_of_the_field(be: nn.Backend, name: str) -> None:
    value = losses.loss_named(name)(be.asarray(Z), be.asarray(T))
    assert float(value) == pytest.approx(float(LOSS_VALUES[name]), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SGD", nn.SGD),
        ("gradient descent", nn.SGD),
        ("Adam", nn.Adam),
        ("adam_w", nn.AdamW),
        ("RMS-prop", nn.RMSprop),
        ("L-BFGS", nn.LBFGS),
    ],
)
def test_optimizers_by_the_names_of_the_field(name: str, kind: type) -> None:
    assert optimizers.optimizer_named(name) == kind()


@pytest.mark.parametrize(
    ("name", "bound"),
    [("xavier_uniform", 6 / 10), ("Glorot Uniform", 6 / 10), ("kaiming", 6 / 7), ("lecun_uniform", 3 / 7)],
)
def test_initializers_by_the_names_of_the_field(name: str, bound: float) -> None:
    layer = nn.Dense(3, init=name, bias_init="Zero")
    w = nn.Network(layer).init((7,), seed=1).params["0.weight"]
    assert 0.8 * np.sqrt(bound) < np.abs(w).max() <= np.sqrt(bound)
    assert layer == nn.Dense(3, init=layer.init)
    assert layer.init in initializers.INITIALIZERS


def test_metrics_by_the_names_of_the_field() -> None:
    chosen = metrics.metrics_named(["acc", "top-5", "f1_score", "R2"])
    assert list(chosen) == ["accuracy", "top_5", "f1", "r2"]


TABLES: list[tuple[Any, Any]] = [
    (activations.FUNCTIONS, activations.ALSO),
    (losses.LOSSES, losses.ALSO),
    (optimizers.OPTIMIZERS, optimizers.ALSO),
    (initializers.INITIALIZERS, initializers.ALSO),
    (metrics.METRICS, metrics.ALSO),
]


@pytest.mark.parametrize(("table", "also"), TABLES)
def test_what_is_not_there_is_not_guessed(table: dict[str, Any], also: names.Also) -> None:
    for name, entry in also.items():
        assert entry is None or entry in table
        if entry is None and names.spelled(name, table, also) is None:
            with pytest.raises(ValueError, match=f"^there is no thing '{name}' here; use one of ") as caught:
                names.named(name, table, "thing", also)
            assert "mean" not in str(caught.value).rsplit(".", 1)[-1]


def test_scikit_learn_estimators_know_the_names_too() -> None:
    estimators = pytest.importorskip("nnarray.estimators")
    X, y = nn.datasets.moons(60, noise=0.1, seed=0)
    ours, theirs = (
        estimators.MLPClassifier((5,), name, solver=solver, max_iter=9, tol=1.0, random_state=0).fit(X, y)
        for name, solver in (("sigmoid", "L-BFGS"), ("logistic", "lbfgs"))
    )
    np.testing.assert_array_equal(ours.model_.theta, theirs.model_.theta)
    assert not hasattr(estimators.MLPClassifier(solver="L-BFGS"), "partial_fit")
    assert not hasattr(estimators.NetworkClassifier(optimizer="L-BFGS"), "partial_fit")
    assert ours.activation == "sigmoid"
    estimators.NetworkRegressor(loss="MSE", epochs=1).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="ends in 'softmax', but CrossEntropy takes logits"):
        estimators.NetworkClassifier(nn.Network(nn.Dense(2, "softmax"))).fit(X, y)
    for given in (nn.Dense(2), nn.Network(nn.Dense(2)).init((2,))):
        with pytest.raises(TypeError, match=r"network must be an nn\.Network.*For a model, pass model\.network"):
            estimators.NetworkClassifier(given).fit(X, y)
    with pytest.raises(ValueError, match="there is no loss 'hinge' here"):
        estimators.NetworkClassifier(loss="hinge").fit(X, y)


# --- Following what is said ------------------------------------------------------------------------------------------


class Beginner:
    """Fits, and does what the message says, for a purpose."""

    def __init__(self, be: nn.Backend, X: Any, y: Any, purpose: str, **settings: Any) -> None:
        self.be, self.X, self.y, self.purpose = be, be.asarray(X, dtype="float32"), be.asarray(y), purpose
        self.loss: Any = settings.get("loss", "cross_entropy")
        self.outputs: int = settings.get("outputs", 1)
        self.shape: tuple[int, ...] = settings.get("shape", self.X.shape[1:])
        self.before: tuple[nn.Layer, ...] = settings.get("before", (nn.Dense(5, "tanh"),))
        self.last: str = settings.get("last", "identity")
        self.messages: list[str] = []

    def fit(self) -> nn.Model:
        network = nn.Network(*self.before, nn.Dense(self.outputs, self.last))
        model = network.init(self.shape, backend=self.be, dtype="float32")
        model.fit(self.X, self.y, loss=self.loss, epochs=2, progress=False)
        return model

    def learn(self) -> nn.Model:
        for _ in range(4):
            try:
                return self.fit()
            except (TypeError, ValueError) as error:
                self.messages.append(str(error))
                self.follow(str(error))
        raise AssertionError(f"led in a circle: {self.messages}")

    def follow(self, message: str) -> None:
        clauses = [each for each in re.split(r"[;.] ", message) if self.purpose and self.purpose in each.lower()]
        text = clauses[0] if clauses else message
        known = {"X": self.X, "y": self.y, "xp": self.be.xp, "nn": nn}
        if found := re.search(r"loss='(\w+)'", text) or re.search(r"use (cross_entropy)", text):
            self.loss = found[1]
        if found := re.search(r"y\[[^\]]*\]|nn\.namespace\(y\)\.astype\(y, [\w.()]*int32\)", text):
            self.y = eval(found[0], known)
        if found := re.search(
            r"X\[[^\]]*None\]|X\[0, \.\.\.\]|X\.T|nn\.namespace\(X\)\.permute_dims\(X, \([^)]*\)\)", text
        ):
            self.X = eval(found[0], known)
        if found := re.search(r"init\((X\.shape\[1:\]|\(\d+,\))\)", text.split("Make it with the shape")[-1]):
            self.shape = eval(found[1], known)
        if found := re.search(r"last layer (\d+) output", text):
            self.outputs = int(found[1])
        if "an output for each" in text:
            self.outputs = int(self.be.xp.max(self.y)) + 1
        if "Leave out the last activation" in text:
            self.last = "identity"
        if "nn.Flatten()" in text:
            self.before = (*self.before, nn.Flatten())


RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(12, 2))
REAL, LABELS = POINTS[:, 0] - POINTS[:, 1], np.arange(12) % 2
THREE = np.arange(12) % 3
HOT = np.eye(3)[THREE]
IMAGES = RNG.normal(size=(12, 6, 6, 3))
CHANNELS_FIRST, FLAT = IMAGES.transpose(0, 3, 1, 2), (nn.Flatten(),)

CHAINS: dict[str, tuple[Any, Any, str, dict[str, Any], tuple[int, ...]]] = {
    # X, y, what for, what is done; and the shape of the outputs that are learned
    "real values": (POINTS, REAL, "regression", {}, (1,)),
    "real values in a column": (POINTS, REAL[:, None], "regression", {}, (1,)),
    "real values, two outputs": (POINTS, REAL, "regression", {"outputs": 2}, (1,)),
    "real values in a column, two outputs": (POINTS, REAL[:, None], "regression", {"outputs": 2}, (1,)),
    "two real values": (POINTS, POINTS, "regression", {"outputs": 2}, (2,)),
    "two positive real values": (POINTS, np.abs(POINTS), "regression", {"outputs": 2}, (2,)),
    "real values as probabilities": (POINTS, REAL, "regression", {"loss": "BCE"}, (1,)),
    "integers, for regression": (POINTS, THREE, "regression", {}, (1,)),
    "integers, two classes": (POINTS, LABELS, "two classes", {}, (1,)),
    "integers, more classes": (POINTS, THREE, "more", {}, (3,)),
    "a column of integers, more classes": (POINTS, THREE[:, None], "more", {}, (3,)),
    "a column of labels": (POINTS, LABELS[:, None], "", {"outputs": 2}, (2,)),
    "a column of labels, squared": (POINTS, LABELS[:, None], "labels", {"outputs": 2, "loss": "mse"}, (2,)),
    "labels, squared": (POINTS, LABELS, "labels", {"outputs": 2, "loss": "mse"}, (2,)),
    "values without a column": (POINTS, REAL, "", {"loss": "mse"}, (1,)),
    "labels without a column": (POINTS, LABELS, "", {"loss": "BCE"}, (1,)),
    "labels of three classes for two": (POINTS, THREE, "more", {"loss": "BCE"}, (3,)),
    "labels as floats": (POINTS, LABELS.astype(float), "", {"outputs": 2}, (2,)),
    "columns of classes": (POINTS, HOT, "", {"outputs": 2}, (3,)),
    "several labels": (POINTS, np.ones((12, 3)), "several labels", {"outputs": 3}, (3,)),
    "softmax at the end": (POINTS, LABELS, "", {"outputs": 2, "last": "softmax"}, (2,)),
    "a sigmoid at the end": (POINTS, LABELS[:, None], "", {"loss": "BCE", "last": "sigmoid"}, (1,)),
    "the shape of all": (POINTS, LABELS, "", {"outputs": 2, "shape": (12, 2)}, (2,)),
    "the shape of all, as one example": (POINTS[None], LABELS, "", {"outputs": 2, "shape": (12, 2)}, (2,)),
    "the number of all": (POINTS, LABELS, "", {"outputs": 2, "shape": (12,)}, (2,)),
    "one feature": (POINTS[:, 0], LABELS, "", {"outputs": 2, "shape": (1,)}, (2,)),
    "one feature, all for a shape": (POINTS[:, 0], LABELS, "", {"outputs": 2, "shape": (12,)}, (2,)),
    "grey images": (
        IMAGES[..., 0],
        LABELS,
        "",
        {"outputs": 2, "shape": (6, 6, 1), "before": (nn.Flatten(),)},
        (2,),
    ),
    "channels first": (
        IMAGES.transpose(0, 3, 1, 2),
        LABELS,
        "",
        {"outputs": 2, "shape": (6, 6, 3), "before": (nn.Flatten(),)},
        (2,),
    ),
    "a convolution and no Flatten": (IMAGES, LABELS, "", {"outputs": 2, "before": (nn.Conv2D(3, 3),)}, (2,)),
    "the same, for values": (IMAGES, REAL[:, None], "", {"loss": "mse", "before": (nn.Conv2D(3, 3),)}, (1,)),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_who_follows_the_messages_trains(be: nn.Backend, chain: str) -> None:
    X, y, purpose, settings, wanted = CHAINS[chain]
    beginner = Beginner(be, X, y.astype("float32") if y.dtype.kind == "f" else y, purpose, **settings)
    model = beginner.learn()
    assert model.output_shape == wanted
    assert beginner.messages, "nothing was wrong"
    assert model.input_shape == beginner.X.shape[1:]
    assert beginner.X.shape[0] == beginner.y.shape[0] == 12
    assert float(model.history["loss"][-1]) < float("inf")


@pytest.mark.parametrize("chain", ["real values", "softmax at the end", "a convolution and no Flatten"])
def test_value_and_grad_says_the_same(chain: str) -> None:
    X, y, _, settings, _ = CHAINS[chain]
    b = Beginner(nn.backend("numpy"), X, y, "", **settings)
    model = nn.Network(*b.before, nn.Dense(b.outputs, b.last)).init(b.shape, backend=b.be, dtype="float32")
    with pytest.raises((TypeError, ValueError)) as first:
        model.fit(b.X, b.y)
    with pytest.raises((TypeError, ValueError), match=re.escape(str(first.value))):
        nn.value_and_grad(model, b.X, b.y)


def test_softmax_is_refused_wherever_it_ends_a_network() -> None:
    X, y = POINTS, LABELS
    for end in (
        (nn.Dense(2), nn.Activation("softmax")),
        (nn.Dense(2, nn.Activation("sigmoid")), nn.Dropout(0.1)),
        (nn.Network(nn.Dense(2, "softmax")),),
        (nn.Dense(2, "softmax"), nn.Reshape((2,))),
    ):
        with pytest.raises(ValueError, match="takes logits"):
            nn.Network(*end).init((2,)).fit(X, y)
    nn.Network(nn.Dense(2, "log_softmax")).init((2,)).fit(X, y, epochs=1)  # of itself it is itself
    nn.Network(nn.Dense(2, "softmax")).init((2,)).fit(X, np.eye(2)[y], loss="mse", epochs=1)
    nn.Network(nn.Dense(2, "softmax"), nn.Dense(2)).init((2,)).fit(X, y, epochs=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda X: nn.Network(nn.Dense(2)).init(X),
        lambda X: nn.Network(nn.Dense(2)).init(X.tolist()),
        lambda X: nn.Network(X),
        lambda X: nn.Dense(X),
        lambda X: nn.Dense(2, init=X),
        lambda X: nn.Dropout(X),
        lambda X: nn.Adam(X),
        lambda X: nn.Key(X),
        lambda X: losses.loss_named(X.tolist()),
        lambda X: metrics.metrics_named([3, X]),
        lambda X: nn.Network(nn.Dense(2)).init((2,)).fit(X, X[:, 0] > 0, epochs=X),
        lambda X: nn.Network(nn.Dense(2)).init((2,)).fit(X, X[:, 0] > 0, callbacks=[X]),
        lambda X: nn.Network(nn.Dense(2)).init((2,)).fit(X, X[:, 0] > 0, loss=X),
        lambda X: nn.losses.CrossEntropy(class_weights=X[:, 0]),
    ],
)
def test_no_message_prints_data(call: Any) -> None:
    X = np.full((200, 2), -7.125)
    with pytest.raises((TypeError, ValueError)) as caught:
        call(X)
    assert len(re.findall("7.125", str(caught.value))) < 12
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("X", "y", "settings", "parts"),
    [
        (
            lambda be: POINTS.tolist(),
            lambda be: THREE.tolist(),
            {},
            ("(1) X must be an array", "(2) y must be an array"),
        ),
        (
            lambda be: be.asarray(POINTS[:, :1]),
            lambda be: be.asarray(THREE + 1),
            {},
            ("(1) the network expects (batch, 2)", "init((1,))", "(2) label 3 is out of range", "y - 1"),
        ),
        (
            lambda be: be.asarray(np.where(POINTS > 1.0, np.nan, POINTS), dtype="float32"),
            lambda be: be.asarray(THREE.astype("float32")),
            {"loss": "cross_entropy", "validation": 0.25},
            ("(1) X contains NaN", "(2) CrossEntropy labels must be integers"),
        ),
        (
            lambda be: be.asarray(POINTS[:, :1]),
            lambda be: be.asarray(REAL, dtype="float32"),
            {"loss": "mse"},
            ("(1) the network expects", "(2) MeanSquaredError needs a target of the outputs' shape (12, 3)"),
        ),
    ],
)
def test_one_error_names_the_faults_of_x_and_of_y(be: nn.Backend, X: Any, y: Any, settings: Any, parts: Any) -> None:
    model = nn.Network(nn.Dense(3)).init((2,), backend=be, dtype="float32")
    with pytest.raises((TypeError, ValueError)) as caught:
        model.fit(X(be), y(be), **settings)
    assert re.search(".*".join(map(re.escape, ("X and y are both wrong.", *parts))), str(caught.value))


def test_one_fault_is_named_alone(be: nn.Backend) -> None:
    model = nn.Network(nn.Dense(3)).init((2,), backend=be, dtype="float32")
    X, y = be.asarray(POINTS, dtype="float32"), be.asarray(THREE)
    for call in (
        lambda: model.fit(X[:, :1], y),
        lambda: model.fit(X, y + 1),
        lambda: model.fit(y, X),
        lambda: model.fit(X, y, validation=(X[:, :1], y)),
        lambda: model.fit(X, y[:5]),
    ):
        with pytest.raises(ValueError, match=r"^(?!X and y are both)"):
            call()


@pytest.mark.parametrize("last", ["sigmoid", "identity"])
@pytest.mark.parametrize("loss", ["auto", "cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("column", [False, True])
def test_one_output_for_three_classes_says_all_at_once(be: nn.Backend, last: str, loss: str, column: bool) -> None:
    X, y = be.asarray(POINTS, dtype="float32"), be.asarray(THREE[:, None] if column else THREE)
    model = nn.Network(nn.Dense(1, last)).init((2,), backend=be, dtype="float32")
    with pytest.raises(ValueError, match=r"an output for each, nn\.Dense\(3\)") as caught:
        model.fit(X, y, loss=loss)
    text = str(caught.value)
    assert last == "identity" or re.search("Leave out the last activation|the last layer has no activation", text)
    assert not column or "y[:, 0]" in text
    repaired = nn.Network(nn.Dense(3)).init((2,), backend=be, dtype="float32")
    repaired.fit(X, y[:, 0] if column else y, loss="cross_entropy", epochs=1, progress=False)


def test_one_sigmoid_output_for_two_classes_says_all_at_once(be: nn.Backend) -> None:
    X, y = be.asarray(POINTS, dtype="float32"), be.asarray(LABELS)
    model = nn.Network(nn.Dense(1, "sigmoid")).init((2,), backend=be, dtype="float32")
    for loss in ("auto", "cross_entropy", "binary_cross_entropy"):
        with pytest.raises(ValueError, match=r"y\[:, None\]") as caught:
            model.fit(X, y, loss=loss)
        assert re.search("Leave out the last activation|the last layer has no activation", str(caught.value))
    repaired = nn.Network(nn.Dense(1)).init((2,), backend=be, dtype="float32")
    repaired.fit(X, y[:, None], loss="binary_cross_entropy", epochs=1, progress=False)


def test_what_is_wrong_at_the_next_look() -> None:
    model = nn.Network(nn.Dense(2)).init((2,))
    with pytest.raises(ValueError, match="Were X and y swapped"):
        model.fit(LABELS, POINTS)
    with pytest.raises(ValueError, match=r"accuracy needs classes, but MeanSquaredError reads.*for values, use 'r2'"):
        nn.Network(nn.Dense(1)).init((2,)).fit(POINTS, REAL[:, None], loss="mse", metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"label 2 is out of range.*For regression, pass loss='mse' and y"):
        model.fit(POINTS, THREE)
    with pytest.raises(ValueError, match=r"from -1 to 1. For two classes, number them 0 and 1"):
        nn.Network(nn.Dense(1)).init((2,)).fit(POINTS, 2 * LABELS[:, None] - 1, loss="bce")
    head = nn.Network(nn.Auxiliary(nn.Dense(2, "softmax")), nn.Dense(2))
    with pytest.raises(ValueError, match="ends in 'softmax'"):
        head.init((2,)).fit(POINTS, LABELS)
    with pytest.raises(TypeError, match=r"got 5. A layer takes only the size of its outputs"):
        nn.Dense(2, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got <class '.*EarlyStopping'>. Write EarlyStopping\(\)"):
        model.fit(POINTS, LABELS, callbacks=nn.EarlyStopping)
    with pytest.raises(ValueError, match=r"Conv1D 1 of 1: expects examples of shape \(length, channels\); got \(8,\)"):
        nn.Network(nn.Conv1D(2, 3)).init((8,))
    for given, hint in ((nn.Dense, r"Write Dense\(...\)"), ("relu", r"nn.Activation\('relu'\)"), (5, r"nn.Dense\(5\)")):
        with pytest.raises(TypeError, match=hint):
            nn.Network(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("Linear", "nn.Dense"),
        ("Sequential", "nn.Network"),
        ("Conv2d", "nn.Conv2D"),
        ("BatchNorm2d", "nn.BatchNorm"),
        ("ReLU", r"nn.Activation\('relu'\), a layer; or write it into one, nn\.Dense\(16, 'relu'\)"),
        ("GlobalAveragePooling2D", "nn.GlobalAvgPool"),
        ("RNN", "nn.SimpleRNN"),
    ],
)
def test_layers_by_the_names_of_other_libraries(name: str, here: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'\. Here it is {here}\."):
        getattr(nn, name)
    assert not hasattr(nn, "ConvLSTM2D")


def test_layers_say_where_the_model_is() -> None:
    network = nn.Network(nn.Dense(2))
    for name in ("fit", "predict", "theta", "state_dict", "summary", "anything"):
        with pytest.raises(AttributeError, match=rf"Network has no '{name}'.*init\(X\.shape\[1:\]\)"):
            getattr(network, name)
    for layer in (network, nn.Dense(2), nn.Residual(nn.Dense(2))):
        with pytest.raises(TypeError, match=r"cannot be called.*init\(X\.shape\[1:\]\)"):
            layer(POINTS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda outputs: None, "got None"),
        (lambda outputs: outputs[:, 0], r"got \w+ of shape \(20,\)"),
        (lambda outputs: "0.5", "got '0.5'"),
        (lambda outputs: 10**400, "got 10"),
    ],
)
def test_a_metric_of_ones_own_must_give_one_number(be: nn.Backend, value: Any, message: str) -> None:
    X, y = nn.datasets.moons(20, noise=0.1, seed=0, backend=be)
    model = nn.Network(nn.Dense(2)).init((2,), backend=be)

    def mine(outputs: Any, target: Any) -> Any:
        return value(outputs)

    for more in ({}, {"validation": (X, y)}):
        with pytest.raises(TypeError, match=f"metric 'mine' must return one number; {message}"):
            model.fit(X, y, metrics=[mine], epochs=1, **more)


def test_a_loss_of_ones_own_returns_losses_and_gradient(be: nn.Backend) -> None:
    class Half(nn.Loss):
        def per_example(self, outputs: Any, target: Any) -> Any:
            return outputs - target, target[:, 0]

    x = be.asarray(np.ones((2, 2)), dtype="float32")
    with pytest.raises(TypeError, match=r"Half.per_example must return the losses.* or a pair.*shape \(2, 2\); got"):
        Half()(x, x)


def test_a_loop_of_ones_own_says_what_it_needs(be: nn.Backend) -> None:
    X, y = nn.datasets.moons(20, noise=0.1, seed=0, backend=be)
    model, rule = nn.Network(nn.Dense(2)).init((2,), backend=be), nn.Adam()
    gradient = nn.training_step(model, X, y).gradient
    with pytest.raises(TypeError, match=r"key must be an nn.Key; got 0. Make one from a seed: key=nn.Key\(0\)"):
        nn.training_step(model, X, y, key=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a step needs a model; got .*optimizer.step\(model, gradient"):
        rule.step(model.theta, gradient, rule.slots(model.theta), 0)
    for slots, error in (({}, ValueError), (None, TypeError)):
        with pytest.raises(
            error, match=r"slots must be a dict with mean, square; got .*optimizer.slots\(model.theta\)"
        ):
            rule.step(model, gradient, slots, 0)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r"it works with fit only.*batch_size=None"):
        nn.LBFGS().slots(model.theta)
    with pytest.raises(TypeError, match=r"must be strings, such as '0.weight'; got 0"):
        model.freeze(0)  # type: ignore[arg-type]
    for more in ({}, {"validation": 0.5}):
        with pytest.raises(TypeError, match=r"sample_weight must be an array, one number per example; got dict"):
            model.fit(X, y, sample_weight={0: 1, 1: 2}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{1: 9.0, 2: 1.0}, "19", {1.0, 9.0}, 3.0])
def test_class_weights_of_a_loss_are_in_the_order_of_the_labels(given: Any) -> None:
    kind = type(given).__name__
    with pytest.raises(TypeError, match=rf"one number per class, in the order of the labels, such as .*; got {kind}"):
        nn.losses.CrossEntropy(class_weights=given)


def test_a_training_that_diverges_advises_what_is_not_done_yet(be: nn.Backend) -> None:
    X, y = be.asarray(np.full((8, 2), 1e18), dtype="float32"), be.asarray(np.full((8, 1), 1e18), dtype="float32")
    model = nn.Network(nn.Dense(4), nn.Dense(1)).init((2,), backend=be, dtype="float32")
    with pytest.raises(nn.DivergenceError, match=r"targets that are not .* Lower lr, .*dise y, or set clip_norm\."):
        model.fit(X, y, loss="mse", optimizer=nn.SGD(1e30), epochs=3)
    with pytest.raises(nn.DivergenceError, match=r"inputs that .* Standardise X, or standardise y\.") as found:
        model.fit(X * 1e4, y, loss="mse", optimizer=nn.SGD(1e-9, clip_norm=1.0), epochs=3)
    assert "learning rate that" not in str(found.value)
    assert "clip_norm" not in str(found.value)
    wrong = be.asarray(np.full((8, 2), np.nan), dtype="float32")
    for optimizer in ("sgd", "adam"):
        with pytest.raises(
            nn.DivergenceError, match="X contains NaN or infinity, which check_finite=False does not check"
        ):
            model.fit(wrong, y, loss="mse", optimizer=optimizer, check_finite=False)
    model = model.with_theta(model.theta * float("nan"))
    for optimizer, size in (("adam", 4), ("lbfgs", None)):
        with pytest.raises(nn.DivergenceError, match="the parameters were not finite before training") as found:
            model.fit(X, y, loss="mse", optimizer=optimizer, batch_size=size)
        assert "keeps its last" not in str(found.value)
