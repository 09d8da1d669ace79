"""Constants, gradients of your own, and results that are computed again for a gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from nnarray import kernels
from nnarray.backends import detached, is_differentiated
from nnarray.names import shown
from nnarray.recording.namespace import newest, record
from nnarray.recording.recorded import Recorded, apart, constant, is_real
from nnarray.recording.tape import Tape
from nnarray.recording.traced import Traced, stripped, unwrapped
from nnarray.recording.trees import filled, leaves, mapped

Function = Callable[..., Any]


def stop_gradient(x: Any) -> Any:
    """The same array as a constant: what is computed from it has no gradient with respect to what it came from.

    It holds in `nn.grad` and all that follows from it, in the autograd of PyTorch, and in `jax.grad`.

    Parameters
    ----------
    x : array, or dict, list or tuple of arrays

    Returns
    -------
    array or tree of arrays
        The values of x, of any dtype, which are not recorded. They may be changed in place: x stays as it is.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray(3.0)
    >>> float(nn.grad(lambda x: x * nn.stop_gradient(x))(x))
    3.0
    """
    return mapped(lambda x: x if is_noted(x) else apart(detached(stripped(x))), x)


def is_noted(x: Any) -> bool:
    """Whether `x` is part of a graph that is read, where there are no gradients."""
    return isinstance(x, Traced) and not x.differentiates


def custom_gradient(function: Function) -> Function:
    """A function with a pullback of your own, for gradients that are more accurate or cheaper than recorded ones.

    The pullback is the rule of the chain rule everywhere: in `nn.grad`, in the autograd of PyTorch, and in `jax.grad`,
    also for second derivatives.

    Parameters
    ----------
    function : callable
        f(x, ...) -> (y, pullback). y is an array, or a tuple of arrays, which depends on the arguments only.
        `pullback(dy)` returns the gradients with respect to the arguments: one for each, in a tuple, or for a single
        argument the gradient alone. None is a gradient of 0. It is written in the array API standard, too, so that
        second derivatives exist.

    Returns
    -------
    callable
        (x, ...) -> y.

    Raises
    ------
    TypeError
        If the function does not return a pair, the pullback returns another number of gradients, or the function
        computes with an array that is differentiated but not one of its arguments.

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
            return _by_the_library(function, mapped(unwrapped, arguments))
        space = next(x.space for x in flat if isinstance(x, Traced))
        if not space.traced.differentiates:
            return _pair(function(*arguments))[0]

        def rule(_: Any, *values: Any) -> Any:
            given = filled(arguments, values)
            if any(isinstance(x, Traced) for x in values):  # in a gradient of this gradient
                given = mapped(constant, given)
            y, pullback = _pair(function(*given))
            y = mapped(unwrapped, y)
            _refuse_others(y, tape)
            if any(isinstance(x, Traced) or is_differentiated(x) for x in values):  # there by the same pullback
                y = mapped(unwrapped, with_gradient(*given))
            return y, functools.partial(_together, function, given, pullback)

        return record(space, tape, rule, tuple(flat), {})

    return with_gradient


def _by_the_library(function: Function, arguments: tuple[Any, ...]) -> Any:
    """y, with the pullback as its derivative if the library differentiates or may do so."""
    flat = leaves(arguments)
    if not any(map(is_differentiated, flat)):
        y = _pair(function(*arguments))[0]
        _refuse_others(y, None)
        return y
    arrays = {i: x for i, x in enumerate(flat) if hasattr(x, "shape")}

    def of_arrays(*values: Any) -> tuple[Any, Function]:
        every = [*flat]
        for i, value in zip(arrays, values, strict=True):
            every[i] = value
        y, pullback = _pair(function(*filled(arguments, every)))

        def gradients(dy: Any) -> list[Any]:
            parts = _gradients(pullback(dy), arguments)
            return [parts[i] for i in arrays]

        return y, gradients

    return kernels.with_pullback(*arrays.values(), function=of_arrays)


def _refuse_others(y: Any, tape: Tape | None) -> None:
    """Raise TypeError if y was computed from an array on this tape, or a later one: its gradient would be lost."""
    oldest = -1 if tape is None else tape.order
    if any(isinstance(each, Traced) and each.tape is not None and each.tape.order >= oldest for each in leaves(y)):
        raise TypeError(
            "a function with a pullback of its own computes with an array that is differentiated but not one of its "
            "arguments, so that the pullback has no gradient for it. Make it an argument, f(x, a), or pass "
            "nn.stop_gradient(a)."
        )


def _together(function: Function, arguments: tuple[Any, ...], pullback: Function, _: Any, g: Any) -> list[Any]:
    """The gradients of all arguments. Nothing is kept: sweeps may run at the same time.

    The pullback is made once more if g is recorded and the arguments are not: their namespace must record too.
    """
    arrays = (*leaves(g), *leaves(arguments))
    if len({isinstance(x, Traced) for x in arrays if is_real(x)}) > 1:
        pullback = _pair(function(*mapped(constant, arguments)))[1]
    return _gradients(pullback(g), arguments)


def _gradients(returned: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """What a pullback returned, one entry for each array of the arguments; None where there is no gradient."""
    given = returned if isinstance(returned, (list, tuple)) else (returned,)
    if len(given) != len(arguments):
        raise TypeError(
            f"the pullback of a function with {len(arguments)} arguments must return a gradient for each, in "
            f"a tuple; got {shown(returned)}. For an argument without a gradient, return None."
        )
    found: list[Any] = []

    def add(_: Any, part: Any) -> None:
        found.append(part)

    for x, g in zip(arguments, given, strict=True):
        mapped(add, x, mapped(lambda _: None, x) if g is None else g)
    return found


def _linked(value: Any, inputs: Sequence[Any], gradients: Sequence[Any]) -> Any:
    """The kernel `linked`: the number `value`, whose derivatives are `gradients`, also within another gradient."""
    pairs = [(x, g) for x, g in zip(inputs, gradients, strict=True) if g is not None]
    arguments = value, *(x for x, _ in pairs), *(g for _, g in pairs)
    tape = newest(arguments)
    if tape is None or is_noted(value):
        return value

    def rule(xp: Any, value: Any, *rest: Any) -> Any:
        inputs, gradients = rest[: len(pairs)], rest[len(pairs) :]
        pullbacks = [functools.partial(_multiply, gradient) for gradient in gradients]
        return _linked(value, inputs, gradients), [None, *pullbacks, *(None for _ in gradients)]

    return record(value.space, tape, rule, arguments, {})


def _multiply(gradient: Any, xp: Any, g: Any) -> Any:
    return xp.multiply(gradient, g)


kernels.linked.recorded = _linked


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
                return function(*filled(arguments, values))

            gradients = Recorded(of_flat, tuple(flat), wanted, has_aux=False).gradients(g, keep=False)
            found = dict(zip(wanted, gradients, strict=True))
            return filled(arguments, [found.get(i) for i in range(len(flat))])

        return function(*arguments), pullback

    return functools.wraps(function)(recomputed)
