"""A recorded step trains as the layers do, which it was recorded from; where it cannot be recorded, they compute."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.backends import namespace
from tests.conftest import ON_CPU, WHY_NOT
from tests.cupy_on_cpu.counts import counted
from tests.tolerances import close

pytestmark = pytest.mark.skipif(bool(WHY_NOT["cupy"]), reason="CuPy cannot be used here")
COUNT, BATCH, EPOCHS = 70, 16, 3  # four whole batches, and a smaller one that the layers take themselves
ADDED_UP = 400.0  # roundings in three epochs, where cuBLAS adds up in another order


@dataclass
class Case:
    """A training, and the network that is trained."""

    layers: Callable[[], tuple[Any, ...]]
    shape: tuple[int, ...] = (4,)
    settings: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    weighted: bool = False
    tokens: bool = False


def dense(*between: Any) -> Callable[[], tuple[Any, ...]]:
    return lambda: (nn.Dense(8, "tanh"), *between, nn.Dense(3))


def images() -> tuple[Any, ...]:
    return nn.Conv2D(4, 3, padding="same", activation="relu"), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(3)


def tokens() -> tuple[Any, ...]:
    return nn.Embedding(20, 6, padding_index=0), nn.GlobalAvgPool(), nn.Dense(3)


OPTIMIZERS = (nn.SGD(0.1, momentum=0.9, nesterov=True), nn.Adam(0.01), nn.AdamW(0.01), nn.RMSprop(0.01), nn.NAdam(0.01))
OPTIMIZERS += (nn.RAdam(0.01), nn.Lion(0.01), nn.LAMB(0.01), nn.Muon(0.01))
CASES = {
    **{repr(each).partition("(")[0]: Case(dense(), settings={"optimizer": each}) for each in OPTIMIZERS},
    "all at once": Case(dense(), settings={"batch_size": None, "epochs": 9}),
    "in order": Case(dense(), settings={"shuffle": False}),
    "float64": Case(dense(), dtype="float64"),
    "weights": Case(dense(), weighted=True),
    "dropout and batch normalisation": Case(dense(nn.Dropout(0.3), nn.BatchNorm())),
    "clipped and decayed": Case(dense(), settings={"optimizer": nn.Adam(0.01, clip_norm=1.0, weight_decay=0.1)}),
    "falling rate": Case(dense(), settings={"optimizer": nn.Adam(nn.schedules.Exponential(0.1, 0.5))}),
    "average": Case(dense(), settings={"ema": 0.9}),
    "half precision": Case(dense(), settings={"precision": "float16"}),
    "watched": Case(dense(), settings={"metrics": ["accuracy"], "validation": 0.2, "callbacks": [lambda run: None]}),
    "images": Case(images, (8, 8, 1)),
    "tokens": Case(tokens, (5,), tokens=True),
}


def trained(case: Case, engine: str, flag: str = "cupy", **settings: Any) -> tuple[nn.Model, nn.History]:
    be, rng = nn.backend(flag), np.random.default_rng(11)
    values = rng.integers(0, 20, (COUNT, *case.shape)) if case.tokens else rng.normal(size=(COUNT, *case.shape))
    X = be.asarray(values) if case.tokens else be.asarray(values, dtype=case.dtype)
    weights = be.asarray(rng.uniform(size=COUNT), dtype=case.dtype) if case.weighted else None
    model = nn.Network(*case.layers()).init(case.shape, seed=0, backend=be, dtype=case.dtype)
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "progress": False} | case.settings | settings
    y = be.asarray(rng.integers(0, 3, COUNT))
    return model, model.fit(X, y, engine=engine, sample_weight=weights, **settings)


def same(one: nn.Model, other: nn.Model) -> None:
    for name in ("theta", "state"):
        a, b = (nn.backend("cupy").to_numpy(getattr(model, name)) for model in (one, other))
        close(a, b.astype(float), a.dtype.name, ADDED_UP)


@pytest.mark.parametrize("name", CASES)
def test_it_trains_as_the_layers_do(name: str) -> None:
    one, history = trained(CASES[name], "graph")
    other, wanted = trained(CASES[name], "layers")
    same(one, other)
    for column in set(wanted.columns) - {"seconds"}:
        np.testing.assert_allclose(history[column], wanted[column], rtol=1e-4, err_msg=column)
    assert history.settings["engine"] == "graph"


def test_same_call_same_bits() -> None:
    case = CASES["dropout and batch normalisation"]
    one, other = (nn.backend("cupy").to_numpy(trained(case, "graph")[0].theta) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(bool(WHY_NOT["cupy:1"]), reason="there is no second device")
def test_it_computes_where_the_model_is() -> None:
    one = trained(CASES["all at once"], "graph", "cupy:1")[0]
    assert one.theta.device.id == 1
    same(one.to("cupy"), trained(CASES["all at once"], "layers")[0])


@pytest.mark.skipif(not ON_CPU, reason="launches are counted by CuPy on the CPU")
@pytest.mark.parametrize("name", ["dropout and batch normalisation", "images", "all at once", "tokens"])
def test_a_step_is_one_launch(name: str) -> None:
    """What an epoch asks for besides does not grow with its steps."""

    def of(epochs: int) -> Any:
        return counted(lambda: trained(CASES[name], "graph", epochs=epochs))

    of(1)
    few, many = of(4), of(8)
    steps = 4 * (1 if "batch_size" in CASES[name].settings else COUNT // BATCH)
    assert many["launches of graphs"] - few["launches of graphs"] == steps
    be, rng = nn.backend("cupy"), np.random.default_rng(0)
    X, y = be.asarray(rng.normal(size=(96, 4)), dtype="float32"), be.asarray(rng.integers(0, 3, 96))

    def of_batches(size: int) -> Any:
        model = nn.Network(nn.Dense(3)).init((4,), seed=0, backend=be)
        return counted(lambda: model.fit(X, y, batch_size=size, epochs=2, engine="graph", progress=False))

    of_batches(8), of_batches(16)
    more, less = of_batches(8), of_batches(16)
    assert more.pop("launches of graphs") - less.pop("launches of graphs") == 12
    for what in ("launches", "products", "waits", "copies to the host", "copies from the host", "copies"):
        assert more[what] == less[what], what


class Asks(nn.Layer):
    """A layer that asks for a value in the step."""

    family = "asks"

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        largest = float(namespace(x).max(x))
        return nn.Out(x / largest, lambda dy: (dy / largest, {}))


def test_what_cannot_be_recorded_is_computed_by_the_layers() -> None:
    case = Case(dense(Asks()))
    with pytest.warns(RuntimeWarning, match=r"cannot record a step of this training \(.*\)\. The layers") as warned:
        one, _ = trained(case, "graph")
    assert [each.filename for each in warned] == [__file__]
    same(one, trained(case, "layers")[0])


def test_the_batches_of_a_stream_are_computed_by_the_layers() -> None:
    X = np.random.default_rng(0).normal(size=(3, 8, 4)).astype(np.float32)
    batches = nn.datasets.stream([(x, (x[:, 0] > 0).astype(int)) for x in X])
    one, other = (nn.Network(*dense()()).init((4,), seed=0, backend="cupy", dtype="float32") for _ in range(2))
    with pytest.warns(RuntimeWarning, match=r"X is read batch by batch.*The layers") as warned:
        one.fit(batches, epochs=2, engine="graph")
    assert [each.filename for each in warned] == [__file__]
    other.fit(batches, epochs=2, engine="layers")
    same(one, other)


@dataclass(frozen=True, repr=False)
class WholeSlots(nn.optimizers.Optimizer):
    """What it remembers begins as integers, and is none from the first step on."""

    slot_names = ("sum",)

    def slots(self, theta: Any, layout: Any = None) -> dict[str, Any]:
        return {"sum": namespace(theta).zeros(theta.shape, dtype=namespace(theta).int32, device=theta.device)}

    def apply(self, theta: Any, gradient: Any, slots: dict[str, Any], numbers: dict[str, Any]) -> Any:
        total = slots["sum"] + gradient
        return theta - numbers["rate"] * total, {"sum": total}


@dataclass(frozen=True, repr=False)
class Named(nn.optimizers.Optimizer):
    """Its numbers hold a word."""

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return {"rate": rate, "mode": "half"}

    def apply(self, theta: Any, gradient: Any, slots: dict[str, Any], numbers: dict[str, Any]) -> Any:
        return theta - numbers["rate"] * gradient * (0.5 if numbers["mode"] == "half" else 1.0), {}


@dataclass(frozen=True, repr=False)
class OtherOrder(nn.optimizers.Optimizer):
    """Its numbers come in another order in each fourth step."""

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return {"rate": rate, "part": 1.0 / step} if step % 4 else {"part": 1.0 / step, "rate": rate}

    def apply(self, theta: Any, gradient: Any, slots: dict[str, Any], numbers: dict[str, Any]) -> Any:
        return theta - 10.0 * numbers["rate"] ** 2 * numbers["part"] * gradient, {}


@dataclass(frozen=True, repr=False)
class MoreNumbers(nn.optimizers.Optimizer):
    """One step has a number that the others lack."""

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return {"rate": rate} | ({"part": 0.5} if step == 6 else {})

    def apply(self, theta: Any, gradient: Any, slots: dict[str, Any], numbers: dict[str, Any]) -> Any:
        return theta - numbers["rate"] * numbers.get("part", 1.0) * gradient, {}


@pytest.mark.parametrize(
    ("optimizer", "reason"), [(WholeSlots(0.1), "turns int32"), (Named(0.1), "'mode' is not a number")]
)
def test_an_optimizer_that_cannot_be_recorded_is_left_to_the_layers(optimizer: Any, reason: str) -> None:
    case = Case(dense(), settings={"optimizer": optimizer})
    with pytest.warns(RuntimeWarning, match=reason):
        one, _ = trained(case, "graph")
    same(one, trained(case, "layers")[0])


def test_numbers_of_an_update_are_found_by_name() -> None:
    case = Case(dense(), settings={"optimizer": OtherOrder(0.1)})
    same(trained(case, "graph")[0], trained(case, "layers")[0])


def test_numbers_that_come_later_are_refused() -> None:
    case = Case(dense(), settings={"optimizer": MoreNumbers(0.1)})
    with pytest.raises(RuntimeError, match=r"\['rate'\] in one step but \['rate', 'part'\] in another"):
        trained(case, "graph")


def test_several_batches_a_step_are_the_layers_own() -> None:
    with pytest.warns(RuntimeWarning, match="with accumulate, a step has several batches"):
        one, _ = trained(CASES["Adam"], "graph", accumulate=2)
    same(one, trained(CASES["Adam"], "layers", accumulate=2)[0])


def test_a_recording_of_other_bits_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one in which a number is kept that should be read anew."""
    from nnarray.kernels.cupy import loops

    launch = loops.Loop.launch

    def broken(loop: Any, most: int) -> int:
        count = launch(loop, most)
        loop.carry[0] += 1
        return count

    monkeypatch.setattr(loops.Loop, "launch", broken)
    with pytest.warns(RuntimeWarning, match="what was recorded gives other bits than what it was recorded from"):
        one, _ = trained(CASES["Adam"], "graph")
    same(one, trained(CASES["Adam"], "layers")[0])


@pytest.mark.parametrize("flags", [("cupy", "cupy"), ("cupy", "cupy:1", "cupy", "cupy:1")], ids=len)
def test_threads_train_at_once(flags: tuple[str, ...]) -> None:
    """While one of them records, the others compute, wait and copy."""
    if WHY_NOT["cupy:1"]:
        flags = flags[::2]
    with ThreadPoolExecutor(len(flags)) as pool:
        models = [model for model, _ in pool.map(lambda flag: trained(CASES["Adam"], "graph", flag), flags)]
    want = trained(CASES["Adam"], "layers")[0]
    for model in models:
        same(model.to("cupy"), want)


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    case = CASES["dropout and batch normalisation"]
    whole, _ = trained(case, "graph", epochs=4)
    trained(case, "graph", epochs=2, checkpoint=tmp_path / "kept.safetensors")
    rest, _ = trained(case, "graph", epochs=4, resume=tmp_path / "kept.safetensors")
    same(rest, whole)


def test_ctrl_c_leaves_the_last_finished_step() -> None:
    def stop(run: nn.Run) -> None:
        if run.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    case, be = CASES["Adam"], nn.backend("cupy")
    kept: list[Any] = []

    def note(run: nn.Run) -> None:
        kept.append(be.to_numpy(run.model.theta))
        kept.append(run.model)

    with pytest.raises(KeyboardInterrupt):
        trained(case, "graph", callbacks=[note, stop])
    np.testing.assert_array_equal(be.to_numpy(kept[-1].theta), kept[-2])


def test_a_callback_may_change_the_parameters() -> None:
    def halve(run: nn.Run) -> None:
        run.model.theta = run.model.theta * 0.5

    one, other = (trained(CASES["Adam"], engine, callbacks=[halve])[0] for engine in ("graph", "layers"))
    same(one, other)


@pytest.mark.parametrize("batch_size", [BATCH, None])
def test_divergence_is_reported_as_by_the_layers(batch_size: int | None) -> None:
    case, messages = Case(lambda: (nn.Dense(8, "relu"), nn.Dense(3))), []
    for engine in ("graph", "layers"):
        with pytest.raises(nn.DivergenceError) as error:
            trained(case, engine, optimizer=nn.SGD(1e20), batch_size=batch_size, epochs=20)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_auto_never_takes_it() -> None:
    assert trained(CASES["Adam"], "auto")[1].settings["engine"] == "layers"


# --- A walk over everything: nothing in a step waits, copies or sorts ------------------------------------------------


def layers() -> dict[str, tuple[Any, Any]]:
    """Networks of those of the tests of layers, and of all activation functions, with the shapes of their inputs."""
    from tests.layers import test_containers, test_embedding, test_images, test_layers

    tables = (test_layers.LAYERS, test_images.LAYERS, test_embedding.LAYERS, test_containers.BLOCKS)
    found = {name: (nn.Network(layer), shape) for table in tables for name, (layer, shape) in table.items()}
    network, shape = found["embedding-padded"]
    return found | {"embedding-padded": (nn.Network(network, nn.Flatten()), shape)}  # which uses its masks


def drawn(inputs: Any, rng: np.random.Generator, be: nn.Backend) -> Any:
    """Eight examples for a network that takes this."""
    if isinstance(inputs, dict):
        return {name: drawn(each, rng, be) for name, each in inputs.items()}
    shape = (8, *inputs.shape)
    if inputs.kind.name == "real":
        return be.asarray(rng.normal(size=shape), dtype="float32")
    return be.asarray(rng.integers(0, 2, shape) > 0 if inputs.kind.name == "boolean" else rng.integers(0, 4, shape))


def trained_on(network: nn.Network, shape: Any, engine: str, batches: int = 2, **settings: Any) -> Any:
    """A model, and a function that trains it."""
    be, rng = nn.backend("cupy"), np.random.default_rng(3)
    model = network.init(shape, seed=0, backend=be, dtype="float32")
    X, y = drawn(model.inputs, rng, be), rng.normal(size=(8, *model.output_shape))
    y = settings.pop("y", y)
    y = be.asarray(y, dtype="float32" if y.dtype.kind == "f" else None)
    settings = {"loss": "mse", "batch_size": 8 // batches, "epochs": 1, "progress": False, "shuffle": False} | settings
    return model, (lambda: model.fit(X, y, engine=engine, **settings))


def check_recorded(network: nn.Network, shape: Any, **settings: Any) -> None:
    """A warning, which is an error here, would say that it cannot be recorded, or that its bits differ."""
    trainings = [trained_on(network, shape, engine, **settings) for engine in ("graph", "layers")]
    for _, fit in trainings:
        fit()
    same(*(model for model, _ in trainings))


@pytest.mark.parametrize("name", layers())
def test_each_layer_can_be_recorded(name: str) -> None:
    check_recorded(*layers()[name], epochs=2)


@pytest.mark.skipif(not ON_CPU, reason="waits are counted by CuPy on the CPU")
@pytest.mark.parametrize("name", layers())
def test_no_layer_waits_or_copies_in_a_step(name: str) -> None:
    (_, few), (_, many) = (trained_on(*layers()[name], "layers", batches=count) for count in (2, 4))
    few(), many()  # whatever is compiled or kept is there from now on
    less, more = counted(few), counted(many)
    for what in ("waits", "copies to the host", "copies from the host"):
        assert more[what] == less[what], what


LOSSES = {
    "mae": ("mae", None),
    "huber": (nn.losses.Huber(0.5), None),
    "binary": ("binary_cross_entropy", UNIT := np.random.default_rng(1).uniform(size=(8, 5))),
    "labels": (nn.losses.CrossEntropy(label_smoothing=0.1, class_weights=(1.0, 2.0, 1.0, 0.5, 3.0)), np.arange(8) % 5),
    "probabilities": (nn.losses.CrossEntropy(label_smoothing=0.1), UNIT / UNIT.sum(axis=1, keepdims=True)),
    "sum": (nn.losses.CrossEntropy(reduction="sum"), np.arange(8) % 5),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_can_be_recorded(name: str) -> None:
    loss, y = LOSSES[name]
    check_recorded(nn.Network(nn.Dense(5)), (3,), epochs=2, loss=loss, **({} if y is None else {"y": y}))


RULES = {
    "momentum": nn.SGD(0.1, momentum=0.9),
    "adam decayed": nn.Adam(0.01, weight_decay=0.1, clip_value=0.5),
    "amsgrad": nn.Adam(0.01, amsgrad=True),
    "adamw": nn.AdamW(0.01, weight_decay=0.3),
    "adagrad": nn.Adagrad(0.1),
    "adadelta": nn.optimizers.Adadelta(1.0),
    "adamax": nn.optimizers.Adamax(0.01),
    "radam": nn.RAdam(0.01),
    "lamb": nn.LAMB(0.01),
    "muon": nn.Muon(0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("name", RULES)
def test_each_optimizer_can_be_recorded(name: str) -> None:
    check_recorded(nn.Network(nn.Dense(4, "tanh"), nn.Dense(5)), (3,), epochs=4, optimizer=RULES[name])
