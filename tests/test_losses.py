from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import losses
from nnarray.backends import device_of
from tests.packages import package
from tests.tolerances import as_called, close, to_host

torch = package("torch")
F = torch.nn.functional

RNG = np.random.default_rng(0)
OUTPUTS, TARGET = RNG.normal(size=(8, 5)) * 3, RNG.normal(size=(8, 5))
PROBABILITIES = RNG.dirichlet(np.ones(5), 8)
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
    "probabilities": (losses.CrossEntropy, {}, PROBABILITIES, F.cross_entropy, {}),
    "labels smoothed": (losses.CrossEntropy, SMOOTH, LABELS, F.cross_entropy, SMOOTH),
    "probabilities smoothed": (losses.CrossEntropy, SMOOTH, PROBABILITIES, F.cross_entropy, SMOOTH),
    "labels weighed": (losses.CrossEntropy, WEIGHED, LABELS, F.cross_entropy, {"weight": CLASS_WEIGHTS}),
    "probabilities weighed": (losses.CrossEntropy, WEIGHED, PROBABILITIES, F.cross_entropy, {"weight": CLASS_WEIGHTS}),
    "probabilities both": (
        losses.CrossEntropy,
        SMOOTH | WEIGHED,
        PROBABILITIES,
        F.cross_entropy,
        SMOOTH | {"weight": CLASS_WEIGHTS},
    ),
    "labels both": (losses.CrossEntropy, SMOOTH | WEIGHED, LABELS, F.cross_entropy, SMOOTH | {"weight": CLASS_WEIGHTS}),
}


POSITIONS, POSITION_LABELS = RNG.normal(size=(6, 6, 5)), RNG.integers(0, 5, (6, 6))  # as many positions as examples
EXAMPLES = np.asarray([0.0, 1.0, 2.0, 0.5, 3.0, 1.0, 0.0, 0.25])


def in_torch(case: str, reduction: str, weights: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """The loss by PyTorch; of weighed examples, from the losses of each."""
    _, own, target, function, options = CASES[case]
    options = {k: torch.tensor(v, dtype=torch.float64) if k == "weight" else v for k, v in options.items()}
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    each = function(outputs, torch.tensor(target), reduction="none", **options)
    each = each.mean(dim=1) if each.ndim == 2 else each
    w = torch.ones(8, dtype=torch.float64) if weights is None else torch.tensor(weights)
    counts = (
        w * torch.tensor(CLASS_WEIGHTS, dtype=torch.float64)[LABELS]
        if target is LABELS and "class_weights" in own
        else w
    )
    value = (each * w).sum()
    value = value / counts.sum() if reduction == "mean" else value
    if weights is None and function is F.cross_entropy:  # the whole of it by PyTorch
        torch.testing.assert_close(value, function(outputs, torch.tensor(target), reduction=reduction, **options))
    value.backward()
    return float(value.detach()), outputs.grad.numpy()


def on(be: nn.Backend, dtype: str, *arrays: Any) -> list[Any]:
    return [be.asarray(a, dtype=dtype if np.asarray(a).dtype.kind == "f" else None) for a in arrays]


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_equal_pytorch(be: nn.Backend, dtype: str, case: str) -> None:
    make, options, target, _, _ = CASES[case]
    settings = [(reduction, weighed) for reduction in ("mean", "sum") for weighed in (False, True)]

    def all_of_them(outputs: Any, target: Any, weights: Any) -> list[tuple[Any, Any, Any]]:
        found = []
        for reduction, weighed in settings:
            loss, given = make(reduction=reduction, **options), (outputs, target, *([weights] if weighed else []))
            found.append((*loss.value_and_gradient(*given), loss(*given)))
        return found

    found = as_called(be, all_of_them)(*on(be, dtype, OUTPUTS, target, EXAMPLES))
    for (value, gradient, again), (reduction, weighed) in zip(found, settings, strict=True):
        want, want_gradient = in_torch(case, reduction, EXAMPLES if weighed else None)
        close(to_host(be, value), np.asarray(want), dtype)
        close(to_host(be, gradient), want_gradient, dtype)
        assert gradient.dtype == be.dtype(dtype)
        assert value.shape == ()
        close(to_host(be, again), to_host(be, value), dtype)


@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("weighed", [False, True])
def test_labels_of_many_positions_equal_pytorch(be: nn.Backend, dtype: str, weighed: bool, class_weights) -> None:
    """A weight is that of an example, and not of a place: there are as many of both, so that no error gives it away."""
    weights = np.asarray([0.0, 1.0, 2.0, 3.0, 0.5, 1.0]) if weighed else np.ones(6)
    outputs = torch.tensor(POSITIONS, requires_grad=True)
    of_class = torch.tensor(class_weights or [1.0] * 5, dtype=torch.float64)
    each = F.cross_entropy(outputs.permute(0, 2, 1), torch.tensor(POSITION_LABELS), weight=of_class, reduction="none")
    w = torch.tensor(weights)[:, None]
    want = (each * w).sum() / (w * of_class[POSITION_LABELS]).sum()
    want.backward()
    given = on(be, dtype, POSITIONS, POSITION_LABELS, *([weights] if weighed else []))
    value, gradient = as_called(be, losses.CrossEntropy(class_weights=class_weights).value_and_gradient)(*given)
    close(to_host(be, value), want.detach().numpy(), dtype)
    close(to_host(be, gradient), outputs.grad.numpy(), dtype)


@pytest.mark.parametrize("options", [{}, SMOOTH, WEIGHED, SMOOTH | WEIGHED], ids=str)
@pytest.mark.parametrize("ignored", [-100, 2])
def test_labels_that_are_ignored_equal_pytorch(be: nn.Backend, dtype: str, ignored: int, options: Any) -> None:
    labels = np.where(RNG.uniform(size=(6, 6)) < 0.3, ignored, POSITION_LABELS)
    their = {"weight": torch.tensor(CLASS_WEIGHTS, dtype=torch.float64)} if "class_weights" in options else {}
    outputs = torch.tensor(POSITIONS, requires_grad=True)
    their |= {name: value for name, value in options.items() if name == "label_smoothing"}
    for reduction in ("mean", "sum"):
        outputs.grad = None
        want = F.cross_entropy(
            outputs.permute(0, 2, 1), torch.tensor(labels), ignore_index=ignored, reduction=reduction, **their
        )
        want.backward()
        loss = losses.CrossEntropy(ignore_index=ignored, reduction=reduction, **options)
        value, gradient = loss.value_and_gradient(*on(be, dtype, POSITIONS, labels))
        close(to_host(be, value), want.detach().numpy(), dtype)
        close(to_host(be, gradient), outputs.grad.numpy(), dtype)


def test_a_loss_that_ignores_nothing_is_written_as_before() -> None:
    assert repr(losses.CrossEntropy()) == "CrossEntropy(reduction='mean', label_smoothing=0.0, class_weights=None)"
    assert repr(losses.CrossEntropy(ignore_index=0)).endswith("class_weights=None, ignore_index=0)")
    assert losses.CrossEntropy() != losses.CrossEntropy(ignore_index=0)


def test_labels_that_are_all_ignored_give_no_loss(be: nn.Backend) -> None:
    value, gradient = losses.CrossEntropy(ignore_index=-1).value_and_gradient(
        *on(be, "float32", POSITIONS, np.full((6, 6), -1))
    )
    assert float(value) == 0.0
    assert not to_host(be, gradient).any()


def test_ignored_labels_of_few_bits_and_other_faults(be: nn.Backend) -> None:
    outputs, labels = on(be, "float32", OUTPUTS, np.asarray([255, 0, 1, 2, 3, 4, 255, 1], dtype="uint8"))
    kept = losses.CrossEntropy()(outputs[1:6, :], labels[1:6]), losses.CrossEntropy()(outputs[7:, :], labels[7:])
    want = (5 * float(kept[0]) + float(kept[1])) / 6
    assert float(losses.CrossEntropy(ignore_index=255)(outputs, labels)) == pytest.approx(want, rel=1e-6)
    assert float(losses.CrossEntropy(ignore_index=-100)(outputs[1:6, :], labels[1:6])) == pytest.approx(float(kept[0]))
    with pytest.raises(ValueError, match="label 255 is out of range"):
        losses.CrossEntropy(ignore_index=-100)(outputs, labels)
    with pytest.raises(TypeError, match="ignore_index must be an integer"):
        losses.CrossEntropy(ignore_index=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_derivative(host: nn.Backend, case: str) -> None:
    make, options, target, _, _ = CASES[case]
    for reduction in ("mean", "sum"):
        nn.testing.check_loss(make(reduction=reduction, **options), host.asarray(OUTPUTS), host.asarray(target))


@dataclass(frozen=True)
class LogCosh(nn.Loss):
    """L = mean of ln cosh(o - t)."""

    wrong: float = 1.0

    def per_example(self, outputs, target):
        xp, d = nn.namespace(outputs), outputs - target
        return xp.mean(xp.log(xp.cosh(d)), axis=1), self.wrong * xp.tanh(d) / d.shape[1]


def test_a_loss_of_ones_own(be: nn.Backend, host: nn.Backend) -> None:
    """It gets weights, reductions and checks of shapes from its class."""
    outputs, target, weights = on(be, "float32", OUTPUTS, TARGET, EXAMPLES)
    value, gradient = LogCosh().value_and_gradient(outputs, target, weights)
    want = np.log(np.cosh(OUTPUTS - TARGET)).mean(axis=1) @ EXAMPLES / EXAMPLES.sum()
    assert float(value) == pytest.approx(want, rel=1e-5)
    gradients = np.tanh(OUTPUTS - TARGET) * EXAMPLES[:, None] / (5 * EXAMPLES.sum())
    close(to_host(be, gradient), gradients, "float32")
    assert float(LogCosh(reduction="sum")(outputs, target, weights)) == pytest.approx(want * EXAMPLES.sum(), rel=1e-5)
    with pytest.raises(ValueError, match=r"LogCosh needs a target of the outputs' shape \(8, 5\)"):
        LogCosh()(outputs, target[:, 0])
    nn.testing.check_loss(LogCosh(), OUTPUTS, TARGET)
    with pytest.raises(AssertionError, match="central differences"):
        nn.testing.check_loss(LogCosh(wrong=1.001), OUTPUTS, TARGET)
    model = nn.Network(nn.Dense(5)).init((5,), backend=be, dtype="float32")
    history = model.fit(outputs, target, loss=LogCosh(), epochs=2, batch_size=None)
    assert history["loss"][1] < history["loss"][0]


@dataclass(frozen=True)
class SoftHuber(nn.Loss):
    """L = mean of b^2 (sqrt(1 + (d / b)^2) - 1), d = o - t, without a derivative."""

    b: float = 0.5

    def entry(self, outputs, target):
        xp, d = nn.namespace(outputs), (outputs - target) / self.b
        return self.b**2 * (xp.sqrt(1.0 + d * d) - 1.0)


def test_an_entry_without_a_derivative(be: nn.Backend, host: nn.Backend) -> None:
    """It follows from a record, in training, in second derivatives and in explanations."""
    outputs, target, weights = on(be, "float32", OUTPUTS, TARGET, EXAMPLES)
    value, gradient = SoftHuber().value_and_gradient(outputs, target, weights)
    d = (OUTPUTS - TARGET) / 0.5
    want = (0.25 * (np.sqrt(1 + d * d) - 1)).mean(axis=1) @ EXAMPLES / EXAMPLES.sum()
    assert float(value) == pytest.approx(want, rel=1e-5)
    gradients = 0.5 * d / np.sqrt(1 + d * d) * EXAMPLES[:, None] / (5 * EXAMPLES.sum())
    close(to_host(be, gradient), gradients, "float32")
    second = nn.hvp(lambda o: SoftHuber(reduction="sum")(o, target), outputs, xp_ones(outputs))
    close(to_host(be, second), (1 + d * d) ** -1.5 / 5, "float32")
    nn.testing.check_loss(SoftHuber(), OUTPUTS, TARGET)
    model = nn.Network(nn.Dense(5)).init((5,), backend=be, dtype="float32")
    history = model.fit(outputs, target, loss=SoftHuber(), epochs=2, batch_size=None)
    assert history["loss"][1] < history["loss"][0]


def xp_ones(x: Any) -> Any:
    return nn.namespace(x).ones_like(x)


@pytest.mark.parametrize("size", [1e4, 1e38])
def test_extreme_logits(be: nn.Backend, dtype: str, size: float) -> None:
    """The values of exact arithmetic, and finite gradients."""
    total, mean = losses.CrossEntropy(reduction="sum"), losses.BinaryCrossEntropy()
    right = np.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])

    def all_of_them(z: Any, right: Any, labels: Any) -> list[Any]:
        return [
            total.value_and_gradient(z, labels),
            total.value_and_gradient(z[:1, ...], 1 - labels[:1]),
            losses.CrossEntropy().value_and_gradient(z[:2, ...], 1 - labels[:2]),
            mean.value_and_gradient(z, right),
            mean.value_and_gradient(z[:2, ...], 1.0 - right[:2, ...]),
        ]

    z = np.asarray([[size, -size], [-size, size], [size, size]]).astype(dtype).astype(float)
    size = z.max()
    found = as_called(be, all_of_them)(*on(be, dtype, z, right, np.asarray([0, 1, 0])))
    wanted = [
        (np.log(2), [[0, 0], [0, 0], [-0.5, 0.5]]),
        (2 * size, [[1, -1]]),
        (2 * size, [[0.5, -0.5], [-0.5, 0.5]]),  # the sum of both is more than float32 holds
        (0.0, np.zeros((3, 2))),
        (size, [[0.25, -0.25], [-0.25, 0.25]]),
    ]
    for (value, gradient), (want, gradients) in zip(found, wanted, strict=True):
        close(to_host(be, value), np.asarray(want), dtype)
        close(to_host(be, gradient), np.asarray(gradients, dtype=float), dtype)


def test_logits_at_the_end_of_the_range(be: nn.Backend) -> None:
    """Differences that no float32 holds, and infinity, count as very large ones."""
    z = np.asarray([[3e38, -3e38, 0.0], [np.inf, 0.0, -np.inf], [-3e38, -3e38, -3e38]])

    def all_of_them(z: Any, right: Any, wrong: Any, halves: Any) -> list[Any]:
        entropy, binary = losses.CrossEntropy(), losses.BinaryCrossEntropy()
        given = [(entropy, z[:2, ...], right), (entropy, z[:2, ...], wrong), (entropy, z[2:, ...], wrong[:1])]
        return [loss.value_and_gradient(*rest) for loss, *rest in [*given, (binary, z, halves)]]

    given = on(be, "float32", z, np.asarray([0, 0]), np.asarray([1, 2]), np.full((3, 3), 0.5))
    found = [(float(v), to_host(be, g)) for v, g in as_called(be, all_of_them)(*given)]
    assert [v for v, _ in found] == [
        0.0,
        pytest.approx(3.4e38, rel=0.01),
        pytest.approx(np.log(3)),
        pytest.approx(6.62e37, rel=0.01),
    ]
    for _, gradient in found:
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("flag", ["numpy", "torch", "jax"])
def test_sums_of_half_precision_are_in_float32(flag: str) -> None:
    """70,000 examples are more than float16 can count, and a weight of 1e5 more than it can hold."""
    be, n = nn.backend(flag), 70_000
    z, labels = be.asarray(np.ones((n, 2)), dtype="float16"), be.asarray(np.zeros(n, dtype=int))
    heavy = be.asarray(np.full(n, 1e5), dtype="float32")
    means = [losses.CrossEntropy(), losses.CrossEntropy(class_weights=(1e5, 1.0))]

    def all_of_them(z: Any, labels: Any, heavy: Any) -> tuple[Any, ...]:
        total, per_entry = losses.CrossEntropy(reduction="sum"), losses.MeanSquaredError()
        totals = [total(z, labels), total(z, labels, heavy) / 1e5]
        return totals, [m.value_and_gradient(z, labels, *w) for m in means for w in ((), (heavy,))], per_entry(z, z - z)

    totals, found, squared = as_called(be, all_of_them)(z, labels, heavy)
    assert [float(t) for t in totals] == pytest.approx([n * np.log(2)] * 2, rel=1e-3)
    assert float(squared) == pytest.approx(1.0)
    for value, gradient in found:
        assert float(value) == pytest.approx(np.log(2), rel=1e-3)
        assert gradient.dtype == be.dtype("float16")
        np.testing.assert_allclose(to_host(be, gradient), np.full((n, 2), 0.5 / n) * [-1, 1], rtol=0.01)


@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_half_precision_takes_extreme_logits(flag: str) -> None:
    be = nn.backend(flag)
    for loss, target in (
        (losses.CrossEntropy(), be.asarray([1])),
        (losses.CrossEntropy(label_smoothing=0.1, class_weights=(1.0, 2.0)), be.asarray([1])),
        (losses.BinaryCrossEntropy(), be.asarray([[0.0, 1.0]], dtype="float16")),
    ):
        value, gradient = loss.value_and_gradient(be.asarray([[6e4, -6e4]], dtype="float16"), target)
        assert np.isfinite(float(value))
        assert float(value) > 5e4
        assert np.isfinite(to_host(be, gradient)).all()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_every_integer_type(be: nn.Backend, dtype: str) -> None:
    """Of more classes than some of them can count."""
    outputs, labels = RNG.normal(size=(4, 300)), np.asarray([0, 1, 1, 0])
    want = F.cross_entropy(torch.tensor(outputs), torch.tensor(labels))
    for options in ({}, {"label_smoothing": 0.0, "class_weights": [1.0] * 300}):
        got = losses.CrossEntropy(**options)(*on(be, "float32", outputs, labels.astype(dtype)))
        assert float(got) == pytest.approx(float(want), rel=1e-5)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float64"])
def test_probabilities_of_every_type(be: nn.Backend, dtype: str) -> None:
    outputs, hot = on(be, "float32", OUTPUTS, np.eye(5, dtype=dtype)[LABELS])
    want = float(losses.CrossEntropy()(outputs, be.asarray(LABELS)))
    assert float(losses.CrossEntropy()(outputs, hot)) == pytest.approx(want, rel=1e-6)
    binary = losses.BinaryCrossEntropy()
    assert float(binary(outputs, hot)) == pytest.approx(
        float(binary(outputs, 1.0 * on(be, "float32", np.eye(5)[LABELS])[0]))
    )


def test_numbers_of_numpy_leave_the_dtype(be: nn.Backend) -> None:
    """A float64 of NumPy's would make the losses float64, and the strict library refuses it."""
    outputs, target, labels = on(be, "float32", OUTPUTS, TARGET, LABELS)
    for loss, y in (
        (losses.Huber(delta=np.float64(0.5)), target),
        (losses.CrossEntropy(label_smoothing=np.float64(0.1)), labels),
        (losses.CrossEntropy(class_weights=np.ones(5)), labels),
    ):
        value, gradient = loss.value_and_gradient(outputs, y)
        assert value.dtype == gradient.dtype == be.dtype("float32")


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
    (
        losses.MeanSquaredError(),
        np.ones(5),
        ONES,
        ValueError,
        r"outputs' shape \(5,\); got \(5, 1\).*nothing is broadcast",
    ),
    (losses.MeanSquaredError(), ONES, np.full((5, 1), -np.inf), ValueError, "contains NaN or infinity"),
    (losses.CrossEntropy(), OUTPUTS, np.full((8, 5), np.nan), ValueError, "target contains NaN or infinity"),
    (losses.CrossEntropy(), OUTPUTS, np.asarray([0, 1, 2, 3, 4, 300, 0, 0]), ValueError, "label 300 is out of range"),
    (losses.CrossEntropy(), OUTPUTS, LABELS[:5], ValueError, r"\(8,\) or probabilities.*got \(5,\)"),
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
    (losses.CrossEntropy(), OUTPUTS, LABELS * 1.0, TypeError, "labels must be integers; got dtype .*float"),
    (losses.CrossEntropy(), OUTPUTS, LABELS[:, None], ValueError, r"needs labels of shape \(8,\)"),
    (losses.CrossEntropy(), OUTPUTS, -PROBABILITIES, ValueError, "probabilities that are not negative"),
    (losses.CrossEntropy(), ONES[:, 0], np.zeros(5, int), ValueError, "one logit per class"),
    (losses.CrossEntropy(), ONES, np.zeros(5, int), ValueError, "at least 2 classes"),
    (losses.CrossEntropy(class_weights=(1, 2)), OUTPUTS, LABELS, ValueError, "2 entries for 5 classes"),
]


@pytest.mark.parametrize(("loss", "outputs", "target", "error", "message"), BAD)
def test_bad_targets(be: nn.Backend, loss, outputs, target, error, message: str) -> None:
    """On every device: a label out of range would poison CUDA's context, and be clamped in silence by JAX."""
    given = [outputs if isinstance(outputs, list) else be.asarray(outputs), be.asarray(target)]
    with pytest.raises(error, match=message):
        loss(*given)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(7), ValueError, r"weights must have shape \(8,\), one entry per example; got \(7,\)"),
        (np.ones((8, 1)), ValueError, r"weights must have shape \(8,\).*got \(8, 1\)"),
        (-np.ones(8), ValueError, "weights must not be negative"),
        (np.zeros(8), ValueError, "at least one must be above 0"),
        (np.full(8, np.nan), ValueError, "weights contains NaN or infinity: row 0"),
        ("heavy", TypeError, "weights must be an array; got str"),
    ],
)
def test_bad_weights(be: nn.Backend, weights, error, message: str) -> None:
    given = weights if isinstance(weights, str) else be.asarray(weights)
    with pytest.raises(error, match=message):
        losses.CrossEntropy()(*on(be, "float32", OUTPUTS, LABELS), given)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: losses.CrossEntropy(reduction="none"), ValueError, "'mean' or 'sum'; got 'none'"),
        (lambda: losses.CrossEntropy(label_smoothing=1.0), ValueError, "0 <= s < 1"),
        (lambda: losses.CrossEntropy(label_smoothing=-0.1), ValueError, "0 <= s < 1; got -0.1"),
        (lambda: losses.CrossEntropy(label_smoothing=float("nan")), ValueError, "0 <= s < 1; got nan"),
        (lambda: losses.CrossEntropy(class_weights=(1, 0)), ValueError, "above 0"),
        (lambda: losses.CrossEntropy(class_weights=(1, np.inf)), ValueError, "finite numbers above 0"),
        (lambda: losses.Huber(delta=0), ValueError, "above 0; got 0"),
        (lambda: losses.Huber(delta=np.nan), ValueError, "above 0; got nan"),
        (
            lambda: losses.loss_named(print),
            TypeError,
            r"a name or an nn\.Loss, .*got <built-in.*nn\.losses\.custom\(f\)",
        ),
        (lambda: losses.loss_named("crossentrpy"), ValueError, "unknown loss.*Did you mean 'cross_entropy'"),
        (lambda: losses.CrossEntropy(0.1), TypeError, "CrossEntropy takes nothing by position"),
    ],
)
def test_bad_settings(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_losses_by_name() -> None:
    for name, kind in losses.LOSSES.items():
        assert losses.loss_named(name) == losses.loss_named(kind) == kind()
    huber = losses.Huber(delta=2.0)
    assert losses.loss_named(huber) is huber


def test_a_loss_of_ones_own_with_another_target_is_led_to_prepare() -> None:
    class Mine(nn.Loss):
        """A loss without a target of its own."""

    for loss, led in ((Mine(), True), (losses.MeanSquaredError(), False)):
        with pytest.raises(ValueError, match="needs a target of the outputs' shape") as caught:
            loss.prepare(np.asarray([0, 1, 2]), (3, 4), np.dtype(float))
        assert ("takes another target, such as labels, define its method prepare" in str(caught.value)) is led


# --- Examples that are crossed ---------------------------------------------------------------------------------------


def gaussian(outputs: Any, target: Any) -> Any:
    """Of a mean and the logarithm of a variance; it is meant for targets as a column."""
    xp = nn.namespace(outputs)
    mean, log_variance = outputs[:, :1], outputs[:, 1:]
    return xp.sum(0.5 * (log_variance + (target - mean) ** 2 * xp.exp(-log_variance)), axis=1)


class Gaussian(nn.Loss):
    """The same as a class."""

    def prepare(self, target: Any, shape: Any, dtype: Any) -> Any:
        return target, None

    def per_example(self, outputs: Any, target: Any) -> Any:
        return nn.losses.custom(gaussian).per_example(outputs, target)


@pytest.mark.parametrize("loss", [nn.losses.custom(gaussian), Gaussian()], ids=["function", "class"])
def test_targets_that_cross_all_outputs_are_refused(be: nn.Backend, loss: nn.Loss) -> None:
    """(N, 1) and (N,) make (N, N), and the network would train on that in silence."""
    X, y = nn.datasets.line(20, seed=0, backend=be)
    model = nn.Network(nn.Dense(2)).init((1,), seed=0, backend=be)
    flat = y[:, 0]
    said = r"compares the outputs of each example with the targets of all: y has shape \(20,\).*Pass y\[:, None\]"
    before = be.to_numpy(model.theta).tolist()
    for attempt in (
        lambda: model.fit(X, flat, loss=loss, epochs=1),
        lambda: loss(model(X), flat),
        lambda: nn.value_and_grad(model, X, flat, loss),
    ):
        with pytest.raises(ValueError, match=said):
            attempt()
    assert be.to_numpy(model.theta).tolist() == before
    model.fit(X, flat[:, None], loss=loss, epochs=1)


def squares(outputs: Any, target: Any) -> Any:
    return (outputs - nn.namespace(outputs).astype(target, outputs.dtype)) ** 2


def mean_of_squares(outputs: Any, target: Any) -> Any:
    return nn.namespace(outputs).mean(squares(outputs, target), axis=1)


@pytest.mark.parametrize("function", [squares, mean_of_squares])
@pytest.mark.parametrize("target", [[0.0, 1.0, 2.0], [0, 1, 2]], ids=["real", "integer"])
def test_examples_are_not_taken_for_outputs_where_there_are_as_many(be: nn.Backend, function: Any, target: Any) -> None:
    X, y = be.asarray([[1.0, 2.0], [0.0, 1.0], [1.0, 1.0]]), be.asarray(target)
    model = nn.Network(nn.Dense(3)).init((2,), seed=0, backend=be)
    loss = nn.losses.custom(function)
    for rows in (X, y), (X[:1, :], y[:1]):
        with pytest.raises(ValueError, match=r"target of another example|targets of all"):
            nn.value_and_grad(model, *rows, loss=loss)
    with pytest.raises(ValueError, match=r"target of another example|targets of all"):
        model.fit(X, y, loss=loss, epochs=1)
    column = nn.losses.custom(lambda o, t: mean_of_squares(o, t[:, None]))
    assert model.fit(X, y, loss=column, epochs=1)["loss"]


def test_losses_that_compare_examples_on_purpose_or_read_labels_are_not_refused(be: nn.Backend) -> None:
    def contrastive(outputs: Any, target: Any) -> Any:
        xp = nn.namespace(outputs)
        apart = xp.sum((outputs[:, None, :] - outputs[None, :, :]) ** 2, axis=2)
        alike = xp.astype(target[:, None] == target[None, :], outputs.dtype)
        return xp.mean(alike * apart + (1.0 - alike) * xp.exp(-apart), axis=1)

    def chosen(outputs: Any, target: Any) -> Any:
        xp = nn.namespace(outputs)
        hot = xp.astype(target[:, None] == xp.arange(2, device=device_of(target))[None, :], outputs.dtype)
        return xp.sum(hot * outputs**2, axis=1)

    def column(outputs: Any, target: Any) -> Any:
        return gaussian(outputs, target[:, None])

    X, y = nn.datasets.moons(20, seed=0, backend=be)
    model = nn.Network(nn.Dense(2)).init((2,), seed=0, backend=be)
    for function, target in ((contrastive, y), (chosen, y), (column, X[:, 0])):
        model.fit(X, target, loss=nn.losses.custom(function), epochs=1)
