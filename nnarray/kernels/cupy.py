"""CuPy's own versions of what the standard has to compose."""

from __future__ import annotations

from cupyx.scipy import special

from nnarray import kernels

kernels.erfc.fast("cupy")(special.erfc)
