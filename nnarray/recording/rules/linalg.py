"""Linear algebra: inverses, determinants, factorisations, and norms.

References
----------
.. [1] Giles (2008), Collected matrix derivative results for forward and reverse mode algorithmic differentiation.
.. [2] Murray (2016), Differentiation of the Cholesky decomposition. arXiv:1602.07527.
.. [3] Golub & Pereyra (1973), The differentiation of pseudo-inverses. SIAM Journal on Numerical Analysis 10(2).
.. [4] Walter & Lehmann (2010), Algorithmic differentiation of linear algebra functions. arXiv:1001.1654.
"""

from __future__ import annotations

import math
from typing import Any

from nnarray.backends import device_of
from nnarray.names import by_name
from nnarray.recording.rules.elementwise import to_norm
from nnarray.recording.rules.reductions import kept_shape
from nnarray.recording.rules.unknown import refusing
from nnarray.recording.traced import stripped
from nnarray.typing import Namespace


def _product(xp: Namespace, a: Any, b: Any, c: Any) -> Any:
    return xp.matmul(xp.matmul(a, b), c)


def inv(xp: Namespace, a: Any) -> Any:
    y = xp.linalg.inv(a)
    return y, (lambda xp, g: -_product(xp, xp.matrix_transpose(y), g, xp.matrix_transpose(y)),)


def solve(xp: Namespace, a: Any, b: Any) -> Any:
    x = xp.linalg.solve(a, b)

    def to_b(xp: Namespace, g: Any) -> Any:
        return xp.linalg.solve(xp.matrix_transpose(a), g)

    def to_a(xp: Namespace, g: Any) -> Any:
        g = to_b(xp, g)
        return -(g[..., :, None] * x[..., None, :]) if b.ndim == 1 else -xp.matmul(g, xp.matrix_transpose(x))

    return x, (to_a, to_b)


def det(xp: Namespace, a: Any) -> Any:
    """dL/dy times the matrix of cofactors: y A^-T, and products of entries up to 3 x 3, where A may be singular."""
    y, size = xp.linalg.det(a), a.shape[-1]

    def pullback(xp: Namespace, g: Any) -> Any:
        if size > 3:
            return (g * y)[..., None, None] * xp.matrix_transpose(xp.linalg.inv(a))
        if size == 3:
            cofactors = cross(xp, xp.roll(a, -1, axis=-2), xp.roll(a, -2, axis=-2))
        elif size == 2:
            signs = 2 * xp.eye(2, dtype=a.dtype, device=device_of(a)) - 1
            cofactors = xp.multiply(xp.flip(a, axis=(-2, -1)), signs)
        else:
            cofactors = xp.ones_like(a)
        return g[..., None, None] * cofactors

    return y, (pullback,)


def slogdet(xp: Namespace, a: Any) -> Any:
    y = xp.linalg.slogdet(a)
    return y, (lambda xp, g: g[1][..., None, None] * xp.matrix_transpose(xp.linalg.inv(a)),)


def cholesky(xp: Namespace, a: Any, *, upper: bool = False) -> Any:
    """With L L' = A: symmetric part of L^-T P L^-1, where P is the lower half of L' dL/dL, its diagonal halved [2]_."""
    y = xp.linalg.cholesky(a, upper=upper)

    def pullback(xp: Namespace, g: Any) -> Any:
        low, g = (xp.matrix_transpose(y), xp.matrix_transpose(g)) if upper else (y, g)
        p = _lower_half(xp, xp.matmul(xp.matrix_transpose(low), g))
        upper_factor = xp.matrix_transpose(low)
        s = xp.linalg.solve(upper_factor, xp.matrix_transpose(xp.linalg.solve(upper_factor, xp.matrix_transpose(p))))
        return 0.5 * (s + xp.matrix_transpose(s))

    return y, (pullback,)


def _lower_half(xp: Namespace, a: Any) -> Any:
    return 0.5 * (xp.tril(a) + xp.tril(a, k=-1))


def eigh(xp: Namespace, a: Any) -> Any:
    """V (diag(dL/dw) + F * (V' dL/dV)) V', with F[i, j] = 1 / (w[j] - w[i]) [1]_."""
    y = xp.linalg.eigh(a)
    w, v = y

    def pullback(xp: Namespace, g: Any) -> Any:
        of_w, of_v = g
        inner = _diagonal(xp, of_w) + 0.5 * _turned(xp, xp.matmul(xp.matrix_transpose(v), of_v), w)
        s = _product(xp, v, inner, xp.matrix_transpose(v))
        return 0.5 * (s + xp.matrix_transpose(s))

    return y, (pullback,)


def _turned(xp: Namespace, p: Any, w: Any) -> Any:
    """(p[i, j] - p[j, i]) / (w[j] - w[i]); nan where both w are equal, for their vectors are not unique.

    There it is 0 if p is 0, as in a function of w alone.
    """
    ones = _diagonal(xp, xp.ones_like(w))  # there the numerator is 0
    gap = xp.add(w[..., None, :] - w[..., :, None], ones)
    is_equal = gap == 0
    skew = (p - xp.matrix_transpose(p)) / xp.where(is_equal, xp.ones_like(gap), gap)
    return skew + xp.times(p, xp.where(is_equal, xp.full_like(gap, math.nan), xp.zeros_like(gap)))


def _diagonal(xp: Namespace, w: Any) -> Any:
    """The diagonal matrix with these entries."""
    return xp.multiply(w[..., None], xp.eye(w.shape[-1], dtype=w.dtype, device=device_of(w)))


def thin_svd(xp: Namespace, a: Any) -> Any:
    """U, S and V' of at most as many columns and rows as `a` has [1]_."""
    y = xp.linalg.svd(a, full_matrices=False)
    u, s, vh = y

    def pullback(xp: Namespace, g: Any) -> Any:
        (of_u, of_s, of_vh), ut, v = g, xp.matrix_transpose(u), xp.matrix_transpose(vh)
        of_v, sizes = xp.matrix_transpose(of_vh), s[..., None, :]
        j, k = (_turned(xp, p, s * s) for p in (xp.matmul(ut, of_u), xp.matmul(vh, of_v)))
        dx = _product(xp, u, j * sizes + k * s[..., :, None] + _diagonal(xp, of_s), vh)
        if a.shape[-2] > a.shape[-1]:  # there is something beside the space of U
            dx = dx + xp.matmul(xp.times(of_u - _product(xp, u, ut, of_u), 1 / sizes), vh)
        elif a.shape[-2] < a.shape[-1]:
            beside = xp.times(of_v - _product(xp, v, vh, of_v), 1 / sizes)
            dx = dx + xp.matmul(u, xp.matrix_transpose(beside))
        return dx

    return y, (pullback,)


def svd(xp: Namespace, a: Any, /, *, full_matrices: bool = True) -> Any:
    return (xp.linalg.full_svd if full_matrices and a.shape[-1] != a.shape[-2] else xp.linalg.thin_svd)(a)


def full_svd(xp: Namespace, a: Any) -> Any:
    reason = "the full matrices of svd are not unique, and have no gradient: pass full_matrices=False."
    return xp.linalg.svd(a), (refusing(reason),)


def thin_qr(xp: Namespace, a: Any) -> Any:
    """(dL/dQ + Q M) R^-T, with M symmetric, from the lower half of R dL/dR' - dL/dQ' Q [4]_; rows >= columns."""
    y = xp.linalg.qr(a)
    q, r = y

    def pullback(xp: Namespace, g: Any) -> Any:
        of_q, of_r = g
        m = xp.matmul(r, xp.matrix_transpose(of_r)) - xp.matmul(xp.matrix_transpose(of_q), q)
        m = xp.tril(m) + xp.matrix_transpose(xp.tril(m, k=-1))
        return xp.matrix_transpose(xp.linalg.solve(r, xp.matrix_transpose(of_q + xp.matmul(q, m))))

    return y, (pullback,)


def qr(xp: Namespace, a: Any, /, *, mode: str = "reduced") -> Any:
    rows, columns = a.shape[-2:]
    is_thin = rows >= columns and (mode == "reduced" or rows == columns)
    return xp.linalg.thin_qr(a) if is_thin else xp.linalg.other_qr(a, mode=mode)


def other_qr(xp: Namespace, a: Any, *, mode: str) -> Any:
    reason = "qr has a gradient for mode='reduced' and at least as many rows as columns only."
    return xp.linalg.qr(a, mode=mode), (refusing(reason),)


def pinv(xp: Namespace, a: Any, *, rtol: Any = None) -> Any:
    """For matrices of a fixed rank [3]_."""
    p = xp.linalg.pinv(a, rtol=rtol)

    def pullback(xp: Namespace, g: Any) -> Any:
        pt, gt = xp.matrix_transpose(p), xp.matrix_transpose(g)
        of_rows = _product(xp, gt, p, pt)
        of_columns = _product(xp, pt, p, gt)
        return (
            of_rows
            + of_columns
            - _product(xp, pt, g, pt)
            - xp.matmul(a, xp.matmul(p, of_rows))
            - _product(xp, of_columns, p, a)
        )

    return p, (pullback,)


def eigvalsh(xp: Namespace, a: Any, /) -> Any:
    return xp.linalg.eigh(a)[0]


def svdvals(xp: Namespace, a: Any, /) -> Any:
    return xp.linalg.thin_svd(a)[1]


def matrix_power(xp: Namespace, a: Any, n: int, /) -> Any:
    if n == 0:
        return xp.broadcast_to(xp.eye(a.shape[-1], dtype=a.dtype, device=device_of(a)), a.shape)
    base, y = (xp.linalg.inv(a) if n < 0 else a), None
    for bit in f"{abs(n):b}":
        y = y if y is None else xp.matmul(y, y)
        if bit == "1":
            y = base if y is None else xp.matmul(y, base)
    return y


def diagonal(xp: Namespace, a: Any, /, *, offset: int = 0) -> Any:
    rows, columns = a.shape[-2:]
    first, above = max(-offset, 0), max(offset, 0)
    count = max(min(rows - first, columns - above), 0)
    at = stripped(xp.arange(count, device=device_of(a)))
    flat = xp.reshape(a, (*a.shape[:-2], rows * columns))
    return xp.take(flat, (at + first) * columns + at + above, axis=-1)


def trace(xp: Namespace, a: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return xp.sum(diagonal(xp, a, offset=offset), axis=-1, dtype=dtype)


def outer(xp: Namespace, x1: Any, x2: Any, /) -> Any:
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"outer is for vectors; got shapes {x1.shape} and {x2.shape}. Pass xp.reshape(x, (-1,)).")
    return xp.expand_dims(x1, axis=1) * xp.expand_dims(x2, axis=0)


def cross(xp: Namespace, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    a, b = ([xp.moveaxis(x, axis, -1)[..., i] for i in range(3)] for x in (x1, x2))
    parts = [a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3] for i in range(3)]
    return xp.stack(parts, axis=axis)


def euclidean(xp: Namespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The root of the sum of squares; its derivative at 0 is 0, the smallest of those that there are.

    There is no second derivative at 0: it is nan.
    """
    y = xp.linalg.vector_norm(x, axis=axis, keepdims=keepdims)

    def pullback(xp: Namespace, g: Any) -> Any:
        kept = kept_shape(x.shape, axis)
        return to_norm(xp, xp.reshape(g, kept), x, xp.reshape(y, kept))

    return y, (pullback,)


def vector_norm(xp: Namespace, x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    if ord == 2:
        return xp.linalg.euclidean(x, axis=axis, keepdims=keepdims)
    sizes = xp.abs(x)
    if math.isinf(ord):
        return (xp.max if ord > 0 else xp.min)(sizes, axis=axis, keepdims=keepdims)
    if ord == 0:
        return xp.sum(xp.astype(x != 0, x.dtype), axis=axis, keepdims=keepdims)
    if ord == 1:
        return xp.sum(sizes, axis=axis, keepdims=keepdims)
    return xp.sum(sizes**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


def matrix_norm(xp: Namespace, x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    if ord == "fro":
        return xp.linalg.euclidean(x, axis=(-2, -1), keepdims=keepdims)
    if ord == "nuc":
        y = xp.sum(svdvals(xp, x), axis=-1)
    elif abs(ord) == 2:
        y = (xp.max if ord > 0 else xp.min)(svdvals(xp, x), axis=-1)
    else:
        sums = xp.sum(xp.abs(x), axis=-2 if abs(ord) == 1 else -1)
        y = (xp.max if ord > 0 else xp.min)(sums, axis=-1)
    return y[..., None, None] if keepdims else y


RULES = by_name(cholesky, det, eigh, euclidean, full_svd, inv, other_qr, pinv, slogdet, solve, thin_qr, thin_svd)
COMPOSED = by_name(cross, diagonal, eigvalsh, matrix_norm, matrix_power, outer, qr, svd, svdvals, trace, vector_norm)
