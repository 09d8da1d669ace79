"""A gradient of your own is the same everywhere: in models, functions, further derivatives, and the libraries' own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.recording import Traced
from tests.packages import package

torch, jax = package("torch"), package("jax")
ROWS = np.asarray([[0.3, -0.7], [1.9, 0.1], [-0.4, 0.8]])


def rounded(x: Any) -> Any:
    return nn.namespace(x).round(4.0 * x) / 4.0


@dataclass(frozen=True)
class Rounded(nn.Layer):
    """y = x, rounded to quarters, with the derivative of x: straight-through."""

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        return nn.Out(rounded(x), lambda dy: (dy, {}))


@dataclass(frozen=True)
class Scaled(nn.Layer):
    """y = s x, with a gradient of s that is twice as large; in training the mean of x is the new state."""

    def params(self, shape: Any) -> Any:
        return {"s": nn.Param(shape, "ones")}

    def initial_state(self, shape: Any) -> Any:
        return {"mean": nn.Param(shape)}

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        xp, s = nn.namespace(x), params["s"]
        out = nn.Out(x * s, lambda dy: (dy * s, {"s": 2.0 * xp.sum(dy * x, axis=0), "unknown": None}))
        return out._replace(state={"mean": xp.mean(x, axis=0)}) if ctx.training else out


@dataclass(frozen=True)
class Masked(nn.Layer):
    """Rounded, and its mask is that of its inputs, other way round."""

    masking = "use"

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        mask = None if ctx.mask is None else nn.namespace(x).logical_not(ctx.mask)
        return nn.Out(rounded(x), lambda dy: (dy, {}), mask=mask)


class Clipped(nn.Loss):
    """The squared error, whose derivative is limited."""

    def entry(self, outputs: Any, target: Any) -> Any:
        d = outputs - target
        return d * d, nn.namespace(d).clip(2.0 * d, -0.5, 0.5)


class ClippedRows(nn.Loss):
    """As above, of examples."""

    def per_example(self, outputs: Any, target: Any) -> Any:
        xp, d = nn.namespace(outputs), outputs - target
        return xp.sum(d * d, axis=1), xp.clip(2.0 * d, -0.5, 0.5)


class Distances(nn.Loss):
    """The distance of each example; its gradient follows from a record."""

    def per_example(self, outputs: Any, target: Any) -> Any:
        return nn.namespace(outputs).sqrt(nn.namespace(outputs).sum((outputs - target) ** 2, axis=1))


STRAIGHT = nn.Activation(rounded, lambda x: nn.namespace(x).ones_like(x))
MODELS: dict[str, tuple[tuple[nn.Layer, ...], Any]] = {
    "a layer": ((nn.Dense(3, "tanh"), Rounded(), nn.Dense(1)), nn.losses.MeanSquaredError()),
    "its parameters": ((nn.Dense(3, "tanh"), Scaled(), nn.Dense(1)), nn.losses.MeanSquaredError()),
    "a derivative": ((nn.Dense(3, STRAIGHT), nn.Dense(1)), nn.losses.MeanSquaredError()),
    "a derivative alone": ((nn.Dense(3), STRAIGHT, nn.Dense(1)), nn.losses.MeanSquaredError()),
    "a loss of entries": ((nn.Dense(3, "tanh"), nn.Dense(1)), Clipped()),
    "a loss of examples": ((nn.Dense(3, "tanh"), nn.Dense(1)), ClippedRows()),
    "losses alone": ((nn.Dense(3, "tanh"), nn.Dense(1)), Distances()),
    "within a block": ((nn.Residual(nn.Dense(2), Rounded()), nn.Dense(1)), nn.losses.MeanSquaredError()),
    "recompute": ((nn.Network(nn.Dense(3), Rounded(), recompute=True), nn.Dense(1)), Clipped(reduction="sum")),
}


def setting(be: nn.Backend, case: str) -> tuple[nn.Model, Any, Any, Any]:
    layers, loss = MODELS[case]
    model = nn.Network(*layers).init((2,), seed=0, backend=be, dtype="float32")
    X = be.asarray(ROWS, dtype="float32")
    return model, loss, X, be.asarray(np.asarray([[0.1], [0.9], [-0.3]]), dtype="float32")


def library_gradient(be: nn.Backend, f: Callable[[Any], Any], x: Any) -> Any:
    """The gradient by the library itself; by `nn.grad` where it has none."""
    if be.library.name == "jax":
        return jax.grad(f)(x)
    if be.library.name == "torch":
        x = x.detach().clone().requires_grad_()
        f(x).backward()
        return x.grad
    return nn.grad(f)(x)


def transformed(be: nn.Backend, f: Callable[[Any], Any], x: Any) -> Any:
    """The gradient by the library's function that transforms functions."""
    return torch.func.grad(f)(x) if be.library.name == "torch" else library_gradient(be, f, x)


@pytest.mark.parametrize("case", MODELS)
def test_of_models(be: nn.Backend, case: str) -> None:
    model, loss, X, y = setting(be, case)
    value, want = nn.value_and_grad(model, X, y, loss)

    def called(theta: Any) -> Any:
        return loss(model.with_theta(theta)(X), y)

    def by_step(theta: Any) -> Any:
        return nn.value_and_grad(model.with_theta(theta), X, y, loss)[0]

    for f in (called, by_step):
        got, pullback = nn.vjp(f, model.theta)
        for gradient in (nn.grad(f)(model.theta), *pullback(nn.namespace(got).ones_like(got))):
            nn.testing.assert_close(gradient, be.to_numpy(want))
        nn.testing.assert_close(f(model.theta), be.to_numpy(value))
        for by in (library_gradient, transformed):
            nn.testing.assert_close(by(be, f, model.theta), be.to_numpy(want))
    along = nn.namespace(X).ones_like(model.theta)
    if be.library.name != "jax":
        derivative = nn.jvp(called, (model.theta,), (along,))[1]
        nn.testing.assert_close(derivative, be.to_numpy(nn.namespace(want).sum(want)))


@pytest.mark.parametrize("case", ["a layer", "a derivative", "within a block"])
def test_of_inputs(be: nn.Backend, case: str) -> None:
    model, _, X, _ = setting(be, case)
    want = be.to_numpy(model.input_gradient(X, 0))

    def total(X: Any) -> Any:
        return nn.namespace(X).sum(model(X))

    nn.testing.assert_close(nn.grad(total)(X), want)
    nn.testing.assert_close(nn.grad(lambda X: nn.namespace(X).sum(model.predict(X)))(X), want)
    nn.testing.assert_close(library_gradient(be, total, X), want)


@pytest.mark.parametrize("case", ["a layer", "a loss of entries"])
def test_second_derivatives_are_those_of_the_pullbacks(be: nn.Backend, case: str) -> None:
    """The Hessian times v, by the two ways to write the loss, and by differences of the gradient."""
    model, loss, X, y = setting(be, case)
    theta = model.theta
    v = be.asarray(np.cos(np.arange(theta.shape[0])), dtype="float32")
    got = [
        nn.hvp(lambda t: loss(model.with_theta(t)(X), y), theta, v),
        nn.hvp(lambda t: nn.value_and_grad(model.with_theta(t), X, y, loss)[0], theta, v),
        nn.jvp(lambda t: nn.value_and_grad(model.with_theta(t), X, y, loss)[1], (theta,), (v,))[1],
    ]
    for each in got[1:]:
        nn.testing.assert_close(each, be.to_numpy(got[0]))
    if case == "a loss of entries":
        first, second = (nn.value_and_grad(model.with_theta(theta + h * v), X, y, loss)[1] for h in (1e-2, -1e-2))
        np.testing.assert_allclose(be.to_numpy(got[0]), be.to_numpy((first - second) / 2e-2), rtol=2e-2, atol=1e-3)


def test_a_second_derivative_of_a_straight_through_function(be: nn.Backend) -> None:
    """f = r^2 with r' = 1: f' = 2 r, and f'' = 2, also by the library."""
    straight = nn.custom_gradient(lambda x: (rounded(x), lambda dy: dy))
    x = be.asarray(0.7, dtype="float32")
    f = nn.grad(lambda x: straight(x) ** 2)
    for gradient in (nn.grad(f)(x), nn.hvp(lambda x: straight(x) ** 2, x, x / 0.7), library_gradient(be, f, x)):
        nn.testing.assert_close(gradient, 2.0)


def test_training_mode_and_masks(be: nn.Backend) -> None:
    layer, X = Scaled(), be.asarray(ROWS, dtype="float32")
    s = be.asarray(np.asarray([0.5, 2.0]), dtype="float32")

    def total(s: Any) -> Any:
        out = layer.forward({"s": s}, X, nn.Context(training=True, state={"mean": 0.0 * X[0, :]}))
        assert out.state["mean"].shape == (2,)
        assert isinstance(out.y, Traced)
        dx, gradients = out.pullback(nn.namespace(out.y).ones_like(out.y))
        assert dx.shape == X.shape
        assert "s" in gradients
        return nn.namespace(out.y).sum(out.y)

    nn.testing.assert_close(nn.grad(total)(constant_of(X, s)), 2.0 * ROWS.sum(axis=0))
    mask = be.asarray(np.asarray([True, False, True]))

    def masked(X: Any) -> Any:
        out = Masked().forward({}, X, nn.Context(keep=False, mask=mask))
        assert be.to_numpy(out.mask).tolist() == [False, True, False]
        return nn.namespace(X).sum(out.y**2)

    for gradient in (nn.grad(masked)(X), library_gradient(be, masked, X)):
        nn.testing.assert_close(gradient, 2.0 * np.round(4.0 * ROWS) / 4.0)


def constant_of(like: Any, x: Any) -> Any:
    return nn.namespace(like).asarray(x)


def test_a_gradient_that_a_pullback_leaves_out_is_named(host: nn.Backend) -> None:
    class Forgetful(Scaled):
        def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
            return nn.Out(x * params["s"], lambda dy: (dy, {}))

    model = nn.Network(Forgetful()).init((2,), dtype="float64")
    with pytest.raises(ValueError, match="'s' is missing: the pullback"):
        nn.grad(lambda theta: nn.namespace(theta).sum(model.with_theta(theta)(ROWS)))(model.theta)


def test_constants_hold_in_all_derivatives(be: nn.Backend) -> None:
    x = be.asarray(3.0, dtype="float32")

    def f(x: Any) -> Any:
        return x * x * nn.stop_gradient({"x": x})["x"]

    for gradient in (nn.grad(f)(x), library_gradient(be, f, x), transformed(be, f, x)):
        nn.testing.assert_close(gradient, 18.0)
    for second in (nn.hessian(f)(x), library_gradient(be, nn.grad(f), x), transformed(be, nn.grad(f), x)):
        nn.testing.assert_close(second, 6.0)


def test_a_pullback_of_several_arrays_holds_in_all_derivatives(be: nn.Backend) -> None:
    """With results in a tuple, an argument of integers, and one without a gradient."""

    @nn.custom_gradient
    def picked(a: Any, i: Any, b: Any, factor: float) -> Any:
        xp = nn.namespace(a["a"])
        y = a["a"] * factor, xp.take(b, i, axis=0)
        return y, lambda dy: ({"a": 10.0 * dy[0]}, None, None, None)

    i = be.asarray(np.asarray([1, 0]))

    def f(x: Any) -> Any:
        xp = nn.namespace(x)
        first, second = picked({"a": x}, i, x, 2.0)
        return xp.sum(first * x) + xp.sum(second)

    x = be.asarray(np.asarray([1.0, 2.0]), dtype="float32")
    for gradient in (nn.grad(f)(x), library_gradient(be, f, x), transformed(be, f, x)):
        nn.testing.assert_close(gradient, [12.0, 24.0])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of PyTorch's own
def test_derivatives_along_tangents_in_the_libraries(be: nn.Backend) -> None:
    straight = nn.custom_gradient(lambda x: (rounded(x), lambda dy: dy))
    x = be.asarray(0.7, dtype="float32")
    nn.testing.assert_close(nn.jvp(straight, (x,), (x,))[1], 0.7)
    if be.library.name == "jax":
        with pytest.raises(TypeError, match="custom_vjp"):
            jax.jvp(straight, (x,), (x,))
    if be.library.name == "torch":
        with pytest.raises(NotImplementedError, match="use reverse mode"):
            torch.func.jvp(straight, (x,), (x,))
        with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="use reverse mode"):
            straight(torch.autograd.forward_ad.make_dual(x, x))


def test_what_a_pullback_cannot_know_is_refused(be: nn.Backend) -> None:
    x = be.asarray(2.0, dtype="float32")

    def outside(x: Any, y: Any) -> Any:
        return nn.custom_gradient(lambda y: (x * y, lambda dy: dy))(y)

    message = r"not one of its arguments.*Make it an argument, f\(x, a\), or pass nn.stop_gradient\(a\)"
    with pytest.raises(TypeError, match=message):
        nn.grad(lambda x: outside(x, x))(x)
    with pytest.raises(TypeError, match=message):
        nn.grad(lambda x: outside(x, nn.stop_gradient(x)))(x)
    nn.testing.assert_close(nn.grad(lambda x: outside(nn.stop_gradient(x), x))(x), 1.0)
    nn.testing.assert_close(nn.grad(lambda x: nn.custom_gradient(lambda a, b: (a * b, lambda g: (g, g)))(x, x))(x), 2.0)


def test_a_loss_has_a_gradient_with_respect_to_its_outputs_only(be: nn.Backend) -> None:
    loss, o = nn.losses.MeanSquaredError(), be.asarray(ROWS, dtype="float32")
    model = nn.Network(nn.Dense(2)).init((2,), seed=0, backend=be, dtype="float32")
    for f in (lambda t: loss(o, t), lambda t: loss(t, t), lambda t: nn.value_and_grad(model, o, t, loss)[0]):
        with pytest.raises(ValueError, match=r"(target|y) has a gradient record.*Pass nn.stop_gradient\((target|y)\)"):
            nn.grad(f)(o)
    want = be.to_numpy(loss.value_and_gradient(o, 0.0 * o)[1])
    nn.testing.assert_close(nn.grad(lambda o, t: loss(o, t))(o, 0.0 * o), want)
    nn.testing.assert_close(nn.grad(lambda o: loss(o, nn.stop_gradient(0.0 * o)))(o), want)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda m, theta, X, y: m.with_theta(theta).fit(X, y, loss="mse"), TypeError),
        (lambda m, theta, X, y: m.with_theta(theta).evaluate(X, y), TypeError),
        (lambda m, theta, X, y: m.with_theta(theta).input_gradient(X, 0), TypeError),
        (lambda m, theta, X, y: m.with_theta(theta).copy(), TypeError),
        (lambda m, theta, X, y: setattr(m, "theta", theta), ValueError),
    ],
)
def test_calls_that_need_values_say_so(be: nn.Backend, call: Any, kind: type[Exception]) -> None:
    model, _, X, y = setting(be, "a layer")
    model.loss = "mse"
    before = model.theta
    with pytest.raises(kind, match=r"differentiated.*model\.with_theta"):
        nn.grad(lambda theta: call(model, theta, X, y))(model.theta)
    assert model.theta is before


def test_frozen_parameters_and_steps_of_a_training(be: nn.Backend) -> None:
    model, loss, X, y = setting(be, "a layer")
    model.freeze("0")
    want = be.to_numpy(nn.training_step(model, X, y, loss).gradient)
    got = nn.grad(lambda t: nn.training_step(model.with_theta(t), X, y, loss).loss)(model.theta)
    nn.testing.assert_close(got, want)
    assert not want[:9].any()
    assert want[9:].any()
    of_x = nn.grad(lambda X: nn.value_and_grad(model, X, y, loss)[0])(X)
    nn.testing.assert_close(of_x, be.to_numpy(nn.grad(lambda X: loss(model(X), y))(X)))
