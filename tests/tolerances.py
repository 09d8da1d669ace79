"""How far a result may lie from the float64 reference, in one place; and how the tests call what they compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

EPS = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}


def close(got: np.ndarray, want: np.ndarray, dtype: str, c: float = 50.0) -> None:
    """|got - want| <= c eps max(|want|, 1), in one shape; equal infinities and nan count as equal.

    c is the number of roundings that may add up: 50 for a handful of operations and the library's own
    exponentials (4 to 8 units in the last place), more where a test sums long.
    """
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    error = np.abs(got[finite].astype(float) - want[finite]) / np.maximum(np.abs(want[finite]), 1.0)
    assert error.size == 0 or error.max() <= c * EPS[dtype], f"largest error {error.max() / EPS[dtype]:.1f} eps"


def to_host(be: Any, x: Any) -> np.ndarray:
    return be.to_numpy(x).astype(float)


def as_called(be: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of arrays as users call it; on JAX compiled, as `fit` does it, and with little effort.

    That takes a third of the time of compiling its operations one by one.
    """
    if be.library.name != "jax":
        return function
    import jax

    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
