"""A loop of one's own: the step of `fit`, with gradient, state and optimizer in public calls."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest

import nnarray as nn

NET = nn.Network(nn.Dense(8, bias=False), nn.BatchNorm(), nn.Activation("tanh"), nn.Dropout(0.1), nn.Dense(2))
RULES: list[nn.Optimizer] = [
    nn.Adam(0.05),
    nn.AdamW(0.05),
    nn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    nn.RMSprop(0.01, clip_norm=0.5),
    nn.Adagrad(0.1),
]


def data(be: nn.Backend) -> tuple[Any, Any]:
    return nn.datasets.moons(60, noise=0.1, seed=0, backend=be, dtype="float32")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_loop_gives_what_fit_gives(be: nn.Backend, rule: nn.Optimizer) -> None:
    X, y = data(be)
    fitted = NET.init((2,), seed=1, backend=be, dtype="float32").freeze("4.bias")
    model, before = fitted.copy(), be.to_numpy(fitted.theta)
    fitted.fit(X, y, optimizer=rule, epochs=3, batch_size=25, shuffle=False, seed=3)
    key, slots, step = nn.Key(3).fold("layers"), rule.slots(model.theta), 0
    for epoch in range(3):
        for X_batch, y_batch in nn.datasets.batches(X, y, batch_size=25, epoch=epoch):
            found = nn.training_step(model, X_batch, y_batch, key=key, step=step)
            given = be.to_numpy(model.theta).copy(), {name: be.to_numpy(slot).copy() for name, slot in slots.items()}
            theta, after = rule.step(model, found.gradient, slots, step)
            np.testing.assert_array_equal(be.to_numpy(model.theta), given[0])  # nothing is written to
            for name, slot in slots.items():
                np.testing.assert_array_equal(be.to_numpy(slot), given[1][name])
            model.theta, model.state, slots, step = theta, found.state, after, step + 1
    assert be.to_numpy(model.theta)[-1] == before[-1]
    for got, want in ((model.theta, fitted.theta), (model.state, fitted.state)):
        np.testing.assert_allclose(be.to_numpy(got), be.to_numpy(want), rtol=1e-4, atol=1e-5)


def test_running_statistics_are_learned(be: nn.Backend) -> None:
    """Data far from 0: without them, outputs at inference are of no use."""
    X, y = nn.datasets.blobs(90, classes=3, seed=0, backend=be, dtype="float32")
    X = 3.0 * X + 40.0
    net = nn.Network(nn.Dense(16), nn.BatchNorm(), nn.Activation("relu"), nn.Dense(3))
    fitted = net.init((2,), seed=0, backend=be, dtype="float32")
    model, rule = fitted.copy(), nn.Adam(0.05)
    fitted.fit(X, y, optimizer=rule, epochs=60, batch_size=None)
    slots = rule.slots(model.theta)
    for step in range(60):
        found = nn.training_step(model, X, y)
        model.theta, slots = rule.step(model, found.gradient, slots, step)
        model.state = found.state
    accuracy = float(nn.metrics.accuracy(model(X), y))
    assert accuracy == float(nn.metrics.accuracy(fitted(X), y))
    assert accuracy > 0.95


def test_a_loop_is_compiled_by_jax() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")
    X, y = data(be)
    rule, key = nn.Adam(0.05), nn.Key(0)
    model = NET.init((2,), seed=1, backend=be, dtype="float32")
    plain = model.copy()

    @jax.jit
    def step(theta: Any, state: Any, slots: Any, number: Any) -> Any:
        here = model.with_theta(theta, state)
        found = nn.training_step(here, X, y, key=key, step=number)
        theta, slots = rule.step(here, found.gradient, slots, number)
        return theta, found.state, slots, found.loss

    theta, state, slots = model.theta, model.state, rule.slots(model.theta)
    memory = slots
    for number in range(5):
        theta, state, slots, loss = step(theta, state, slots, number)
        found = nn.training_step(plain, X, y, key=key, step=number)
        plain.theta, memory = rule.step(plain, found.gradient, memory, number)
        plain.state = found.state
        np.testing.assert_allclose(loss, found.loss, rtol=1e-5)
    model.theta, model.state = theta, state
    np.testing.assert_allclose(model(X), plain(X), rtol=1e-4, atol=1e-5)


def test_a_schedule_needs_its_rate(host: nn.Backend) -> None:
    model, rule = NET.init((2,)), nn.SGD(nn.schedules.Cosine(0.1, epochs=4))
    with pytest.raises(ValueError, match=r"lr is the schedule Cosine\(.*pass rate=optimizer\.lr\(epoch\)"):
        rule.step(model, model.theta, {}, 0)
    theta, _ = rule.step(model, model.theta, {}, 0, rate=rule.lr(4))  # type: ignore[operator]
    np.testing.assert_array_equal(theta, model.theta)


def test_a_gradient_in_training_without_a_state_warns(host: nn.Backend) -> None:
    X, y = data(host)
    with pytest.warns(UserWarning, match=r"running statistics do not change\. .* nn\.training_step"):
        nn.value_and_grad(NET.init((2,)), X, y, training_mode=True, key=nn.Key(0))


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s[:, None]])
def test_a_state_of_another_shape_is_refused(be: nn.Backend, change: Any) -> None:
    model = NET.init((2,), backend=be, dtype="float32")
    with pytest.raises(ValueError, match=r"state must have shape \(16,\) and dtype float32; got shape"):
        model.state = change(model.state)


def test_a_model_with_other_numbers_leaves_the_first_as_it_is(be: nn.Backend) -> None:
    X, _ = data(be)
    model = NET.init((2,), backend=be, dtype="float32").freeze("0")
    before = be.to_numpy(model(X)).copy()
    other = model.with_theta(0.0 * model.theta, model.state + 1.0)
    assert not be.to_numpy(other(X)).any()
    assert other.frozen == model.frozen
    np.testing.assert_array_equal(be.to_numpy(model(X)), before)
    with pytest.raises(ValueError, match="theta must have shape"):
        model.with_theta(model.theta[:-1])


def test_parameters_keep_their_dtype_and_are_finite(be: nn.Backend) -> None:
    """The library may lack float64; float16 is on all."""
    model = NET.init((2,), backend=be, dtype="float32")
    other = NET.init((2,), backend=be, dtype="float16") if "float16" in be.dtypes else None
    before = be.to_numpy(model.theta).copy()
    if other is not None:
        message = "theta must have the model's dtype float32; got float16. Convert it, theta = nn"
        for change in (
            lambda: setattr(model, "theta", other.theta),
            lambda: model.with_theta(other.theta),
            lambda: model.restore(other.snapshot()),
        ):
            with pytest.raises(TypeError, match=message):
                change()
    for name in ("theta", "state"):
        spoiled = be.to_numpy(getattr(model, name)).copy()
        spoiled[3] = np.nan
        with pytest.raises(ValueError, match=f"{name} contains NaN or infinity: row 3. The model keeps its"):
            setattr(model, name, be.asarray(spoiled))
    np.testing.assert_array_equal(be.to_numpy(model.theta), before)


def test_a_gradient_of_another_model_is_refused(be: nn.Backend) -> None:
    model = nn.Network(nn.Dense(3)).init((2,), backend=be, dtype="float32")
    zeros = be.xp.zeros
    for rule in (nn.Adam(0.1), nn.AdamW(0.1), nn.SGD(0.1, momentum=0.9), nn.RMSprop(0.1), nn.Adagrad(0.1)):
        slots = rule.slots(model.theta)
        for shape in ((1,), (9, 1), (8,), (10_000,)):
            bad = zeros(shape, dtype=be.dtype("float32"), device=be.device)
            with pytest.raises(
                ValueError, match=r"gradient must be real floating of shape \(9,\), one entry per parameter"
            ):
                rule.step(model, bad, slots, 0)
        with pytest.raises(ValueError, match="got dtype int32"):
            rule.step(model, zeros((9,), dtype=be.xp.int32, device=be.device), slots, 0)


def test_numbers_that_the_model_cannot_hold_are_refused_in_a_loop(be: nn.Backend) -> None:
    if "float64" not in be.dtypes:  # then there are no such numbers
        with pytest.raises(ValueError, match="cannot hold"):
            be.asarray(np.asarray([[1e39]]))
        return
    model = nn.Network(nn.Dense(1)).init((1,), backend=be, dtype="float32")
    X, y = be.asarray(np.asarray([[1.0], [1e39]]), dtype="float64"), be.asarray(np.ones((2, 1)), dtype="float32")
    for call in (nn.value_and_grad, nn.training_step):
        with pytest.raises(ValueError, match="X has numbers that float32, the model's dtype, cannot hold: row 1"):
            call(model, X, y, "mse")


# --- The loss of the model, and its frozen layers ---------------------------------------------------------------------


def values(be: nn.Backend) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    return tuple(be.asarray(draw.normal(scale=4.0, size=(12, n)), dtype="float32") for n in (2, 1))


def test_a_model_keeps_its_loss(be: nn.Backend) -> None:
    X, y = values(be)
    model = nn.Network(nn.Dense(3, "tanh"), nn.Dense(1)).init((2,), seed=0, backend=be, dtype="float32")
    model.fit(X, y, epochs=1, loss="huber")
    want = float(nn.losses.Huber()(model(X), y))
    assert abs(want - float(nn.losses.MeanSquaredError()(model(X), y))) > 0.1
    for given in (
        nn.value_and_grad(model, X, y)[0],
        nn.training_step(model, X, y).loss,
        model.evaluate(X, y)["loss"],
        nn.value_and_grad(model.with_theta(model.theta), X, y)[0],
    ):
        assert abs(float(given) - want) < 1e-4
    history = model.fit(X, y, epochs=1, optimizer=nn.SGD(1e-6))
    assert history.settings["loss"] == repr(nn.losses.Huber())
    assert model.loss == nn.losses.Huber()
    assert f"trained with the loss {nn.losses.Huber()!r}" in str(model.summary())
    model.loss = None
    assert float(nn.value_and_grad(model, X, y)[0]) > want + 0.1


def test_a_target_that_does_not_fit_the_kept_loss_is_an_error(host: nn.Backend) -> None:
    X, _ = values(host)
    model = nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), seed=0, backend=host, dtype="float32")
    labels = np.arange(12) % 2
    model.fit(X, labels, epochs=1)
    of_model = [partial(call, model) for call in (nn.value_and_grad, nn.training_step)]
    for call in (model.fit, model.find_lr, *of_model):
        with pytest.raises((ValueError, TypeError), match=r"keeps the loss that it was trained with, CrossEntropy"):
            call(X, host.asarray(np.linspace(0, 5, 24).reshape(12, 2)))
    model.fit(X, host.asarray(np.linspace(0, 5, 24).reshape(12, 2)), loss="mse", epochs=1)
    assert model.loss == nn.losses.MeanSquaredError()


def test_the_gradient_of_frozen_parameters_is_0(be: nn.Backend) -> None:
    X, y = values(be)
    net = nn.Network(nn.Dense(3, "tanh", name="a"), nn.Dense(1))
    model = net.init((2,), seed=0, backend=be, dtype="float32")
    frozen = model.copy().freeze("a")
    free = be.to_numpy(nn.value_and_grad(model, X, y)[1])
    for found in (nn.value_and_grad(frozen, X, y)[1], nn.training_step(frozen, X, y).gradient):
        gradient = be.to_numpy(found)
        assert not gradient[:9].any()
        assert free[:9].all()
        np.testing.assert_array_equal(gradient[9:], free[9:])


def test_an_own_optimizer_does_not_move_frozen_parameters() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    X, y = (np.asarray(x, dtype=float) for x in values(nn.backend("numpy")))
    model = nn.Network(nn.Dense(3, "tanh", name="a"), nn.Dense(1)).init((2,), seed=0, backend="numpy").freeze("a")
    found = optimize.minimize(
        lambda t: nn.value_and_grad(model.with_theta(t), X, y), np.array(model.theta), jac=True, method="L-BFGS-B"
    )
    np.testing.assert_array_equal(found.x[:9], model.theta[:9])
    assert not np.array_equal(found.x[9:], model.theta[9:])


def of_leaf(f: Any) -> Any:
    torch = pytest.importorskip("torch")

    def gradient(theta: Any) -> Any:
        leaf = theta.detach().clone().requires_grad_()
        return torch.autograd.grad(f(leaf), leaf)[0]

    return gradient


def transforms(flag: str) -> list[Any]:
    """From a function of theta to its gradient, by the library itself."""
    library = pytest.importorskip(flag)
    return [library.grad, lambda f: library.jit(library.grad(f))] if flag == "jax" else [library.func.grad, of_leaf]


@pytest.mark.parametrize("flag", ["jax", "torch"])
def test_recorded_and_compiled_gradients_of_frozen_parameters_are_0(flag: str) -> None:
    grads, be = transforms(flag), nn.backend(flag)
    X, y = values(be)
    net = nn.Network(nn.Dense(3, "tanh", name="a"), nn.Dense(1))
    free = net.init((2,), seed=0, backend=be, dtype="float32")
    frozen = free.copy().freeze("a")

    def gradients(model: nn.Model, grad: Any) -> list[Any]:
        of_call = grad(lambda t: ((model.with_theta(t)(X) - y) ** 2).mean())
        of_loss = grad(lambda t: nn.value_and_grad(model.with_theta(t), X, y)[0])
        return [np.asarray(each(model.theta)) for each in (of_call, of_loss)]

    for grad in grads:
        for got, want in zip(gradients(frozen, grad), gradients(free, grad), strict=True):
            assert not got[:9].any()
            assert want[:9].all()
            np.testing.assert_allclose(got[9:], want[9:], rtol=1e-5)


# --- Reading the model ------------------------------------------------------------------------------------------------


def test_parameters_are_looked_at_only(be: nn.Backend) -> None:
    model = nn.Network(nn.Dense(2)).init((2,), seed=0, backend=be, dtype="float32")
    before, params = be.to_numpy(model.theta).copy(), model.params
    zeros = 0.0 * params["0.bias"]
    for change in (
        lambda: params.__setitem__("0.bias", zeros),
        lambda: params.update({"0.bias": zeros}),
        lambda: params.pop("0.bias"),
        lambda: params.__delitem__("0.bias"),
        lambda: params.setdefault("1.bias", zeros),
        lambda: params.__ior__({"0.bias": zeros}),
    ):
        with pytest.raises(TypeError, match=r"model.params is read-only.*Call model.set_params"):
            change()
    assert list({**params}) == ["0.weight", "0.bias"]
    for own in (copy.copy(params), copy.deepcopy(params), params.copy(), dict(params), params | {}):
        own["0.bias"] = zeros  # a copy may change
    np.testing.assert_array_equal(be.to_numpy(model.theta), before)


def test_an_input_gradient_of_values_needs_the_output(be: nn.Backend) -> None:
    X, _ = values(be)
    targets = be.asarray(np.linspace(0.0, 4.0, 24).reshape(12, 2), dtype="float32")
    model = nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), seed=0, backend=be, dtype="float32")
    with pytest.warns(
        UserWarning, match=r"takes the 2 outputs for classes.*set model.loss = 'cross_entropy'; for values"
    ):
        model.input_gradient(X)  # it is not yet known what its outputs are
    model.fit(X, targets, epochs=1, loss="mse")
    with pytest.raises(ValueError, match=r"needs one of the 2 outputs: they are values.*input_gradient\(X, 0\)"):
        model.input_gradient(X)
    ones = be.asarray(np.ones(12, dtype=int))
    np.testing.assert_array_equal(be.to_numpy(model.input_gradient(X, 1)), be.to_numpy(model.input_gradient(X, ones)))
    for wrong in (2, -1, 2 * ones):
        with pytest.raises(ValueError, match=r"output (2|-1) is out of range: with 2 outputs, they are 0 to 1\. Pass"):
            model.input_gradient(X, wrong)
    with pytest.raises(TypeError, match="classes"):
        model.input_gradient(X, True)  # type: ignore[arg-type]
