"""Gradients of functions: trees, several arguments, nesting, products with Jacobians and Hessians, compiled and not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.kernels.compilation import compiled

X = np.asarray([[0.3, -0.7, 1.1], [0.9, 0.4, -0.2]])
W = np.asarray([[0.5, -0.4], [0.2, 0.8], [-0.9, 0.1]])


def placed(be: nn.Backend, *arrays: Any) -> list[Any]:
    """On the backend, in its widest dtype."""
    return [be.asarray(np.asarray(a, dtype=float), dtype=widest(be)) for a in arrays]


def widest(be: nn.Backend) -> str:
    return "float64" if "float64" in be.dtypes else "float32"


def same(be: nn.Backend, got: Any, want: Any) -> None:
    """The same library, device, dtype and numbers."""
    assert nn.namespace(got) is be.xp
    assert nn.device_of(got) == nn.device_of(be.asarray([0.0]))
    assert got.dtype == be.dtype(widest(be))
    nn.testing.assert_close(got, np.asarray(want))


def layer(p: Any, x: Any) -> Any:
    xp = nn.namespace(p["w"])
    return xp.tanh(xp.matmul(x, p["w"]) + p["b"])


def loss(p: Any, x: Any) -> Any:
    xp = nn.namespace(p["w"])
    return xp.sum(layer(p, x) ** 2)


def by_hand(w: np.ndarray, b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y = np.tanh(x @ w + b)
    dz = 2.0 * y * (1.0 - y * y)
    return x.T @ dz, dz.sum(axis=0), dz @ w.T


def test_trees_and_argnums(be: nn.Backend) -> None:
    x, w, b = placed(be, X, W, [0.1, -0.2])
    dw, db, dx = by_hand(W, np.asarray([0.1, -0.2]), X)
    tree = {"w": w, "b": b}
    got = nn.grad(loss)(tree, x)
    same(be, got["w"], dw)
    same(be, got["b"], db)
    assert list(got) == ["w", "b"]
    value, (of_tree, of_x) = nn.value_and_grad(loss, argnums=(0, 1))(tree, x)
    same(be, value, (np.tanh(X @ W + [0.1, -0.2]) ** 2).sum())
    same(be, of_tree["b"], db)
    same(be, of_x, dx)
    same(be, nn.grad(loss, argnums=-1)(tree, x), dx)
    pair = nn.grad(lambda p, x: loss({"w": p[0], "b": p[1][0]}, x))((w, [b, None]), x)
    assert type(pair) is tuple
    same(be, pair[1][0], db)
    assert pair[1][1] is None


def test_functions_may_come_from_any_argument(be: nn.Backend) -> None:
    x, w = placed(be, [1.0, 2.0], [0.5, -1.0])
    f = lambda w, x, rows: nn.namespace(x[0]).sum(w * x[0][rows, ...])  # noqa: E731
    same(be, nn.grad(f)(w, (x, None), slice(None)), [1.0, 2.0])


def test_settings_by_name_and_results_without_gradients(be: nn.Backend) -> None:
    (x,) = placed(be, [1.0, 2.0])

    def f(x: Any, *, power: int) -> Any:
        y = x**power
        return nn.namespace(x).sum(y), {"y": y, "n": power}

    gradient, results = nn.grad(f, has_aux=True)(x, power=3)
    same(be, gradient, [3.0, 12.0])
    same(be, results["y"], [1.0, 8.0])
    assert results["n"] == 3
    (value, _), again = nn.value_and_grad(f, has_aux=True)(x, power=3)
    same(be, value, 9.0)
    same(be, again, gradient_of(be, gradient))


def gradient_of(be: nn.Backend, x: Any) -> np.ndarray:
    return np.asarray(be.to_numpy(x))


def test_nested(be: nn.Backend) -> None:
    (x,) = placed(be, 0.5)
    f = lambda x: nn.namespace(x).sin(x) * x  # noqa: E731
    second = 2 * np.cos(0.5) - 0.5 * np.sin(0.5)
    same(be, nn.grad(nn.grad(f))(x), second)
    same(be, nn.grad(nn.grad(nn.grad(f)))(x), -3 * np.sin(0.5) - 0.5 * np.cos(0.5))
    inner = nn.grad(lambda x: x * nn.grad(lambda y: x * y * y)(x))  # of x (2 x^2)
    same(be, inner(x), 6 * 0.5**2)
    constant = nn.grad(lambda x: x * nn.stop_gradient(nn.grad(f)(x)))
    same(be, constant(x), np.cos(0.5) * 0.5 + np.sin(0.5))


@pytest.mark.parametrize("what", [nn.grad, nn.hessian, nn.value_and_grad])
def test_compiled(be: nn.Backend, what: Any) -> None:
    x, w, b = placed(be, X, W, [0.1, -0.2])
    f = what(lambda w: loss({"w": w, "b": b}, x))
    got, want = compiled(f, w)(w), f(w)
    for a, each in zip(*((g if isinstance(g, tuple) else (g,)) for g in (got, want)), strict=True):
        same(be, a, gradient_of(be, each))


def test_vjp_twice(be: nn.Backend) -> None:
    x, w, b, g = placed(be, X, W, [0.1, -0.2], [[1.0, 0.5], [-2.0, 3.0]])
    y, pullback = nn.vjp(layer, {"w": w, "b": b}, x)
    same(be, y, np.tanh(X @ W + [0.1, -0.2]))
    first, again, double = pullback(g), pullback(g), pullback(2.0 * g)
    dz = gradient_of(be, g) * (1.0 - gradient_of(be, y) ** 2)
    same(be, first[0]["w"], X.T @ dz)
    same(be, first[1], dz @ W.T)
    assert gradient_of(be, first[1]).tolist() == gradient_of(be, again[1]).tolist()
    same(be, double[1], 2.0 * dz @ W.T)


def test_results_that_are_trees_and_constants(be: nn.Backend) -> None:
    (x,) = placed(be, [1.0, 2.0])
    y, pullback = nn.vjp(lambda x: {"a": x * x, "b": (x[0], nn.namespace(x).ones_like(x))}, x)
    same(be, y["b"][0], 1.0)
    one, zeros = placed(be, 1.0, [0.0, 0.0])
    (dx,) = pullback({"b": (one, zeros), "a": x})  # another order of names
    same(be, dx, [3.0, 8.0])
    J = nn.jacobian(lambda x: {"a": x * x, "b": x[0]})(x)
    same(be, J["a"], [[2.0, 0.0], [0.0, 4.0]])
    same(be, J["b"], [1.0, 0.0])
    assert nn.jacobian(lambda x: x[:0])(x).shape == (0, 2)


def test_jvp_against_finite_differences(be: nn.Backend) -> None:
    x, w, b = placed(be, X, W, [0.1, -0.2])
    u, v = np.cos(X), np.sin(W)
    tx, tw, tb = placed(be, u, v, [0.0, 0.0])
    y, dy = nn.jvp(lambda w, b, x: layer({"w": w, "b": b}, x), (w, b, x), (tw, tb, tx))
    h = 1e-6
    ends = [np.tanh((X + s * h * u) @ (W + s * h * v) + [0.1, -0.2]) for s in (1, -1)]
    same(be, y, np.tanh(X @ W + [0.1, -0.2]))
    np.testing.assert_allclose(gradient_of(be, dy), (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-6)


def test_hvp_is_hessian_times_v(be: nn.Backend) -> None:
    x, w, b, v = placed(be, X, W, [0.1, -0.2], np.cos(W))
    f = lambda w: loss({"w": w, "b": b}, x)  # noqa: E731
    H = gradient_of(be, nn.hessian(f)(w))
    assert H.shape == (3, 2, 3, 2)
    np.testing.assert_allclose(H.reshape(6, 6), H.reshape(6, 6).T, rtol=1e-5, atol=1e-6)
    same(be, nn.hvp(f, w, v), np.tensordot(H, np.cos(W), 2))
    trees = nn.hvp(lambda p: loss(p, x), {"w": w, "b": b}, {"w": v, "b": b})
    both = nn.hessian(lambda p: loss(p, x))({"w": w, "b": b})
    want = np.tensordot(gradient_of(be, both["b"]["w"]), np.cos(W), 2) + gradient_of(be, both["b"]["b"]) @ [0.1, -0.2]
    same(be, trees["b"], want)


def test_a_gradient_of_ones_own(be: nn.Backend) -> None:
    x, y = placed(be, [0.5, 1.0], [2.0, 3.0])
    calls = []

    @nn.custom_gradient
    def product(pair: Any, n: int) -> Any:
        def pullback(g: Any) -> Any:
            calls.append(1)
            return (3.0 * g * pair[1], g * pair[0]), None

        return n * pair[0] * pair[1], pullback

    f = lambda x, y: nn.namespace(x).sum(product((x, y), 1))  # noqa: E731
    dx, dy = nn.grad(f, argnums=(0, 1))(x, y)
    same(be, dx, [6.0, 9.0])  # three times the true one
    same(be, dy, [0.5, 1.0])
    assert len(calls) == 1
    same(be, product((x, y), 1), [1.0, 3.0])
    same(be, nn.jacobian(nn.grad(f), argnums=1)(x, y), [[3.0, 0.0], [0.0, 3.0]])


def test_recomputed_gradients_are_the_same(be: nn.Backend) -> None:
    x, w, b = placed(be, X, W, [0.1, -0.2])
    calls = []

    def block(p: Any, x: Any, rows: Any) -> Any:
        calls.append(1)
        return layer(p, nn.namespace(x).take(x, rows, axis=0))

    def f(g: Any) -> Any:
        return lambda p, x: nn.namespace(x).sum(g(p, x, be.asarray([1, 0, 1])) ** 3)

    tree = {"w": w, "b": b}
    want = nn.grad(f(block), argnums=(0, 1))(tree, x)
    assert len(calls) == 1
    got = nn.grad(f(nn.recompute(block)), argnums=(0, 1))(tree, x)
    assert len(calls) == 3
    for a, each in ((got[0]["w"], want[0]["w"]), (got[0]["b"], want[0]["b"]), (got[1], want[1])):
        assert gradient_of(be, a).tolist() == gradient_of(be, each).tolist()


def test_outputs_and_losses_of_a_model(be: nn.Backend) -> None:
    dtype = widest(be)
    net = nn.Network(nn.Dense(4, "tanh"), nn.BatchNorm(), nn.Residual(nn.Dense(4, "gelu")), nn.Dense(2))
    model = net.init((3,), seed=1, backend=be, dtype=dtype)
    (x,), labels = placed(be, X), be.asarray([1, 0])
    _, want = nn.value_and_grad(model, x, labels, "cross_entropy")
    of_loss = lambda theta: nn.losses.CrossEntropy()(model.with_theta(theta)(x), labels)  # noqa: E731
    same(be, nn.grad(of_loss)(model.theta), gradient_of(be, want))
    of_inputs = nn.grad(lambda x: nn.namespace(x).sum(model(x)[:, 1]))(x)
    same(be, of_inputs, gradient_of(be, model.input_gradient(x, be.asarray([1, 1]))))
    v = be.xp.ones_like(model.theta)
    product = gradient_of(be, nn.hvp(of_loss, model.theta, v))
    if dtype == "float64":
        h = 1e-5
        ends = [gradient_of(be, nn.grad(of_loss)(model.theta + s * h)) for s in (1, -1)]
        np.testing.assert_allclose(product, (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-7)


ONE = np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.grad(3), TypeError, r"must be a function; got 3\. .*nn\.grad\(f\)\(x\)"),
        (lambda: nn.vjp(3, ONE), TypeError, "must be a function; got 3"),
        (lambda: nn.grad(lambda x: x)(ONE), ValueError, r"one number; got an array of shape \(3,\).*nn\.jacobian"),
        (lambda: nn.grad(lambda x: 2)(ONE), TypeError, "an array of one number, its loss; got 2.*has_aux"),
        (lambda: nn.grad(lambda x: x.sum())(2.0), TypeError, r"with respect to arrays; got 2\.0"),
        (lambda: nn.grad(lambda x: x)(np.arange(3)), TypeError, "real floating numbers; got an array of int64"),
        (lambda: nn.grad(lambda x: x)(ONE + 1j), TypeError, "complex numbers are not supported"),
        (lambda: nn.grad(lambda x: x, argnums=1)(ONE), ValueError, r"positions of the 1 arguments, from 0; got 1"),
        (lambda: nn.grad(lambda x: x, argnums=(0, 0))(ONE), ValueError, r"different positions.*got \(0, 0\)"),
        (lambda: nn.grad(lambda x: x, argnums="x")(ONE), TypeError, "an integer or a tuple of integers; got 'x'"),
        (lambda: nn.grad(lambda x: x[0], has_aux=True)(ONE), TypeError, r"a pair, \(loss, results\); got Traced"),
        (lambda: nn.vjp(lambda x: x, ONE)[1](np.ones(1)), ValueError, r"shape \(3,\); got \(1,\).*broadcast_to"),
        (lambda: nn.vjp(lambda x: (x, x), ONE)[1](ONE), ValueError, "a tuple of 2 parts"),
        (lambda: nn.jvp(lambda x: x, ONE, (ONE,)), TypeError, r"arguments must be a tuple.*\(x,\)"),
        (lambda: nn.jvp(lambda x: x, (ONE,), (ONE[:1],)), ValueError, r"a tangent must have its shape \(3,\); got"),
        (lambda: nn.hvp(lambda x: x[0], ONE, ONE[:2]), ValueError, r"v must have its shape \(3,\); got \(2,\)"),
        (lambda: nn.custom_gradient(lambda x: x)(ONE), TypeError, r"must return a pair, \(y, pullback\)"),
        (
            lambda: nn.grad(nn.custom_gradient(lambda x, y: (x[0] * y[0], lambda g: g)))(ONE, ONE),
            TypeError,
            "with 2 arguments must return a gradient for each.*None",
        ),
        (lambda: nn.value_and_grad(np.sum, ONE, ONE), TypeError, "returns a function"),
        (lambda: nn.grad(lambda x: float(x[0]))(ONE), TypeError, r"float\(x\) would take the number out"),
    ],
)
def test_wrong_calls(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_model_needs_examples() -> None:
    model = nn.Network(nn.Dense(2)).init((3,))
    with pytest.raises(TypeError, match=r"missing the argument X.*value_and_grad\(model, X, y\)"):
        nn.value_and_grad(model)  # pyright: ignore[reportCallIssue]
