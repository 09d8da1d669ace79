"""Formulas that are typed in: what is known is computed, everything else is refused."""

from __future__ import annotations

import math

import pytest

import nnarray as nn
from nnarray.apps.playground.checking import Wrong
from nnarray.apps.playground.formulas import FUNCTIONS, parsed


@pytest.mark.parametrize(
    ("text", "code", "inputs", "compares"),
    [
        ("sin(6*x)", "xp.sin(6.0 * x)", 1, False),
        ("2*pi*x^2", "6.283185307179586 * x ** 2.0", 1, False),
        ("x1 - x2", "x - y", 2, False),
        ("x^2 + y^2 < 0.5", "x ** 2.0 + y ** 2.0 < 0.5", 2, True),
        (" -x % 0.5 ", "-x % 0.5", 1, False),
        ("exp(-sqrt(4) * abs(x))", "xp.exp(-2.0 * xp.abs(x))", 1, False),
        ("3", "3.0", 1, False),
    ],
)
def test_a_formula_as_python(text: str, code: str, inputs: int, compares: bool) -> None:
    formula = parsed(text)
    assert (formula.code, formula.inputs, formula.compares) == (code, inputs, compares)
    assert parsed(formula.code.replace("xp.", "")).code == code


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_on_every_backend(be: nn.Backend, name: str) -> None:
    x = be.asarray([0.3, 0.7, 0.9])
    values = parsed(f"{name}(x)")(x=x)
    for i, at in enumerate((0.3, 0.7, 0.9)):
        assert math.isclose(float(values[i]), FUNCTIONS[name][1](at), rel_tol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        '__import__("os")',
        "x.real",
        "().__class__",
        "(lambda: 1)()",
        "1 if x else 2",
        "[x for x in y]",
        "x[0]",
        "'a' * 9",
        "f'{x}'",
        "x and y",
        "not x",
        "~x",
        "x @ y",
        "x // 2",
        "z",
        "xp",
        "eval(x)",
        "sin(x, x)",
        "sin(*x)",
        "sin(x=x)",
        "sin",
        "x := 3",
        "True",
        "1j",
        "await x",
        "x = 3",
        "import os",
        "",
        "x +",
        "\0",
        "9**9**9**9",
        "1/0",
        "log(-1) + x",
        "(-1)^0.5 * x",
        "x < 1 < 2",
        "x == 1",
        "sin(x < 1)",
        "(" * 90 + "x" + ")" * 90 + " +",
        "-" * 100 + "x",
        "x" * 201,
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        parsed(text)


def test_a_refusal_shows_what_is_not_known_and_what_is() -> None:
    with pytest.raises(Wrong, match=r"""has .*__import__.*which is not known here; use x, y, numbers, pi, e"""):
        parsed('2 * __import__("os")')
