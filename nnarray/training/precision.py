"""Mixed precision in training: checks, and leaving out steps whose gradient is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnarray.backends import backend_of, copy, dtype_name, namespace, place
from nnarray.kernels.engines import AUTO, LAYERS, RECORDING, resolved
from nnarray.names import shown
from nnarray.optimizers.transforms import Info, LossScale, Slots
from nnarray.typing import Array

HALF, MASTER = ("float16", "bfloat16"), "float32"


def checked_precision(precision: Any) -> str | None:
    """`precision`, checked to be the name of a 16-bit dtype or None.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if precision is None or (isinstance(precision, str) and precision in HALF):
        return precision
    raise ValueError(
        f"precision must be 'float16', 'bfloat16' or None, for the model's own dtype; got {shown(precision)}."
    )


def engine_in_precision(engine: str, theta: Array) -> str:
    """The engine: with 16 bits only the layers compute, whose steps may be recorded.

    Raises
    ------
    ValueError
        If another engine is requested.
    """
    if engine in (LAYERS, *RECORDING):
        return engine
    if engine == AUTO:
        return AUTO if resolved(AUTO, theta) in RECORDING else LAYERS
    raise ValueError(f"engine {engine!r} does not support precision: pass engine='layers', or leave out precision.")


def refuse_precision(precision: str | None, theta: Array) -> None:
    """Refuse a dtype that the device does not have, and models of another dtype than float32.

    Raises
    ------
    ValueError
        In either case.
    """
    if precision is None:
        return
    here, own = backend_of(theta).dtypes, dtype_name(theta.dtype)
    if precision not in here:
        there = [name for name in HALF if name in here]
        remedy = f"Pass precision={there[0]!r}, or leave it out." if there else "Leave out precision."
        raise ValueError(
            f"precision={precision!r}: {place(theta)} has no {precision}; "
            f"it has {' and '.join(there) or 'neither float16 nor bfloat16'}. {remedy}"
        )
    if own != MASTER:
        raise ValueError(
            f"precision={precision!r} trains a model of float32, but this one is {own}. Convert it first: "
            f"model = model.to(backend, dtype='float32')."
        )


def beyond_float16(theta: Array) -> str:
    """The remedy if the range of float16 is too small."""
    return "use precision='bfloat16'" if "bfloat16" in backend_of(theta).dtypes else "leave out precision"


def scaling_in(precision: str | None) -> LossScale | None:
    """The loss scale, if one is needed; bfloat16 needs none, as it has the range of float32."""
    return LossScale() if precision == "float16" else None


def taken_if_good(
    scaling: LossScale,
    before: tuple[Array, Array, Slots],
    gradient: Array,
    state: Array,
    update: Callable[[Array, Array, Slots, Array], tuple[Array, Slots]],
) -> tuple[Array, Array, Slots]:
    """theta, state and slots after a step. If the gradient was not finite, only the scale differs from `before`.

    `update` returns theta and slots for theta, a gradient, slots, and the number of steps taken before, without those
    that were left out. `state` is the state after the step.
    """
    theta, old_state, slots = before
    own = {name: slot for name, slot in slots.items() if name not in scaling.slot_names}
    memory = {name: slots[name] for name in scaling.slot_names}
    taken = memory["taken_steps"]
    gradient, _, memory = scaling.apply(gradient, theta, memory, Info({}))
    copies = {name: copy(slot) for name, slot in own.items()}  # an update may write into its arguments
    new_theta, new = update(copy(theta), gradient, copies, taken)
    xp, good = namespace(theta), scaling.is_good(memory)
    chosen = {name: xp.where(good, new[name], slot) for name, slot in own.items()}
    return xp.where(good, new_theta, theta), xp.where(good, state, old_state), chosen | memory
