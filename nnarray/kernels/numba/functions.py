"""Functions of one number for Numba, which vectorise in float32, and loops that apply a definition to each entry.

A definition is compiled from its program, so that a new one needs nothing here. Loops are called by their address:
each is compiled by itself, and what calls it is compiled once for all.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic, overload, register_jitable

from nnarray.kernels.expressions import Operand, Program, is_register
from nnarray.kernels.functions import Function

# Sums may be taken in any order, so that they fill the vector registers; nan and infinity are still handed on.
FAST = {"contract", "reassoc", "nsz", "arcp"}
EXACT = {"contract"}  # in another order, b m + (1 - b) g may become g + b (m - g): nan at infinity
compiled = numba.njit(cache=True, error_model="numpy", fastmath=FAST)

# A piece of compiled functions, written into each of them. What is called instead may come from the disk or from this
# process, optimised once or twice: the last bits would depend on what was compiled when.
INLINED: Any = {"error_model": "numpy", "fastmath": FAST, "forceinline": True}
piece = register_jitable(**INLINED)

f32 = np.float32


@intrinsic
def _float_of_bits(context: Any, bits: Any) -> Any:
    """The float32 whose bits are those of an int32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


def exp(x: Any) -> Any:
    """exp x; in float32 2^n p(f) with n + f = x / ln 2, within (2 + |x| / 2) 1e-7 of it, limited beyond -87 and 88."""
    return math.exp(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent; in float32 x p(x^2) / q(x^2), within 4e-7 of it."""
    return math.tanh(x)


@overload(exp, jit_options=INLINED)
def _exp(x: Any) -> Any:
    def precise(x: Any) -> Any:
        return math.exp(x)

    if x != types.float32:
        return precise
    low, high, per_ln2, half, bias = f32(-87.0), f32(88.0), f32(1.4426950408889634), f32(0.5), np.int32(127)
    # 2^f for |f| <= 1/2, by a least maximum fit of the relative error
    c0, c1, c2, c3 = (
        f32(1.0000000005541678),
        f32(0.6931472057372661),
        f32(0.24022646890631974),
        f32(0.05550328776965408),
    )
    c4, c5, c6 = f32(0.009618488957326645), f32(0.001339993121925075), f32(0.00015345811950282106)

    def implementation(x: Any) -> Any:
        t = min(max(x, low), high) * per_ln2
        n = f32(math.floor(t + half))
        f = t - n
        p = c0 + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * c6)))))
        return p * _float_of_bits((np.int32(n) + bias) << np.int32(23))  # pyright: ignore[reportCallIssue]

    return implementation


@overload(tanh, jit_options=INLINED)
def _tanh(x: Any) -> Any:
    def precise(x: Any) -> Any:
        return math.tanh(x)

    if x != types.float32:
        return precise
    far, one = f32(9.0), f32(1.0)
    # tanh(x) / x for |x| <= 9, by a least maximum fit of the relative error
    p1, p2, p3, p4 = (
        f32(0.13381019234657288),
        f32(0.0034955802839249),
        f32(2.06089553103083e-05),
        f32(1.33544908464955e-08),
    )
    q1, q2, q3, q4 = (
        f32(0.46714335680007935),
        f32(0.0258769523352384),
        f32(0.00032856219331733),
        f32(7.77648722305457e-07),
    )

    def implementation(x: Any) -> Any:
        x = min(max(x, -far), far)
        s = x * x
        y = x * (one + s * (p1 + s * (p2 + s * (p3 + s * p4)))) / (one + s * (q1 + s * (q2 + s * (q3 + s * q4))))
        return min(max(y, -one), one)

    return implementation


# --- Programs ----------------------------------------------------------------------------------------------------

FLAGS = tuple(sorted(FAST))
COMPARISONS = {"greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "=="}
ALSO = {"abs": "fabs"}
"""Where they have another name in `math`."""
OWN = {"exp": exp, "tanh": tanh}
"""Quick ones, in the place of the functions of that name in `math`."""


def _computed(flags: Sequence[str], own: Mapping[str, Any]) -> Any:
    """An intrinsic: the result of a program of three numbers; those that it has no inputs for are left."""

    def computed(typing: Any, text: Any, first: Any, second: Any, third: Any) -> Any:
        if not isinstance(text, types.StringLiteral):  # JSON
            return None
        program, kind = Program(*json.loads(text.literal_value)), first

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return results(context, builder, kind, program, arguments[1 : 1 + program.inputs], flags, own)[0]

        return kind(text, kind, kind, kind), code

    return intrinsic(prefer_literal=True)(computed)


computed = _computed(FLAGS, OWN)
computed_exactly = _computed(sorted(EXACT), {})


def results(
    context: Any,
    builder: Any,
    kind: Any,
    program: Program,
    inputs: Sequence[Any],
    flags: Sequence[str],
    own: Mapping[str, Any] = OWN,
) -> list[Any]:
    """The results of a program of numbers of one kind."""
    registers = list(inputs)

    def value(x: Operand) -> Any:
        return registers[x] if is_register(x) else context.get_constant(kind, x)

    for name, operands in program.operations:
        registers.append(_operation(context, builder, kind, name, list(map(value, operands)), flags, own))
    return list(map(value, program.results))


def _operation(
    context: Any,
    builder: Any,
    kind: Any,
    name: str,
    operands: list[Any],
    flags: Sequence[str],
    own: Mapping[str, Any],
) -> Any:
    """The code of one operation on numbers of one kind."""
    a, b = operands[0], operands[-1]
    arithmetic = {
        "add": builder.fadd,
        "subtract": builder.fsub,
        "multiply": builder.fmul,
        "divide": builder.fdiv,
    }
    if name in arithmetic:
        return arithmetic[name](a, b, flags=flags)
    if name == "negative":
        return builder.fneg(a, flags=flags)
    if name in COMPARISONS:
        return builder.fcmp_ordered(COMPARISONS[name], a, b)
    if name in ("maximum", "minimum"):  # nan wins
        wins = builder.fcmp_ordered("<" if name == "maximum" else ">", a, b)
        return builder.select(builder.or_(wins, builder.fcmp_unordered("uno", b, b)), b, a)
    if name == "where":
        return builder.select(*operands)
    if name == "logical_and":
        return builder.and_(a, b)
    if name == "isfinite":
        top = context.get_constant(kind, math.inf)  # a - a == 0 is taken for true where a is a sum
        return builder.and_(builder.fcmp_ordered("<", a, top), builder.fcmp_ordered(">", a, builder.fneg(top)))
    function = context.typing_context.resolve_value_type(own.get(name) or getattr(math, ALSO.get(name, name)))
    signature = function.get_call_type(context.typing_context, (kind,), {})
    return context.get_function(function, signature)(builder, [a])


# --- Loops -------------------------------------------------------------------------------------------------------


class Loops:
    """The addresses of an activation's loops, for numbers of one dtype."""

    def __init__(self, function: Function, dtype: Any) -> None:
        forward, backward = function.forward_program(dtype), function.backward_program(dtype)
        self.reads_input, self.changes = backward.reads(1), bool(forward.operations)
        loops = _forward_loop(json.dumps(forward), self.reads_input), _backward_loop(json.dumps(backward))
        self.kept = [loop_of(loop, dtype) for loop in loops]  # as long as which the machine code lives
        self.forward, self.backward = (each.address for each in self.kept)


loops_of = functools.cache(Loops)


def addresses(functions: Sequence[Function], dtype: Any) -> tuple[Any, Any, bool]:
    """The addresses of the loops of some layers, forward and backward, and whether any of them reads its inputs.

    Forward, it is 0 where there is nothing to do without a bias.
    """
    loops = [loops_of(function, dtype) for function in functions]
    forward, backward = (
        np.asarray(each) for each in ([a.changes * a.forward for a in loops], [a.backward for a in loops])
    )
    return forward, backward, any(each.reads_input for each in loops)


@functools.cache
def loop_of_program(program: Program, dtype: Any) -> Any:
    """A loop y <- program of d, x and y, entry by entry; a program of fewer inputs reads the first ones."""
    return loop_of(_backward_loop(json.dumps(program)), dtype)


def _forward_loop(text: str, keeps_input: bool) -> Any:
    def forward(z: Any, x: Any, bias: Any, rows: int, columns: int) -> None:
        """x <- z + b, if anybody reads it, and z <- f(z + b); rows of features."""
        zs, xs, each = carray(z, (rows, columns)), carray(x, (rows, columns)), carray(bias, (rows,))
        for i in range(rows):
            row, kept, b = zs[i], xs[i], each[i]
            for j in range(columns):
                entry = row[j] + b
                if keeps_input:
                    kept[j] = entry
                row[j] = computed(text, entry, entry, entry)

    return forward


def _backward_loop(text: str) -> Any:
    def backward(delta: Any, x: Any, y: Any, rows: int, columns: int) -> None:
        """y <- the pullback of delta, x and y: over delta, a choice would be a masked write, which is slow."""
        ds, xs, ys = carray(delta, (rows, columns)), carray(x, (rows, columns)), carray(y, (rows, columns))
        for i in range(rows):
            d, before, after = ds[i], xs[i], ys[i]
            for j in range(columns):
                after[j] = computed(text, d[j], before[j], after[j])

    return backward


_OPERATIONS = Path(__file__).read_text(encoding="utf-8")  # Numba looks at the file of the loop alone


def loop_of(loop: Any, dtype: Any, first: Any = None) -> Any:
    """A loop that has an address; its name on disk is another one where its formula or this file has changed.

    It takes three pointers, to numbers of the dtype but for the first one if that is said, and two counts.
    """
    cells = repr([_OPERATIONS, *(cell.cell_contents for cell in loop.__closure__)])
    loop.__qualname__ = f"{loop.__name__}_{hashlib.sha256(cells.encode()).hexdigest()[:16]}"
    pointer = types.CPointer(numba.from_dtype(dtype))
    signature = types.void(first or pointer, pointer, pointer, types.intp, types.intp)
    return numba.cfunc(signature, cache=True, error_model="numpy", fastmath=FAST)(loop)


def _called(typing: Any, loop: Any, first: Any, second: Any, third: Any, rows: Any, columns: Any) -> Any:
    """Call a loop by its address, on contiguous arrays."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, *arrays, rows, columns = arguments
        kinds = signature.args[1:4]
        pointers = [context.make_array(k)(context, builder, a).data for k, a in zip(kinds, arrays, strict=True)]
        parts = [*pointers, rows, columns]
        kind = ir.FunctionType(ir.VoidType(), [part.type for part in parts])
        builder.call(builder.inttoptr(address, kind.as_pointer()), parts)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, first, second, third, n, n), code


called: Any = intrinsic(_called)
