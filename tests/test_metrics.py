from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import nnarray as nn
from nnarray import metrics
from tests.tolerances import as_called

RNG = np.random.default_rng(0)
OUTPUTS, LABELS = RNG.normal(size=(60, 4)), RNG.integers(0, 3, 60)  # the last class is never true
ROWS = {
    "usual": (OUTPUTS, LABELS),
    "never-taken": (OUTPUTS - [0, 99, 0, 0], LABELS),  # a class whose precision is 0 / 0
    "one": (OUTPUTS[:1], LABELS[:1]),
    "perfect": (np.eye(4)[LABELS], LABELS),
}
MACRO = {"average": "macro", "labels": [0, 1, 2, 3], "zero_division": 0}
EXPECTED = {
    "accuracy": sk.accuracy_score,
    "precision": lambda true, taken: sk.precision_score(true, taken, **MACRO),
    "recall": lambda true, taken: sk.recall_score(true, taken, **MACRO),
    "f1": lambda true, taken: sk.f1_score(true, taken, **MACRO),
}


def on(be: nn.Backend, outputs: Any, target: Any) -> tuple[Any, Any]:
    kind = np.asarray(target).dtype.kind
    return be.asarray(outputs, dtype="float32"), be.asarray(target, dtype="float32" if kind == "f" else None)


@pytest.mark.parametrize("rows", ROWS)
def test_equal_scikit_learn(be: nn.Backend, rows: str) -> None:
    outputs, labels = ROWS[rows]

    def all_of_them(outputs: Any, labels: Any, probabilities: Any) -> list[Any]:
        named = [metrics.METRICS[name] for name in EXPECTED]
        return [[metric(outputs, target) for metric in named] for target in (labels, probabilities)]

    probabilities = 0.7 * np.eye(4)[labels] + 0.075  # probabilities are read as labels
    for found in as_called(be, all_of_them)(*on(be, outputs, labels), be.asarray(probabilities, dtype="float32")):
        for got, (name, expected) in zip(found, EXPECTED.items(), strict=True):
            assert float(got) == pytest.approx(expected(labels, outputs.argmax(axis=1)), rel=1e-6), name
            assert nn.namespace(got) is be.xp
            assert nn.device_of(got) == be.device
            assert got.shape == ()


NAMED: dict[str, Any] = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
WEIGHTS = np.linspace(0.0, 2.0, 60)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("average", metrics.AVERAGES)
def test_averages_are_those_of_scikit_learn(be: nn.Backend, average: str, weights: Any) -> None:
    more: dict[str, Any] = {"average": average, "zero_division": 0, "sample_weight": weights}
    own = {"average": average, "weights": None if weights is None else be.asarray(weights, dtype="float32")}
    several = (np.roll(OUTPUTS, 1) > 0.3).astype("float32")
    for name, expected in NAMED.items():
        metric: Any = getattr(metrics, name)
        if average == "samples":
            wanted = expected(several, OUTPUTS > 0, **more)
            got = metric(*on(be, OUTPUTS, several), multilabel=True, **own)
            assert float(got) == pytest.approx(wanted, rel=1e-5), name
            with pytest.raises(ValueError, match=r"average='samples' is for several labels.*pass multilabel=True"):
                metric(*on(be, OUTPUTS, LABELS), **own)
            continue
        outputs, target = on(be, OUTPUTS[:, :1], LABELS > 0)
        wanted = expected(LABELS > 0, OUTPUTS[:, 0] > 0, **more)
        assert float(metric(outputs, target, **own)) == pytest.approx(wanted, rel=1e-5), name
        if average == "binary":
            with pytest.raises(ValueError, match=r"average='binary' needs two classes; got 4 outputs. Use 'macro'"):
                metric(*on(be, OUTPUTS, LABELS), **own)
            continue
        wanted = expected(LABELS, OUTPUTS.argmax(axis=1), labels=[0, 1, 2, 3], **more)
        assert float(metric(*on(be, OUTPUTS, LABELS), **own)) == pytest.approx(wanted, rel=1e-5), name
        wanted = expected(several, OUTPUTS > 0, **more)
        assert float(metric(*on(be, OUTPUTS, several), multilabel=True, **own)) == pytest.approx(wanted, rel=1e-5), name


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_values_of_all_classes_are_those_of_scikit_learn(be: nn.Backend, weights: Any) -> None:
    more: dict[str, Any] = {"average": None, "zero_division": 0, "sample_weight": weights}
    own = {"average": None, "weights": None if weights is None else be.asarray(weights, dtype="float32")}
    several = (np.roll(OUTPUTS, 1) > 0.3).astype("float32")
    for name, expected in NAMED.items():
        metric: Any = as_called(be, partial(getattr(metrics, name), **own))
        wanted = expected(LABELS, OUTPUTS.argmax(axis=1), labels=[0, 1, 2, 3], **more)
        np.testing.assert_allclose(be.to_numpy(metric(*on(be, OUTPUTS, LABELS))), wanted, rtol=1e-5, err_msg=name)
        wanted = expected(LABELS > 0, OUTPUTS[:, 0] > 0, **more)
        np.testing.assert_allclose(be.to_numpy(metric(*on(be, OUTPUTS[:, 0], LABELS > 0))), wanted, rtol=1e-5)
        metric = getattr(metrics, name)
        wanted = expected(several, OUTPUTS > 0, **more)
        got = metric(*on(be, OUTPUTS, several), multilabel=True, **own)
        np.testing.assert_allclose(be.to_numpy(got), wanted, rtol=1e-5, err_msg=name)
        wanted = expected(several[:, 0], OUTPUTS[:, 0] > 0, **(more | {"average": "binary"}))
        for single in (OUTPUTS[:, :1], several[:, :1]), (OUTPUTS[:, 0], several[:, 0]):  # a label of its own, alone
            got = metric(*on(be, *single), multilabel=True, **(own | {"average": "binary"}))
            assert float(got) == pytest.approx(wanted, rel=1e-5), name


TIES = np.round(OUTPUTS, 0)  # few different scores


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("outputs", [OUTPUTS, TIES, np.zeros_like(OUTPUTS), 1e30 * OUTPUTS])
def test_roc_auc_is_that_of_scikit_learn(be: nn.Backend, outputs: np.ndarray, weights: Any) -> None:
    own = {"weights": None if weights is None else be.asarray(weights, dtype="float32")}
    auc = as_called(be, partial(metrics.roc_auc, **own))
    outputs = outputs.astype("float32").astype("float64")
    wanted = sk.roc_auc_score(LABELS > 0, outputs[:, 0], sample_weight=weights)
    for shape in ((60,), (60, 1)):
        got = auc(*on(be, outputs[:, 0].reshape(shape), LABELS > 0))
        assert float(got) == pytest.approx(wanted, rel=1e-5)
        assert (nn.namespace(got), nn.device_of(got), got.shape) == (be.xp, be.device, ())
    wanted = sk.roc_auc_score(LABELS > 0, outputs[:, 1] - outputs[:, 0], sample_weight=weights)
    assert float(auc(*on(be, outputs[:, :2], LABELS > 0))) == pytest.approx(wanted, rel=1e-5)
    several = np.roll(OUTPUTS, 1) > 0.3
    wanted = sk.roc_auc_score(several, outputs, sample_weight=weights)
    got = metrics.roc_auc(*on(be, outputs, several.astype("float32")), multilabel=True, **own)
    assert float(got) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_roc_auc_of_more_classes_is_of_each_with_the_others(be: nn.Backend, weights: Any) -> None:
    own = {"weights": None if weights is None else be.asarray(weights, dtype="float32")}
    auc = as_called(be, partial(metrics.roc_auc, **own))
    labels = LABELS.copy()
    labels[-5:] = 3  # all classes
    probabilities = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(axis=1, keepdims=True)
    wanted = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro", sample_weight=weights)
    for outputs in (OUTPUTS, OUTPUTS + 7.0, probabilities, np.log(probabilities)):
        assert float(auc(*on(be, outputs, labels))) == pytest.approx(wanted, rel=1e-4)
    assert float(auc(*on(be, OUTPUTS, np.eye(4)[labels]))) == pytest.approx(wanted, rel=1e-4)
    votes = np.asarray([3, 1, 2, 2])
    assert float(metrics.roc_auc(*on(be, votes, [1, 0, 1, 0]))) == 0.875  # scores may be integers


def test_roc_auc_needs_both_sides(be: nn.Backend) -> None:
    auc = metrics.roc_auc
    with pytest.raises(ValueError, match=r"roc_auc compares .* but no example is of class 3. Pass examples of all"):
        auc(*on(be, OUTPUTS, LABELS))
    for labels, what in ((np.zeros(60, int), "no"), (np.ones(60, int), "every")):
        with pytest.raises(ValueError, match=rf"but {what} example is of class 1"):
            auc(*on(be, OUTPUTS[:, 0], labels))
    weights = be.asarray((LABELS == 0).astype("float32"))
    with pytest.raises(ValueError, match="no example is of class 1"):
        auc(*on(be, OUTPUTS[:, 0], LABELS > 0), weights=weights)
    assert np.isnan(float(auc(*on(be, np.where(np.arange(60) == 7, np.nan, OUTPUTS[:, 0]), LABELS > 0))))


def test_roc_auc_counts_exactly_in_half_precision(host: nn.Backend) -> None:
    """Beyond what float16 can count, where the outputs are in float16."""
    outputs = np.repeat(np.asarray([0.0, 1.0], dtype=np.float16), 40_000)
    assert float(metrics.roc_auc(outputs, np.repeat([0, 1], 40_000))) == 1.0


def test_accuracy_of_labels_of_their_own(be: nn.Backend) -> None:
    """The fraction of labels, 1 - the Hamming loss; of probabilities with their threshold; with weights."""
    several = (np.roll(OUTPUTS, 1) > 0.3).astype("float32")
    outputs, target = on(be, OUTPUTS, several)
    want = 1.0 - sk.hamming_loss(several, OUTPUTS > 0)
    assert float(metrics.accuracy(outputs, target, multilabel=True)) == pytest.approx(want, rel=1e-6)
    probabilities = be.asarray(1.0 / (1.0 + np.exp(-OUTPUTS)), dtype="float32")
    got = metrics.accuracy(probabilities, target, multilabel=True, threshold=0.5)
    assert float(got) == pytest.approx(want, rel=1e-6)
    weights = be.asarray(WEIGHTS, dtype="float32")
    got = metrics.accuracy(outputs, target, multilabel=True, weights=weights)
    want = 1.0 - sk.hamming_loss(several, OUTPUTS > 0, sample_weight=WEIGHTS)
    assert float(got) == pytest.approx(want, rel=1e-6)
    single = on(be, OUTPUTS, LABELS)
    want = sk.accuracy_score(LABELS, OUTPUTS.argmax(axis=1), sample_weight=WEIGHTS)
    assert float(metrics.accuracy(*single, weights=weights)) == pytest.approx(want, rel=1e-6)
    want = sk.top_k_accuracy_score(LABELS, OUTPUTS, k=2, labels=[0, 1, 2, 3], sample_weight=WEIGHTS)
    assert float(metrics.TopK(2)(*single, weights=weights)) == pytest.approx(want, rel=1e-6)
    many = on(be, OUTPUTS.reshape(5, 12, 4), several.reshape(5, 12, 4))
    each = metrics.f1(*many, multilabel=True, weights=be.asarray([1.0, 2.0, 3.0, 4.0, 5.0], dtype="float32"))
    want = sk.f1_score(several, OUTPUTS > 0, average="macro", sample_weight=np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 12))
    assert float(each) == pytest.approx(want, rel=1e-5)


def test_several_labels_are_not_read_as_one(host: nn.Backend) -> None:
    several = (np.roll(OUTPUTS, 1) > 0.3).astype(int)
    for metric in (metrics.accuracy, metrics.f1, metrics.TopK(2)):
        with pytest.raises(ValueError, match=r"sum to 1 in each row; got sums from 0 to 4.*pass multilabel=True"):
            metric(OUTPUTS, several)
    for metric in (metrics.accuracy, metrics.f1):
        with pytest.raises(ValueError, match=r"need a target of the outputs' shape \(60, 4\).*; got \(60,\)"):
            metric(OUTPUTS, LABELS, multilabel=True)
        with pytest.raises(ValueError, match=r"labels must be 0 or 1, or probabilities; got values from 0 to 2"):
            metric(OUTPUTS, 2 * several, multilabel=True)
    with pytest.raises(
        ValueError, match="average must be one of 'macro', 'micro', 'weighted', 'binary', 'samples', None; got 'sample'"
    ):
        metrics.f1(OUTPUTS, LABELS, average="sample")
    with pytest.raises(ValueError, match=r"weights must have shape \(60,\), one per example; got \(3,\)"):
        metrics.accuracy(OUTPUTS, LABELS, weights=np.ones(3))


def test_nan_is_no_class(be: nn.Backend) -> None:
    """The largest output of a network that diverged would be class 0: right for some examples."""
    for outputs, target in ((OUTPUTS, LABELS), (OUTPUTS[:, :1], LABELS > 0), (OUTPUTS[:, 0], LABELS > 0)):
        for metric in (metrics.accuracy, metrics.recall, metrics.f1):
            assert float(metric(*on(be, outputs * np.nan, target))) == 0.0
    assert float(metrics.accuracy(*on(be, OUTPUTS * np.nan, OUTPUTS > 0), multilabel=True)) == 0.0


def test_top_k(be: nn.Backend) -> None:
    for k in (1, 2, 3, 4):
        got = metrics.TopK(k)(*on(be, OUTPUTS, LABELS))
        want = 1.0 if k == 4 else sk.top_k_accuracy_score(LABELS, OUTPUTS, k=k, labels=[0, 1, 2, 3])
        assert float(got) == pytest.approx(want, rel=1e-6)
        assert float(metrics.TopK(k)(*on(be, OUTPUTS, np.eye(4)[LABELS]))) == float(got)
    assert metrics.TopK(3).__name__ == "top_3"
    assert metrics.TopK(np.int64(3)) == metrics.TopK(3)


def test_nan_is_in_no_column_of_the_confusion_matrix(be: nn.Backend) -> None:
    outputs = np.asarray([[np.nan, 0.0], [0.0, 1.0]])
    found = metrics.confusion_matrix(*on(be, outputs, np.asarray([0, 1])))
    assert [[int(found[i, j]) for j in range(2)] for i in range(2)] == [[0, 0], [0, 1]]


def test_nan_is_not_among_the_most_likely(be: nn.Backend) -> None:
    """A network that diverged would else be perfect: no output is above nan."""
    assert float(metrics.TopK(2)(*on(be, OUTPUTS * np.nan, LABELS))) == 0.0
    mixed = np.asarray([[np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0]])
    assert float(metrics.TopK(2)(*on(be, mixed, [0, 2]))) == 0.5


@pytest.mark.parametrize("rows", ROWS)
def test_confusion_matrix(be: nn.Backend, rows: str) -> None:
    outputs, labels = ROWS[rows]
    got = metrics.confusion_matrix(*on(be, outputs, labels))
    want = sk.confusion_matrix(labels, outputs.argmax(axis=1), labels=[0, 1, 2, 3])
    np.testing.assert_array_equal(be.to_numpy(got), want)
    assert be.xp.isdtype(got.dtype, "integral")
    larger = metrics.confusion_matrix(*on(be, outputs, labels), classes=6)
    np.testing.assert_array_equal(be.to_numpy(larger), np.pad(want, (0, 2)))


def test_confusion_matrix_counts_exactly(host: nn.Backend) -> None:
    """Beyond what float16 can count, where the outputs are in float16."""
    outputs = np.tile(np.asarray([[1.0, 0.0]], dtype=np.float16), (70_001, 1))
    assert metrics.confusion_matrix(outputs, np.zeros(70_001, dtype=int)).tolist() == [[70_001, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
@pytest.mark.parametrize("kind", ["float32", "int64", "uint8", "bool", "flat"])
def test_single_logits(be: nn.Backend, shape: tuple[int, ...], kind: str) -> None:
    truth = LABELS > 0
    target = truth.astype(int) if kind == "flat" else truth.reshape(shape).astype(kind)
    outputs, target = on(be, OUTPUTS[:, 0].reshape(shape), target)
    taken = OUTPUTS[:, 0] > 0
    assert float(metrics.accuracy(outputs, target)) == pytest.approx(sk.accuracy_score(truth, taken), rel=1e-6)
    np.testing.assert_array_equal(
        be.to_numpy(metrics.confusion_matrix(outputs, target)), sk.confusion_matrix(truth, taken)
    )
    if kind == "float32":
        assert float(metrics.f1(outputs, target)) == pytest.approx(sk.f1_score(truth, taken, average="macro"), rel=1e-6)


def test_many_positions(be: nn.Backend) -> None:
    """Labels at each position of a sequence or an image, as cross-entropy takes them."""
    chosen = [*(metrics.METRICS[name] for name in EXPECTED), metrics.TopK(2)]
    wanted = [expected(LABELS, OUTPUTS.argmax(axis=1)) for expected in EXPECTED.values()]
    wanted.append(sk.top_k_accuracy_score(LABELS, OUTPUTS, k=2, labels=[0, 1, 2, 3]))
    each = as_called(be, lambda outputs, target: [metric(outputs, target) for metric in chosen])
    found = each(*on(be, OUTPUTS.reshape(5, 12, 4), LABELS.reshape(5, 12)))
    assert [float(f) for f in found] == pytest.approx(wanted, rel=1e-6)
    singles = on(be, OUTPUTS[:, 0].reshape(5, 12, 1), (LABELS > 0).reshape(5, 12))
    want = ((LABELS > 0) == (OUTPUTS[:, 0] > 0)).mean()
    assert float(as_called(be, metrics.accuracy)(*singles)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("columns", [None, 1, 3])
def test_r2(be: nn.Backend, columns: int | None) -> None:
    outputs = OUTPUTS[:, 0] if columns is None else OUTPUTS[:, :columns]
    target = outputs + 0.3 * np.random.default_rng(1).normal(size=outputs.shape)
    assert float(as_called(be, metrics.r2)(*on(be, outputs, target))) == pytest.approx(
        sk.r2_score(target, outputs), rel=1e-5
    )


def test_r2_of_a_constant(be: nn.Backend) -> None:
    flat = be.asarray([[1.0], [1.0]], dtype="float32")
    assert float(metrics.r2(flat, flat)) == 1.0
    assert float(metrics.r2(flat + 1.0, flat)) == 0.0
    one_column_is = be.asarray([[1.0, 0.0], [1.0, 2.0]], dtype="float32")
    assert float(metrics.r2(one_column_is + 1.0, one_column_is)) == 0.0


@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_r2_in_half_precision(flag: str) -> None:
    """The squares of such numbers are beyond float16."""
    be = nn.backend(flag)
    outputs, target = (be.asarray(a, dtype="float16") for a in (OUTPUTS * 1000, OUTPUTS * 1000 + 100))
    want = sk.r2_score(be.to_numpy(target).astype(float), be.to_numpy(outputs).astype(float))
    assert float(metrics.r2(outputs, target)) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize(
    ("outputs", "target", "error", "message"),
    [
        (OUTPUTS, LABELS * 1.0, TypeError, "labels must be integers; got dtype .*float32"),
        (OUTPUTS, LABELS + 2, ValueError, "labels must be 0 to 3, because there are 4 classes; got labels from 2 to 4"),
        (OUTPUTS, LABELS - 1, ValueError, "got labels from -1 to 1"),
        (OUTPUTS[:, :1], LABELS, ValueError, "labels must be 0 to 1, because there are 2 classes"),
        (OUTPUTS, LABELS[:7], ValueError, r"outputs of shape \(60, 4\) need labels of shape \(60,\).*got \(7,\)"),
        (OUTPUTS, OUTPUTS[:, :3], ValueError, r"or probabilities of the outputs' shape; got \(60, 3\)"),
        (OUTPUTS[:0], LABELS[:0], ValueError, r"at least one example; got outputs of shape \(0, 4\)"),
    ],
)
def test_bad_targets(be: nn.Backend, outputs, target, error, message: str) -> None:
    for metric in (metrics.accuracy, metrics.confusion_matrix, metrics.f1):
        with pytest.raises(error, match=message):
            metric(*on(be, outputs, target))
    if outputs.shape[-1] > 1:
        with pytest.raises(error, match=message):
            metrics.TopK(2)(*on(be, outputs, target))


def test_outputs_and_target_must_be_in_one_place(host: nn.Backend) -> None:
    with pytest.raises(TypeError, match="nothing is moved silently"):
        metrics.accuracy(OUTPUTS, nn.backend("strict").asarray(LABELS))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: metrics.TopK(0), ValueError, "TopK k must be an integer of at least 1; got 0"),
        (lambda: metrics.TopK(1.5), TypeError, "TopK k must be an integer of at least 1; got 1.5"),
        (
            lambda: metrics.TopK(1)(OUTPUTS[:, :1], LABELS),
            ValueError,
            r"top_1 needs one output per class; got .*\(60, 1\)",
        ),
        (lambda: metrics.confusion_matrix(OUTPUTS, LABELS, 3), ValueError, "needs at least 4 classes; got 3"),
        (lambda: metrics.r2(OUTPUTS, OUTPUTS[:, 0]), ValueError, r"one shape.*got \(60, 4\) and \(60,\)"),
        (lambda: metrics.r2(OUTPUTS[:0], OUTPUTS[:0]), ValueError, "at least one example"),
        (lambda: metrics.metrics_named("acuracy"), ValueError, "unknown metric.*Did you mean 'accuracy'"),
        (lambda: metrics.metrics_named(["f1", "f1"]), ValueError, "metrics need different names; got .'f1', 'f1'."),
        (lambda: metrics.metrics_named({"loss": "f1"}), ValueError, "a metric cannot be called 'loss'"),
        (lambda: metrics.metrics_named({"val_f1": "f1"}), ValueError, "a metric cannot be called 'val_f1'"),
    ],
)
def test_bad_settings(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_metrics_by_name() -> None:
    def share(outputs, target):
        return 0.5

    assert metrics.metrics_named("f1") == {"f1": metrics.f1}
    assert metrics.metrics_named(share) == {"share": share}
    assert list(metrics.metrics_named(["accuracy", metrics.TopK(3), share])) == ["accuracy", "top_3", "share"]


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1.0, 1e17, 1e37])
def test_r2_of_numbers_whose_squares_do_not_fit(be: nn.Backend, scale: float) -> None:
    z = np.random.default_rng(0).normal(size=(6000, 1))
    outputs, target = on(be, scale * (17 + 0.5 * z) / 3, scale * (17 + z) / 3)
    assert float(as_called(be, metrics.r2)(outputs, target)) == pytest.approx(0.75, rel=1e-4)
    mean = be.xp.ones_like(target) * float(be.xp.mean(target / scale)) * scale
    assert float(metrics.r2(mean, target)) == pytest.approx(0.0, abs=1e-5)
    assert float(metrics.r2(target, target)) == 1.0


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_errors_of_values(be: nn.Backend, weights: Any) -> None:
    own = {"weights": None if weights is None else be.asarray(weights, dtype="float32")}
    target = np.roll(OUTPUTS, 1)
    for name, want in (
        ("mse", sk.mean_squared_error),
        ("rmse", lambda *a, **k: np.sqrt(sk.mean_squared_error(*a, **k))),
        ("mae", sk.mean_absolute_error),
    ):
        metric = metrics.METRICS[name]
        expected = want(target, OUTPUTS, sample_weight=weights)
        assert float(metric(*on(be, OUTPUTS, target), **own)) == pytest.approx(expected, rel=1e-5)
        with pytest.raises(ValueError, match=f"{name} needs outputs and target of one shape"):
            metric(*on(be, OUTPUTS, target[:, 0]))
        assert nn.EarlyStopping(f"val_{name}").mode == "min"


def test_a_metric_that_needs_weights_gets_ones(host: nn.Backend) -> None:
    def total(outputs: Any, target: Any, weights: Any) -> Any:
        return weights.sum()

    def optional(outputs: Any, target: Any, weights: Any = None) -> float:
        return float(weights is not None)

    X = host.asarray(np.linspace(-1.0, 1.0, 12)[:, None])
    model = nn.Network(nn.Dense(1)).init((1,), backend=host)
    history = model.fit(X, X, epochs=1, metrics=[total, optional], batch_size=5)
    assert (history["total"], history["optional"]) == ([12.0], [0.0])


def test_perplexity_is_exp_of_the_cross_entropy(be: nn.Backend) -> None:
    outputs, labels = np.random.default_rng(0).normal(size=(4, 3, 5)), np.arange(12).reshape(4, 3) % 5
    weights = np.asarray([1.0, 0.0, 2.0, 0.5])
    loss = nn.losses.CrossEntropy()
    for given in (on(be, outputs, labels), (*on(be, outputs, labels), be.asarray(weights, dtype="float32"))):
        got = metrics.perplexity(given[0], given[1], **({"weights": given[2]} if len(given) > 2 else {}))
        assert float(got) == pytest.approx(np.exp(float(loss(*given))), rel=1e-5)
    assert float(metrics.perplexity(*on(be, np.zeros((3, 7)), [0, 6, 2]))) == pytest.approx(7.0)
    with pytest.raises(ValueError, match=r"perplexity needs one output per class; got outputs of shape \(3, 1\)"):
        metrics.perplexity(*on(be, np.zeros((3, 1)), [0, 1, 0]))
