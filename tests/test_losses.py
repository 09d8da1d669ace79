from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from nnarray import losses
from tests.tolerances import close, to_host

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(0)
OUTPUTS, TARGET = RNG.normal(size=(8, 5)) * 3, RNG.normal(size=(8, 5))
SHARES = RNG.dirichlet(np.ones(5), 8)
LABELS = RNG.integers(0, 5, 8)
UNIT = RNG.uniform(size=(8, 5))
CLASS_WEIGHTS = (0.5, 1.0, 2.0, 3.0, 0.1)
SMOOTH = {"label_smoothing": 0.1}
WEIGHED = {"class_weights": CLASS_WEIGHTS}

CASES = {
    "mse": (losses.MeanSquaredError, {}, TARGET, F.mse_loss, {}),
    "mae": (losses.MeanAbsoluteError, {}, TARGET, F.l1_loss, {}),
    "huber": (losses.Huber, {"delta": 0.7}, TARGET, F.huber_loss, {"delta": 0.7}),
    "binary": (losses.BinaryCrossEntropy, {}, UNIT, F.binary_cross_entropy_with_logits, {}),
    "labels": (losses.CrossEntropy, {}, LABELS, F.cross_entropy, {}),
    "probabilities": (losses.CrossEntropy, {}, SHARES, F.cross_entropy, {}),
    "labels smoothed": (losses.CrossEntropy, SMOOTH, LABELS, F.cross_entropy, SMOOTH),
    "probabilities smoothed": (losses.CrossEntropy, SMOOTH, SHARES, F.cross_entropy, SMOOTH),
    "labels weighed": (losses.CrossEntropy, WEIGHED, LABELS, F.cross_entropy, {"weight": CLASS_WEIGHTS}),
    "probabilities weighed": (losses.CrossEntropy, WEIGHED, SHARES, F.cross_entropy, {"weight": CLASS_WEIGHTS}),
    "labels both": (losses.CrossEntropy, SMOOTH | WEIGHED, LABELS, F.cross_entropy, SMOOTH | {"weight": CLASS_WEIGHTS}),
}


def in_torch(case: str, reduction: str) -> tuple[float, np.ndarray]:
    _, _, target, function, options = CASES[case]
    options = {k: torch.tensor(v, dtype=torch.float64) if k == "weight" else v for k, v in options.items()}
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    per_example_sum = function in (F.mse_loss, F.l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits)
    value = function(outputs, torch.tensor(target), reduction=reduction, **options)
    if per_example_sum and reduction == "sum":  # ours is the mean over an example's outputs, then the sum
        value = value / OUTPUTS.shape[1]
    value.backward()
    return float(value.detach()), outputs.grad.numpy()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_equal_pytorch(be: nn.Backend, dtype: str, case: str, reduction: str) -> None:
    make, options, target, _, _ = CASES[case]
    loss = make(reduction=reduction, **options)
    y = be.asarray(target, dtype=None if target is LABELS else dtype)
    value, gradient = loss.value_and_gradient(be.asarray(OUTPUTS, dtype=dtype), y)
    want, want_gradient = in_torch(case, reduction)
    close(to_host(be, value), np.asarray(want), dtype)
    close(to_host(be, gradient), want_gradient, dtype)
    assert gradient.dtype == be.dtype(dtype)
    assert value.ndim == 0
    assert float(loss(be.asarray(OUTPUTS, dtype=dtype), y)) == float(value)


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_slope(be: nn.Backend, case: str) -> None:
    be = be if "float64" in be.dtypes else nn.backend("strict")
    make, options, target, _, _ = CASES[case]
    nn.testing.check_loss(make(**options), be.asarray(OUTPUTS, dtype="float64"), be.asarray(target))


def test_check_loss_finds_a_wrong_gradient(host: nn.Backend) -> None:
    class Wrong(losses.MeanSquaredError):
        def per_example(self, outputs, target):
            values, gradient = super().per_example(outputs, target)
            return values, gradient * 1.001

    with pytest.raises(AssertionError, match="central differences"):
        nn.testing.check_loss(Wrong(), OUTPUTS, TARGET)


@pytest.mark.parametrize("size", [1e4, 1e38])
def test_extreme_logits(be: nn.Backend, dtype: str, size: float) -> None:
    z = be.asarray([[size, -size], [-size, size], [size, size]], dtype=dtype)
    value, gradient = losses.CrossEntropy(reduction="sum").value_and_gradient(z, be.asarray([0, 1, 0]))
    assert float(value) == pytest.approx(np.log(2), rel=1e-6)
    close(to_host(be, gradient), np.asarray([[0, 0], [0, 0], [-0.5, 0.5]]), dtype)
    wrong, _ = losses.CrossEntropy(reduction="sum").value_and_gradient(z[:1, ...], be.asarray([1]))
    assert float(wrong) == pytest.approx(2 * size, rel=1e-5)
    right = be.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=dtype)
    value, gradient = losses.BinaryCrossEntropy().value_and_gradient(z, right)
    assert float(value) == 0.0
    assert not to_host(be, gradient).any()
    value, gradient = losses.BinaryCrossEntropy().value_and_gradient(z[:1, ...], 1.0 - right[:1, ...])
    assert float(value) == pytest.approx(size, rel=1e-5)
    close(to_host(be, gradient), np.asarray([[0.5, -0.5]]), dtype)


@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_half_precision_sums_are_wide(flag: str) -> None:
    be = nn.backend(flag)
    z = be.asarray(np.full((70_000, 2), 1.0), dtype="float16")
    labels = be.asarray(np.zeros(70_000, dtype=int))
    value, gradient = losses.CrossEntropy(reduction="sum").value_and_gradient(z, labels)
    assert float(value) == pytest.approx(70_000 * np.log(2), rel=1e-3)  # beyond float16
    assert gradient.dtype == be.dtype("float16")
    value, _ = losses.CrossEntropy().value_and_gradient(be.asarray([[6e4, -6e4]], dtype="float16"), be.asarray([1]))
    assert np.isfinite(float(value))


ONES = np.ones((5, 1))
BAD = [
    (
        losses.MeanSquaredError(),
        ONES,
        np.ones(5),
        ValueError,
        r"outputs' shape \(5, 1\); got \(5,\).*nothing is broadcast",
    ),
    (
        losses.MeanSquaredError(),
        ONES,
        np.full((5, 1), np.nan),
        ValueError,
        "target contains NaN or infinity: row 0, column 0",
    ),
    (losses.MeanSquaredError(), ONES[:0], ONES[:0], ValueError, "at least one example"),
    (losses.MeanSquaredError(), ONES.astype(int), ONES, TypeError, "outputs must be real floating"),
    (losses.MeanSquaredError(), ONES.tolist(), ONES, TypeError, "outputs must be an array; got list"),
    (losses.BinaryCrossEntropy(), ONES, ONES * 2, ValueError, "targets from 0 to 1; got values from 2 to 2"),
    (
        losses.CrossEntropy(),
        OUTPUTS,
        LABELS + 5,
        ValueError,
        r"label \d is out of range: with 5 outputs, labels are 0 to 4",
    ),
    (losses.CrossEntropy(), OUTPUTS, LABELS - 5, ValueError, "label -5 is out of range"),
    (losses.CrossEntropy(), OUTPUTS, LABELS * 1.0, TypeError, "labels must be integers; got dtype float64"),
    (losses.CrossEntropy(), OUTPUTS, LABELS[:, None], ValueError, r"needs labels of shape \(8,\)"),
    (losses.CrossEntropy(), OUTPUTS, -SHARES, ValueError, "probabilities that are not negative"),
    (losses.CrossEntropy(), ONES[:, 0], np.zeros(5, int), ValueError, "one logit a class"),
    (losses.CrossEntropy(), ONES, np.zeros(5, int), ValueError, "at least 2 classes"),
    (losses.CrossEntropy(class_weights=(1, 2)), OUTPUTS, LABELS, ValueError, "2 entries for 5 classes"),
]


@pytest.mark.parametrize(("loss", "outputs", "target", "error", "message"), BAD)
def test_bad_targets(loss, outputs, target, error, message: str) -> None:
    with pytest.raises(error, match=message):
        loss(outputs, target)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.CrossEntropy(reduction="none"), "'mean' or 'sum'; got 'none'"),
        (lambda: losses.CrossEntropy(label_smoothing=1.0), "0 <= s < 1"),
        (lambda: losses.CrossEntropy(class_weights=(1, 0)), "above 0"),
        (lambda: losses.Huber(delta=0), "above 0; got 0"),
    ],
)
def test_bad_settings(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
