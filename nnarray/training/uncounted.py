"""Targets that a loss leaves out: where none is left, there is nothing to learn, and 0 would be the best loss."""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.losses import Loss
from nnarray.typing import Array


def counts_nothing(loss: Loss, masses: list[Any]) -> bool:
    """Whether a loss that leaves out targets has left out all. Waits for the device; at the first that counts, it ends.

    Parameters
    ----------
    loss : Loss
    masses : list of int, and of arrays
        The weights of the targets, or sums of them.
    """
    return loss.leaves_out and not any(m > 0 if isinstance(m, int) else bool(namespace(m).any(m > 0)) for m in masses)


def refuse_nothing_counted(loss: Loss, weights: Array | None, name: str) -> None:
    """Refuse targets of which the loss leaves out all.

    Raises
    ------
    ValueError
        The message names the argument.
    """
    if weights is not None and counts_nothing(loss, [weights]):
        raise ValueError(message(loss, name))


def message(loss: Loss, where: str) -> str:
    """What was given, and what to do."""
    ignored = getattr(loss, "ignore_index", None)
    all_are = "" if ignored is None else f" All labels are {ignored}, its ignore_index, or have weight 0."
    return (
        f"{where} has no target that counts in {loss.label}, so there is no loss.{all_are} Pass targets that count, or "
        f"name another label as the one that is ignored."
    )
