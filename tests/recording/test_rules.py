"""Gradients of recorded functions: each rule against finite differences, against NumPy's, PyTorch's and JAX's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.backends import namespace
from nnarray.recording import grad, jvp, value_and_gradient
from nnarray.recording.traced import Traced
from tests.packages import package
from tests.recording.cases import CASES, Case, numbers
from tests.tolerances import as_called, close

torch = package("torch")

BY_NAME = {each.name: each for each in CASES}
H = 2.0**-17  # near the cube root of float64's eps: central differences are then right to about 1e-10
DIFFERENCES = 2e-7  # how far they may lie from a derivative, in parts of the largest one

# One of each kind: for libraries that compile, and for devices and dtypes that are not the default.
FEW = [
    "tanh (2, 3)",
    "divide (2, 1) (1, 3)",
    "pow of numbers",
    "clip by arrays",
    "var (0, 2) False",
    "max -1 True",
    "concat",
    "matmul (2, 3) (5, 3, 4)",
    "vector_norm 3",
]
MORE = ["solve", "sort", "prod with zeros", "cumulative_sum -1 False", "cumulative_prod 1 True"]
# What the library's own gradient lacks or says otherwise.
NOT_IN_TORCH = {
    "asarray of lists": "its numbers leave the record",
    "setitem": "its arrays are written to in place",
    "setitem into zeros": "its arrays are written to in place",
}
IN_JAX = [
    "where",
    "logaddexp (2, 3) (3,)",
    "std 0 True",
    "cumulative_prod with zeros",
    "eigh",
    "slogdet",
    "pinv",
    "cross",
]


def arrays(be: nn.Backend, case: Case) -> list[Any]:
    return [be.asarray(x) for x in case.arguments]


def loss(case: Case, be: nn.Backend) -> Callable[..., Any]:
    """One number: the sum of the results with weights that differ, as the derivatives of all of them are wanted."""
    weights = be.asarray(numbers(*value(case).shape, low=0.5, seed=9))

    def weighted(*x: Any) -> Any:
        xp = space(x)
        return xp.sum(case.f(xp, *(each if isinstance(each, Traced) else xp.asarray(each) for each in x)) * weights)

    return weighted


def space(x: tuple[Any, ...]) -> Any:
    """The namespace of the first one that is recorded, if one is."""
    return namespace(next((each for each in x if isinstance(each, Traced)), x[0]))


def along(case: Case, be: nn.Backend) -> Callable[..., Any]:
    """The derivative of the loss along a direction, whose gradient is the Hessian times this direction."""
    directions = [be.asarray(v) for v in directions_of(case)]
    of_loss = grad(loss(case, be), every(case))

    def product(*x: Any) -> Any:
        xp = namespace(x[0])
        return sum(xp.sum(g * v) for g, v in zip(of_loss(*x), directions, strict=True))

    return product


def directions_of(case: Case) -> list[np.ndarray]:
    return [numbers(*x.shape, seed=20 + i) for i, x in enumerate(case.arguments)]


def every(case: Case) -> tuple[int, ...]:
    return tuple(range(len(case.arguments)))


@cache
def value(case: Case) -> np.ndarray:
    """What NumPy computes from plain arrays."""
    return np.array(case.f(namespace(np.ones(1)), *case.arguments))


@cache
def gradients(case: Case) -> tuple[np.ndarray, ...]:
    return grad(loss(case, nn.backend("numpy")), every(case))(*case.arguments)


@cache
def second(case: Case) -> tuple[np.ndarray, ...]:
    return grad(along(case, nn.backend("numpy")), every(case))(*case.arguments)


def near(got: np.ndarray, want: np.ndarray) -> None:
    """Equal to the accuracy of finite differences."""
    assert got.shape == want.shape
    if want.size:
        assert np.abs(got - want).max() <= DIFFERENCES * max(np.abs(want).max(), 1)


def difference(f: Callable[..., np.ndarray], x: tuple[np.ndarray, ...], v: list[np.ndarray]) -> Any:
    """The central difference of f along v, which is f' v."""
    after, before = ([a + sign * H * b for a, b in zip(x, v, strict=True)] for sign in (1, -1))
    return (np.asarray(f(*after)) - np.asarray(f(*before))) / (2 * H)


# --- Against finite differences --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_first_derivatives_are_finite_differences(case: Case, host: nn.Backend) -> None:
    f = loss(case, host)
    for place, g in enumerate(gradients(case)):
        want = np.zeros_like(g)
        for at in np.ndindex(g.shape):
            units = [np.zeros_like(x) for x in case.arguments]
            units[place][at] = 1
            want[at] = difference(f, case.arguments, units)
        near(g, want)


@pytest.mark.parametrize("case", [each for each in CASES if each.second], ids=str)
def test_second_derivatives_are_differences_of_the_first(case: Case, host: nn.Backend) -> None:
    of_loss = grad(loss(case, host), every(case))
    for i, got in enumerate(second(case)):
        near(got, difference(lambda *x, i=i: of_loss(*x)[i], case.arguments, directions_of(case)))


# --- On every backend ------------------------------------------------------------------------------------------------


def check(case: Case, be: nn.Backend) -> None:
    """Value, first and second derivatives are NumPy's, and the value is that of the function without a recording."""
    x, v = arrays(be, case), [be.asarray(v) for v in directions_of(case)]
    dtype = "float64" if "float64" in be.dtypes else "float32"

    def f(*x: Any) -> Any:
        return case.f(namespace(x[0]), *x)

    y, along_v = as_called(be, lambda x, v: jvp(f, tuple(x), tuple(v)))(x, v)
    close(be.to_numpy(y), value(case), dtype, c=500)
    close(be.to_numpy(y), be.to_numpy(as_called(be, f)(*x)).astype(float), dtype, c=8)
    of_loss, got = as_called(be, value_and_gradient(loss(case, be), every(case)))(*x)
    assert (of_loss.dtype, of_loss.shape) == (x[0].dtype, ())
    hessian = as_called(be, grad(along(case, be), every(case)))(*x)
    for parts, wants in ((got, gradients(case)), (hessian, second(case))):
        for part, want, given in zip(parts, wants, x, strict=True):
            assert (part.dtype, type(part)) == (given.dtype, type(given))
            close_in_parts(be.to_numpy(part), want, dtype)
    weighted = (be.to_numpy(along_v) * numbers(*value(case).shape, low=0.5, seed=9)).sum()
    products = sum((g * u).sum() for g, u in zip(gradients(case), directions_of(case), strict=True))
    close_in_parts(np.asarray(weighted), np.asarray(products), dtype)


def close_in_parts(got: np.ndarray, want: np.ndarray, dtype: str) -> None:
    """Within 2,000 roundings of the largest number."""
    scale = max(np.abs(want).max(initial=0), 1)
    close(got.astype(float) / scale, want / scale, dtype, c=2000)


@pytest.mark.once_a_library
@pytest.mark.not_on("jax", "cupy")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_rule_gives_numpys_derivatives(be: nn.Backend, case: Case) -> None:
    check(case, be)


def test_one_rule_of_each_kind_gives_numpys_derivatives(be: nn.Backend) -> None:
    for name in FEW:
        check(BY_NAME[name], be)


@pytest.mark.not_on("cupy", "cupy:1")  # of whose CUDA the host has neither solvers nor scans
def test_one_rule_of_further_kinds_gives_numpys_derivatives(be: nn.Backend) -> None:
    for name in MORE:
        check(BY_NAME[name], be)


@pytest.mark.once_a_library
@pytest.mark.not_on("torch", "jax", "cupy")
@pytest.mark.parametrize("case", [each for each in CASES if len(each.arguments) > 1], ids=str)
def test_one_argument_is_differentiated_and_others_are_plain(be: nn.Backend, case: Case) -> None:
    x = arrays(be, case)
    f = loss(case, be)
    for i, v in enumerate(directions_of(case)):
        tangents = [be.asarray(v if i == j else np.zeros_like(given)) for j, given in enumerate(case.arguments)]
        _, want = jvp(grad(f, i), tuple(x), tuple(tangents))
        product = along_one(f, i, be.asarray(v))
        close_in_parts(be.to_numpy(grad(product, i)(*x)), be.to_numpy(want), "float64")


def along_one(f: Callable[..., Any], i: int, v: Any) -> Callable[..., Any]:
    """The derivative of f with respect to its argument i, along v."""
    return lambda *x: namespace(x[i]).sum(grad(f, i)(*x) * v)


# --- Against other libraries' own gradients --------------------------------------------------------------------------


@pytest.mark.parametrize("case", [each for each in CASES if each.name not in NOT_IN_TORCH], ids=str)
def test_gradients_are_pytorchs(case: Case) -> None:
    leaves = [torch.asarray(x, requires_grad=True) for x in case.arguments]
    y = case.f(namespace(leaves[0]), *leaves)
    weights = torch.asarray(numbers(*value(case).shape, low=0.5, seed=9))
    want = torch.autograd.grad((y * weights).sum(), leaves)
    for got, w in zip(gradients(case), want, strict=True):
        close_in_parts(got, w.numpy(), "float64")


def test_gradients_are_those_of_jax() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")
    for case in map(BY_NAME.__getitem__, IN_JAX):
        wants = as_called(be, jax.grad(loss(case, be), every(case)))(*arrays(be, case))
        for got, want in zip(gradients(case), wants, strict=True):
            close(got, np.asarray(want), "float64", c=2000)
