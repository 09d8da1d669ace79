"""Training: the implementation of `Model.fit`, from the call to the history."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

from nnarray import files
from nnarray.backends import as_data, is_traced, memory_errors, namespace
from nnarray.datasets.streams import Stream, as_stream
from nnarray.functional.summary import summary
from nnarray.kernels.engines import computing, resolved
from nnarray.kernels.one_thread import one_thread
from nnarray.layers.kinds import REAL, arrays_in
from nnarray.losses import Loss
from nnarray.persistence.archive import named_file
from nnarray.training.answers import measures
from nnarray.training.augmenting import check_images
from nnarray.training.automatic import decided
from nnarray.training.beginnings import warn_of_beginning
from nnarray.training.callbacks import Callback, Run
from nnarray.training.checkpoints import CheckpointWriter, checkpoint_of, fingerprint
from nnarray.training.context import TrainingContext
from nnarray.training.data import Data, prepare, validation_split
from nnarray.training.doubts import warn_of_doubts
from nnarray.training.faults import naming_both
from nnarray.training.history import History
from nnarray.training.inputs import InMemory, is_bytes, joined_batches, kinds_of, placed, warn_of_bytes, whole
from nnarray.training.lbfgs import minimise
from nnarray.training.loading import resume
from nnarray.training.loop import train
from nnarray.training.masked import refuse_masked_labels
from nnarray.training.precision import engine_in_precision, refuse_precision
from nnarray.training.settings import FitSettings
from nnarray.training.state import TrainingState
from nnarray.training.streamed import Streamed
from nnarray.training.trainee import Trainee
from nnarray.training.uncounted import refuse_nothing_counted
from nnarray.training.weighting import weighted

log = logging.getLogger("nnarray")


def fit(model: Trainee, X: Any, y: Any, settings: FitSettings) -> History:
    """Train `model` in place; described in `Model.fit`."""
    if any(map(is_traced, (*arrays_in(X), model.theta))):
        raise ValueError(
            "fit cannot run inside jax.jit: it reads values. Call it outside, and compile model(X) instead."
        )
    refuse_precision(settings.precision, model.theta)
    with naming_both(model, X, y, settings.loss, check_finite=settings.check_finite):
        data, held_out, settings = _looked_at(model, X, y, settings)
    if held_out is not None:
        names = "X y" if isinstance(settings.validation, Real) else "validation_X validation_y"
        size, engine = settings.evaluated_at_once, settings.engine
        refuse_masked_labels(model, held_out, settings.loss, batch_size=size, engine=engine, names=names)
    warn_of_beginning(model, data, settings.loss)
    scores = ("loss", *settings.metrics)
    held = () if held_out is None else tuple(f"val_{name}" for name in scores)
    run = Run(model, History(), settings.epochs, columns=("epoch", *scores, *held, "lr", "seconds"))
    run.history.settings = {
        **settings.written,
        **kinds_of(model, X),
        "examples": data.examples,
        "validation examples": None if held_out is None else held_out.examples,
        "weighted": data.weighted,
        "engine": resolved(settings.engine, model.theta),
    }
    if isinstance(data, Streamed):
        run.history.settings |= {"batch_size": None, "shuffle": False}  # the stream determines both
    with _writer(settings, model, run) as writer:
        source = _source(settings.resume, writer)
        if isinstance(data, Data) and (writer is not None or source is not None):
            run.history.settings["data"] = fingerprint(data)
        log.info("training starts: %r, up to %d epochs, %s", model, run.epochs, run.history.settings)
        with (
            computing(settings.engine),
            one_thread(model.theta) if settings.grains > 1 else ExitStack(),
            _history_of(model, run, settings.loss),
            _progress_bar(run.epochs, settings.progress) as show,
            _memory_errors(model, data, settings.batch_size),
            _fit_callbacks(run, settings.callbacks),
        ):
            begun = None if source is None else _resume(source, model, run, settings)
            if writer is not None and begun is not None:
                writer.resume(begun)
            if begun is not None:
                log.info("training resumes after epoch %d of %d, from %s", run.epoch, run.epochs, source)
            context = TrainingContext(model, data, held_out, settings, run, show, writer, begun)
            show(run.last, run.epoch)
            optimise = train if settings.optimizer.stepwise else minimise
            optimise(context)
            warn_of_doubts(context)
        log.info("training ends after epoch %d%s: %s", run.epoch, f", {run.stopped}" if run.stopped else "", run.last)
    return run.history


def _looked_at(
    model: Trainee, X: Any, y: Any, settings: FitSettings
) -> tuple[Data | Streamed, Data | None, FitSettings]:
    """The examples, those that are held out, and the settings with what follows from y."""
    X, loss = decided(settings.loss, model, X, y)
    engine = settings.engine if settings.precision is None else engine_in_precision(settings.engine, model.theta)
    settings = replace(settings, loss=loss, engine=engine, metrics=measures(settings.metrics, loss, model.output_shape))
    return *_examples(model, X, y, settings), settings


def _examples(model: Trainee, X: Any, y: Any, settings: FitSettings) -> tuple[Data | Streamed, Data | None]:
    """The training examples, and those that are held out."""
    if isinstance(X, Stream):
        _refuse_beside_stream(y, settings)
        data = Streamed(model, X, settings.loss, settings.check_finite, settings.augment)
        return data, _held_out(model, _joined(model, settings.validation), settings.loss, settings.check_finite)
    if y is None:
        pair = isinstance(X, tuple | list) and len(X) in (2, 3) and hasattr(X[0], "shape")
        raise TypeError(
            f"fit needs y, the labels or target values of X. Only a stream, nn.datasets.stream, has its own y."
            f"{' Both were passed as one: write model.fit(*data), with a star.' if pair else ''}"
        )
    arrays = placed(model, X), whole(model, y), whole(model, settings.sample_weight)
    check = settings.check_finite
    X, y, weights, validation = validation_split(model, *arrays, settings.validation, settings.key, check_finite=check)
    every = weighted(settings.class_weight, model, settings.loss, y, weights)
    data = prepare(model, X, y, every, settings.loss, check_finite=check)
    refuse_nothing_counted(settings.loss, data.weights, "y")
    check_images(settings.augment, data.inputs, check_finite=check)
    if every is not weights:  # those of classes are for the training only
        data = data._replace(sample_weight=None if weights is None else as_data(weights, "sample_weight"))
    validation = _joined(model, validation)
    held_out = _held_out(model, validation, settings.loss, check)
    if held_out is not None and check:
        _warn_of_other_kind(model, X, validation[0], held_out)
    return data, held_out


def _warn_of_other_kind(model: Trainee, X: Any, validation: Any, held_out: Data) -> None:
    """Warn if the held-out examples are bytes and the others are real numbers."""
    if isinstance(held_out.inputs, InMemory) and is_bytes(validation) and model.inputs.kind == REAL:
        warn_of_bytes(held_out.inputs.x, "validation_X", {"data": "X", **kinds_of(model, X)})


def _refuse_beside_stream(y: Any, settings: FitSettings) -> None:
    """Refuse arguments that a stream has itself or does not allow."""
    if y is not None or settings.sample_weight is not None:
        raise TypeError("a stream has y and sample_weight in its batches: leave both out, fit(stream).")
    if settings.class_weight is not None:
        raise ValueError(
            "class_weight counts the labels of all examples, but a stream has batches: pass a sample_weight with each "
            "batch, or loss=nn.losses.CrossEntropy(class_weights=...)."
        )
    if isinstance(settings.validation, Real):
        raise ValueError(
            f"validation={settings.validation!r} is a fraction of the examples, but the number of examples of a stream "
            f"is not known. Pass separate examples, validation=(X, y)."
        )
    if settings.grains > 1:
        raise ValueError(
            "the batches of a stream cannot be divided into grains: leave out grains and cluster, or pass arrays."
        )
    if not settings.optimizer.stepwise:
        raise ValueError(
            f"{type(settings.optimizer).__name__} takes all examples at once, but a stream has batches. Pass arrays, "
            f"or use another optimizer."
        )


@contextmanager
def _history_of(model: Trainee, run: Run, loss: Loss) -> Generator[None]:
    """Set the model's history and loss to those of the run, unless an error occurs before the first step."""
    before = model.history, model.loss
    model.history, model.loss = run.history, loss
    try:
        yield
    except BaseException:
        if run.history.steps == 0:
            model.history, model.loss = before  # nothing has been trained
        raise


@contextmanager
def _fit_callbacks(run: Run, watchers: list[Callback]) -> Generator[None]:
    """Call `on_fit_start` of all callbacks; in the end, even after an error, `on_fit_end` in reverse order."""
    with ExitStack() as stack:
        for watcher in watchers:
            watcher.on_fit_start(run)
            stack.callback(watcher.on_fit_end, run)
        yield


@contextmanager
def _writer(settings: FitSettings, model: Trainee, run: Run) -> Generator[CheckpointWriter | None]:
    """The checkpoint writer, which owns its file; it checks before training, not after hours, that it can write it."""
    if settings.checkpoint is None:
        yield None
        return
    writer = CheckpointWriter(checkpoint_of(settings.checkpoint), model, run, settings.callbacks)
    with files.owned(writer.checkpoint.file):
        if settings.resume is False or settings.resume is None:
            writer.refuse_to_shorten()
        writer.prove()
        yield writer
        writer.end_fit()


def _source(resumed: Any, writer: CheckpointWriter | None) -> Path | None:
    """The file to resume from; for True, that of the checkpoint, if it exists."""
    if resumed is False or resumed is None:
        return None
    if resumed is not True:
        return named_file(resumed)
    if writer is None:
        raise ValueError("resume=True needs checkpoint=, the file to resume from; or pass its path as resume=.")
    return writer.checkpoint.file if writer.checkpoint.file.exists() else None


def _resume(source: Path, model: Trainee, run: Run, settings: FitSettings) -> TrainingState:
    if not settings.optimizer.stepwise:
        raise ValueError("L-BFGS keeps its memory inside SciPy, so it cannot be resumed. Start a new training.")
    slots = settings.start(model.theta, model.state, model.wiring.params).slots
    return resume(source, model, run, settings.callbacks, slots)


def _joined(model: Trainee, validation: Any) -> Any:
    """The validation examples; of a loader or a list of batches, all of them in one."""
    pair = isinstance(validation, tuple | list) and not isinstance(validation[0] if validation else None, tuple | list)
    batches = None if validation is None or pair else as_stream(validation)
    return validation if batches is None else joined_batches(model, batches)


def _held_out(model: Trainee, validation: Any, loss: Loss, check_finite: bool) -> Data | None:
    if validation is None:
        return None
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        count = f" of {len(validation)}" if isinstance(validation, tuple | list) else ""
        raise TypeError(
            f"validation must be a fraction, (X, y) or (X, y, sample_weight); got {type(validation).__name__}{count}. "
            f"A loader, or a list of batches (X, y), is read once."
        )
    X, y, weights = (*validation, None)[:3]
    names = "validation_X validation_y validation_weight"
    data = prepare(model, X, y, weights, loss, check_finite=check_finite, names=names)
    refuse_nothing_counted(loss, data.weights, "validation_y")
    return data


@contextmanager
def _memory_errors(model: Trainee, data: Data | Streamed, batch_size: int | None) -> Generator[None]:
    """For a full device, raise an error that says what would fit."""

    def remedy(free: int | None) -> str:
        size = f"batch_size (now {data.size_of_batches(batch_size)})" if isinstance(data, Data) else "the batches"
        return (
            f"{_what_would_fit(model, free)}Reduce {size} or the network. The model has the parameters "
            f"of the last finished step."
        )

    with memory_errors(model.theta, remedy):
        yield


def _what_would_fit(model: Trainee, free: int | None) -> str:
    """An estimate of the number of examples per step that fit into the free memory: outputs of layers, and a copy."""
    network, shape, xp = model.wiring.network, model.input_shape, namespace(model.theta)
    itemsize = xp.finfo(model.theta.dtype).bits // 8
    each = 2 * summary(network, shape, itemsize=itemsize, frozen=model.frozen, depth=1).activation_bytes
    if not free or not each:
        return ""
    return f"{free / 2**20:,.0f} MiB are free, and an example takes about {each / 2**20:.3g}: try {free // each or 1}. "


@contextmanager
def _progress_bar(epochs: int, wanted: bool | None) -> Generator[Callable[[dict[str, float], int], None]]:
    """A progress bar of tqdm; None shows it in a terminal and in a notebook, not in a pipe."""
    from tqdm import auto

    in_notebook = any(base.__module__ == "tqdm.notebook" for base in auto.tqdm.__mro__)
    shown = wanted if wanted is not None else in_notebook or None
    with auto.tqdm(total=epochs, unit="epoch", disable=None if shown is None else not shown) as bar:

        def show(row: dict[str, float], epochs: int) -> None:
            if not bar.disable:
                bar.set_postfix({k: f"{v:.4g}" for k, v in row.items() if k != "epoch"}, refresh=False)
                bar.update(epochs)

        yield show
