"""A training over batches from elsewhere is that over the same batches in memory, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.datasets import stream
from tests.tolerances import to_host
from tests.training.test_sources import COLUMNS, DRAWING, PLAIN, examples

SIZE = 8


def batches(weighted: bool = False, size: int = SIZE) -> list[tuple[Any, ...]]:
    """The examples in their order; the last batch has two."""
    X, y, w = examples().values()
    parts = (slice(start, start + size) for start in range(0, len(X), size))
    return [(X[part], y[part], w[part]) if weighted else (X[part], y[part]) for part in parts]


def same(be: nn.Backend, one: nn.Model, other: nn.Model) -> None:
    """The parameters, the state and the history."""
    np.testing.assert_array_equal(to_host(be, one.theta), to_host(be, other.theta))
    np.testing.assert_array_equal(to_host(be, one.state), to_host(be, other.state))
    assert [one.history.columns.get(name) for name in COLUMNS] == [other.history.columns.get(name) for name in COLUMNS]
    assert one.history.steps == other.history.steps


def twins(be: nn.Backend, net: nn.Network = PLAIN, count: int = 2) -> list[nn.Model]:
    return [net.init((3,), seed=1, backend=be, dtype="float32") for _ in range(count)]


SETTINGS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "metrics": {"metrics": ["accuracy"]},
    "several batches a step": {"accumulate": 2},
    "an average": {"ema": 0.9, "check_finite": False},
    "a sum": {"loss": nn.losses.CrossEntropy(reduction="sum")},
    "the layers' own steps": {"engine": "layers", "metrics": ["accuracy"]},
}


@pytest.mark.once_a_library
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("net", [PLAIN, DRAWING], ids=["plain", "drawing"])
@pytest.mark.parametrize("case", SETTINGS)
def test_a_stream_gives_the_bits_of_memory(be: nn.Backend, case: str, net: nn.Network, weighted: bool) -> None:
    X, y, w = (be.asarray(x) for x in examples().values())
    settings = {"epochs": 3, "validation": (X[:20, ...], y[:20])} | SETTINGS[case]
    one, other = twins(be, net)
    one.fit(X, y, sample_weight=w if weighted else None, batch_size=SIZE, shuffle=False, **settings)
    other.fit(stream(batches(weighted)), **settings)
    same(be, one, other)


@pytest.mark.parametrize("size", [SIZE, 300])
def test_a_generator_may_refill_its_arrays(host: nn.Backend, size: int) -> None:
    def drawn(epoch: int, again: bool) -> Iterator[Any]:
        draw = np.random.default_rng(epoch)
        X, y = np.empty((size, 3), "float32"), np.empty(size, "int64")
        for _ in range(4):
            if not again:
                X, y = X.copy(), y.copy()
            X[...] = draw.normal(size=X.shape)
            y[...] = X[:, 0] > X[:, 1]
            yield X, y

    for engine in ("auto", "numpy", "layers"):
        one, other = twins(host)
        one.fit(stream(lambda epoch: drawn(epoch, again=False)), epochs=3, engine=engine)
        other.fit(stream(lambda epoch: drawn(epoch, again=True)), epochs=3, engine=engine)
        same(host, one, other)


@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_examples_that_a_callback_changes_are_read_again(flag: str) -> None:
    pytest.importorskip(flag)
    be = nn.backend(flag)
    found = []
    for engine in ("auto", "numpy", "layers"):
        X, y, _ = (be.asarray(x) for x in examples().values())

        def halve(run: nn.Run, X: Any = X) -> None:
            X[...] = X * 0.5

        model = PLAIN.init((3,), seed=1, backend=be, dtype="float32")
        model.fit(X, y, epochs=4, batch_size=None, engine=engine, callbacks=[halve])
        found.append(model.history["loss"])
    np.testing.assert_allclose(found[:2], found[2:] * 2, rtol=1e-4)


def test_one_batch_an_epoch_gives_the_bits_of_memory(host: nn.Backend) -> None:
    X, y, w = examples().values()
    for engine in ("numpy", "layers"):
        one, other = twins(host)
        one.fit(X, y, sample_weight=w, epochs=5, batch_size=None, engine=engine)
        other.fit(stream([(X, y, w)]), epochs=5, engine=engine)
        same(host, one, other)


def test_batches_may_be_of_any_library_and_are_moved(be: nn.Backend) -> None:
    torch = pytest.importorskip("torch")
    one, other, third = twins(be, count=3)
    one.fit(stream(batches()), epochs=2)
    other.fit(stream([(X.tolist(), y.tolist()) for X, y in batches()]), epochs=2)
    third.fit(stream([(torch.asarray(X), torch.asarray(y)) for X, y in batches()]), epochs=2)
    same(be, one, other)
    same(be, one, third)


def test_a_loader_of_pytorch_is_a_stream(host: nn.Backend) -> None:
    torch = pytest.importorskip("torch")
    X, y, _ = examples().values()
    data = torch.utils.data.TensorDataset(torch.asarray(X), torch.asarray(y))
    one, other = twins(host)
    one.fit(stream(batches()), epochs=2)
    other.fit(stream(torch.utils.data.DataLoader(data, batch_size=SIZE)), epochs=2)
    same(host, one, other)


def test_a_function_is_called_in_each_epoch(host: nn.Backend) -> None:
    seen: list[int] = []

    def of_epoch(epoch: int) -> Iterator[Any]:
        seen.append(epoch)
        yield from batches()

    def without() -> Iterator[Any]:
        seen.append(-1)
        yield from batches()

    one, other = twins(host)
    one.fit(stream(of_epoch), epochs=3)
    other.fit(stream(without), epochs=3)
    assert seen == [0, 1, 2, -1, -1, -1]
    same(host, one, other)


def test_batches_may_have_other_sizes_in_each_epoch(host: nn.Backend) -> None:
    (model,) = twins(host, count=1)
    history = model.fit(stream(lambda epoch: batches(size=(8, 50, 13)[epoch])), epochs=3, metrics=["accuracy"])
    assert history.steps == 7 + 1 + 4
    assert history.settings["examples"] is history.settings["batch_size"] is None


def test_inputs_by_name_come_in_batches(host: nn.Backend) -> None:
    net = nn.Network(nn.Inputs({"a": nn.Dense(3), "b": nn.Dense(3)}), nn.Dense(2))
    X, y, _ = examples().values()
    named = {"a": X, "b": X[:, :2]}
    one, other = (net.init({"a": (3,), "b": (2,)}, seed=0) for _ in range(2))
    one.fit(named, y, epochs=2, batch_size=SIZE, shuffle=False)
    other.fit(stream([({"a": x, "b": x[:, :2]}, labels) for x, labels in batches()]), epochs=2)
    same(host, one, other)


def test_it_goes_on_from_a_file(host: nn.Backend, tmp_path: Path) -> None:
    def drawn(epoch: int) -> list[tuple[Any, ...]]:
        return [batches()[i] for i in np.random.default_rng(epoch).permutation(7)]

    whole, parts, resumed = twins(host, DRAWING, count=3)
    stop = [nn.EarlyStopping("loss", patience=3) for _ in range(3)]
    whole.fit(stream(drawn), epochs=5, callbacks=[stop[0]])
    parts.fit(stream(drawn), epochs=2, callbacks=[stop[1]], checkpoint=tmp_path / "a.safetensors")
    resumed.fit(stream(drawn), epochs=5, callbacks=[stop[2]], checkpoint=tmp_path / "a.safetensors", resume=True)
    same(host, whole, resumed)
    with pytest.raises(ValueError, match="its batch_size is None, but here it is 32"):
        parts.fit(*batches(size=50)[0], epochs=5, callbacks=stop[:1], resume=tmp_path / "a.safetensors")


def test_a_generator_is_closed_however_the_epoch_ends(host: nn.Backend) -> None:
    closed: list[bool] = []

    def endless() -> Iterator[Any]:
        try:
            while True:
                yield batches()[0]
        finally:
            closed.append(True)

    def broken() -> Iterator[Any]:
        yield batches()[0]
        raise OSError("the disk is gone")

    class Enough(Exception):
        pass

    def loss_of_much(*_: Any) -> Any:
        raise Enough

    (model,) = twins(host, count=1)
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(stream(broken))
    assert model.history.steps == 1
    with pytest.raises(ValueError, match="batch 3 of epoch 1"):
        model.fit(stream(lambda: (b for b in _then(endless(), (np.zeros((2, 3)), np.zeros(3))))))
    assert closed == [True]


def _then(given: Iterator[Any], last: Any) -> Iterator[Any]:
    """Two of them, and then another."""
    try:
        yield from (next(given), next(given), last)
    finally:
        given.close()  # type: ignore[attr-defined]


def test_a_divergence_ends_as_in_memory(host: nn.Backend) -> None:
    one, other = twins(host, nn.Network(nn.Dense(2)))
    X, y, _ = examples().values()
    X[24:32] *= 1e30
    wild = [(X[i : i + SIZE], y[i : i + SIZE]) for i in range(0, len(X), SIZE)]
    with pytest.raises(nn.DivergenceError, match="in epoch 1, step 5 of 7") as streamed:
        one.fit(stream(wild), optimizer=nn.SGD(1e10))
    with pytest.raises(nn.DivergenceError) as inside:
        other.fit(X, y, optimizer=nn.SGD(1e10), batch_size=SIZE, shuffle=False)
    assert str(streamed.value) == str(inside.value)
    np.testing.assert_array_equal(one.theta, other.theta)
    assert np.isfinite(one.theta).all()


X3, Y3 = np.zeros((4, 3)), np.zeros(4, dtype=int)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no pair": (
        [X3],
        TypeError,
        r"batch 1 of epoch 1: a batch must be \(X, y\) or \(X, y, sample_weight\); got ndarray",
    ),
    "a shape": (
        [(X3, Y3), (X3[:, :2], Y3)],
        ValueError,
        r"batch 2 of epoch 1: the network expects \(batch, 3\).*\(4, 2",
    ),
    "a length": ([(X3, Y3), (X3, Y3[:2])], ValueError, r"batch 2 of epoch 1: X has 4 examples, but y has shape \(2,\)"),
    "no examples": ([(X3[:0], Y3[:0])], ValueError, r"batch 1 of epoch 1: X has no examples"),
    "a class": ([(X3, Y3 + 2)], ValueError, r"batch 1 of epoch 1: .*2"),
    "NaN": ([(X3, Y3), (X3 * np.nan, Y3)], ValueError, r"batch 2 of epoch 1: X contains NaN"),
    "text": ([(X3, ["a"] * 4)], (TypeError), r"batch 1 of epoch 1: "),
    "no y": ([(X3, None)], TypeError, r"batch 1 of epoch 1: .*y"),
    "some weights": ([(X3, Y3), (X3, Y3, Y3 + 1.0)], ValueError, r"batch 2 of epoch 1: it has weights, unlike those"),
    "no weights": ([(X3, Y3, Y3 + 1.0), (X3, Y3)], ValueError, r"batch 2 of epoch 1: it has no weights, unlike those"),
    "empty": ([], ValueError, r"the stream has no batches in epoch 1\. Pass at least one"),
    "no iterable": (lambda: 3, TypeError, r"the function of a stream must return an iterable of batches; got 3"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_with_its_batch(host: nn.Backend, what: str) -> None:
    given, kind, message = WRONG[what]
    with pytest.raises(kind, match=message):
        twins(host, count=1)[0].fit(stream(given))


def test_what_cannot_be_gone_through_twice_is_refused(host: nn.Backend) -> None:
    for once in (iter(batches()), (each for each in batches()), map(tuple, batches())):
        with pytest.raises(
            TypeError, match=r"each epoch needs all batches again.*Pass the function that makes it.*or a list"
        ):
            stream(once)
    once, (model,) = iter(batches()), twins(host, count=1)
    with pytest.raises(ValueError, match=r"no batches in epoch 2\. An iterator can be read only once.*Pass the func"):
        model.fit(stream(lambda: once), epochs=3)
    assert len(model.history["loss"]) == 1
    with pytest.raises(TypeError, match=r"batches must be an iterable of \(X, y\).*got 3"):
        stream(3)  # type: ignore[arg-type]


def test_what_a_stream_has_itself_is_refused(host: nn.Backend) -> None:
    (model,), (X, y, w) = twins(host, count=1), examples().values()
    refused: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: model.fit(stream(batches()), y), TypeError, r"a stream has y and sample_weight in its batches"),
        (lambda: model.fit(stream(batches()), sample_weight=w), TypeError, r"leave both out, fit\(stream\)"),
        (lambda: model.fit(stream(batches()), validation=0.2), ValueError, r"validation=0\.2 is a fraction of the"),
        (lambda: model.fit(stream(batches()), optimizer="lbfgs"), ValueError, r"LBFGS takes all examples at once"),
        (lambda: model.fit(X), TypeError, r"fit needs y, the labels or target values of X"),
        (lambda: model.predict(stream(batches())), TypeError, r"array.*Stream"),
        (lambda: model.find_lr(stream(batches()), y), TypeError, r"array.*Stream"),
    ]
    for call, kind, message in refused:
        with pytest.raises(kind, match=message):
            call()


def test_a_source_without_an_end_has_steps_per_epoch(host: nn.Backend) -> None:
    def endless(epoch: int) -> Iterator[Any]:
        draw = np.random.default_rng(epoch)
        while True:
            X = draw.normal(size=(8, 3))
            yield X, X[:, :1]

    model = nn.Network(nn.Dense(1)).init((3,), seed=0, backend=host)
    source = stream(endless, steps_per_epoch=5)
    assert model.fit(source, epochs=3).steps == 15  # the first batch chooses the loss, and is not lost
    assert model.evaluate(source).examples == 40
    assert "steps_per_epoch=5" in repr(source)
    pairs = [(np.ones((2, 3)), np.ones((2, 1)))] * 4
    assert model.fit(stream(pairs, steps_per_epoch=3), epochs=2).steps == 6
    for wrong, error in ((0, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="steps_per_epoch must"):
            stream(pairs, steps_per_epoch=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"nn\.datasets\.stream\(batches, steps_per_epoch=100\)"):
        model.fit(pairs, steps_per_epoch=3)  # type: ignore[call-arg]
