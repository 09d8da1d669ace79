"""Batch normalisation, ReLU and the largest entry of each window in one pass over images, compiled by Numba.

Kept are the inputs, and the normalised entry that each window returns, so that its gradient finds the place again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nnarray.kernels.numba.channels import LEAST, PATCH, by_rows, mean_and_variance, repeated, summed_rows, takes_rows
from nnarray.kernels.numba.memory import empty
from nnarray.kernels.numba.vectors import FLAGS, LANES, compiled, constant, load, pointer, store
from nnarray.kernels.standard.windows import Window
from nnarray.kernels.threads import shared

MANY_ENTRIES = 100_000  # of a thread's part at least


def _normal(builder: Any, constants: list[Any], place: Any) -> Any:
    """(x - mean) / deviation: without flags, as both directions must give exactly the same numbers."""
    return builder.fmul(builder.fsub(load(builder, place), constants[0]), constants[1])


def _constants(context: Any, builder: Any, kind: Any, numbers: Any, at: Any, channels: Any, count: int) -> list[Any]:
    """LANES entries of each row of (count, channels)."""
    found, start = [], pointer(context, builder, kind, numbers, at)
    for _ in range(count):
        found.append(load(builder, start))
        start = builder.gep(start, [channels])
    return found


@intrinsic
def _largest_normal(
    typing: Any, x: Any, at: Any, down: Any, across: Any, rows: Any, columns: Any,
    numbers: Any, first: Any, channels: Any, y: Any, z: Any, to: Any,
) -> Any:  # fmt: skip
    """y <- max(max over a window of z w + b, 0), and z where that is, nan if it is not above 0; LANES channels."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, at, down, across, rows, columns, numbers, first, channels, y, z, to = arguments
        kinds = signature.args
        each = _constants(context, builder, kinds[6], numbers, first, channels, 4)
        best = cgutils.alloca_once_value(builder, constant(-np.inf))
        where = cgutils.alloca_once_value(builder, constant(np.nan))
        start = pointer(context, builder, kinds[0], x, at)
        with cgutils.for_range(builder, rows) as i:
            line = builder.gep(start, [builder.mul(i.index, down)])
            with cgutils.for_range(builder, columns) as j:
                normal = _normal(builder, each, builder.gep(line, [builder.mul(j.index, across)]))
                scaled = builder.fadd(builder.fmul(normal, each[2], flags=FLAGS), each[3], flags=FLAGS)
                before = builder.load(best)
                won = builder.fcmp_ordered(">", scaled, before)
                builder.store(builder.select(won, scaled, before), best)
                builder.store(builder.select(won, normal, builder.load(where)), where)
        largest, zero = builder.load(best), constant(0.0)
        is_active = builder.fcmp_ordered(">", largest, zero)
        store(builder, builder.select(is_active, largest, zero), pointer(context, builder, kinds[9], y, to))
        kept = builder.select(is_active, builder.load(where), constant(np.nan))
        store(builder, kept, pointer(context, builder, kinds[10], z, to))
        return context.get_dummy_value()

    n = types.int64
    return types.void(x, n, n, n, n, n, numbers, n, n, y, z, n), code


@intrinsic
def _back_to_normal(
    typing: Any, x: Any, at: Any, down: Any, across: Any, rows: Any, columns: Any,
    numbers: Any, first: Any, channels: Any, dy: Any, z: Any, to: Any, dx: Any,
) -> Any:  # fmt: skip
    """Dx <- a dy at the first entry of a window that is z, plus b z + c at all of them; LANES channels."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, at, down, across, rows, columns, numbers, first, channels, dy, z, to, dx = arguments
        kinds, zero = signature.args, constant(0.0)
        each = _constants(context, builder, kinds[6], numbers, first, channels, 5)
        gradient = load(builder, pointer(context, builder, kinds[9], dy, to))
        left = cgutils.alloca_once_value(builder, builder.fmul(gradient, each[2], flags=FLAGS))
        best = load(builder, pointer(context, builder, kinds[10], z, to))
        seen, given = (pointer(context, builder, kinds[i], array, at) for i, array in ((0, x), (12, dx)))
        with cgutils.for_range(builder, rows) as i:
            line = builder.mul(i.index, down)
            with cgutils.for_range(builder, columns) as j:
                step = builder.add(line, builder.mul(j.index, across))
                normal = _normal(builder, each, builder.gep(seen, [step]))
                won, rest = builder.fcmp_ordered("==", normal, best), builder.load(left)
                share = builder.fadd(builder.fmul(normal, each[3], flags=FLAGS), each[4], flags=FLAGS)
                share = builder.fadd(share, builder.select(won, rest, zero), flags=FLAGS)
                store(builder, share, builder.gep(given, [step]))
                builder.store(builder.select(won, zero, rest), left)
        return context.get_dummy_value()

    n = types.int64
    return types.void(x, n, n, n, n, n, numbers, n, n, dy, z, n, dx), code


@compiled
def _pool(x: Any, numbers: Any, sizes: Any, window: Any, lines: Any, y: Any, z: Any) -> None:
    """Rows of positions of y, and of z; sizes are height, width, channels and positions."""
    height, width, channels, down, across = sizes
    taps_down, taps_across = window
    for line in range(lines[0], lines[1]):
        start = (line // down * height + line % down * taps_down) * width * channels
        for q in range(across):
            at, to = start + q * taps_across * channels, (line * across + q) * channels
            for k in range(0, channels, LANES):
                _largest_normal(  # pyright: ignore[reportCallIssue]
                    x, at + k, width * channels, channels, taps_down, taps_across, numbers, k, channels, y, z, to + k
                )


@compiled
def _pool_sums(dy: Any, z: Any, rows: Any, total: Any, along: Any) -> None:
    """total += sum of dy and along += sum of dy z, where z is a number."""
    zero = np.float32(0)
    few, few_along = np.zeros(total.size, np.float32), np.zeros(total.size, np.float32)
    patch = max(PATCH // total.size, LEAST)
    for start in range(rows[0], rows[1], patch):
        few[:], few_along[:] = zero, zero
        for r in range(start, min(start + patch, rows[1])):
            v, w = dy[r], z[r]
            for k in range(v.size):
                entry, normal = v[k], w[k]
                is_active = normal == normal
                few[k] += entry if is_active else zero
                few_along[k] += entry * normal if is_active else zero
        for k in range(total.size):
            total[k] += few[k]
            along[k] += few_along[k]


@compiled
def _pool_back(x: Any, numbers: Any, sizes: Any, window: Any, images: Any, dy: Any, z: Any, dx: Any) -> None:
    """Dx of some images; the entries beside the windows, which are on the right and below, have no part of dy."""
    height, width, channels, down, across = sizes
    taps_down, taps_across = window
    nothing, none = np.zeros(channels, np.float32), np.full(channels, np.nan, np.float32)
    right, below = across * taps_across, down * taps_down
    row = width * channels
    for n in range(images[0], images[1]):
        for p in range(down):
            start = (n * height + p * taps_down) * row
            for q in range(across):
                at, to = start + q * taps_across * channels, ((n * down + p) * across + q) * channels
                for k in range(0, channels, LANES):
                    _back_to_normal(  # pyright: ignore[reportCallIssue]
                        x, at + k, row, channels, taps_down, taps_across, numbers, k, channels, dy, z, to + k, dx
                    )
        at, under = n * height * row + right * channels, (n * height + below) * row
        for k in range(0, channels, LANES):
            _back_to_normal(  # pyright: ignore[reportCallIssue]
                x, at + k, row, channels, below, width - right, numbers, k, channels, nothing, none, k, dx
            )
            _back_to_normal(  # pyright: ignore[reportCallIssue]
                x, under + k, row, channels, height - below, width, numbers, k, channels, nothing, none, k, dx
            )


@compiled
def _relu(x: Any, numbers: Any, rows: Any, y: Any) -> None:
    """y <- max(z w + b, 0), over some rows."""
    zero = np.float32(0)
    mean, inverse, weight, bias = numbers[0], numbers[1], numbers[2], numbers[3]
    for r in range(rows[0], rows[1]):
        v, u = x[r], y[r]
        for k in range(v.size):
            scaled = (v[k] - mean[k]) * inverse[k] * weight[k] + bias[k]
            u[k] = scaled if scaled > zero else zero


@compiled
def _relu_sums(dy: Any, x: Any, y: Any, numbers: Any, rows: Any, total: Any, along: Any) -> None:
    """total += sum of dy and along += sum of dy z, where y > 0."""
    zero = np.float32(0)
    mean, inverse = numbers[0], numbers[1]
    few, few_along = np.zeros(total.size, np.float32), np.zeros(total.size, np.float32)
    patch = max(PATCH // total.size, LEAST)
    for start in range(rows[0], rows[1], patch):
        few[:], few_along[:] = zero, zero
        for r in range(start, min(start + patch, rows[1])):
            d, v, u = dy[r], x[r], y[r]
            for k in range(v.size):
                entry = d[k]
                entry = entry if u[k] > zero else zero
                few[k] += entry
                few_along[k] += entry * (v[k] - mean[k]) * inverse[k]
        for k in range(total.size):
            total[k] += few[k]
            along[k] += few_along[k]


@compiled
def _relu_back(dy: Any, x: Any, y: Any, numbers: Any, rows: Any, dx: Any) -> None:
    """Dx <- a dy where y > 0, plus b z + c, over some rows."""
    zero = np.float32(0)
    mean, inverse, a, b, c = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    for r in range(rows[0], rows[1]):
        d, v, u, w = dy[r], x[r], y[r], dx[r]
        for k in range(v.size):
            entry = d[k]
            entry = entry if u[k] > zero else zero
            w[k] = entry * a[k] + (v[k] - mean[k]) * inverse[k] * b[k] + c[k]


# --- As they are called ----------------------------------------------------------------------------------------------


def takes(x: Any, weight: Any, bias: Any, window: Window | None) -> bool:
    """Whether this can be computed here: windows that lie side by side, and whole vectors of channels."""
    if not (takes_rows(x, weight, bias) and x.ndim > 1 and bool(np.isfinite(weight).all() and np.isfinite(bias).all())):
        return False
    if window is None:
        return True
    return window.is_apart and x.ndim == 4 and x.shape[3] % LANES == 0 and min(window.output_size(x.shape[1:3])) > 0


def normalised_relu(x: Any, weight: Any, bias: Any, epsilon: float, window: Window | None) -> Any:
    """y, mean, variance and the pullback; None where the variance is too large for the dtype, or a number is nan."""
    channels = x.shape[-1]
    mean, variance = mean_and_variance(x.reshape(-1, channels))
    inverse = (1.0 / np.sqrt(variance + epsilon)).astype(np.float32)
    if not (inverse > 0).all():
        return None
    mean, small = mean.astype(np.float32), (1,) * (x.ndim - 1) + (-1,)
    moments = mean, inverse
    y, pullback = (
        _of_entries(x, moments, weight, bias) if window is None else _of_windows(x, moments, weight, bias, window)
    )
    return y, mean.reshape(small), variance.astype(np.float32).reshape(small), pullback


def _of_entries(x: Any, moments: Any, weight: Any, bias: Any) -> tuple[Any, Callable[[Any], Any]]:
    y = empty(x.shape)
    rows, numbers = repeated(x, np.stack([*moments, weight, bias]))
    by_rows(lambda part: _relu(rows, numbers, part, y.reshape(rows.shape)), rows)

    def pullback(dy: Any) -> Any:
        dy, dx = np.ascontiguousarray(dy, np.float32), empty(x.shape)
        d, v, u = (each.reshape(rows.shape) for each in (dy, x, y))
        sums = summed_rows(lambda part, db, dw: _relu_sums(d, v, u, numbers, part, db, dw), rows, x.shape[-1])
        constants, dw, db = _gradients(sums, moments, weight, rows.size // x.shape[-1])
        _, wide = repeated(x, constants)
        by_rows(lambda part: _relu_back(d, v, u, wide, part, dx.reshape(rows.shape)), rows)
        return dx, dw, db

    return y, pullback


def _of_windows(x: Any, moments: Any, weight: Any, bias: Any, window: Window) -> tuple[Any, Callable[[Any], Any]]:
    n, (down, across), channels = x.shape[0], window.output_size(x.shape[1:3]), x.shape[3]
    y, z = empty((n, down, across, channels)), empty((n, down, across, channels))
    sizes, entries, normal = (*x.shape[1:], down, across), x.reshape(-1), z.reshape(-1)
    numbers = np.stack([*moments, weight, bias]).reshape(-1)

    def some(start: int, stop: int) -> None:
        _pool(entries, numbers, sizes, window.size, (start, stop), y.reshape(-1), normal)

    shared(some, n * down, MANY_ENTRIES * down // x[0].size + 1)

    def pullback(dy: Any) -> Any:
        dy, dx = np.ascontiguousarray(dy, np.float32), empty(x.shape)
        (rows, _), (seen, _) = repeated(dy, None), repeated(z, None)
        sums = summed_rows(lambda part, db, dw: _pool_sums(rows, seen, part, db, dw), rows, channels)
        constants, dw, db = _gradients(sums, moments, weight, x.size // channels)

        def some(start: int, stop: int) -> None:
            arrays = dy.reshape(-1), normal, dx.reshape(-1)
            _pool_back(entries, constants.reshape(-1), sizes, window.size, (start, stop), *arrays)

        shared(some, n, MANY_ENTRIES // x[0].size + 1)
        return dx, dw, db

    return y, pullback


def _gradients(sums: Any, moments: Any, weight: Any, count: int) -> tuple[Any, Any, Any]:
    """Mean, 1 / deviation, a, b and c of each channel, from which dx follows; dw and db."""
    (mean, inverse), (db, dw) = moments, sums
    a = weight * inverse
    constants = np.stack([mean, inverse, a, -a * dw / count, -a * db / count]).astype(np.float32)
    return constants, dw.astype(np.float32), db.astype(np.float32)
