"""Errors for numbers that became NaN or infinite: which, where, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

from nnarray import kernels
from nnarray.backends import same_place
from nnarray.layers.kinds import arrays_in
from nnarray.training.callbacks import Run
from nnarray.training.context import UNSOUND, DivergenceError
from nnarray.training.data import Data
from nnarray.training.inputs import parts_of
from nnarray.training.masked import MASKED_LABELS, masked_that_count
from nnarray.training.precision import beyond_float16
from nnarray.training.state import TrainingState
from nnarray.training.trainer import Finished, Trainer
from nnarray.typing import Array

TINY = 1e-6  # a learning rate that is unlikely to be too high

NO_STEP_TAKEN = (
    "every step was left out: the gradients did not fit into float16, and the scale of the loss is still falling. "
    "Train for more epochs, standardise X and real targets y, or use precision='bfloat16'."
)


class _Overflown(Exception):
    """The name of the number that is not finite after a step."""


def _last_good(trainer: Trainer, saved: TrainingState, number: int, rate: float, steps: int) -> TrainingState:
    """The last step after which everything is finite: the epoch is run again, up to this many steps."""
    trainer.back_to(saved)
    trainer.watch = None  # these steps were seen
    good = trainer.kept(whole=True)

    def look() -> None:
        nonlocal good
        if not trainer.finite():
            raise _Overflown
        good = trainer.kept(whole=True)

    with suppress(_Overflown):
        trainer.epochs(number, [rate], look, limit=steps)
    return good


def diverged(
    trainer: Trainer, saved: TrainingState, done: Finished, run: Run, number: int, rate: float
) -> DivergenceError:
    """Restore the last parameters with a finite loss, and return the error."""
    if not (bool(kernels.all_finite(saved.theta)) and bool(kernels.all_finite(saved.state))):
        run.model.restore(saved.shown)
        run.history.steps = saved.step
        return DivergenceError(UNSOUND)
    each, size = [float(loss) for loss in done.losses], trainer.accumulate
    losses = [sum(each[i : i + size]) / len(each[i : i + size]) for i in range(0, len(each), size)]  # of steps
    first = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    what, step = ("the loss", first + 1) if first < len(losses) else (trainer.overflown(), first)
    good = _last_good(trainer, saved, number, rate, max(first - 1, 0))
    taken = good.step - saved.step
    if taken + 1 < first:  # before the loss showed it
        what, step = trainer.overflown(), taken + 1
    run.model.restore(good.shown)
    run.history.steps, rate = good.step, trainer.rates.within(rate, saved.step + step - 1)
    last = f"{losses[taken]:.6g}" if first else "none in this epoch"
    return DivergenceError(
        f"{what} became NaN or infinite in epoch {number + 1}, step {step} of {len(losses)} "
        f"(learning rate {rate:g}, last finite loss: {last}).",
        f"{_advice(trainer, rate)} The model keeps its last finite parameters.",
    )


def without_scale(trainer: Trainer, number: int, rate: float) -> DivergenceError:
    """The error if no scale of the loss brings the gradients into the range of float16."""
    return DivergenceError(
        f"the gradients became NaN or infinite in float16 in epoch {number + 1}, however much the loss was scaled down "
        f"(learning rate {rate:g}). Standardise X and real targets y, lower lr, or {beyond_float16(trainer.at.theta)}. "
        f"The model keeps its last finite parameters."
    )


def _advice(trainer: Trainer, rate: float) -> str:
    """Likely causes and remedies, without those that are already ruled out."""
    inputs, is_known = trainer.data.inputs, isinstance(trainer.data, Data)
    parts = parts_of(inputs) if is_known else []
    if not all(bool(kernels.all_finite(x)) for rows in parts for x in arrays_in(inputs.rows(rows))):
        return "X contains NaN or infinity, which check_finite=False does not check. Remove or repair these entries."
    loss = trainer.loss
    if is_known and _has_gaps(trainer.data.target):
        return f"y contains NaN or infinity, which {loss.label} does not check. Remove or repair these entries."
    if is_known and loss.leaves_out and _has_masked_labels(trainer, parts):
        return MASKED_LABELS.format(X="X", y="y")
    causes_found = [
        (loss.leaves_out and not is_known, "labels of masked positions that count", "set them to ignore_index"),
        (rate > TINY, "a learning rate that is too high", "lower lr"),
        (True, "inputs that are not standardised", "standardise X"),
        (not loss.is_of_classes, "targets that are not standardised", "standardise y"),
        (loss.reduction == "sum", "a loss with reduction='sum' over many examples", "use reduction='mean'"),
        (trainer.optimizer.clip_norm is None, "", "set clip_norm"),
        (trainer.scaling is not None, "numbers above 65,504, the largest of float16", beyond_float16(trainer.at.theta)),
    ]
    causes = [cause for holds, cause, _ in causes_found if holds and cause]
    remedies = [remedy for holds, _, remedy in causes_found if holds]
    advice = _either(remedies)
    return f"Likely causes: {_either(causes)}. {advice[0].upper()}{advice[1:]}."


def _has_masked_labels(trainer: Trainer, parts: Sequence[Any]) -> bool:
    """Whether the network ends with a mask, and the loss counts a label that is masked."""
    batches, at = map(trainer.data.batch, parts), trainer.at
    each = masked_that_count(trainer.wiring, at.theta, at.state, trainer.loss, batches)
    return any(counts for _, counts in takewhile(lambda found: found[1] is not None, each))


def _has_gaps(target: Array) -> bool:
    xp = same_place(target=target)
    return xp.isdtype(target.dtype, ("real floating", "complex floating")) and not bool(kernels.all_finite(target))


def _either(words: list[str]) -> str:
    return ", or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
