"""A recurrence of NumPy arrays: compiled, where Numba is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.standard.recurrent import Cell, biases, gradients


@kernels.recurrence.fast("numpy")
def recurrence(
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    h: Any,
    c: Any,
    mask: Any,
    *,
    cell: Cell,
    reverse: bool = False,
    input_gradient: bool = True,
    keep: bool = True,
) -> Any:
    """In compiled loops; else as it is defined."""
    arrays = [each for each in (x, weight_ih, weight_hh, bias_ih, bias_hh, h, c) if each is not None]
    loops: Any = numba_pieces("recurrent") if all(each.dtype == np.float32 for each in arrays) and x.size else None
    if loops is None:
        settings: Any = {"cell": cell, "reverse": reverse, "input_gradient": input_gradient, "keep": keep}
        return kernels.recurrence.definition(x, weight_ih, weight_hh, bias_ih, bias_hh, h, c, mask, **settings)
    gates, width = weight_ih.shape[1], loops.filled(weight_ih.shape[1])
    weight = loops.padded(weight_ih, width)
    bias, inner = (None if b is None else loops.padded(b, width) for b in biases(bias_ih, bias_hh, cell))
    p: Any = kernels.affine(x.reshape(-1, x.shape[-1]), weight, bias)
    p = p.reshape(*x.shape[:2], width)
    passed = loops.Recurrence(p, weight_hh, inner, h, c, mask, cell, reverse=reverse)

    def pullback(dy: Any) -> Any:
        dp, dq = passed.back(dy)
        asked = {"bias_gradient": bias_ih is not None, "input_gradient": input_gradient}
        dx, *others = gradients(x, weight, passed.before(), dp, dq, cell, **asked)
        return dx, *(None if each is None else each[..., :gates] for each in others)

    return passed.y, *passed.last(), pullback
