"""A function, recorded: what it computed from its arguments, and the gradients with respect to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from nnarray import backends
from nnarray.backends import copy, dtype_name, is_differentiated, library_of, namespace
from nnarray.kernels.compilation import quiet
from nnarray.names import shown
from nnarray.recording.namespace import traced_class
from nnarray.recording.tape import Tape, fitted
from nnarray.recording.traced import Traced, unwrapped
from nnarray.recording.trees import mapped


class Recorded:
    """What a function computed from its arguments, and the gradients with respect to them."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], argnums: tuple[int, ...], *, has_aux: bool
    ) -> None:
        self.tape = Tape()
        self.variables: list[Any] = []  # by slot, which are the first ones of the tape
        self.arguments = arguments
        self.argnums = argnums
        given = list(arguments)
        for i in argnums:
            given[i] = mapped(self._variable, arguments[i])
        for i in range(len(given)):
            if i not in argnums:
                given[i] = mapped(constant, given[i])  # so that their namespace records, too
        try:
            y = function(*given)
        finally:
            self.tape.is_closed = True
        self.y, self.aux = _with_aux(y) if has_aux else (y, None)
        if has_aux:
            self.aux = mapped(self.result, self.aux)

    def _variable(self, x: Any) -> Any:
        made = traced_class(x) if hasattr(x, "dtype") else refuse(x)
        if not made.space.is_real(x.dtype):
            refuse(x)
        self.variables.append(x)
        self.tape.slots += 1
        return made(unwrapped(x), self.tape, self.tape.slots - 1)

    def value(self, x: Any) -> Any:
        """An array without this recording."""
        x = unwrapped(x)
        return x.value if isinstance(x, Traced) and x.tape is self.tape else x

    def result(self, x: Any) -> Any:
        """An array without this recording, in memory of its own: arguments and what pullbacks keep stay as they are."""
        return apart(self.value(x))

    def gradients(self, of_results: Any, *, keep: bool) -> tuple[Any, ...]:
        """The gradients with respect to the arguments, from those with respect to the results, as a tuple of trees.

        Raises
        ------
        ValueError
            If they have not the form and the shapes of the results.
        """
        pairs: list[tuple[Any, Any]] = []
        mapped(lambda y, g: pairs.append((y, g)), self.y, of_results)
        for y, g in pairs:
            same_shape(g, y, "the gradient with respect to a result")
        return self.sweep(pairs, keep=keep)

    @quiet
    def sweep(self, pairs: list[tuple[Any, Any]], *, keep: bool) -> tuple[Any, ...]:
        """As `gradients`, from some results and the gradients with respect to them."""
        given: dict[int, Any] = {}
        for y, g in pairs:
            traced = unwrapped(y)
            if isinstance(traced, Traced) and traced.tape is self.tape:
                g = fitted(g, traced.shape, traced.dtype)
                given[traced.slot] = given[traced.slot] + g if traced.slot in given else g
        if given:
            given = self.tape.sweep(traced_class(self.variables[0]).space, given, keep=keep)
        found = iter([self._gradient(x, given.get(slot)) for slot, x in enumerate(self.variables)])
        return tuple([mapped(lambda _: next(found), self.arguments[i]) for i in self.argnums])

    def _gradient(self, x: Any, g: Any) -> Any:
        if g is None:
            return unwrapped(namespace(x).zeros_like(x))
        g = unwrapped(g)
        if isinstance(g, Traced) or is_differentiated(g):
            return g
        return copy(g)  # no view of what the user has, nor one that is read-only


def _with_aux(y: Any) -> Any:
    if isinstance(y, tuple) and len(y) == 2:
        return y
    raise TypeError(f"with has_aux=True, the function must return a pair, (loss, results); got {shown(y)}.")


def same_shape(x: Any, like: Any, what: str) -> None:
    """Raise ValueError unless `x` has the shape of `like`; nothing is broadcast silently."""
    given, wanted = (tuple(getattr(each, "shape", ())) for each in (x, like))
    if given != wanted:
        raise ValueError(f"{what} must have its shape {wanted}; got {given}. Reshape it, or use xp.broadcast_to.")


def refuse(x: Any) -> NoReturn:
    """Say why there are no gradients with respect to `x`.

    Raises
    ------
    TypeError
        As it is not an array of real floating numbers.
    """
    if not hasattr(x, "dtype"):
        raise TypeError(
            f"gradients are with respect to arrays; got {shown(x)}. Make an array of it, xp.asarray(x), or choose "
            f"other arguments with argnums."
        )
    if namespace(x).isdtype(x.dtype, "complex floating"):
        raise TypeError("gradients of complex numbers are not supported: pass the real and the imaginary part.")
    raise TypeError(
        f"gradients are with respect to real floating numbers; got an array of {dtype_name(x.dtype)}. Convert it, "
        f"xp.astype(x, xp.float64), or choose other arguments with argnums."
    )


def constant(x: Any) -> Any:
    """An array of real floating numbers as a traced one that depends on nothing; anything else as it is.

    Functions that choose a faster version by the type of an argument then take the definition, which can be recorded.
    """
    if isinstance(x, Traced) or not hasattr(x, "dtype"):
        return x
    made = traced_class(x)
    return made(x) if made.space.is_real(x.dtype) else x


def apart(x: Any) -> Any:
    """`x` for the user, who may write into it: `x` itself stays as it is."""
    if isinstance(x, Traced):
        return type(x)(x.value, x.tape, x.slot)
    return backends.apart(x) if library_of(x) is not None or hasattr(x, "__array_namespace__") else x


def is_real(x: Any) -> bool:
    """Whether `x` is an array of real floating numbers, with respect to which there are gradients."""
    return hasattr(x, "dtype") and traced_class(x).space.is_real(x.dtype)
