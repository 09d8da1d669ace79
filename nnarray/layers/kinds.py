"""The inputs of a network: one array, or a mapping of named ones, each with a shape and a kind of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from nnarray.arguments import explain_settings
from nnarray.backends import namespace
from nnarray.checks import integer
from nnarray.names import named, shown
from nnarray.typing import Array, Shape

KINDS = {"real": "real numbers", "integer": "integers", "boolean": "truth values"}


@explain_settings
@dataclass(frozen=True)
class Kind:
    """A kind of numbers: "real" (of the model's dtype), "integer" (from 0 to `below` - 1) or "boolean".

    `usual` is for integers without a bound: those that are drawn to check a layer or a file are below it.

    Raises
    ------
    TypeError, ValueError
        If there is no such kind, or `below` or `usual` is given for another kind than integers.
    """

    name: str = "real"
    below: int | None = None
    usual: int | None = field(default=None, repr=False, compare=False)
    """Random integers are below it, if there is no bound."""

    @property
    def drawn_below(self) -> int:
        """What random integers are below, as examples for a check have them."""
        return self.below or self.usual or 10

    def __post_init__(self) -> None:
        named(self.name, KINDS, "kind of numbers")
        for name, number in (("below", self.below), ("usual", self.usual)):
            if number is None:
                continue
            integer(number, name, 1, usual=1000)
            if self.name != "integer":
                raise ValueError(f"{name} is a bound for integers only; got it for {self}. Leave it out.")

    def __str__(self) -> str:
        if self.name == "integer" and self.below is not None:
            return f"integers from 0 to {self.below - 1}"
        return KINDS[self.name]


REAL = Kind()
BOOLEAN = Kind("boolean")

Takes: TypeAlias = "Kind | Mapping[str, Any] | None"
"""The kind of inputs of a layer: a kind, a mapping of names to kinds, or None if it accepts every kind."""


class Spec(NamedTuple):
    """An array without its batch axis: its shape, and its kind of numbers. Inputs of a network have one, and caches."""

    shape: Shape
    kind: Kind = REAL


def specs(takes: Takes, shape: Any, where: str = "") -> Any:
    """The `Spec` of an input of this shape; for a mapping, the specs of all inputs, by name.

    Raises
    ------
    ValueError
        If the names differ, or only one of the two is a mapping.
    TypeError
        If `takes` of a layer is something else.
    """
    at = f" at {where!r}" if where else ""
    if not isinstance(takes, Mapping):
        if isinstance(shape, Mapping):
            raise ValueError(
                f"the network takes one array{at}; got the shapes of {', '.join(map(shown, shape))}. Pass the shape of "
                f"one example, or begin the network with nn.Inputs."
            )
        if not isinstance(takes, Kind | None):
            raise TypeError(
                f"takes of a layer must be an nn.Kind, a mapping of names to kinds, or None{at}; got {shown(takes)}. "
                f'For tokens, use nn.Kind("integer", below=1000).'
            )
        return Spec(shape, takes or REAL)
    if not isinstance(shape, Mapping) or set(shape) != set(takes):
        named = isinstance(shape, Mapping)
        given = f"shapes of {', '.join(map(shown, shape))}" if named else f"the shape {shown(shape)}"
        example = ", ".join(f"{name!r}: X[{name!r}].shape[1:]" for name in takes)
        raise ValueError(f"the network takes inputs by name{at}; got {given}. Write init({{{example}}}).")
    return {name: specs(each, shape[name], f"{where}.{name}" if where else name) for name, each in takes.items()}


def mapped(function: Callable[..., Any], wanted: Any, *inputs: Any) -> Any:
    """`function(spec, x, ...)` for each input, by name if there are several."""
    if isinstance(wanted, Spec):
        return function(wanted, *inputs)
    return {name: mapped(function, each, *(x[name] for x in inputs)) for name, each in wanted.items()}


def same_kind(kinds: list[Takes]) -> tuple[bool, Takes]:
    """Whether one array can be of all these kinds, and the kind that it then has."""
    known = [each for each in kinds if each is not None]
    if not known or any(isinstance(each, Mapping) for each in known):
        return len(known) < 2, known[0] if known else None
    alike = [each for each in known if isinstance(each, Kind) and each.name == getattr(known[0], "name", None)]
    bounds = [each.below for each in alike if each.below is not None]
    usual = [each.usual for each in alike if each.usual is not None]
    joined = Kind(alike[0].name, min(bounds, default=None), min(usual, default=None)) if alike else None
    return (True, joined) if len(alike) == len(known) else (False, None)


def arrays_in(x: Any) -> Iterator[Array]:
    """The arrays of an input: the array itself, or those of a mapping, in its order."""
    if not isinstance(x, Mapping):
        yield x
        return
    for each in x.values():
        yield from arrays_in(each)


def example_of(x: Any) -> Any:
    """The shape of one example, without the batch axis; for a mapping, the shapes of all inputs."""
    return {name: example_of(each) for name, each in x.items()} if isinstance(x, Mapping) else tuple(x.shape[1:])


def both(one: Array, other: Array) -> Array:
    """True where two masks are true; a mask with fewer axes is repeated along the others."""
    if one is other:  # which has passed through several branches
        return one
    if of_texts(one) or of_texts(other):
        raise ValueError(
            "a mask of padding and the texts of packed rows cannot be joined. Leave out padding_index and nn.Masked, "
            "or separator: padding behind the last separator is a text of its own."
        )
    xp, axes = namespace(one), max(one.ndim, other.ndim)
    one, other = (xp.reshape(each, (*each.shape, *[1] * (axes - each.ndim))) for each in (one, other))
    return xp.logical_and(one, other)


def of_texts(mask: Any) -> bool:
    """Whether a mask says to which text of its row each position belongs: integers, shape (batch, positions)."""
    return mask is not None and namespace(mask).isdtype(mask.dtype, "integral")


def words(takes: Takes) -> str:
    """The kind of inputs of a layer, for an error."""
    if isinstance(takes, Mapping):
        return "inputs by name, " + ", ".join(map(shown, takes))
    return str(takes or REAL)
