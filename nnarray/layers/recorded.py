"""Pullbacks of layers of your own: recorded where there are none, and yours where a function is differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from nnarray.backends import is_differentiated
from nnarray.recording import constant, custom_gradient, is_real, newest
from nnarray.recording.recorded import Recorded
from nnarray.recording.trees import leaves, mapped
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


def unwritten(dy: Array, *dheads: Array) -> NoReturn:
    """The pullback of a layer that has none: its outputs are recorded by what it is part of.

    Raises
    ------
    RuntimeError
        If it is called.
    """
    raise RuntimeError("nothing was kept for a pullback here. Call forward with a context whose keep is True.")


class _NoneOfItsOwn(Exception):
    """A layer turned out to have no pullback of its own."""


def is_recorded(params: Tree, x: Any) -> bool:
    """Whether what is computed from these arrays is differentiated by a record, or may be by the library."""
    arrays = leaves((params, x))
    return newest(arrays) is not None or any(map(is_differentiated, arrays))


def by_own_pullback(outputs: Callable[[Tree, Any, Any], Any], params: Tree, x: Any, ctx: Any) -> Any:
    """`outputs(params, x, ctx)`; their derivative is the pullback that they have, if it is not recorded."""
    first: list[Any] = []
    has_gradient = any(map(is_real, leaves(x)))

    def of_arrays(params: Tree, x: Any, state: Tree, mask: Any) -> tuple[Any, Callable[..., Any]]:
        settings = ctx._replace(state=state, mask=mask, keep=True, input_gradient=has_gradient, once=False)
        out = outputs(params, x, settings)
        if getattr(out, "pullback", unwritten) is unwritten or type(out.pullback) is RecordedPullback:
            raise _NoneOfItsOwn
        first.append(out)

        def pullback(dy: Any) -> tuple[Any, ...]:
            dx, gradients = out.pullback(*dy) if out.heads else out.pullback(dy)
            return _picked(gradients, params), _picked(dx, x), None, None

        return (out.y, *(head.y for head in out.heads)) if out.heads else out.y, pullback

    if newest(leaves((params, x))) is not None:  # so that their namespaces record
        params, x = mapped(constant, (params, x))
        ctx = ctx._replace(state=mapped(constant, ctx.state))
    try:
        found = custom_gradient(of_arrays)(params, x, ctx.state, ctx.mask)
    except _NoneOfItsOwn:
        return outputs(params, x, ctx)
    out = first[0]._replace(pullback=unwritten)
    if ctx.keep or out.state or out.mask is not None:
        out = outputs(params, x, ctx)
    y, *heads = found if out.heads else (found,)
    return out._replace(y=y, heads=tuple(head._replace(y=y) for head, y in zip(out.heads, heads, strict=True)))


def _picked(tree: Any, like: Any) -> Any:
    """The gradients that a pullback returned for the arrays of `like`; there may be more.

    Raises
    ------
    ValueError
        If one is missing.
    """
    if not isinstance(like, Mapping) or tree is None:
        return tree
    if missing := [name for name in like if name not in tree]:
        raise ValueError(
            f"{missing[0]!r} is missing: the pullback of a layer must return a gradient for each parameter."
        )
    return {name: _picked(tree[name], node) for name, node in like.items()}
