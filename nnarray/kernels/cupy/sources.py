"""The arithmetic of the CuPy versions, in C++: what one thread computes for its entry."""

from __future__ import annotations

import math
from typing import NamedTuple

from nnarray.kernels.expressions import Operand, Program, is_register
from nnarray.kernels.rules import Rule

THREADS = 256  # of a block whose threads add up together

REGISTERS = "using R = decltype(T(0) + 0.0f);"
"""What is computed with: T, or float32 where T is narrower, which C++ has no arithmetic of its own for."""


class Code(NamedTuple):
    """Parameters as CuPy's ElementwiseKernel declares them, and the body."""

    inputs: str
    outputs: str
    body: str


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


def by_halves(parts: str, join: str = "{0} += {1};") -> str:
    """What the threads of a column, `lanes` apart, have in `parts`, joined in that of the first one."""
    joined = join.format(f"{parts}[threadIdx.x]", f"{parts}[threadIdx.x + half]")
    return f"""
    __syncthreads();
    for (int half = {THREADS} / 2; half >= lanes; half /= 2) {{
        if (threadIdx.x < half) {{ {joined} }}
        __syncthreads();
    }}
    """


def source(program: Program) -> Code:
    """The code of an elementwise definition; its inputs are x0, x1, ..., without those that it does not read."""
    read = [i for i in range(program.inputs) if program.reads(i)]
    loads = [f"const R r{i} = x{i};" for i in read]
    body = [REGISTERS, *loads, *_lines(program), f"result = T({_written(program.result)});"]
    return Code(", ".join(f"T x{i}" for i in read), "T result", "\n".join(body))


def source_of_rule(rule: Rule) -> Code:
    """The code of a rule with its constants as the last numbers, the same for all settings.

    Its inputs are the arrays that it only reads, a1, ..., and the numbers n0, n1, ...; its outputs, the other arrays.
    """
    program, _ = rule.program.lifted()
    kept = [i for i in range(rule.arrays) if i not in rule.targets]
    numbers = range(program.inputs - rule.arrays)
    arrays = [f"const R r{i} = a{i};" for i in range(rule.arrays)]
    single = [f"const R r{rule.arrays + i} = R(n{i});" for i in numbers]
    stores = [f"a{i} = T({_written(x)});" for i, x in zip(rule.targets, program.results, strict=True)]
    inputs = ", ".join([*(f"T a{i}" for i in kept), *(f"float64 n{i}" for i in numbers)])
    outputs = ", ".join(f"T a{i}" for i in rule.targets)
    return Code(inputs, outputs, "\n".join([REGISTERS, *arrays, *single, *_lines(program), *stores]))


def source_of_biased(program: Program, has_bias: bool, keeps_z: bool) -> Code:
    """z = x + b and y = f(z), b of the last axis; x, z and y may be one array, for a thread reads before it writes."""
    bias, added = (", raw T b, int32 units", "T(R(x) + R(b[i % units]))") if has_bias else ("", "x")
    stores = ["z = sum;"] if keeps_z else []
    body = [REGISTERS, f"const T sum = {added};", "const R r0 = sum;", *_lines(program)]
    stores.append(f"y = T({_written(program.result)});")
    return Code(f"T x{bias}", "T z, T y" if keeps_z else "T y", "\n".join([*body, *stores]))


def source_of_gradient_and_sums(program: Program) -> Code:
    """dz of each entry of a matrix, and the sums of its columns, for each `length` rows by themselves.

    A block has `lanes` columns, a power of 2. Its threads go down the rows, and their sums are added by halves: the
    order depends on the shape alone, and no two threads write to one place.
    """
    read = [i for i in range(program.inputs) if program.reads(i)]
    loads = "\n".join(f"const R r{i} = a{i}[at];" for i in read)
    body = f"""{REGISTERS}
    __shared__ S parts[{THREADS}];
    const int across = (units + lanes - 1) / lanes, block = i / {THREADS}, chunk = block / across;
    const int column = block % across * lanes + threadIdx.x % lanes;
    const int stop = rows < (chunk + 1) * length ? rows : (chunk + 1) * length;
    S total = 0;
    for (int row = chunk * length + threadIdx.x / lanes; column < units && row < stop; row += {THREADS} / lanes) {{
        const ptrdiff_t at = ptrdiff_t(row) * units + column;
        {loads}
        {chr(10).join(_lines(program))}
        const T gradient = T({_written(program.result)});
        dz[at] = gradient;
        total += S(gradient);
    }}
    parts[threadIdx.x] = total;
    {by_halves("parts")}
    if (threadIdx.x < lanes && column < units) sums[ptrdiff_t(chunk) * units + column] = parts[threadIdx.x];
    """
    inputs = ", ".join(f"raw T a{i}" for i in read)
    return Code(f"{inputs}, int32 rows, int32 units, int32 lanes, int32 length", "raw T dz, raw S sums", body)


def source_of_entries(program: Program) -> Code:
    """The code of an elementwise loss, a mean of `count` outputs, with its constants as the last numbers.

    Its inputs are the output r0, the target r1, and numbers; its outputs, the term and the derivative.
    """
    lifted, constants = program.lifted()
    numbers = range(program.inputs, program.inputs + len(constants))
    single = [f"const R r{i} = R(n{i});" for i in numbers]
    term, derivative = map(_written, lifted.results)
    stores = [f"term = T(({term}) / R(count));", f"derivative = T(({derivative}) / R(count));"]
    inputs = ", ".join(["T r0, T r1, float64 count", *(f"float64 n{i}" for i in numbers)])
    return Code(inputs, "T term, T derivative", "\n".join([REGISTERS, *single, *_lines(lifted), *stores]))


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
        return f"R({x!r})"
    return "(R(0) / R(0))" if math.isnan(x) else f"(R({math.copysign(1.0, x)}) / R(0))"
