"""Whether the arrays in a cache are those that a network remembers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnarray.backends import dtype_name, same_place
from nnarray.layers.kinds import Spec
from nnarray.names import shown
from nnarray.typing import Array

SEEN_AS = {"integer": "integral", "boolean": "bool"}
"""The kinds of the standard; real numbers must have the dtype of the parameters."""


def refuse_other_arrays(given: Any, kept: Any, batch: int, like: Array, remedy: str, where: str = "layers") -> None:
    """Refuse arrays that a network does not remember: a layer would take a state that it cannot find as zeros.

    Parameters
    ----------
    given : dict
        The arrays of a cache.
    kept : dict
        The `Spec` of each, as `initial_cache` of the network gives them.
    batch : int
    like : array
        The parameters: the library, device and dtype.
    remedy : str
    where : str
        What `given` is in messages.

    Raises
    ------
    TypeError, ValueError
        If a name, a shape, a dtype, a library or a device differs; the message names the first that does.
    """
    if isinstance(kept, Spec):
        _refuse_other_array(given, kept, batch, like, remedy, where)
        return
    if not isinstance(given, Mapping):
        raise TypeError(f"{where} of the cache must be a dict with {_names(kept)}; got {shown(given)}. {remedy}")
    filled = [name for name, each in given.items() if not (isinstance(each, Mapping) and not each)]
    if set(filled) != set(kept):
        raise ValueError(f"{where} of the cache has {_names(filled)}, where the network has {_names(kept)}. {remedy}")
    for name, each in kept.items():
        refuse_other_arrays(given[name], each, batch, like, remedy, f"{where}[{name!r}]")


def _refuse_other_array(x: Any, kept: Spec, batch: int, like: Array, remedy: str, where: str) -> None:
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(f"{where} of the cache must be an array; got {shown(x)}. {remedy}")
    xp = same_place(**{f"{where} of the cache": x, "theta": like})
    if tuple(x.shape) != (batch, *kept.shape):
        raise ValueError(
            f"{where} of the cache has shape {tuple(x.shape)}, where the network has {(batch, *kept.shape)}. {remedy}"
        )
    kind = SEEN_AS.get(kept.kind.name)
    if not (x.dtype == like.dtype if kind is None else xp.isdtype(x.dtype, kind)):
        wanted = dtype_name(like.dtype) if kind is None else kept.kind.name
        raise TypeError(f"{where} of the cache is {dtype_name(x.dtype)}, where the network has {wanted}. {remedy}")


def outline(tree: Any) -> Any:
    """The arrays of a tree in dicts of their own: it still has them if one in the tree is replaced."""
    return {name: outline(each) for name, each in tree.items()} if type(tree) is dict else tree


def has_outline(tree: Any, known: Any) -> bool:
    """Whether a tree has the names and the very arrays of an outline. Each token asks, so it is quick."""
    if type(known) is not dict:
        return tree is known
    if type(tree) is not dict or len(tree) != len(known):
        return False
    return all(name in tree and has_outline(tree[name], each) for name, each in known.items())


def _names(names: Any) -> str:
    return ", ".join(map(repr, names)) or "nothing"
