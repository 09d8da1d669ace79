"""When a training of a command stops before its last epoch, and why it ended."""

from __future__ import annotations

from typing import Protocol

from nnarray.training.callbacks import Callback, EarlyStopping, Run


class Plan(Protocol):
    """What a plan of a training says of early stopping."""

    @property
    def early_stopping(self) -> bool | None:
        """Whether it stops early; None if held-out examples decide."""
        ...

    @property
    def patience(self) -> int | None:
        """The number of epochs without a better loss; None if it follows from the number of all epochs."""
        ...


def stopping(plan: Plan, *, held_out: bool, epochs: int) -> EarlyStopping | None:
    """Early stopping if there are held-out examples, unless the plan says otherwise."""
    wanted = plan.early_stopping
    if not (plan.patience is not None or (held_out if wanted is None else wanted)):
        return None
    patience = max(10, epochs // 10) if plan.patience is None else plan.patience
    return EarlyStopping("val_loss" if held_out else "loss", patience=patience)


class Ended(Callback):
    """Remembers why a training ended."""

    reason: str | None = None

    def on_fit_end(self, run: Run) -> None:
        """The training has ended."""
        self.reason = run.stopped
