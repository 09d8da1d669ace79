"""Gradients that other libraries ask of a model: PyTorch's autograd and `torch.func`, JAX's transformations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnarray as nn

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

cross_entropy = torch.nn.functional.cross_entropy
FUNCTIONS = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "logistic": torch.nn.Sigmoid,
    "softplus": torch.nn.Softplus,
    "gelu": torch.nn.GELU,
}
ACTIVATIONS = ["relu", "elu", "selu", "softplus", "logistic", "silu", "mish", "gelu", "leaky_relu", "softmax"]

generator = torch.Generator().manual_seed(0)
X = torch.randn(5, 3, dtype=torch.float64, generator=generator)
y = torch.arange(5) % 2


def pair(function: str = "tanh") -> tuple[nn.Model, Any]:
    """The same network here and there, in float64."""
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), FUNCTIONS[function](), torch.nn.Linear(4, 2)).double()
    ours = nn.Network(nn.Dense(4, function), nn.Dense(2)).init((3,), backend="torch", dtype="float64")
    return ours.load_torch(theirs.state_dict()), theirs


def same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def squares(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: f(x).pow(2).sum()


TRANSFORMATIONS: dict[str, Callable[[Callable[[Any], Any], Any], Any]] = {
    "grad": lambda f, x: torch.func.grad(squares(f))(x),
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "hessian": lambda f, x: torch.func.hessian(squares(f))(x),
    "reverse twice": lambda f, x: torch.func.jacrev(torch.func.jacrev(squares(f)))(x),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    "vmap": lambda f, x: torch.func.vmap(lambda one: f(one[None])[0])(x),
    "vmap of grad": lambda f, x: torch.func.vmap(torch.func.grad(lambda one: squares(f)(one[None])))(x),
    "grad of vmap": lambda f, x: torch.func.grad(
        lambda every: torch.func.vmap(lambda one: f(one[None]))(every).pow(2).sum()
    )(x),
    "jacobian": lambda f, x: torch.autograd.functional.jacobian(f, x),
    "jacobian, vectorised": lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True),
    "functional hessian": lambda f, x: torch.autograd.functional.hessian(squares(f), x),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own
def test_torch_transforms_a_model_as_its_own(name: str, function: str) -> None:
    ours, theirs = pair(function)
    transform = TRANSFORMATIONS[name]
    same(transform(ours, X), transform(theirs, X))
    if function != "relu":  # which has no derivative there
        same(transform(ours, 0.0 * X), transform(theirs, 0.0 * X))


def test_torch_agrees_with_central_differences() -> None:
    net = nn.Network(
        nn.Conv2D(3, 3, padding="same"),
        nn.BatchNorm(),
        nn.Activation("silu"),
        nn.AvgPool2D(2),
        nn.Flatten(),
        nn.Dense(2),
    )
    model = net.init((4, 4, 2), backend="torch", dtype="float64")
    images = torch.randn(2, 4, 4, 2, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(model, images)
    assert torch.autograd.gradgradcheck(model, images)
    assert torch.autograd.gradcheck(lambda theta: model.with_theta(theta)(images), model.theta.clone().requires_grad_())


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_model_stands_in_the_middle_of_a_torch_program(kind: str) -> None:
    ours, theirs = pair()
    ours.theta = torch.nn.Parameter(ours.theta)
    encoder, decoder = torch.nn.Linear(3, 3), torch.nn.Linear(2, 2)
    x = X.to(getattr(torch, kind))
    trained = [*encoder.to(x.dtype).parameters(), *decoder.double().parameters()]
    got = torch.autograd.grad(cross_entropy(decoder(ours(encoder(x))), y), [*trained, ours.theta])
    want = torch.autograd.grad(cross_entropy(decoder(theirs(encoder(x).double())), y), [*trained, theirs[2].bias])
    for ours_, theirs_ in zip(got[:-1], want[:-1], strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-5, atol=1e-7)
    same(got[-1][-2:], want[-1])


def test_torch_trains_the_vector_of_a_model() -> None:
    ours, theirs = pair()
    leaf = ours.theta = torch.nn.Parameter(ours.theta)
    rules = [torch.optim.Adam(each, lr=0.1) for each in ([ours.theta], theirs.parameters())]
    for _ in range(20):
        losses = [cross_entropy(model(X), y) for model in (ours, theirs)]
        for loss, rule in zip(losses, rules, strict=True):
            rule.zero_grad()
            loss.backward()
            rule.step()
        same(*losses)
    assert ours.theta is leaf
    ours.fit(X, y, epochs=1)  # with a vector of its own
    assert not ours.theta.requires_grad
    assert not ours(X).requires_grad


@pytest.mark.parametrize("name", ["predict", "loss", "value_and_grad", "training_step"])
def test_whatever_gives_numbers_of_inputs_is_differentiated(name: str) -> None:
    ours, theirs = pair()
    call: Callable[[Any], Any] = {
        "predict": lambda x: cross_entropy(ours.predict(x, batch_size=2), y),
        "loss": lambda x: nn.losses.CrossEntropy()(ours(x), y),
        "value_and_grad": lambda x: nn.value_and_grad(ours, x, y)[0],
        "training_step": lambda x: nn.training_step(ours, x, y).loss,
    }[name]
    want = torch.func.grad(lambda x: cross_entropy(theirs(x), y))(X)
    same(torch.func.grad(call)(X), want)
    leaf = X.clone().requires_grad_()
    call(leaf).backward()
    same(leaf.grad, want)
    again = torch.func.jacrev(torch.func.jacrev(call))(X)
    same(again, torch.func.jacrev(torch.func.jacrev(lambda x: cross_entropy(theirs(x), y)))(X))


def test_gradient_and_state_have_no_record_that_could_grow() -> None:
    model = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(2)).init((3,), backend="torch", dtype="float64")
    found = nn.training_step(model, X.clone().requires_grad_(), y)
    assert found.loss.requires_grad
    assert not found.gradient.requires_grad
    assert not found.state.requires_grad
    model.theta = torch.nn.Parameter(model.theta)
    assert not model.copy().theta.requires_grad


def test_a_gradient_may_be_differentiated_by_torch_func() -> None:
    ours, theirs = pair()
    names = dict(theirs.named_parameters())

    def theirs_penalty(x: Any) -> Any:
        gradients = torch.func.grad(lambda p: cross_entropy(torch.func.functional_call(theirs, p, (x,)), y))(names)
        return sum(gradient.pow(2).sum() for gradient in gradients.values())

    def penalty(x: Any) -> Any:
        return nn.value_and_grad(ours, x, y)[1].pow(2).sum()

    same(torch.func.grad(penalty)(X), torch.func.grad(theirs_penalty)(X))


def test_without_a_question_nothing_is_recorded() -> None:
    ours, _ = pair()
    assert not ours(X).requires_grad
    with torch.no_grad():
        assert not ours(X.clone().requires_grad_()).requires_grad


def test_a_target_with_a_record_is_refused() -> None:
    with pytest.raises(ValueError, match=r"target has a gradient record, .* Pass target\.detach\(\)"):
        nn.losses.MeanSquaredError()(X, X.clone().requires_grad_())


# --- Theta -----------------------------------------------------------------------------------------------------------


def test_functions_of_theta_on_torch() -> None:
    ours, theirs = pair()
    gradient = torch.func.grad(lambda theta: squares(ours.with_theta(theta))(X))(ours.theta)
    same(gradient[-2:], torch.autograd.grad(squares(theirs)(X), theirs[2].bias)[0])
    gradient = torch.func.grad(lambda theta: nn.value_and_grad(ours.with_theta(theta), X, y)[0])(ours.theta)
    same(gradient, nn.value_and_grad(ours, X, y)[1])


def test_functions_of_theta_on_jax() -> None:
    be = nn.backend("jax")
    X, y = nn.datasets.moons(20, noise=0.1, seed=0, backend=be)
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), backend=be)

    def loss(theta: Any) -> Any:
        return nn.losses.CrossEntropy()(model.with_theta(theta)(X), y)

    want = nn.value_and_grad(model, X, y)
    for got in (jax.value_and_grad(loss)(model.theta), jax.jit(jax.value_and_grad(loss))(model.theta)):
        nn.testing.assert_close(got[0], want[0])
        nn.testing.assert_close(got[1], want[1])


@pytest.mark.parametrize("way", ["jit", "grad", "torch.func", "jit, state", "jit, set_params"])
def test_what_exists_inside_of_a_function_does_not_stay_in_a_model(way: str) -> None:
    be = nn.backend("torch" if way == "torch.func" else "jax")
    model = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(2)).init((3,), backend=be, dtype="float32")
    x = be.asarray(np.ones((2, 3)), dtype="float32")
    before, theta, state = be.to_numpy(model(x)), model.theta, model.state

    def spoil(theta: Any) -> Any:
        if way == "jit, state":
            model.state = theta[: state.shape[0]]
        elif way == "jit, set_params":
            model.set_params({"0.bias": theta[:4]})
        else:
            model.theta = theta
        return model(x).sum()

    transform = {"grad": jax.grad, "torch.func": torch.func.grad}.get(way, jax.jit)
    with pytest.raises(ValueError, match=r"exists only inside the function.*model\.with_theta\(theta, state\)"):
        transform(spoil)(theta)
    assert model.theta is theta
    np.testing.assert_array_equal(be.to_numpy(model(x)), before)
    transform(lambda theta: model.with_theta(theta, 1.0 * model.state)(x).sum())(theta)  # as the message says


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_jax_finds_our_derivatives_also_at_zero(name: str) -> None:
    be = nn.backend("jax")
    layer, x = nn.Activation(name), be.asarray([[0.0, 1.0], [-1.0, 0.0], [100.0, -100.0]])
    dy = be.asarray(np.arange(6.0).reshape(3, 2))
    want = layer.forward({}, x, nn.Context()).pullback(dy)[0]
    got = jax.grad(lambda x: (layer.forward({}, x, nn.Context()).y * dy).sum())(x)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_a_penalty_on_named_parameters_is_differentiated() -> None:
    model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(3)).init((4,), backend="torch", dtype="float64")
    model.theta = torch.nn.Parameter(model.theta)
    penalty = sum((p**2).sum() for p in model.params.values())
    (gradient,) = torch.autograd.grad(penalty, model.theta)
    torch.testing.assert_close(gradient, 2 * model.theta.detach())


@pytest.mark.parametrize("call", [nn.value_and_grad, nn.training_step])
def test_targets_and_weights_with_a_record_are_refused_in_a_loop(call: Any) -> None:
    model = nn.Network(nn.Dense(3)).init((4,), backend="torch", dtype="float64")
    X, y, w = (torch.ones(shape, dtype=torch.float64) for shape in ((6, 4), (6, 3), (6,)))
    with pytest.raises(ValueError, match=r"y has a gradient record.*Pass y\.detach\(\)"):
        call(model, X, y.requires_grad_(), "mse")
    with pytest.raises(ValueError, match=r"sample_weight has a gradient record.*Pass sample_weight\.detach\(\)"):
        call(model, X, y.detach(), "mse", sample_weight=w.requires_grad_())
