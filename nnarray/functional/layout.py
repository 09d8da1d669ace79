"""The slots of the parameters in the parameter vector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from nnarray import kernels
from nnarray.backends import backend_of, device_of, dtype_name, is_traced, namespace
from nnarray.checks import refuse_non_finite
from nnarray.kernels.compilation import quiet
from nnarray.layers.base import Param
from nnarray.layers.initializers import initializer
from nnarray.names import shown
from nnarray.random import Key
from nnarray.typing import Array, Device, Namespace, Tree


class Slot(NamedTuple):
    """One parameter: the names of its layers, its own name, and its part of the vector."""

    path: tuple[str, ...]
    param: Param
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The path as a string, such as "0.weight"."""
        return ".".join(self.path)


class Parameters(dict[str, Any]):
    """Parameters by name, which are looked at: to set an entry would not change the model, so it is an error."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "model.params is read-only: a new entry would not change the model. Call model.set_params({name: array}), "
            "such as model.set_params({'0.bias': array})."
        )

    def __missing__(self, name: object) -> NoReturn:
        raise KeyError(f"there is no parameter {name!r}; the model has {', '.join(self)}.")

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also by pickle, is a dict that may change."""
        return dict, (dict(self),)

    if not TYPE_CHECKING:  # whose types are those of a dict that changes
        __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse


@dataclass(frozen=True)
class Layout:
    """The order and the shapes of the parameters in one contiguous vector."""

    slots: tuple[Slot, ...]
    size: int

    @classmethod
    def of(cls, tree: Tree) -> Layout:
        """Lay out a tree of `Param`, depth first."""
        slots: list[Slot] = []
        size = 0
        for path, param in _leaves(tree):
            stop = size + math.prod(param.shape)
            slots.append(Slot(path, param, size, stop))
            size = stop
        return cls(tuple(slots), size)

    def draw(self, key: Key, xp: Namespace, device: Device) -> Array:
        """The initial values of all parameters, each drawn with the key folded by its name."""
        parts = [
            xp.reshape(initializer(p.param.init).draw(key.fold(p.name), p.param.shape, xp, device), (-1,))
            for p in self.slots
        ]
        return xp.concat(parts) if parts else xp.zeros(0, dtype=xp.float64, device=device)

    def views(self, vector: Array) -> dict[str, Array]:
        """The parameters by name; views if the library has them."""
        return dict(zip((slot.name for slot in self.slots), self.divided(vector), strict=True))

    def tree(self, vector: Array) -> dict[str, Any]:
        """The parameters nested as the layers are."""
        return self.nested(self.divided(vector)) if self.slots else {}

    def divided(self, vector: Array) -> list[Array]:
        """The parameters, one by one."""
        xp = namespace(vector)
        return [xp.reshape(vector[p.start : p.stop], p.param.shape) for p in self.slots]

    def nested(self, parts: Sequence[Array]) -> dict[str, Any]:
        """The tree of the parameters that `divided` returns."""
        root: dict[str, Any] = {}
        for slot, part in zip(self.slots, parts, strict=True):
            node = root
            for layer in slot.path[:-1]:
                node = node.setdefault(layer, {})
            node[slot.path[-1]] = part
        return root

    def leaves(self, tree: Tree) -> list[Array]:
        """The arrays of a tree, such as the gradient, in the order of the parameters."""
        return [_leaf(tree, slot) for slot in self.slots]

    def pack(self, tree: Tree, like: Array) -> Array:
        """The vector of a tree of arrays, such as the gradient."""
        return kernels.joined(*self.leaves(tree)) if self.slots else like

    @quiet  # an overflow is reported by an error
    def replaced(self, vector: Array, values: Tree) -> Array:
        """The vector with new values of some parameters, by name: arrays of any library, or nested lists.

        Raises
        ------
        ValueError
            If a name is unknown, a shape differs, or a value is not possible (`refuse_impossible`).
        """
        be, slots = backend_of(vector), {slot.name: slot for slot in self.slots}
        fresh: dict[str, Array] = self.views(vector)
        for name, value in values.items():
            if name not in slots:
                raise ValueError(f"unknown parameter {name!r}; the model has {', '.join(slots)}.")
            try:
                array = be.asarray(value, dtype=vector.dtype)
            except ValueError as error:
                raise ValueError(f"parameter {name!r}: {error}") from error
            if array.shape != slots[name].param.shape:
                raise ValueError(f"parameter {name!r} has shape {slots[name].param.shape}; got {tuple(array.shape)}.")
            refuse_impossible(array, name)
            fresh[name] = array
        return be.xp.concat([be.xp.reshape(fresh[name], (-1,)) for name in slots]) if slots else vector

    def mask(self, chosen: set[str], like: Array) -> Array:
        """True at the entries of the parameters whose names are chosen."""
        xp = namespace(like)
        ones = [xp.full(p.stop - p.start, p.name in chosen, dtype=xp.bool, device=device_of(like)) for p in self.slots]
        return xp.concat(ones) if ones else xp.zeros(0, dtype=xp.bool, device=device_of(like))

    def spread(self, values: Mapping[str, float], otherwise: float, like: Array) -> Array:
        """A number at all entries of each parameter: the one of its name, or else another; of the dtype of `like`."""
        xp, device = namespace(like), device_of(like)
        numbers = [(p.stop - p.start, values.get(p.name, otherwise)) for p in self.slots]
        parts = [xp.full(size, float(number), dtype=like.dtype, device=device) for size, number in numbers]
        return xp.concat(parts) if parts else xp.zeros(0, dtype=like.dtype, device=device)

    def frozen(self, names: Set[str], like: Array) -> Array | None:
        """True at the entries of these parameters, which must not change; None if there are none."""
        return self.mask(set(names), like) if names else None

    def decays(self, like: Array) -> Array | None:
        """1 at the entries to which weight decay applies, 0 at the others; None if it applies to all."""
        chosen = {slot.name for slot in self.slots if slot.param.decay}
        if len(chosen) == len(self.slots):
            return None
        return namespace(like).astype(self.mask(chosen, like), like.dtype)


def refuse_impossible(x: Array, name: str) -> None:
    """Refuse values that no parameter or state can have: NaN, infinity, a negative variance. Waits for the device."""
    if is_traced(x):
        return
    dtype = dtype_name(x.dtype)
    refuse_non_finite(x, f"parameter {name!r}, as {dtype},", f"Pass finite numbers that {dtype} can hold.")
    if name.rpartition(".")[2] == "variance" and bool(namespace(x).any(x < 0)):
        raise ValueError(f"parameter {name!r} is negative; a variance is at least 0.")


def _leaves(tree: Tree, above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Param]]:
    if not isinstance(tree, Mapping):
        raise TypeError(f"params(shape) must return a dict, such as {{'weight': nn.Param(...)}}; got {shown(tree)}.")
    leaves: list[tuple[tuple[str, ...], Param]] = []
    for name, node in tree.items():
        path = (*above, name)
        if not isinstance(node, Param | Mapping):
            raise TypeError(f"parameter {'.'.join(path)!r} must be nn.Param(shape, init); got {shown(node)}.")
        if isinstance(node, Param) and not isinstance(node.shape, tuple):
            raise TypeError(f"the shape of parameter {'.'.join(path)!r} must be a tuple; got {shown(node.shape)}.")
        leaves += [(path, node)] if isinstance(node, Param) else _leaves(node, path)
    return leaves


def _leaf(tree: Any, slot: Slot) -> Array:
    try:
        for name in slot.path:
            tree = tree[name]
    except KeyError:
        raise ValueError(
            f"{slot.name!r} is missing: the pullback of its layer must return a gradient for each parameter."
        ) from None
    if tree.shape != slot.param.shape:
        raise ValueError(f"{slot.name!r} has shape {slot.param.shape}; got a gradient of shape {tuple(tree.shape)}.")
    return tree
