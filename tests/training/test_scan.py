"""On JAX an epoch is one compiled loop, and it is kept: it trains as the layers do, and compiles once."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.backends import namespace
from nnarray.kernels.standard.windows import Window
from nnarray.training.keys import key_of
from tests.conftest import WHY_NOT
from tests.tolerances import close
from tests.training.test_recorded import BATCH, CASES, COUNT, Case, MoreNumbers, WholeSlots, dense, trained

pytestmark = pytest.mark.skipif(bool(WHY_NOT["jax"]), reason="JAX cannot be used here")
ADDED_UP = 400.0  # roundings in three epochs, where the compiler joins other operations
GROUPS = {"0": {"lr": 0.1}, "1.bias": {"weight_decay": 0.1}}
MORE = {
    "momentum": Case(dense(), settings={"optimizer": nn.SGD(0.1, momentum=0.9)}),
    "groups": Case(
        dense(), settings={"optimizer": nn.Adam(0.01, groups={"0": {"lr": 0.1}, "1.bias": {"weight_decay": 0.1}})}
    ),
    "bfloat16": Case(dense(), settings={"precision": "bfloat16"}),
    "accumulated": Case(dense(), settings={"accumulate": 2}),
    "outputs kept in order": Case(dense(), settings={"metrics": ["accuracy"], "shuffle": False}),
    "outputs of one batch": Case(dense(), settings={"metrics": ["accuracy"], "batch_size": None}, weighted=True),
    "by step": Case(dense(), settings={"optimizer": nn.Adam(nn.schedules.OneCycle(0.1, steps=15))}),
    "summed": Case(dense(), settings={"loss": nn.losses.CrossEntropy(reduction="sum"), "optimizer": nn.SGD(0.01)}),
    "clipped by value": Case(dense(), settings={"optimizer": nn.AdamW(0.01, clip_value=0.01)}),
}


def on_jax(case: Case, engine: str, **settings: Any) -> tuple[nn.Model, nn.History]:
    return trained(case, engine, "jax", **settings)


def same(one: nn.Model, other: nn.Model, bits: bool = False) -> None:
    for name in ("theta", "state"):
        a, b = (np.asarray(getattr(model, name)) for model in (one, other))
        if bits:
            np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            close(a, b.astype(float), a.dtype.name, ADDED_UP)


@pytest.mark.parametrize("name", [*CASES, *MORE])
def test_it_trains_as_the_layers_do(name: str) -> None:
    case = (CASES | MORE)[name]
    one, history = on_jax(case, "auto" if name == "accumulated" else "scan")  # which warns if it does not compile
    other, wanted = on_jax(case, "layers")
    same(one, other)
    for column in set(wanted.columns) - {"seconds"}:
        np.testing.assert_allclose(history[column], wanted[column], rtol=1e-3, err_msg=column)
    assert history.settings["engine"] == "scan"


def test_the_second_call_compiles_nothing(caplog: pytest.LogCaptureFixture) -> None:
    case = replace(CASES["dropout and batch normalisation"], weighted=True)
    on_jax(case, "scan", validation=0.2, epochs=6)  # as many steps as let a training look back at its losses
    with compilations(caplog) as compiled:
        on_jax(case, "scan", validation=0.2, optimizer=nn.SGD(0.5))  # which compiles a step of its own
    assert any("_run" in each for each in compiled)
    with compilations(caplog) as compiled:
        on_jax(case, "scan", validation=0.2, optimizer=nn.SGD(0.3), seed=7, epochs=5)  # numbers alone differ
    assert compiled == []


@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_is_compiled_for_the_number_of_epochs(caplog: pytest.LogCaptureFixture, weighted: bool) -> None:
    """How many epochs of one batch are taken in one call depends on the time that they take."""
    case = replace(CASES["all at once"], weighted=weighted)
    on_jax(case, "scan", epochs=30)
    with compilations(caplog) as compiled:
        _, history = on_jax(case, "scan", epochs=43)
    assert compiled == []
    one_by_one = on_jax(case, "scan", epochs=43, callbacks=[lambda run: None])[1]
    assert history["loss"] == one_by_one["loss"]


@contextmanager
def compilations(caplog: pytest.LogCaptureFixture) -> Generator[list[str]]:
    """What JAX compiles within the block."""
    import jax

    found: list[str] = []
    with caplog.at_level(logging.WARNING, "jax"), jax.log_compiles():
        caplog.clear()
        yield found
        found += [each.message for each in caplog.records if each.message.startswith("Compiling")]


OTHERS = {
    "activation": Case(lambda: (nn.Dense(8, "relu"), nn.Dense(3))),
    "option of an activation": Case(lambda: (nn.Dense(8), nn.Activation("elu", options={"alpha": 2.0}), nn.Dense(3))),
    "width": Case(lambda: (nn.Dense(9, "tanh"), nn.Dense(3))),
    "no bias": Case(lambda: (nn.Dense(8, "tanh", bias=False), nn.Dense(3))),
    "rate": Case(dense(), settings={"optimizer": nn.Adam(0.1)}),
    "moments": Case(dense(), settings={"optimizer": nn.Adam(0.01, beta1=0.5)}),
    "decay": Case(dense(), settings={"optimizer": nn.Adam(0.01, weight_decay=0.5)}),
    "more decay": Case(dense(), settings={"optimizer": nn.Adam(0.01, weight_decay=5.0)}),
    "clip": Case(dense(), settings={"optimizer": nn.Adam(0.01, clip_norm=0.01)}),
    "loss": Case(dense(), settings={"loss": nn.losses.CrossEntropy(label_smoothing=0.5)}),
    "weights": Case(dense(), weighted=True),
    "dtype": Case(dense(), dtype="float64"),
    "groups": Case(dense(), settings={"optimizer": nn.Adam(0.01, groups={"0": {"lr": 0.5}})}),
    "other groups": Case(dense(), settings={"optimizer": nn.Adam(0.01, groups={"1": {"lr": 0.5}})}),
    "average": Case(dense(), settings={"ema": 0.5}),
    "more average": Case(dense(), settings={"ema": 0.9}),
    "batches": Case(dense(), settings={"batch_size": BATCH - 1}),
    "seed": Case(dense(nn.Dropout(0.5)), settings={"seed": 3}),
    "dropout": Case(dense(nn.Dropout(0.1)), settings={"seed": 3}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_settings_are_compiled_anew(name: str) -> None:
    case = OTHERS[name]
    on_jax(Case(dense(), settings={"optimizer": nn.Adam(0.01)}), "scan")
    for _ in range(2):
        same(on_jax(case, "scan")[0], on_jax(case, "layers")[0])


@pytest.mark.parametrize("chosen", ["0", "1.weight"])
def test_other_frozen_layers_are_compiled_anew(chosen: str) -> None:
    be, rng = nn.backend("jax"), np.random.default_rng(0)
    X, y = be.asarray(rng.normal(size=(64, 4)), dtype="float32"), be.asarray(rng.integers(0, 3, 64))
    models = [nn.Network(*dense()()).init((4,), seed=0, backend=be, dtype="float32") for _ in range(3)]
    before = np.asarray(models[0].theta)
    models[2].fit(X, y, epochs=1, batch_size=16, engine="scan", progress=False)
    for model, engine in zip(models, ("scan", "layers"), strict=False):
        model.freeze(chosen)
        model.fit(X, y, epochs=2, batch_size=16, engine=engine, progress=False)
    same(*models[:2])
    kept = np.asarray(models[0].theta) == before
    assert 0 < kept.sum() < kept.size


FACTOR = 1.0


def scaled(x: Any) -> Any:
    return FACTOR * x


def factor(x: Any) -> Any:
    return FACTOR + 0.0 * x


def test_functions_of_the_users_are_compiled_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may read what changes between two calls."""
    case = Case(dense(nn.Activation(scaled, factor)))
    for number in (1.0, 3.0):
        monkeypatch.setattr(f"{__name__}.FACTOR", number)
        same(on_jax(case, "scan")[0], on_jax(case, "layers")[0])


def test_equal_numbers_of_other_types_have_other_keys() -> None:
    assert len({key_of(x) for x in (1, 1.0, True, 0.0, -0.0, "1", (1,), None)}) == 8
    assert key_of({"a": 1, "b": 2}) != key_of({"b": 2, "a": 1})  # the order may be that of theta
    assert key_of(nn.Dense(3), [0.5]) == key_of(nn.Dense(3), [0.5]) is not None
    assert key_of(np.zeros(2)) is None
    assert key_of(WholeSlots(0.1)) is None


@pytest.mark.parametrize("name", ["Adam", "dropout and batch normalisation", "half precision", "average", "Plateau"])
def test_a_resumed_training_has_the_same_bits(tmp_path: Path, name: str) -> None:
    rates = {"optimizer": nn.Adam(nn.schedules.Plateau(0.1, patience=0))}
    case, file = Case(dense(), settings=rates) if name == "Plateau" else CASES[name], tmp_path / "kept.safetensors"
    whole, _ = on_jax(case, "auto", epochs=4)
    on_jax(case, "auto", epochs=2, checkpoint=file)
    same(on_jax(case, "auto", epochs=4, resume=file)[0], whole, bits=True)


@pytest.mark.parametrize("batch_size", [BATCH, None])
def test_divergence_is_reported_as_by_the_layers(batch_size: int | None) -> None:
    case, messages = Case(lambda: (nn.Dense(8, "relu"), nn.Dense(3))), []
    for engine in ("scan", "layers"):
        with pytest.raises(nn.DivergenceError) as error:
            on_jax(case, engine, optimizer=nn.SGD(1e20), batch_size=batch_size, epochs=20)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


class Sees(nn.Callback):
    """Counts steps."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_step_end(self, run: nn.Run) -> None:
        self.losses.append(run.loss)


ALONE = [name for name in CASES | MORE if name not in ("watched", "accumulated")]


@pytest.mark.parametrize("name", ALONE)
def test_steps_that_are_looked_at_have_the_bits_of_the_loop(name: str) -> None:
    """The last batch of an epoch is smaller, and taken alone by both."""
    case, watcher = (CASES | MORE)[name], Sees()
    one, history = on_jax(case, "scan", callbacks=[watcher])
    other, wanted = on_jax(case, "scan")
    same(one, other, bits=True)
    assert history["loss"] == wanted["loss"]
    assert len(watcher.losses) == history.steps == wanted.steps


@pytest.mark.parametrize("name", ["Adam", "weights", "outputs kept in order", "dropout and batch normalisation"])
def test_a_stream_has_the_bits_of_the_loop(name: str) -> None:
    case, found = replace((CASES | MORE)[name], weighted=True), list[tuple[nn.Model, nn.History]]()
    for streamed in (False, True):
        be, rng = nn.backend("jax"), np.random.default_rng(11)
        X, y = be.asarray(rng.normal(size=(COUNT, 4)), dtype="float32"), be.asarray(rng.integers(0, 3, COUNT))
        w = be.asarray(rng.uniform(size=COUNT), dtype="float32")
        model = nn.Network(*case.layers()).init(case.shape, seed=0, backend=be, dtype="float32")
        settings = {"epochs": 3, "engine": "scan", "progress": False, "optimizer": nn.Adam(0.01)} | case.settings
        settings.pop("shuffle", None)
        if streamed:
            parts = [slice(start, start + BATCH) for start in range(0, COUNT, BATCH)]
            history = model.fit(nn.datasets.stream([(X[part], y[part], w[part]) for part in parts]), **settings)
        else:
            history = model.fit(X, y, sample_weight=w, batch_size=BATCH, shuffle=False, **settings)
        found.append((model, history))
    (one, seen), (other, wanted) = found
    same(one, other, bits=True)
    assert {name: seen[name] for name in seen if name != "seconds"} == {
        name: wanted[name] for name in wanted if name != "seconds"
    }


def test_a_later_stream_compiles_no_step(caplog: pytest.LogCaptureFixture) -> None:
    X, y = nn.datasets.moons(40, noise=0.1, seed=0, backend="jax", dtype="float32")

    def train(seed: int) -> None:
        model = nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), seed=seed, backend="jax", dtype="float32")
        model.fit([(X[:20], y[:20]), (X[20:], y[20:])], epochs=2, progress=False, seed=seed)

    train(0)
    with compilations(caplog) as compiled:
        train(1)
    assert compiled == []


def test_an_optimizer_that_cannot_be_compiled_is_left_to_the_layers() -> None:
    case = Case(dense(), settings={"optimizer": WholeSlots(0.1)})
    same(on_jax(case, "auto")[0], on_jax(case, "layers")[0])
    for settings in ({}, {"callbacks": [Sees()]}):
        with pytest.warns(RuntimeWarning, match="turns int32 of shape") as warned:
            on_jax(case, "scan", **settings)
        assert [each.filename for each in warned] == [trained.__code__.co_filename]


def test_numbers_that_come_later_are_left_to_the_layers() -> None:
    case = Case(dense(), settings={"optimizer": MoreNumbers(0.1)})
    same(on_jax(case, "auto")[0], on_jax(case, "layers")[0])
    with pytest.raises(RuntimeError, match=r"\['rate'\] in one step but \['rate', 'part'\] in another"):
        on_jax(case, "scan")


def test_callbacks_may_stop_and_change_the_parameters() -> None:
    def halve(run: nn.Run) -> None:
        run.model.theta = run.model.theta * 0.5
        if run.epoch == 2:
            run.stop("enough")

    one, other = (on_jax(CASES["Adam"], engine, callbacks=[halve])[0] for engine in ("scan", "layers"))
    same(one, other)


def test_ctrl_c_leaves_the_last_finished_step() -> None:
    kept: list[Any] = []

    def stop(run: nn.Run) -> None:
        kept[:] = [run.model, np.asarray(run.model.theta)]
        if run.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        on_jax(CASES["Adam"], "scan", callbacks=[stop])
    np.testing.assert_array_equal(np.asarray(kept[0].theta), kept[1])


def test_many_epochs_of_one_batch_are_taken_at_once() -> None:
    case = replace(CASES["all at once"], settings={"batch_size": None, "optimizer": nn.Adam(0.01)})
    one, history = on_jax(case, "scan", epochs=1500)
    other, wanted = on_jax(case, "layers", epochs=1500)
    np.testing.assert_allclose(history["loss"], wanted["loss"], rtol=0.01)
    assert len(history["seconds"]) == len(history["lr"]) == 1500
    np.testing.assert_allclose(np.asarray(one.theta), np.asarray(other.theta), atol=0.02)


def test_without_float64_numbers_are_the_layers_own() -> None:
    import jax

    on_jax(CASES["clipped and decayed"], "scan")
    with jax.enable_x64(False):
        one, other = (on_jax(CASES["clipped and decayed"], engine)[0] for engine in ("scan", "layers"))
        assert one.theta.dtype == namespace(one.theta).float32
        same(one, other)


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_convolutions_are_in_the_layout_that_is_fast_in_a_loop(groups: int) -> None:
    """In the body of a loop, XLA takes 100 times as long for others on the host."""
    import jax

    def pullback(dy: Any, x: Any, weight: Any) -> Any:
        window = Window((3, 2), (2, 1), ((1, 0), (0, 1)), (1, 2))
        return kernels.convolution_pullback(dy, x, weight, window=window, groups=groups)

    arrays = (jax.numpy.zeros(shape) for shape in ((5, 4, 6, 4), (5, 8, 7, 6), (3, 2, 6 // groups, 4)))
    text = jax.jit(pullback).lower(*arrays).as_text()
    layouts = re.findall(r"dim_numbers = (\[[^\]]*\]x\[[^\]]*\]->\[[^\]]*\])", text)
    assert set(layouts) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    assert len(layouts) == 2
