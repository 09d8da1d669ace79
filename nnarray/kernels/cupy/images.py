"""Faster versions for images in CuPy arrays: convolutions as one product, pooling in one launch.

Sums over a window are taken in the definition's order, tap by tap, in the dtype of the array; half precision is added
up in float32 and rounded once. The sums of products are the library's own, of all taps at once.
"""

from __future__ import annotations

import math
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.backends.cupy_products import matmul
from nnarray.kernels.cupy import cudnn
from nnarray.kernels.cupy.linear import activated, gradient_alone, gradient_and_sums
from nnarray.kernels.cupy.sources import REGISTERS, Code
from nnarray.kernels.functions import Function
from nnarray.kernels.standard.windows import Window

cp: Any = cupy

MOST = 2**31 - 1  # what a thread counts in 32 bits: a division of 64 bits takes a GPU several times as long

SETTINGS = (
    "int32 images, int32 height, int32 width, int32 channels, int32 down, int32 across, int32 taps_down, "
    "int32 taps_across, int32 stride_down, int32 stride_across, int32 top, int32 left, int32 dilation_down, "
    "int32 dilation_across"
)
POSITION = """
    unsigned int r = i;
    const int c = r % channels; r /= channels;
    const int q = r % across; r /= across;
    const int p = r % down, n = r / down;
"""
"""Which output entry (n, p, q, c) a thread computes."""

PIXEL = """
    unsigned int r = i;
    const int c = r % channels; r /= channels;
    const int b = r % width; r /= width;
    const int a = r % height, n = r / height;
"""
"""Which entry (n, a, b, c) of the image a thread computes."""

EACH_TAP = """
    for (int u = 0; u < taps_down; ++u) for (int v = 0; v < taps_across; ++v) {
        const int a = p * stride_down + u * dilation_down - top, b = q * stride_across + v * dilation_across - left;
        const bool inside = a >= 0 && a < height && b >= 0 && b < width;
        const ptrdiff_t at = ((ptrdiff_t(n) * height + a) * width + b) * channels + c;
"""
"""The taps of a window in their order, and where each of them lies in the image."""

EACH_WINDOW = """
    for (int u = 0; u < taps_down; ++u) {
        const int below = a + top - u * dilation_down, p = below / stride_down;
        if (below < 0 || below % stride_down || p >= down) continue;
        for (int v = 0; v < taps_across; ++v) {
            const int beside = b + left - v * dilation_across, q = beside / stride_across;
            if (beside < 0 || beside % stride_across || q >= across) continue;
            const ptrdiff_t position = (ptrdiff_t(n) * down + p) * across + q;
"""
"""The windows that meet a pixel, in the order of the taps that meet it."""

WINDOWS = Code(
    f"raw T x, int32 groups, {SETTINGS}",
    "T y",
    """
    unsigned int r = i;
    const int depth = channels / groups;
    const int c = r % depth; r /= depth;
    const int v = r % taps_across; r /= taps_across;
    const int u = r % taps_down; r /= taps_down;
    const int q = r % across; r /= across;
    const int p = r % down; r /= down;
    const int n = r % images, g = r / images;
    const int a = p * stride_down + u * dilation_down - top, b = q * stride_across + v * dilation_across - left;
    const bool inside = a >= 0 && a < height && b >= 0 && b < width;
    y = inside ? T(x[((ptrdiff_t(n) * height + a) * width + b) * channels + g * depth + c]) : T(0);
    """,
)
"""What each window sees: y[g, n, p, q, u, v, c] = x[n, p s + u d, q s + v d, c of group g]."""

WINDOWS_BACK = Code(
    f"raw T dy, int32 groups, {SETTINGS}",
    "T dx",
    f"""{REGISTERS}{PIXEL}
    const int depth = channels / groups, g = c / depth;
    R total = 0;
    {EACH_WINDOW}
            const ptrdiff_t row = ptrdiff_t(g) * images * down * across + position;
            total += R(dy[((row * taps_down + u) * taps_across + v) * depth + c % depth]);
        }}
    }}
    dx = T(total);
    """,
)
"""The pullback of `WINDOWS`: each entry of the image collects from the windows that saw it."""

MAX_POOL = Code(
    f"raw T x, {SETTINGS}",
    "T y",
    f"""{REGISTERS}{POSITION}
    const R beside = R(-1) / R(0);
    R largest = beside;
    {EACH_TAP}
        const R e = inside ? R(x[at]) : beside;
        largest = e > largest || e != e ? e : largest;
    }}
    y = T(largest);
    """,
)

MAX_POOL_BACK = Code(
    f"raw T dy, raw T x, raw T y, {SETTINGS}",
    "T dx",
    f"""{REGISTERS}{PIXEL}
    const R mine = x[i];
    R total = 0;
    {EACH_WINDOW}
            const ptrdiff_t at = position * channels + c;
            if (mine != R(y[at])) continue;
            bool first = true;
            for (int s = 0; first && s <= u; ++s) for (int t = 0; first && t < (s < u ? taps_across : v); ++t) {{
                const int e = p * stride_down + s * dilation_down - top;
                const int f = q * stride_across + t * dilation_across - left;
                const bool inside = e >= 0 && e < height && f >= 0 && f < width;
                first = mine != (inside ? R(x[((ptrdiff_t(n) * height + e) * width + f) * channels + c])
                                        : R(-1) / R(0));
            }}
            if (first) total += R(dy[at]);
        }}
    }}
    dx = T(total);
    """,
)
"""Each entry collects from the windows of which it is the first that is the largest; the padding is -infinity."""

MEAN_POOL = Code(
    f"raw T x, raw T counts, {SETTINGS}",
    "T y",
    f"""{REGISTERS}{POSITION}
    R total = 0;
    {EACH_TAP}
        if (inside) total += R(x[at]);
    }}
    y = T(total / R(counts[p * across + q]));
    """,
)

MEAN_POOL_BACK = Code(
    f"raw T dy, raw T counts, {SETTINGS}",
    "T dx",
    f"""{REGISTERS}{PIXEL}
    R total = 0;
    {EACH_WINDOW}
            total += R(dy[position * channels + c]) / R(counts[p * across + q]);
        }}
    }}
    dx = T(total);
    """,
)

CODES = {
    "windows": WINDOWS,
    "windows_back": WINDOWS_BACK,
    "max_pool": MAX_POOL,
    "max_pool_back": MAX_POOL_BACK,
    "mean_pool": MEAN_POOL,
    "mean_pool_back": MEAN_POOL_BACK,
}
_LAUNCH = {name: cp.ElementwiseKernel(*code, f"nnarray_{name}") for name, code in CODES.items()}


def _settings(x: Any, window: Window) -> tuple[int, ...]:
    """What the sources above read of the images and the window."""
    (top, _), (left, _) = window.padding
    places = window.output_size(x.shape[1:3])
    return (*x.shape, *places, *window.size, *window.stride, top, left, *window.dilation)


def _in_one_launch(name: str, arrays: tuple[Any, ...], settings: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """The result of a source, shape `shape`; the arrays may lie in memory in any way."""
    result = cp.empty(shape, dtype=arrays[0].dtype)
    _LAUNCH[name](*map(cp.ascontiguousarray, arrays), *settings, result)
    return result


def _is_pointwise(window: Window) -> bool:
    return window == Window((1, 1))


def _fits(x: Any, window: Window) -> bool:
    """Whether the matrix of all windows has entries, and no more than a thread can count."""
    entries = x.shape[0] * math.prod(window.output_size(x.shape[1:3])) * math.prod(window.size) * x.shape[3]
    return 0 < entries <= MOST and x.size <= MOST


# --- Convolution -----------------------------------------------------------------------------------------------------


def _windows(x: Any, window: Window, groups: int) -> Any:
    """The matrix of all windows, shape (groups, positions, entries), or (positions, entries) without groups."""
    entries = math.prod(window.size) * x.shape[3] // groups
    if _is_pointwise(window) and groups == 1:
        return x.reshape(-1, entries)
    shape = (groups, x.shape[0], *window.output_size(x.shape[1:3]), *window.size, x.shape[3] // groups)
    seen = _in_one_launch("windows", (x,), (groups, *_settings(x, window)), shape)
    return seen.reshape(-1, entries) if groups == 1 else seen.reshape(groups, -1, entries)


def _by_groups(x: Any, groups: int) -> Any:
    """(rows, columns), or its parts, shape (groups, rows, columns / groups)."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if groups == 1 else rows.reshape(len(rows), groups, -1).transpose(1, 0, 2)


def _together(parts: Any) -> Any:
    """`_by_groups` undone."""
    return parts if parts.ndim == 2 else parts.transpose(1, 0, 2).reshape(parts.shape[1], -1)


def _filters(weight: Any, groups: int) -> Any:
    """A column a filter, by groups: shape (entries, filters), or (groups, entries, filters / groups)."""
    return _by_groups(weight.reshape(-1, weight.shape[3]), groups)


def _turned(x: Any) -> Any:
    return x.swapaxes(-1, -2)


@kernels.convolution.fast("cupy")
def convolution(x: Any, weight: Any, bias: Any, *, window: Window, groups: int = 1) -> Any:
    """All windows as the rows of one matrix, and one product."""
    if not _fits(x, window):
        return kernels.convolution.definition(x, weight, bias, window=window, groups=groups)
    y = _product(x, weight, window, groups)
    if bias is not None:
        y += bias
    return y.reshape(_shape(x, weight, window))


@cudnn.product
def _product(x: Any, weight: Any, window: Window, groups: int) -> Any:
    """A row a position, a column a filter."""
    return _together(matmul(_windows(x, window, groups), _filters(weight, groups)))


def _shape(x: Any, weight: Any, window: Window) -> tuple[int, ...]:
    return (x.shape[0], *window.output_size(x.shape[1:3]), weight.shape[3])


@kernels.activated_convolution.fast("cupy")
def activated_convolution(
    x: Any, weight: Any, bias: Any, *, function: Function, window: Window, groups: int = 1
) -> Any:
    """The product, and a launch for all that follows."""
    if not _fits(x, window):
        return kernels.activated_convolution.definition(
            x, weight, bias, function=function, window=window, groups=groups
        )
    product = cp.ascontiguousarray(_product(x, weight, window, groups))
    return activated(product, bias, function, _shape(x, weight, window))


@kernels.convolution_pullback.fast("cupy")
def convolution_pullback(
    dy: Any,
    x: Any,
    weight: Any,
    *,
    window: Window,
    groups: int = 1,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> Any:
    """Two products; each entry of the image collects from the windows that saw it."""
    if not _fits(x, window):
        return kernels.convolution_pullback.definition(
            dy, x, weight, window=window, groups=groups, input_gradient=input_gradient, bias_gradient=bias_gradient
        )
    db = dy.reshape(-1, dy.shape[3]).sum(axis=0, dtype=dy.dtype) if bias_gradient else None
    return *_products_back(dy, x, weight, window, groups, input_gradient), db


@kernels.activated_convolution_pullback.fast("cupy")
def activated_convolution_pullback(
    dy: Any,
    x: Any,
    weight: Any,
    z: Any,
    y: Any,
    *,
    function: Function,
    window: Window,
    groups: int = 1,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> Any:
    """A launch for dz and db, and the products."""
    dz, db = (gradient_and_sums if bias_gradient else gradient_alone)(dy, z, y, function)
    if not _fits(x, window):
        return kernels.convolution_pullback.definition(
            dz, x, weight, window=window, groups=groups, input_gradient=input_gradient, bias_gradient=bias_gradient
        )
    return *_products_back(dz, x, weight, window, groups, input_gradient), db


@cudnn.products_back
def _products_back(dy: Any, x: Any, weight: Any, window: Window, groups: int, input_gradient: bool) -> tuple[Any, Any]:
    """dx and dW."""
    rows = _by_groups(dy, groups)
    dw = _together(matmul(_turned(_windows(x, window, groups)), rows)).reshape(weight.shape)
    if not input_gradient:
        return None, dw
    gradients = matmul(rows, _turned(_filters(weight, groups)))
    if _is_pointwise(window) and groups == 1:
        return gradients.reshape(x.shape), dw
    return _in_one_launch("windows_back", (gradients,), (groups, *_settings(x, window)), x.shape), dw


# --- Pooling ---------------------------------------------------------------------------------------------------------


def _pooled_shape(x: Any, window: Window) -> tuple[int, ...]:
    return (x.shape[0], *window.output_size(x.shape[1:3]), x.shape[3])


@kernels.max_pool.fast("cupy")
def max_pool(x: Any, *, window: Window) -> Any:
    """In one launch."""
    if x.size > MOST:
        return kernels.max_pool.definition(x, window=window)
    return _in_one_launch("max_pool", (x,), _settings(x, window), _pooled_shape(x, window))


@kernels.max_pool_pullback.fast("cupy")
def max_pool_pullback(dy: Any, x: Any, y: Any, *, window: Window) -> Any:
    """In one launch."""
    if x.size > MOST:
        return kernels.max_pool_pullback.definition(dy, x, y, window=window)
    return _in_one_launch("max_pool_back", (dy, x, y), _settings(x, window), x.shape)


@kernels.mean_pool.fast("cupy")
def mean_pool(x: Any, counts: Any, *, window: Window) -> Any:
    """In one launch."""
    if x.size > MOST:
        return kernels.mean_pool.definition(x, counts, window=window)
    return _in_one_launch("mean_pool", (x, counts), _settings(x, window), _pooled_shape(x, window))


@kernels.mean_pool_pullback.fast("cupy")
def mean_pool_pullback(dy: Any, x: Any, counts: Any, *, window: Window) -> Any:
    """In one launch."""
    if x.size > MOST:
        return kernels.mean_pool_pullback.definition(dy, x, counts, window=window)
    return _in_one_launch("mean_pool_back", (dy, counts), _settings(x, window), x.shape)
