"""Decoding: the outputs for a sequence in parts, one after the other, from what the layers remember."""

from __future__ import annotations

from typing import Any, NamedTuple

from nnarray.backends import apart, device_of, namespace
from nnarray.functional.cache_checks import has_outline, outline, refuse_other_arrays
from nnarray.functional.propagation import Wiring
from nnarray.layers.base import Context
from nnarray.layers.kinds import Spec, arrays_in, mapped, specs
from nnarray.recording.trees import mapped as mapped_arrays
from nnarray.typing import Array, DType, Tree

CONSUMED = (
    "this cache, of {count} positions, was consumed by a call of decode, which may have written into its arrays. Use "
    "the cache that decode returned. To continue a sequence in several ways, copy it before: y, c = "
    "model.decode(tokens, cache.copy())."
)


class _Cache(NamedTuple):
    layers: Tree
    position: int
    batch: int
    length: int


class Cache(_Cache):
    """What the layers of a network remember of the positions of some sequences.

    `model.decode` consumes it, and returns another one.

    Attributes
    ----------
    layers : dict
        Arrays by layer and name, each of shape (batch, ...). They never grow.
    position : int
        The number of positions that it holds.
    batch : int
        The number of sequences.
    length : int
        The number of positions that it can hold.
    """

    consumed = False
    decoder: Any = None
    """The plan of the next token, if there is one: it writes into these arrays."""

    maker: Any = None
    """The network, the dtype and the arrays, if they are known to fit."""

    def __getstate__(self) -> dict[str, Any]:
        """A copy, also by pickle, has other arrays, and so no plan."""
        return {"consumed": self.consumed}

    def made_by(self, wiring: Wiring, dtype: DType) -> Cache:
        """The same cache, which remembers that its arrays are those of this network."""
        self.maker = wiring, dtype, outline(self.layers)
        return self

    def is_of(self, wiring: Wiring, dtype: DType) -> bool:
        """Whether this network made its arrays, and nobody has replaced one since."""
        made = self.maker
        return made is not None and made[0] is wiring and made[1] == dtype and has_outline(self.layers, made[2])

    def copy(self) -> Cache:
        """The same with arrays of its own, to continue the sequences in several ways.

        Raises
        ------
        ValueError
            If it was consumed.
        """
        self.refuse_consumed()
        other = self._replace(layers=mapped_arrays(apart, self.layers))
        if self.maker is not None and self.is_of(*self.maker[:2]):
            return other.made_by(*self.maker[:2])
        return other

    def refuse_consumed(self) -> None:
        """Raise ValueError if it was consumed: some libraries have written other positions into its arrays."""
        if self.consumed:
            raise ValueError(CONSUMED.format(count=self.position))


def new_cache(wiring: Wiring, shape: Any, like: Array, batch: int, length: int) -> Cache:
    """An empty cache for sequences of at most `length` positions, in the library, dtype and on the device of `like`.

    Raises
    ------
    ValueError
        If the network needs all positions at once, or cannot take so many.
    """
    xp, device = namespace(like), device_of(like)
    dtypes = {"real": like.dtype, "boolean": xp.bool, "integer": xp.int32}

    def empty(wanted: Any) -> Any:
        if isinstance(wanted, Spec):
            return xp.zeros((batch, *wanted.shape), dtype=dtypes[wanted.kind.name], device=device)
        return {name: empty(each) for name, each in wanted.items()}

    return Cache(empty(wiring.network.initial_cache(shape, length)), 0, batch, length).made_by(wiring, like.dtype)


def refuse_other_cache(wiring: Wiring, shape: Any, like: Array, cache: Cache) -> None:
    """Refuse a cache whose arrays are not those that this network remembers; of another one, note that they are.

    Raises
    ------
    TypeError, ValueError
        If a name, a shape, a dtype, a library or a device differs; or as `new_cache`.
    """
    if not cache.is_of(wiring, like.dtype):
        remedy = (
            f"Begin with model.new_cache({cache.batch}, {cache.length}) of this model, and keep its names and shapes."
        )
        kept = wiring.network.initial_cache(shape, cache.length)
        refuse_other_arrays(cache.layers, kept, cache.batch, like, remedy)
        cache.made_by(wiring, like.dtype)


def decode(wiring: Wiring, tree: Tree, state: Array, x: Any, layers: Tree, position: Any) -> tuple[Array, Tree]:
    """The outputs for the next positions, and the arrays of the cache after them. A pure function; consumes `layers`.

    Parameters
    ----------
    wiring : Wiring
    tree : dict
        The parameters, nested like the layers.
    state : array
    x : array, shape (batch, t, ...), or a dict of such
        The inputs at the positions `position`, ..., `position + t - 1`, which the cache must have.
    layers : dict
        The arrays of a `Cache`.
    position : int, or array of shape ()
        The number of positions before x.

    Returns
    -------
    y : array, shape (batch, t, ...)
    layers : dict
    """
    ctx = Context(False, wiring.state.tree(state), False, False, cache=layers, position=position)
    out = wiring.network.forward(tree, x, ctx)
    return out.y, out.cache


def positions_of(x: Any) -> int:
    """The number of positions of inputs of shape (batch, t, ...)."""
    return next(arrays_in(x)).shape[1]


def refuse_without_positions(wiring: Wiring, shape: Any) -> None:
    """Refuse a network whose examples are no sequences.

    Raises
    ------
    ValueError
        If an input has no axis of positions.
    """

    def check(spec: Spec) -> None:
        if len(spec.shape) < 1 + (spec.kind.name == "real"):
            raise ValueError(
                f"only a network of sequences can continue them; this one takes examples of shape {spec.shape}. Its "
                f"inputs are (batch, positions) for tokens, and (batch, positions, features) for numbers."
            )

    mapped(check, specs(wiring.network.takes, shape))
