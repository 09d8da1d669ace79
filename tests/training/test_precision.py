"""Mixed precision: layers in float16 or bfloat16, a float32 model, and a loss scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.functional.precision import loss_and_gradient_in
from nnarray.optimizers.transforms import Info, LossScale
from nnarray.persistence import archive
from tests.tolerances import EPS, to_host

HALVES = [("numpy", "float16"), *((flag, name) for flag in ("torch", "jax") for name in ("float16", "bfloat16"))]
NET = nn.Network(nn.Dense(8), nn.BatchNorm(), nn.Activation("tanh"), nn.Dense(2))
LINE = nn.Network(nn.Dense(1))


def data(be: nn.Backend, count: int = 60, seed: int = 0) -> tuple[Any, Any]:
    return nn.datasets.moons(count, noise=0.3, seed=seed, backend=be, dtype="float32")


def line(be: nn.Backend) -> tuple[Any, Any]:
    x = np.linspace(-1.0, 1.0, 16)[:, None]
    return be.asarray(x, dtype="float32"), be.asarray(30.0 * x + 1.0, dtype="float32")


def model_on(be: nn.Backend, net: nn.Network = NET, inputs: int = 2, seed: int = 1) -> nn.Model:
    return net.init((inputs,), seed=seed, backend=be, dtype="float32")


def halves_of(be: nn.Backend) -> list[str]:
    return [name for name in ("float16", "bfloat16") if name in be.dtypes]


def remembered(file: Path, name: str) -> float:
    return float(archive.read(file).arrays[f"optimizer/{name}"])


def refuses(be: nn.Backend, precision: str = "float16") -> bool:
    """Whether the library lacks the dtype; then `fit` must say so."""
    if precision in be.dtypes:
        return False
    X, y = data(be)
    with pytest.raises(ValueError, match=f"has no {precision}"):
        model_on(be).fit(X, y, precision=precision)
    return True


# --- As good as float32 ----------------------------------------------------------------------------------------------


@cache
def usual_loss(seed: int) -> float:
    X, y = data(nn.backend("numpy"), 200, seed)
    history = model_on(nn.backend("numpy"), seed=seed).fit(X, y, optimizer=nn.Adam(0.01), epochs=15, engine="layers")
    return history["loss"][-1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("flag", "precision"), HALVES)
def test_the_loss_is_that_of_float32(flag: str, precision: str, seed: int) -> None:
    """Within 1 %, where noise keeps the loss well above 0."""
    be = nn.backend(flag)
    X, y = data(be, 200, seed)
    model = model_on(be, seed=seed)
    history = model.fit(X, y, optimizer=nn.Adam(0.01), epochs=15, precision=precision)
    assert usual_loss(seed) > 0.1
    assert history["loss"][-1] == pytest.approx(usual_loss(seed), rel=0.01)
    assert model.theta.dtype == model.state.dtype == be.dtype("float32")
    engine = "scan" if flag == "jax" else "layers"  # a compiled loop of the layers
    assert (history.settings["precision"], history.settings["engine"]) == (precision, engine)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_step_is_pytorchs(precision: str) -> None:
    """Under autocast, with a scaled loss: on PyTorch's tensors, both compute in the same dtype."""
    torch = pytest.importorskip("torch")
    be = nn.backend("torch")
    X, y = data(be)
    model = model_on(be, nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)))
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    theirs.load_state_dict({name.replace("1.", "2."): torch.tensor(x) for name, x in model.to_torch().items()})
    before = to_host(be, model.theta)
    rule = torch.optim.SGD(theirs.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "float16")
    with torch.autocast("cpu", dtype=getattr(torch, precision)):
        outputs = theirs(X)
    loss = torch.nn.functional.cross_entropy(outputs.float(), y)
    scaler.scale(loss).backward()
    scaler.step(rule)
    history = model.fit(X, y, optimizer=nn.SGD(0.5), epochs=1, batch_size=None, precision=precision)
    moved = nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)).init((2,), backend=be, dtype="float32")
    moved.load_torch({name: x.detach() for name, x in theirs.state_dict().items()})
    assert history["loss"][0] == pytest.approx(float(loss.detach()), rel=EPS[precision])
    want, got = to_host(be, moved.theta) - before, to_host(be, model.theta) - before
    assert np.abs(got - want).max() < 4 * EPS[precision] * np.abs(want).max()


NETS = {
    "auxiliary heads": nn.Network(nn.Dense(8, "tanh"), nn.Auxiliary(nn.Dense(2), weight=0.3), nn.Dense(2)),
    "dropout": nn.Network(nn.Dense(8, "tanh"), nn.Dropout(0.2), nn.LayerNorm(), nn.Dense(2)),
}
WAYS: dict[str, dict[str, Any]] = {
    "several batches a step": {"accumulate": 2},
    "an average": {"ema": 0.8},
    "clipping": {"optimizer": nn.SGD(0.3, clip_norm=0.2)},
    "decay": {"optimizer": nn.AdamW(0.01, weight_decay=0.1)},
    "nadam": {"optimizer": nn.NAdam(0.01)},
    "radam": {"optimizer": nn.RAdam(0.01)},
    "sums": {"loss": nn.losses.CrossEntropy(reduction="sum"), "optimizer": nn.SGD(0.002)},
    "class weights": {"loss": nn.losses.CrossEntropy(class_weights=(1.0, 3.0))},
    "a frozen layer": {},
    "auxiliary heads": {},
    "dropout": {},
}


@pytest.mark.parametrize("what", WAYS)
@pytest.mark.parametrize(("flag", "precision"), [("numpy", "float16"), ("torch", "bfloat16")])
def test_every_way_of_training_has_it(flag: str, what: str, precision: str) -> None:
    be = nn.backend(flag)
    X, y = data(be)
    settings = {"optimizer": nn.Adam(0.01), "epochs": 20, "batch_size": 16, "metrics": ["accuracy"]} | WAYS[what]
    usual, mixed = (model_on(be, NETS.get(what, NET)) for _ in range(2))
    if what == "a frozen layer":
        usual.freeze("0")
        mixed.freeze("0")
    before = to_host(be, mixed.params["0.weight"])
    want = usual.fit(X, y, **settings, engine="layers")
    got = mixed.fit(X, y, **settings, precision=precision)
    assert want["loss"][-1] < 0.8 * want["loss"][0]
    assert got["loss"][-1] == pytest.approx(want["loss"][-1], rel=0.03)  # the first steps may be left out
    assert got["accuracy"][-1] == pytest.approx(want["accuracy"][-1], abs=0.05)
    assert np.array_equal(to_host(be, mixed.params["0.weight"]), before) == (what == "a frozen layer")


@pytest.mark.parametrize(("flag", "precision"), HALVES)
def test_integers_and_masks_stay_as_they_are(flag: str, precision: str) -> None:
    """Beside real numbers: 3,001 is no number of float16 or bfloat16."""
    be, rng = nn.backend(flag), np.random.default_rng(1)
    words, ages = rng.integers(2990, 3010, (64, 5)), rng.normal(size=(64, 2))
    y = be.asarray((words == 3001).any(axis=1).astype(int))
    X = {"words": be.asarray(words), "ages": be.asarray(ages, dtype="float32")}
    mean = nn.Network(nn.Embedding(3010, 4, padding_index=2990), nn.GlobalAvgPool())
    net = nn.Network(nn.Inputs({"words": mean, "ages": nn.Dense(4)}), nn.Dense(2))
    usual, mixed = (net.init({"words": (5,), "ages": (2,)}, backend=be, dtype="float32") for _ in range(2))
    want = usual.fit(X, y, epochs=8, optimizer=nn.Adam(0.05), engine="layers")
    got = mixed.fit(X, y, epochs=8, optimizer=nn.Adam(0.05), precision=precision)
    assert got["loss"][-1] == pytest.approx(want["loss"][-1], rel=0.03)
    assert want["loss"][-1] < 0.8 * want["loss"][0]


def test_statistics_of_a_batch_are_wider_than_float16(be: nn.Backend) -> None:
    """A variance of 160,000, which float16 has not."""
    if refuses(be):
        return
    x = 400.0 * np.random.default_rng(0).standard_normal((64, 2))
    X, y = be.asarray(x, dtype="float32"), be.asarray(np.arange(64) % 2)
    model = nn.Network(nn.BatchNorm(momentum=1.0), nn.Dense(2)).init((2,), backend=be, dtype="float32")
    model.fit(X, y, epochs=1, batch_size=None, precision="float16")
    want = np.concat([x.mean(axis=0), x.var(axis=0, ddof=1)])
    np.testing.assert_allclose(to_host(be, model.state), want, rtol=2e-3)


@pytest.mark.parametrize(("flag", "precision"), HALVES)
@pytest.mark.parametrize("layer", [nn.LayerNorm(), nn.BatchNorm(), nn.Dense(2)], ids=["layer", "batch", "dense"])
def test_sums_over_examples_go_beyond_what_half_precision_counts(flag: str, precision: str, layer: nn.Layer) -> None:
    """Adding 1 stops to count at 2,048 in float16, and at 256 in bfloat16."""
    be = nn.backend(flag)
    x = be.asarray(np.random.default_rng(0).standard_normal((6000, 2)), dtype=precision)
    params = {name: be.xp.ones(p.shape, dtype=x.dtype, device=be.device) for name, p in layer.params((2,)).items()}
    state = {name: be.xp.ones((2,), dtype=be.dtype("float32"), device=be.device) for name in layer.initial_state((2,))}
    found = layer.forward(params, x, nn.Context(True, state)).pullback(be.xp.ones_like(x))[1]["bias"]
    np.testing.assert_allclose(to_host(be, found), 6000.0, rtol=EPS[precision])


# --- The scale of the loss -------------------------------------------------------------------------------------------


def test_the_scale_follows_the_gradients(be: nn.Backend) -> None:
    """Halved where one is not finite, doubled after two good ones in a row."""
    theta = be.asarray([1.0, 2.0], dtype="float32")
    scaling = LossScale(8.0, patience=2)
    slots, seen = scaling.init(None, theta), []
    for entry in (4.0, np.inf, 4.0, np.nan, 4.0, 4.0, 4.0, 4.0):
        scale = float(slots["loss_scale"])
        gradient, kept, slots = scaling.apply(be.asarray([entry, 8.0], dtype="float32"), theta, slots, Info({}))
        want = [entry / scale, 8.0 / scale] if np.isfinite(entry) else [0.0, 0.0]
        assert (to_host(be, gradient).tolist(), bool(scaling.is_good(slots))) == (want, np.isfinite(entry))
        assert kept is theta
        seen.append(float(slots["loss_scale"]))
    assert seen == [8.0, 4.0, 4.0, 2.0, 2.0, 4.0, 4.0, 8.0]
    assert float(slots["taken_steps"]) == 6.0


def test_an_overflow_halves_the_scale_and_does_no_harm(be: nn.Backend, tmp_path: Path) -> None:
    """Steps that are left out count for nothing: neither for theta, nor for Adam's memory and its number of steps."""
    if refuses(be):
        return
    (X, y), seen, file = line(be), [], tmp_path / "run.safetensors"
    usual, mixed = model_on(be, LINE, 1), model_on(be, LINE, 1)
    start = to_host(be, mixed.theta)
    settings = {"loss": "mse", "optimizer": nn.Adam(0.1), "batch_size": None}
    watch = [lambda run: seen.append(to_host(be, run.model.theta))]
    history = mixed.fit(X, y, **settings, epochs=12, precision="float16", callbacks=watch, checkpoint=file)
    left_out = sum(np.array_equal(theta, start) for theta in seen)
    assert 3 <= left_out <= 8
    assert remembered(file, "loss_scale") == 2.0 ** (16 - left_out)
    assert remembered(file, "taken_steps") == 12 - left_out
    assert history["loss"][0] == history["loss"][left_out] > history["loss"][left_out + 1]
    usual.fit(X, y, **settings, epochs=12 - left_out, engine="layers")
    np.testing.assert_allclose(to_host(be, mixed.theta), to_host(be, usual.theta), rtol=2e-3)


def test_a_training_without_a_step_warns(be: nn.Backend) -> None:
    if refuses(be):
        return
    X, y = line(be)
    model = model_on(be, LINE, 1)
    before = to_host(be, model.theta)
    with pytest.warns(RuntimeWarning, match=r"every step was left out: .*Train for more epochs, standardise X"):
        model.fit(X, 1e6 * y, loss="mse", epochs=1, batch_size=None, precision="float16")
    np.testing.assert_array_equal(to_host(be, model.theta), before)


@dataclass(frozen=True)
class Tiny(nn.Loss):
    """A thousand-millionth of half the squared error: its gradients vanish in float16."""

    def per_example(self, outputs: Any, target: Any) -> tuple[Any, Any]:
        d = outputs - target
        return nn.namespace(d).sum(0.5e-9 * d * d, axis=1), 1e-9 * d


def test_tiny_gradients_do_not_vanish(be: nn.Backend) -> None:
    if refuses(be):
        return
    X, y = line(be)
    target = y / 30.0
    usual, mixed = model_on(be, LINE, 1), model_on(be, LINE, 1)
    given = mixed.wiring, mixed.theta, mixed.state, X, target, None, Tiny(reduction="sum")
    lost, kept = (
        to_host(be, loss_and_gradient_in(be.dtype("float16"), scale, *given, training=True).gradient)
        for scale in (1.0, 2.0**16)
    )
    assert (lost == 0.0).all()
    assert (kept != 0.0).all()
    settings = {"loss": Tiny(reduction="sum"), "optimizer": nn.SGD(5e7), "batch_size": None, "epochs": 10}
    want = usual.fit(X, target, **settings, engine="layers")
    got = mixed.fit(X, target, **settings, precision="float16")
    assert got["loss"][-1] < 0.2 * got["loss"][0]
    np.testing.assert_allclose(got["loss"], want["loss"], rtol=0.02, atol=0.002 * want["loss"][0])


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.filterwarnings("ignore:every step was left out")  # in the first part
def test_a_training_goes_on_from_a_file(be: nn.Backend, tmp_path: Path, precision: str) -> None:
    """With the same scale, while it still falls."""
    if refuses(be, precision):
        return
    (X, y), file = line(be), tmp_path / "run.safetensors"
    net = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(1))
    whole, parts = model_on(be, net, 1), model_on(be, net, 1)
    settings = {"loss": "mse", "batch_size": 4, "accumulate": 2, "ema": 0.9, "precision": precision}
    want = whole.fit(X, y, **settings, epochs=6)
    for epochs in (1, 3, 6):
        got = parts.fit(X, y, **settings, epochs=epochs, checkpoint=file, resume=True)
        if precision == "float16":
            assert remembered(file, "loss_scale") < 2.0**16
    np.testing.assert_array_equal(to_host(be, parts.theta), to_host(be, whole.theta))
    np.testing.assert_array_equal(to_host(be, parts.state), to_host(be, whole.state))
    assert got["loss"] == want["loss"]
    with pytest.raises(ValueError, match=f"its precision is '{precision}', but here it is None"):
        parts.fit(X, y, **settings | {"precision": None}, epochs=7, resume=file, engine=got.settings["engine"])


# --- What cannot be --------------------------------------------------------------------------------------------------


WIDER = [("numpy", "leave out precision"), ("torch", "use precision='bfloat16'")]


@pytest.mark.parametrize(("flag", "remedy"), WIDER)
def test_what_no_scale_helps_is_a_divergence(flag: str, remedy: str) -> None:
    """A gradient of 10^12; float32 has it. The model stays as it was: no step was taken."""
    be = nn.backend(flag)
    X, y = line(be)
    model = model_on(be, LINE, 1)
    before = to_host(be, model.theta)
    with pytest.raises(nn.DivergenceError, match=rf"in float16 in epoch 2, however much .*, or {remedy}\."):
        model.fit(X, 1e12 * y, loss="mse", epochs=9, batch_size=1, precision="float16")
    np.testing.assert_array_equal(to_host(be, model.theta), before)


@pytest.mark.parametrize(("flag", "remedy"), WIDER)
def test_outputs_beyond_float16_are_a_divergence(flag: str, remedy: str) -> None:
    be = nn.backend(flag)
    X, y = line(be)
    model = model_on(be, LINE, 1)
    model.set_params({"0.bias": [7e4]})
    with pytest.raises(nn.DivergenceError, match=rf"above 65,504, the largest of float16.*, or {remedy}\."):
        model.fit(X, y, loss="mse", epochs=1, precision="float16")
    assert np.isfinite(to_host(be, model.theta)).all()


def test_a_rate_too_high_is_still_a_divergence(be: nn.Backend) -> None:
    X, y = line(be)
    for precision in halves_of(be):
        model = model_on(be, LINE, 1)
        with pytest.raises(nn.DivergenceError, match=r"epoch \d+"):
            model.fit(X, y, loss="mse", optimizer=nn.SGD(1e4), epochs=60, batch_size=4, precision=precision)
        assert np.isfinite(to_host(be, model.theta)).all()


def test_a_library_says_which_precisions_it_has(be: nn.Backend) -> None:
    X, y = data(be)
    there = halves_of(be)
    for precision in {"float16", "bfloat16"} - set(there):
        has = " and ".join(there) or "neither float16 nor bfloat16"
        with pytest.raises(ValueError, match=rf"has no {precision}; it has {has}\. (Pass precision=|Leave out)"):
            model_on(be).fit(X, y, precision=precision)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_model_must_be_of_float32(host: nn.Backend, dtype: str) -> None:
    X, y = data(host)
    model = NET.init((2,), backend=host, dtype=dtype)
    with pytest.raises(
        ValueError, match=rf"a model of float32, but this one is {dtype}.*to\(backend, dtype='float32'\)"
    ):
        model.fit(X, y, precision="float16")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "float8"}, "precision must be 'float16', 'bfloat16' or None.*got 'float8'"),
        ({"precision": 16}, "precision must be .*got 16"),
        ({"precision": "float16", "engine": "numpy"}, "engine 'numpy' does not support precision: .*'layers'"),
        ({"precision": "float16", "optimizer": "lbfgs", "batch_size": None}, "LBFGS needs gradients of full precision"),
    ],
)
def test_settings_that_do_not_fit(host: nn.Backend, settings: dict[str, Any], message: str) -> None:
    X, y = data(host)
    with pytest.raises(ValueError, match=message):
        model_on(host).fit(X, y, **settings)
