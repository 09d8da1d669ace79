"""Products of vectors, matrices and arrays."""

from __future__ import annotations

import math
from typing import Any

from nnarray.recording.rules.reductions import axes_of
from nnarray.typing import Namespace


def matmul(xp: Namespace, x1: Any, x2: Any) -> Any:
    """dL/dx1 = g x2', dL/dx2 = x1' g; a vector is a row on the left, and a column on the right."""
    if x1.ndim == x2.ndim == 2:  # usual, and fast
        return xp.matmul(x1, x2), (
            lambda xp, g: xp.matmul(g, x2.T),
            lambda xp, g: xp.matmul(x1.T, g),
        )

    def matrices(xp: Namespace, g: Any) -> tuple[Any, Any, Any]:
        if x2.ndim == 1:
            g = xp.expand_dims(g, axis=-1)
        if x1.ndim == 1:
            g = xp.expand_dims(g, axis=-2)
        return g, xp.expand_dims(x1, axis=0) if x1.ndim == 1 else x1, xp.expand_dims(x2, axis=1) if x2.ndim == 1 else x2

    def to_first(xp: Namespace, g: Any) -> Any:
        g, _, b = matrices(xp, g)
        dx = xp.matmul(g, xp.matrix_transpose(b))
        return dx[..., 0, :] if x1.ndim == 1 else dx

    def to_second(xp: Namespace, g: Any) -> Any:
        g, a, _ = matrices(xp, g)
        if x2.ndim == 2 and a.ndim > 2:  # one product instead of many and their sum
            g, a = (xp.reshape(each, (math.prod(each.shape[:-1]), each.shape[-1])) for each in (g, a))
        dx = xp.matmul(xp.matrix_transpose(a), g)
        return dx[..., 0] if x2.ndim == 1 else dx

    return xp.matmul(x1, x2), (to_first, to_second)


def vecdot(xp: Namespace, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return xp.sum(x1 * x2, axis=axis)


def tensordot(xp: Namespace, x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    if isinstance(axes, int):
        axes = tuple(range(x1.ndim - axes, x1.ndim)), tuple(range(axes))
    summed1, summed2 = axes_of(tuple(axes[0]), x1.ndim), axes_of(tuple(axes[1]), x2.ndim)
    kept1 = tuple(i for i in range(x1.ndim) if i not in summed1)
    kept2 = tuple(i for i in range(x2.ndim) if i not in summed2)
    rows, columns = tuple(x1.shape[i] for i in kept1), tuple(x2.shape[i] for i in kept2)
    inner, outer1, outer2 = math.prod(x1.shape[i] for i in summed1), math.prod(rows), math.prod(columns)
    a = xp.reshape(xp.permute_dims(x1, (*kept1, *summed1)), (outer1, inner))
    b = xp.reshape(xp.permute_dims(x2, (*summed2, *kept2)), (inner, outer2))
    return xp.reshape(xp.matmul(a, b), (*rows, *columns))


RULES = {"matmul": matmul}
COMPOSED = {"tensordot": tensordot, "vecdot": vecdot}
