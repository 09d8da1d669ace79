"""Forward and backward propagation: pure functions of the parameter vector and some examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.functional.layout import Layout
from nnarray.layers.base import Context, Layer, Out, every, is_ours
from nnarray.layers.containers import MASK_LEFT
from nnarray.layers.kinds import REAL, of_texts
from nnarray.random import Key
from nnarray.typing import Array, Tree

if TYPE_CHECKING:
    from nnarray.losses import Loss


class Wiring(NamedTuple):
    """A network, and the layouts of its parameters and its state in their vectors."""

    network: Layer
    params: Layout
    state: Layout

    @classmethod
    def of(cls, network: Layer, shape: Any) -> Wiring:
        """The wiring of a network for inputs of this shape, or of these shapes by name."""
        return cls(network, Layout.of(network.params(shape)), Layout.of(network.initial_state(shape)))


class Step(NamedTuple):
    """The results of one forward and backward propagation.

    Attributes
    ----------
    loss : array, shape ()
    gradient : array, shape (size,)
        With respect to theta; or a tree, with respect to each parameter.
    outputs : array, shape (N, ...)
    state : array
        The numbers that training updates without gradients, such as the running statistics of `BatchNorm`, after the
        step.
    """

    loss: Array
    gradient: Any
    outputs: Array
    state: Array
    input_gradient: Any = None
    """The gradient with respect to the inputs, if it was requested."""


def forward(wiring: Wiring, tree: Tree, state: Array, x: Any) -> Array:
    """The outputs at inference, from parameters nested like the layers; nothing is kept for a pullback."""
    return forward_with_mask(wiring, tree, state, x)[0]


def forward_with_mask(wiring: Wiring, tree: Tree, state: Array, x: Any) -> tuple[Array, Array | None]:
    """As `forward`, and the mask that is left at the outputs."""
    out = wiring.network.forward(tree, x, Context(False, wiring.state.tree(state), False, False))
    return out.y, out.mask


def pullback(wiring: Wiring, state: Array, dy: Array, x: Any, theta: Array, wanted: Sequence[bool]) -> list[Any]:
    """dx and dtheta at inference; each is computed only if requested."""
    ctx = Context(state=wiring.state.tree(state), input_gradient=wanted[0], once=True)
    dx, gradients = wiring.network.forward(wiring.params.tree(theta), x, ctx).pullback(dy)
    return [dx if wanted[0] else None, wiring.params.pack(gradients, theta) if wanted[1] else None]


def input_gradient(wiring: Wiring, tree: Tree, state: Array, x: Array, classes: Array | None) -> Array:
    """The gradient of one output of each example, the largest if `classes` is None, with respect to its input."""
    out = wiring.network.forward(tree, x, Context(state=wiring.state.tree(state), once=True))
    chosen = namespace(out.y).argmax(out.y, axis=1) if classes is None else classes
    return out.pullback(kernels.one_hot(chosen, out.y.shape[1], like=out.y))[0]


def loss_and_gradient(
    wiring: Wiring,
    theta: Array,
    state: Array,
    x: Any,
    target: Array,
    weights: Array | None,
    loss: Loss,
    *,
    training: bool,
    key: Key | None = None,
    step: Any = 0,
    input_gradient: bool = False,
) -> Step:
    """As `loss_and_gradients`, with dL/dtheta in the layout of theta."""
    settings: dict[str, Any] = {"training": training, "key": key, "step": step, "input_gradient": input_gradient}
    found = loss_and_gradients(wiring, wiring.params.tree(theta), state, x, target, weights, loss, **settings)
    return found._replace(gradient=wiring.params.pack(found.gradient, theta))


def loss_and_gradients(
    wiring: Wiring,
    tree: Tree,
    state: Array,
    x: Any,
    target: Array,
    weights: Array | None,
    loss: Loss,
    *,
    training: bool,
    key: Key | None = None,
    step: Any = 0,
    input_gradient: bool = False,
) -> Step:
    """The chain rule: forward through the layers, the loss, and back through their pullbacks.

    It computes L = loss(f(tree, x), target), and its gradients in a tree like that of the parameters; auxiliary heads
    add their losses. `target` and `weights` are as `loss.prepare` returns them. `key` folded by `step` is the seed of
    the layers' draws.

    If the network ends with a mask, the loss must be one that leaves out entries, and leave out all that are masked.
    Else it is NaN: a step does not read values.
    """
    ctx = Context(training, wiring.state.tree(state), input_gradient, root=key, path=(step,), once=True)
    out: Out = wiring.network.forward(tree, x, ctx)
    wrong = counted_though_masked(out.mask, weights, loss)
    if wrong is not None:
        weights = namespace(wrong).where(wrong, float("nan"), weights)
    value, dy = loss.of_prepared(out.y, target, weights)
    dheads: list[Array] = []
    for head in out.heads:
        if head.y.shape != out.y.shape:
            raise ValueError(
                f"Auxiliary has outputs of shape {head.y.shape}, but the network {out.y.shape}. Make them equal."
            )
        extra, dhead = loss.of_prepared(head.y, target, weights)
        value = value + head.weight * extra
        dheads.append(head.weight * dhead)
    dx, gradients = out.pullback(dy, *dheads)
    after = wiring.state.pack(_overlaid(ctx.state, out.state), state) if out.state else state
    return Step(value, gradients, out.y, after, dx if input_gradient else None)


def counted_though_masked(mask: Array | None, weights: Array | None, loss: Loss) -> Array | None:
    """True at the outputs that are masked, but have a weight in the loss, shape of the weights; None without a mask.

    Raises
    ------
    ValueError
        If there is a mask, and the loss leaves out no entries, or has no weight for each position.
    """
    if mask is None or of_texts(mask):
        return None
    if weights is None or not loss.leaves_out or tuple(weights.shape[: mask.ndim]) != tuple(mask.shape):
        raise ValueError(f"the network ends with a mask. {MASK_LEFT}")
    xp = namespace(mask)
    masked = xp.reshape(xp.logical_not(mask), (*mask.shape, *[1] * (weights.ndim - mask.ndim)))
    return xp.logical_and(masked, weights != 0)


def may_mask(network: Layer) -> bool:
    """Whether there may be masks in a network: of integers or truth values among the inputs, or of your own layers."""
    if network.takes not in (None, REAL):
        return True
    return any(each.masking == "use" and not is_ours(each) for each in every(network))


def _overlaid(old: Tree, new: Tree) -> dict[str, Any]:
    """The old tree with the leaves of the new one."""
    return {
        name: _overlaid(node, new[name]) if isinstance(node, Mapping) and name in new else new.get(name, node)
        for name, node in old.items()
    }
