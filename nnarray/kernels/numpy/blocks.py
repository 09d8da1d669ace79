"""What stands between two convolutions, for NumPy arrays."""

from __future__ import annotations

from typing import Any

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces, quiet
from nnarray.kernels.standard.windows import Window


@kernels.normalised_relu.fast("numpy")
@quiet
def normalised_relu(x: Any, weight: Any, bias: Any, *, epsilon: float, window: Window | None = None) -> Any:
    """Compiled, in one pass after that of the moments."""
    loops = numba_pieces("blocks")
    found = (
        loops.normalised_relu(x, weight, bias, epsilon, window)
        if loops and loops.takes(x, weight, bias, window)
        else None
    )
    return found or kernels.normalised_relu.definition(x, weight, bias, epsilon=epsilon, window=window)
