"""A frozen layer keeps its state too: it computes in training as at inference, however the steps are computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn

DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(2.0, 3.0, (24, 3)).astype("float32"), DRAW.integers(0, 2, 24).astype("int32")
NETWORK = nn.Network(
    nn.Residual(nn.Dense(3), nn.BatchNorm(name="norm"), name="body"), nn.Activation("tanh"), nn.Dense(2, name="head")
)


def frozen(be: nn.Backend, *names: str) -> nn.Model:
    model = NETWORK.init((3,), seed=0, backend=be, dtype="float32")
    model.fit(be.asarray(X), be.asarray(Y), epochs=1, progress=False)  # statistics unlike those of the batches
    return model.freeze(*names)


def state_of(be: nn.Backend, model: nn.Model) -> np.ndarray:
    return be.to_numpy(model.state).copy()


@pytest.mark.parametrize("more", [{}, {"engine": "layers"}, {"accumulate": 2}, {"grains": 2}, {"ema": 0.5}])
@pytest.mark.parametrize("names", [("body",), ("body.norm",)])
def test_fit_leaves_the_statistics_alone(be: nn.Backend, names: tuple[str, ...], more: dict[str, Any]) -> None:
    model = frozen(be, *names)
    before = state_of(be, model)
    model.fit(be.asarray(X), be.asarray(Y), epochs=2, batch_size=8, progress=False, **more)
    assert np.array_equal(state_of(be, model), before)


def test_a_step_of_fit_is_one_at_inference(be: nn.Backend) -> None:
    model = frozen(be, "body")
    data = be.asarray(X), be.asarray(Y)
    _, gradient = nn.value_and_grad(model, *data)
    want = be.to_numpy(model.params["head.weight"] - 0.1 * model.with_theta(gradient).params["head.weight"])
    body = be.to_numpy(model.params["body.0.weight"]).copy()
    model.fit(*data, epochs=1, optimizer=nn.SGD(0.1), progress=False)
    assert np.allclose(be.to_numpy(model.params["head.weight"]), want, rtol=0, atol=1e-6)
    assert np.array_equal(be.to_numpy(model.params["body.0.weight"]), body)


def test_a_loop_of_your_own_leaves_them_alone(be: nn.Backend) -> None:
    model = frozen(be, "body")
    found, (loss, _) = (
        nn.training_step(model, be.asarray(X), be.asarray(Y)),
        nn.value_and_grad(model, be.asarray(X), be.asarray(Y)),
    )
    assert np.array_equal(be.to_numpy(found.state), state_of(be, model))
    assert abs(float(found.loss) - float(loss)) < 1e-6


def test_other_layers_keep_following_their_batches(host: nn.Backend) -> None:
    for model in (frozen(host, "body.0"), frozen(host, "body.norm.weight"), frozen(host, "body").unfreeze()):
        before = state_of(host, model)
        model.fit(host.asarray(X), host.asarray(Y), epochs=1, progress=False)
        assert not np.array_equal(state_of(host, model), before)
