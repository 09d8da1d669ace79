"""A plan trains as the layers do, which define it, with Numba and without; and it is made only where it may be."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.backends import namespace
from nnarray.engines import steps_of
from nnarray.kernels import compilation
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.functions import FUNCTIONS as TABLE
from nnarray.kernels.numpy import chain
from nnarray.kernels.numpy.chain import SMALL, TINY, Steps
from nnarray.training import loop as training_loop
from nnarray.training import trainer
from tests.tolerances import EPS, close

# Sums in another order stay within the 50 eps of `close`: measured are 26. Where parameters grow until they diverge,
# what is rounded grows with them: measured are 1,650.
GROWN = 4000.0
# Largest relative errors of the float32 functions: what their polynomials promise and two roundings; the exponent of
# exp, x / ln 2, is rounded in proportion to x.
EXP, TANH, ROUNDED = 2e-7, 4e-7, 2 * EPS["float32"]

DTYPES = ("float32", "float64")
FUNCTIONS = [name for name, function in TABLE.items() if function.elementwise]
USUAL = ("identity", "tanh", "relu", "logistic")  # where all functions would take too long
SEED = 3
KINDS = {"cross_entropy": "labels", "mse": "numbers"}  # by rows of classes, and entry by entry
COUNTS = (23, 2_500)  # examples, of which a third with 5 units is a small batch, or a large one: they need other calls


@contextmanager
def computed_by(speed: str) -> Generator[None]:
    """Who computes the steps of a plan: NumPy alone, or also the loops that Numba compiles."""
    with pytest.MonkeyPatch.context() as patch:
        if speed == "numpy":
            patch.setattr(compilation, "_imported", lambda part: None)
        assert (numba_pieces() is not None) == (speed == "numba")
        yield


@pytest.fixture(params=["numpy", "numba"])
def speed(request: pytest.FixtureRequest) -> Generator[str]:
    if request.param == "numba":
        pytest.importorskip("numba", reason="Numba is not installed: compiled plans are not tested")
    with computed_by(request.param):
        yield request.param


def by_layers(train: Callable[[], Any]) -> Any:
    """What `train` gives where there is neither a plan nor Numba."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "steps_of", lambda *args, **settings: None)
        patch.setattr(compilation, "_imported", lambda part: None)
        return train()


def by_plans(train: Callable[[], Any]) -> tuple[Any, list[int]]:
    """What `train` gives, and how many steps each call of a plan made."""
    made: list[int] = []
    run = Steps.run

    def counted(self: Steps, *args: Any) -> Any:
        losses, outputs = run(self, *args)
        made.append(len(losses))
        return losses, outputs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "run", counted)
        return train(), made


def data(examples: int, features: int, classes: int, kind: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and targets of this kind."""
    rng = np.random.default_rng([examples, features, classes])
    x = rng.normal(size=(examples, features)).astype(dtype)
    if kind == "labels":
        return x, rng.integers(classes, size=examples)
    if kind == "numbers":
        return x, rng.normal(size=(examples, classes)).astype(dtype)
    return x, rng.dirichlet(np.ones(classes), size=examples).astype(dtype)


def third(count: int) -> int:
    """A batch size that takes three steps an epoch, the last of them smaller."""
    return count // 3 + 1


def net(*units: int, function: str = "tanh", last: str = "identity") -> nn.Network:
    """Dense layers in a row whose biases are not 0, so that it shows where weight decay shrinks them."""
    dense = partial(nn.Dense, bias_init="ones")
    return nn.Network(*(dense(n, function) for n in units[:-1]), dense(units[-1], last))


def trained(network: nn.Network, X: np.ndarray, y: np.ndarray, **settings: Any) -> nn.Model:
    model = network.init((X.shape[1],), seed=SEED, dtype=str(X.dtype))
    model.fit(X, y, **settings)
    return model


def same(got: nn.Model, want: nn.Model, c: float = 50.0) -> None:
    """The same parameters and the same history, within rounding."""
    dtype = str(want.theta.dtype)
    close(got.theta, want.theta, dtype, c)
    assert got.theta.dtype == want.theta.dtype
    assert got.history.steps == want.history.steps
    assert list(got.history) == list(want.history)
    for column in set(want.history) - {"seconds"}:
        close(np.asarray(got.history[column]), np.asarray(want.history[column]), dtype, c)


def check(train: Callable[[], nn.Model]) -> list[int]:
    """Plans make all steps of `train`, as the layers do; how many steps each of their calls made."""
    return compare(train, by_layers(train))


def check_both(train: Callable[[], nn.Model]) -> None:
    """The same at each speed, beside one training by the layers; the fixture `speed` says where Numba is missing."""
    want = by_layers(train)
    for speed in ("numpy", "numba") if numba_pieces() is not None else ("numpy",):
        try:
            with computed_by(speed):
                compare(train, want)
        except AssertionError as error:
            error.add_note(f"by {speed}")
            raise


def compare(train: Callable[[], nn.Model], want: nn.Model) -> list[int]:
    got, made = by_plans(train)
    assert sum(made) == want.history.steps > 0
    start = want.network.init(want.input_shape, seed=SEED, dtype=str(want.theta.dtype)).theta
    assert np.abs(want.theta - start).max() > 1e-4  # more than rounding
    same(got, want)
    return made


# --- What is trained ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogCosh(nn.Loss):
    """A loss of one's own."""

    def per_example(self, outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = outputs - target
        return np.log(np.cosh(d)).sum(axis=1), np.tanh(d)


class Squared(nn.losses.CrossEntropy):
    """A cross-entropy that is none."""

    def per_example(self, outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        losses, gradient = super().per_example(outputs, target)
        return losses**2, 2.0 * losses[:, None] * gradient


CLASS_WEIGHTS = (0.5, 2.0, 1.0)
LOSSES: dict[str, tuple[Callable[..., nn.Loss], str]] = {
    "labels": (nn.losses.CrossEntropy, "labels"),
    "labels smoothed": (partial(nn.losses.CrossEntropy, label_smoothing=0.2), "labels"),
    "labels weighted": (partial(nn.losses.CrossEntropy, class_weights=CLASS_WEIGHTS), "labels"),
    "labels smoothed and weighted": (
        partial(nn.losses.CrossEntropy, label_smoothing=0.2, class_weights=CLASS_WEIGHTS),
        "labels",
    ),
    "shares": (nn.losses.CrossEntropy, "shares"),
    "shares smoothed": (partial(nn.losses.CrossEntropy, label_smoothing=0.2), "shares"),
    "shares weighted": (partial(nn.losses.CrossEntropy, class_weights=CLASS_WEIGHTS), "shares"),
    "mse": (nn.losses.MeanSquaredError, "numbers"),
    "mae": (nn.losses.MeanAbsoluteError, "numbers"),
    "huber": (partial(nn.losses.Huber, delta=0.5), "numbers"),
    "binary": (nn.losses.BinaryCrossEntropy, "shares"),
    "own": (LogCosh, "numbers"),
    "own cross-entropy": (Squared, "labels"),
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("reduction", "weighted"), [("mean", False), ("mean", True), ("sum", True)])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, reduction: str, weighted: bool, dtype: str, count: int) -> None:
    """In two batches and a smaller one; where examples have weights, all of the first batch counts nothing."""
    make, kind = LOSSES[name]
    X, y = data(count, 4, 3, kind, dtype)
    size = third(count)
    weights = np.where(np.arange(count) < size, 0.0, np.arange(count) % 3 * 0.5) if weighted else None
    settings = {"loss": make(reduction=reduction), "batch_size": size, "sample_weight": weights}
    rule = nn.SGD(0.1 if reduction == "mean" else 0.1 / size)
    check_both(lambda: trained(net(5, 3), X, y, optimizer=rule, epochs=2, shuffle=False, **settings))


class Slow(nn.SGD):
    """A rule of one's own."""

    def apply(self, theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
        return super().apply(theta, 0.5 * gradient, slots, numbers)


class SlowAdam(nn.Adam):
    """Another one."""

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return super().numbers(0.5 * rate, step)


RULES = {
    "sgd": nn.SGD(0.1),
    "sgd decayed": nn.SGD(0.1, weight_decay=0.3),
    "momentum": nn.SGD(0.1, momentum=0.8),
    "momentum decayed": nn.SGD(0.1, momentum=0.8, weight_decay=0.3),
    "nesterov": nn.SGD(0.1, momentum=0.8, nesterov=True),
    "nesterov decayed": nn.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.3),
    "adam": nn.Adam(0.01),
    "adam without memory": nn.Adam(0.01, beta1=0.0, beta2=0.0, epsilon=0.1),
    "adam of its own": nn.Adam(0.01, beta1=0.7, beta2=0.9, epsilon=1e-3),
    "adam decayed": nn.Adam(0.01, weight_decay=0.3),
    "adamw": nn.AdamW(0.01),
    "adamw decayed": nn.AdamW(0.01, weight_decay=3.0),
    "adamw not decayed": nn.AdamW(0.01, weight_decay=0.0),
    "amsgrad": nn.Adam(0.01, amsgrad=True),
    "rmsprop": nn.RMSprop(0.01),
    "adagrad": nn.Adagrad(0.1),
    "adadelta": nn.Adadelta(1.0),
    "adamax": nn.Adamax(0.01),
    "radam": nn.RAdam(0.01),
    "lion decayed": nn.Lion(0.01, weight_decay=0.3),
    "clipped": nn.SGD(0.1, clip_value=0.1, weight_decay=0.3),
    "shortened": nn.Adam(0.01, clip_norm=0.05),
    "shortened and decayed": nn.SGD(0.1, momentum=0.5, clip_norm=0.3, weight_decay=0.3),
    "never shortened": nn.SGD(0.1, clip_norm=100.0),
    "own rule": Slow(0.1),
    "own adam": SlowAdam(0.01),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("name", RULES)
def test_rules(name: str, loss: str, dtype: str) -> None:
    X, y = data(23, 4, 3, KINDS[loss], dtype)
    check_both(lambda: trained(net(5, 3), X, y, loss=loss, optimizer=RULES[name], epochs=4, batch_size=8))


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e25])
def test_gradients_whose_squares_are_no_ordinary_numbers_are_shortened(speed: str, scale: float) -> None:
    X, y = data(12, 4, 1, "numbers", "float32")
    rule = nn.SGD(0.1, clip_norm=0.5)
    check(lambda: trained(nn.Network(nn.Dense(1, init="zeros")), X * scale, y, loss="mse", optimizer=rule, epochs=1))


SCHEDULES = {
    "falling": nn.schedules.Exponential(0.5, 0.5),
    "by the losses": nn.schedules.Plateau(0.5, factor=0.5, patience=0, threshold=0.5),
}


@pytest.mark.parametrize("batch_size", [8, None])
@pytest.mark.parametrize(
    "make", [nn.SGD, partial(nn.SGD, weight_decay=0.1, momentum=0.5), partial(nn.AdamW, beta2=0.9)]
)
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_that_change(speed: str, name: str, make: Callable[..., nn.Optimizer], batch_size: int | None) -> None:
    X, y = data(24, 4, 3, "labels", "float64")
    made = check(lambda: trained(net(5, 3), X, y, optimizer=make(SCHEDULES[name]), epochs=6, batch_size=batch_size))
    assert set(made) == {1}  # the rate of each epoch is asked for


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("last", [None, *USUAL, "silu"])
def test_functions(function: str, last: str | None, count: int, dtype: str) -> None:
    """Of the hidden layers, and of the last one where the loss is none of logits."""
    loss = "cross_entropy" if last is None else "mse"
    X, y = data(count, 4, 3, KINDS[loss], dtype)
    network = net(5, 6, 3, function=function, last=last or "identity")
    check_both(lambda: trained(network, X, y, loss=loss, optimizer=nn.SGD(0.05), epochs=3, batch_size=third(count)))


SHAPES = {  # units of each layer, the inputs' first; examples; a batch
    "one layer": ((4, 3), 24, 8),
    "one layer, large": ((SMALL + 1, 2), 5, 3),
    "one input": ((1, 2), 7, 3),
    "one example": ((3, 5, 2), 1, 1),
    "one example, large": ((3, SMALL + 1, 2), 1, None),
    "one example a step": ((3, 5, 2), 9, 1),
    "one unit": ((3, 1, 1, 2), 9, 4),
    "one example in the last batch": ((2, 5, 2), 9, 4),
    "deep": ((7, 9, 1, 8, 3, 5, 4), 33, 16),
    "many classes": ((3, 4, 129), 31, 10),
    "as much as small can be": ((64, 30, 2), 128, SMALL // 64),
    "large, and the last batch small": ((64, 33, 2), 129, SMALL // 64 + 1),
    "one example a step, many weights": ((48, 40, 7), 3, 1),
    "few examples a step, many weights": ((48, 40, 7), 8, 3),
    "all at once": ((3, 5, 2), 41, None),
    "all at once, large": ((3, 17, 2), 400, None),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, loss: str, dtype: str) -> None:
    (features, *units), examples, batch_size = SHAPES[name]
    X, y = data(examples, features, units[-1], KINDS[loss], dtype)
    rule = nn.SGD((2.0 if loss == "cross_entropy" else 0.3) / max(6, features, *units), momentum=0.5)
    check_both(lambda: trained(net(*units), X, y, loss=loss, optimizer=rule, epochs=4, batch_size=batch_size))


def test_shapes_lie_on_both_sides_of_small() -> None:
    entries = {name: (batch or examples) * max(units) for name, (units, examples, batch) in SHAPES.items()}
    large = {name for name, count in entries.items() if count > SMALL}
    assert large == {name for name in SHAPES if "large" in name}
    assert entries["as much as small can be"] == SMALL
    weights = {name: sum(a * b for a, b in pairwise(units)) for name, (units, *_) in SHAPES.items()}
    many = {name for name, count in weights.items() if count > TINY} - large
    assert many == {name for name in SHAPES if "many weights" in name}


def mean_output(outputs: np.ndarray, target: np.ndarray) -> Any:
    return outputs.mean()


@pytest.mark.parametrize(
    ("count", "units", "loss", "metrics", "whole"),
    [
        (COUNTS[0], 5, "cross_entropy", (), True),
        (COUNTS[0], 5, "cross_entropy", "accuracy", False),
        (COUNTS[0], 5, "mse", (), True),
        (COUNTS[0], 5, "mse", [mean_output], False),
        (COUNTS[0], 5, LogCosh(), (), False),
        (COUNTS[0], 400, "cross_entropy", (), False),  # each weight would be read in its own turn, for few examples
        (COUNTS[1], 5, "cross_entropy", (), True),
        (COUNTS[1], 5, "mse", (), True),
        (COUNTS[1], 5, LogCosh(), (), False),
    ],
)
def test_whole_steps_are_compiled_where_they_may_be(
    speed: str, monkeypatch: pytest.MonkeyPatch, count: int, units: int, loss: Any, metrics: Any, whole: bool
) -> None:
    """Otherwise the tests above would compare less than they say."""
    batches: list[Any] = []

    made = chain.Steps._memory_for

    def noted(steps: Any, size: int) -> Any:
        batches.append(made(steps, size))
        return batches[-1]

    monkeypatch.setattr(chain.Steps, "_memory_for", noted)
    X, y = data(count, 4, 3, KINDS.get(loss, "numbers"), "float32")
    trained(net(units, 3), X, y, loss=loss, metrics=metrics, epochs=1, batch_size=third(count))
    assert {batch.compiled is not None for batch in batches} == {whole and speed == "numba"}
    assert {units * batch.count > SMALL for batch in batches} == {count == COUNTS[1]}


def test_networks_in_networks(speed: str) -> None:
    X, y = data(24, 4, 3, "labels", "float64")
    inner = nn.Row(nn.Dense(6, "relu", name="a"), nn.Row(nn.Dense(5, "tanh")), name="inner")
    check(lambda: trained(nn.Network(nn.Network(inner), nn.Dense(3)), X, y, epochs=3, batch_size=9))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_whose_exponentials_overflow(speed: str, dtype: str, count: int) -> None:
    X, y = data(count, 4, 3, "labels", dtype)

    def train() -> nn.Model:
        model = net(5, 3).init((4,), seed=SEED, dtype=dtype)
        model.set_params({"1.weight": 1e4 * model.params["1.weight"]})
        model.fit(X, y, optimizer=nn.SGD(1e-4), epochs=3, batch_size=third(count))
        return model

    check(train)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "turned": np.asfortranarray,
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "read only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "other dtype": lambda a: a.astype(">f4"),
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_data_in_other_memory(speed: str, name: str, loss: str, count: int) -> None:
    """The same numbers give the same bits, and are left alone."""
    X, y = data(count, 4, 3, KINDS[loss], "float32")
    X, y, weights = X.astype("float64"), y if y.ndim == 1 else y.astype("float64"), np.linspace(0.1, 2.0, count)
    given = [LAYOUTS[name](X), y if y.ndim == 1 else LAYOUTS[name](y), weights.copy()]
    before = [a.tobytes() for a in given]
    rule = nn.SGD(0.01)

    def train(X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> nn.Model:
        model = net(5, 3).init((4,), seed=SEED, dtype="float64")
        model.fit(X, y, loss=loss, sample_weight=weights, optimizer=rule, epochs=3, batch_size=third(count))
        return model

    (got, made), want = by_plans(lambda: train(*given)), train(X, y, weights)
    assert sum(made) == got.history.steps
    np.testing.assert_array_equal(got.theta, want.theta)
    assert [a.tobytes() for a in given] == before


@pytest.mark.parametrize("rule", [nn.SGD(0.1, momentum=0.5), nn.AdamW(0.01)], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", ["every other", "backwards", "read only"])
def test_parameters_in_other_memory(speed: str, name: str, rule: nn.Optimizer) -> None:
    """The vector that the model had is left alone; training goes on in one that can be written to."""
    X, y = data(24, 4, 3, "labels", "float64")

    def train(layout: Callable[[np.ndarray], np.ndarray]) -> nn.Model:
        model = net(5, 3).init((4,), seed=SEED, dtype="float64")
        given = model.theta = layout(model.theta)
        before = given.tobytes()
        model.fit(X, y, optimizer=rule, epochs=3, batch_size=9)
        assert given.tobytes() == before
        return model

    (got, made), want = by_plans(lambda: train(LAYOUTS[name])), train(np.copy)
    assert sum(made) == got.history.steps
    np.testing.assert_array_equal(got.theta, want.theta)


# --- What is seen of it ------------------------------------------------------------------------------------------


METRICS = {
    "accuracy": ("cross_entropy", "labels", "accuracy"),
    "several": ("cross_entropy", "labels", ["accuracy", "f1", nn.metrics.TopK(2)]),
    "r2": ("mse", "numbers", "r2"),
}


@pytest.mark.parametrize(
    ("count", "batch_size"), [(23, 1), (23, 8), (23, 12), (23, None), (2_500, 1_000), (2_500, None)]
)
@pytest.mark.parametrize("name", METRICS)
def test_metrics(speed: str, name: str, count: int, batch_size: int | None) -> None:
    """Of the outputs of each batch, as they were met."""
    loss, kind, metrics = METRICS[name]
    (X, y), (Xv, yv) = (data(n, 4, 3, kind, "float64") for n in (count, 10))
    settings = {"loss": loss, "metrics": metrics, "optimizer": nn.SGD(0.05), "batch_size": batch_size}
    check(lambda: trained(net(5, 3), X, y, validation=(Xv, yv), epochs=3, **settings))


def changed(run: nn.Run) -> None:
    run.model.theta = run.model.theta * 0.5


def set_by_name(run: nn.Run) -> None:
    run.model.set_params({"0.bias": np.full(5, float(run.epoch))})


def stopped(run: nn.Run) -> None:
    if run.epoch == 3:
        run.stop("enough")


WATCHERS = {
    "changed": changed,
    "set by name": set_by_name,
    "stopped": stopped,
    "early stopping": nn.EarlyStopping("loss", mode="max", patience=1),  # back to the first epoch
}


@pytest.mark.parametrize("batch_size", [8, None])
@pytest.mark.parametrize("rule", [nn.SGD(0.1, momentum=0.5), nn.AdamW(0.01)], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", WATCHERS)
def test_callbacks(speed: str, name: str, rule: nn.Optimizer, batch_size: int | None) -> None:
    """Each epoch is seen, with its own parameters and outputs; what a callback changes is trained on."""
    X, y = data(24, 4, 3, "labels", "float64")
    seen: list[np.ndarray] = []

    def look(run: nn.Run) -> None:
        seen.append(np.concat([run.model.theta, run.model(X).ravel(), [run.epoch, run.history.steps]]))

    def train() -> nn.Model:
        seen.clear()
        callbacks = [look, WATCHERS[name]]
        return trained(net(5, 3), X, y, optimizer=rule, epochs=5, batch_size=batch_size, callbacks=callbacks)

    by_layers(train)
    want = np.stack(seen)
    assert set(check(train)) == {1}
    close(np.stack(seen), want, "float64")
    assert len(seen) == {"stopped": 3, "early stopping": 3}.get(name, 5)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "rule", [nn.SGD(0.05), nn.SGD(0.05, momentum=0.5), nn.Adam(1e-3)], ids=lambda rule: str(rule)[:4]
)
@pytest.mark.parametrize("loss", KINDS)
def test_epochs_that_nobody_watches_run_together(
    speed: str, monkeypatch: pytest.MonkeyPatch, loss: str, rule: nn.Optimizer, count: int
) -> None:
    """More and more of them; to the last bit as one by one."""
    monkeypatch.setattr(training_loop, "PATIENCE", np.inf)
    X, y = data(count, 4, 3, KINDS[loss], "float32")
    train = partial(trained, net(5, 3), X, y, loss=loss, optimizer=rule, epochs=20, batch_size=None)
    assert check(train) == [1, 4, 15]
    begun = time.perf_counter()
    together = train()
    taken = time.perf_counter() - begun
    watched, made = by_plans(lambda: train(callbacks=[lambda run: None]))
    assert made == [1] * 20
    assert together.theta.tobytes() == watched.theta.tobytes()
    assert together.history["loss"] == watched.history["loss"]
    assert together.history["epoch"] == list(range(1, 21))
    assert together.history["lr"] == [rule.lr] * 20
    assert [len(column) for column in together.history.values()] == [20] * 4
    assert all(a <= b for a, b in pairwise([0.0, *together.history["seconds"], taken]))


@pytest.mark.parametrize("rule", [nn.SGD(weight_decay=0.1), nn.AdamW(weight_decay=0.1)], ids=["sgd", "adamw"])
@pytest.mark.parametrize("count", COUNTS)
def test_each_step_of_a_call_has_its_rate(speed: str, count: int, rule: nn.Optimizer) -> None:
    """As one by one; and where no mask is given, weight decay shrinks all."""
    X, y = data(count, 4, 3, "labels", "float64")
    model, loss, rates = net(5, 3).init((4,), seed=SEED, dtype="float64"), nn.losses.CrossEntropy(), [0.1, 0.3, 0.2]
    together, singly, defined = (model.theta.copy() for _ in range(3))
    slots = rule.slots(defined)

    def plan(theta: np.ndarray) -> Any:
        return steps_of(model.wiring, loss, rule, theta, rule.slots(theta), {}, keep_outputs=False, engine="auto")

    losses, _ = plan(together).run(X, y, None, rates, 1)
    single, wanted = plan(singly), []
    for step, rate in enumerate(rates, start=1):
        assert single.run(X, y, None, [rate], step)[0] == losses[step - 1 : step]
        model.theta = defined
        value, gradient = nn.value_and_grad(model, X, y, loss)
        wanted.append(float(value))
        defined, slots = rule.update(defined, gradient, slots, rule.numbers(rate, step))
    np.testing.assert_array_equal(together, singly)
    close(together, defined, "float64")
    close(np.asarray(losses), np.asarray(wanted), "float64")


def test_epochs_run_together_no_longer_than_one_waits(speed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_loop, "PATIENCE", 0.0)
    X, y = data(24, 4, 3, "labels", "float32")
    assert set(check(lambda: trained(net(5, 3), X, y, epochs=5, batch_size=None))) == {1}


def test_training_in_threads(speed: str) -> None:
    X, y = data(24, 4, 3, "labels", "float32")
    models = [net(5, 3).init((4,), seed=SEED, dtype="float32") for _ in range(4)]
    threads = [threading.Thread(target=m.fit, args=(X, y), kwargs={"epochs": 20, "batch_size": 8}) for m in models]

    def train() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    _, made = by_plans(train)
    assert sum(made) == 4 * 60
    assert len({model.theta.tobytes() for model in models}) == 1


# --- When something goes wrong -----------------------------------------------------------------------------------


def check_failure(X: np.ndarray, y: np.ndarray, function: str, **settings: Any) -> tuple[nn.Model, list[int]]:
    """The layers say what happened, and which parameters are kept; the model, and the steps that plans made before."""

    def train() -> tuple[nn.Model, str]:
        model = net(5, 3, function=function).init((4,), seed=SEED, dtype=str(X.dtype))
        with pytest.raises(nn.DivergenceError) as caught:
            model.fit(X, y, **settings)
        return model, str(caught.value)

    (want, said), ((got, says), made) = by_layers(train), by_plans(train)
    assert says == said
    assert np.isfinite(got.theta).all()
    assert made
    same(got, want, GROWN)
    return got, made


HUGE = {
    "sgd": nn.SGD(1e9),
    "momentum": nn.SGD(1e9, momentum=0.9),
    "adam": nn.Adam(1e38),
    "adamw": nn.AdamW(1e18, weight_decay=1.0),
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("whole", [True, False], ids=["all at once", "in batches"])
@pytest.mark.parametrize("rule", HUGE)
def test_divergence(speed: str, rule: str, whole: bool, count: int) -> None:
    X, y = data(count, 4, 3, "numbers", "float32")
    size = None if whole else third(count)
    check_failure(X, y, "identity", loss="mse", optimizer=HUGE[rule], batch_size=size, epochs=30)


@pytest.mark.parametrize("batch_size", [8, None])
def test_divergence_after_some_epochs(speed: str, batch_size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The epochs before are kept, also those that ran together with the one that diverged."""
    monkeypatch.setattr(training_loop, "PATIENCE", np.inf)
    X, y = data(24, 4, 3, "numbers", "float64")
    model, made = check_failure(
        X, y, "identity", loss="mse", optimizer=nn.SGD(0.7), batch_size=batch_size, epochs=100, shuffle=False
    )
    finished = len(model.history["loss"])
    if batch_size is None:
        assert 1 + 4 < finished < 1 + 4 + 16  # in the group that diverged, which was taken again one by one
    else:
        assert 0 < finished == len(made) // 3 - 1


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("whole", [True, False], ids=["all at once", "in batches"])
@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("function", [*USUAL, "silu"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_no_numbers(
    speed: str, value: float, function: str, loss: str, whole: bool, count: int
) -> None:
    """Found in the first step, or in the last batch; what the rule remembers is as it was before, too."""
    X, y = data(count, 4, 3, KINDS[loss], "float32")
    X[-2, 1] = value
    settings = {"optimizer": nn.SGD(0.01, momentum=0.5), "epochs": 2, "shuffle": False, "check_finite": False}
    check_failure(X, y, function, loss=loss, batch_size=None if whole else third(count), **settings)


def test_the_layers_have_the_last_word(speed: str) -> None:
    """Logits that overflow: a plan gives no loss, the layers draw them in and go on."""
    X, y = data(24, 4, 3, "labels", "float32")

    def train() -> nn.Model:
        model = net(5, 3).init((4,), seed=SEED, dtype="float32")
        model.set_params({"1.weight": np.full((5, 3), 3e38), "0.bias": np.full(5, 3.0)})
        model.fit(X, y, optimizer=nn.SGD(1e-3), epochs=3, batch_size=None)
        return model

    want = by_layers(train)
    got, made = by_plans(train)
    assert made == [1]
    assert got.history.steps == want.history.steps == 3
    same(got, want)


@pytest.mark.parametrize("batch_size", [8, None])
def test_ctrl_c_leaves_the_last_finished_step(speed: str, batch_size: int | None) -> None:
    """In the middle of an epoch of three steps, and where each step is an epoch."""
    X, y = data(24, 4, 3, "labels", "float64")

    def interrupted(owner: type, name: str) -> nn.Model:
        model, calls, method = net(5, 3).init((4,), seed=SEED, dtype="float64"), [], getattr(owner, name)

        def interrupting(*args: Any, **settings: Any) -> Any:
            done = method(*args, **settings)
            calls.append(1)
            if len(calls) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, interrupting)
            with pytest.raises(KeyboardInterrupt):
                model.fit(X, y, optimizer=nn.SGD(0.1), epochs=100, batch_size=batch_size, callbacks=[lambda run: None])
        return model

    want = by_layers(lambda: interrupted(nn.SGD, "update"))
    got, made = by_plans(lambda: interrupted(Steps, "run"))
    assert made == [1] * 5
    assert got.history.steps == 5
    same(got, want)


def test_ctrl_c_among_epochs_that_run_together(speed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps of the call are finished, and no more."""
    monkeypatch.setattr(training_loop, "PATIENCE", np.inf)
    X, y = data(24, 4, 3, "labels", "float64")
    model, run = net(5, 3).init((4,), seed=SEED, dtype="float64"), Steps.run

    def interrupting(self: Steps, x: Any, target: Any, weights: Any, rates: Any, first: int) -> Any:
        done = run(self, x, target, weights, rates, first)
        if len(rates) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "run", interrupting)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y, epochs=100, batch_size=None)
    assert model.history.steps == 5
    want = by_layers(lambda: trained(net(5, 3), X, y, epochs=5, batch_size=None))
    close(model.theta, want.theta, "float64")


# --- Where there is no plan --------------------------------------------------------------------------------------


class Doubled(nn.Dense):
    """A layer of one's own."""

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
        out = super().forward(params, x, ctx)
        return nn.Out(2.0 * out.y, lambda dy: out.pullback(2.0 * dy))


class DoubledNetwork(nn.Network):
    """A composite of one's own."""

    def propagate(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
        out = super().propagate(params, x, ctx)
        return nn.Out(2.0 * out.y, lambda dy: out.pullback(2.0 * dy))


def network(*layers: nn.Layer) -> Callable[[], nn.Model]:
    return lambda: nn.Network(*layers, nn.Dense(3)).init((4,), seed=SEED, dtype="float32")


PLAIN = network(nn.Dense(5, "tanh"))
NO_PLAN: dict[str, tuple[Callable[[], nn.Model], dict[str, Any]]] = {
    "clipped in two ways": (PLAIN, {"optimizer": nn.Adam(0.01, clip_norm=0.01, clip_value=0.1)}),
    "frozen and shortened": (lambda: PLAIN().freeze("0"), {"optimizer": nn.Adam(0.01, clip_norm=0.01)}),
    "parameter by parameter": (PLAIN, {"optimizer": nn.LAMB(0.01)}),
    "a single number remembered": (PLAIN, {"optimizer": nn.NAdam(0.01)}),
    "half precision": (lambda: PLAIN().to("numpy", "float16"), {}),
    "own layer": (network(Doubled(5, "tanh")), {}),
    "own composite": (lambda: DoubledNetwork(nn.Dense(5, "tanh"), nn.Dense(3)).init((4,), dtype="float32"), {}),
    "own composite inside": (network(DoubledNetwork(nn.Dense(5, "tanh"))), {}),
    "other function": (network(nn.Dense(5, "softmax")), {}),
    "function as a layer": (network(nn.Dense(5), nn.Activation("tanh")), {}),
    "own function": (network(nn.Dense(5, nn.Activation(np.sin, np.cos))), {}),
    "without bias": (network(nn.Dense(5, "tanh", bias=False)), {}),
    "dropout": (network(nn.Dense(5, "tanh"), nn.Dropout(0.5)), {}),
    "normalised": (network(nn.Dense(5), nn.BatchNorm()), {}),
    "residual": (network(nn.Residual(nn.Dense(4, "tanh"))), {}),
    "auxiliary": (network(nn.Auxiliary(nn.Dense(3)), nn.Dense(5, "tanh")), {}),
    "recomputed": (network(nn.Row(nn.Dense(5, "tanh"), recompute=True)), {}),
    "side by side": (network(nn.Branches(nn.Dense(5, "tanh"), nn.Dense(2))), {}),
    **{
        f"logits after {last}": (lambda last=last: net(5, 3, last=last).init((4,), dtype="float32"), {})
        for last in ("tanh", "relu", "silu")
    },
}


@pytest.mark.parametrize("name", NO_PLAN)
def test_no_plan(speed: str, name: str) -> None:
    """The training is the layers' own."""
    make, settings = NO_PLAN[name]
    X, y = data(24, 4, 3, "labels", "float32")

    def train() -> nn.Model:
        model = make()
        model.fit(X.astype(model.theta.dtype), y, epochs=3, batch_size=9, **{"optimizer": nn.SGD(0.1)} | settings)
        return model

    want = by_layers(train)
    got, made = by_plans(train)
    assert made == []
    same(got, want)


# --- Parameters that are not alike -------------------------------------------------------------------------------

GROUPS = {"0": {"lr": 0.1}, "1.weight": {"weight_decay": 0.3}}
NOT_ALIKE: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "frozen": (("0",), {"optimizer": nn.SGD(0.1)}),
    "all but one frozen": (("0", "1.weight"), {"optimizer": nn.Adam(0.01)}),
    "the first weight frozen": (("0.weight",), {"optimizer": nn.Adam(0.01)}),
    "the last frozen": (("1",), {"optimizer": nn.Adam(0.01)}),
    "frozen and decayed": (("1.bias",), {"optimizer": nn.AdamW(0.01, weight_decay=0.3)}),
    "frozen and clipped": (("0.weight",), {"optimizer": nn.SGD(0.1, momentum=0.8, clip_value=0.05)}),
    "groups": ((), {"optimizer": nn.Adam(0.01, groups=GROUPS)}),
    "groups of a decoupled decay": ((), {"optimizer": nn.AdamW(0.01, weight_decay=0.2, groups=GROUPS)}),
    "an average": ((), {"optimizer": nn.SGD(0.1), "ema": 0.9}),
    "all of these": (("0.bias",), {"optimizer": nn.SGD(0.1, momentum=0.8, groups=GROUPS), "ema": 0.5}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", NOT_ALIKE)
def test_parameters_that_are_not_alike(speed: str, name: str, count: int, dtype: str) -> None:
    """Frozen ones do not change by one bit."""
    frozen, settings = NOT_ALIKE[name]
    X, y = data(count, 4, 3, "labels", dtype)

    def train() -> nn.Model:
        model = net(5, 3).init((4,), seed=SEED, dtype=dtype).freeze(*frozen)
        model.fit(X, y, epochs=4, batch_size=third(count), **settings)
        return model

    check(train)
    trained, start = train().params, net(5, 3).init((4,), seed=SEED, dtype=dtype).params
    for parameter in start:
        held = any(f"{parameter}.".startswith(f"{each}.") for each in frozen)
        assert (trained[parameter].tobytes() == start[parameter].tobytes()) is held, parameter


def test_a_callback_may_set_parameters_that_are_averaged(speed: str) -> None:
    X, y = data(24, 4, 3, "labels", "float64")

    def halve(run: nn.Run) -> None:
        if run.epoch == 2:
            run.model.theta = 0.5 * run.model.theta

    check(lambda: trained(net(5, 3), X, y, optimizer=nn.SGD(0.1), epochs=4, batch_size=9, ema=0.8, callbacks=[halve]))


def own_rule(apply: Callable[..., Any], *names: str, **methods: Any) -> nn.Optimizer:
    """An optimizer of one's own, which remembers vectors of these names."""
    own = {"apply": lambda self, *args: apply(*args), "slot_names": names, **methods}
    return type("Own", (nn.SGD,), own)(0.1)


def remembers_theta(theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
    theta = theta - numbers["rate"] * (gradient + 0.1 * slots["before"])
    return theta, {"before": theta}


def by_masks(theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
    kept = (gradient > 0.0) & (theta < 0.5)
    return theta - numbers["rate"] * gradient * (0.5 + kept + slots["kept"]), {"kept": kept}


def of_masks_alone(theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
    return theta - numbers["rate"] * gradient * ((gradient > 0.0) + (theta < 0.5)), slots  # true + true is true


def whole_product(theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
    return theta - numbers["rate"] * gradient / np.dot(gradient, gradient), slots


def whole_numbers(theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
    xp = namespace(gradient)
    return theta - numbers["rate"] * xp.astype(xp.astype(100.0 * gradient, np.int32), gradient.dtype), slots


def forgets(theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
    return theta - numbers["rate"] * gradient, {}


def by_table(self: Any, rate: float, step: int) -> dict[str, Any]:
    return {"rate": rate * np.linspace(1.0, 0.5, 50)[step - 1]}


def by_list(self: Any, rate: float, step: int) -> dict[str, Any]:
    return {"rate": rate * (*[1.0] * 6, *[0.5] * 6)[step - 1]}  # as many as there are steps


def by_name(self: Any, rate: float, step: int) -> dict[str, Any]:
    return {"rate": rate, "phase": "first" if np.all(step < 3) else "second"}


OWN_RULES = {
    "a slot that is theta": own_rule(remembers_theta, "before"),
    "masks as numbers": own_rule(by_masks, "kept"),
    "masks alone": own_rule(of_masks_alone),
    "a product of all entries": own_rule(whole_product),
    "whole numbers": own_rule(whole_numbers),
    "rates from a table": own_rule(forgets, numbers=by_table),
    "rates from a list": own_rule(forgets, numbers=by_list),
    "numbers that are words": own_rule(forgets, numbers=by_name),
}


@pytest.mark.parametrize("name", OWN_RULES)
def test_rules_of_ones_own_compute_what_they_say(speed: str, name: str) -> None:
    """Whether or not there is a plan for them."""
    X, y = data(23, 4, 3, "labels", "float64")
    settings: dict[str, Any] = {"optimizer": OWN_RULES[name], "epochs": 4, "batch_size": 8}
    want = by_layers(lambda: trained(net(5, 3), X, y, **settings))
    close(trained(net(5, 3), X, y, **settings).theta, want.theta, "float64")


def test_numbers_of_steps_beyond_the_last_one_need_not_be_there(speed: str) -> None:
    X, y = data(23, 4, 3, "labels", "float64")
    rates = [0.01] * 1005

    class Listed(nn.SGD):
        def numbers(self, rate: float, step: int) -> dict[str, Any]:
            return {"rate": rates[step - 1]}

    check(lambda: trained(net(5, 3), X, y, optimizer=Listed(0.1), epochs=335, batch_size=8))


def test_no_plan_for_examples_that_are_sequences(speed: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 7, 4)), rng.integers(3, size=(12, 7))

    def train() -> nn.Model:
        model = net(5, 3).init((7, 4), seed=SEED, dtype="float64")
        model.fit(X, y, epochs=3, batch_size=5)
        return model

    got, made = by_plans(train)
    assert made == []
    same(got, by_layers(train))


@pytest.mark.parametrize("loss", KINDS)
def test_libraries_train_the_same_with_and_without_a_plan(be: nn.Backend, host: nn.Backend, loss: str) -> None:
    dtype = "float64" if "float64" in be.dtypes else "float32"
    X, y = data(24, 4, 3, KINDS[loss], dtype)

    def train(on: nn.Backend) -> tuple[np.ndarray, nn.History]:
        model = net(5, 3).init((4,), seed=SEED, backend=on, dtype=dtype)
        there = on.asarray(y) if loss == "cross_entropy" else on.asarray(y, dtype=dtype)
        history = model.fit(on.asarray(X, dtype=dtype), there, loss=loss, optimizer=nn.SGD(0.1), epochs=2, batch_size=9)
        return on.to_numpy(model.theta), history

    (theta, history), made = by_plans(lambda: train(be))
    (want, wanted), planned = by_plans(lambda: train(host))
    assert sum(planned) == 6
    assert sum(made) == (6 if be.name == "numpy" or (be.name == "torch" and str(be.device) == "cpu") else 0)
    close(theta, want, dtype)
    close(np.asarray(history["loss"]), np.asarray(wanted["loss"]), dtype)


# --- The compiled loops ------------------------------------------------------------------------------------------

FAR_AND_NEAR = np.concat(
    [
        np.linspace(-100.0, 100.0, 20_001),
        np.linspace(-1.0, 1.0, 2_001),
        *(sign * np.logspace(-45.0, 38.0, 1_000) for sign in (-1.0, 1.0)),
        [0.0, -0.0, 87.0, -87.0, 88.0, -88.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40],
    ]
).astype("float32")


def computed(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One of the compiled functions of each number, and the reference in float64."""
    numba = pytest.importorskip("numba", reason="Numba is not installed: its loops are not tested")
    from nnarray.kernels.numba import functions, steps

    got = x.copy()[None]
    if name == "exp":
        exp = functions.exp

        @numba.njit
        def each(x: np.ndarray) -> None:
            for i in range(x.size):
                x[i] = exp(x[i])

        each(got[0])
    else:
        for call, arguments in steps.activate(TABLE[name], got, got, None):
            call(*arguments)
    with np.errstate(over="ignore", under="ignore"):
        want = {"exp": np.exp, "tanh": np.tanh, "logistic": lambda x: 1.0 / (1.0 + np.exp(-x))}[name](x.astype(float))
    return got[0], want


@pytest.mark.parametrize(
    ("name", "tolerance", "limited_gradient"),
    [("exp", EXP, (-87.0, 88.0)), ("tanh", TANH, (-np.inf, np.inf)), ("logistic", EXP + ROUNDED, (-87.0, np.inf))],
)
def test_functions_of_one_float32(name: str, tolerance: float, limited_gradient: tuple[float, float]) -> None:
    """Within what is promised, relative; what is drawn in stays below or above all else."""
    x = FAR_AND_NEAR
    got, want = computed(name, x)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    low, high = limited_gradient
    inside = (x >= low) & (x <= high)
    error = np.abs(got[inside] - want[inside])
    allowed = tolerance + ROUNDED + (name != "tanh") * EPS["float32"] * np.minimum(np.abs(x[inside]), 100.0)
    assert (error <= allowed * np.abs(want[inside]) + 1e-44).all()
    assert ((got[x < low] >= 0.0) & (got[x < low] <= np.exp(low) * 1.001)).all()
    assert (got[x > high] >= np.exp(min(high, 88.0)) * 0.999).all()
    if name != "exp":
        assert (np.abs(got[inside]) <= 1.0 + tolerance).all()


@pytest.mark.parametrize("name", ["exp", "tanh", "logistic"])
def test_functions_of_one_float64(name: str) -> None:
    x = FAR_AND_NEAR.astype(float)
    got, want = computed(name, x)
    close(got, want, "float64")


def adams(theta: np.ndarray, gradients: np.ndarray) -> tuple[Any, Any]:
    """Theta, mean and square after steps of Adam, and as its definition gives them."""
    got = want = (theta, np.zeros_like(theta), np.zeros_like(theta))
    for step, gradient in enumerate(gradients, start=1):
        settings = {"rate": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
        settings |= {"correction1": 1.0 - 0.9**step, "correction2": 1.0 - 0.999**step}
        with np.errstate(invalid="ignore"):
            got = kernels.adam_update(got[0].copy(), gradient.copy(), got[1].copy(), got[2].copy(), **settings)
            want = kernels.adam_update.definition(want[0], gradient, want[1], want[2], **settings)
    return got, want


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [3, 1001])
def test_adam(speed: str, size: int, dtype: str) -> None:
    """Gradients of all sizes, of one sign: nothing cancels, and relative errors stay small."""
    rng = np.random.default_rng(size)
    theta = rng.normal(size=size).astype(dtype)
    gradients = (rng.uniform(0.5, 1.0, (10, size)) * np.logspace(5, -8, size)).astype(dtype)
    got, want = adams(theta, gradients)
    close(got[0], want[0], dtype)
    for g, w in zip(got[1:], want[1:], strict=True):
        np.testing.assert_allclose(g, w, rtol=50 * EPS[dtype])
    assert (theta - got[0] > 0.04).all()
    assert {a.dtype for a in got} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_adam_hands_on_what_is_no_number(speed: str, dtype: str) -> None:
    gradients = np.ones((4, 5), dtype=dtype)
    gradients[1, :3] = np.nan, np.inf, -np.inf
    got, want = adams(np.ones(5, dtype=dtype), gradients)
    for g, w in zip(got, want, strict=True):
        close(g, w, dtype)


def test_memory_is_given_back_at_once(speed: str) -> None:
    """Not at the next garbage collection: a training of large batches holds much."""
    X, y = data(64, 4, 3, "labels", "float32")
    gc.collect()
    gc.disable()
    try:
        trained(net(5, 3), X, y, epochs=2, batch_size=16)
        kept = [each for each in gc.get_objects() if type(each) in (chain.Steps, chain._Batch)]
    finally:
        gc.enable()
    assert not kept


@pytest.mark.parametrize("rule", [nn.Adam(0.01), nn.AdamW(0.01), nn.SGD(1e-21, momentum=0.9)], ids=["adam", "w", "sgd"])
@pytest.mark.parametrize("count", [16, 600])
def test_huge_gradients(speed: str, rule: nn.Optimizer, count: int) -> None:
    """Losses of 1e20 an example: their squares do not fit, and the steps are those of float64."""
    X, y = data(count, 4, 3, "labels", "float32")
    loss = nn.losses.CrossEntropy(reduction="sum")
    weights = np.full(count, 1e20)

    def train(dtype: str) -> nn.Model:
        model = net(5, 3).init((4,), seed=SEED, dtype=dtype)
        model.fit(X.astype(dtype), y, loss=loss, optimizer=rule, epochs=1, sample_weight=weights, batch_size=None)
        return model

    close(train("float32").theta, train("float64").theta, "float32", c=GROWN)


@pytest.mark.parametrize("dtype", DTYPES)
def test_adam_draws_in_what_the_definition_does(speed: str, dtype: str) -> None:
    top = np.sqrt(float(np.finfo(dtype).max))
    gradient = np.asarray([5 * top, -100 * top, 1.0, top, np.inf, np.nan, -1.0], dtype=dtype)
    square = np.asarray([0.0, 0.99 * top * top, top * top * 0.99, 1.0, 1.0, 1.0, 0.0], dtype=dtype)
    start = np.zeros(7, dtype=dtype)
    numbers = {"rate": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "correction1": 0.1, "correction2": 0.001}
    with np.errstate(all="ignore"):
        want = kernels.adam_update.definition(start, gradient, start, square, **numbers)
        got = kernels.adam_update(start.copy(), gradient.copy(), start.copy(), square.copy(), **numbers)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5)
    assert np.isfinite(got[2][:4]).all()
