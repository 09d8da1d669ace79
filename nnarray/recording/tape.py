"""The record of a computation, and the sweep through it that applies the chain rule from the end to the beginning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from nnarray import kernels
from nnarray.backends import device_of, namespace
from nnarray.typing import DType, Shape

ORDER = itertools.count()  # of the beginnings of tapes: within a nested gradient, the later tape is the inner one


Source: TypeAlias = tuple[int, Shape, DType, Any]
"""An argument of a recorded function: its slot, shape and dtype, and the pullback to it."""

Entry: TypeAlias = tuple[Any, list[Source], int, list[tuple[Shape, DType]] | None, Callable[..., Any] | None]
"""A recorded function: its namespace, arguments, first slot, and the kinds of its results if there are several.

The last part is a pullback to all arguments at once, if it has one: sources then have their places in what it returns.
"""


class Tape:
    """What was computed from some arrays, in order. Each array that depends on them has a slot."""

    __slots__ = ("entries", "is_closed", "order", "slots")

    def __init__(self) -> None:
        self.order = next(ORDER)
        self.entries: list[Entry] = []
        self.slots = 0
        self.is_closed = False

    def refuse(self) -> NoReturn:
        """Say that nothing is recorded any more.

        Raises
        ------
        RuntimeError
            As the function that was differentiated has returned already.
        """
        raise RuntimeError(
            "an array of a gradient that is finished was used again. Return it from the function that is "
            "differentiated (has_aux=True), or keep nn.stop_gradient(x) of it."
        )

    def sweep(self, space: Any, gradients: dict[int, Any], *, keep: bool) -> dict[int, Any]:
        """From gradients with respect to results to those with respect to all that they were computed from.

        Parameters
        ----------
        space : namespace
            That of traced arrays in which rules are computed.
        gradients : dict
            By slot; it is written to.
        keep : bool
            Whether the tape can be swept again. If not, each entry is freed after its use.
        """
        left = self.entries if not keep else [*self.entries]
        while left:
            xp, sources, first, results, together = left.pop()
            if results is None:
                g = gradients.pop(first, None)
            else:
                g = _filled([gradients.pop(first + i, None) for i in range(len(results))], results)
            if g is None:
                continue
            if type(g if results is None else g[0]) is space.traced:
                xp = space
            parts = None if together is None else together(xp, g)
            for slot, shape, dtype, pullback in sources:
                part = pullback(xp, g) if parts is None else parts[pullback]
                if part is None:
                    continue
                if part.shape != shape or part.dtype != dtype:
                    part = fitted(part, shape, dtype)
                before = gradients.get(slot)
                if before is not None:  # not every library leaves operators to recorded arrays on the right
                    part = part + before if type(part) is space.traced else before + part
                gradients[slot] = part
        return gradients


def _filled(given: Sequence[Any], results: list[tuple[Shape, DType]]) -> list[Any] | None:
    """The gradients of several results: zeros for those on which nothing depends; None if nothing depends on any."""
    like = next((each for each in given if each is not None), None)
    if like is None:
        return None
    xp = namespace(like)  # traced ones beside traced ones: a library need not add them to its own
    return [
        xp.zeros(shape, dtype=dtype, device=device_of(like)) if each is None else each
        for each, (shape, dtype) in zip(given, results, strict=True)
    ]


def fitted(g: Any, shape: Shape, dtype: DType) -> Any:
    """A gradient in the shape and dtype of its array: broadcasting is undone by sums over the axes that it made.

    Raises
    ------
    TypeError
        If one of both is complex.
    """
    if g.shape != shape:
        g = kernels.summed_to(g, shape)
    if g.dtype == dtype:
        return g
    if any(namespace(g).isdtype(each, "complex floating") for each in (g.dtype, dtype)):
        raise TypeError("gradients of complex numbers are not supported: compute with the real and the imaginary part.")
    return namespace(g).astype(g, dtype)
