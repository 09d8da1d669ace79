"""Gradients, Jacobians and Hessians of functions that are written in the array API standard."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nnarray.backends import copy, device_of, namespace
from nnarray.kernels.compilation import quiet
from nnarray.names import shown
from nnarray.recording.namespace import newest, record, traced_class
from nnarray.recording.tape import Tape, fitted
from nnarray.recording.traced import Traced, stripped, unwrapped
from nnarray.recording.trees import leaves, mapped

Function = Callable[..., Any]


class Recorded:
    """What a function computed from its arguments, and the gradients with respect to them."""

    def __init__(self, function: Function, arguments: tuple[Any, ...], argnums: tuple[int, ...], *, has_aux: bool):
        self.tape = Tape()
        self.slots: list[int] = []
        self.arguments = arguments
        self.argnums = argnums
        given = [*arguments]
        for i in argnums:
            given[i] = mapped(self._variable, arguments[i])
        try:
            y = function(*given)
        finally:
            self.tape.is_closed = True
        self.y, self.aux = (y[0], mapped(self.value, y[1])) if has_aux else (y, None)

    def _variable(self, x: Any) -> Any:
        slot = self.tape.new_slots()
        self.slots.append(slot)
        return traced_class(differentiable(x))(unwrapped(x), self.tape, slot)

    def value(self, x: Any) -> Any:
        """An array without this recording."""
        x = unwrapped(x)
        return x.value if isinstance(x, Traced) and x.tape is self.tape else x

    @quiet
    def gradients(self, of_results: Any, *, keep: bool) -> tuple[Any, ...]:
        """The gradients with respect to the arguments, from those with respect to the results, as a tuple of trees."""
        given: dict[int, Any] = {}
        for y, g in zip(leaves(self.y), leaves(of_results), strict=True):
            y = unwrapped(y)
            if isinstance(y, Traced) and y.tape is self.tape:
                g = fitted(y.space.inner, g, y.shape, y.dtype)
                given[y.slot] = given[y.slot] + g if y.slot in given else g
        arrays = [x for i in self.argnums for x in leaves(self.arguments[i])]
        if arrays and given:
            given = self.tape.sweep(traced_class(arrays[0]).space.inner, given, keep=keep)
        found = iter([self._gradient(x, given.get(slot)) for x, slot in zip(arrays, self.slots, strict=True)])
        return tuple(mapped(lambda _: next(found), self.arguments[i]) for i in self.argnums)

    def _gradient(self, x: Any, g: Any) -> Any:
        if g is None:
            return unwrapped(namespace(x).zeros_like(x))
        g = unwrapped(g)
        return g if isinstance(g, Traced) else copy(g)  # no view of what the user has, nor one that is read-only


def differentiable(x: Any) -> Any:
    """`x`, if there are gradients with respect to it.

    Raises
    ------
    TypeError
        If it is not an array of real floating numbers.
    """
    xp = namespace(x)
    if xp.isdtype(x.dtype, "real floating"):
        return x
    if xp.isdtype(x.dtype, "complex floating"):
        raise TypeError("gradients of complex numbers are not supported: pass the real and the imaginary part.")
    raise TypeError(
        f"gradients are with respect to real floating numbers; got an array of {x.dtype}. Convert it, "
        f"xp.astype(x, xp.float64), or choose other arguments with argnums."
    )


def _numbers(argnums: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not numbers or any(not -count <= i < count for i in numbers):
        raise ValueError(f"argnums must be positions of the {count} arguments, from 0; got {shown(argnums)}.")
    return tuple(i % count for i in numbers)


def value_and_gradient(function: Function, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False) -> Function:
    """A function of the same arguments that returns the value of `function` and its gradient; see `grad`."""

    @functools.wraps(function)
    def value_and_gradient_of(*arguments: Any, **settings: Any) -> Any:
        numbers = _numbers(argnums, len(arguments))
        recorded = Recorded(functools.partial(function, **settings), arguments, numbers, has_aux=has_aux)
        value = recorded.value(_scalar(recorded.y))
        gradients = recorded.gradients(namespace(value).ones_like(value), keep=False)
        gradient = gradients[0] if isinstance(argnums, int) else gradients
        return ((value, recorded.aux) if has_aux else value), gradient

    return value_and_gradient_of


def _scalar(y: Any) -> Any:
    if not hasattr(y, "shape"):
        raise TypeError(
            f"the function must return an array of one number, its loss; got {shown(y)}. With further results, "
            f"return (loss, results) and pass has_aux=True."
        )
    if tuple(y.shape) not in ((), (1,)):
        raise ValueError(
            f"the function must return one number; got an array of shape {tuple(y.shape)}. Return its sum or mean, "
            f"or use nn.jacobian."
        )
    return y


def grad(function: Function, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False) -> Function:
    """A function of the same arguments that returns the gradient of `function`, by reverse-mode differentiation."""
    both = value_and_gradient(function, argnums, has_aux=has_aux)

    @functools.wraps(function)
    def gradient_of(*arguments: Any, **settings: Any) -> Any:
        value, gradient = both(*arguments, **settings)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_of


def vjp(function: Function, *arguments: Any) -> tuple[Any, Function]:
    """The value of a function, and its pullback: from the gradient with respect to y to those of the arguments."""
    recorded = Recorded(function, arguments, tuple(range(len(arguments))), has_aux=False)
    return mapped(recorded.value, recorded.y), lambda g: recorded.gradients(g, keep=True)


def jvp(function: Function, arguments: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """The value of a function, and its derivative along tangents: dy = J v.

    The pullback g -> J' g is linear in g, so that its own pullback is v -> J v.
    """
    y, pullback = vjp(function, *arguments)
    zeros = mapped(lambda x: namespace(x).zeros_like(x), y)
    _, again = vjp(pullback, zeros)
    return y, again(tuple(tangents))[0]


def jacobian(function: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """A function that returns dy/dx with the shape (*y.shape, *x.shape): one sweep for each entry of y."""

    @functools.wraps(function)
    def jacobian_of(*arguments: Any, **settings: Any) -> Any:
        numbers = _numbers(argnums, len(arguments))
        recorded = Recorded(functools.partial(function, **settings), arguments, numbers, has_aux=False)
        y = recorded.y
        xp, size = namespace(y), 1
        for n in y.shape:
            size *= n
        units = xp.reshape(xp.eye(size, dtype=y.dtype, device=device_of(y)), (size, *y.shape))
        rows = [recorded.gradients(units[i, ...], keep=True) for i in range(size)]
        gradients = mapped(lambda *parts: _stacked(parts, tuple(y.shape)), rows[0], *rows[1:])
        return gradients[0] if isinstance(argnums, int) else gradients

    return jacobian_of


def _stacked(parts: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    xp = namespace(parts[0])
    return xp.reshape(xp.stack(list(parts)), (*shape, *parts[0].shape))


def hessian(function: Function, argnums: int = 0) -> Function:
    """A function that returns the second derivatives of a function to one number, shape (*x.shape, *x.shape)."""
    return jacobian(grad(function, argnums), argnums)


def hvp(function: Function, x: Any, v: Any) -> Any:
    """The Hessian of a function at x, times v, without the Hessian: the gradient of v' grad f."""

    def along(x: Any) -> Any:
        parts = mapped(lambda g, t: namespace(g).sum(g * t), grad(function)(x), v)
        return functools.reduce(lambda a, b: a + b, leaves(parts))

    return grad(along)(x)


def stop_gradient(x: Any) -> Any:
    """The array as a constant: nothing that is computed from it has a gradient with respect to what it came from."""
    return mapped(stripped, x)


def custom_gradient(function: Function) -> Function:
    """A function with a gradient of its own: `function(*arrays)` returns y and its pullback."""

    @functools.wraps(function)
    def with_gradient(*arguments: Any) -> Any:
        tape = newest(arguments)
        if tape is None:
            return function(*map(unwrapped, arguments))[0]
        space = next(x.space for x in arguments if isinstance(x, Traced))

        def rule(_: Any, *values: Any) -> Any:
            y, pullback = function(*values)
            return y, tuple((lambda g, i=i: _part(pullback(g), i)) for i in range(len(values)))

        return record(space, tape, rule, arguments, {})

    return with_gradient


def _part(gradients: Any, i: int) -> Any:
    return gradients[i] if isinstance(gradients, (list, tuple)) else gradients


def checkpoint(function: Function) -> Function:
    """The same function, which keeps no results for its gradient, but computes them again: less memory, more time."""

    @custom_gradient
    def recomputed(*arguments: Any) -> Any:
        return function(*arguments), lambda g: vjp(function, *arguments)[1](g)

    return functools.wraps(function)(recomputed)
