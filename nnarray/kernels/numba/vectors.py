"""Pieces of machine code for Numba: vectors that stay in the registers of the processor.

What LLVM's own vectoriser does not find: a product of a few rows whose sums never leave the registers, combinations of
vectors by the rows of a small matrix, and the largest of several.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from nnarray.kernels.numba.functions import FAST
from nnarray.kernels.numpy.winograd import FILTERS, FORWARD, INPUTS

compiled = numba.njit(cache=True, error_model="numpy", fastmath=FAST, nogil=True)

LANES = 8  # float32 entries of a vector register of AVX2; halves where registers are shorter, pairs where longer
PANEL = 2 * LANES  # columns of a product that are computed at once
ROWS = 6  # rows of a product that are computed at once: 12 sums, and 3 registers for what is multiplied


def _has_long_registers() -> bool:
    """Whether a register holds a row of a panel, and there are 32 of them.

    No, where LLVM cannot say so, or the code is made for a processor that the user names.
    """
    try:
        features = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:
        return False
    return vars(config).get("CPU_NAME") is None and bool(features.get("avx512f"))


LONG = _has_long_registers()
TALL = 16 if LONG else ROWS  # rows that are computed at once where weights come from memory: they are read once
AHEAD = 1024  # entries between what is computed and what is asked for from memory

VECTOR, LONG_VECTOR = (ir.VectorType(ir.FloatType(), count) for count in (LANES, PANEL))
FLAGS = ("contract", "reassoc", "nsz")


def pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Where an entry of a flat array lies."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


def load(builder: Any, place: Any, kind: Any = VECTOR) -> Any:
    """The entries of a vector."""
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=4)


def store(builder: Any, vector: Any, place: Any) -> None:
    """Write the entries of a vector."""
    builder.store(vector, builder.bitcast(place, vector.type.as_pointer()), align=4)


def _filled(builder: Any, number: Any, kind: Any = VECTOR) -> Any:
    """A vector with the same number in every lane."""
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, zero)
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count))


def constant(value: float) -> Any:
    """A number in every lane."""
    return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)


def _fetch(builder: Any, place: Any) -> None:
    """Ask for a line of memory that is read later."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(place, byte), *(ir.Constant(number, each) for each in (0, 3, 1))])


def _combination(matrix: Any) -> Any:
    """An intrinsic: the rows of a small matrix as sums of vectors that lie `step` apart, written `stride` apart."""

    @intrinsic
    def combine(typing: Any, source: Any, at: Any, step: Any, target: Any, to: Any, stride: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, at, step, target, to, stride = arguments
            kinds = signature.args
            vectors: list[Any] = []
            for _ in range(matrix.shape[1]):
                vectors.append(load(builder, pointer(context, builder, kinds[0], source, at)))
                at = builder.add(at, step)
            for row in matrix:
                total: Any = None
                for factor, vector in zip(row, vectors, strict=True):
                    if factor:
                        term = vector if factor == 1 else builder.fmul(vector, constant(factor), flags=FLAGS)
                        total = term if total is None else builder.fadd(total, term, flags=FLAGS)
                store(builder, total, pointer(context, builder, kinds[3], target, to))
                to = builder.add(to, stride)
            return context.get_dummy_value()

        index = types.int64
        return types.void(source, index, index, target, index, index), code

    return combine


def _product_of(
    counts: Iterable[int], *, adding: bool = False, panels: int = 1, kind: Any = VECTOR, fetching: bool = False
) -> Any:
    """An intrinsic: c[r, :] <- max(bias + sum over o, k of a[r, o, k] b[o, k, :], least) for PANEL columns.

    The first argument is the number of rows, one of `counts`: each has its own code, in vectors of this kind. Offsets
    are counted in entries of flat arrays: `at`, `to` and `out` are the first ones; the others are steps. With `adding`,
    the sums begin with what is in c instead of the bias. With several `panels` of columns, `outer` is 1, and `b_outer`
    is the step from one panel to the next. With `fetching`, lines of b are asked for from memory before their turn.
    """
    settings: dict[str, Any] = {"adding": adding, "panels": panels, "kind": kind, "fetching": fetching}

    @intrinsic
    def product(
        typing: Any, rows: Any,
        a: Any, at: Any, a_row: Any, a_outer: Any, a_inner: Any,
        b: Any, to: Any, b_outer: Any, b_inner: Any,
        c: Any, out: Any, c_row: Any,
        outer: Any, inner: Any, bias: Any, first: Any, least: Any,
    ) -> Any:  # fmt: skip
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            rows, *others = arguments
            end, codes = builder.append_basic_block(), {each: builder.append_basic_block() for each in counts}
            choice = builder.switch(rows, end)
            for count, block in codes.items():
                choice.add_case(ir.Constant(rows.type, count), block)
                builder.position_at_end(block)
                _sums_of(context, builder, signature.args[1:], others, count, **settings)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        n = types.int64
        return types.void(n, a, n, n, n, n, b, n, n, n, c, n, n, n, n, bias, n, types.float32), code

    return product


def _sums_of(
    context: Any, builder: Any, kinds: Any, arguments: Any, rows: int,
    *, adding: bool, panels: int, kind: Any, fetching: bool,
) -> None:  # fmt: skip
    """The code of `_product_of` for a number of rows."""
    (a, at, a_row, a_outer, a_inner, b, to, b_outer, b_inner, c, out, c_row, outer, inner, bias, first, least) = arguments  # fmt: skip  # noqa: E501
    parts = PANEL // kind.count
    sums = [[cgutils.alloca_once(builder, kind) for _ in range(parts * panels)] for _ in range(rows)]
    steps = [ir.Constant(ir.IntType(64), part * kind.count) for part in range(parts * panels)]
    c_pointer = pointer(context, builder, kinds[9], c, out)
    start = c_pointer if adding else pointer(context, builder, kinds[14], bias, first)
    for row in sums:
        for step, each in zip(steps, row, strict=True):
            builder.store(load(builder, builder.gep(start, [step]), kind), each)
        start = builder.gep(start, [c_row]) if adding else start
    a_start, b_start = pointer(context, builder, kinds[0], a, at), pointer(context, builder, kinds[5], b, to)
    with cgutils.for_range(builder, outer) as o:
        a_line = builder.gep(a_start, [builder.mul(o.index, a_outer)])
        b_line = builder.gep(b_start, [builder.mul(o.index, b_outer)])
        with cgutils.for_range(builder, inner) as k:
            a_pointer = builder.gep(a_line, [builder.mul(k.index, a_inner)])
            b_pointer = builder.gep(b_line, [builder.mul(k.index, b_inner)])
            right: list[Any] = []
            if fetching:
                _fetch(builder, builder.gep(b_pointer, [ir.Constant(ir.IntType(64), AHEAD)]))
            for _ in range(panels):
                right += [load(builder, builder.gep(b_pointer, [step]), kind) for step in steps[:parts]]
                b_pointer = builder.gep(b_pointer, [b_outer])
            for row in sums:
                left = _filled(builder, builder.load(a_pointer, align=4), kind)
                for factor, each in zip(right, row, strict=True):
                    term = builder.fmul(left, factor, flags=FLAGS)
                    builder.store(builder.fadd(builder.load(each), term, flags=FLAGS), each)
                a_pointer = builder.gep(a_pointer, [a_row])
    floor = _filled(builder, least, kind)
    for row in sums:
        for step, each in zip(steps, row, strict=True):
            total = builder.load(each)
            total = builder.select(builder.fcmp_ordered("<", total, floor), floor, total)  # nan stays nan
            store(builder, total, builder.gep(c_pointer, [step]))
        c_pointer = builder.gep(c_pointer, [c_row])


inputs, forward, backward = _combination(INPUTS), _combination(FORWARD), _combination(FORWARD.T)
one_moved, two_moved = _combination(np.eye(1)), _combination(np.eye(2))
filters_forward, filters_backward = _combination(FILTERS), _combination(FILTERS.T)
product, added_product = (_product_of(range(1, ROWS + 1), adding=adding) for adding in (False, True))
wide_product = _product_of((1, 2), panels=2)  # with more sums, none waits for the one before
tall_product = _product_of(range(1, TALL + 1), kind=LONG_VECTOR if LONG else VECTOR, fetching=True)


def _largest_of(vectors: int) -> Any:
    """An intrinsic: y <- max over rows and columns, `down` and `across` entries apart, of some channels; nan wins."""

    @intrinsic
    def largest(
        typing: Any, x: Any, at: Any, down: Any, across: Any, rows: Any, columns: Any, y: Any, to: Any
    ) -> Any:  # fmt: skip
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, at, down, across, rows, columns, y, to = arguments
            best = [cgutils.alloca_once_value(builder, constant(-np.inf)) for _ in range(vectors)]
            steps = [ir.Constant(ir.IntType(64), v * LANES) for v in range(vectors)]
            start = pointer(context, builder, signature.args[0], x, at)
            with cgutils.for_range(builder, rows) as i:
                line = builder.gep(start, [builder.mul(i.index, down)])
                with cgutils.for_range(builder, columns) as j:
                    current = builder.gep(line, [builder.mul(j.index, across)])
                    for step, kept in zip(steps, best, strict=True):
                        seen, before = load(builder, builder.gep(current, [step])), builder.load(kept)
                        won = builder.fcmp_ordered(">", seen, before)
                        won = builder.or_(won, builder.fcmp_unordered("uno", seen, seen))
                        builder.store(builder.select(won, seen, before), kept)
            current = pointer(context, builder, signature.args[6], y, to)
            for step, kept in zip(steps, best, strict=True):
                store(builder, builder.load(kept), builder.gep(current, [step]))
            return context.get_dummy_value()

        n = types.int64
        return types.void(x, n, n, n, n, n, y, n), code

    return largest


MANY = 4  # vectors whose comparisons need not wait for each other
largest1, largest4 = _largest_of(1), _largest_of(MANY)


@intrinsic
def to_first(
    typing: Any, x: Any, at: Any, down: Any, across: Any, rows: Any, columns: Any, y: Any, dy: Any, to: Any, dx: Any
) -> Any:
    """Add dy, of LANES channels, to dx at the first entry, row by row, that is y; entries lie as in `largest`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, at, down, across, rows, columns, y, dy, to, dx = arguments
        kinds = signature.args
        best, gradient = (
            load(builder, pointer(context, builder, kinds[i], array, to)) for i, array in ((6, y), (7, dy))
        )
        left = cgutils.alloca_once_value(builder, gradient)  # what no entry has been given yet
        seen, given = (pointer(context, builder, kinds[i], array, at) for i, array in ((0, x), (9, dx)))
        with cgutils.for_range(builder, rows) as i:
            line = builder.mul(i.index, down)
            with cgutils.for_range(builder, columns) as j:
                step = builder.add(line, builder.mul(j.index, across))
                won = builder.fcmp_ordered("==", load(builder, builder.gep(seen, [step])), best)
                rest, place = builder.load(left), builder.gep(given, [step])
                part = builder.select(won, rest, constant(0.0))
                store(builder, builder.fadd(load(builder, place), part, flags=FLAGS), place)
                builder.store(builder.select(won, constant(0.0), rest), left)
        return context.get_dummy_value()

    n = types.int64
    return types.void(x, n, n, n, n, n, y, dy, n, dx), code
