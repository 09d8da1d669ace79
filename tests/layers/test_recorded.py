"""Layers, activations and losses that write only their forward pass: the pullback follows from a record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn


@dataclass(frozen=True)
class PReLU(nn.Layer):
    """y = x where x > 0, else s x."""

    def params(self, shape: Any) -> Any:
        return {"slope": nn.Param(shape[-1:], nn.initializers.Constant(0.25))}

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        return nn.namespace(x).where(x > 0, x, params["slope"] * x)


@dataclass(frozen=True)
class Centre(nn.Layer):
    """In training y = x - mean of the batch, whose mean is the new state; at inference y = x - m."""

    def initial_state(self, shape: Any) -> Any:
        return {"mean": nn.Param(shape)}

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        if not ctx.training:
            return nn.Out(x - ctx.state["mean"])
        old, mean = ctx.state["mean"], nn.namespace(x).mean(x, axis=0)
        return nn.Out(x - mean, state={"mean": old + 0.1 * (mean - old)})


@dataclass(frozen=True)
class Both(nn.Layer):
    """y = table[i] x, of an input of integers and one of real numbers; dropout in training."""

    takes = {"i": nn.Kind("integer", below=4), "x": nn.Kind()}  # noqa: RUF012

    def params(self, shape: Any) -> Any:
        return {"table": nn.Param((4, *shape["x"]), "ones")}

    def out_shape(self, shape: Any) -> Any:
        return shape["x"]

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        xp = nn.namespace(x["x"])
        y = xp.take(params["table"], x["i"], axis=0) * x["x"]
        return nn.Dropout(0.5).forward({}, y, ctx).y


def swish(x: Any) -> Any:
    return x / (1.0 + nn.namespace(x).exp(-x))


def squares(x: Any) -> Any:
    return nn.namespace(x).concat([x, x * x], axis=1)


LAYERS = {
    "layer": (PReLU(), (2, 3)),
    "state": (Centre(), (3,)),
    "several inputs": (Both(), {"i": (), "x": (3,)}),
    "lambda": (nn.Lambda(squares), (3,)),
    "lambda to another number of axes": (nn.Lambda(lambda x: nn.namespace(x).sum(x * x, axis=(1, 2))), (3, 2)),
    "activation": (nn.Activation(swish), (3,)),
    "activation of dense": (nn.Dense(4, swish), (3,)),
    "row": (nn.Network(nn.Dense(3, swish), PReLU(), nn.Lambda(squares), nn.Dense(2)), (2,)),
    "recompute": (nn.Network(nn.Dense(3), PReLU(), nn.Lambda(squares), recompute=True), (2,)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers(be: nn.Backend, case: str) -> None:
    layer, shape = LAYERS[case]
    check = nn.testing.check_layer(layer, shape, backends=[be])
    assert check.pullback == "recorded"
    assert check.backward > 0 < check.forward


def writing_relu(x: Any) -> Any:
    x[x < 0] = 0.0
    return x


@dataclass(frozen=True)
class WritingReLU(nn.Layer):
    """y = max(x, 0), in place."""

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        return writing_relu(x)


@pytest.mark.parametrize(
    "own", [nn.Activation(writing_relu), nn.Lambda(writing_relu), WritingReLU()], ids=["activation", "lambda", "layer"]
)
def test_what_a_function_writes_into_its_argument_stays_in_it(be: nn.Backend, own: nn.Layer) -> None:
    X, y = nn.datasets.moons(24, noise=0.1, seed=0, backend=be, dtype="float32")
    before, found = be.to_numpy(X).copy(), []
    for layer in (own, nn.Activation("relu")):
        model = nn.Network(nn.Residual(layer), nn.Dense(3), layer, nn.Dense(2)).init((2,), seed=1, backend=be)
        if be.library.name == "jax" and layer is own:  # whose arrays nobody can write to
            with pytest.raises(TypeError, match="immutable"):
                model(X)
            return
        model.fit(X, y, epochs=3, optimizer=nn.Adam(0.05))
        found.append([be.to_numpy(each) for each in (model.theta, model(X), model.predict(X))])
    for a, b in zip(*found, strict=True):
        nn.testing.assert_close(a, b)
    np.testing.assert_array_equal(be.to_numpy(X), before)


def log_cosh(outputs: Any, target: Any) -> Any:
    xp = nn.namespace(outputs)
    return xp.log(xp.cosh(outputs - target))


def network(*functions: Any) -> nn.Network:
    return nn.Network(nn.Dense(5, functions[0]), functions[1], nn.Dense(1))


@pytest.mark.parametrize("engine", ["auto", "layers"])
def test_training_is_that_of_pullbacks_by_hand(be: nn.Backend, dtype: str, engine: str) -> None:
    X, y = nn.datasets.line(48, noise=0.1, seed=0, backend=be, dtype=dtype)
    byhand = network("tanh", nn.Activation("silu")), "mse"
    recorded = (
        network(lambda x: nn.namespace(x).tanh(x), nn.Lambda(swish)),
        nn.losses.custom(lambda outputs, target: (outputs - target) ** 2),
    )
    losses = []
    for net, loss in (byhand, recorded):
        model = net.init((1,), seed=1, backend=be, dtype=dtype)
        settings: Any = {"optimizer": nn.Adam(0.02), "epochs": 4, "batch_size": 16, "loss": loss}
        history = model.fit(X, y, engine=engine, **settings)
        value, gradient = nn.value_and_grad(model, X, y, loss)
        assert gradient.dtype == be.dtype(dtype)
        losses.append([*history["loss"], float(value)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0]])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_of_a_function(be: nn.Backend, dtype: str, weights: Any, reduction: str) -> None:
    outputs = be.asarray(np.asarray([[0.5, -1.0], [2.0, 0.1], [0.0, 0.7]]), dtype=dtype)
    target = be.asarray(np.asarray([[0.1, 1.0], [-2.0, 0.3], [0.5, 0.5]]), dtype=dtype)
    given = None if weights is None else be.asarray(np.asarray(weights), dtype=dtype)
    own = nn.losses.custom(lambda o, t: (o - t) ** 2, reduction=reduction)
    summed = nn.losses.custom(lambda o, t: nn.namespace(o).sum((o - t) ** 2, axis=1) / 2, reduction=reduction)
    want = nn.losses.MeanSquaredError(reduction=reduction).value_and_gradient(outputs, target, given)
    for loss in (own, summed):
        got = loss.value_and_gradient(outputs, target, given)
        for a, b in zip(got, want, strict=True):
            assert a.dtype == b.dtype
            nn.testing.assert_close(a, b)
    if dtype == "float64":
        nn.testing.check_loss(nn.losses.custom(log_cosh), outputs, target)


def test_a_loss_that_returns_its_losses_alone(be: nn.Backend) -> None:
    class Distance(nn.Loss):
        def per_example(self, outputs: Any, target: Any) -> Any:
            xp = nn.namespace(outputs)
            return xp.sqrt(xp.sum((outputs - target) ** 2, axis=1))

    o, t = (be.asarray(np.asarray(x), dtype="float32") for x in ([[3.0, 4.0]], [[0.0, 0.0]]))
    value, gradient = Distance().value_and_gradient(o, t)
    nn.testing.assert_close(value, 5.0)
    nn.testing.assert_close(gradient, [[0.6, 0.8]])


def test_labels_as_targets_of_a_function(be: nn.Backend) -> None:
    def nll(outputs: Any, labels: Any) -> Any:
        xp = nn.namespace(outputs)
        z = outputs - xp.max(outputs, axis=1, keepdims=True)
        z = z - xp.log(xp.sum(xp.exp(z), axis=1, keepdims=True))
        return -xp.take_along_axis(z, labels[:, None], axis=1)[:, 0]

    X, y = nn.datasets.moons(24, noise=0.1, seed=0, backend=be, dtype="float32")
    y = be.xp.astype(y, be.xp.int64)
    model = nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), seed=0, backend=be, dtype="float32")
    got = nn.value_and_grad(model, X, y, nn.losses.custom(nll))
    want = nn.value_and_grad(model, X, y, "cross_entropy")
    for a, b in zip(got, want, strict=True):
        nn.testing.assert_close(a, be.to_numpy(b))


def test_what_a_file_says_of_functions(tmp_path: Path) -> None:
    model = nn.Network(nn.Lambda(swish), nn.Dense(1)).init((2,))
    with pytest.raises(ValueError, match=r"Lambda: <function swish.*cannot be saved.*Give the function a name"):
        model.save(tmp_path / "model.safetensors")
    X, y = nn.datasets.line(8, seed=0)
    model = nn.Network(nn.Dense(1)).init((1,))
    model.fit(X, y, loss=nn.losses.custom(log_cosh), epochs=1)
    model.save(tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match="was trained with the loss log_cosh, which is not registered here"):
        assert nn.load(tmp_path / "model.safetensors").loss is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Lambda("tanh"), TypeError, r"Lambda needs a function of an array; got 'tanh'"),
        (lambda: nn.Network(nn.Lambda(lambda x: x[0])).init((3, 2)), ValueError, "a row for each example; for two"),
        (lambda: nn.losses.custom(nn.losses.Huber), TypeError, "custom needs a function of outputs and targets"),
        (
            lambda: nn.losses.custom(lambda o, t: o - t)(np.ones((3, 1)), np.ones(3)),
            ValueError,
            r"must return losses of shape \(3,\).*a target of shape \(3,\); got shape \(3, 3\)\. Sum",
        ),
        (
            lambda: nn.losses.custom(lambda o, t: (o - t) ** 2)(np.ones((3, 2)), np.ones((3, 1))),
            ValueError,
            r"a loss for each output, shape \(3, 2\), but the target has shape \(3, 1\).*an entry for each output",
        ),
        (lambda: nn.losses.custom(log_cosh)(np.ones((3, 1)), np.ones(2)), ValueError, "log_cosh needs a row of y"),
        (lambda: nn.losses.custom(lambda o, t: 3)(np.ones(3), np.ones(3)), ValueError, "one entry per example.*got 3"),
    ],
)
def test_wrong_functions(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
