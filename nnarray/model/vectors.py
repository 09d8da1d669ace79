"""The two vectors of a model: what they may be set to."""

from __future__ import annotations

from collections.abc import Mapping

from nnarray.backends import as_data, dtype_name, is_traced, same_place, stands_in, without_record
from nnarray.checks import refuse_non_finite
from nnarray.functional.layout import Layout
from nnarray.names import converted, shown
from nnarray.typing import Array

UNSOUND = "The model keeps its own. If they come from a training loop, its learning rate may be too high."


def checked_theta(given: Array, state: Array, size: int) -> Array:
    """A theta of `size` parameters, for a model with this state.

    Raises
    ------
    TypeError, ValueError
        If its shape, dtype, library or device is not the model's.
    """
    theta = as_data(given, "theta")
    if theta.shape != (size,):
        raise ValueError(
            f"theta must have shape ({size},), one entry per parameter; got {tuple(theta.shape)}. "
            f"Take it from a model of the same network."
        )
    if not same_place(model=state, theta=theta).isdtype(theta.dtype, "real floating"):
        raise TypeError(f"theta must be real floating; got dtype {dtype_name(theta.dtype)}. Convert it first.")
    if theta.dtype != state.dtype:
        own = dtype_name(state.dtype)
        raise TypeError(
            f"theta must have the model's dtype {own}; got {dtype_name(theta.dtype)}. Convert it, "
            f"{converted('theta', own)}, or make a model of another dtype with model.to(backend, dtype=...)."
        )
    return theta


def checked_state(given: Array, own: Array) -> Array:
    """A state in place of the model's own.

    Raises
    ------
    TypeError, ValueError
        If its shape, dtype, library or device is not the model's.
    """
    state = without_record(as_data(given, "state"))
    if state.shape != own.shape or state.dtype != own.dtype:
        raise ValueError(
            f"state must have shape {tuple(own.shape)} and dtype {dtype_name(own.dtype)}; got "
            f"shape {tuple(state.shape)} and dtype {dtype_name(state.dtype)}. Take it from nn.training_step."
        )
    same_place(model=own, state=state)
    return state


def refuse_unfit(vectors: Mapping[str, Array], own: Array, unchecked: str) -> None:
    """Refuse traced vectors, which stop to exist when the function that is running returns.

    The vector whose name is `unchecked` comes from the user as a whole: its numbers must be finite.

    Raises
    ------
    ValueError
        The message names the vector.
    """
    for name, x in vectors.items():
        if stands_in(x) and not stands_in(own):
            raise ValueError(ends(name))
        if name == unchecked and not is_traced(x):
            refuse_non_finite(without_record(x), name, UNSOUND)


def matched(layout: Layout, name: object) -> set[str]:
    """The parameters of this name, of the layer of this name, or that fit the pattern.

    Raises
    ------
    TypeError, ValueError
        If it is no text, or no parameter fits.
    """
    every = [slot.name for slot in layout.slots]
    if not isinstance(name, str):
        raise TypeError(f"names of parameters must be strings, such as {every[0]!r}; got {shown(name)}.")
    from nnarray.optimizers.groups import fits

    found = {slot.name for slot in layout.slots if fits(slot.path, name)}
    if not found:
        raise ValueError(f"no parameter is called {name!r}; the model has {', '.join(every)}.")
    return found


def ends(name: str) -> str:
    """Why a vector cannot be set that exists in a function only, and what to do."""
    return (
        f"this {name} exists only inside the function that is being compiled or differentiated (by nn.grad, jax.jit, "
        f"jax.grad, torch.func, ...), but the model exists outside of it. Compute with model.with_theta(theta, state), "
        f"and set model.{name} to the value that the function returns."
    )
