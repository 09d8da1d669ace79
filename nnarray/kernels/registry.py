"""A kernel: a function defined once in the array API standard, with faster versions registered for libraries."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from nnarray.backends import library_of

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

TABLE: dict[str, Kernel[..., Any]] = {}
"""Every kernel by name; the tests cover all of them."""

FAST_LIBRARIES = ("numpy", "cupy", "torch", "jax")


class Kernel(Generic[P, R]):
    """A definition and its faster versions; the type of the first argument chooses one.

    A fast version takes the same arguments, returns the same within the dtype's tolerance, and writes only into
    arguments that the definition documents as consumed.
    """

    def __init__(self, definition: Callable[P, R]) -> None:
        self.definition = definition
        self.overrides: dict[str, Callable[..., Any]] = {}
        self.recorded: Callable[..., Any] | None = None
        """The version for arrays that record a gradient, if the record of the definition would be less exact."""
        self._chosen: dict[type, Callable[P, R]] = {}
        functools.update_wrapper(self, definition)

    def fast(self, library: str) -> Callable[[F], F]:
        """Register a faster version for the arrays of `library`."""

        def register(function: F) -> F:
            self.overrides[library] = function
            return function

        return register

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_table, (self.definition.__name__,)  # pickled by name, as functions are

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute with the version for the library of the first argument."""
        kind = type(args[0])
        chosen = self._chosen.get(kind)
        if chosen is None:
            chosen = self._chosen[kind] = _following(args[0], self._choose(args[0]))
        return chosen(*args, **kwargs)

    def _choose(self, x: Any) -> Callable[P, R]:
        kind = type(x)
        if hasattr(kind, "version_of"):
            return kind.version_of(self.definition, self.definition.__name__)
        if self.recorded is not None and hasattr(kind, "tape"):
            return self.recorded
        library = library_of(x)
        if library is None or library.name not in FAST_LIBRARIES:
            return self.definition
        importlib.import_module(f"nnarray.kernels.{library.name}")  # registers all versions for that library
        return self.overrides.get(library.name, self.definition)


def _following(x: Any, version: Callable[P, R]) -> Callable[P, R]:
    """The version, on the device of its first argument, where a library like that of `x` does not see to it."""
    library = library_of(x)
    if library is None or not library.follows:
        return version

    @functools.wraps(version)
    def followed(*args: P.args, **kwargs: P.kwargs) -> R:
        library.follow(args[0])
        return version(*args, **kwargs)

    return followed


def _of_table(name: str) -> Kernel[..., Any]:
    importlib.import_module("nnarray.kernels")
    return TABLE[name]


def kernel(definition: Callable[P, R]) -> Kernel[P, R]:
    """A decorator that makes a definition in the array API standard the kernel of its name."""
    made = Kernel(definition)
    TABLE[definition.__name__] = made
    return made
