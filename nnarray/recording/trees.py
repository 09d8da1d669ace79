"""Arrays in nested dicts, lists and tuples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree, in order."""
    if hasattr(tree, "dtype"):  # asked first: a question for a mapping takes long
        return [tree]
    if isinstance(tree, Mapping):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return [] if tree is None else [tree]
    return [leaf for part in tree for leaf in leaves(part)]


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A tree of the same form, of the function of each array, and of those in the same places of other trees.

    Raises
    ------
    ValueError
        If another tree has another form.
    """
    if isinstance(tree, (list, tuple)):
        if not others:
            return in_the_form_of(tree, [mapped(function, part) for part in tree])
        if any(not isinstance(other, (list, tuple)) or len(other) != len(tree) for other in others):
            raise ValueError(f"all trees need the same form: a {type(tree).__name__} of {len(tree)} parts here.")
        parts = [mapped(function, part, *rest) for part, *rest in zip(tree, *others, strict=True)]
        return in_the_form_of(tree, parts)
    if hasattr(tree, "dtype") or not isinstance(tree, Mapping):
        return None if tree is None else function(tree, *others)
    if any(not isinstance(other, Mapping) or other.keys() != tree.keys() for other in others):
        raise ValueError(f"all trees need the same keys: {', '.join(map(repr, tree))}.")
    return {key: mapped(function, part, *(other[key] for other in others)) for key, part in tree.items()}


def filled(tree: Any, values: Iterable[Any]) -> Any:
    """A tree of the same form with other arrays, in order."""
    each = iter(values)
    return mapped(lambda _: next(each), tree)


def in_the_form_of(tree: Any, parts: list[Any]) -> Any:
    """A list, a tuple or a named tuple of these parts, as `tree` is one."""
    if type(tree) is list:
        return parts
    return tree._make(parts) if hasattr(tree, "_make") else type(tree)(parts)
