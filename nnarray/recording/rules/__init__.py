"""The tables of functions: what is recorded, composed, without a gradient, or creates arrays.

A rule `rule(xp, x1, x2, ...)` returns y and the pullbacks: for each array, a function (xp, dL/dy) -> dL/dx. `xp` is the
namespace of plain arrays, or within another gradient that of traced ones, so that derivatives of pullbacks exist too.
Broadcasting is undone by the tape.
"""

from __future__ import annotations

import operator

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.recording.rules import elementwise, indexing, linalg, products, reductions, shapes, unknown

RULES = elementwise.RULES | indexing.RULES | products.RULES | reductions.RULES | shapes.RULES | unknown.RULES
COMPOSED = indexing.COMPOSED | products.COMPOSED | reductions.COMPOSED | shapes.COMPOSED
FFT_RULES, FFT_COMPOSED = unknown.FFT_RULES, shapes.FFT_COMPOSED
LINALG_RULES = linalg.RULES | unknown.LINALG_RULES | {name: RULES[name] for name in ("matmul", "matrix_transpose")}
LINALG_COMPOSED = linalg.COMPOSED | {name: COMPOSED[name] for name in ("tensordot", "vecdot")}

# Functions of plain arrays in rules: operators are faster than functions, and take Python's numbers as they are.
PLAIN = {
    "add": operator.add,
    "cast_real": lambda x, dtype, **settings: namespace(x).astype(x, dtype, **settings),
    "divide": operator.truediv,
    "multiply": operator.mul,
    "pow": operator.pow,
    "remainder": operator.mod,
    "subtract": operator.sub,
    "times": kernels.guarded_product,
}

# Functions that no library has.
OWN = str.split("cast_real euclidean full_svd getitem other_qr put_at shared sum_at thin_qr thin_svd times to_device")
OF_SEQUENCES = ("concat", "stack")  # their first argument is a sequence of arrays

# Whole numbers, truth values, new arrays, queries, and steps, whose derivative is 0 wherever it exists.
WITHOUT_GRADIENT = str.split(
    "all any argmax argmin argsort bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift "
    "bitwise_xor ceil count_nonzero equal floor floor_divide greater greater_equal isfinite isin isinf isnan less "
    "less_equal logical_and logical_not logical_or logical_xor matrix_rank nonzero not_equal round searchsorted sign "
    "signbit trunc empty empty_like eye ones ones_like zeros zeros_like "
    "broadcast_shapes can_cast finfo iinfo isdtype result_type"
)
