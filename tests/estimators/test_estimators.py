"""The scikit-learn interface: its own checks, comparisons with its networks, and data that stay on their device."""

from __future__ import annotations

import importlib.util
import math
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn import config_context, neural_network
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, make_blobs, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import nnarray as nn
from nnarray.estimators import MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor
from nnarray.estimators.objectives import HalfPoissonDeviance, HalfSquaredError, SummedBinaryCrossEntropy
from nnarray.estimators.scores import r2
from tests.packages import package
from tests.processes import run_python

pl = package("polars")

unfinished = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ALL = (MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor)
CLASSIFIERS, REGRESSORS = ALL[::2], ALL[1::2]


def brief(kind: type, **settings: Any) -> Any:
    """An estimator that trains for three epochs."""
    length = {"epochs": 3} if kind in ALL[2:] else {"max_iter": 3}
    return kind(**{**length, "random_state": 0, **settings})


def clouds(count: int = 90, classes: int = 3, features: int = 4) -> tuple[np.ndarray, np.ndarray]:
    X, y, *_ = make_blobs(count, features, centers=classes, random_state=0)
    return StandardScaler().fit_transform(X), y


# --- scikit-learn's own checks ---------------------------------------------------------------------------------------


def missing() -> set[str]:
    """What scikit-learn would only skip: libraries and devices that are not here."""
    words = {name for name in ("cupy", "dpnp", "torch") if importlib.util.find_spec(name) is None} | {"xpu", "mps"}
    if "torch" not in words and package("torch").cuda.is_available():
        return words
    return words | {"cuda"}


def checks() -> list[Any]:
    """None is expected to fail, as for scikit-learn's MLPClassifier and MLPRegressor."""
    found, absent = [], missing() | {"output_format_decision_function"}
    for estimator in (MLPClassifier(max_iter=100), MLPRegressor(max_iter=100), NetworkClassifier(), NetworkRegressor()):
        for each, check in estimator_checks_generator(estimator):
            text = str(check)
            if not any(word in text for word in absent):
                found.append(pytest.param(each, check, id=f"{type(each).__name__}-{check.func.__name__}"))
    return found


@unfinished
@pytest.mark.filterwarnings("ignore:after .* epochs the loss is:RuntimeWarning")  # its data are not standardised
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_scikit_learn_is_content(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


def test_the_parameters_are_those_of_scikit_learn() -> None:
    for ours, theirs in ((MLPClassifier, neural_network.MLPClassifier), (MLPRegressor, neural_network.MLPRegressor)):
        usual = theirs().get_params()
        assert {name: ours().get_params()[name] for name in usual} == usual
        more = set(ours().get_params()) - set(usual)
        assert more <= {"loss", "dropout", "class_weight", "callbacks", "backend", "dtype"}


# --- As good as scikit-learn's ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:900] / 16, y[:900]


@unfinished
@pytest.mark.parametrize(
    "settings",
    [
        {"max_iter": 30},
        {"max_iter": 30, "solver": "sgd", "learning_rate_init": 0.1},
        {"max_iter": 30, "solver": "sgd", "learning_rate_init": 0.2, "momentum": 0.0, "learning_rate": "adaptive"},
        {"max_iter": 30, "solver": "sgd", "learning_rate_init": 0.5, "learning_rate": "invscaling", "power_t": 0.2},
        {"max_iter": 60, "solver": "lbfgs", "alpha": 0.1},
        {"max_iter": 30, "activation": "tanh", "hidden_layer_sizes": (30, 20), "alpha": 0.5},
        {"max_iter": 30, "activation": "logistic", "learning_rate_init": 0.01},
        {"max_iter": 60, "early_stopping": True, "learning_rate_init": 0.005},
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_as_good_as_scikit_learn_on_digits(settings: dict[str, Any], digits: tuple[Any, Any]) -> None:
    X, y = digits
    kinds = (MLPClassifier, neural_network.MLPClassifier)
    ours, theirs = (kind(random_state=1, **settings).fit(X[:600], y[:600]) for kind in kinds)
    assert ours.score(X[600:], y[600:]) > theirs.score(X[600:], y[600:]) - 0.03
    assert [w.shape for w in ours.coefs_] == [w.shape for w in theirs.coefs_]
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name


@unfinished
def test_as_good_as_scikit_learn_on_a_regression() -> None:
    X, y = make_regression(300, 10, noise=1.0, random_state=0)
    y = y / y.std()
    for settings in ({}, {"solver": "lbfgs"}, {"early_stopping": True}, {"loss": "poisson", "max_iter": 60}):
        target = np.exp(y) if "loss" in settings else y
        ours, theirs = (
            kind(random_state=0, **{"max_iter": 400, "learning_rate_init": 0.005, **settings}).fit(
                X[:200], target[:200]
            )
            for kind in (MLPRegressor, neural_network.MLPRegressor)
        )
        gap = 0.2 if "loss" in settings else 0.03
        assert ours.score(X[200:], target[200:]) > theirs.score(X[200:], target[200:]) - gap
        assert ours.out_activation_ == theirs.out_activation_


def exchanged(theirs: Any, ours: Any) -> None:
    """Give ours the parameters of scikit-learn's."""
    names = list(ours.model_.params)
    both = [each for pair in zip(theirs.coefs_, theirs.intercepts_, strict=True) for each in pair]
    ours.model_.set_params(dict(zip(names, both, strict=True)))


@unfinished
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_same_steps_as_scikit_learn(solver: str, weighted: bool, classes: int) -> None:
    X, y = clouds(60, classes)
    weights = np.linspace(0.5, 2.0, 60) if weighted else None
    settings = {
        "hidden_layer_sizes": (8,),
        "solver": solver,
        "alpha": 2.0,
        "batch_size": 60,
        "epsilon": 1e-12,
        "learning_rate_init": 0.05,
        "shuffle": False,
        "random_state": 0,
        "warm_start": True,
    }
    theirs = neural_network.MLPClassifier(max_iter=1, **settings).fit(X, y)
    ours = MLPClassifier(max_iter=1, **settings).fit(X, y)
    exchanged(theirs, ours)
    for each in (ours, theirs):
        each.set_params(max_iter=4).fit(X, y, sample_weight=weights)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


def test_code_for_scikit_learn_runs_with_another_import() -> None:
    X, y = [[0.0, 0.0], [1.0, 1.0]], [0, 1]
    for module in (neural_network, nn.estimators):
        classifier = module.MLPClassifier(solver="lbfgs", alpha=1e-5, hidden_layer_sizes=(5, 2), random_state=1)
        classifier.fit(X, y)
        assert classifier.predict([[2.0, 2.0], [-1.0, -2.0]]).tolist() == [1, 0]
        assert [weights.shape for weights in classifier.coefs_] == [(2, 5), (5, 2), (2, 1)]
        assert classifier.predict_proba([[2.0, 2.0], [1.0, 2.0]]).shape == (2, 2)


def test_several_labels_as_scikit_learn() -> None:
    X, y = [[0.0, 0.0], [1.0, 1.0]], [[0, 1], [1, 1]]
    for module in (neural_network, nn.estimators):
        classifier = module.MLPClassifier(solver="lbfgs", alpha=1e-5, hidden_layer_sizes=(15,), random_state=1)
        classifier.fit(X, y)
        assert classifier.predict([[1.0, 2.0]]).tolist() == [[1, 1]]
        assert classifier.predict([[0.0, 0.0]]).tolist() == [[0, 1]]
        assert classifier.classes_.tolist() == [0, 1]
        assert classifier.out_activation_ == "logistic"


# --- Data stay where they are ----------------------------------------------------------------------------------------


@unfinished
@pytest.mark.parametrize("kind", ALL)
def test_arrays_stay_where_they_are(kind: type, be: nn.Backend, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = clouds()
    data = be.asarray(X, dtype=dtype), be.asarray(y) if kind in CLASSIFIERS else be.asarray(X[:, :2], dtype=dtype)
    weights = be.asarray(np.ones(len(y)), dtype=dtype)
    if be.library.name != "numpy":  # nothing may come to the host but single numbers
        monkeypatch.setattr(type(be.library), "to_host", None)
    model = brief(kind, early_stopping=True, validation_fraction=0.3).fit(*data, sample_weight=weights)
    results = [model.predict(data[0])]
    if kind in CLASSIFIERS:
        results += [model.predict_proba(data[0]), model.predict_log_proba(data[0]), model.classes_]
    for each in results:
        assert nn.namespace(each) is be.xp
        assert nn.device_of(each) == be.device
    assert nn.backends.dtype_name(model.model_.theta.dtype) == dtype
    assert 0 <= model.score(*data, sample_weight=weights) <= 1 or kind in REGRESSORS
    assert isinstance(model.score(*data), float)


@unfinished
@pytest.mark.parametrize("kind", ALL[:2])
def test_the_same_numbers_everywhere(kind: type, be: nn.Backend, dtype: str) -> None:
    X, y = clouds()
    y = y if kind in CLASSIFIERS else X[:, 0]
    here = brief(kind, dtype=dtype).fit(X, y)
    there = brief(kind).fit(be.asarray(X, dtype=dtype), be.asarray(y))
    found, wanted = there.predict(be.asarray(X, dtype=dtype)), here.predict(X)
    np.testing.assert_allclose(be.to_numpy(found), wanted, rtol=1e-3, atol=1e-3)
    assert there.loss_ == pytest.approx(here.loss_, rel=1e-4)


@unfinished
@pytest.mark.parametrize("kind", ALL[1:3])
def test_backend_moves_data_there_and_predictions_back(kind: type, be: nn.Backend) -> None:
    X, y = clouds()
    y = np.asarray(["ash", "beech", "oak"])[y] if kind in CLASSIFIERS else X[:, 0]
    model = brief(kind, backend=be.name, dtype="float32").fit(X, y)
    assert nn.namespace(model.model_.theta) is be.xp
    assert isinstance(model.predict(X), np.ndarray)
    assert isinstance(model.score(X, y), float)
    model.partial_fit(pd.DataFrame(X), y)
    if kind in CLASSIFIERS:
        assert isinstance(model.predict_proba(X), np.ndarray)
        assert set(model.predict(X)) <= {"ash", "beech", "oak"}


@unfinished
def test_a_model_on_another_device_is_reported(be: nn.Backend) -> None:
    X, y = clouds()
    model = brief(MLPClassifier).fit(X, y)
    there = be.asarray(X, dtype="float32")
    if be.name == "numpy":
        assert model.predict(there).shape == y.shape
        return
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(ValueError, match=rf"MLPClassifier.{method}\(\) must use the same namespace.*backend="):
            getattr(model, method)(there)
    assert brief(MLPClassifier, backend="numpy").fit(there, y).predict(there).shape == y.shape


@unfinished
def test_text_stays_on_the_host_beside_inputs_elsewhere(be: nn.Backend) -> None:
    X, y = clouds()
    names = np.asarray(["ash", "beech", "oak"])[y]
    there = be.asarray(X, dtype="float32")
    model = MLPClassifier((20,), max_iter=40, learning_rate_init=0.05, random_state=0).fit(there, names)
    assert model.predict(there).dtype == names.dtype
    assert model.score(there, names) > 0.9
    assert nn.namespace(model.predict_proba(there)) is be.xp
    model.partial_fit(there, names)


@unfinished
def test_numbers_on_the_host_follow_the_inputs(be: nn.Backend) -> None:
    X, y = clouds()
    model = brief(MLPClassifier).fit(be.asarray(X, dtype="float32"), y.tolist(), sample_weight=np.ones(len(y)))
    assert nn.namespace(model.classes_) is be.xp


@unfinished
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_several_outputs_everywhere(kind: type, be: nn.Backend) -> None:
    X, y = make_multilabel_classification(40, 5, n_classes=3, random_state=0)
    X, y = be.asarray(X, dtype="float32"), be.asarray(y)
    model = brief(kind, early_stopping=True).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.partial_fit is not None
    if kind is MLPClassifier:
        assert bool(be.xp.all((model.predict(X) == 0) | (model.predict(X) == 1)))
        assert model.predict_proba(X).shape == y.shape


@unfinished
def test_move_estimator_to_of_scikit_learn(be: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.utils._array_api import move_estimator_to

    if be.name not in ("torch", "numpy", "strict"):
        return  # scikit-learn knows no others
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    X, y = clouds()
    here = brief(MLPClassifier).fit(X, y)
    with config_context(array_api_dispatch=True):
        there = move_estimator_to(here, be.xp, be.device)
        moved = there.predict(be.asarray(X))
    assert nn.namespace(there.classes_) is be.xp
    assert be.to_numpy(moved).tolist() == here.predict(X).tolist()


@unfinished
def test_cross_validation_under_dispatch(monkeypatch: pytest.MonkeyPatch) -> None:
    be = nn.backend("torch")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    X, y = (be.asarray(each) for each in clouds())
    with config_context(array_api_dispatch=True):
        scores = cross_val_score(MLPClassifier((10,), max_iter=40, learning_rate_init=0.05), X, y, cv=3)
        search = GridSearchCV(brief(MLPClassifier), {"alpha": [1e-4, 1.0]}, cv=2).fit(X, y)
    assert min(scores) > 0.8
    assert nn.namespace(search.predict(X)) is be.xp


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((4, 3)), "X has 3 features, but MLPClassifier is expecting 4"),
        (np.ones(4), "2D array"),
        (np.ones((2, 4, 1)), "2D array|dim 3"),
        (np.ones((0, 4)), r"0 sample|is empty"),
        (np.asarray([[1.0, np.nan, 0.0, 0.0]]), "NaN"),
        (np.asarray([[1.0, np.inf, 0.0, 0.0]]), "infinity"),
    ],
)
@unfinished
def test_bad_inputs_are_reported_everywhere(be: nn.Backend, X: np.ndarray, message: str) -> None:
    inputs, y = clouds()
    model = brief(MLPClassifier).fit(be.asarray(inputs, dtype="float32"), be.asarray(y))
    with pytest.raises(ValueError, match=message):
        model.predict(be.asarray(X, dtype="float32"))


@unfinished
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.linspace(0.1, 1.0, 6), "Unknown label type"),
        (np.asarray([[0, 3], [1, 2], [0, 1], [1, 1], [1, 2], [0, 0]]), "several columns|0 and 1"),
        (np.ones((6, 1, 1)), r"dim 3|shape \(N,\)"),
        (np.asarray([0, 1, 1]), "inconsistent"),
        (np.asarray([0.0, 1.0, np.nan, 1.0, 0.0, 1.0]), "NaN"),
    ],
)
def test_bad_labels_are_reported_everywhere(be: nn.Backend, y: np.ndarray, message: str) -> None:
    X = be.asarray(np.eye(6), dtype="float32")
    y = be.asarray(y, dtype="float32") if y.dtype.kind == "f" else be.asarray(y)
    with pytest.raises(ValueError, match=message):
        brief(MLPClassifier).fit(X, y)


@unfinished
def test_dtypes() -> None:
    X, y = clouds()
    for given, wanted in (("float32", "float32"), ("float64", "float64"), ("int64", "float64"), ("float16", "float64")):
        model = brief(MLPClassifier).fit((X * 10).astype(given), y)
        assert model.model_.theta.dtype == model.predict_proba((X * 10).astype(given)).dtype == wanted
    model = brief(MLPClassifier, dtype="float32").fit(X, y)
    assert model.predict_proba(X).dtype == "float32"


# --- In scikit-learn's company ---------------------------------------------------------------------------------------


@unfinished
def test_columns_of_mixed_types_in_a_pipeline() -> None:
    frame = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0] * 10, "kind": ["a", "b", "a", "c"] * 10})
    y = np.where(frame["kind"] == "a", "yes", "no")
    for sparse in (False, True):
        columns = ColumnTransformer(
            [("numbers", StandardScaler(), ["size"]), ("text", OneHotEncoder(sparse_output=sparse), ["kind"])],
            sparse_threshold=1.0 if sparse else 0.0,
        )
        pipe = make_pipeline(columns, MLPClassifier((20,), learning_rate_init=0.05, max_iter=60, random_state=0))
        assert pipe.fit(frame, y).score(frame, y) == 1.0
        assert set(pipe.predict(frame)) == {"yes", "no"}


@unfinished
def test_set_output_names_the_features() -> None:
    X, y = clouds()
    pipe = make_pipeline(StandardScaler(), brief(MLPClassifier)).set_output(transform="pandas")
    pipe.fit(pd.DataFrame(X, columns=list("abcd")), y)
    assert pipe[-1].feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        pipe[-1].predict(pd.DataFrame(X, columns=list("dcba")))


@unfinished
def test_grid_search_and_cross_validation() -> None:
    X, y = clouds()
    grid = {"alpha": np.asarray([1e-4, 1.0]), "hidden_layer_sizes": [(5,), (5, 5)], "solver": ["adam", nn.SGD(0.1)]}
    search = GridSearchCV(brief(MLPClassifier), grid, cv=2, n_jobs=1).fit(X, y)
    assert set(search.best_params_) == set(grid)
    network = nn.Network(nn.Dense(8, "gelu"), nn.Dense(3))
    scores = cross_val_score(NetworkClassifier(network, optimizer=nn.Adam(0.05), epochs=20), X, y, cv=3)
    assert scores.min() > 0.9


@unfinished
@pytest.mark.parametrize("kind", ALL)
def test_clone_pickle_and_display(kind: type, tmp_path: Any) -> None:
    X, y = clouds()
    model = brief(kind, dtype="float32").fit(X, y)
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "model_")
    joblib.dump(model, tmp_path / "model.joblib")
    for again in (joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        again.partial_fit(X, y)
    assert kind.__name__ in model._repr_html_()
    assert kind.__name__ in repr(model)


@unfinished
def test_pickles_from_everywhere(be: nn.Backend) -> None:
    X, y = (be.asarray(each) for each in clouds())
    model = brief(MLPClassifier).fit(be.xp.astype(X, be.dtype()), y)
    again = pickle.loads(pickle.dumps(model))
    assert bool(be.xp.all(again.predict(X) == model.predict(X)))


@unfinished
def test_sparse_inputs_are_taken_or_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = clouds()
    model = brief(MLPClassifier).fit(csr_matrix(X), y)
    np.testing.assert_allclose(model.predict_proba(csr_matrix(X)), brief(MLPClassifier).fit(X, y).predict_proba(X))
    monkeypatch.setattr("nnarray.estimators.inputs.DENSE_LIMIT", 100)
    with pytest.raises(ValueError, match=r"sparse X of shape \(90, 4\) would take .* GiB.*TruncatedSVD.*toarray"):
        model.fit(csr_matrix(X), y)


@unfinished
def test_predict_from_several_threads() -> None:
    X, y = clouds(300)
    model = brief(MLPClassifier).fit(X, y)
    wanted = model.predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.predict_proba(X), range(40)):
            np.testing.assert_array_equal(found, wanted)


# --- Labels and weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [-1, 1], [1.0, 2.0], ["a", "b", "c"], [3, 5, 9]])
def test_labels_of_any_kind(names: list[Any]) -> None:
    X, y = clouds(classes=len(names))
    labels = np.asarray(names)[y]
    model = MLPClassifier((20,), learning_rate_init=0.05, tol=1e-3, random_state=0).fit(X, labels)
    assert model.classes_.tolist() == names
    assert model.score(X, labels) > 0.9
    assert model.predict(X).dtype == labels.dtype
    assert model.out_activation_ == ("logistic" if len(names) == 2 else "softmax")
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)), atol=1e-9)
    if labels.dtype.kind == "U":
        assert model.fit(X, labels.astype(object)).predict(X).dtype == object


@unfinished
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_one_class_only(kind: type) -> None:
    X, _ = clouds()
    model = brief(kind).fit(X, np.full(len(X), "only"))
    assert set(model.predict(X)) == {"only"}
    np.testing.assert_allclose(model.predict_proba(X), model.predict_proba(X)[:, :1])
    assert model.predict_log_proba(X).shape == (len(X), 1)


@unfinished
@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("loss", ["log_loss", "cross_entropy", "binary_cross_entropy"])
def test_the_only_class_is_certain(be: nn.Backend, kind: type, loss: str) -> None:
    X, y = be.asarray(np.ones((20, 3)), dtype="float32"), be.asarray([7] * 20)
    fitted = brief(kind, loss=loss).fit(X, y)
    grown = brief(kind, loss=loss).partial_fit(X, y, classes=be.asarray([7]))
    for model in (fitted, grown):
        np.testing.assert_array_equal(be.to_numpy(model.predict_proba(X)), np.ones((20, 1)))
        np.testing.assert_array_equal(be.to_numpy(model.predict_log_proba(X)), np.zeros((20, 1)))
        np.testing.assert_array_equal(be.to_numpy(model.predict(X)), np.full(20, 7))
        assert model.score(X, y) == 1.0


NUMBERS = {
    "19 digits": np.asarray([9_007_199_254_740_993_001, 9_007_199_254_740_993_002, 9_007_199_254_740_993_003]),
    "negative": np.asarray([-(2**63), -(2**63) + 1, 2**53 + 1]),
    "unsigned": np.asarray([3, 2**64 - 2, 2**64 - 1], dtype=np.uint64),
}


@unfinished
@pytest.mark.parametrize("name", NUMBERS)
def test_large_integers_stay_the_classes_that_they_are(be: nn.Backend, name: str) -> None:
    labels = NUMBERS[name]
    X, numbers = clouds()
    X, y = be.asarray(X, dtype="float32"), labels[numbers]
    weights = {int(labels[0]): 2.0}
    model = brief(NetworkClassifier, epochs=30, optimizer=nn.Adam(0.05), class_weight=weights).fit(X, y)
    np.testing.assert_array_equal(be.to_numpy(model.classes_), labels)
    assert set(be.to_numpy(model.predict(X)).tolist()) == set(labels.tolist())
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="classes not in"):
        model.set_params(warm_start=True).fit(X, labels[numbers] - np.asarray(1, dtype=labels.dtype))


def test_a_list_of_large_integers_is_not_rounded() -> None:
    X = np.arange(8.0)[:, None]
    model = brief(NetworkClassifier).fit(X, [3, 2**63 + 1] * 4)
    assert model.classes_.tolist() == [3, 2**63 + 1]
    column = pd.Series([10**18, 10**18 + 1] * 4, dtype="Int64")  # whose entries may be missing: NumPy would make floats
    assert brief(NetworkClassifier).fit(X, column).classes_.tolist() == [10**18, 10**18 + 1]
    with pytest.raises(ValueError, match=r"64 bits cannot hold. Pass names of classes as strings"):
        brief(NetworkClassifier).fit(X, [3, 2**64] * 4)


@unfinished
@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_regression_says_that_it_rounds_integers(be: nn.Backend, kind: type) -> None:
    X = be.asarray(np.ones((20, 3)), dtype="float32")
    for y in (be.asarray(np.arange(20) + 2**24 + 1), np.arange(20) + 2**60):
        with pytest.warns(
            UserWarning,
            match="y has integers beyond 16777216, which float32 rounds. If they are names of classes, use",
        ):
            brief(kind, callbacks=lambda run: run.stop("enough")).fit(X, y)
    brief(kind, callbacks=lambda run: run.stop("enough")).fit(X, be.asarray(np.arange(20)))


@pytest.mark.parametrize("kind", ALL)
def test_numbers_that_the_dtype_cannot_hold_are_refused(kind: type) -> None:
    X, y = clouds()
    said = "X has numbers that float32, the model's dtype, cannot hold: row 5, column 2. Standardise X"
    model = brief(kind, dtype="float32", callbacks=lambda run: run.stop("enough")).fit(X, y)
    wrong = X.copy()
    wrong[5, 2] = 1e39
    asked = [model.predict, lambda X: model.score(X, y), lambda X: model.fit(X, y)]
    for ask in [*asked, model.predict_proba] if kind in CLASSIFIERS else asked:
        with pytest.raises(ValueError, match=said):
            ask(wrong)
    torch = nn.backend("torch")
    with pytest.raises(ValueError, match=said):
        brief(kind, dtype="float32").fit(torch.asarray(wrong), torch.asarray(y))
    if kind in REGRESSORS:
        with pytest.raises(ValueError, match=r"y has numbers that float32.*Standardise y"):
            model.fit(X, y * 1e39)


def test_a_column_of_labels_is_taken_with_a_warning() -> None:
    X, y = clouds()
    with pytest.warns(DataConversionWarning):
        NetworkClassifier(epochs=1).fit(X, y[:, None])


@unfinished
@pytest.mark.parametrize("kind", ALL)
def test_a_weight_of_two_counts_as_two(kind: type) -> None:
    X, y = clouds(20)
    weights = np.arange(20) % 3
    whole = {"batch_size": None} if kind in ALL[2:] else {"alpha": 0.5}
    model = brief(kind, **whole).fit(X, y, sample_weight=weights)
    again = brief(kind, **whole).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(model.model_.theta, again.model_.theta, rtol=1e-5, atol=1e-8)


@unfinished
def test_class_weights(be: nn.Backend) -> None:
    X, y = clouds(60, 2)
    y = (np.arange(60) % 5 == 0).astype(int)
    each = np.where(y == 1, 60 / (2 * 12), 60 / (2 * 48))
    X, y = be.asarray(X, dtype="float32"), be.asarray(y)
    wanted = brief(MLPClassifier).fit(X, y, sample_weight=each).loss_
    for given in ("balanced", {0: 60 / 96, 1: 60 / 24}):
        assert brief(MLPClassifier, class_weight=given).fit(X, y).loss_ == pytest.approx(wanted, rel=1e-5)
    half = be.asarray(np.full(60, 0.5))
    assert brief(MLPClassifier, class_weight="balanced", alpha=0).fit(X, y, half).loss_ == pytest.approx(
        brief(MLPClassifier, alpha=0).fit(X, y, sample_weight=each).loss_, rel=1e-5
    )


@unfinished
def test_class_weights_by_name() -> None:
    X, y = clouds(60, 2)
    names = np.where(y == 1, "yes", "no")
    one = brief(MLPClassifier, class_weight={"yes": 3.0}).fit(X, names)
    two = brief(MLPClassifier).fit(X, names, sample_weight=np.where(y == 1, 3.0, 1.0))
    assert one.loss_ == pytest.approx(two.loss_)
    for wrong, message in (("balance", "must be 'balanced'"), ({"maybe": 1}, "maybe"), (3, "must be 'balanced'")):
        with pytest.raises(ValueError, match=message):
            brief(MLPClassifier, class_weight=wrong).fit(X, names)
    with pytest.raises(ValueError, match="several labels"):
        brief(MLPClassifier, class_weight="balanced").fit(X, np.eye(60)[:, :2].astype(int))


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0], "inconsistent"), (np.ones((90, 1)), r"shape \(90,\)"), (-np.ones(90), "negative"), (np.zeros(90), "zero")],
)
def test_bad_weights_are_reported(weights: Any, message: str) -> None:
    X, y = clouds()
    with pytest.raises(ValueError, match=message):
        brief(MLPClassifier).fit(X, y, sample_weight=weights)


# --- Losses, activations, optimizers ---------------------------------------------------------------------------------


@unfinished
@pytest.mark.parametrize("activation", sorted(nn.layers.activations.FUNCTIONS))
def test_every_activation(activation: str) -> None:
    X, y = clouds(30)
    assert brief(MLPClassifier, hidden_layer_sizes=(4,), activation=activation, dropout=0.1).fit(X, y).loss_ > 0


@unfinished
@pytest.mark.parametrize("solver", ["adamw", "rmsprop", "adagrad", nn.AdamW(0.01), nn.Adam(nn.schedules.Step(0.1, 2))])
def test_every_solver(solver: Any) -> None:
    X, y = clouds()
    model = brief(MLPClassifier, solver=solver).fit(X, y)
    model.partial_fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@dataclass(frozen=True)
class Hinge(nn.Loss):
    """L_n = sum over the classes of max(0, 1 - (2 t - 1) o)."""

    def per_example(self, outputs: Any, target: Any) -> tuple[Any, Any]:
        xp = nn.namespace(outputs)
        sign = 2.0 * target - 1.0
        room = xp.maximum(1.0 - sign * outputs, xp.zeros_like(outputs))
        return xp.sum(room, axis=1), xp.where(room > 0, -sign, 0.0)


@unfinished
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_losses_of_classifiers(kind: type, classes: int) -> None:
    X, y = clouds(classes=classes)
    more = {"optimizer": nn.Adam(0.02), "epochs": 20} if kind is NetworkClassifier else {"max_iter": 60}
    for loss in (nn.losses.CrossEntropy(label_smoothing=0.1), Hinge(), "cross_entropy"):
        model = brief(kind, loss=loss, **more).fit(X, y)
        assert (model.out_activation_, model.n_outputs_) == ("softmax", classes)
        assert model.score(X, y) > 0.9
    if classes == 2:
        assert brief(kind, loss="binary_cross_entropy").fit(X, y).n_outputs_ == 1
        return
    with pytest.raises(ValueError, match="BinaryCrossEntropy is for two classes"):
        brief(kind, loss=nn.losses.BinaryCrossEntropy()).fit(X, y)
    with pytest.raises(ValueError, match="CrossEntropy is for one class"):
        brief(kind, loss="cross_entropy").fit(X, np.eye(90)[:, :3].astype(int))


@unfinished
@pytest.mark.parametrize("loss", ["mse", "mae", "huber", nn.losses.Huber(0.5), nn.losses.MeanAbsoluteError])
def test_losses_of_regressors(loss: Any) -> None:
    X, _ = clouds()
    model = brief(MLPRegressor, loss=loss).fit(X, X[:, :2])
    assert model.predict(X).shape == (90, 2)
    with pytest.raises(ValueError, match="for classes"):
        brief(MLPRegressor, loss=nn.losses.CrossEntropy()).fit(X, X[:, 0])


@pytest.mark.parametrize("loss", [HalfSquaredError(), HalfPoissonDeviance(), SummedBinaryCrossEntropy()])
def test_gradients_of_the_losses(loss: nn.Loss, be: nn.Backend) -> None:
    if "float64" not in be.dtypes:
        return
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 3)).astype(float)
    _, gradient = loss.value_and_gradient(be.asarray(z), be.asarray(t))
    for i in np.ndindex(5, 3):
        step = np.zeros_like(z)
        step[i] = 1e-6
        derivative = (
            float(loss(be.asarray(z + step), be.asarray(t))) - float(loss(be.asarray(z - step), be.asarray(t)))
        ) / 2e-6
        assert be.to_numpy(gradient)[i] == pytest.approx(derivative, abs=1e-7)


def test_poisson_needs_targets_that_are_not_negative() -> None:
    with pytest.raises(ValueError, match="not negative; got -1"):
        brief(MLPRegressor, loss="poisson").fit(np.eye(3), [-1.0, 0.0, 2.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "relo"}, "unknown activation 'relo'.*Did you mean 'relu'"),
        ({"solver": "adm"}, "unknown solver 'adm'.*Did you mean 'adam'"),
        ({"loss": "logg_loss"}, "unknown loss 'logg_loss'.*Did you mean 'log_loss'"),
        ({"solver": "sgd", "learning_rate": "adaptiv"}, "unknown learning_rate.*Did you mean 'adaptive'"),
        ({"batch_size": "all"}, "unknown batch_size 'all'.*auto"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"hidden_layer_sizes": (0,)}, "each of hidden_layer_sizes must be an integer of at least 1"),
        ({"alpha": -1}, "alpha must be a finite number of at least 0"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"tol": -1.0}, "tol must be"),
        ({"learning_rate_init": 0.0}, "learning rate must be a finite number above 0"),
        ({"beta_1": 1.0}, "beta_1 must be"),
        ({"epsilon": 0.0}, "epsilon must be"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be"),
        ({"dropout": 1.0}, "Dropout rate must satisfy"),
        ({"early_stopping": True, "validation_fraction": 1.0}, "validation_fraction must be"),
        (
            {"early_stopping": True, "validation_fraction": 0.01},
            "training set is too small.*holds out 1",
        ),
        ({"backend": "nump"}, "unknown backend 'nump'.*Did you mean 'numpy'"),
        ({"dtype": "float33"}, "no dtype 'float33'"),
    ],
    ids=lambda s: "-".join(map(str, s)) if isinstance(s, dict) else "",
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    X, y = clouds()
    with pytest.raises(ValueError, match=message):
        brief(MLPClassifier, **settings).fit(X, y)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", ["early_stopping", "warm_start", "nesterovs_momentum", "shuffle", "verbose"])
def test_switches_are_true_or_false(kind: type, name: str) -> None:
    """The text "False" would count as true, and change a training in silence."""
    if name not in kind().get_params():
        return
    X, y = clouds(classes=2)
    for value in ("False", "false", "no", "val_loss", None, [], *(() if name == "verbose" else (1, 0.0))):
        estimator = brief(kind, **{name: value})
        with pytest.raises(TypeError, match=f"{name} must be True or False; got "):
            estimator.fit(X, y)
        with pytest.raises(TypeError, match=f"{name} must be True or False; got "):
            estimator.partial_fit(X, y, **({"classes": [0, 1]} if kind in CLASSIFIERS else {}))


@unfinished
def test_truth_values_of_numpy_are_switches() -> None:
    X, y = clouds(classes=2)
    wanted = brief(MLPClassifier, early_stopping=True).fit(X, y)
    assert brief(MLPClassifier, early_stopping=np.True_).fit(X, y).loss_curve_ == wanted.loss_curve_
    brief(MLPClassifier, verbose=0, nesterovs_momentum=np.False_).fit(X, y)


@unfinished
@pytest.mark.parametrize("kind", ALL)
def test_the_network_is_used_after_saving_as_before(kind: type, tmp_path: Any) -> None:
    X, y = clouds(classes=2)
    model = brief(kind).fit(X, y).model_
    model.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert again.loss == model.loss
    target = y if model.output_shape == (2,) else y[:, None] * 1.0
    assert again.evaluate(X, target)["loss"] == pytest.approx(model.history["loss"][-1], rel=0.2)
    if kind in CLASSIFIERS:
        assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    again.loss = None
    with pytest.raises(ValueError, match=r"Set it: model.loss = '(binary_)?cross_entropy'") as caught:
        again.predict_proba(X)
    again.loss = str(caught.value).split("model.loss = '")[1].split("'")[0]
    assert again.predict_proba(X).shape[1] == model.output_shape[0]


def test_a_training_that_is_not_finished_names_targets_of_another_scale() -> None:
    X, y, _ = make_regression(60, 3, coef=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"y has values up to .*e\+06: standardise y, with Transformed"):
        brief(MLPRegressor).fit(X, 1e6 + y)
    with pytest.warns(ConvergenceWarning, match=r"hasn't converged yet. Increase max_iter, or standardise X"):
        brief(MLPRegressor).fit(X, y / 100)


@pytest.mark.parametrize(
    ("sizes", "line"), [((32, 16), r"\(32, 16\)"), (32, r"\(32,\)"), ([8], r"\(8,\)"), ("64,64", r"\(64, 64\)")]
)
def test_sizes_in_place_of_the_loss_are_refused_with_the_line_to_write(sizes: Any, line: str) -> None:
    X, _ = clouds()
    with pytest.raises(TypeError, match=f"loss is the first argument of MLPRegressor.* hidden_layer_sizes={line}"):
        MLPRegressor(sizes, max_iter=2).fit(X, X[:, 0])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(("text", "line"), [("64,64", r"\(64, 64\)"), ("100", r"\(100,\)"), ("big", r"\(100,\)")])
def test_sizes_as_text_are_refused_with_the_line_to_write(kind: type, text: str, line: str) -> None:
    said = f"hidden_layer_sizes must be a sequence of integers, .* got '{text}'. Write hidden_layer_sizes={line}"
    with pytest.raises(TypeError, match=said):
        brief(kind, hidden_layer_sizes=text).fit(*clouds())


def test_a_batch_that_is_too_large_is_reported() -> None:
    X, y = clouds()
    with (
        pytest.warns(UserWarning, match="batch_size=1000 is larger than the 90 examples"),
        pytest.warns(ConvergenceWarning),
    ):
        brief(MLPClassifier, batch_size=1000).fit(X, y)


# --- When to stop, and going on --------------------------------------------------------------------------------------


def test_max_iter_is_reported_and_stopping_is_not() -> None:
    X, y = clouds()
    with pytest.warns(ConvergenceWarning, match=r"max_iter=3\) reached"):
        brief(MLPClassifier).fit(X, y)
    model = brief(MLPClassifier, max_iter=500, tol=0.1).fit(X, y)
    assert 10 < model.n_iter_ < 500
    assert len(model.loss_curve_) == len(model.history_["loss"]) == model.n_iter_
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.t_ == 90 * model.n_iter_
    assert model.validation_scores_ is None


@unfinished
def test_lbfgs_stops_where_the_loss_is_flat_or_max_iter_is_reached() -> None:
    X, y = clouds()
    model = MLPClassifier((5,), solver="lbfgs", random_state=0, early_stopping=True).fit(X, y)
    assert 3 < model.n_iter_ < 200
    assert model.loss_ < 0.01
    with pytest.warns(ConvergenceWarning):
        brief(MLPClassifier, solver="lbfgs").fit(X, y)
    constant = MLPRegressor(solver="lbfgs", hidden_layer_sizes=(), alpha=0.0).fit(np.zeros((4, 1)), np.zeros(4))
    assert constant.loss_ >= 0


def test_early_stopping_goes_back_to_the_best() -> None:
    X, y = nn.datasets.moons(300, noise=0.2, seed=0)
    model = MLPClassifier(
        (20,), learning_rate_init=0.02, early_stopping=True, n_iter_no_change=5, max_iter=500, random_state=0
    ).fit(X, y)
    assert model.n_iter_ < 500
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_loss_ is None
    network = nn.Network(nn.Dense(16, "tanh"), nn.Dense(2))
    wrapped = NetworkClassifier(network, early_stopping=True, n_iter_no_change=3, epochs=500, random_state=0)
    assert wrapped.fit(X, y).n_iter_ < 500


def rare(count: int = 420) -> tuple[np.ndarray, np.ndarray]:
    """One of 21 examples is of class 1, which overlaps with class 0."""
    rng = np.random.default_rng(0)
    y = (np.arange(count) % 21 == 0).astype(int)
    return rng.normal(size=(count, 4)) + 0.8 * y[:, None], y


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_early_stopping_that_finds_nothing_of_a_rare_class_is_reported(kind: type) -> None:
    X, y = rare()
    settings: dict[str, Any] = {"early_stopping": True, "random_state": 0}
    make = kind if kind is MLPClassifier else partial(kind, nn.Network(nn.Dense(20, "relu"), nn.Dense(2)))
    with pytest.warns(
        ConvergenceWarning, match=r"most common class \(0\.9\d+\).* 2 of the 42 .*class_weight='balanced'"
    ):
        plain = make(**settings).fit(X, y)
    balanced = make(**settings, class_weight="balanced", **({} if kind is not MLPClassifier else {"max_iter": 1000}))
    balanced.fit(X, y)
    assert balanced.predict(X)[y == 1].sum() > 2 * plain.predict(X)[y == 1].sum()
    theirs = neural_network.MLPClassifier(early_stopping=True, random_state=0).fit(X, y)
    assert max(theirs.validation_scores_) == pytest.approx(40 / 42)  # the same rule, and the same part of each class


@pytest.mark.parametrize("kind", ALL)
def test_early_stopping_needs_weight_on_both_sides(be: nn.Backend, kind: type) -> None:
    X, y = clouds()
    X, y = be.asarray(X, dtype="float32"), be.asarray(y % 2)
    at = brief(kind, early_stopping=True, validation_fraction=0.2)
    _, held = at._split(y, at._enter(X, y, None, fresh=True, method="fit")[0]) if kind in REGRESSORS else (None, None)
    if held is None:
        _, held = at._split(
            at._enter(X, y, None, fresh=True, method="fit")[1], at._enter(X, y, None, fresh=True, method="fit")[0]
        )
    on_held = np.isin(np.arange(90), be.to_numpy(held)).astype("float32")
    for weights, what in (
        (1 - on_held, "18 of 90 examples that early stopping holds out"),
        (on_held, "72 .* trains on"),
    ):
        with pytest.raises(ValueError, match=f"{what} have weight 0. Leave out the examples"):
            at.fit(X, y, sample_weight=be.asarray(weights))


def test_class_weights_of_nothing_are_reported() -> None:
    X, y = clouds(classes=2)
    for solver in ("adam", "lbfgs"):
        with pytest.raises(ValueError, match="class_weight times sample_weight must be finite"):
            brief(MLPClassifier, solver=solver, class_weight={0: 0, 1: 0}).fit(X, y)


@pytest.mark.parametrize(("count", "part"), [(97, 10), (4, 2)])
def test_the_split_keeps_the_proportions(be: nn.Backend, count: int, part: int) -> None:
    from nnarray.estimators.scores import split

    labels = np.arange(count) % 3
    kept, held = split(count, part, be.asarray(labels), nn.Key(0), be.asarray(labels))
    kept, held = be.to_numpy(kept), be.to_numpy(held)
    assert sorted([*kept, *held]) == list(range(count))
    assert len(held) == part
    sizes = np.bincount(labels[held], minlength=3)
    assert np.abs(sizes - part * np.bincount(labels) / count).max() <= 1


@pytest.mark.parametrize(
    "sizes", [(100, 5), (200, 10), (5, 100), (40, 2, 1000), (33, 33, 34), (7, 3, 2, 90, 17), (95, 4)]
)
def test_the_split_holds_out_of_each_class_what_scikit_learn_does(be: nn.Backend, sizes: tuple[int, ...]) -> None:
    from sklearn.model_selection import train_test_split

    from nnarray.estimators.scores import split

    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    part = math.ceil(0.1 * len(labels))
    _, wanted = train_test_split(labels, test_size=0.1, stratify=labels, random_state=0)
    for seed in range(3):
        kept, held = split(len(labels), part, be.asarray(labels), nn.Key(seed), be.asarray(labels))
        kept, held = be.to_numpy(kept), be.to_numpy(held)
        assert sorted([*kept, *held]) == list(range(len(labels)))
        np.testing.assert_array_equal(np.bincount(labels[held]), np.bincount(wanted))


def test_the_only_example_of_a_class_is_trained_on() -> None:
    from nnarray.estimators.scores import parts_of

    assert parts_of([1, 19], 5) == [0, 5]
    assert parts_of([2, 18], 15) == [1, 14]
    assert parts_of([1, 1], 1) == [1, 0]  # one of them must be held out
    assert parts_of([150_000, 150_000, 3], 30_001) == [15_001, 15_000, 0]


def test_the_scores_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, r2_score

    from nnarray.estimators.scores import accuracy, r2

    rng = np.random.default_rng(0)
    true, found, weights = rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), rng.random(20)
    for w in (None, weights):
        assert r2(found, true, w) == pytest.approx(r2_score(true, found, sample_weight=w))
        assert accuracy(found[:, 0] > 0, true[:, 0] > 0, w) == pytest.approx(
            accuracy_score(true[:, 0] > 0, found[:, 0] > 0, sample_weight=w)
        )
    assert r2(np.ones((3, 1)), np.ones((3, 1))) == 1.0
    assert r2(np.zeros((3, 1)), np.ones((3, 1))) == 0.0


@unfinished
def test_adaptive_divides_the_rate() -> None:
    X, y = clouds()
    model = MLPClassifier(
        (5,), solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, tol=0.05, random_state=0
    )
    model.fit(X, y)
    rates = sorted(set(model.history_["lr"]), reverse=True)
    assert rates[1] == pytest.approx(0.02)


@unfinished
def test_inverse_scaling_counts_examples() -> None:
    X, y = clouds()
    model = brief(MLPClassifier, solver="sgd", learning_rate="invscaling", warm_start=True).fit(X, y)
    assert model.history_["lr"] == pytest.approx([1e-3, 1e-3 / 91**0.5, 1e-3 / 181**0.5])
    assert model.fit(X, y).history_["lr"][1] == pytest.approx(1e-3 / (4 * 90 + 1) ** 0.5)
    settings = {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "momentum": 0.0}
    whole, parts = brief(MLPClassifier, **settings).fit(X, y), brief(MLPClassifier, **settings)
    for _ in range(3):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(parts.model_.theta, whole.model_.theta, rtol=1e-6, atol=1e-9)


@unfinished
def test_warm_start_goes_on() -> None:
    X, y = clouds()
    model = brief(MLPClassifier, warm_start=True).fit(X, y)
    first = model.loss_
    assert model.fit(X, y).loss_ < first
    assert len(model.loss_curve_) == 6
    cold = brief(MLPClassifier).fit(X, y)
    assert cold.fit(X, y).loss_ == first
    with pytest.raises(
        ValueError, match=r"differs from the fitted one: 7 against 100 units in layer 0. .*warm_start=False"
    ):
        model.set_params(hidden_layer_sizes=(7,)).fit(X, y)
    with pytest.raises(ValueError, match=r"differs from the fitted one.* 3 layers against 2. "):
        model.set_params(hidden_layer_sizes=(7, 7)).fit(X, y)
    with pytest.raises(ValueError, match="classes not in"):
        brief(MLPClassifier, warm_start=True).fit(X, y).fit(X, y + 1)


@unfinished
@pytest.mark.parametrize("kind", ALL)
def test_settings_change_between_two_fits(kind: type) -> None:
    """Each fit keeps the records of its own rule, and goes on from the parameters that are there."""
    X, y = clouds()
    model = brief(kind, warm_start=True)
    solver = "solver" if kind in ALL[:2] else "optimizer"
    changes: list[dict[str, Any]] = [{"early_stopping": on} for on in (False, True, True, False)]
    changes += [{"batch_size": 7}, {solver: "sgd"}, {solver: "lbfgs"}, {"early_stopping": True}, {solver: "adam"}]
    changes += [{"early_stopping": False, "tol": 0.0}, {solver: "sgd", "dtype": "float64"}, {"shuffle": False}]
    for count, change in enumerate(changes):
        start = model.model_.theta.copy() if count else None
        model.set_params(**{"batch_size": 20, **change} if change != {solver: "lbfgs"} else change).fit(X, y)
        assert start is None or model.early_stopping or not np.array_equal(start, model.model_.theta)
        assert (model.validation_scores_ is None) == (model.best_loss_ is not None) == (not model.early_stopping)
        assert (model.best_validation_score_ is None) == (not model.early_stopping)
    model.partial_fit(X, y)


@unfinished
@pytest.mark.parametrize("kind", ALL)
def test_a_warm_start_in_another_library_is_reported(be: nn.Backend, kind: type) -> None:
    X, y = clouds()
    elsewhere = nn.backend("numpy" if be.library.name != "numpy" else "strict")
    model = brief(kind, warm_start=True).fit(be.asarray(X), be.asarray(y))
    before = be.to_numpy(model.model_.theta)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=rf"passed to {kind.__name__}.{method}\(\) must use the same namespace"):
            getattr(model, method)(elsewhere.asarray(X), elsewhere.asarray(y))
    np.testing.assert_array_equal(be.to_numpy(model.model_.theta), before)


@unfinished
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_warm_start_needs_the_same_classes(be: nn.Backend, kind: type) -> None:
    X, y = clouds()
    model = brief(kind, warm_start=True, backend=be, dtype="float32").fit(X, y)
    model.fit(be.asarray(X), be.asarray(y))  # moved, for `backend` asks for it
    with pytest.raises(ValueError, match=r"warm_start can only be used where `y` has the same classes.*2 of the 3"):
        model.fit(X, y % 2)
    with pytest.raises(ValueError, match="labels of another kind"):
        model.fit(X, np.asarray(["a", "b", "c"])[y])
    model.partial_fit(X, y % 2)


@unfinished
@pytest.mark.parametrize("kind", ALL)
def test_early_stopping_of_an_estimator_by_what_it_has_not(kind: type) -> None:
    for monitor in ("val_loss", "accuracy"):
        with pytest.raises(ValueError, match=rf"monitors '{monitor}'.*Set early_stopping=True, or monitor 'loss'"):
            brief(kind, callbacks=[nn.EarlyStopping(monitor)]).fit(*clouds())
    with pytest.raises(TypeError, match="a callback must be a Callback or a function of a Run; got 5"):
        brief(kind, callbacks=5).fit(*clouds())


def test_another_place_for_a_warm_start_is_reported(be: nn.Backend) -> None:
    X, y = clouds()
    model = brief(NetworkClassifier, warm_start=True, backend=be, dtype="float32").fit(X, y)
    for wider in {"float64"} & set(be.dtypes):
        with pytest.raises(
            ValueError, match=r"dtype='float64' differs from that .*float32. Restore it, or set warm_start"
        ):
            model.set_params(dtype=wider).fit(X, y)
    other = "numpy" if be.library.name != "numpy" else "strict"
    with pytest.raises(ValueError, match=rf"backend='{other}' differs from that of the fitted model.*warm_start=False"):
        model.set_params(dtype=None, backend=other).fit(X, y)
    model.set_params(warm_start=False).fit(X, y)
    assert model.model_.theta.dtype == nn.backend(other).asarray(X).dtype


@pytest.mark.parametrize("kind", ALL)
def test_partial_fit_remembers(kind: type) -> None:
    X, y = clouds()
    more = {"classes": [0, 1, 2]} if kind in CLASSIFIERS else {}
    once = kind(random_state=0, batch_size=30, **({"epochs": 5} if kind in ALL[2:] else {"max_iter": 5}))
    again = clone(once)
    if kind in ALL[2:]:
        once.fit(X, y)
    else:
        with pytest.warns(ConvergenceWarning):
            once.fit(X, y)
    for call in range(5):
        again.partial_fit(X, y, **more)
        again = pickle.loads(pickle.dumps(again)) if call == 2 else again
    np.testing.assert_allclose(again.model_.theta, once.model_.theta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(again.loss_curve_, once.loss_curve_, rtol=1e-6)
    assert (again.n_iter_, again.t_, again.best_loss_) == (1, once.t_, pytest.approx(once.best_loss_))


def test_partial_fit_goes_on_from_other_parameters() -> None:
    X, y = clouds()
    settings = {"network": nn.Network(nn.Dense(1)), "optimizer": nn.SGD(0.1), "batch_size": None}
    one = brief(NetworkRegressor, **settings).partial_fit(X, y)
    two = clone(one).partial_fit(X, y)
    before = two.model_.theta.copy()
    two.model_.theta = before + 1.0
    two.partial_fit(X, y)
    two.model_.theta = before
    assert two.partial_fit(X, y).loss_ == one.partial_fit(X, y).loss_


def test_partial_fit_after_another_optimizer_and_with_frozen_layers() -> None:
    X, y = clouds()
    model = MLPClassifier((5,), solver="sgd", random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    for solver in ("adam", "rmsprop", nn.SGD(0.1), "sgd"):
        model.set_params(solver=solver).partial_fit(X, y)
    model.model_.freeze("0")
    first, last = (weights.copy() for weights in model.coefs_)
    model.partial_fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], first)
    assert (model.coefs_[1] != last).any()


def test_partial_fit_sees_parts(be: nn.Backend) -> None:
    X, y = (be.asarray(each) for each in clouds(120))
    X = be.xp.astype(X, be.xp.float32)
    model = MLPClassifier((10,), learning_rate_init=0.05, random_state=0)
    for start in [*range(0, 120, 30)] * 5:
        model.partial_fit(X[start : start + 30, ...], y[start : start + 30], classes=[0, 1, 2])
    assert model.score(X, y) > 0.9


def test_what_partial_fit_refuses() -> None:
    X, y = clouds()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, y)
    model = MLPClassifier().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="differ from those of the first call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(X, y + 5)
    with pytest.raises(ValueError, match="early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    for kind in (MLPClassifier(solver="lbfgs"), NetworkClassifier(optimizer="lbfgs")):
        assert not hasattr(kind, "partial_fit")
    before = model.set_params(solver=nn.SGD(1e200)).partial_fit(X, y).model_.theta.copy()
    with pytest.raises(nn.DivergenceError, match="undone"), np.errstate(all="ignore"):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(model.model_.theta, before)


def test_callbacks_are_called_and_may_stop() -> None:
    X, y = clouds()
    seen: list[float] = []

    def look(run: nn.Run) -> None:
        seen.append(run.history["loss"][-1])
        if len(seen) == 4:
            run.stop("enough")

    assert MLPClassifier(callbacks=[look]).fit(X, y).n_iter_ == len(seen) == 4
    seen.clear()
    assert NetworkRegressor(callbacks=look).fit(X, y).n_iter_ == 4
    stop = nn.EarlyStopping("loss", patience=1, min_delta=10.0)
    assert NetworkRegressor(callbacks=stop).fit(X, y).n_iter_ == 3


@unfinished
def test_a_last_batch_of_one_is_refused_before_the_first_step() -> None:
    X, y = clouds(33)
    net = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(3))
    with pytest.raises(ValueError, match=r"BatchNorm cannot train on 1 entry.*use batch_size=9\."):
        NetworkClassifier(net, batch_size=8, epochs=2).fit(X, y)
    NetworkClassifier(net, batch_size=9, epochs=2).fit(X, y)
    model = NetworkClassifier(net, batch_size=32).partial_fit(X[:32], y[:32], classes=[0, 1, 2])
    theta = model.model_.theta.copy()
    for rows, remedy in ((33, r"use batch_size=33\."), (1, r"pass at least two")):
        with pytest.raises(ValueError, match=remedy):
            model.partial_fit(X[:rows], y[:rows])
        np.testing.assert_array_equal(model.model_.theta, theta)


@unfinished
@pytest.mark.parametrize("weights", [None, "some"])
def test_r2_of_large_numbers(be: nn.Backend, weights: str | None) -> None:
    z = np.random.default_rng(0).normal(size=5000)
    t, o = (be.asarray(1.7e18 + z * scale, dtype="float32") for scale in (1e17, 0.5e17))
    each = None if weights is None else be.asarray(np.abs(z), dtype="float32")
    want = r2_score(1.7 + z * 0.1, 1.7 + z * 0.05, sample_weight=None if weights is None else np.abs(z))
    assert r2(o, t, each) == pytest.approx(want, rel=1e-4)


@unfinished
def test_verbose_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = clouds()
    brief(MLPClassifier, verbose=True, early_stopping=True).fit(X, y)
    assert capsys.readouterr().out.count("Iteration") == 3
    brief(MLPClassifier).fit(X, y)
    assert capsys.readouterr().out == ""


@unfinished
def test_random_state() -> None:
    X, y = clouds()
    one, two = (brief(MLPClassifier, random_state=np.random.RandomState(3)).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.model_.theta, two.model_.theta)
    assert (
        brief(MLPClassifier, random_state=np.int64(1)).fit(X, y).loss_
        == brief(MLPClassifier, random_state=1).fit(X, y).loss_
    )
    assert (
        brief(MLPClassifier, random_state=None).fit(X, y).loss_
        != brief(MLPClassifier, random_state=None).fit(X, y).loss_
    )


def test_ctrl_c_leaves_the_last_finished_step() -> None:
    X, y = clouds(2000)
    model = MLPClassifier((50,), max_iter=100_000, n_iter_no_change=math.inf, random_state=0)

    def press() -> None:
        while not getattr(model, "loss_curve_", None):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    thread.join()
    assert model.n_iter_ == len(model.history_["loss"]) == len(model.loss_curve_) > 0
    assert model.predict(X).shape == y.shape
    assert np.isfinite(model.coefs_[0]).all()


# --- Any network -----------------------------------------------------------------------------------------------------


def test_networks_of_integers_or_several_inputs_are_for_model_fit() -> None:
    tokens, y = np.asarray([[0, 1], [2, 0], [1, 1], [2, 2]]), np.asarray([0, 1, 0, 1])
    words = nn.Network(nn.Embedding(3, 2), nn.Flatten(), nn.Dense(2))
    for network in (words, lambda outputs: words):
        with pytest.raises(TypeError, match=r"this one takes integers from 0 to 2\. Train it with model\.fit"):
            NetworkClassifier(network).fit(tokens, y)
    named = nn.Network(nn.Inputs({"a": nn.Dense(2)}))
    with pytest.raises(TypeError, match=r"this one takes inputs by name, 'a'\. Train it with model\.fit"):
        NetworkClassifier(named).fit(tokens, y)
    with pytest.raises(TypeError, match=r"X must be one array or a data frame; got a mapping\. Train on it with model"):
        NetworkClassifier(named).fit({"a": tokens}, y)


def test_a_wrapped_network_trains_as_model_fit() -> None:
    X, y = clouds()
    network = nn.Network(nn.Dense(8, "gelu"), nn.BatchNorm(), nn.Dropout(0.1), nn.Dense(3))
    model = NetworkClassifier(network, optimizer=nn.Adam(0.01), epochs=3, random_state=5).fit(X, y)
    plain = network.init((4,), seed=5)
    plain.fit(X, y, optimizer=nn.Adam(0.01), epochs=3, seed=5)
    np.testing.assert_array_equal(model.model_.theta, plain.theta)
    assert model.loss_curve_ == plain.history["loss"]


def test_images(be: nn.Backend) -> None:
    X, y = load_digits(return_X_y=True)
    X = be.asarray(X[:60].reshape(-1, 8, 8, 1) / 16, dtype="float32")
    network = nn.Network(nn.Conv2D(4, 3, activation="relu"), nn.GlobalAvgPool(), nn.Dense(10))
    model = NetworkClassifier(network, epochs=1, random_state=0).fit(X, be.asarray(y[:60]))
    assert model.predict_proba(X).shape == (60, 10)


def test_a_network_from_a_function_and_with_one_output() -> None:
    X, y = clouds(classes=2)
    made = NetworkClassifier(lambda outputs: nn.Network(nn.Dense(outputs)), epochs=1).fit(X, y)
    assert (made.n_outputs_, made.out_activation_) == (1, "logistic")
    two = NetworkClassifier(nn.Network(nn.Dense(2)), epochs=1).fit(X, y)
    assert (two.n_outputs_, two.out_activation_) == (2, "softmax")


def test_a_network_that_does_not_fit_is_reported() -> None:
    X, y = clouds()
    with pytest.raises(ValueError, match="the network has 5 outputs, but CrossEntropy of 3 classes needs 3"):
        NetworkClassifier(nn.Network(nn.Dense(5))).fit(X, y)
    with pytest.raises(ValueError, match="the network has 5 outputs, but y has 1"):
        NetworkRegressor(nn.Network(nn.Dense(5))).fit(X, y)
    for wrong in (3, nn.Dense(3), lambda outputs: nn.Dense(outputs)):
        with pytest.raises(TypeError, match=r"network must be an nn.Network, or a function of the number of outputs"):
            NetworkClassifier(wrong).fit(X, y)


def test_not_fitted_is_reported() -> None:
    for kind in ALL:
        with pytest.raises(NotFittedError):
            kind().predict(np.eye(2))
    assert not hasattr(MLPClassifier(), "coefs_")


def test_without_scikit_learn_the_remedy_is_reported() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import nnarray; import nnarray.estimators"
    done = run_python(code, check=False)
    assert "nnarray.estimators needs scikit-learn; pip install 'nnarray[sklearn]'." in done.stderr


def test_queries_and_masks_are_not_read_wrongly() -> None:
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    for estimator in (MLPClassifier(max_iter=1), MLPRegressor(max_iter=1)):
        with pytest.raises(TypeError, match=r"is a query that is not computed yet; pass X\.collect\(\)"):
            estimator.fit(pl.DataFrame(X).lazy(), y)
        with pytest.raises(TypeError, match=r"is a query that is not computed yet; pass y\.collect\(\)"):
            estimator.fit(X, pl.DataFrame({"y": y}).lazy())
        for bad in ((np.ma.masked_greater(X, 30), y), (X, np.ma.masked_equal(y, 1))):
            with pytest.raises(TypeError, match="a masked array would lose its mask"):
                estimator.fit(*bad)
