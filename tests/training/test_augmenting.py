"""`fit(augment=...)`: a function changes each training batch, and nothing else, by draws that follow from the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.datasets import augmentation

DRAW = np.random.default_rng(0)
IMAGES = DRAW.random((24, 6, 6, 1)).astype("float32")
LABELS = (DRAW.random(24) < 0.5).astype("int32")
NETWORK = nn.Network(nn.Conv2D(3, 3), nn.Activation("relu"), nn.GlobalAvgPool(), nn.Dense(2))
CHANGE = nn.datasets.Augment(flip=True, shift=1, rotate=5.0, colour=0.1)


def data(be: nn.Backend) -> tuple[Any, Any]:
    return be.asarray(IMAGES), be.asarray(LABELS)


def trained(be: nn.Backend, **settings: Any) -> nn.Model:
    model = NETWORK.init((6, 6, 1), backend=be, dtype="float32")
    model.fit(*data(be), **{"epochs": 2, "batch_size": 8, "progress": False, "augment": CHANGE} | settings)
    return model


def close(be: nn.Backend, a: nn.Model, b: nn.Model, tolerance: float = 0.0) -> bool:
    return bool(np.allclose(be.to_numpy(a.theta), be.to_numpy(b.theta), rtol=0, atol=tolerance))


def test_the_seed_decides_alike_on_every_backend(be: nn.Backend, host: nn.Backend) -> None:
    model = trained(be)
    assert close(be, model, trained(be))
    assert not close(be, model, trained(be, seed=1), 1e-5)
    assert not close(be, model, trained(be, augment=None), 1e-5)
    want = host.to_numpy(trained(host).theta)
    assert np.allclose(be.to_numpy(model.theta), want, rtol=0, atol=1e-4)


def test_a_step_sees_what_the_function_returns(be: nn.Backend) -> None:
    def doubled(x: Any, key: nn.Key) -> Any:
        return 2.0 * x

    model = trained(be, augment=doubled)
    want = NETWORK.init((6, 6, 1), backend=be, dtype="float32")
    X, y = data(be)
    want.fit(2.0 * X, y, epochs=2, batch_size=8, progress=False, engine="layers")
    assert close(be, model, want, 1e-6)


@pytest.mark.parametrize(("factor", "offset", "hint"), [(3.0, -1.0, "from -0.99"), (255.0, 0.0, "Divide bytes by 255")])
def test_images_that_colour_would_clip_are_refused(be: nn.Backend, factor: float, offset: float, hint: str) -> None:
    X, y = be.asarray(IMAGES), be.asarray(LABELS)
    model = NETWORK.init((6, 6, 1), backend=be, dtype="float32")
    theta, wrong = be.to_numpy(model.theta).copy(), factor * X + offset
    for given in ((wrong, y), (nn.datasets.stream(lambda: iter([(wrong, y)])), None)):
        with pytest.raises(ValueError, match=f"X must have values from 0 to 1 .*{hint}.*colour=0"):
            model.fit(*given, epochs=1, augment=CHANGE, progress=False)
    assert np.array_equal(be.to_numpy(model.theta), theta)
    model.fit(wrong, y, epochs=1, augment=nn.datasets.Augment(colour=0), progress=False)


def test_a_call_refuses_them_too(host: nn.Backend) -> None:
    with pytest.raises(ValueError, match="x must have values from 0 to 1"):
        CHANGE(host.asarray(3 * IMAGES), nn.Key(0))
    CHANGE(host.asarray(IMAGES * 1.001), nn.Key(0))  # as after rounding


@pytest.mark.parametrize("more", [{}, {"accumulate": 2}, {"grains": 2}, {"ema": 0.9}])
def test_each_batch_of_each_epoch_has_its_own_draws(host: nn.Backend, more: dict[str, Any]) -> None:
    seen: list[Any] = []

    def note(x: Any, key: nn.Key) -> Any:
        seen.append((key.word0, key.word1))
        return x

    trained(host, augment=note, **more)
    assert len(seen) == len(set(seen)) == (12 if "grains" in more else 6)


def test_validation_and_prediction_are_not_changed(be: nn.Backend) -> None:
    X, y = data(be)
    plain = NETWORK.init((6, 6, 1), backend=be, dtype="float32")
    history = plain.fit(X, y, validation=(X, y), epochs=1, batch_size=8, progress=False, augment=lambda x, key: 0.0 * x)
    result = plain.evaluate(X, y)
    assert history["val_loss"][-1] == pytest.approx(result["loss"], rel=1e-5)


def test_resuming_goes_on_with_the_same_draws(be: nn.Backend, tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    trained(be, epochs=1, checkpoint=file)
    assert close(be, trained(be, epochs=2, checkpoint=file, resume=True), trained(be, epochs=2, checkpoint=file))
    with pytest.raises(ValueError, match=r"its augment is .*Augment\(.* but here it is None"):
        trained(be, epochs=3, checkpoint=file, resume=True, augment=None)


def test_batches_of_a_stream_are_changed_too(be: nn.Backend) -> None:
    X, y = data(be)
    batches = [(X[start : start + 8, ...], y[start : start + 8]) for start in (0, 8, 16)]
    model = NETWORK.init((6, 6, 1), backend=be, dtype="float32")
    model.fit(batches, epochs=2, progress=False, augment=CHANGE)
    assert close(be, model, trained(be, shuffle=False), 1e-6)


def test_inputs_by_name(host: nn.Backend) -> None:
    X = {"a": host.asarray(IMAGES[:, 0, :, 0]), "b": host.asarray(IMAGES[:, 1, :, 0])}
    network = nn.Network(nn.Inputs({"a": nn.Dense(2), "b": nn.Dense(2)}), nn.Dense(2))
    model = network.init({"a": (6,), "b": (6,)}, backend=host, dtype="float32")
    model.fit(X, host.asarray(LABELS), epochs=1, augment=lambda x, key: {**x, "a": -x["a"]})
    with pytest.raises(TypeError, match="augment must return inputs by name, 'a', 'b'; got"):
        model.fit(X, host.asarray(LABELS), epochs=1, augment=lambda x, key: x["a"])


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"augment": 3}, TypeError, "function of a batch and a key, such as .*; got 3"),
        ({"augment": nn.datasets.Augment}, TypeError, r"Write Augment\(\)"),
        ({"augment": nn.datasets.augment}, TypeError, "or lambda x, key"),
        ({"optimizer": "lbfgs", "batch_size": None}, ValueError, "LBFGS needs the same examples in each step"),
        ({"cluster": "tcp://localhost:1"}, ValueError, "do not know your function"),
        ({"augment": lambda x, key: x[:, 1:, :, :]}, ValueError, r"keep shape and dtype.*; got shape \(8, 5, 6, 1\)"),
        ({"augment": lambda x, key: None}, ValueError, "got None"),
    ],
)
def test_what_cannot_work_is_refused(
    host: nn.Backend, settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        trained(host, **settings)


def test_the_functions_of_augmentation_fit(host: nn.Backend) -> None:
    model = trained(host, augment=lambda x, key: augmentation.flip(augmentation.shift(x, key.fold("shift")), key))
    assert model.history.settings["augment"].endswith("<lambda>")
