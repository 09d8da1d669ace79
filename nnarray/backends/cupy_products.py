"""Matrix products for CuPy: CuPy's own, and direct calls of cuBLAS while a graph is recorded.

CuPy does not call cuBLAS while a stream is captured, because cuBLAS could allocate memory then. A handle with its own
workspace allocates none.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray.backends.variables import during

cp: Any = cupy

WORKSPACE = 32 << 20  # bytes, as NVIDIA advises for compute capability 9.0
AS_IT_IS, TRANSPOSED = 0, 1  # constants of cuBLAS
DEFAULT_ALGORITHM = -1
DTYPES = {"float16": 2, "float32": 0, "float64": 1}
SUMS = {"float16": 68, "float32": 68, "float64": 70}
"""The type in which products are summed: float32 without TF32, or float64."""


def matmul(a: Any, b: Any, /) -> Any:
    """As in the standard."""
    recorder = _recorder.get()
    return cp.matmul(a, b) if recorder is None else recorder.matmul(a, b)


class Recorder:
    """cuBLAS with its own stream and memory; it does not wait for the host."""

    def __init__(self, stream: Any) -> None:
        self.workspace = cp.cuda.alloc(WORKSPACE)
        handle = ctypes.c_void_p()
        _ask("cublasCreate_v2", ctypes.byref(handle))
        self.handle = handle
        self.release = weakref.finalize(self, _ask, "cublasDestroy_v2", handle)
        _ask("cublasSetStream_v2", handle, ctypes.c_void_p(stream.ptr))
        _ask("cublasSetWorkspace_v2", handle, ctypes.c_void_p(self.workspace.ptr), ctypes.c_size_t(WORKSPACE))

    def matmul(self, a: Any, b: Any) -> Any:
        """As the function; products that are left to CuPy cannot be recorded."""
        if a.dtype.name not in DTYPES or a.dtype != b.dtype or min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2]:
            return cp.matmul(a, b)
        if b.ndim == 2:  # all rows in one product
            return self._product(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
        many = cp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (cp.broadcast_to(x, (*many, *x.shape[-2:])).reshape(-1, *x.shape[-2:]) for x in (a, b))
        return self._product(a, b).reshape(*many, a.shape[1], b.shape[2])

    def _product(self, a: Any, b: Any) -> Any:
        """The product of two matrices, or of two stacks of matrices.

        cuBLAS is column-major, but our matrices are row-major: it computes the transposed product, b^T a^T = c^T.
        """
        rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
        c = cp.empty((*a.shape[:-1], columns), dtype=a.dtype)
        if not c.size or not inner:
            return cp.zeros_like(c)
        a, b, count = _by_rows_or_columns(a), _by_rows_or_columns(b), a.shape[0] if a.ndim == 3 else 1
        number = ctypes.c_double if a.dtype == cp.float64 else ctypes.c_float
        dtype, one, zero = DTYPES[a.dtype.name], number(1), number(0)
        _ask(
            "cublasGemmStridedBatchedEx",
            self.handle,
            *(_turn(b), _turn(a), columns, rows, inner, ctypes.byref(one)),
            *(ctypes.c_void_p(b.data.ptr), dtype, _leading(b), _step(inner * columns)),
            *(ctypes.c_void_p(a.data.ptr), dtype, _leading(a), _step(rows * inner)),
            *(ctypes.byref(zero), ctypes.c_void_p(c.data.ptr), dtype, columns, _step(rows * columns)),
            *(count, SUMS[a.dtype.name], DEFAULT_ALGORITHM),
        )
        return c


def recorded_by(recorder: Recorder) -> AbstractContextManager[None]:
    """Within the block, the recorder computes products."""
    return during(_recorder, recorder)


_recorder: ContextVar[Recorder | None] = ContextVar("_recorder", default=None)
_step = ctypes.c_longlong


def _by_rows_or_columns(x: Any) -> Any:
    """The matrices, each contiguous by rows or by columns."""
    return x if x.flags.c_contiguous or x.swapaxes(-1, -2).flags.c_contiguous else cp.ascontiguousarray(x)


def _turn(x: Any) -> int:
    return AS_IT_IS if x.flags.c_contiguous else TRANSPOSED


def _leading(x: Any) -> int:
    """The leading dimension: the distance of neighbours along the strided axis."""
    return x.shape[-1] if x.flags.c_contiguous else x.shape[-2]


def _ask(name: str, *arguments: Any) -> None:
    status = getattr(_cublas(), name)(*arguments)
    if status:
        raise RuntimeError(f"{name} of cuBLAS failed with status {status}")


@functools.cache
def _cublas() -> ctypes.CDLL:
    """The library that CuPy itself loaded."""
    from cupy_backends.cuda.libs import cublas  # pyright: ignore[reportMissingImports]

    return ctypes.CDLL(cublas.__file__)
