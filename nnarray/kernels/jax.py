"""JAX's own versions of what the standard has to compose."""

from __future__ import annotations

import jax

from nnarray import kernels

kernels.erfc.fast("jax")(jax.scipy.special.erfc)
