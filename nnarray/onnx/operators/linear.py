"""Products of matrices, and sums of products by letters."""

from __future__ import annotations

import math
from typing import Any

from nnarray.onnx.operators.common import Call, is_float, space
from nnarray.onnx.operators.table import operator


@operator("MatMul", weights={0: "glorot", 1: "glorot"})
def matmul(a: Any, b: Any) -> Any:
    """The product of matrices."""
    xp = space(a, b)
    if a.ndim > 2 and b.ndim == 2:  # one product instead of many small ones
        rows = xp.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
        return xp.reshape(xp.matmul(rows, b), (*a.shape[:-1], b.shape[-1]))
    return xp.matmul(a, b)


@operator("Gemm", 6, weights={0: "glorot", 1: "glorot", 2: "zeros"})
def gemm(
    a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    """Alpha A B + beta C, where A and B may be transposed."""
    xp = space(a, b)
    y = xp.matmul(a.T if transA else a, b.T if transB else b)
    if alpha != 1.0:
        y = y * alpha if is_float(y) else y * int(alpha)
    if c is None:
        return y
    return y + (c if beta == 1.0 else c * beta)


@operator("Einsum", 12)
def einsum(call: Call, *arrays: Any, equation: str) -> Any:
    """Sums of products, by letters for axes."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(arrays):
        raise ValueError(f"the equation {equation!r} has {len(terms)} terms for {len(arrays)} arrays")
    more = (
        max(x.ndim - len(term.replace("...", "")) for term, x in zip(terms, arrays, strict=True) if "..." in term)
        if ("..." in left)
        else 0
    )
    dots = "".join(chr(0x100 + i) for i in range(more))
    spelled = [_spelled(term, x, dots) for term, x in zip(terms, arrays, strict=True)]
    if arrow:
        result = right.replace("...", dots)
    else:
        every = "".join(spelled)
        result = dots + "".join(sorted(each for each in {*every} - {*dots} if every.count(each) == 1))
    parts = [_without_repeats(x, term) for x, term in zip(arrays, spelled, strict=True)]
    (x, letters), *others = parts
    for i, (y, more_letters) in enumerate(others):
        wanted = result + "".join(term for _, term in others[i + 1 :])
        x, letters = _product(call, x, letters, y, more_letters, wanted)
    return _ordered(x, letters, result)


def _spelled(term: str, x: Any, dots: str) -> str:
    count = x.ndim - len(term.replace("...", ""))
    return term.replace("...", dots[len(dots) - count :] if count else "")


def _without_repeats(x: Any, letters: str) -> tuple[Any, str]:
    """The diagonal of axes that have the same letter."""
    xp = space(x)
    for letter in {*letters}:
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            x = xp.moveaxis(x, (i, j), (-2, -1))
            n = x.shape[-1]
            flat = xp.reshape(x, (*x.shape[:-2], n * n))
            x = flat[..., :: n + 1]
            letters = "".join(each for k, each in enumerate(letters) if k not in (i, j)) + letter
    return x, letters


def _ordered(x: Any, letters: str, result: str) -> Any:
    xp = space(x)
    gone = tuple(i for i, each in enumerate(letters) if each not in result)
    x = xp.sum(x, axis=gone, dtype=x.dtype) if gone else x
    kept = [each for each in letters if each in result]
    return xp.permute_dims(x, tuple(kept.index(each) for each in result)) if result else x


def _product(call: Call, x: Any, a: str, y: Any, b: str, wanted: str) -> tuple[Any, str]:
    """The product of two arrays, summed over the letters that nothing else needs."""
    x, a = _only(x, a, b + wanted)
    y, b = _only(y, b, a + wanted)
    xp = space(x, y)
    sizes = dict(zip(b, y.shape, strict=True)) | dict(zip(a, x.shape, strict=True))
    both = [each for each in a if each in b and each in wanted]
    summed = [each for each in a if each in b and each not in wanted]
    first, second = ([e for e in own if e not in other] for own, other in ((a, b), (b, a)))

    def matrices(z: Any, letters: str, order: list[str], shape: tuple[list[str], ...]) -> Any:
        z = xp.permute_dims(z, tuple(letters.index(each) for each in order)) if order else z
        return xp.reshape(z, tuple(math.prod(sizes[e] for e in group) for group in shape))

    left = matrices(x, a, [*both, *first, *summed], (both, first, summed))
    right = matrices(y, b, [*both, *summed, *second], (both, summed, second))
    order = [*both, *first, *second]
    shape = call.room(sizes[each] for each in order)
    return xp.reshape(xp.matmul(left, right), shape), "".join(order)


def _only(x: Any, letters: str, wanted: str) -> tuple[Any, str]:
    gone = tuple(i for i, each in enumerate(letters) if each not in wanted)
    return (space(x).sum(x, axis=gone, dtype=x.dtype) if gone else x), "".join(e for e in letters if e in wanted)
