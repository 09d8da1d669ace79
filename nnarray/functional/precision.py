"""Mixed precision: layers compute in 16 bits; the loss and sums of gradients are in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnarray.backends import namespace
from nnarray.functional.propagation import Step, Wiring, loss_and_gradients
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import Loss
from nnarray.typing import Array, DType, Tree


def loss_and_gradient_in(dtype: DType, scale: Any, wiring: Wiring, theta: Array, *given: Any, **settings: Any) -> Step:
    """As `loss_and_gradients_in`, with the gradient in the layout of theta, in float32."""
    low = _lowered(theta, dtype)
    found = loss_and_gradients_in(dtype, scale, wiring, wiring.params.tree(low), *given, **settings)
    return found._replace(gradient=at_least_float32(wiring.params.pack(found.gradient, low)))


def loss_and_gradients_in(
    dtype: DType,
    scale: Any,
    wiring: Wiring,
    tree: Tree,
    state: Array,
    x: Any,
    target: Array,
    weights: Array | None,
    loss: Loss,
    **settings: Any,
) -> Step:
    """As `loss_and_gradients`, with layers that compute in `dtype`; parameters, state, target, weights are float32.

    Outputs are float32, and gradients are in `dtype`. They are those of scale L, so that small numbers do not underflow
    in the backward pass.

    References
    ----------
    .. [1] Micikevicius et al. (2018), Mixed precision training. ICLR.
    """
    low_tree, low_x, scaled = _lowered(tree, dtype), _lowered(x, dtype), _Scaled(loss, scale)
    found = loss_and_gradients(wiring, low_tree, state, low_x, target, weights, scaled, **settings)
    after = namespace(state).astype(found.state, state.dtype, copy=False)
    return found._replace(outputs=at_least_float32(found.outputs), state=after)


def _lowered(x: Any, dtype: DType) -> Any:
    """Real numbers converted to `dtype`; integers, such as word numbers, are not converted."""
    if isinstance(x, Mapping):
        return {name: _lowered(each, dtype) for name, each in x.items()}
    xp = namespace(x)
    return xp.astype(x, dtype, copy=False) if xp.isdtype(x.dtype, "real floating") else x


@dataclass(frozen=True)
class _Scaled(Loss):
    """A loss of 16-bit outputs, computed in float32, with its gradient times the scale in the outputs' dtype."""

    loss: Loss
    scale: Any

    @property
    def leaves_out(self) -> bool:
        return self.loss.leaves_out

    def of_prepared(self, outputs: Array, target: Array, weights: Array | None) -> tuple[Array, Array]:
        value, gradient = self.loss.of_prepared(at_least_float32(outputs), target, weights)
        return value, namespace(outputs).astype(gradient * self.scale, outputs.dtype)
