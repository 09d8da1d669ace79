"""Normalisation of each row of CuPy arrays by itself: one launch, in which a block of threads takes a row.

The sums of the threads are added by halves. The order depends on the length of a row alone.
"""

from __future__ import annotations

from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.kernels.cupy import normalisation
from nnarray.kernels.cupy.normalisation import at_least_float32
from nnarray.kernels.cupy.sources import REGISTERS, THREADS, Code, by_halves

cp: Any = cupy

ROW = f"""{REGISTERS}
    const int lanes = 1;
    const ptrdiff_t row = i / {THREADS}, first = row * units;
"""
EACH = f"for (int k = threadIdx.x; k < units; k += {THREADS})"

NORMALISED_ROWS = Code(
    "raw T x, int32 units, float64 small, float64 large, float64 epsilon",
    "raw T z, raw S means, raw S variances, raw S inverses",
    f"""{ROW}
    __shared__ R sums[{THREADS}];
    __shared__ R sizes[{THREADS}];
    R total = 0, most = 0;
    {EACH} total += R(x[first + k]) / R(units);
    sums[threadIdx.x] = total;
    {by_halves("sums")}
    const R mean = sums[0];
    __syncthreads();
    total = 0;
    {EACH} {{
        const R d = R(x[first + k]) - mean, size = d < 0 ? -d : d;
        total += d * d;
        most = size > most ? size : most;
    }}
    sums[threadIdx.x] = total;
    sizes[threadIdx.x] = most;
    {by_halves("sums")}
    {by_halves("sizes", "{0} = {1} > {0} ? {1} : {0};")}
    const R square = sums[0], largest = sizes[0];
    const bool fits = (square > R(small) && square < R(large)) || largest == 0;
    const R scale = fits ? R(1) : largest / 4;
    __syncthreads();
    total = 0;
    if (!fits) {EACH} {{
        const R d = (R(x[first + k]) - mean) / scale;
        total += d * d;
    }}
    sums[threadIdx.x] = total;
    {by_halves("sums")}
    const R deviation = scale * sqrt((fits ? square : sums[0]) / R(units)), least = R(sqrt(epsilon));
    const R size = deviation > least || deviation != deviation ? deviation : least, a = deviation / size;
    const R inverse = R(1) / (size * sqrt(a * a + (least / size) * (least / size)));
    {EACH} z[first + k] = T((R(x[first + k]) - mean) * inverse);
    if (threadIdx.x == 0) {{
        means[row] = S(mean);
        variances[row] = S(deviation * deviation);
        inverses[row] = S(inverse);
    }}
    """,
)
"""Scaled only where a square leaves the range, as `MOMENTS` are."""

ROWS_BACK = Code(
    "raw T dz, raw T z, raw S inverses, int32 units",
    "raw T dx",
    f"""{ROW}
    __shared__ R sums[{THREADS}];
    __shared__ R products[{THREADS}];
    R total = 0, along = 0;
    {EACH} {{
        const R g = dz[first + k];
        total += g;
        along += g * R(z[first + k]);
    }}
    sums[threadIdx.x] = total;
    products[threadIdx.x] = along;
    {by_halves("sums")}
    {by_halves("products")}
    const R mean = sums[0] / R(units), slant = products[0] / R(units), inverse = inverses[row];
    {EACH} dx[first + k] = T(inverse * (R(dz[first + k]) - mean - R(z[first + k]) * slant));
    """,
)

ROWS_AGAIN = Code(
    "T dy, T x, raw T weight, raw S mean, raw S inverse, int32 units",
    "T z, T dz",
    f"""{REGISTERS}
    const ptrdiff_t row = i / units;
    z = T((R(x) - R(mean[row])) * R(inverse[row]));
    dz = T(R(dy) * R(weight[i % units]));
    """,
)

CODES = {"normalised_rows": NORMALISED_ROWS, "rows_back": ROWS_BACK, "rows_again": ROWS_AGAIN}
_LAUNCH = {name: cp.ElementwiseKernel(*code, f"nnarray_{name}") for name, code in CODES.items()}


def _is_of_rows(x: Any, axes: tuple[int, ...]) -> bool:
    return axes == (x.ndim - 1,) and x.size > 0


def _a_block_a_row(x: Any) -> dict[str, int]:
    return {"size": x.size // x.shape[-1] * THREADS, "block_size": THREADS}


@kernels.normalise.fast("cupy")
def normalise(x: Any, *, axes: tuple[int, ...], epsilon: float) -> Any:
    """In one launch over the last axis; over the others, as channels are."""
    if not _is_of_rows(x, axes):
        return normalisation.normalise(x, axes=axes, epsilon=epsilon)
    x, wide = cp.ascontiguousarray(x), at_least_float32(x.dtype)
    limits, z = cp.finfo(wide), cp.empty(x.shape, dtype=x.dtype)
    mean, variance, inverse = cp.empty((3, *x.shape[:-1], 1), dtype=wide)
    small, large = float(limits.tiny) / float(limits.eps), float(limits.max)
    _LAUNCH["normalised_rows"](x, x.shape[-1], small, large, epsilon, z, mean, variance, inverse, **_a_block_a_row(x))
    return z, inverse, mean, variance


@kernels.normalise_pullback.fast("cupy")
def normalise_pullback(dz: Any, z: Any, inverse: Any, *, axes: tuple[int, ...]) -> Any:
    """In one launch over the last axis."""
    if not _is_of_rows(dz, axes) or dz.dtype != z.dtype:
        return kernels.normalise_pullback.definition(dz, z, inverse, axes=axes)
    dz, z, dx = cp.ascontiguousarray(dz), cp.ascontiguousarray(z), cp.empty(dz.shape, dtype=dz.dtype)
    inverse = cp.ascontiguousarray(inverse, dtype=at_least_float32(dz.dtype))
    _LAUNCH["rows_back"](dz, z, inverse, dz.shape[-1], dx, **_a_block_a_row(dz))
    return dx


@kernels.layer_norm_pullback.fast("cupy")
def layer_norm_pullback(dy: Any, x: Any, weight: Any, mean: Any, inverse: Any) -> Any:
    """The normalised rows again, and their gradient: one launch; dx is another, and dw and db are sums."""
    if not x.size or not dy.dtype == x.dtype == weight.dtype or x.dtype.itemsize < 4:
        return kernels.layer_norm_pullback.definition(dy, x, weight, mean, inverse)
    z, dz = cp.empty_like(x, order="C"), cp.empty_like(x, order="C")
    moments = (cp.ascontiguousarray(each, dtype=x.dtype) for each in (mean, inverse))
    _LAUNCH["rows_again"](dy, x, cp.ascontiguousarray(weight), *moments, x.shape[-1], z, dz)
    dx, axes = normalise_pullback(dz, z, inverse, axes=(x.ndim - 1,)), tuple(range(x.ndim - 1))
    return dx, cp.sum(dy * z, axis=axes), cp.sum(dy, axis=axes)
