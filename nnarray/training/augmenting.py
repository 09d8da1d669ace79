"""Augmentation in training: a function that changes each batch at random, inside of the step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from nnarray.backends import dtype_name
from nnarray.names import shown
from nnarray.random import Key
from nnarray.training.inputs import InMemory, Inputs, Named, parts_of

Augmentation = Callable[[Any, Key], Any]

WANTED = "augment must be a function of a batch and a key, such as nn.datasets.Augment()"


def checked_augment(augment: Any) -> Augmentation | None:
    """The function; None if there is none.

    Raises
    ------
    TypeError
        If it is not a function of a batch and a key.
    """
    if augment is None:
        return None
    if isinstance(augment, type):
        raise TypeError(f"{WANTED}; got {shown(augment)}. Write {augment.__name__}().")
    try:
        inspect.signature(augment).bind(None, None)
    except TypeError:
        raise TypeError(f"{WANTED}, or lambda x, key: ...; got {shown(augment)}.") from None
    except ValueError:  # some functions in C have no signature
        pass
    return augment


def check_images(augment: Augmentation | None, inputs: Inputs, name: str = "X", *, check_finite: bool = True) -> None:
    """Refuse inputs that the function would spoil, before the first step: by its method `check(x, name)`, if any.

    Files are read part by part, if they are checked for NaN too. Waits for the device.

    Raises
    ------
    TypeError, ValueError
        From `check`.
    """
    check = getattr(augment, "check", None)
    if check is None or isinstance(inputs, Named):
        return
    for part in parts_of(inputs) if check_finite or isinstance(inputs, InMemory) else []:
        check(inputs.rows(part), name)


def written(augment: Augmentation) -> str:
    """How the history records it: with its settings, or the name of the function, without an address in memory."""
    name = getattr(augment, "__qualname__", None)
    return repr(augment) if name is None else f"{augment.__module__}.{name}"


def augmented(augment: Augmentation, x: Any, key: Key) -> Any:
    """The batch `x`, changed by the draws of `key`; its shapes and dtypes stay the same.

    Raises
    ------
    TypeError, ValueError
        If the function returns something else.
    """
    after = augment(x, key)
    if isinstance(x, Mapping):
        if not isinstance(after, Mapping) or after.keys() != x.keys():
            raise TypeError(f"augment must return inputs by name, {', '.join(map(shown, x))}; got {shown(after)}.")
        return {name: _alike(each, after[name]) for name, each in x.items()}
    return _alike(x, after)


def _alike(x: Any, after: Any) -> Any:
    if getattr(after, "shape", None) != x.shape or after.dtype != x.dtype:
        is_array = hasattr(after, "shape") and hasattr(after, "dtype")
        what = f"shape {tuple(after.shape)} and dtype {dtype_name(after.dtype)}" if is_array else shown(after)
        raise ValueError(
            f"augment must keep shape and dtype of the batch, {tuple(x.shape)} and {dtype_name(x.dtype)}; got {what}."
        )
    return after
