"""What leaves a record has memory of its own: it may be written to, and sweeps at the same time share nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.backends import namespace
from nnarray.recording import custom_gradient, grad, recompute, stop_gradient, value_and_gradient, vjp


def written(x: Any) -> Any:
    x *= 0.0  # on libraries whose arrays cannot be written to, another array
    return x


def test_a_constant_may_be_written_to(be: nn.Backend) -> None:
    def f(x: Any) -> Any:
        y = x * x
        z = y * y
        written(stop_gradient(y))
        written(stop_gradient(x))
        return namespace(x).sum(z)

    x = be.asarray([1.0, 2.0])
    assert be.to_numpy(grad(f)(x)).tolist() == [4.0, 32.0]
    written(stop_gradient(x))
    assert be.to_numpy(x).tolist() == [1.0, 2.0]


def test_what_is_no_array_stays_as_it_is_in_a_tree_of_constants(host: nn.Backend) -> None:
    kept = {"scale": 2.0, "parts": [None, "name"], "limits": host.xp.finfo(host.xp.float64)}
    assert stop_gradient(kept) == kept


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[...], lambda x: namespace(x).reshape(x, (-1,))])
def test_values_are_no_views_of_arguments(be: nn.Backend, view: Callable[[Any], Any]) -> None:
    x, one = be.asarray([1.0, 2.0]), be.asarray(3.0)
    written(value_and_gradient(view)(one)[0])
    written(vjp(view, x)[0])
    written(grad(lambda x: (namespace(x).sum(x), view(x)), has_aux=True)(x)[1])
    written(nn.jvp(view, (x,), (x,))[0])
    assert be.to_numpy(x).tolist() == [1.0, 2.0]
    assert float(one) == 3.0


def test_a_value_may_be_written_to_before_its_pullback_is_called(be: nn.Backend) -> None:
    x = be.asarray([0.0, 0.0])
    y, pullback = vjp(lambda x: namespace(x).exp(x), x)
    written(y)
    assert be.to_numpy(pullback(be.asarray([1.0, 2.0]))[0]).tolist() == [1.0, 2.0]


TOGETHER = threading.Barrier(4)


def met(x: Any) -> Any:
    """`x`, when all four threads are here, if they have begun."""
    if threading.current_thread() is not threading.main_thread():
        TOGETHER.wait(timeout=20)
    return x


@custom_gradient
def product(a: Any, b: Any) -> Any:
    return a * b, lambda g: (met(g) * b, g * a)


@pytest.mark.parametrize("of_two", [product, recompute(lambda a, b: met(a) * b)], ids=["custom_gradient", "recompute"])
def test_pullbacks_of_ones_own_are_called_by_several_threads(host: nn.Backend, of_two: Callable[..., Any]) -> None:
    """The arrays are so large that NumPy lets other threads run between one gradient and the next."""
    a, b = np.full(300_000, 2.0), np.full(300_000, 3.0)
    _, pullback = vjp(lambda a, b: of_two(a, b) + a + b, a, b)
    found: dict[int, Any] = {}

    def work(k: int) -> None:
        parts = [pullback(np.full(300_000, float(k))) for _ in range(6)]
        found[k] = [
            {float(bound(part)) for part in each for bound in (np.min, np.max)} for each in zip(*parts, strict=True)
        ]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {k: [{4.0 * k}, {3.0 * k}] for k in range(1, 5)}


def test_a_pullback_that_failed_can_be_called_again(host: nn.Backend) -> None:
    """The next call computes all gradients anew: nothing is left of the one that failed."""
    fails = [True]

    @custom_gradient
    def failing(a: Any, b: Any) -> Any:
        return a * b, lambda g: ((g * b)[:2] if fails else g * b, g * a)

    _, pullback = vjp(failing, np.full(3, 2.0), np.full(3, 3.0))
    with pytest.raises(ValueError, match="shape"):
        pullback(np.ones(3))
    fails.clear()
    assert [part.tolist() for part in pullback(np.full(3, 10.0))] == [[30.0] * 3, [20.0] * 3]
