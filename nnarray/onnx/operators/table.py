"""The table of operators: from a domain, a name and the version of the operator set to a function of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from nnarray.names import shown

F = TypeVar("F", bound=Callable[..., Any])

NEWEST = 28
"""The newest version of the usual operator set whose operators are known."""
LEARNED: Mapping[int, str] = {}


class Operator(NamedTuple):
    """A function of arrays that computes an operator.

    Inputs are passed by position, None where one is left out, and attributes by their names.
    """

    function: Callable[..., Any]
    since: int
    """The first version of the operator set in which the operator is this function."""
    reads: frozenset[int] = frozenset()
    """The positions of inputs that are read as numbers, such as shapes: they stay on the host."""
    weights: Mapping[int, str] = LEARNED
    """The positions of inputs that can be learned, with the initializers of new ones."""
    dynamic: bool = False
    """Whether the shapes of the outputs depend on the values of the inputs."""
    is_pure: bool = True
    """Whether equal inputs give equal outputs."""
    attributes: frozenset[str] | None = frozenset()
    """The names of the attributes; None if it takes all."""
    wants_call: bool = False
    """Whether the function takes `call`, which says where it computes."""


TABLE: dict[tuple[str, str], tuple[Operator, ...]] = {}
"""All operators by domain and name: the versions in rising order."""


def operator(
    name: str,
    since: int = 1,
    *,
    domain: str = "",
    reads: tuple[int, ...] = (),
    weights: Mapping[int, str] = LEARNED,
    dynamic: bool = False,
    is_pure: bool = True,
) -> Callable[[F], F]:
    """A decorator that adds a function to the table."""

    def add(function: F) -> F:
        made = _described(function, since, frozenset(reads), weights, dynamic=dynamic, is_pure=is_pure)
        others = [each for each in TABLE.get((domain, name), ()) if each.since != since]
        TABLE[domain, name] = tuple(sorted([*others, made], key=lambda each: each.since))
        return function

    return add


def _described(
    function: Callable[..., Any],
    since: int,
    reads: frozenset[int],
    weights: Mapping[int, str],
    *,
    dynamic: bool,
    is_pure: bool,
) -> Operator:
    parameters = inspect.signature(function).parameters.values()
    named = frozenset(each.name for each in parameters if each.kind is each.KEYWORD_ONLY) - {"call"}
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
    wants_call = any(each.name == "call" for each in parameters)
    return Operator(function, since, reads, weights, dynamic, is_pure, None if takes_all else named, wants_call)


def operator_for(domain: str, name: str, version: int) -> Operator | None:
    """The function of an operator in a version of its set; None if there is none."""
    known = [each for each in TABLE.get((domain, name), ()) if each.since <= version]
    return known[-1] if known else None


def register(
    name: str,
    function: Callable[..., Any] | None = None,
    *,
    domain: str = "",
    since: int = 1,
    reads: tuple[int, ...] = (),
    weights: Mapping[int, str] = LEARNED,
) -> Any:
    """Add an operator of your own, or another function for a known one; also a decorator.

    Parameters
    ----------
    name : str
        The name of the operator in files.
    function : callable
        f(x1, x2, ..., attribute=default, ...) -> array, or a tuple of arrays. Inputs come by position, with None for
        one that is left out, and attributes by their names. It is written in the array API standard, so that it runs on
        every backend, and its gradient follows from a record.
    domain : str
        The domain of the operator, such as "com.example"; "" is the usual one.
    since : int
        The first version of the operator set in which the operator is this function.
    reads : tuple of int
        The positions of inputs whose values are read as numbers, such as a shape. They are passed as arrays on the
        host.
    weights : mapping of int to str
        The positions of inputs that can be learned, with an initializer each: {1: "glorot"}.

    Raises
    ------
    TypeError, ValueError
        If it is not a function, or a name or number is not valid.

    Examples
    --------
    >>> import nnarray as nn
    >>> @nn.onnx.register("Cube", domain="com.example")
    ... def cube(x, *, scale=1.0):
    ...     return scale * x * x * x
    """
    if not isinstance(name, str) or not name or not isinstance(domain, str):
        raise TypeError(f"name and domain of an operator must be strings; got {shown(name)} and {shown(domain)}.")
    if isinstance(since, bool) or not isinstance(since, int) or since < 1:
        raise ValueError(f"since must be the number of a version, from 1 on; got {shown(since)}.")
    if function is not None and not callable(function):
        raise TypeError(f"an operator needs a function of arrays; got {shown(function)}.")
    add = operator(name, since, domain=domain, reads=tuple(reads), weights=weights)
    return add if function is None else add(function)
