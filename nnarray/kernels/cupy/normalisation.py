"""Batch normalisation of CuPy arrays: a few launches, whatever the number of axes.

Rows are split into parts of 1024. A block takes a part of up to 32 channels; its threads go down the rows, and what
they found is added by halves. The order depends on the shape alone.
"""

from __future__ import annotations

import math
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.kernels.cupy.linear import LENGTH
from nnarray.kernels.cupy.sources import REGISTERS, THREADS, Code, by_halves

cp: Any = cupy

COLUMNS = f"""
    const int across = (units + lanes - 1) / lanes, block = i / {THREADS}, chunk = block / across;
    const int column = block % across * lanes + threadIdx.x % lanes;
    const int begin = chunk * length, stop = column >= units ? begin : rows < begin + length ? rows : begin + length;
    const int step = {THREADS} / lanes;
"""
"""Which rows and which column a thread has a part in."""

EACH_ROW = "for (int row = begin + threadIdx.x / lanes; row < stop; row += step)"
AT = "ptrdiff_t(row) * units + column"


MOMENTS = Code(
    "raw T x, int32 rows, int32 units, int32 lanes, int32 length, float64 small, float64 large",
    "raw S means, raw S deviations",
    f"""{REGISTERS}{COLUMNS}
    __shared__ R sums[{THREADS}];
    __shared__ R sizes[{THREADS}];
    const int first = threadIdx.x % lanes, count = (rows < begin + length ? rows : begin + length) - begin;
    R total = 0, most = 0;
    {EACH_ROW} total += R(x[{AT}]) / R(count);
    sums[threadIdx.x] = total;
    {by_halves("sums")}
    const R mean = sums[first];
    __syncthreads();
    total = 0;
    {EACH_ROW} {{
        const R d = R(x[{AT}]) - mean, size = d < 0 ? -d : d;
        total += d * d;
        most = size > most ? size : most;
    }}
    sums[threadIdx.x] = total;
    sizes[threadIdx.x] = most;
    {by_halves("sums")}
    {by_halves("sizes", "{0} = {1} > {0} ? {1} : {0};")}
    const R square = sums[first], largest = sizes[first];
    const bool fits = (square > R(small) && square < R(large)) || largest == 0;
    const R scale = fits ? R(1) : largest / 4;
    __syncthreads();
    total = 0;
    if (!fits) {EACH_ROW} {{
        const R d = (R(x[{AT}]) - mean) / scale;
        total += d * d;
    }}
    sums[threadIdx.x] = total;
    {by_halves("sums")}
    if (threadIdx.x < lanes && column < units) {{
        means[chunk * units + column] = S(mean);
        deviations[chunk * units + column] = S(scale * sqrt((fits ? square : sums[first]) / R(count)));
    }}
    """,
)
"""Mean and root mean square deviation of each part of a column; scaled only where a square leaves the range."""

TOGETHER = Code(
    "raw S means, raw S deviations, int32 rows, int32 units, int32 length, int32 chunks, float64 epsilon",
    "S mean, S variance, S inverse",
    """
    S total = 0, largest = 0;
    for (int k = 0; k < chunks; ++k) {
        const int count = k < chunks - 1 ? length : rows - k * length;
        total += means[ptrdiff_t(k) * units + i] * (S(count) / S(rows));
    }
    mean = total;
    for (int k = 0; k < chunks; ++k) {
        const S d = deviations[ptrdiff_t(k) * units + i], m = fabs(means[ptrdiff_t(k) * units + i] - total);
        largest = d > largest || d != d ? d : largest;
        largest = m > largest || m != m ? m : largest;
    }
    const S scale = largest == 0 ? S(1) : largest;
    S squares = 0;
    for (int k = 0; k < chunks; ++k) {
        const int count = k < chunks - 1 ? length : rows - k * length;
        const S d = deviations[ptrdiff_t(k) * units + i] / scale, m = (means[ptrdiff_t(k) * units + i] - total) / scale;
        squares += (d * d + m * m) * (S(count) / S(rows));
    }
    const S deviation = scale * sqrt(squares), least = S(sqrt(epsilon));
    const S size = deviation > least || deviation != deviation ? deviation : least;
    inverse = S(1) / (size * sqrt((deviation / size) * (deviation / size) + (least / size) * (least / size)));
    variance = deviation * deviation;
    """,
)
"""The moments of all rows from those of the parts: their own deviations, and those of their means."""

NORMALISED = Code(
    "T x, raw S mean, raw S inverse, int32 units",
    "T z",
    f"{REGISTERS} z = T((R(x) - R(mean[i % units])) * R(inverse[i % units]));",
)

GRADIENT_SUMS = Code(
    "raw T dy, raw T z, int32 rows, int32 units, int32 lanes, int32 length",
    "raw S db, raw S dw",
    f"""{REGISTERS}{COLUMNS}
    __shared__ R sums[{THREADS}];
    __shared__ R products[{THREADS}];
    R total = 0, along = 0;
    {EACH_ROW} {{
        const R g = dy[{AT}];
        total += g;
        along += g * R(z[{AT}]);
    }}
    sums[threadIdx.x] = total;
    products[threadIdx.x] = along;
    {by_halves("sums")}
    {by_halves("products")}
    if (threadIdx.x < lanes && column < units) {{
        db[chunk * units + column] = S(sums[threadIdx.x]);
        dw[chunk * units + column] = S(products[threadIdx.x]);
    }}
    """,
)

BACK = Code(
    "T dy, T z, raw T weight, raw S inverse, raw S db, raw S dw, int32 rows, int32 units",
    "T dx",
    f"""{REGISTERS}
    const int c = i % units;
    const R g = R(dy) - R(db[c]) / R(rows) - R(z) * (R(dw[c]) / R(rows));
    dx = T(R(weight[c]) * R(inverse[c]) * g);
    """,
)

SCALE_AND_SHIFT = Code(
    "T z, raw T weight, raw T bias, int32 units",
    "T y",
    f"{REGISTERS} y = T(R(z) * R(weight[i % units]) + R(bias[i % units]));",
)

MOVING_AVERAGE = Code(
    "T running, S value, float64 momentum, float64 factor",
    "T y",
    f"{REGISTERS} y = T((R(1) - R(momentum)) * R(running) + R(momentum) * (R(value) * R(factor)));",
)

CODES = {
    "moments": MOMENTS,
    "together": TOGETHER,
    "normalised": NORMALISED,
    "gradient_sums": GRADIENT_SUMS,
    "batch_norm_back": BACK,
    "scale_and_shift": SCALE_AND_SHIFT,
    "moving_average": MOVING_AVERAGE,
}
_LAUNCH = {name: cp.ElementwiseKernel(*code, f"nnarray_{name}") for name, code in CODES.items()}


def at_least_float32(dtype: Any) -> Any:
    """The dtype, or float32 if it is narrower."""
    return dtype if dtype.itemsize >= 4 else cp.dtype("float32")


def _blocks(rows: int, units: int) -> tuple[tuple[int, ...], int, dict[str, int]]:
    """The sizes that `COLUMNS` reads, how many parts the rows have, and how to launch."""
    lanes, chunks = min(32, 1 << (units - 1).bit_length()), -(-rows // LENGTH)
    size = chunks * -(-units // lanes) * THREADS
    return (rows, units, lanes, LENGTH), chunks, {"size": size, "block_size": THREADS}


def normalise(x: Any, *, axes: tuple[int, ...], epsilon: float) -> Any:
    """The moments of parts, those of all, and z: a launch each, over all axes but the last."""
    if axes != tuple(range(x.ndim - 1)) or not x.size:
        return kernels.normalise.definition(x, axes=axes, epsilon=epsilon)
    x, units, wide = cp.ascontiguousarray(x), x.shape[-1], at_least_float32(x.dtype)
    sizes, chunks, launch = _blocks(x.size // units, units)
    limits, (parts, mean) = cp.finfo(wide), (cp.empty((2, chunks, units), wide), cp.empty((3, units), wide))
    small, large = float(limits.tiny) / float(limits.eps), float(limits.max)
    _LAUNCH["moments"](x, *sizes, small, large, *parts, **launch)
    _LAUNCH["together"](*parts, sizes[0], units, LENGTH, chunks, epsilon, *mean)
    z = cp.empty(x.shape, dtype=x.dtype)
    _LAUNCH["normalised"](x, mean[0], mean[2], units, z)
    mean, variance, inverse = (each.reshape(*(1,) * (x.ndim - 1), units) for each in mean)
    return z, inverse, mean, variance


@kernels.batch_norm_pullback.fast("cupy")
def batch_norm_pullback(dy: Any, z: Any, weight: Any, inverse: Any) -> Any:
    """The sums of parts, those of all, and dx: a launch each."""
    if not dy.size or not dy.dtype == z.dtype == weight.dtype:
        return kernels.batch_norm_pullback.definition(dy, z, weight, inverse)
    dy, z, units, wide = cp.ascontiguousarray(dy), cp.ascontiguousarray(z), dy.shape[-1], at_least_float32(dy.dtype)
    sizes, chunks, launch = _blocks(dy.size // units, units)
    parts = cp.empty((2, chunks, units), wide)
    _LAUNCH["gradient_sums"](dy, z, *sizes, *parts, **launch)
    db, dw = parts[:, 0] if chunks == 1 else parts.sum(axis=1)
    dx = cp.empty(dy.shape, dtype=dy.dtype)
    inverse = inverse.astype(wide, copy=False).reshape(-1)
    _LAUNCH["batch_norm_back"](dy, z, weight, inverse, db, dw, sizes[0], units, dx)
    return dx, dw.astype(dy.dtype, copy=False), db.astype(dy.dtype, copy=False)


@kernels.scale_and_shift.fast("cupy")
def scale_and_shift(z: Any, weight: Any, bias: Any) -> Any:
    """In one launch."""
    if not z.dtype == weight.dtype == bias.dtype:
        return kernels.scale_and_shift.definition(z, weight, bias)
    y = cp.empty(z.shape, dtype=z.dtype)
    _LAUNCH["scale_and_shift"](z, weight, bias, math.prod(weight.shape), y)
    return y


@kernels.moving_average.fast("cupy")
def moving_average(running: Any, value: Any, *, momentum: float, factor: float = 1.0) -> Any:
    """In one launch."""
    return _LAUNCH["moving_average"](running, value.reshape(running.shape), momentum, factor)
