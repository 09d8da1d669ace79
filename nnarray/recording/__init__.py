"""Gradients of any function that is written in the array API standard: a record of it, and the chain rule backwards."""

# pyright: reportUnusedImport=false

from nnarray.recording import activations
from nnarray.recording.custom import custom_gradient, is_noted, recompute, stop_gradient
from nnarray.recording.namespace import newest
from nnarray.recording.recorded import apart, constant, is_real
from nnarray.recording.traced import Traced, stripped
from nnarray.recording.transforms import grad, hessian, hvp, jacobian, jvp, value_and_gradient, vjp
