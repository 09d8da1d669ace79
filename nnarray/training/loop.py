"""Gradient descent: epochs of steps, and the handling of errors and interrupts."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nnarray.caller import warn
from nnarray.schedules import Constant, Schedule, schedule
from nnarray.training.callbacks import step_watchers
from nnarray.training.context import TrainingContext, interrupts_between_steps, saved_if_interrupted
from nnarray.training.divergence import NO_STEP_TAKEN, diverged, without_scale
from nnarray.training.grains import GrainedTrainer
from nnarray.training.stream_trainer import StreamTrainer
from nnarray.training.streamed import Streamed
from nnarray.training.trainer import Finished, Trainer
from nnarray.training.uncounted import counts_nothing, message

log = logging.getLogger("nnarray")

PATIENCE = 0.1  # longest wait of Ctrl-C and the progress bar in seconds, if epochs are shorter and not observed


def train(context: TrainingContext) -> None:
    """Train `context.model` until the last epoch, or until a callback stops."""
    with interrupts_between_steps() as check:  # also while steps are prepared: compilers may swallow it
        trainer = trainer_of(context)
        try:
            trainer.prove()
            trainer.watch = _watch(context, trainer)
            with context.run.with_memory(trainer.memory):
                _epochs(context, trainer, schedule(trainer.optimizer.lr), check)
            if context.run.epoch and trainer.scaling is not None and trainer.scaling.has_taken_none(trainer.at.slots):
                warn(NO_STEP_TAKEN)
        finally:
            trainer.release()


def trainer_of(context: TrainingContext) -> Trainer:
    """The trainer in its initial state, or in the state to resume from."""
    model, settings = context.model, context.settings
    start = context.begun or settings.start(model.theta, model.state, model.wiring.params)
    kind = StreamTrainer if isinstance(context.data, Streamed) else Trainer
    make: Any = kind.of if settings.grains == 1 else partial(GrainedTrainer.of, grains=settings.grains)
    if settings.cluster is not None:
        make = partial(settings.cluster.trainer, grains=settings.grains)
    return make(
        model,
        context.data,
        settings.loss,
        settings.optimizer,
        batch_size=settings.batch_size,
        shuffle=settings.shuffle,
        key=settings.key,
        keep_outputs=bool(settings.metrics),
        at=start.copied(slots=False),
        engine=settings.engine,
        accumulate=settings.accumulate,
        ema=settings.ema,
        precision=settings.precision,
        **({} if settings.augment is None else {"augment": settings.augment}),
    )


def _watch(context: TrainingContext, trainer: Trainer) -> Callable[[Finished], None] | None:
    """What callbacks see of each step, if one of them looks: the model as it is then, which they may change."""
    watchers = step_watchers(context.settings.callbacks)
    if not watchers:
        return None
    run, model, size = context.run, context.model, trainer.accumulate

    def watch(done: Finished) -> None:
        first = (len(done.losses) - 1) // size * size
        run.history.steps = trainer.at.step
        model.restore(trainer.at.shown)
        shown = model.theta, model.state
        with run.in_step(partial(trainer.loss_since, done, first)):
            for watcher in watchers:
                watcher.on_step_end(run)
        trainer.follow(model, shown, watched=True)

    return watch


def _epochs(context: TrainingContext, trainer: Trainer, rates: Schedule, check: Callable[[], None]) -> None:
    run, together = context.run, 1
    while run.epoch < run.epochs and run.stopped is None:
        begun = time.perf_counter()
        if not next_epochs(context, trainer, rates, check, together):
            together = 1
            continue
        unseen = trainer.is_prepared and trainer.steps_per_epoch == 1 and context.unobserved
        if unseen and isinstance(rates, Constant) and time.perf_counter() - begun < PATIENCE / 4:
            together *= 4


def next_epochs(
    context: TrainingContext, trainer: Trainer, rates: Schedule, check: Callable[[], None], together: int = 1
) -> bool:
    """Take the next epoch, or several that nothing observes.

    Returns whether they were taken. If not, prepared steps gave NaN or infinity: the next call takes them again. One
    epoch is taken again with the layers' own steps. Of several, each is first taken alone: how many there were depends
    on the time that they took, and the losses must not.

    Raises
    ------
    DivergenceError
        If a number became NaN or infinite; the model has its last finite parameters.
    """
    model, run, writer, number = context.model, context.run, context.writer, context.run.epoch
    learning_rates = [rates.of_epoch(number, context.monitored)] * min(together, run.epochs - number)
    saved = trainer.kept(whole=writer is not None)
    try:
        with saved_if_interrupted(writer, saved):
            done = trainer.epochs(number, learning_rates, check)
    finally:
        run.history.steps = trainer.at.step
        model.restore(trainer.at.shown)
        shown = model.theta, model.state
    if counts_nothing(trainer.loss, done.masses):
        model.restore(saved.shown)
        run.history.steps = saved.step
        raise ValueError(message(trainer.loss, f"epoch {number + 1}"))
    means, finite = trainer.outcome(done)
    if not (finite and all(map(math.isfinite, means))):
        if not trainer.is_prepared:
            raise diverged(trainer, saved, done, run, number, learning_rates[0])
        if len(learning_rates) > 1:
            trainer.go_back(saved)
            return False
        log.info("prepared steps gave NaN or infinity in epoch %d: again by the layers' own", number + 1)
        trainer.back_to(saved)  # the layers' own steps decide
        return False
    if trainer.scaling is not None and trainer.scaling.is_lost(trainer.at.slots):
        raise without_scale(trainer, number, learning_rates[0])
    last_rates = [rates.within(rate, trainer.at.step - 1) for rate in learning_rates]
    context.end_epochs(means, last_rates, done.outputs, done.rows)
    trainer.at = trainer.at._replace(epoch=run.epoch)
    trainer.follow(model, shown, watched=bool(context.settings.callbacks))
    if writer is not None:
        writer.end_epoch(trainer.at)
    with saved_if_interrupted(writer, trainer.at):
        check()
    return True
