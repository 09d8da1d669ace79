"""Gradients of any function that is written in the array API standard: a record of it, and the chain rule backwards."""

# pyright: reportUnusedImport=false

from nnarray.recording.traced import Traced
from nnarray.recording.transforms import (
    checkpoint,
    custom_gradient,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    stop_gradient,
    value_and_gradient,
    vjp,
)
