"""Pullbacks that follow from a record of the forward pass, for layers that have none of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nnarray.recording import is_real
from nnarray.recording.recorded import Recorded
from nnarray.recording.trees import mapped
from nnarray.typing import Array, Tree


class RecordedPullback(NamedTuple):
    """A pullback that follows from a record, by which `nn.testing.check_layer` knows it."""

    run: Callable[..., tuple[Any, Tree]]

    def __call__(self, dy: Array, *dheads: Array) -> tuple[Any, Tree]:
        """Dx, and the gradients with respect to the parameters."""
        return self.run(dy, *dheads)


def recorded_pullback(
    outputs: Callable[[Tree, Any], tuple[Array, ...]], params: Tree, x: Any, *, input_gradient: bool
) -> RecordedPullback:
    """The pullback of `outputs(params, x)`, which it computes once more: only x and the parameters are kept.

    Inputs that are no real numbers have no gradient: theirs is None.
    """

    def run(dy: Array, *dheads: Array) -> tuple[Any, Tree]:
        reals = mapped(lambda each: each if is_real(each) else None, x)

        def of_reals(params: Tree, reals: Any) -> tuple[Array, ...]:
            return outputs(params, _joined(x, reals))

        argnums = (0, 1) if input_gradient else (0,)
        recorded = Recorded(of_reals, (params, reals), argnums, has_aux=False)
        gradients, *dx = recorded.gradients((dy, *dheads), keep=False)
        return dx[0] if dx else None, gradients

    return RecordedPullback(run)


def _joined(x: Any, reals: Any) -> Any:
    """The inputs, those of real numbers from the record."""
    if isinstance(x, Mapping):
        return {name: _joined(each, reals[name]) for name, each in x.items()}
    return x if reals is None else reals
