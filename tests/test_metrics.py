from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

import nnarray as nn
from nnarray import metrics

RNG = np.random.default_rng(0)
OUTPUTS, LABELS = RNG.normal(size=(60, 4)), RNG.integers(0, 3, 60)  # the last class is never true
TAKEN = OUTPUTS.argmax(axis=1)
MACRO = {"average": "macro", "labels": [0, 1, 2, 3], "zero_division": 0}

EXPECTED = {
    "accuracy": sk.accuracy_score(LABELS, TAKEN),
    "precision": sk.precision_score(LABELS, TAKEN, **MACRO),
    "recall": sk.recall_score(LABELS, TAKEN, **MACRO),
    "f1": sk.f1_score(LABELS, TAKEN, **MACRO),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_equal_scikit_learn(be: nn.Backend, name: str) -> None:
    outputs = be.asarray(OUTPUTS, dtype="float32")
    got = metrics.METRICS[name](outputs, be.asarray(LABELS))
    assert float(got) == pytest.approx(EXPECTED[name], rel=1e-6)
    assert nn.namespace(got) is be.xp
    if name == "accuracy":  # probabilities of each class are read as labels
        assert float(metrics.accuracy(outputs, be.asarray(np.eye(4)[LABELS], dtype="float32"))) == float(got)


def test_top_k(be: nn.Backend) -> None:
    for k in (1, 2, 3):
        got = metrics.TopK(k)(be.asarray(OUTPUTS, dtype="float32"), be.asarray(LABELS))
        assert float(got) == pytest.approx(sk.top_k_accuracy_score(LABELS, OUTPUTS, k=k, labels=[0, 1, 2, 3]), rel=1e-6)
    with pytest.raises(ValueError, match="k must be an integer of at least 1"):
        metrics.TopK(0)


def test_confusion_matrix(be: nn.Backend) -> None:
    got = metrics.confusion_matrix(be.asarray(OUTPUTS, dtype="float32"), be.asarray(LABELS))
    np.testing.assert_array_equal(be.to_numpy(got), sk.confusion_matrix(LABELS, TAKEN, labels=[0, 1, 2, 3]))
    assert be.xp.isdtype(got.dtype, "integral")


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_single_logits(be: nn.Backend, shape: tuple[int, ...]) -> None:
    logits, truth = OUTPUTS[:, 0].reshape(shape), (LABELS > 0).astype(float)
    taken = logits.ravel() > 0
    for target in (be.asarray(truth.reshape(shape), dtype="float32"), be.asarray(truth.astype(int))):
        outputs = be.asarray(logits, dtype="float32")
        assert float(metrics.accuracy(outputs, target)) == pytest.approx(sk.accuracy_score(truth, taken), rel=1e-6)
        assert float(metrics.f1(outputs, target)) == pytest.approx(sk.f1_score(truth, taken, average="macro"), rel=1e-6)


def test_r2(be: nn.Backend) -> None:
    target = OUTPUTS + 0.3 * RNG.normal(size=OUTPUTS.shape)
    got = metrics.r2(be.asarray(OUTPUTS, dtype="float32"), be.asarray(target, dtype="float32"))
    assert float(got) == pytest.approx(sk.r2_score(target, OUTPUTS), rel=1e-5)
    flat = be.asarray([[1.0], [1.0]], dtype="float32")
    assert float(metrics.r2(flat, flat)) == 1.0
    assert float(metrics.r2(flat + 1.0, flat)) == 0.0
    with pytest.raises(ValueError, match=r"one shape, and at least one example; got \(2, 1\) and \(2,\)"):
        metrics.r2(flat, flat[:, 0])
