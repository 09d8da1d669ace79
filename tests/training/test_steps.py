"""What a step is made of: several batches, and an average of the parameters after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import close, to_host

NET = nn.Network(nn.Dense(6, "tanh"), nn.Dense(2))
DRAWING = nn.Network(nn.Dense(6), nn.BatchNorm(), nn.Activation("tanh"), nn.Dropout(0.2), nn.Dense(2))


def data(be: nn.Backend, count: int = 50) -> tuple[Any, Any]:
    return nn.datasets.moons(count, noise=0.1, seed=0, backend=be, dtype="float32")


def model_on(be: nn.Backend, net: nn.Network = NET, dtype: str = "float32") -> nn.Model:
    return net.init((2,), seed=1, backend=be, dtype=dtype)


# --- Several batches a step ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rule", [nn.SGD(0.01, momentum=0.9), nn.Adam(0.01, clip_norm=0.5)], ids=["sgd", "adam"])
def test_several_batches_are_one(be: nn.Backend, rule: nn.Optimizer, weighted: bool, reduction: str) -> None:
    """The last of an epoch has two examples; among the weights are nine zeros in a row."""
    X, y = data(be)
    weights = be.asarray(np.concat([np.zeros(9), np.linspace(0.0, 3.0, 41)]), dtype="float32") if weighted else None
    settings = {"loss": nn.losses.CrossEntropy(reduction=reduction), "optimizer": rule, "sample_weight": weights}
    whole, parts = model_on(be), model_on(be)
    want = whole.fit(X, y, **settings, epochs=3, batch_size=24, engine="layers", shuffle=not weighted)
    got = parts.fit(X, y, **settings, epochs=3, batch_size=8, accumulate=3, metrics=["accuracy"], shuffle=not weighted)
    close(to_host(be, parts.theta), to_host(be, whole.theta), "float32", c=500)
    np.testing.assert_allclose(got["loss"], want["loss"], rtol=1e-4)
    assert got.steps == want.steps == 9


def test_a_training_of_several_batches_a_step_goes_on_from_a_file(be: nn.Backend, tmp_path: Path) -> None:
    """With other draws in each batch."""
    X, y = data(be)
    whole, halves = model_on(be, DRAWING), model_on(be, DRAWING)
    whole.fit(X, y, epochs=4, batch_size=8, accumulate=2)
    for epochs in (2, 4):
        file = tmp_path / "run.safetensors"
        halves.fit(X, y, epochs=epochs, batch_size=8, accumulate=2, checkpoint=file, resume=True)
    np.testing.assert_array_equal(to_host(be, halves.theta), to_host(be, whole.theta))
    np.testing.assert_array_equal(to_host(be, halves.state), to_host(be, whole.state))
    with pytest.raises(ValueError, match="its accumulate is 2, but here it is None"):
        halves.fit(X, y, epochs=5, batch_size=8, resume=file)


def test_a_divergence_counts_steps_and_not_batches(host: nn.Backend) -> None:
    X, y = nn.datasets.line(32)
    model = nn.Network(nn.Dense(1)).init((1,), dtype="float32")
    with pytest.raises(nn.DivergenceError, match=r"epoch \d+, step \d of 4 \(learning rate 1e\+08"):
        model.fit(X.astype("float32"), y, loss="mse", optimizer=nn.SGD(1e8), epochs=20, batch_size=4, accumulate=2)
    assert np.isfinite(model.theta).all()


# --- An average of the parameters ------------------------------------------------------------------------------------


def test_the_average_is_pytorchs(be: nn.Backend) -> None:
    """Of the parameters after each step, beginning with the first."""
    torch = pytest.importorskip("torch")
    X, y = data(be)
    plain, averaged, seen = model_on(be), model_on(be), []
    plain.fit(X, y, epochs=6, batch_size=None, callbacks=[lambda run: seen.append(to_host(be, run.model.theta))])
    history = averaged.fit(X, y, epochs=6, batch_size=None, ema=0.8, validation=(X, y))
    source = torch.nn.Linear(1, len(seen[0]), bias=False).double()
    theirs = torch.optim.swa_utils.AveragedModel(source, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
    for theta in seen:
        source.weight.data = torch.tensor(theta[:, None])
        theirs.update_parameters(source)
    close(to_host(be, averaged.theta), theirs.module.weight.detach().numpy()[:, 0], "float32", c=200)
    loss, _ = nn.value_and_grad(averaged, X, y)
    assert history["val_loss"][-1] == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_in_the_file_and_goes_on(be: nn.Backend, tmp_path: Path, accumulate: int) -> None:
    X, y = data(be)
    settings: dict[str, Any] = {"batch_size": 16, "ema": 0.9, "accumulate": accumulate, "optimizer": nn.AdamW(0.01)}
    whole, halves, file = model_on(be, DRAWING), model_on(be, DRAWING), tmp_path / "run.safetensors"
    whole.fit(X, y, epochs=4, **settings)
    for epochs in (2, 4):
        halves.fit(X, y, epochs=epochs, **settings, checkpoint=file, resume=True)
        np.testing.assert_array_equal(to_host(be, nn.load(file, backend=be).theta), to_host(be, halves.theta))
    np.testing.assert_array_equal(to_host(be, halves.theta), to_host(be, whole.theta))
    np.testing.assert_array_equal(to_host(be, halves.state), to_host(be, whole.state))
    with pytest.raises(ValueError, match=r"its ema is 0\.9, but here it is 0\.8"):
        halves.fit(X, y, epochs=5, **settings | {"ema": 0.8}, resume=file)


def test_an_average_moves_in_half_precision(host: nn.Backend) -> None:
    """A thousandth of a step is less than float16 can add."""
    X, y = data(host)
    model = model_on(host, dtype="float16")
    start = model.theta.copy()
    model.fit(X, y, epochs=40, batch_size=10, ema=0.999, optimizer=nn.SGD(0.01))
    assert model.theta.dtype == np.float16
    assert np.abs(model.theta - start).max() > 1e-3


def test_what_is_frozen_stays_and_what_a_callback_sets_is_followed(be: nn.Backend) -> None:
    X, y = data(be)
    model = model_on(be).freeze("0")
    before = to_host(be, model.params["0.weight"])

    def reset(run: nn.Run) -> None:
        if run.epoch == 3:
            run.model.theta = 0.0 * run.model.theta

    model.fit(X, y, epochs=2, ema=0.9)
    np.testing.assert_array_equal(to_host(be, model.params["0.weight"]), before)
    model.unfreeze().fit(X, y, epochs=3, ema=0.9, callbacks=[reset])
    assert not to_host(be, model.theta).any()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"accumulate": 0}, ValueError, "accumulate must be an integer of at least 1; got 0"),
        ({"accumulate": 1.5}, TypeError, "accumulate must be an integer of at least 1; got 1.5"),
        ({"ema": 1.0}, ValueError, "ema must be a finite number of at least 0 and less than 1; got 1.0"),
        ({"ema": "0.9"}, TypeError, "ema must be a finite number.*got '0.9'"),
        ({"ema": 0.9, "optimizer": "lbfgs", "batch_size": None}, ValueError, "LBFGS takes all examples at once"),
    ],
)
def test_bad_settings(host: nn.Backend, settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model_on(host).fit(*data(host), **settings)
