"""Wrong calls within recorded functions: each error says what to write instead, and that works."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import nnarray as nn
from nnarray.backends import namespace
from nnarray.recording import custom_gradient, grad, stop_gradient, value_and_gradient
from tests.packages import package
from tests.tolerances import close

torch = package("torch")
X = np.asarray([1.0, 2.0])
TABLE = [10.0, 20.0, 30.0]


class Refusal(NamedTuple):
    wrong: Callable[[Any], Any]
    message: str
    remedy: Callable[[Any], Any]
    gradient: list[float]
    kind: type[Exception] = TypeError


def xp_of(x: Any) -> Any:
    return namespace(x)


def total(y: Any) -> Any:
    return namespace(y).sum(y)


def sizes(z: Any) -> Any:
    return total(namespace(z).abs(z))


def filled(x: Any) -> Any:
    y = namespace(x).zeros(3)
    y[0] = x[1]
    return total(y)


@custom_gradient
def by_hand(x: Any) -> Any:
    return np.asarray(np.einsum("i,i->", x, x)), lambda g: 2 * g * x


def added(x: Any) -> Any:
    y = np.ones(2)
    y = y + x
    return total(y)


def added_in_place(x: Any) -> Any:
    y = np.ones(2)
    y += x
    return total(y)


def written(y: Any, key: Any, value: Any) -> Any:
    y[key] = value
    return y


FIRST = [1.0, 0.0]
BOTH = [1.0, 1.0]
NUMBER = "take the number out of the recording.*nn.stop_gradient"
NO_RULE = "no rule is known for the gradient of {}.*custom_gradient"
NO_FUNCTION = "{} is no function of the array API standard.*functions of xp = x.__array_namespace__"

REFUSALS: dict[str, Refusal] = {
    "float(x)": Refusal(lambda x: x[0] * float(x[0]), NUMBER, lambda x: x[0] * stop_gradient(x)[0], FIRST),
    "int(x)": Refusal(lambda x: x[0] * int(x[0]), NUMBER, lambda x: x[0] * int(stop_gradient(x)[0]), FIRST),
    "complex(x)": Refusal(lambda x: complex(x[0]), NUMBER, lambda x: x[0], FIRST),
    "math.sin(x)": Refusal(lambda x: math.sin(x[0]), NUMBER, lambda x: xp_of(x).sin(x[0]), [math.cos(1), 0]),
    "x.item()": Refusal(lambda x: x[0].item(), NUMBER, lambda x: x[0], FIRST),
    "x.tolist()": Refusal(lambda x: sum(x.tolist()), NUMBER, total, BOTH),
    "np.asarray(x)": Refusal(lambda x: np.asarray(x).sum(), "conversion of x.*xp = x.__array", total, BOTH),
    "np.array([x, x])": Refusal(lambda x: np.array([x[0], x[1]]).sum(), "xp.stack for an array of arrays",
                                lambda x: total(xp_of(x).stack([x[0], x[1]])), BOTH),
    "xp.sum([x, x])": Refusal(lambda x: xp_of(x).sum([x[0], x[1]]), "xp.stack for an array of arrays",
                              lambda x: xp_of(x).sum(xp_of(x).stack([x[0], x[1]])), BOTH),
    "np.from_dlpack(x)": Refusal(np.from_dlpack, r"export of x, such as from_dlpack\(x\)", total, BOTH),
    "range(x)": Refusal(lambda x: x[0] * len(range(x[1])), "use of x as an index or a count",
                        lambda x: x[0] * len(range(int(stop_gradient(x)[1]))), [2.0, 0.0]),
    "a list at x": Refusal(lambda x: x[0] * TABLE[x[0]], "use of x as an index or a count",
                           lambda x: x[0] * TABLE[int(stop_gradient(x)[0])], [20.0, 0.0]),
    "an array at x": Refusal(lambda x: np.ones(3)[x], "conversion of x",
                             lambda x: x[0] * np.ones(3)[int(stop_gradient(x)[0])], FIRST),
    "x at x": Refusal(lambda x: x[x], "integer", lambda x: x[xp_of(x).asarray([0])][0], FIRST, IndexError),
    "an array written to": Refusal(lambda x: written(np.zeros(2), slice(None), x), "xp.zeros for one to be",
                                   filled, [0.0, 1.0]),
    "y += x": Refusal(added_in_place, r"write a recorded result into an array that does not.*y = y \+ x", added, BOTH),
    "out=": Refusal(lambda x: np.add(x, x, out=np.ones(2)), "Make a new array", lambda x: total(x + x), [2.0, 2.0]),
    "np.add.reduce": Refusal(np.add.reduce, "add.reduce would take", total, BOTH),
    "np.add.at": Refusal(lambda x: np.add.at(np.zeros(2), [0], x[0]), "add.at would take", filled, [0.0, 1.0]),
    "np.einsum": Refusal(lambda x: np.einsum("i,i->", x, x), NO_FUNCTION.format("einsum") + ".*xp.tensordot.*custom",
                         by_hand, [2.0, 4.0]),
    "np.interp": Refusal(lambda x: np.interp(x, X, X), NO_FUNCTION.format("interp"), total, BOTH),
    "np.dot": Refusal(lambda x: np.dot(x, x), NO_FUNCTION.format("dot") + ".*xp.vecdot",
                      lambda x: xp_of(x).vecdot(x, x), [2.0, 4.0]),
    "np.cumsum": Refusal(lambda x: np.cumsum(x)[1], NO_FUNCTION.format("cumsum") + r".*xp.cumulative_sum\(x, axis=0\)",
                         lambda x: xp_of(x).cumulative_sum(x, axis=0)[1], BOTH),
    "np.linalg.norm": Refusal(np.linalg.norm, NO_FUNCTION.format("norm") + ".*xp.linalg.vector_norm",
                              lambda x: xp_of(x).linalg.vector_norm(x) * 5**0.5, [1.0, 2.0]),
    "np.fft.fft": Refusal(np.fft.fft, NO_FUNCTION.format("fft"), lambda x: total(np.fft.fftshift(x)), BOTH),
    "np.linalg.eig": Refusal(lambda x: sizes(np.linalg.eig(x[None, :] * x[:, None])[0]), NO_RULE.format("eig"),
                             lambda x: xp_of(x).linalg.trace(x[None, :] * x[:, None]), [2.0, 4.0]),
    "xp.fft": Refusal(lambda x: sizes(xp_of(x).fft.rfft(x)), NO_RULE.format("rfft"), total, BOTH),
    "xp.linalg.eigvals": Refusal(lambda x: sizes(xp_of(x).linalg.eigvals(x[None, :] * x[:, None])),
                                 NO_RULE.format("eigvals"), total, BOTH),
    "xp.interp": Refusal(lambda x: xp_of(x).interp(x, X, X), NO_RULE.format("interp"),
                         lambda x: x[0] * xp_of(x).interp(stop_gradient(x), X, X)[0], FIRST),
    "x.sum()": Refusal(lambda x: x.sum(), r"no attribute 'sum'.*xp.sum\(x, ...\)", total, BOTH, AttributeError),
    "x.reshape(...)": Refusal(lambda x: x.reshape(2, 1), r"xp.reshape\(x, ...\) with xp = x.__array_namespace__",
                              lambda x: total(xp_of(x).reshape(x, (2, 1))), BOTH, AttributeError),
    "x.values": Refusal(lambda x: x.values, "no attribute 'values'", total, BOTH, AttributeError),
    "complex numbers": Refusal(lambda x: total(x * 1j), "complex numbers are not", total, BOTH),
    "unique_values": Refusal(lambda x: total(xp_of(x).unique_values(x)), NO_RULE.format("unique_values"), total, BOTH),
    "x.T of a vector": Refusal(lambda x: total(x.T), r"x.T is for matrices; x has shape \(2,\). Use x.mT",
                               lambda x: total(x[None, :].T), BOTH, ValueError),
    "np.copy": Refusal(lambda x: total(np.copy(x)), NO_FUNCTION.format("copy") + r".*xp.asarray\(x, copy=True\)",
                       lambda x: total(xp_of(x).asarray(x, copy=True)), BOTH),
    "iteration of a number": Refusal(lambda x: sum(x[0]), "an array without axes", sum, BOTH),
    "their sizes": Refusal(lambda x: sizes(x + 1j), "complex numbers are not", total, BOTH),
    "their real part": Refusal(lambda x: total(xp_of(x).real(x * 1j)), "complex numbers are not", total, BOTH),
    "their imaginary part": Refusal(lambda x: total(xp_of(x).imag(xp_of(x).conj(x * 1j))), NO_RULE.format("imag"),
                                    total, BOTH),
    "their norm": Refusal(lambda x: xp_of(x).linalg.vector_norm(x * 1j), "complex numbers are not", total, BOTH),
    "a complex dtype": Refusal(lambda x: sizes(xp_of(x).astype(x, xp_of(x).complex128)), "complex numbers are not",
                               lambda x: total(xp_of(x).astype(x, xp_of(x).float64)), BOTH),
    "a library's tensor": Refusal(lambda x: x * torch.ones(2, dtype=torch.float64),
                                  r"meets one of torch \(cpu\).*nn.backend\(...\).asarray",
                                  lambda x: total(x * np.asarray(torch.ones(2, dtype=torch.float64))), BOTH),
    "a tensor on the left": Refusal(lambda x: torch.ones(2, dtype=torch.float64) @ x, r"meets one of torch \(cpu\)",
                                    lambda x: np.ones(2) @ x, BOTH),
    "a function of tensors": Refusal(lambda x: torch.nn.functional.softmax(x), NO_FUNCTION.format("softmax"),
                                     lambda x: total(xp_of(x).exp(x)), [math.e, math.e**2]),
    "arrays compared": Refusal(lambda x: x[0] if x > 0 else x[1], "truth value",
                               lambda x: x[0] if xp_of(x).all(x > 0) else x[1], FIRST, ValueError),
    "the full matrices of svd": Refusal(lambda x: total(xp_of(x).linalg.svd(x[None, :])[2]), "full_matrices=False",
                                        lambda x: total(xp_of(x).linalg.svd(x[None, :], full_matrices=False)[1]),
                                        [1 / 5**0.5, 2 / 5**0.5], ValueError),
    "qr of a wide matrix": Refusal(lambda x: total(xp_of(x).linalg.qr(x[None, :])[1]), "at least as many rows",
                                   lambda x: total(xp_of(x).linalg.qr(x[:, None])[1] ** 2), [2.0, 4.0], ValueError),
    "an argument of another name": Refusal(lambda x: xp_of(x).clip(x, a_min=0), "a_min",
                                           lambda x: total(xp_of(x).clip(x, min=0)), BOTH),
    "squeeze": Refusal(lambda x: xp_of(x).squeeze(x, axis=0), r"only axes of length 1.*\(2,\)",
                       lambda x: total(xp_of(x).squeeze(x[None, :], axis=0)), BOTH, ValueError),
    "a key of a dict": Refusal(lambda x: {x: 1}, "unhashable", lambda x: {"x": x}["x"][0], FIRST),
    "no result": Refusal(lambda x: None, "must return an array of one number", total, BOTH),
    "a number as result": Refusal(lambda x: 2.0, "must return an array of one number", lambda x: x[0], FIRST),
    "several numbers": Refusal(lambda x: x, r"one number; got an array of shape \(2,\).*sum or mean", total, BOTH,
                               ValueError),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_says_what_to_write_and_that_works(name: str) -> None:
    wrong, message, remedy, want, kind = REFUSALS[name]
    with pytest.raises(kind, match=re.compile(message, re.DOTALL)):
        grad(wrong)(X)
    close(grad(remedy)(X), np.asarray(want), "float64")
    assert X.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("call", "kind", "message", "remedy"),
    [
        (lambda: grad(total)(np.arange(2)), TypeError, "real floating numbers.*int64.*astype",
         lambda: grad(total)(np.astype(np.arange(2), np.float64))),
        (lambda: grad(total)(X + 0j), TypeError, "complex numbers are not supported",
         lambda: grad(lambda re, im: total(re * re + im * im))(X, X)),
        (lambda: grad(total)([1.0, 2.0]), TypeError, "array", lambda: grad(total)(np.asarray([1.0, 2.0]))),
        (lambda: grad(total, 1)(X), ValueError, "argnums must be.*1 argument", lambda: grad(total, 0)(X)),
        (lambda: grad(total, ())(X), ValueError, "argnums must be", lambda: grad(total, (0,))(X)),
        (lambda: value_and_gradient(lambda x: (total(x), x))(X), TypeError, "has_aux=True",
         lambda: value_and_gradient(lambda x: (total(x), x), has_aux=True)(X)),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call: Any, kind: type[Exception], message: str, remedy: Any) -> None:
    with pytest.raises(kind, match=message):
        call()
    remedy()


def test_an_array_that_is_kept_is_refused_later(be: nn.Backend) -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append((x * 2, stop_gradient(x * 2)))
        return total(x)

    x = be.asarray([1.0, 2.0])
    grad(f)(x)
    with pytest.raises(RuntimeError, match=r"gradient that is finished.*has_aux=True.*nn.stop_gradient"):
        kept[0][0] + 1
    with pytest.raises(RuntimeError, match="gradient that is finished"):
        grad(lambda x: total(x * kept[0][0]))(x)
    close(be.to_numpy(grad(lambda x: total(x * kept[0][1]))(x)).astype(float), np.asarray([2.0, 4.0]), "float32")


def test_what_is_printed_is_no_fault(host: nn.Backend) -> None:
    shown: list[str] = []

    def f(x: Any) -> Any:
        y = total(x)
        shown.append(f"{y:.2f} {y!r}")
        return y

    grad(f)(X)
    assert shown[0].startswith("3.00 Traced(")


def test_complex_numbers_are_computed_and_only_their_gradient_is_refused(be: nn.Backend) -> None:
    def power(x: Any) -> tuple[Any, Any]:
        xp = namespace(x)
        z = xp.exp(xp.astype(x, xp.complex64) * 1j)
        return xp.sum(x * x), (z, xp.abs(z), xp.real(z))

    host = np.asarray([1.0, 2.0, 4.0])
    gradient, results = grad(power, has_aux=True)(be.asarray(host))
    assert np.allclose(be.to_numpy(gradient), 2 * host)
    for got, want in zip(results, (np.exp(1j * host), np.ones(3), np.cos(host)), strict=True):
        assert np.allclose(be.to_numpy(got), want, rtol=0, atol=1e-6)
