"""Sums of many numbers in half precision, on every backend that has it: none is rounded or overflows on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.kernels.standard.windows import Window
from nnarray.layers.base import Context
from tests.tolerances import close, to_host

MANY = 70_000  # more than the largest number of float16
ONES = np.ones((MANY, 2))
ROW = np.full((1, MANY), 1.0 / 64)
WHOLE = Window((20, 20), (1, 1), ((19, 19), (19, 19)))

CASES: dict[str, tuple[Any, list[Any], dict[str, Any]]] = {
    "softmax": (kernels.softmax, [np.zeros((1, MANY))], {}),
    "log_softmax": (kernels.log_softmax, [np.zeros((1, MANY))], {}),
    "softmax_pullback": (
        kernels.TABLE["softmax_pullback"],
        [np.full((1, 4096), 2.0), None, np.full((1, 4096), 2.0**-12)],
        {},
    ),
    "log_softmax_pullback": (kernels.TABLE["log_softmax_pullback"], [ROW * 64, None, np.full((1, MANY), -11.0)], {}),
    "affine_pullback": (kernels.affine_pullback, [ONES / 64, ONES / 64, np.ones((2, 2))], {}),
    "convolution_pullback": (
        kernels.convolution_pullback,
        [np.full((2, 64, 64, 1), 0.25), np.full((2, 64, 64, 1), 0.25), np.ones((1, 1, 1, 1))],
        {"window": Window((1, 1))},
    ),
    "mean_pool": (kernels.mean_pool, [np.full((1, 20, 20, 1), 400.0), np.full((39, 39, 1), 400.0)], {"window": WHOLE}),
    "mean_pool_pullback": (
        kernels.mean_pool_pullback,
        [np.full((1, 39, 39, 1), 0.1), np.ones((1, 20, 20, 1)), np.full((39, 39, 1), 400.0)],
        {"window": WHOLE},
    ),
    "batch_norm_pullback": (kernels.batch_norm_pullback, [ONES / 64, ONES / 64, np.ones(2), np.ones((1, 2))], {}),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "definition"])
def test_sums_of_half_precision_are_those_of_single(be: nn.Backend, name: str, dtype: str, *, fast: bool) -> None:
    if dtype not in be.dtypes:
        pytest.skip(f"no {dtype}")
    kernel, arrays, options = CASES[name]
    given = [None if x is None else be.asarray(x, dtype=dtype) for x in arrays]
    rounded = [None if x is None else to_host(be, x) for x in given]
    want = kernel.definition(*rounded, **options)
    got = (kernel if fast else kernel.definition)(*given, **options)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for ours, theirs in pairs:
        assert str(ours.dtype).endswith(dtype)
        close(to_host(be, ours), theirs, dtype, c=8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_half_precision_are_those_of_single(be: nn.Backend, dtype: str) -> None:
    if dtype not in be.dtypes:
        pytest.skip(f"no {dtype}")
    x = be.asarray(np.full((1, MANY, 1), 3.0), dtype=dtype)
    y, pullback, *_ = nn.GlobalAvgPool().forward({}, x, Context())
    assert to_host(be, y).tolist() == [[3.0]]
    assert to_host(be, pullback(y)[0]).max() < 1e-3
