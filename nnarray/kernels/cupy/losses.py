"""Losses of CuPy arrays and their gradients in one launch; of cross-entropies a thread a row, where rows are short."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.kernels.cupy.sources import REGISTERS, THREADS, Code, by_halves, source_of_entries
from nnarray.kernels.entries import program_of

cp: Any = cupy

SHORT = 64  # classes of a row that one thread can go through while others wait for memory

LARGEST = """
    const ptrdiff_t start = row * classes;
    const R far = R(limit), nothing = R(0) / R(0);
    R largest = -far, sum = 0, mass = 0;
    bool wrong = false;
    for (int k = 0; k < classes; ++k) {
        const R x = z[start + k];
        wrong = wrong || x != x;
        largest = x > largest ? x : largest;
    }
    largest = largest > far ? far : largest;
"""
"""Of the row of the number `row`, and whether it has a NaN."""

EACH_CLASS = """
    for (int k = 0; k < classes; ++k) {
        R x = z[start + k];
        x = (x > far ? far : x < -far ? -far : x) - largest;
        const R e = exp(x);
        gradient[start + k] = T(e);
        sum += e;
"""
"""The class `k`, for which `gradient` holds `e` until all are summed."""

CROSS_ENTROPY = Code(
    "raw T z, raw T t, int32 classes, float64 limit",
    "raw T gradient, T loss",
    f"""{REGISTERS}
    const ptrdiff_t row = i;
    {LARGEST}
    R linear = 0;
    {EACH_CLASS}
        const R share = t[start + k];
        mass += share;
        linear += share * x;
    }}
    loss = T(wrong ? nothing : mass * log(sum) - linear);
    for (int k = 0; k < classes; ++k) {{
        const R p = gradient[start + k] / sum, share = t[start + k];
        gradient[start + k] = T(wrong ? nothing : p * mass - share);
    }}
    """,
)

OF_LABELS = f"""{LARGEST}
    const auto label = labels[row];
    R own = 0;
    {EACH_CLASS}
        if (k == label) {{
            own = x;
            mass = 1;
        }}
    }}
    const R loss = (wrong ? nothing : mass * log(sum) - own) / R(total);
    for (int k = 0; k < classes; ++k) {{
        const R p = gradient[start + k] / sum * mass;
        gradient[start + k] = T((wrong ? nothing : k == label ? p - R(1) : p) / R(total));
    }}
"""
"""A label that is no class has no loss."""

CROSS_ENTROPY_OF_LABELS = Code(
    "raw T z, raw S labels, int32 classes, float64 limit",
    "raw T gradient, T losses",
    f"""{REGISTERS}
    const ptrdiff_t row = i;
    const int total = 1;
    {OF_LABELS}
    losses = T(loss);
    """,
)

REDUCED_CROSS_ENTROPY_OF_LABELS = Code(
    "raw T z, raw S labels, int64 rows, int32 classes, float64 limit, int64 total",
    "raw T gradient, raw T sums",
    f"""{REGISTERS}
    __shared__ R parts[{THREADS}];
    const int lanes = 1;
    const ptrdiff_t row = i;
    parts[threadIdx.x] = 0;
    if (row < rows) {{
        {OF_LABELS}
        parts[threadIdx.x] = loss;
    }}
    {by_halves("parts")}
    if (threadIdx.x == 0) sums[i / {THREADS}] = T(parts[0]);
    """,
)
"""The losses of each 256 rows are added by halves, so that the order is always the same."""

CODES = {
    "cross_entropy": CROSS_ENTROPY,
    "cross_entropy_of_labels": CROSS_ENTROPY_OF_LABELS,
    "reduced_cross_entropy_of_labels": REDUCED_CROSS_ENTROPY_OF_LABELS,
}
_LAUNCH = {name: cp.ElementwiseKernel(*code, f"nnarray_{name}") for name, code in CODES.items()}


def _is_short(logits: Any) -> bool:
    return logits.dtype.itemsize >= 4 and 0 < logits.shape[-1] <= SHORT and logits.size > 0


def _limit(z: Any) -> float:
    return float(cp.finfo(z.dtype).max) / 2


def _of_rows(name: str, logits: Any, target: Any) -> tuple[Any, Any]:
    """The losses of all rows, and the gradient of their sum."""
    z, t = cp.ascontiguousarray(logits), cp.ascontiguousarray(target)
    gradient, losses = cp.empty_like(z), cp.empty(z.shape[:-1], dtype=z.dtype)
    _LAUNCH[name](z, t, z.shape[-1], _limit(z), gradient, losses)
    return losses, gradient


@kernels.cross_entropy.fast("cupy")
def cross_entropy(logits: Any, target: Any) -> Any:
    """In one launch."""
    if not _is_short(logits) or logits.dtype != target.dtype:
        return kernels.cross_entropy.definition(logits, target)
    return _of_rows("cross_entropy", logits, target)


@kernels.cross_entropy_of_labels.fast("cupy")
def cross_entropy_of_labels(logits: Any, labels: Any) -> Any:
    """In one launch, from the labels themselves."""
    if not _is_short(logits):
        return kernels.cross_entropy_of_labels.definition(logits, labels)
    return _of_rows("cross_entropy_of_labels", logits, labels)


@kernels.reduced_cross_entropy_of_labels.fast("cupy")
def reduced_cross_entropy_of_labels(logits: Any, labels: Any, *, total: int | None) -> Any:
    """In one launch up to 256 rows; the sums of more are added up in a second one."""
    if not _is_short(logits):
        return kernels.reduced_cross_entropy_of_labels.definition(logits, labels, total=total)
    z, t = cp.ascontiguousarray(logits), cp.ascontiguousarray(labels)
    blocks = -(-t.size // THREADS)
    gradient, sums = cp.empty_like(z), cp.empty(blocks, dtype=z.dtype)
    _LAUNCH["reduced_cross_entropy_of_labels"](
        z, t, t.size, z.shape[-1], _limit(z), total or 1, gradient, sums, size=blocks * THREADS, block_size=THREADS
    )
    return sums[0] if blocks == 1 else sums.sum(), gradient


@functools.cache
def _launch_of_entries(code: Code) -> Any:
    return cp.ElementwiseKernel(*code, "nnarray_entries")


@functools.lru_cache
def _of_entries(entry: Callable[..., Any], dtype: Any) -> tuple[Any, tuple[float, ...]] | None:
    """The kernel of an elementwise loss and its constants; a method is known by its object, whatever that equals."""
    program = program_of(entry, dtype)
    return program and (_launch_of_entries(source_of_entries(program)), program.lifted()[1])


@kernels.mean_of_entries.fast("cupy")
def mean_of_entries(outputs: Any, target: Any, entry: Callable[..., Any]) -> tuple[Any, Any]:
    """Terms and derivatives in one launch."""
    alike = outputs.dtype == target.dtype and outputs.shape == target.shape
    found = _of_entries(entry, outputs.dtype) if alike and outputs.dtype.itemsize >= 4 else None
    if found is None:
        return kernels.mean_of_entries.definition(outputs, target, entry)
    launch, constants = found
    shape = outputs.shape[0], math.prod(outputs.shape[1:])
    terms, gradient = launch(outputs, target, float(shape[1]), *constants)
    terms = terms.reshape(shape)
    return terms[:, 0] if shape[1] == 1 else terms.sum(axis=1), gradient
