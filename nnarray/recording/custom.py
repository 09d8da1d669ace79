"""Constants, gradients of your own, and results that are computed again for a gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nnarray.backends import namespace
from nnarray.names import shown
from nnarray.recording.namespace import newest, record
from nnarray.recording.recorded import Recorded, constant, is_real
from nnarray.recording.traced import Traced, stripped, unwrapped
from nnarray.recording.trees import leaves, mapped

Function = Callable[..., Any]


def stop_gradient(x: Any) -> Any:
    """The same array as a constant: what is computed from it has no gradient with respect to what it came from.

    Parameters
    ----------
    x : array, or dict, list or tuple of arrays

    Returns
    -------
    array or tree of arrays
        The values of x, of any dtype, which are not recorded.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray(3.0)
    >>> float(nn.grad(lambda x: x * nn.stop_gradient(x))(x))
    3.0
    """
    return mapped(stripped, x)


def custom_gradient(function: Function) -> Function:
    """A function with a pullback of your own, for gradients that are more accurate or cheaper than recorded ones.

    Parameters
    ----------
    function : callable
        f(x, ...) -> (y, pullback). y is an array, or a tuple of arrays. `pullback(dy)` returns the gradients with
        respect to the arguments: one for each, in a tuple, or for a single argument the gradient alone. It is written
        in the array API standard, too, so that second derivatives exist.

    Returns
    -------
    callable
        (x, ...) -> y.

    Raises
    ------
    TypeError
        If the function does not return a pair, or the pullback another number of gradients.

    Examples
    --------
    >>> import nnarray as nn
    >>> @nn.custom_gradient
    ... def softplus(x):
    ...     xp = nn.namespace(x)
    ...     return xp.log1p(xp.exp(x)), lambda dy: dy / (1.0 + xp.exp(-x))
    >>> float(nn.grad(softplus)(nn.backend("numpy").asarray(0.0)))
    0.5
    """

    @functools.wraps(function)
    def with_gradient(*arguments: Any) -> Any:
        flat = leaves(arguments)
        tape = newest(flat)
        if tape is None:
            return _pair(function(*mapped(unwrapped, arguments)))[0]
        space = next(x.space for x in flat if isinstance(x, Traced))

        def rule(_: Any, *values: Any) -> Any:
            each = iter(values)
            given = mapped(lambda _: next(each), arguments)
            if any(isinstance(x, Traced) for x in values):  # in a gradient of this gradient
                given = mapped(constant, given)
            y, pullback = _pair(function(*given))
            parts = _Parts(pullback, arguments, [x for x in flat if isinstance(x, Traced) and x.tape is tape])
            return mapped(unwrapped, y), [functools.partial(parts, i) for i in range(len(flat))]

        return record(space, tape, rule, tuple(flat), {})

    return with_gradient


class _Parts:
    """The gradients of all arguments, from one call of a pullback, which a sweep asks for one after the other."""

    def __init__(self, pullback: Function, arguments: tuple[Any, ...], asked: list[Any]) -> None:
        self.pullback, self.arguments, self.count = pullback, arguments, len(asked)
        self.parts: list[Any] = []
        self.left = 0

    def __call__(self, i: int, g: Any) -> Any:
        if self.left == 0:
            self.parts, self.left = self._gradients(self.pullback(g)), self.count
        self.left -= 1
        part = self.parts[i]
        if self.left == 0:
            self.parts = []  # a tape may stay for long
        if part is not None:
            return part
        x = stripped(leaves(self.arguments)[i])
        return namespace(x).zeros_like(x)

    def _gradients(self, returned: Any) -> list[Any]:
        given = returned if isinstance(returned, (list, tuple)) else (returned,)
        if len(given) != len(self.arguments):
            raise TypeError(
                f"the pullback of a function with {len(self.arguments)} arguments must return a gradient for each, in "
                f"a tuple; got {shown(returned)}. For an argument without a gradient, return None."
            )
        found: list[Any] = []

        def add(_: Any, part: Any) -> None:
            found.append(part)

        for x, g in zip(self.arguments, given, strict=True):
            mapped(add, x, mapped(lambda _: None, x) if g is None else g)
        return found


def _pair(returned: Any) -> tuple[Any, Function]:
    if isinstance(returned, tuple) and len(returned) == 2 and callable(returned[1]):
        return returned
    raise TypeError(
        f"a function with nn.custom_gradient must return a pair, (y, pullback), where pullback(dy) returns the "
        f"gradients with respect to its arguments; got {shown(returned)}."
    )


def recompute(function: Function) -> Function:
    """The same function, whose inner results are not kept for its gradient, but computed again: less memory [1]_.

    It costs one more call of the function. The gradient is the same.

    Parameters
    ----------
    function : callable
        f(x, ...) -> array, or a tuple of arrays. It is pure: a second call with the same arguments gives the same.

    Returns
    -------
    callable
        (x, ...) -> y.

    References
    ----------
    .. [1] Chen, Xu, Zhang & Guestrin (2016), Training deep nets with sublinear memory cost. arXiv:1604.06174.

    Examples
    --------
    >>> import nnarray as nn
    >>> def block(x):
    ...     xp = nn.namespace(x)
    ...     return xp.tanh(xp.sin(x))
    >>> x = nn.backend("numpy").asarray(0.5)
    >>> bool(nn.grad(nn.recompute(block))(x) == nn.grad(block)(x))
    True
    """

    @custom_gradient
    def recomputed(*arguments: Any) -> Any:
        def pullback(g: Any) -> tuple[Any, ...]:
            flat = leaves(arguments)
            wanted = tuple(i for i, x in enumerate(flat) if is_real(x))

            def of_flat(*values: Any) -> Any:
                each = iter(values)
                return function(*mapped(lambda _: next(each), arguments))

            gradients = Recorded(of_flat, tuple(flat), wanted, has_aux=False).gradients(g, keep=False)
            found = dict(zip(wanted, gradients, strict=True))
            position = iter(range(len(flat)))
            return tuple(mapped(lambda _: found.get(next(position)), arguments))

        return function(*arguments), pullback

    return functools.wraps(function)(recomputed)
