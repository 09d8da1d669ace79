"""The arithmetic of the CuPy versions, in C++: what one thread computes for its entry."""

from __future__ import annotations

import math
from typing import NamedTuple

from nnarray.kernels.expressions import Operand, Program, is_register

SHORT = 64  # classes of a row that one thread can go through while others wait for memory


class Code(NamedTuple):
    """Parameters as CuPy's ElementwiseKernel declares them, and the body."""

    inputs: str
    outputs: str
    body: str


ELEMENTWISE = {
    "sgd": Code("T g, float64 rate", "T theta", "theta = theta - T(rate) * g;"),
    "momentum": Code(
        "T g, float64 rate, float64 momentum, bool nesterov",
        "T theta, T velocity",
        """
        const T v = T(momentum) * velocity + g;
        velocity = v;
        theta = theta - T(rate) * (nesterov ? g + T(momentum) * v : v);
        """,
    ),
    "adam": Code(
        "T g, float64 rate, float64 beta1, float64 beta2, float64 epsilon, float64 most",
        "T theta, T mean, T square",
        """
        const T kept = T(beta2) * square, share = T(sqrt(1.0 - beta2)), room = sqrt(T(most) - kept) / share;
        const T d = !isfinite(g) ? g : g > room ? room : g < -room ? -room : g;
        const T m = T(beta1) * mean + T(1.0 - beta1) * d;
        const T v = kept + (share * d) * (share * d);
        mean = m;
        square = v;
        theta = theta - T(rate) * m / (sqrt(v) + T(epsilon));
        """,
    ),
    "cross_entropy": Code(
        "raw T z, raw T t, int32 classes, float64 limit",
        "raw T gradient, T loss",
        """
        const T far = T(limit);
        const ptrdiff_t first = (ptrdiff_t)i * classes;
        T largest = -far;
        bool wrong = false;
        for (int k = 0; k < classes; ++k) {
            const T x = z[first + k];
            wrong = wrong || x != x;
            largest = x > largest ? x : largest;
        }
        largest = largest > far ? far : largest;
        T total = T(0), mass = T(0), linear = T(0);
        for (int k = 0; k < classes; ++k) {
            T x = z[first + k];
            x = (x > far ? far : x < -far ? -far : x) - largest;
            const T share = t[first + k], e = exp(x);
            gradient[first + k] = e;
            total += e;
            mass += share;
            linear += share * x;
        }
        const T nothing = T(0) / T(0);
        loss = wrong ? nothing : mass * log(total) - linear;
        for (int k = 0; k < classes; ++k) {
            const T p = gradient[first + k] / total;
            gradient[first + k] = wrong ? nothing : p * mass - t[first + k];
        }
        """,
    ),
}
"""By name. `i` is the entry's number; outputs hold their old values when the body begins."""

FORMS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "logical_and": "{0} && {1}",
    "maximum": "{0} < {1} || {1} != {1} ? {1} : {0}",
    "minimum": "{0} > {1} || {1} != {1} ? {1} : {0}",
    "where": "{0} ? {1} : {2}",
    "abs": "fabs({0})",
}
"""Operations that are no functions of the same name in C++."""


def source(program: Program) -> Code:
    """The code of an elementwise definition; its inputs are r0, r1, ..., without those that it does not read."""
    lines = [
        f"const auto r{number} = {FORMS.get(name, name + '({0})').format(*map(_written, operands))};"
        for number, (name, operands) in enumerate(program.operations, start=program.inputs)
    ]
    inputs = ", ".join(f"T r{i}" for i in range(program.inputs) if program.reads(i))
    return Code(inputs, "T result", "\n".join([*lines, f"result = {_written(program.result)};"]))


def _written(x: Operand) -> str:
    """A register or a constant in C++."""
    if is_register(x):
        return f"r{x}"
    if math.isfinite(x):
        return f"T({x!r})"
    return "(T(0) / T(0))" if math.isnan(x) else f"(T({math.copysign(1.0, x)}) / T(0))"
