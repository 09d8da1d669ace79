"""The arithmetic of the CuPy versions, in C++: what one thread computes for its entry."""

from __future__ import annotations

import math
from typing import NamedTuple

from nnarray.kernels.expressions import Operand, Program, is_register
from nnarray.kernels.rules import Rule

REGISTERS = "using R = decltype(T(0) + 0.0f);"
"""What is computed with: T, or float32 where T is narrower, which C++ has no arithmetic of its own for."""

SHORT = 64  # classes of a row that one thread can go through while others wait for memory


class Code(NamedTuple):
    """Parameters as CuPy's ElementwiseKernel declares them, and the body."""

    inputs: str
    outputs: str
    body: str


CROSS_ENTROPY = Code(
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
)
"""Of a row, the number of which is `i`."""

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
    inputs = ", ".join(f"T r{i}" for i in range(program.inputs) if program.reads(i))
    return Code(inputs, "T result", "\n".join([*_lines(program), f"result = {_written(program.result)};"]))


def source_of_rule(rule: Rule) -> Code:
    """The code of a rule with its constants as the last numbers, the same for all settings.

    Its inputs are the arrays that it only reads, a1, ..., and the numbers n0, n1, ...; its outputs, the other arrays.
    """
    program, _ = rule.program.lifted()
    kept = [i for i in range(rule.arrays) if i not in rule.targets]
    numbers = range(program.inputs - rule.arrays)
    arrays = [f"const T r{i} = a{i};" for i in range(rule.arrays)]
    single = [f"const T r{rule.arrays + i} = T(n{i});" for i in numbers]
    stores = [f"a{i} = {_written(x)};" for i, x in zip(rule.targets, program.results, strict=True)]
    inputs = ", ".join([*(f"T a{i}" for i in kept), *(f"float64 n{i}" for i in numbers)])
    outputs = ", ".join(f"T a{i}" for i in rule.targets)
    return Code(inputs, outputs, "\n".join([*arrays, *single, *_lines(program), *stores]))


def _lines(program: Program) -> list[str]:
    """A line an operation."""
    return [
        f"const auto r{number} = {FORMS.get(name, name + '({0})').format(*map(_written, operands))};"
        for number, (name, operands) in enumerate(program.operations, start=program.inputs)
    ]


def _written(x: Operand) -> str:
    """A register or a constant in C++."""
    if is_register(x):
        return f"r{x}"
    if math.isfinite(x):
        return f"T({x!r})"
    return "(T(0) / T(0))" if math.isnan(x) else f"(T({math.copysign(1.0, x)}) / T(0))"
