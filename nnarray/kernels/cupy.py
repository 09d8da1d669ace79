"""CuPy's own versions of what the standard has to compose."""

from __future__ import annotations

from cupyx.scipy import special  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels

kernels.erfc.fast("cupy")(special.erfc)
