"""Painting of drawn images: soft shapes, and blending of colours."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import clamp
from nnarray.typing import Array


@kernel
def ellipse(u: Array, v: Array, u0: Any, v0: Any, a: Any, b: Any, pixels: Array) -> Array:
    """1 inside an ellipse, 0 outside, and between at its border: 1/2 + k (1 - rho^2), clipped to [0, 1].

    rho^2 = ((u - u0) / a)^2 + ((v - v0) / b)^2, and k = sqrt(a b) / 2 in pixels, so that it falls over about one.

    Parameters
    ----------
    u, v : array
        Coordinates of the pixels.
    u0, v0, a, b : number or array
        Centre and radii, of shapes that broadcast.
    pixels : array
        The number of pixels per unit of length.
    """
    xp = namespace(u)
    k = 0.5 * pixels * xp.sqrt(xp.ones_like(pixels) * a * b)
    root = xp.sqrt(k)
    du, dv = (u - u0) * (root / a), (v - v0) * (root / b)
    return clamp((k + 0.5) - (du * du + dv * dv), 0.0, 1.0)


@kernel
def blend(below: Array, colour: Array, alpha: Array) -> Array:
    """(1 - alpha) below + alpha colour.

    Parameters
    ----------
    below : array, shape (3, batch, height, width)
    colour : array
        Of a shape that broadcasts, such as (3, batch, 1, 1).
    alpha : array, shape (batch, height, width)
    """
    return below + alpha * (colour - below)
