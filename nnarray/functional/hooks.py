"""Hooks that record the outputs of each layer, and the gradients that reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnarray.layers.base import Context, Layer, Out
from nnarray.layers.recorded import RecordedPullback
from nnarray.layers.wrapped import Wrapped
from nnarray.typing import Array, Tree


@dataclass
class Passage:
    """The arrays of a layer in its last forward pass, and in its last backward pass if there was one."""

    x: Any
    """The inputs, by name if there are several."""
    y: Array
    dy: Array | None = None
    """The gradient of the loss with respect to y."""
    dx: Any = None
    """The gradient with respect to the inputs, by name if there are several; None if it is not needed."""
    is_recorded: bool = False
    """Whether the pullback follows from a record of the forward pass."""
    mask: Any = None
    """Which positions of x count; None if all do."""


@dataclass(frozen=True, eq=False)
class Hook(Wrapped):
    """A wrapper that records the arrays of a layer under its path, such as "1.branch2.0", and changes nothing."""

    path: str
    passages: dict[str, Passage]

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs of the wrapped layer; they and the gradients are recorded."""
        out = self.inner.forward(params, x, ctx)
        passage = self.passages[self.path] = Passage(x, out.y, is_recorded=type(out.pullback) is RecordedPullback)
        passage.mask = ctx.mask

        def pullback(dy: Array, *dheads: Array) -> tuple[Any, Tree]:
            dx, gradients = out.pullback(dy, *dheads)
            passage.dy, passage.dx = dy, dx
            return dx, gradients

        return out._replace(pullback=pullback)


def with_hooks(layer: Layer, passages: dict[str, Passage], path: str = "") -> Hook:
    """The layer with a hook around it and around each layer inside it.

    Parameters
    ----------
    layer : Layer
    passages : dict
        The records of the hooks, by path; the path of the layer itself is "".
    path : str
        The path of the layer.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.functional.hooks import with_hooks
    >>> net, passages = nn.Network(nn.Dropout(0.5), nn.Flatten()), {}
    >>> X, y = nn.datasets.moons(8)
    >>> out = with_hooks(net, passages).forward({}, X, nn.Context())
    >>> {path: passage.y.shape for path, passage in passages.items()}
    {'0': (8, 2), '1': (8, 2), '': (8, 2)}
    """
    inside = {name: with_hooks(each, passages, f"{path}.{name}" if path else name) for name, each in layer.named_layers}
    return Hook(layer.with_layers(inside), path, passages)
