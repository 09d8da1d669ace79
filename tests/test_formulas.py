"""Formulas of docstrings on the site: converted whole, or not at all."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "docs" / "formulas.py"
spec = importlib.util.spec_from_file_location("formulas", SOURCE)
assert spec
assert spec.loader
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("y = f(x W + b).", r"$y = f(x \, W + b)$."),
        ("y = max(x, 0). Nair & Hinton (2010)", r"$y = \max(x, 0)$. Nair & Hinton (2010)"),
        ("y = x / (1 + |x|).", r"$y = \frac{x}{1 + \lvert x \rvert}$."),
        ("dx = dy / (1 + |x|)^2.", r"$dx = \frac{dy}{(1 + \lvert x \rvert)^{2}}$."),
        ("y = a / b c.", r"$y = \frac{a}{b} \, c$."),
        ("y = (a + b) / (c (d + 1)).", r"$y = \frac{a + b}{c \, (d + 1)}$."),
        ("y = (a) (b) / c.", r"$y = \frac{(a) \, (b)}{c}$."),
        (
            "theta <- theta - lr m' / (sqrt(v') + epsilon).",
            r"$\theta \leftarrow \theta - \frac{\text{lr} \, m'}{\sqrt{v'} + \varepsilon}$.",
        ),
        ("m' = m / (1 - b1^t) in step t", r"$m' = \frac{m}{1 - b_{1}^{t}}$ in step t"),
        (
            "L_n = -sum_k t_nk ln p_nk, p = softmax(z): outputs z",
            r"$L_{n} = -\sum_{k} \, t_{nk} \, \ln p_{nk}$, $p = \operatorname{softmax}(z)$: outputs z",
        ),
        (
            "y = x where x > 0, else alpha (exp(x) - 1).",
            r"$y = \begin{cases} x & \text{where } x > 0 \\ \alpha \, (\exp(x) - 1) & \text{else} \end{cases}$.",
        ),
        (
            "y[n, p] = f(b + sum over i of x[n, p s + i d] W[i]): one axis",
            r"$y_{n, p} = f(b + \sum_{i} \, x_{n, p \, s + i \, d} \, W_{i})$: one axis",
        ),
        ("y = exp(x_k) / sum_j exp(x_j).", r"$y = \frac{\exp(x_{k})}{\sum_{j} \, \exp(x_{j})}$."),
        ("y = f_n(... f_2(x)): a row", r"$y = f_{n}(\ldots \, f_{2}(x))$: a row"),
        ("y = x - ln sum_j exp(x_j) along the axis", r"$y = x - \ln \sum_{j} \, \exp(x_{j})$ along the axis"),
    ],
)
def test_a_formula_is_converted_and_the_words_around_it_stay(plain, latex):
    assert formulas.converted(plain, "$%s$") == latex


@pytest.mark.parametrize(
    "plain",
    [
        "theta <- theta - mu_t+1 m.",  # an index of two signs
        "state <- (1 - momentum) state + momentum (batch's), with words",
        'X = {"a": x_a}.',
        "y = x @ W.",
        "y = x W_",
        "y = f(x",
        "`y = x` is code, and `a: y = x` too",
        "nn.Dense(units = 3)",
        "Words alone.",
        "batch_size = 32 is a setting",
        "y = x % 2",
    ],
)
def test_half_a_formula_stays_text(plain):
    assert formulas.converted(plain, "$%s$") == plain


def test_signs_of_markup_are_escaped_outside_of_formulas():
    assert formulas.escaped(formulas.as_role("y = |x|, of -|x| and x_ only")) == (
        r":math:`\displaystyle y = \lvert x \rvert`, of -\|x\| and x\_ only"
    )
