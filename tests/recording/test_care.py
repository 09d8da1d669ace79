"""Gradients of recorded functions where care is needed: ties, zeros, branches, indices, dtypes, memory, threads."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.backends import namespace
from nnarray.recording import custom_gradient, grad, hessian, jvp, stop_gradient, value_and_gradient, vjp
from nnarray.recording.traced import Traced, stripped
from tests.tolerances import close

NAN, INF = np.nan, np.inf


def of_sum(f: Callable[..., Any]) -> Callable[..., Any]:
    """The sum of f(xp, x)."""

    def summed(x: Any) -> Any:
        xp = namespace(x)
        return xp.sum(f(xp, x))

    return summed


def gradient(be: nn.Backend, f: Callable[..., Any], x: Any) -> np.ndarray:
    with np.errstate(all="ignore"):  # what the function itself would warn of
        return be.to_numpy(grad(of_sum(f))(be.asarray(np.asarray(x, dtype=np.float64)))).astype(float)


def hessian_of(be: nn.Backend, f: Callable[..., Any], x: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return be.to_numpy(hessian(of_sum(f))(be.asarray(np.asarray(x, dtype=np.float64)))).astype(float)


# --- Ties, borders, zeros --------------------------------------------------------------------------------------------

POINTS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "max shares": (lambda xp, x: xp.max(x), [1.0, 3, 3, 3], [0, 1 / 3, 1 / 3, 1 / 3]),
    "max shares along an axis": (lambda xp, x: xp.max(x, axis=1), [[2.0, 2], [1, 2]], [[0.5, 0.5], [0, 1]]),
    "min shares": (lambda xp, x: xp.min(x), [1.0, 1, 3], [0.5, 0.5, 0]),
    "maximum shares": (lambda xp, x: xp.maximum(x, xp.zeros_like(x)), [-1.0, 0, 1], [0, 0.5, 1]),
    "maximum of itself": (lambda xp, x: xp.maximum(x, x), [-1.0, 0], [1, 1]),
    "maximum of a number": (lambda xp, x: xp.maximum(x, 0.0), [-1.0, 0, 1], [0, 0.5, 1]),
    "minimum shares": (lambda xp, x: xp.minimum(x, xp.zeros_like(x)), [-1.0, 0, 1], [1, 0.5, 0]),
    "clip at its borders": (lambda xp, x: xp.clip(x, -1, 1), [-2.0, -1, 0, 1, 2], [0, 1, 1, 1, 0]),
    "abs": (lambda xp, x: xp.abs(x), [-1.0, 0, 1], [-1, 0, 1]),
    "norm": (lambda xp, x: xp.linalg.vector_norm(x), [0.0, 0], [0, 0]),
    "norm of rows": (lambda xp, x: xp.linalg.vector_norm(x, axis=1), [[0.0, 0], [3, 4]], [[0, 0], [0.6, 0.8]]),
    "norm of a matrix": (lambda xp, x: xp.linalg.matrix_norm(x), [[0.0, 0], [0, 0]], [[0, 0], [0, 0]]),
    "std": (lambda xp, x: xp.std(x), [2.0, 2], [0, 0]),
    "hypot": (lambda xp, x: xp.hypot(x, xp.zeros_like(x)), [0.0, -2], [0, -1]),
    "square": (lambda xp, x: x**2, [0.0, 3], [0, 6]),
    "power 1": (lambda xp, x: x**1, [0.0, 3], [1, 1]),
    "power 0": (lambda xp, x: x**0, [0.0, 3], [0, 0]),
    "power of a negative number": (lambda xp, x: x**3, [-2.0], [12]),
    "exponent of 0": (lambda xp, x: 0.0**x, [2.0], [0]),
    "exponent of an array with 0": (lambda xp, x: xp.pow(xp.asarray([0.0, 1.0]), x), [2.0, 2.0], [0, 0]),
    "root": (lambda xp, x: xp.sqrt(x), [0.0, 4], [INF, 0.25]),
    "root times 0": (lambda xp, x: xp.sqrt(x) * 0.0, [0.0, 4], [0, 0]),
    "root of a square": (lambda xp, x: xp.sqrt(xp.sum(x * x)), [0.0, 0], [0, 0]),
    "log": (lambda xp, x: xp.log(x), [0.0, 2], [INF, 0.5]),
    "log times 0": (lambda xp, x: 0.0 * xp.log(x), [0.0, 2], [0, 0]),
    "logaddexp of infinities": (lambda xp, x: xp.logaddexp(x, xp.zeros_like(x)), [-INF, 0.0], [0, 0.5]),
    # A branch that is not taken gives nothing, whatever it is.
    "where log": (lambda xp, x: xp.where(x > 0, xp.log(x), x), [-1.0, 0, 2], [1, 1, 0.5]),
    "where root": (lambda xp, x: xp.where(x > 0, xp.sqrt(x), 0.0), [-1.0, 0, 4], [0, 0, 0.25]),
    "where power": (lambda xp, x: xp.where(x > 0, x**0.5, 0.0), [-1.0, 0, 4], [0, 0, 0.25]),
    "where quotient": (lambda xp, x: xp.where(x != 0, 1 / x, x), [0.0, 2], [1, -0.25]),
    "where x / x": (lambda xp, x: xp.where(x != 0, xp.sin(x) / x, 1.0), [0.0], [0]),
    "where entropy": (lambda xp, x: xp.where(x > 0, x * xp.log(x), 0.0), [0.0, 1], [0, 1]),
    "where product with inf": (lambda xp, x: xp.where(x < 9, x, x * INF), [0.0, 1], [1, 1]),
    "where arc": (lambda xp, x: xp.where(xp.abs(x) < 1, xp.asin(x), x), [1.0, 2, 0], [1, 1, 1]),
    "where norm": (lambda xp, x: xp.where(xp.linalg.vector_norm(x) > 0, xp.sum(x / xp.linalg.vector_norm(x)), 0.0),
                   [0.0, 0], [0, 0]),
}  # fmt: skip
SCANS = {
    "products with two zeros": (lambda xp, x: xp.prod(x), [0.0, 0, 3], [0, 0, 0]),

    "sum of products": (lambda xp, x: xp.prod(x), [0.0, 2, 3], [6, 0, 0]),
"sort shares": (lambda xp, x: xp.sort(x)[-1] * 4, [3.0, 1, 3], [2, 0, 2]),
    "sort of rows": (lambda xp, x: xp.sort(x, axis=0)[0, :], [[2.0, 1], [2, 0]], [[0.5, 0], [0.5, 1]]),
    "cumulative product": (lambda xp, x: xp.cumulative_prod(x), [0.0, 2, 0, 3], [3, 0, 0, 0])}  # fmt: skip


@pytest.mark.once_a_library
@pytest.mark.not_on("jax", "cupy")  # below, all at once; a compilation for each point
@pytest.mark.parametrize("name", POINTS)
def test_first_derivatives_at_points_that_need_care(be: nn.Backend, name: str) -> None:
    f, x, want = POINTS[name]
    close(gradient(be, f, x), np.asarray(want, dtype=float), "float64")


@pytest.mark.once_a_library
@pytest.mark.not_on("jax", "cupy")
@pytest.mark.parametrize("name", SCANS)
def test_first_derivatives_of_what_is_in_an_order(be: nn.Backend, name: str) -> None:
    f, x, want = SCANS[name]
    close(gradient(be, f, x), np.asarray(want, dtype=float), "float64")


def test_jax_takes_the_same_care() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")
    few = [
        "max shares",
        "clip at its borders",
        "norm",
        "root of a square",
        "where log",
        "where entropy",
        "where quotient",
    ]
    all_at_once = jax.jit(lambda xs: [grad(of_sum(POINTS[name][0]))(x) for name, x in zip(few, xs, strict=True)])
    found = all_at_once([be.asarray(np.asarray(POINTS[name][1], dtype=np.float64)) for name in few])
    for name, got in zip(few, found, strict=True):
        close(be.to_numpy(got), np.asarray(POINTS[name][2], dtype=float), "float64")


@pytest.mark.parametrize(
    ("f", "x", "want"),
    [
        (lambda xp, x: x**2, [0.0, 1], [2, 2]),
        (lambda xp, x: x**3, [0.0, 1], [0, 6]),
        (lambda xp, x: x**1, [0.0, 1], [0, 0]),
        (lambda xp, x: x**0, [0.0, 1], [0, 0]),
        (lambda xp, x: xp.square(x), [0.0, 1], [2, 2]),
        (lambda xp, x: xp.where(x > 0, xp.log(x), x * x), [-1.0, 0, 2], [2, 2, -0.25]),
        (lambda xp, x: xp.where(x > 0, xp.sqrt(x), x * x), [-1.0, 0, 4], [2, 2, -1 / 32]),
        (lambda xp, x: xp.where(x > 0, x * xp.log(x), 0.0), [0.0, 2], [0, 0.5]),
        (lambda xp, x: xp.where(x != 0, 1 / x, x), [0.0, 2], [0, 0.25]),
        (lambda xp, x: xp.where(x > 0, x**0.5, 0.0), [-1.0, 0, 4], [0, 0, -1 / 32]),
        (lambda xp, x: xp.sqrt(xp.sum(x * x)) * 0.0, [0.0, 0], [0, 0]),
    ],
)  # fmt: skip
@pytest.mark.once_a_library
@pytest.mark.not_on("jax", "cupy")
def test_second_derivatives_at_zeros_and_of_dead_branches(be: nn.Backend, f: Any, x: Any, want: Any) -> None:
    close(hessian_of(be, f, x), np.diag(np.asarray(want, dtype=float)), "float64")


# --- Dtypes, shapes, indices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_python_numbers_do_not_widen(be: nn.Backend, dtype: str) -> None:
    if dtype not in be.dtypes:
        return
    x = be.asarray(np.asarray([0.5, 1.5], dtype=np.float32), dtype=dtype)

    def f(x: Any) -> Any:
        xp = namespace(x)
        y = 2 * x - x / 3 + 1.5**x + xp.maximum(x, 1.0) + xp.where(x > 1, 0.25, x) + xp.clip(x, 0.0, 1.0) + x**2
        return xp.mean(y) + 3

    value, g = value_and_gradient(f)(x)
    assert (value.dtype, g.dtype) == (x.dtype, x.dtype)
    want = 0.5 * np.asarray([2 - 1 / 3 + 1.5**0.5 * np.log(1.5) + 2 + 1, 2 - 1 / 3 + 1.5**1.5 * np.log(1.5) + 1 + 3])
    close(be.to_numpy(g).astype(float), want, dtype, c=8)


def test_a_sum_in_another_dtype_returns_to_that_of_x(be: nn.Backend) -> None:
    x = be.asarray(np.ones(3, dtype=np.float32))
    wide = be.asarray(1.0).dtype if "float64" not in be.dtypes else be.xp.float64
    g = grad(lambda x: namespace(x).sum(x * x, dtype=wide))(x)
    assert g.dtype == x.dtype
    close(be.to_numpy(g), np.full(3, 2.0), "float32")


@pytest.mark.once_a_library
@pytest.mark.not_on("jax")
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0), (1,), (1, 1)])
def test_arrays_of_no_axes_and_of_no_entries(be: nn.Backend, shape: tuple[int, ...]) -> None:
    def f(xp: Any, x: Any) -> Any:
        flat = xp.reshape(x, (-1,))
        y = xp.sum(xp.tanh(x) * x) + xp.sum(xp.concat([flat, flat, xp.ones_like(flat)]))
        return (
            y + xp.sum(xp.where(x > 0, x, 0.0)) + xp.sum(xp.stack([x, x])) + xp.sum(xp.flip(x)) + xp.sum(x[..., None])
        )

    x = np.full(shape, 0.5)
    got = gradient(be, f, x)
    assert got.shape == shape
    close(got, np.full(shape, np.tanh(0.5) + 0.5 * (1 - np.tanh(0.5) ** 2) + 7), "float64")


@pytest.mark.once_a_library
@pytest.mark.not_on("jax")
def test_products_of_empty_matrices(be: nn.Backend) -> None:
    for rows, inner, columns in ((0, 3, 2), (2, 0, 3), (2, 3, 0)):
        a, b = (be.asarray(np.ones(shape)) for shape in ((rows, inner), (inner, columns)))
        da, db = grad(lambda a, b: namespace(a).sum(a @ b), (0, 1))(a, b)
        close(be.to_numpy(da), np.full((rows, inner), float(columns)), "float64")
        close(be.to_numpy(db), np.full((inner, columns), float(rows)), "float64")


KEYS = {
    "a number": lambda xp: (1, ...),
    "a negative number": lambda xp: (-1, ...),
    "a slice": lambda xp: (slice(None, None, 2), slice(1, None)),
    "new axes": lambda xp: (None, ..., None, 1),
    "pairs": lambda xp: (xp.asarray([2, 0, 2]), xp.asarray([1, 1, 1])),
    "a mask of everything": lambda xp: xp.asarray([[True, False], [False, False], [True, True]]),
    "nothing": lambda xp: (slice(0, 0), ...),
}
FURTHER = {  # more than the standard has
    "integers": lambda xp: (xp.asarray([2, 0]), ...),
    "integers again and again": lambda xp: (xp.asarray([[2, 0], [2, -1]]), ...),
    "small integers": lambda xp: (xp.asarray([1, 1], dtype=xp.int32), ...),
    "a mask": lambda xp: (xp.asarray([True, False, True]), ...),
}


@pytest.mark.once_a_library
@pytest.mark.not_on("jax", "cupy")
@pytest.mark.parametrize("name", KEYS)
def test_entries_are_read_as_by_numpy(be: nn.Backend, name: str) -> None:
    check_reading(be, KEYS[name])


@pytest.mark.not_on("strict", "strict:device1", "strict:no_float64", "jax", "cupy")
@pytest.mark.parametrize("name", FURTHER)
def test_entries_are_read_by_keys_that_libraries_share(be: nn.Backend, name: str) -> None:
    check_reading(be, FURTHER[name])


def check_reading(be: nn.Backend, key_of: Callable[..., Any]) -> None:
    x, key = np.arange(6.0).reshape(3, 2) - 1.5, key_of(be.xp)
    want, host = np.zeros_like(x), key_of(namespace(x))
    np.add.at(want, host, 2 * x[host])
    close(gradient(be, lambda xp, x: x[key] ** 2, x), want, "float64")


@pytest.mark.not_on("torch")  # which has no negative steps
@pytest.mark.once_a_library
def test_entries_are_read_backwards(be: nn.Backend) -> None:
    close(
        gradient(be, lambda xp, x: x[::-1] * xp.asarray([1.0, 2.0, 3.0]), [1.0, 1, 1]),
        np.asarray([3.0, 2, 1]),
        "float64",
    )


@pytest.mark.once_a_library
def test_entries_are_written_and_what_was_there_has_no_gradient(be: nn.Backend) -> None:
    def f(x: Any) -> Any:
        xp = namespace(x)
        y = x * 3
        y[0] = y[1] * y[1]
        y[2] = 5.0
        x[1] = 2.0  # x is another array from here on; y keeps what it was computed from
        return xp.sum(y) + xp.sum(x)

    x = be.asarray(np.asarray([1.0, 2, 3]))
    close(be.to_numpy(grad(f)(x)), np.asarray([1.0, 36 + 3, 1]), "float64")
    close(be.to_numpy(x), np.asarray([1.0, 2, 3]), "float64")


# --- Nesting ---------------------------------------------------------------------------------------------------------


def test_nested_gradients_are_not_confused(be: nn.Backend) -> None:
    """d/dx (x d/dy (x + y)) is 1 [1]_.

    .. [1] Siskind & Pearlmutter (2005), Perturbation confusion and referential transparency.
    """
    one = be.asarray(1.0)
    assert float(grad(lambda x: x * grad(lambda y: x + y)(one))(one)) == 1
    assert float(grad(lambda x: x * grad(lambda y: x * y)(one))(one)) == 2
    assert float(grad(lambda x: grad(lambda y: y * y * x)(x))(one)) == 4
    assert float(grad(grad(grad(lambda x: x**4)))(one)) == 24


def test_what_is_stopped_is_constant_at_every_level(be: nn.Backend) -> None:
    one = be.asarray(2.0)
    assert float(grad(lambda x: x * stop_gradient(x))(one)) == 2
    assert float(grad(grad(lambda x: x * x * stop_gradient(x)))(one)) == 4


# --- Threads, length, memory ----------------------------------------------------------------------------------------


def test_threads_differentiate_at_once(host: nn.Backend) -> None:
    faults: list[Any] = []

    def work(k: int) -> None:
        x = np.linspace(0.1, 1, 7)
        for _ in range(150):
            g = grad(lambda x: namespace(x).sum(k * x**3 + grad(lambda y: namespace(y).sum(y * x))(x)))(x)
            if not np.allclose(g, 3 * k * x**2 + 1):
                faults.append((k, g))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not faults


def test_a_hundred_thousand_operations_in_a_row(host: nn.Backend) -> None:
    def f(x: Any) -> Any:
        y = x
        for _ in range(50_000):
            y = y + 1.0
            y = -y
        return y

    assert grad(f)(np.asarray(1.0)) == 1


def test_an_array_computed_on_the_way_is_freed_without_the_collector(host: nn.Backend) -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        xp = namespace(x)
        y = xp.exp(x) * x
        seen.append(weakref.ref(stripped(y)))
        return xp.sum(xp.tanh(y) * y)

    gc.collect()
    gc.disable()
    try:
        x = np.ones(3)
        for _ in range(3):
            value_and_gradient(f)(x)
            grad(lambda x: namespace(x).sum(grad(f)(x)))(x)
            vjp(f, x)[1](np.asarray(1.0))
        assert all(each() is None for each in seen)
    finally:
        gc.enable()


def test_arrays_are_freed_during_the_sweep(host: nn.Backend) -> None:
    """What a pullback needs is freed when it has run: the first of a hundred finds nothing of the others."""
    seen: list[Any] = []
    alive: list[int] = []

    @custom_gradient
    def watched(x: Any) -> Any:
        kept = np.tanh(x)
        seen.append(weakref.ref(kept))

        def pullback(g: Any) -> Any:
            alive.append(sum(each() is not None for each in seen))
            return g * kept

        return x * kept, pullback

    def f(x: Any) -> Any:
        for _ in range(100):
            x = watched(x)
        return namespace(x).sum(x)

    grad(f)(np.ones(3))
    assert alive[0] >= 99
    assert alive[-1] <= 3


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::2],
        lambda x: x.T,
        lambda x: x[:, ::-1],
        lambda x: np.broadcast_to(x[0], (3, 4)),
        np.asfortranarray,
        lambda x: x[:, 1],
    ],
)
def test_views_and_arrays_that_are_read_only(host: nn.Backend, view: Callable[..., Any]) -> None:
    x = view(np.arange(12.0).reshape(3, 4))
    x.flags.writeable = False
    before = np.array(x, order="C")
    f = of_sum(lambda xp, x: xp.sin(x) * xp.flip(x) + x[0, ...])
    g = grad(f)(x)
    assert np.array_equal(x, before)
    assert g.flags.writeable
    assert not np.shares_memory(g, x)
    close(g, grad(f)(before), "float64")


@pytest.mark.parametrize(
    "f",
    [
        lambda xp, x, y: x + y,
        lambda xp, x, y: x - y,
        lambda xp, x, y: xp.reshape(x, (4, 3)) * 1.0 + xp.reshape(y, (4, 3)),
        lambda xp, x, y: xp.broadcast_to(x, (2, 3, 4)) + y,
        lambda xp, x, y: x * y,
        lambda xp, x, y: +x,
        lambda xp, x, y: xp.matrix_transpose(x) @ y,
    ],
)
def test_results_own_their_memory_and_nothing_given_is_written_to(host: nn.Backend, f: Any) -> None:
    x, y = np.arange(12.0).reshape(3, 4), np.ones((3, 4))
    kept = x.copy(), y.copy()
    value, pullback = vjp(lambda x, y: f(namespace(x), x, y), x, y)
    g = np.ones(value.shape)
    parts = pullback(g)
    again = pullback(g)
    for part, other in zip(parts, again, strict=True):
        assert part.flags.writeable
        for each in (x, y, g, other, *(each for each in parts if each is not part)):
            assert not np.shares_memory(part, each)
        part[...] = 7
    assert np.array_equal(x, kept[0])
    assert np.array_equal(y, kept[1])
    assert np.array_equal(g, np.ones(value.shape))
    assert all(not np.array_equal(each, np.full_like(each, 7)) for each in again)


def test_tangents_are_not_written_to(host: nn.Backend) -> None:
    x, v = np.ones(3), np.ones(3)
    _, t = jvp(lambda x: x * 2, (x,), (v,))
    t[...] = 9
    assert np.array_equal(v, np.ones(3))
    assert np.array_equal(x, np.ones(3))


def test_constants_are_traced_arrays_that_can_be_written_to(be: nn.Backend) -> None:
    def f(x: Any) -> Any:
        xp = namespace(x)
        y = xp.zeros_like(x)
        assert isinstance(y, Traced)
        y[0] = x[1]
        return xp.sum(y * y)

    x = be.asarray(np.asarray([1.0, 3.0]))
    close(be.to_numpy(grad(f)(x)), np.asarray([0.0, 6.0]), "float64" if "float64" in be.dtypes else "float32")


def test_copies_stay_in_the_record(be: nn.Backend) -> None:
    x = be.asarray(np.asarray([1.0, 3.0]))
    for copied in (copy.copy, copy.deepcopy, lambda x: namespace(x).from_dlpack(x)):
        got = grad(lambda x, copied=copied: namespace(x).sum(copied(x) ** 2))(x)
        close(be.to_numpy(got), np.asarray([2.0, 6.0]), "float64" if "float64" in be.dtypes else "float32")


def test_a_range_moves_with_its_start_and_step(host: nn.Backend) -> None:
    x = np.asarray([1.0, 4.5, 0.9])
    got = grad(lambda x: namespace(x).sum(namespace(x).arange(x[0], x[1], x[2])))(x)
    assert got.tolist() == [4.0, 0.0, 6.0]
    assert grad(lambda x, n: namespace(x).sum(namespace(x).arange(n) * x))(x, np.asarray(3)).tolist() == [0, 1, 2]


def test_places_of_unique_entries_are_no_part_of_the_record(host: nn.Backend) -> None:
    x = np.asarray([1.0, 2.0, 1.0])
    got = grad(lambda x: namespace(x).sum(x[namespace(x).unique_all(x).indices]))(x)
    assert got.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("f", "want"),
    [
        (lambda xp, x: xp.linspace(x[0], x[1], 3), [1.5, 1.5]),
        (lambda xp, x: xp.linspace(0, x[1], 4, endpoint=False), [0.0, 1.5]),
        (lambda xp, x: xp.full_like(x, x[1]) * x, [3.0, 7.0]),
        (lambda xp, x: xp.full((3,), x[1]), [0.0, 3.0]),
        (lambda xp, x: x.to_device(x.device) ** 2, [2.0, 6.0]),
        (lambda xp, x: sum(each**2 for each in x), [2.0, 6.0]),
        (lambda xp, x: (lambda a, b: a * b**2)(*x), [9.0, 6.0]),
    ],
    ids=["linspace", "without its end", "full_like", "full", "to_device", "iteration", "unpacking"],
)
def test_new_arrays_keep_the_gradient_of_what_fills_them(be: nn.Backend, f: Callable[..., Any], want: Any) -> None:
    x = be.asarray(np.asarray([1.0, 3.0]))
    dtype = "float64" if "float64" in be.dtypes else "float32"
    close(be.to_numpy(grad(of_sum(f))(x)), np.asarray(want), dtype)
    assert nn.hvp(of_sum(f), x, x).dtype == x.dtype


def test_a_gradient_returns_to_the_device_that_it_came_from() -> None:
    strict = nn.backend("strict")
    x = strict.asarray([1.0, 2.0])
    got = grad(lambda x: namespace(x).sum(x.to_device(strict.xp.Device("device1")) ** 2))(x)
    assert got.device == x.device
    assert strict.to_numpy(got).tolist() == [2, 4]
