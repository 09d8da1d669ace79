"""Derivatives where a value is overwritten, a vector is not unique, a norm is 0, or a matrix is singular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.backends import namespace
from nnarray.recording import grad, hessian, hvp
from tests.tolerances import close

NAN, INF = np.nan, np.inf


def on(be: nn.Backend, x: Any) -> Any:
    return be.asarray(np.asarray(x, dtype=np.float64))


def at(be: nn.Backend, derivative: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """The derivative at these arrays, on the host."""
    with np.errstate(all="ignore"):
        return be.to_numpy(derivative(*(on(be, x) for x in arrays))).astype(float)


# --- Entries that are written more than once -------------------------------------------------------------------------


@pytest.mark.not_on("strict", "strict:device1", "strict:no_float64")  # which writes no entries by their numbers
def test_of_values_written_to_one_entry_the_last_one_counts(be: nn.Backend) -> None:
    key = be.asarray(np.asarray([1, 0, 1]))

    def of_rows(v: Any) -> Any:
        xp = namespace(v)
        y = xp.zeros((2, 2), dtype=v.dtype)
        y[key] = v
        return xp.sum(y * y)

    rows = [[1.0, 2], [3, 4], [5, 6]]
    close(at(be, grad(of_rows), rows), np.asarray([[0.0, 0], [6, 8], [10, 12]]), "float64")
    close(at(be, grad(of_rows), [1.0, 2]), np.asarray([4.0, 8]), "float64")  # a row that is broadcast
    close(at(be, hessian(of_rows), [1.0, 2]), 4 * np.eye(2), "float64")


@pytest.mark.not_on("strict", "strict:device1", "strict:no_float64")
def test_what_was_there_before_repeated_writes_has_no_gradient(be: nn.Backend) -> None:
    key = be.asarray(np.asarray([0, 0]))

    def f(x: Any) -> Any:
        y = x * 1.0
        y[key] = x**2
        return namespace(x).sum(y * on(be, [3.0, 5.0]))

    close(at(be, grad(f), [1.0, 2.0]), np.asarray([0.0, 12 + 5]), "float64")


# --- Many entries, and none ------------------------------------------------------------------------------------------


@pytest.mark.half_precision
def test_means_of_more_entries_than_float16_counts(be: nn.Backend) -> None:
    x = be.asarray(np.repeat([0.0, 2.0], 50_000).astype(np.float32), dtype="float16")
    mean = be.to_numpy(grad(lambda x: namespace(x).mean(x) * 1000.0)(x)).astype(float)
    close(mean, np.full(100_000, 0.01), "float16", c=0.1)
    with np.errstate(all="ignore"):  # NumPy's own variance overflows
        var = be.to_numpy(grad(lambda x: namespace(x).var(x) * 1000.0)(x)).astype(float)
    close(var, np.repeat([-0.02, 0.02], 50_000), "float16", c=0.1)


def check_ties(be: nn.Backend, of: Callable[..., Any]) -> None:
    x = be.asarray(np.zeros(2**17, dtype=np.float32), dtype="float16")
    found = be.to_numpy(grad(lambda x: 1024.0 * of(namespace(x), x))(x)).astype(float)
    close(found, np.full(2**17, 2.0**-7), "float16", c=0.01)


@pytest.mark.half_precision
def test_more_equal_extremes_than_float16_counts(be: nn.Backend) -> None:
    check_ties(be, lambda xp, x: xp.max(x))
    check_ties(be, lambda xp, x: xp.min(xp.reshape(x, (-1, 1)), axis=0)[0])


@pytest.mark.half_precision
@pytest.mark.not_on("cupy", "cupy:1")  # of whose CUDA the host has no scans
def test_more_equal_neighbours_than_float16_counts(be: nn.Backend) -> None:
    check_ties(be, lambda xp, x: xp.mean(xp.sort(x)))


@pytest.mark.filterwarnings("ignore:.*[Dd]egrees of freedom")
@pytest.mark.parametrize("correction", [1, 1.0])
def test_without_degrees_of_freedom_the_gradient_is_nan(be: nn.Backend, correction: float) -> None:
    for name in ("var", "std"):
        found = at(be, grad(lambda x, name=name: getattr(namespace(x), name)(x, correction=correction)), [1.0])
        close(found, np.asarray([NAN]), "float64")


@pytest.mark.once_a_library
def test_a_product_of_many_matrices_without_columns(be: nn.Backend) -> None:
    a = on(be, np.ones((2, 3, 0)))
    found = at(be, grad(lambda b: namespace(b).sum(namespace(b).matmul(a, b))), np.ones((0, 4)))
    assert found.shape == (0, 4)


# --- Functions of entries --------------------------------------------------------------------------------------------

POINTS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "exponents of 0": (lambda xp, x: 0.0**x, [0.0, 1, 2], [0, 0, 0]),
    "logaddexp of -inf": (lambda xp, x: xp.logaddexp(x[0], x[1]), [-INF, -INF], [0.5, 0.5]),
    "logaddexp of inf": (lambda xp, x: xp.logaddexp(x[0], x[1]), [INF, INF], [0.5, 0.5]),
    "logaddexp of inf and a number": (lambda xp, x: xp.logaddexp(x[0], x[1]), [INF, 0.0], [1, 0]),
    "logaddexp of nan": (lambda xp, x: xp.logaddexp(x[0], x[1]), [NAN, 0.0], [NAN, NAN]),
}  # fmt: skip


@pytest.mark.once_a_library
@pytest.mark.parametrize("name", POINTS)
def test_functions_of_entries(be: nn.Backend, name: str) -> None:
    f, x, want = POINTS[name]
    found = at(be, grad(lambda x: namespace(x).sum(f(namespace(x), x))), x)
    close(found, np.asarray(want, dtype=float), "float64")


@pytest.mark.once_a_library
def test_the_quotient_of_a_remainder_is_that_of_its_value(be: nn.Backend) -> None:
    """1 / 0.1 is 10, but some libraries give a remainder of almost 0.1, which belongs to 9."""
    x, y = np.asarray([1.0, 7.5, -7.5]), np.asarray([0.1, 2.0, 2.0])
    quotient = np.round((x - be.to_numpy(be.xp.remainder(on(be, x), on(be, y)))) / y)
    found = at(be, grad(lambda y: namespace(y).sum(namespace(y).remainder(on(be, x), y))), y)
    close(found, -quotient, "float64")


@pytest.mark.once_a_library
def test_second_derivatives_of_logaddexp_at_equal_numbers(be: nn.Backend) -> None:
    found = at(be, hessian(lambda x: namespace(x).logaddexp(x[0], x[1])), [1.0, 1.0])
    close(found, np.asarray([[0.25, -0.25], [-0.25, 0.25]]), "float64")


# --- Norms, determinants, eigenvalues and singular values -------------------------------------------------------------


@pytest.mark.once_a_library
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("norm", [lambda xp, x: xp.linalg.vector_norm(x), lambda xp, x: xp.hypot(x[0], x[1]),
                                  lambda xp, x: xp.std(x)])  # fmt: skip
def test_a_norm_at_0_has_a_gradient_of_0_and_no_second_derivative(be: nn.Backend, norm: Any, power: int) -> None:
    def f(x: Any) -> Any:
        return norm(namespace(x), x) ** power

    close(at(be, grad(f), [0.0, 0]), np.zeros(2), "float64")
    close(np.diagonal(at(be, hessian(f), [0.0, 0])), np.full(2, NAN), "float64")


@pytest.mark.once_a_library
@pytest.mark.not_on("cupy")
@pytest.mark.parametrize("size", [1, 2, 3])
def test_determinants_of_singular_matrices(be: nn.Backend, size: int) -> None:
    def det(a: Any) -> Any:
        return namespace(a).sum(namespace(a).linalg.det(a))

    regular = np.random.default_rng(0).normal(size=(2, size, size))
    want = np.linalg.det(regular)[:, None, None] * np.swapaxes(np.linalg.inv(regular), -1, -2)
    close(at(be, grad(det), regular), want, "float64")
    cofactors = {1: [[1.0]], 2: [[3.0, -2], [-1, 0]], 3: [[-3.0, 6, -3], [6, -12, 6], [-3, 6, -3]]}
    singular = np.asarray([[0.0, 1], [2, 3]]) if size == 2 else np.arange(size**2).reshape(size, size)
    close(at(be, grad(det), singular), np.asarray(cofactors[size]), "float64")
    if size > 1:  # a polynomial, of which the second derivative at 0 is that of the 2 x 2 one
        v = np.zeros((size, size))
        v[0, 0] = 1.0
        along = at(be, lambda a, v: hvp(det, a, v), np.eye(size), v)
        close(along, np.eye(size) - v, "float64")


@pytest.mark.once_a_library
@pytest.mark.not_on("cupy")
def test_norms_of_matrices_of_a_lower_rank(be: nn.Backend) -> None:
    a = np.diag([2.0, 0.0])
    for shape in (2, 2), (3, 2), (2, 3):
        matrix = np.zeros(shape)
        matrix[:2, :2] = a
        found = at(be, grad(lambda x: namespace(x).linalg.matrix_norm(x, ord=2)), matrix)
        close(found, (matrix > 0).astype(float), "float64")


@pytest.mark.once_a_library
@pytest.mark.not_on("cupy")
@pytest.mark.parametrize("values", ["eigvalsh", "svdvals"])
def test_second_derivatives_at_equal_eigenvalues_are_nan(be: nn.Backend, values: str) -> None:
    def f(a: Any) -> Any:
        xp = namespace(a)
        return xp.sum(getattr(xp.linalg, values)(0.5 * (a + xp.matrix_transpose(a))) ** 2)

    v = np.asarray([[1.0, 2], [2, 4]])
    close(at(be, grad(f), np.eye(2)), 2 * np.eye(2), "float64")
    close(at(be, lambda a, v: hvp(f, a, v), np.diag([1.0, 2.0]), v), 2 * v, "float64")
    close(at(be, lambda a, v: hvp(f, a, v), [[1.0, 1e-4], [1e-4, 1.0]], v), 2 * v, "float64", c=1e5)  # nearly equal
    assert np.isnan(at(be, lambda a, v: hvp(f, a, v), np.eye(2), v)).all()
