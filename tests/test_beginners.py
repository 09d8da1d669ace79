"""Mistakes of beginners: the error names the mistake and the line that mends it, and that line works."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
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


HALVES, WHOLE = np.arange(30) % 2, np.arange(30)
LINE = nn.Network(nn.Dense(5, "tanh"), nn.Dense(1))


def unnamed() -> nn.Model:
    return fit(network=nn.Network(nn.Dense(4, np.tanh), nn.Dense(3)))


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
                "nn.losses.CrossEntropy(label_smoothing=0.0)(model(X), y)",
            )
        ],
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
    "sizes for layers": Mistake(
        lambda: nn.Network(2, 8, 3),  # type: ignore[arg-type]
        "The size of the inputs is no setting: write nn.Network(nn.Dense(8, 'tanh'), nn.Dense(3)).init((2,))",
        lambda: typed("m = nn.Network(nn.Dense(8, 'tanh'), nn.Dense(3)).init((2,))")["m"](X),
    ),
    "inputs before outputs, with an activation": Mistake(
        lambda: nn.Dense(3, 8, "tanh"),  # type: ignore[arg-type]
        "A layer takes only the size of its outputs, not that of its inputs. Write nn.Dense(8, ...)",
        lambda: nn.Dense(8, "tanh"),
    ),
    "inputs before outputs, with a named activation": Mistake(
        lambda: nn.Dense(3, 8, activation="tanh"),  # type: ignore[misc]
        "got activation twice: by position, 8, and by name, 'tanh'. Leave out one. The size of the inputs is no "
        "setting: nn.Dense(8, ...)",
        lambda: nn.Dense(8, activation="tanh"),
    ),
    "the number of examples for a shape": Mistake(
        lambda: NET.init(X.shape[0]),
        "got 30. If X is an array, write init(X.shape[1:]). Else write (30,), if an example has 30 features",
        lambda: NET.init(X.shape[1:]),
    ),
    "a number for an example": Mistake(
        lambda: LINE.init((1,), backend="numpy")(0.5),  # type: ignore[arg-type]
        "For one example of one feature, write nn.backend('numpy').asarray([[0.5]])",
        lambda: LINE.init((1,))(typed("x = nn.backend('numpy').asarray([[0.5]])")["x"]),
    ),
    "squares of integers": Mistake(
        lambda: fit(WHOLE[:, None], WHOLE**2, LINE, (1,)),
        "842 from the lowest to the highest, look like numbers: pass loss='mse' and y[:, None]",
        lambda: fit(WHOLE[:, None], (WHOLE**2)[:, None], LINE, (1,), loss="mse"),
    ),
    "squares of integers in a column": Mistake(
        lambda: fit(WHOLE[:, None], (WHOLE**2)[:, None], LINE, (1,)),
        "got values from 0 to 841, which look like numbers: pass loss='mse'. If they are classes",
        lambda: fit(WHOLE[:, None], (WHOLE**2)[:, None], LINE, (1,), loss="mse"),
    ),
    "a column of labels as floats": Mistake(
        lambda: fit(y=Y[:, None].astype(float)),
        "For labels, pass loss='cross_entropy', and integers: y = nn.namespace(y).astype(y[:, 0], "
        "nn.namespace(y).int32)",
        lambda: fit(
            y=typed("y = nn.namespace(y).astype(y[:, 0], nn.namespace(y).int32)", y=Y[:, None].astype(float))["y"],
            loss="cross_entropy",
        ),
    ),
    "a function of another library, saved": Mistake(
        lambda: unnamed().save("tanh.safetensors"),
        "Write its name, 'tanh', into the network, and keep the trained numbers: "
        "new = network.init(model.input_shape); new.theta = model.theta; new.save(path)",
        lambda: typed(
            "new = network.init(model.input_shape); new.theta = model.theta; new.save(path)",
            network=nn.Network(nn.Dense(4, "tanh"), nn.Dense(3)),
            model=unnamed(),
            path="tanh.safetensors",
        ),
    ),
    "half a name of a parameter": Mistake(
        lambda: fit().params["weight"],
        "there is no parameter 'weight'; the model has 0.weight, 0.bias, 1.weight, 1.bias",
        lambda: fit().params["0.weight"],
    ),
    "the name of a metric for axes": Mistake(
        lambda: fit().history.plot("accuracy"),
        "history.plot draws the losses; got 'accuracy'. For the metrics, write nn.plotting.plot_metrics(history)",
        lambda: typed("a = nn.plotting.plot_metrics(history)", history=fit(metrics=["accuracy"]).history),
    ),
    "names of classes in a picture": Mistake(
        lambda: nn.plotting.plot_data(X, WORDS),
        "names = sorted(set(y)), y = [names.index(each) for each in y], and pass names=names",
        lambda: nn.plotting.plot_data(X, coded(WORDS), names=sorted(set(WORDS))),
    ),
    "names of classes on a boundary": Mistake(
        lambda: nn.plotting.plot_boundary(fit(), X, WORDS),
        "names = sorted(set(y)), y = [names.index(each) for each in y], and pass names=names",
        lambda: nn.plotting.plot_boundary(fit(), X, coded(WORDS), names=sorted(set(WORDS))),
    ),
    "one axis in a picture": Mistake(
        lambda: nn.plotting.plot_data(X[:, 0], X[:, 1]),
        "got X of shape (30,). For points of one feature, pass X[:, None]",
        lambda: nn.plotting.plot_data(X[:, 0][:, None], X[:, 1]),
    ),
    "one axis in a picture of a fit": Mistake(
        lambda: nn.plotting.plot_fit(LINE.init((1,)), X[:, 0], X[:, 1]),
        "got X of shape (30,). For points of one feature, pass X[:, None]",
        lambda: nn.plotting.plot_fit(LINE.init((1,)), X[:, 0][:, None], X[:, 1]),
    ),
    "one example to standardise": Mistake(
        lambda: nn.datasets.Standardizer.fit(X).transform(X[0]),
        "got (2,). For a single example, pass x[None, ...]",
        lambda: nn.datasets.Standardizer.fit(X).transform(X[0][None, ...]),
    ),
    "X and y swapped on a boundary": Mistake(
        lambda: nn.plotting.plot_boundary(fit(), Y, X),
        "Were X and y swapped?",
        lambda: nn.plotting.plot_boundary(fit(), X, Y),
    ),
    "X and y swapped in an explanation": Mistake(
        lambda: nn.explain(fit(), Y, X), "Were X and y swapped?", lambda: nn.explain(fit(), X, Y, check=False)
    ),
    "a model alone, explained": Mistake(
        lambda: nn.explain(fit()),  # type: ignore[call-arg]
        "explain needs X and y",
        lambda: nn.explain(fit(), X, Y, check=False),
    ),
    "a model called with y": Mistake(
        lambda: fit()(X, Y),  # type: ignore[call-arg]
        "a model takes X only, and returns outputs. With y, call model.evaluate(X, y)",
        lambda: fit().evaluate(X, Y),
    ),
    "a metric of a model": Mistake(
        lambda: nn.metrics.accuracy(fit(), X, Y),  # type: ignore[call-arg,misc,arg-type]
        "For a model, write nn.metrics.accuracy(model(X), y)",
        lambda: typed("a = nn.metrics.accuracy(model(X), y)", model=fit(), X=X, y=Y),
    ),
    "the gradient of a model": Mistake(
        lambda: nn.grad(fit(), X, Y),  # type: ignore[call-arg,misc,arg-type]
        "For the loss of a model, write loss, gradient = nn.value_and_grad(model, X, y)",
        lambda: typed("loss, gradient = nn.value_and_grad(model, X, y)", model=fit(), X=X, y=Y),
    ),
    "a score as an attribute": Mistake(
        lambda: fit().evaluate(X, Y).accuracy,  # type: ignore[attr-defined]
        "Evaluation is a mapping: result['accuracy']",
        lambda: fit().evaluate(X, Y)["accuracy"],
    ),
    "a metric as an attribute": Mistake(
        lambda: fit().accuracy,
        "Use model.evaluate(X, y, metrics=['accuracy'])['accuracy']",
        lambda: typed("a = model.evaluate(X, y, metrics=['accuracy'])['accuracy']", model=fit(), X=X, y=Y),
    ),
    "X and y as one": Mistake(
        lambda: fit().fit((X, Y)),
        "Both were passed as one: write model.fit(*data), with a star",
        lambda: fit().fit(*(X, Y), epochs=1, progress=False),
    ),
    "a misspelt metric of the module": Mistake(
        lambda: nn.metrics.acuracy,
        "Did you mean accuracy?",
        lambda: nn.metrics.accuracy,  # type: ignore[attr-defined]
    ),
    "an activation as a function": Mistake(
        lambda: nn.relu,  # type: ignore[attr-defined]
        "Here it is nn.Activation('relu'), a layer; or write it into one, nn.Dense(16, 'relu'). For the values of an "
        "array: nn.Activation('relu').resolved.value(x)",
        lambda: [nn.Dense(16, "relu"), nn.Activation("relu").resolved.value(X)],
    ),
    "a model of another library, given lists": Mistake(
        lambda: NET.init((2,), backend="strict").predict(X.tolist()),
        "Make one with nn.backend('strict').asarray(X)",
        lambda: NET.init((2,), backend="strict").predict(nn.backend("strict").asarray(X.tolist())),
    ),
    "the weights of a model for its filters": Mistake(
        lambda: nn.plotting.plot_filters(nn.Network(nn.Conv2D(2, 3)).init((6, 6, 1))),  # type: ignore[arg-type]
        "plot_filters takes a weight, such as model.params['0.weight']; got Model",
        lambda: nn.plotting.plot_filters(nn.Network(nn.Conv2D(2, 3)).init((6, 6, 1)).params["0.weight"]),
    ),
    "a number for a key": Mistake(
        lambda: nn.datasets.Augment()(IMAGES / 255, 0),  # type: ignore[arg-type]
        "augmentation draws from a key; got 0. Pass nn.Key(0)",
        lambda: nn.datasets.Augment()(IMAGES / 255, nn.Key(0)),
    ),
    "dropout of channels": Mistake(
        lambda: nn.Dropout2d,  # type: ignore[attr-defined]
        "Here it is nn.Dropout(0.2, spatial=True)",
        lambda: nn.Dropout(0.2, spatial=True),
    ),
    "a scheduler": Mistake(
        lambda: fit(scheduler=1),
        "The optimizer has it: pass optimizer=nn.Adam(nn.schedules.Cosine(0.001, epochs=50))",
        lambda: fit(optimizer=nn.Adam(nn.schedules.Cosine(0.001, epochs=50))),
    ),
    "clipping": Mistake(
        lambda: fit(gradient_clip_val=1),
        "The optimizer has it: nn.Adam(0.001, clip_norm=1.0)",
        lambda: fit(optimizer=nn.Adam(0.001, clip_norm=1.0)),
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


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_named_with_what_mends_it(what: str) -> None:
    mistake = MISTAKES[what]
    with pytest.raises((TypeError, ValueError, AttributeError, KeyError), match=re.escape(mistake.says)):
        mistake.wrong()
    mistake.right()


ELSEWHERE = (
    *("CosineAnnealingLR", "StepLR", "MultiStepLR", "ExponentialLR", "OneCycleLR", "ReduceLROnPlateau", "LinearLR"),
    *("Identity", "clip_grad_norm_", "clip_grad_value_", "autocast", "ConvTranspose2d", "Upsample", "compile"),
)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_another_library_has_is_named_with_code_that_runs(name: str) -> None:
    for place in (nn, nn.schedules) if name.endswith(("LR", "Plateau")) else (nn,):
        with pytest.raises(AttributeError, match=rf"has no attribute '{name}'\. [A-Z]") as caught:
            getattr(place, name)
        for code in re.findall(r"nn\.\w+\((?:[^()]|\([^()]*\))*\)", str(caught.value)):
            typed(f"made = {code}")
    assert "engine" in str(caught.value) or name != "compile"


def test_any_top_k_is_a_metric_by_its_name() -> None:
    history = fit(metrics=["top_2", "top-1"]).history
    assert list(history)[2:4] == ["top_2", "top_1"]
    assert history["top_1"][0] <= history["top_2"][0] <= 1.0


def test_a_loader_without_a_length_trains_and_one_validates() -> None:
    class Loader:
        def __len__(self) -> int:
            raise TypeError("object of type 'Rows' has no len()")

        def __iter__(self) -> Any:
            return iter([(X[:20], Y[:20]), (X[20:], Y[20:])])

    model = NET.init((2,), backend="numpy")
    history = model.fit(Loader(), validation=Loader(), epochs=2, progress=False)
    batches = [(X[:20], Y[:20]), (X[20:], Y[20:])]
    assert float(history["val_loss"][-1]) == pytest.approx(model.evaluate(X, Y)["loss"])
    assert NET.init((2,)).fit(batches, validation=batches, epochs=2, progress=False)["val_loss"] == history["val_loss"]
    held_out = nn.datasets.stream(batches)
    beside_arrays = NET.init((2,)).fit(X, Y, validation=held_out, epochs=2, progress=False)
    assert beside_arrays["val_loss"] == NET.init((2,)).fit(X, Y, validation=(X, Y), epochs=2)["val_loss"]


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


def test_probabilities_for_the_logits_of_a_metric_are_warned_of() -> None:
    p = two_classes().predict_proba(X)[:, 1]
    with pytest.warns(RuntimeWarning, match=r"For probabilities, pass threshold=0\.5"):
        nn.metrics.accuracy(p, HALVES)
    assert float(nn.metrics.accuracy(p, HALVES, threshold=0.5)) == two_classes().evaluate(X, HALVES)["accuracy"]


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
