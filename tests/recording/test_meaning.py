"""Functions that a library hands on by their name: they mean what they mean to plain arrays, or they are refused."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from nnarray.backends import namespace
from nnarray.recording import grad, vjp
from nnarray.recording.traced import ALSO, Traced, stripped
from tests.packages import package

torch = package("torch")
X = np.asarray([3.0, 1.0, 2.0])


def calls(make: Callable[..., Any]) -> Iterator[tuple[Any, ...]]:
    """Arguments of many kinds: vectors, matrices, stacks, axes, indices, conditions."""
    rng = np.random.default_rng(0)
    order = make(np.asarray([2, 0, 1]))
    for shape in ((3,), (3, 3), (4, 3), (3, 3, 3)):
        x = make(rng.uniform(0.5, 2.0, shape))
        yield from ((x,), (x, x), (x, 0), (x, 1), (x, order), (x, 0, 1), (x, (0,)), (x, x, x), ([x, x],), ([x, x], 1))
        yield from ((x > 1, x, x), (x, x > 1, x), (x, x, order), (x, 2.0), (2.0, x), (0.0, x, 3), (x, x[0], 3))


def names(space: Any) -> list[str]:
    """The functions that have a name of the standard, or one that is taken for it. Names with _ at the end write."""
    known = type(traced_of(space)).functions
    shared = [name for name in dir(space) if not name.endswith("_") and not name.startswith(("empty", "result_type"))]
    return [name for name in shared if callable(known.get(ALSO.get(name, name))) and callable(getattr(space, name))]


def traced_of(space: Any) -> Any:
    found: list[Any] = []
    make = torch.asarray if space in OF_TORCH else np.asarray
    vjp(lambda x: found.append(x) or x, make(X))
    return found[0]


OF_TORCH = (torch, torch.Tensor)
SPACES = {"numpy": np, "numpy.linalg": np.linalg, "torch": torch, "torch.Tensor": torch.Tensor}


@pytest.mark.parametrize("name", SPACES)
def test_a_function_means_the_same_to_recorded_arrays_or_is_refused(name: str) -> None:
    space, differing, agreeing = SPACES[name], [], 0
    make = torch.asarray if space in OF_TORCH else np.asarray
    for each in names(space):
        for arguments in calls(make):
            found = both(getattr(space, each), arguments, plain=space is torch.Tensor)
            agreeing += found == "same"
            if found == "other":
                differing.append((each, [getattr(x, "shape", x) for x in arguments]))
    assert differing == []
    assert agreeing > (400 if space in (np, torch) else 15)


def both(function: Callable[..., Any], arguments: tuple[Any, ...], *, plain: bool) -> str:
    """How the results of plain and recorded arrays compare; the first argument of a method is plain."""
    parts = arguments[1:] if plain else arguments
    reals = [x for part in parts for x in (part if isinstance(part, list) else [part]) if is_real(x)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            want = function(*arguments)
        except Exception:
            return "no call"
        got: list[Any] = []

        def recorded(*flat: Any) -> Any:
            rest = iter(flat)

            def swapped(x: Any) -> Any:
                if isinstance(x, list):
                    return [swapped(part) for part in x]
                return next(rest) if any(x is real for real in reals) else x

            given = (arguments[0], *map(swapped, arguments[1:])) if plain else map(swapped, arguments)
            got.append(function(*given))
            return flat[0]

        try:
            vjp(recorded, *reals)
        except (TypeError, ValueError, IndexError, AttributeError):
            return "refused"
    return "same" if is_same(got[0], want) else "other"


def is_real(x: Any) -> bool:
    return hasattr(x, "shape") and str(x.dtype).endswith("float64")


def is_same(got: Any, want: Any) -> bool:
    if want is NotImplemented:
        return got is NotImplemented
    if isinstance(want, (tuple, list)):
        return isinstance(got, (tuple, list)) and len(got) == len(want) and all(map(is_same, got, want))
    got = np.asarray(stripped(got))
    return got.shape == tuple(np.shape(want)) and np.allclose(got, np.asarray(want), equal_nan=True)


def total(y: Any) -> Any:
    return namespace(y).sum(y)


OTHERS: dict[str, tuple[Callable[[Any], Any], str, Callable[[Any], Any]]] = {
    "torch.var": (lambda x: torch.var(x), "xp.var(x, correction=1)", lambda x: namespace(x).var(x, correction=1)),
    "torch.std": (lambda x: torch.std(x), "xp.std(x, correction=1)", lambda x: namespace(x).std(x, correction=1)),
    "torch.sort": (lambda x: total(torch.sort(x)[0]), "xp.sort(x)", lambda x: total(namespace(x).sort(x))),
    "torch.equal": (lambda x: x[0] if torch.equal(x, x) else x[1], "xp.all(x1 == x2)",
                    lambda x: x[0] if namespace(x).all(x == x) else x[1]),
    "Tensor.where": (lambda x: total(torch.ones(3).where(torch.ones(3) > 0, x)), "xp.where(condition, x1, x2)",
                     lambda x: total(namespace(x).where(torch.ones(3) > 0, 1.0, x))),
    "Tensor.add_": (lambda x: total(torch.ones(3).add_(x) * x), "y = y + x", lambda x: total((torch.ones(3) + x) * x)),
    "Tensor.sub_": (lambda x: total(torch.ones(3).sub_(x) * x), "y = y + x", lambda x: total((torch.ones(3) - x) * x)),
    "Tensor.pow_": (lambda x: total(torch.ones(3).pow_(x) * x), "y = y + x", lambda x: total((torch.ones(3) ** x) * x)),
    "Tensor.copy_": (lambda x: total(torch.ones(3).copy_(x)), "y = y + x", total),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_function_with_another_meaning_is_refused_with_what_to_write(name: str) -> None:
    wrong, message, remedy = OTHERS[name]
    x = torch.asarray(X)
    with pytest.raises(TypeError, match=re.escape(message)):
        grad(wrong)(x)
    assert grad(remedy)(x).shape == x.shape


@pytest.mark.parametrize(
    ("wrong", "message", "remedy"),
    [
        (lambda x: np.trace(x)[0], "xp.linalg.trace(x)", lambda x: namespace(x).linalg.trace(x)[0]),
        (lambda x: total(np.diagonal(x)), "xp.linalg.diagonal(x)", lambda x: total(np.linalg.diagonal(x))),
        (lambda x: total(np.take(x, [0, 1])), "xp.reshape(x, (-1,))",
         lambda x: total(namespace(x).take(namespace(x).reshape(x, (-1,)), np.asarray([0, 1])))),
        (lambda x: total(np.outer(x, x)), "xp.reshape(x, (-1,))",
         lambda x: total(np.outer(np.reshape(x, (-1,)), np.reshape(x, (-1,))))),
        (lambda x: total(np.linspace(x, 0.0, 3)), "start + (stop - start) * steps",
         lambda x: total(x + (0.0 - x) * np.linspace(0.0, 1.0, 3)[:, None, None, None])),
    ],
)  # fmt: skip
def test_functions_of_other_axes_are_refused_with_what_to_write(wrong: Any, message: str, remedy: Any) -> None:
    x = np.arange(27.0).reshape(3, 3, 3)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        grad(wrong)(x)
    assert grad(remedy)(x).shape == x.shape
    assert not isinstance(grad(lambda x: np.trace(x))(x[0]), Traced)
