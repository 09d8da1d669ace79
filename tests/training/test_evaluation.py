"""From outputs to answers: probabilities, classes, and how good they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import nnarray as nn
from tests.tolerances import close, to_host

TWO = nn.Network(nn.Dense(6, "tanh"), nn.Dense(2))
ONE = nn.Network(nn.Dense(6, "tanh"), nn.Dense(1))


def moons(be: nn.Backend, n: int = 60) -> Any:
    return nn.datasets.moons(n, noise=0.1, seed=1, backend=be, dtype="float32")


def trained(be: nn.Backend, network: nn.Network = TWO, **settings: Any) -> nn.Model:
    X, y = moons(be)
    model = network.init((2,), seed=0, backend=be, dtype="float32")
    if network is ONE:
        y = be.xp.astype(y, be.xp.float32)[:, None]
    model.fit(X, y, epochs=2, **settings)
    return model


# --- Probabilities and classes ---------------------------------------------------------------------------------------


def test_probabilities_are_a_softmax_or_a_logistic_by_the_loss(be: nn.Backend) -> None:
    X, _ = moons(be)
    model = trained(be, loss="cross_entropy")
    z = to_host(be, model(X))
    want = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    close(to_host(be, model.predict_proba(X)), want, "float32")
    np.testing.assert_array_equal(to_host(be, model.predict_class(X)), z.argmax(axis=1))
    assert be.xp.isdtype(model.predict_class(X).dtype, "integral")
    one = trained(be, ONE, loss="binary_cross_entropy")
    z = to_host(be, one(X))
    close(to_host(be, one.predict_proba(X, batch_size=7)), 1.0 / (1.0 + np.exp(-z)), "float32")
    np.testing.assert_array_equal(to_host(be, one.predict_class(X, batch_size=7)), z[:, 0] > 0)


def test_a_network_that_ends_in_softmax_gives_its_own_outputs(be: nn.Backend) -> None:
    X, _ = moons(be)
    for last in ("softmax", "log_softmax"):
        model = nn.Network(nn.Dense(3, last)).init((2,), backend=be, dtype="float32")  # trained by nobody
        close(to_host(be, model.predict_proba(X)).sum(axis=1), np.ones(60), "float32")
        np.testing.assert_array_equal(
            to_host(be, model.predict_class(X)), to_host(be, model.predict_proba(X)).argmax(axis=1)
        )


def test_regression_has_no_probabilities(host: nn.Backend) -> None:
    X, _ = moons(host)
    model = trained(host, ONE, loss="mse")
    for ask in (model.predict_proba, model.predict_class):
        with pytest.raises(ValueError, match="predicts classes, but this one was trained with MeanSquaredErr"):
            ask(X)
    always_one = nn.Network(nn.Dense(1, "softmax")).init((2,), backend=host)
    for ask in (always_one.predict_proba, always_one.predict_class):
        with pytest.raises(ValueError, match=r"ends in 'softmax' of 1 output, whose probability is always 1"):
            ask(X)
    new = TWO.init((2,))
    for ask in (new.predict_proba, new.predict_class):
        with pytest.raises(ValueError, match=r"was not trained by fit\. Set it: model\.loss = 'cross_entropy'"):
            ask(X)
    new.loss = "cross entropy"
    assert new.loss == nn.losses.CrossEntropy()
    assert new.predict_class(X).shape == (60,)


def test_several_labels_an_example_are_no_class(host: nn.Backend) -> None:
    X, _ = moons(host)
    model = TWO.init((2,), dtype="float32")
    model.loss = "binary_cross_entropy"
    assert model.predict_proba(X).shape == (60, 2)
    with pytest.raises(ValueError, match=r"each of the 2 outputs is a separate label here. Use model.predict_proba"):
        model.predict_class(X)
    y = (X > 0.0).astype(np.float32)
    right = (np.asarray(model(X)) > 0.0) == (y > 0.5)
    assert model.evaluate(X, y)["accuracy"] == pytest.approx(right.mean()), "of each label, not of the largest output"


def test_names_of_classes_are_noted_by_the_user(host: nn.Backend) -> None:
    X, _ = moons(host)
    model = trained(host)
    with pytest.raises(
        ValueError, match=r"has no names of classes\. Set them in the order of the labels: model\.metadata"
    ):
        model.predict_class(X, names=True)
    model.metadata["classes"] = ["cat"]
    with pytest.raises(ValueError, match=r"model.metadata\['classes'\] must have 2 different names"):
        model.predict_class(X, names=True)
    model.metadata["classes"] = ["cat", "dog"]
    want = [["cat", "dog"][k] for k in model.predict_class(X)]
    assert model.predict_class(X, names=True) == want
    with pytest.raises(TypeError, match="names must be True or False"):
        model.predict_class(X, names="yes")  # type: ignore[arg-type]


def test_a_model_knows_its_loss_wherever_it_goes(be: nn.Backend, tmp_path: Path) -> None:
    X, _ = moons(be)
    loss = nn.losses.CrossEntropy(class_weights=(1.0, 2.0), label_smoothing=0.1)
    model = trained(be, loss=loss)
    assert model.loss == loss
    model.save(tmp_path / "model.safetensors")
    again = nn.load(tmp_path / "model.safetensors", backend=be)
    for other in (again, model.copy(), model.with_theta(model.theta), model.to("numpy"), model.fold()):
        assert other.loss == loss
    np.testing.assert_array_equal(to_host(be, again.predict_class(X)), to_host(be, model.predict_class(X)))


def test_a_loss_that_no_file_can_name_is_left_out(host: nn.Backend, tmp_path: Path) -> None:
    class Mine(nn.losses.MeanSquaredError):
        """A loss of one's own."""

    model = trained(host, ONE, loss=Mine())
    model.save(tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match="was trained with the loss Mine, which is not registered here"):
        assert nn.load(tmp_path / "model.safetensors").loss is None


def test_a_training_that_fails_before_its_first_step_leaves_the_loss(host: nn.Backend) -> None:
    X, y = moons(host)
    model = trained(host)

    class Broken(nn.Callback):
        def on_fit_start(self, run: nn.Run) -> None:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        model.fit(X, y, loss=nn.losses.CrossEntropy(label_smoothing=0.5), callbacks=[Broken()])
    assert model.loss == nn.losses.CrossEntropy()


# --- Evaluation ------------------------------------------------------------------------------------------------------


def test_an_evaluation_says_what_validation_says(be: nn.Backend) -> None:
    X, y = moons(be, 96)
    model = TWO.init((2,), seed=0, backend=be, dtype="float32")
    history = model.fit(X, y, epochs=2, validation=(X, y), metrics=["accuracy", "f1"])
    result = model.evaluate(X, y, metrics=["accuracy", "f1"])
    assert list(result) == ["loss", "accuracy", "f1"]
    for name, value in result.items():
        assert value == pytest.approx(history[f"val_{name}"][-1], rel=1e-6)
    assert result.examples == 96


def test_the_batch_size_changes_rounding_only(be: nn.Backend) -> None:
    X, y = moons(be)
    weights = be.asarray(np.linspace(0.5, 2.0, 60), dtype="float32")
    model = trained(be)
    want = model.evaluate(X, y, sample_weight=weights, batch_size=None)
    z = to_host(be, model(X))
    labels, w = to_host(be, y).astype(int), np.linspace(0.5, 2.0, 60)
    nats = np.log(np.exp(z).sum(axis=1)) - z[np.arange(60), labels]
    assert want["loss"] == pytest.approx((w * nats).sum() / w.sum(), rel=1e-5)
    assert want["accuracy"] == pytest.approx((w * (z.argmax(axis=1) == labels)).sum() / w.sum(), rel=1e-6)
    for size in (1, 7, 59, 1000):
        other = model.evaluate(X, y, sample_weight=weights, batch_size=size)
        assert other["loss"] == pytest.approx(want["loss"], rel=1e-6)
        assert other["accuracy"] == pytest.approx(want["accuracy"], rel=1e-6)
        assert other.confusion == want.confusion


CLASSES = ["accuracy", "precision", "recall", "f1", "f1_weighted", "f1_micro"]


def of_labels(true: np.ndarray, z: np.ndarray, w: np.ndarray | None = None) -> list[float]:
    """What scikit-learn finds for CLASSES, of labels of their own."""
    more: dict[str, Any] = {"zero_division": 0, "sample_weight": w}
    each = [f(true, z > 0, average="macro", **more) for f in (sk.precision_score, sk.recall_score, sk.f1_score)]
    hits = np.average(((z > 0) == true).mean(axis=1), weights=w)
    return [hits, *each, *(sk.f1_score(true, z > 0, average=average, **more) for average in ("weighted", "micro"))]


def test_several_labels_are_compared_one_by_one(be: nn.Backend) -> None:
    X, _ = moons(be)
    true = (to_host(be, X) > [0.0, 0.5]).astype("float32")
    y, w = be.asarray(true), np.linspace(0.5, 2.0, 60)
    weights = be.asarray(w, dtype="float32")
    model = TWO.init((2,), seed=0, backend=be, dtype="float32")
    settings: dict[str, Any] = {"loss": "binary_cross_entropy", "metrics": CLASSES, "epochs": 1, "batch_size": None}
    z = to_host(be, model(X))
    history = model.fit(X, y, sample_weight=weights, validation=(X, y), optimizer=nn.SGD(1e-30), **settings)
    assert [history[name][-1] for name in CLASSES] == pytest.approx(of_labels(true, z, w), rel=1e-5)
    assert [history[f"val_{name}"][-1] for name in CLASSES] == pytest.approx(of_labels(true, z), rel=1e-5)
    for counts, more in ((None, {}), (w, {"sample_weight": weights})):
        result = model.evaluate(X, y, metrics=CLASSES, **more)
        assert [result[name] for name in CLASSES] == pytest.approx(of_labels(true, z, counts), rel=1e-5)
        assert not result.classes


def test_weights_of_classes_are_not_those_of_metrics(host: nn.Backend) -> None:
    X, y = moons(host)
    for more in ({}, {"class_weight": "balanced"}, {"class_weight": {0: 9.0}}):
        model = TWO.init((2,), seed=0, dtype="float32")
        want = (np.asarray(model(X)).argmax(axis=1) == y).mean()
        history = model.fit(X, y, epochs=1, batch_size=None, metrics=["accuracy"], optimizer=nn.SGD(1e-30), **more)
        assert history["accuracy"][-1] == pytest.approx(want)


def test_metrics_of_a_stream_count_its_weights(host: nn.Backend) -> None:
    X, y = moons(host)
    w = np.linspace(0.5, 2.0, 60)
    model = TWO.init((2,), seed=0, dtype="float32")
    batches = [(X[i : i + 20], y[i : i + 20], w[i : i + 20]) for i in (0, 20, 40)]
    want = np.average(np.asarray(model(X)).argmax(axis=1) == y, weights=w)
    model.loss = "cross_entropy"
    assert model.evaluate(nn.datasets.stream(lambda epoch: iter(batches)))["accuracy"] == pytest.approx(want)
    history = model.fit(
        nn.datasets.stream(lambda epoch: iter(batches)), epochs=1, metrics=["accuracy"], optimizer=nn.SGD(1e-30)
    )
    assert history["accuracy"][-1] == pytest.approx(want)


def test_classes_of_one_value_are_refused(host: nn.Backend) -> None:
    """With "mse", 0.5 lies between the labels 0 and 1; but a loss of one's own may read the output as a logit."""
    X, y = moons(host)
    target = y[:, None].astype("float32")
    model = trained(host, ONE, loss="mse")
    for name in ("accuracy", "f1", "recall_micro"):
        message = f"{name} needs classes, but MeanSquaredError reads the single output as a value"
        with pytest.raises(ValueError, match=message):
            model.evaluate(X, target, metrics=name)
        with pytest.raises(ValueError, match=message):
            model.fit(X, target, loss="mse", metrics=[name])
    two = TWO.init((2,), dtype="float32")
    two.fit(X, np.eye(2, dtype="float32")[y], loss="mse", epochs=2)
    right = np.asarray(two(X)).argmax(axis=1) == y
    assert two.evaluate(X, np.eye(2, dtype="float32")[y], metrics="accuracy")["accuracy"] == pytest.approx(right.mean())


def test_a_metric_of_ones_own_may_count_weights(host: nn.Backend) -> None:
    X, y = moons(host)
    model = trained(host)

    def mass(outputs: Any, target: Any, weights: Any = None) -> float:
        return -1.0 if weights is None else float(weights.sum())

    assert model.evaluate(X, y, metrics=mass)["mass"] == -1.0
    assert model.evaluate(X, y, metrics=mass, sample_weight=np.full(60, 2.0))["mass"] == 120.0


def test_values_of_another_shape_than_the_outputs_have_the_loss_alone(be: nn.Backend) -> None:
    """A mean and a variance are two outputs for one target."""

    def gaussian(outputs: Any, target: Any) -> Any:
        mean, log_variance = outputs[:, 0], outputs[:, 1]
        return log_variance + (target[:, 0] - mean) ** 2 * nn.namespace(outputs).exp(-log_variance)

    X, y = nn.datasets.line(20, seed=0, backend=be)
    model = nn.Network(nn.Dense(2)).init((1,), seed=0, backend=be)
    model.fit(X, y, loss=nn.losses.custom(gaussian), epochs=1)
    assert list(model.evaluate(X, y)) == ["loss"]
    with pytest.raises(ValueError, match="r2 needs outputs and target of one shape"):
        model.evaluate(X, y, metrics=["r2"])


def test_values_are_scored_by_r2(be: nn.Backend) -> None:
    X, y = moons(be)
    model = trained(be, ONE, loss="mse")
    target = be.xp.astype(y, be.xp.float32)[:, None]
    result = model.evaluate(X, target)
    assert list(result) == ["loss", "r2"]
    assert result.confusion == () == result.classes
    error = to_host(be, model(X))[:, 0] - to_host(be, y)
    assert result["loss"] == pytest.approx(float((error**2).mean()), rel=1e-5)
    assert list(model.evaluate(X, target, loss="mae", metrics=())) == ["loss"]


def test_the_tables_count_each_class(be: nn.Backend) -> None:
    X, y = moons(be)
    model = trained(be)
    result = model.evaluate(X, y, classes=("upper", "lower"))
    true, predicted = to_host(be, y), to_host(be, model.predict_class(X))
    want = tuple(tuple(int(((true == i) & (predicted == j)).sum()) for j in range(2)) for i in range(2))
    assert result.confusion == want
    assert result.by_class["lower"]["examples"] == int((true == 1).sum())
    assert result.by_class["lower"]["recall"] == pytest.approx(float((predicted[true == 1] == 1).mean()))
    lines = str(result).splitlines()
    assert lines[0].split() == ["examples", "60"]
    assert lines[4].split() == ["class", "examples", "precision", "recall", "f1"]
    assert lines[-1].split() == ["lower", *map(str, want[1])]
    assert repr(result).startswith("Evaluation(loss 0.")
    assert json.loads(json.dumps(dict(result))) == dict(result)
    with pytest.raises(KeyError, match="the evaluation has no 'acc'; it has loss, accuracy"):
        result["acc"]


def test_names_that_do_not_fit_are_refused(host: nn.Backend) -> None:
    X, y = moons(host)
    model = trained(host)
    for wrong in (("a",), ("a", "a"), ("a", "b", "c")):
        with pytest.raises(ValueError, match="classes must have 2 different names, one per class"):
            model.evaluate(X, y, classes=wrong)
    with pytest.raises(TypeError, match="classes must be names, one per class"):
        model.evaluate(X, y, classes="ab")
    model.metadata["classes"] = ["a", "b"]
    assert model.evaluate(X, y).classes == ("a", "b")


def test_one_logit_and_probabilities_are_counted_too(host: nn.Backend) -> None:
    X, y = moons(host)
    one = trained(host, ONE, loss="binary_cross_entropy")
    assert sum(map(sum, one.evaluate(X, y[:, None].astype(float)).confusion)) == 60
    two = trained(host)
    hot = np.eye(2)[y]
    assert two.evaluate(X, hot).confusion == two.evaluate(X, y).confusion
    assert two.evaluate(X, hot)["loss"] == pytest.approx(two.evaluate(X, y)["loss"])


def test_confusions_are_exact_part_by_part(host: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = moons(host)
    model = trained(host)
    want = model.evaluate(X, y).confusion
    monkeypatch.setattr("nnarray.training.evaluation.COUNTED", 7)
    assert model.evaluate(X, y).confusion == want


def test_many_classes_have_no_tables(host: nn.Backend) -> None:
    X, _ = moons(host)
    model = nn.Network(nn.Dense(51)).init((2,), dtype="float32")
    result = model.evaluate(X, np.arange(60) % 51, loss="cross_entropy")
    assert result.classes == () == result.confusion


def test_outputs_at_each_position_are_counted_at_each(host: nn.Backend) -> None:
    X = np.random.default_rng(0).normal(size=(5, 4, 3, 2))
    model = nn.Network(nn.Conv2D(3, 1)).init((4, 3, 2))
    y = np.random.default_rng(1).integers(0, 3, size=(5, 4, 3))
    result = model.evaluate(X, y, loss="cross_entropy", batch_size=2)
    assert sum(map(sum, result.confusion)) == 60
    assert result["accuracy"] == pytest.approx((model(X).argmax(-1) == y).mean())


def test_sources_streams_and_files_are_evaluated_alike(host: nn.Backend, tmp_path: Path) -> None:
    X, y = moons(host)
    model = trained(host)
    weights = np.linspace(1.0, 2.0, 60)
    want = model.evaluate(X, y, sample_weight=weights)
    np.save(tmp_path / "X.npy", X)
    mapped = nn.datasets.memory_mapped(tmp_path / "X.npy")
    batches = [(X[a:b], y[a:b], weights[a:b]) for a, b in ((0, 10), (10, 11), (11, 60))]
    for result in (
        model.evaluate(mapped, y, sample_weight=weights, batch_size=7),
        model.evaluate(nn.datasets.stream(batches)),
    ):
        assert result["loss"] == pytest.approx(want["loss"], rel=1e-6)
        assert (result["accuracy"], result.confusion, result.examples) == (want["accuracy"], want.confusion, 60)
    np.testing.assert_allclose(model.predict_proba(mapped, batch_size=7), model.predict_proba(X), rtol=1e-5)
    with pytest.raises(ValueError, match="batch 2 of epoch 1: label 5 is out of range"):
        model.evaluate(nn.datasets.stream([(X, y), (X, y + 4)]))
    with pytest.raises(TypeError, match="leave them out, evaluate"):
        model.evaluate(nn.datasets.stream(batches), y)


def test_dask_arrays_are_evaluated_where_they_are(host: nn.Backend) -> None:
    da = pytest.importorskip("dask.array")
    X, y = moons(host)
    model = trained(host)
    want, lazy = model.evaluate(X, y), da.from_array(X, chunks=(17, 1))
    for labels in (y, da.from_array(y, chunks=23)):
        result = model.evaluate(lazy, labels)
        assert result["loss"] == pytest.approx(want["loss"], rel=1e-6)
        assert result.confusion == want.confusion
    assert model.evaluate(X, da.from_array(y, chunks=23)).confusion == want.confusion
    probabilities, classes = model.predict_proba(lazy), model.predict_class(lazy)
    assert isinstance(probabilities, da.Array)
    np.testing.assert_array_equal(probabilities.compute(), model.predict_proba(X, batch_size=1024))
    np.testing.assert_array_equal(classes.compute(), model.predict_class(X))
    assert (probabilities.shape, probabilities.dtype, classes.shape) == ((60, 2), np.float32, (60,))
    with pytest.raises(ValueError, match="X has 60 examples, but y has shape"):
        model.evaluate(lazy, y[:50])
    with pytest.raises(TypeError, match="evaluate needs y"):
        model.evaluate(lazy)
    model.metadata["classes"] = ["a", "b"]
    with pytest.raises(ValueError, match="names=True needs arrays in memory"):
        model.predict_class(lazy, names=True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X, y: (X, None), TypeError, "evaluate needs y, the labels or the values"),
        (lambda X, y: (X, y[:50]), ValueError, "X has 60 examples, but y has shape"),
        (lambda X, y: (X * math.nan, y), ValueError, "X contains NaN or infinity: row 0, column 0"),
        (lambda X, y: (X, y + 3), ValueError, "is out of range: with 2 outputs, labels are 0 to 1"),
        (lambda X, y: (X, y + 0.5), TypeError, "CrossEntropy labels must be integers"),
        (lambda X, y: (X[:0], y[:0]), ValueError, "X has no examples"),
        (lambda X, y: (X[:, :1], y), ValueError, "the network expects"),
        (lambda X, y: (X.tolist(), y), TypeError, "X must be an array; got list"),
    ],
)
def test_bad_examples_are_refused_as_in_fit(host: nn.Backend, change: Any, error: type, message: str) -> None:
    model = trained(host)
    with pytest.raises(error, match=message):
        model.evaluate(*change(*moons(host)))


def test_an_evaluation_needs_a_loss(host: nn.Backend) -> None:
    X, y = moons(host)
    with pytest.raises(ValueError, match="evaluate needs the loss that the model was trained with"):
        TWO.init((2,)).evaluate(X, y)
    with pytest.raises(ValueError, match="batch_size must be"):
        trained(host).evaluate(X, y, batch_size=0)


@pytest.mark.parametrize("name", ["fit", "predict", "evaluate", "score", "predict_proba", "predict_class"])
def test_a_network_says_that_it_has_no_numbers(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"Network has no '{name}': .*\.init\(X\.shape\[1:\]\).*model\.fit"):
        getattr(TWO, name)
    assert not hasattr(TWO, name)


def test_ignored_labels_count_in_no_metric(be: nn.Backend) -> None:
    """Padding counts neither in the history nor in an evaluation; with weights too."""
    tokens = be.asarray(np.asarray([[1, 2, 0, 0], [3, 1, 2, 0], [2, 2, 2, 2]]))
    y = be.asarray(np.asarray([[2, 0, -1, -1], [1, 2, 0, -1], [2, 2, 2, 0]]))
    model = nn.Network(nn.Embedding(4, 3), nn.Dense(4)).init((4,), backend=be)
    loss = nn.losses.CrossEntropy(ignore_index=-1)
    mine = ["accuracy", "perplexity", "f1"]
    history = model.fit(tokens, y, loss=loss, validation=(tokens, y), metrics=mine, epochs=1, batch_size=2)
    kept = np.asarray([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]], dtype=bool)
    outputs, labels = be.asarray(to_host(be, model(tokens))[kept]), be.asarray(to_host(be, y)[kept].astype(int))
    found = model.evaluate(tokens, y, metrics=mine)
    for name in mine:
        want = float(getattr(nn.metrics, name)(outputs, labels))
        assert found[name] == pytest.approx(want, rel=1e-5)
        assert history[f"val_{name}"][0] == pytest.approx(want, rel=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]), rel=1e-5)
    assert sum(map(sum, found.confusion)) == 9
    weights = be.asarray(np.asarray([0.0, 1.0, 0.0]))
    one = model.evaluate(tokens, y, metrics="accuracy", sample_weight=weights)
    hits = to_host(be, model(tokens))[1, :3].argmax(axis=-1) == np.asarray([1, 2, 0])
    assert one["accuracy"] == pytest.approx(hits.mean())
    assert np.isnan(model.evaluate(tokens, be.asarray(np.full((3, 4), -1)), metrics="accuracy")["accuracy"])
