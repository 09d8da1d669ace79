"""Files of estimators answer as the estimators do: labels with their type, probabilities, values."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import nnarray as nn
from nnarray.estimators import MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor
from nnarray.onnx.writing import checking

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
importlib.import_module("onnx.reference")

X = np.random.default_rng(0).normal(size=(60, 3))
KIND = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.4)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 20, "tol": 1.0, "random_state": 0}
TEXT = np.asarray(["daisy", "wild røse", "チューリップ"])

CLASSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "two texts": (TEXT[KIND % 2], {}),
    "three texts": (TEXT[KIND], {}),
    "texts as objects": (TEXT[KIND].astype(object), {}),
    "integers": (KIND * 10 - 7, {}),
    "real numbers": (KIND * 2.0 - 7.0, {}),
    "truth values": (KIND > 0, {}),
    "one class": (np.full(60, "all"), {}),
    "several labels": (np.stack([X[:, 0] > 0, X[:, 2] > 0, KIND == 1], axis=1).astype(int), {}),
    "float32": (TEXT[KIND], {"dtype": "float32"}),
    "weights": (TEXT[KIND], {"class_weight": "balanced"}),
}


def answers(path: Path, x: Any) -> list[dict[str, Any]]:
    """Those of ONNX Runtime and of the reference evaluator."""
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    evaluator = onnx.reference.ReferenceEvaluator(str(path))
    names = [port.name for port in session.get_outputs()]
    assert session.get_inputs()[0].shape == ["batch", *x.shape[1:]]
    return [dict(zip(names, each.run(None, {"X": x}), strict=True)) for each in (session, evaluator)]


@pytest.mark.parametrize("case", CLASSES)
def test_classes(tmp_path: Path, case: str) -> None:
    y, more = CLASSES[case]
    made = MLPClassifier(**SMALL, **more).fit(X, y)
    made.to_onnx(tmp_path / "m.onnx")
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    x = X.astype(more.get("dtype", "float64"))
    for found in answers(tmp_path / "m.onnx", x):
        wanted, p = made.predict(x), made.predict_proba(x)
        assert found["label"].tolist() == wanted.tolist()
        assert found["label"].dtype == (object if wanted.dtype.kind in "UO" else wanted.dtype)
        assert (found["probabilities"].shape, found["probabilities"].dtype) == (p.shape, p.dtype)
        np.testing.assert_allclose(found["probabilities"], p, rtol=0, atol=1e-6 if more else 1e-12)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_values(tmp_path: Path, targets: int, loss: str) -> None:
    y = np.exp(X[:, :targets])
    made = MLPRegressor(**SMALL, loss=loss).fit(X, y[:, 0] if targets == 1 else y)
    made.to_onnx(tmp_path / "m.onnx")
    for found in answers(tmp_path / "m.onnx", X):
        assert found["value"].shape == (60, targets)
        np.testing.assert_allclose(found["value"], made.predict(X).reshape(60, targets), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_written_as_float32(tmp_path: Path, dtype: str) -> None:
    backend = "torch" if dtype == "bfloat16" else "numpy"
    if backend == "torch":
        pytest.importorskip("torch")
    classifier = MLPClassifier(**SMALL, backend=backend, dtype=dtype).fit(X, TEXT[KIND])
    classifier.to_onnx(tmp_path / "m.onnx")
    x = X.astype("float32")
    exact = classifier.model_.to("numpy", dtype="float32").predict(x)
    p = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    for found in answers(tmp_path / "m.onnx", x):
        assert found["probabilities"].dtype == np.float32
        np.testing.assert_allclose(found["probabilities"], p, rtol=0, atol=1e-6)
    regressor = MLPRegressor(**SMALL, backend=backend, dtype=dtype).fit(X, X[:, 0])
    regressor.to_onnx(tmp_path / "v.onnx")
    assert answers(tmp_path / "v.onnx", x)[0]["value"].dtype == np.float32


def test_networks_of_your_own(tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(20, 4, 4, 1)).astype("float32")
    y = TEXT[np.arange(20) % 3]
    network = nn.Network(nn.Conv2D(2, 3, activation="relu"), nn.Flatten(), nn.Dense(3))
    made = NetworkClassifier(network, epochs=1, random_state=0).fit(images, y)
    made.to_onnx(tmp_path / "m.onnx", batch=None)
    for found in answers(tmp_path / "m.onnx", images):
        assert found["label"].tolist() == made.predict(images).tolist()
    values = NetworkRegressor(nn.Network(nn.Dense(1)), epochs=1, random_state=0).fit(X, X[:, 0])
    values.to_onnx(tmp_path / "v.onnx")
    assert answers(tmp_path / "v.onnx", X)[0]["value"].shape == (60, 1)


def test_notes_and_devices(be: nn.Backend, tmp_path: Path) -> None:
    frame = pd.DataFrame(X.astype("float32"), columns=["a", "b c", "d"])
    made = MLPClassifier(**SMALL, backend=be, dtype="float32").fit(frame, TEXT[KIND])
    made.to_onnx(tmp_path / "m.onnx")
    notes = runtime.InferenceSession(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == TEXT.tolist()
    assert json.loads(notes["features"]) == ["a", "b c", "d"]


def test_labels_on_a_device(be: nn.Backend, tmp_path: Path) -> None:
    x, y = be.asarray(X, dtype="float32"), be.asarray(KIND)
    made = MLPClassifier(**SMALL).fit(x, y)
    made.to_onnx(tmp_path / "m.onnx")
    found = answers(tmp_path / "m.onnx", be.to_numpy(x))[0]
    assert found["label"].tolist() == be.to_numpy(made.predict(x)).tolist()
    MLPRegressor(**SMALL).fit(x, x[:, 0]).to_onnx(tmp_path / "v.onnx")


SCALERS: dict[str, Any] = {
    "standard": StandardScaler(),
    "without the mean": StandardScaler(with_mean=False),
    "without the scale": StandardScaler(with_std=False),
    "neither": StandardScaler(with_mean=False, with_std=False),
    "a range": MinMaxScaler((-1, 2)),
    "a range with limits": MinMaxScaler(clip=True),
    "the largest": MaxAbsScaler(),
    "quantiles": RobustScaler(),
    "the median": RobustScaler(with_scaling=False),
    "several": make_pipeline(MinMaxScaler(), "passthrough", StandardScaler()),
}
RAW = X * [1e-3, 5.0, 1.0] + [0.0, -40.0, 2e6]
BEYOND = RAW + (X > 1) * [1.0, 50.0, 9.0]


@pytest.mark.parametrize("case", SCALERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scalers_before(tmp_path: Path, case: str, dtype: str) -> None:
    """A pipeline is one file: its input is unscaled, in float64, so that large numbers lose nothing."""
    is_centred = case not in ("without the mean", "neither")
    raw, beyond = (RAW, BEYOND) if is_centred else (X, 2.0 * X)
    pipeline = make_pipeline(clone(SCALERS[case]), MLPClassifier(**SMALL, dtype=dtype)).fit(raw, TEXT[KIND])
    pipeline[-1].to_onnx(tmp_path / "m.onnx", before=pipeline[:-1])
    for x in (raw, beyond):
        for found in answers(tmp_path / "m.onnx", x):
            p = pipeline.predict_proba(x)
            np.testing.assert_allclose(found["probabilities"], p, rtol=0, atol=1e-12 if dtype == "float64" else 1e-5)
            assert found["label"].tolist() == pipeline.predict(x).tolist()


def test_a_scaler_before_a_regressor(be: nn.Backend, tmp_path: Path) -> None:
    """Scaled on the host, trained elsewhere; the notes have the names of the columns before."""
    frame = pd.DataFrame(RAW, columns=["a", "b c", "d"])
    scaler = StandardScaler().fit(frame)
    made = MLPRegressor(**SMALL, backend=be, dtype="float32").fit(scaler.transform(frame), X[:, 0])
    made.to_onnx(tmp_path / "m.onnx", before=scaler, batch=60)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["features"]) == ["a", "b c", "d"]
    (port,) = session.get_inputs()
    assert (port.name, port.type, port.shape) == ("X", "tensor(double)", [60, 3])
    (found,) = session.run(None, {"X": RAW})
    np.testing.assert_allclose(found[:, 0], made.predict(scaler.transform(frame)), rtol=0, atol=1e-5)


def test_scalers_that_are_refused(tmp_path: Path) -> None:
    made, file = MLPClassifier(**SMALL).fit(X, TEXT[KIND]), tmp_path / "m.onnx"
    for before in (PCA().fit(X), made, "scale", type("Own", (StandardScaler,), {})().fit(X)):
        with pytest.raises(TypeError, match=r"before takes a StandardScaler, .* or a pipeline of them; got "):
            made.to_onnx(file, before=before)
    with pytest.raises(NotFittedError):
        made.to_onnx(file, before=StandardScaler())
    with pytest.raises(
        ValueError, match=r"before was fitted with 2 features, and the estimator with rows of shape \(3,\)"
    ):
        made.to_onnx(file, before=StandardScaler().fit(X[:, :2]))
    assert not file.exists()


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFittedError):
        MLPClassifier().to_onnx(tmp_path / "m.onnx")
    made = MLPClassifier(**SMALL).fit(X, TEXT[KIND])
    with pytest.raises(ValueError, match=r"the file must end in \.onnx; got .*m\.txt"):
        made.to_onnx(tmp_path / "m.txt")
    made.to_onnx(tmp_path / "right.onnx")
    made._right = lambda outputs: type(made)._right(made, -outputs)  # type: ignore[method-assign]
    for by in ("ONNX Runtime", "the reference evaluator of ONNX"):
        with pytest.raises(ValueError, match=f"as {by} computes it, a number differs by .* of the estimator"):
            made.to_onnx(tmp_path / "m.onnx")
        monkeypatch.setattr(checking, "_by_runtime", lambda data: None)
    assert not (tmp_path / "m.onnx").exists()
