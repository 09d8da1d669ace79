"""The steps of the command train: a plan, the examples of a file, a network for them, and its training.

Nothing here prints. The resulting model is complete: its metadata describe the preparation of its data.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from nnarray.apps.workflow.inputs import (
    Examples,
    Images,
    Inputs,
    Rows,
    Watch,
    images_to_train_on,
    rows_to_train_on,
)
from nnarray.apps.workflow.model_files import (
    FOLDS,
    epochs_if_ended,
    file_to_resume,
    finish,
    origin_now,
    refuse_to_resume,
    unfinished_file,
)
from nnarray.apps.workflow.scores import Scores, balanced_weights
from nnarray.apps.workflow.splits import Split
from nnarray.apps.workflow.stopping import Ended, stopping
from nnarray.apps.workflow.using import outputs_of, tally_for
from nnarray.backends import Backend, backend_of
from nnarray.checks import integer, real
from nnarray.datasets.sources import Placed, Source
from nnarray.model import Model
from nnarray.models import cnn, mlp
from nnarray.names import canonical, named
from nnarray.network import Network
from nnarray.optimizers import ALSO, OPTIMIZERS, Adam, AdamW, Minimiser, stepwise
from nnarray.persistence.kept import Place
from nnarray.tables.endings import DELIMITERS, kind_of
from nnarray.tables.mapped import fits
from nnarray.tables.memory import full_memory, memory_of_text
from nnarray.tables.text_format import USUAL, TextFormat
from nnarray.training.checkpoints import Checkpoint

log = logging.getLogger("nnarray")

NOT_TEXT = "--delimiter, --header, --encoding and similar options are for CSV and TSV files"
EPOCHS, STEPS = 50, 3_000  # defaults: at least 50 epochs, and enough epochs for 3,000 steps
FEW = (
    50  # rows for each input of a table: with fewer, they are learned by heart unless a strong weight decay prevents it
)
DROPOUT, DECAY, FEW_DECAY = 0.2, 0.1, 1.0  # chosen by the scores of benchmarks/tables.py
LINEAR_LR = 0.01  # of Adam: a single layer bears longer steps
MANY = 10_000  # examples, from which on batches are larger


@dataclass(frozen=True)
class Plan:
    """The settings of the training. A setting that is None follows from the data."""

    target: tuple[str, ...] = ()
    task: Literal["auto", "classify", "regress"] = "auto"
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    text: TextFormat = USUAL
    hidden: tuple[int, ...] | None = None
    activation: str = "relu"
    dropout: float | None = None
    optimizer: str | None = None
    lr: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    validation: float = 0.2
    test: float = 0.0
    fold: tuple[int, int] | None = None
    folds: int | None = None
    """How many networks were trained to choose the epochs of this one."""
    class_weight: Literal["balanced"] | None = None
    early_stopping: bool | None = None
    patience: int | None = None
    size: int = 64
    errors: Literal["raise", "skip"] = "raise"
    checkpoint_every: int = 1
    resume: bool = False
    seed: int = 0
    dtype: str = "float32"
    stream: bool | None = None
    scratch: Path | None = None
    cache: Path | None = None
    grains: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        named(self.task, dict.fromkeys(("auto", "classify", "regress")), "--task")
        if self.optimizer is not None:
            object.__setattr__(self, "optimizer", canonical(self.optimizer, OPTIMIZERS, "optimizer", ALSO))
        if self.epochs is not None:
            integer(self.epochs, "--epochs", 1, usual=50)
        integer(self.checkpoint_every, "--checkpoint-every", 1, usual=1)
        integer(self.size, "--size", 8, usual=64)
        real(self.validation, "--validation", least=0.0, below=1.0, usual=0.2)
        real(self.test, "--test", least=0.0, below=1.0, usual=0.2)
        if self.validation + self.test >= 1:
            raise ValueError(
                f"--validation {self.validation:g} and --test {self.test:g} leave nothing to train on; both are parts "
                f"of all examples: make them smaller."
            )
        if self.class_weight is not None:
            named(self.class_weight, {"balanced": None}, "--class-weight")
        if self.dropout is not None:
            real(self.dropout, "--dropout", least=0.0, below=1.0, usual=0.2)
        if self.batch_size is not None:
            integer(self.batch_size, "--batch-size", 1, usual=32)
        if self.cache is not None and (self.stream is False or self.scratch is not None):
            raise ValueError("--cache keeps the data on the disk: leave out --no-stream and --scratch.")
        if self.patience is not None:
            integer(self.patience, "--patience", 0, usual=10)
            if self.early_stopping is False:
                raise ValueError("--patience is for early stopping: leave out --no-early-stopping, or --patience.")
        if not stepwise(self.optimizer or "adam") and (self.lr is not None or self.batch_size is not None):
            raise ValueError(
                f"{self.optimizer} takes all examples at once, and has no learning rate: leave out --lr and "
                f"--batch-size."
            )

    @property
    def split(self) -> Split:
        """How the examples are dealt into parts."""
        return Split(self.validation, self.test, self.seed, self.fold)

    @property
    def dense_sizes(self) -> tuple[int, ...]:
        """The sizes of the hidden layers of a network for tables."""
        return (64, 64) if self.hidden is None else self.hidden


class Trained(NamedTuple):
    """A network that has been trained, and its scores on the examples that were held out."""

    model: Model
    inputs: Inputs
    examples: Examples
    scores: Scores
    held_out: bool
    """Whether the scores are those of held-out examples."""
    stopped: str | None
    """Why the training ended before the last epoch, if it did."""
    best_epoch: int | None
    """The epoch whose parameters early stopping kept."""
    outputs: np.ndarray
    """Log-probabilities, shape (n, K), or standardised values, shape (n, t), of the examples that were scored."""
    y: np.ndarray
    tested: Scores | None = None
    """Its scores on the test part, if there is one."""
    idle: bool = False
    """Whether it had ended before, so that nothing was left to do and its file was not changed."""

    @property
    def values(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Predicted and true values in the units of the targets, shape (n, t) each; None for classes."""
        if not isinstance(self.inputs, Rows) or self.inputs.classes:
            return None
        return self.inputs.values(self.outputs), self.inputs.values(self.y)


# --- Training --------------------------------------------------------------------------------------------------------


def read(path: Path, plan: Plan, watch: Watch = lambda what, fraction: None) -> Examples:
    """The examples of a table or of a folder of images; `watch` is called with the progress.

    Raises
    ------
    OSError, ValueError
        If the file does not exist or is not valid.
    MemoryError
        If it does not fit into the memory.
    """
    if path.is_dir():
        if plan.target or plan.drop or plan.categories:
            raise ValueError(
                "--target, --drop and --categories are for columns, but the subfolders are the classes. Leave them out."
            )
        if plan.text != USUAL:
            raise ValueError(f"{NOT_TEXT}; {str(path)!r} is a folder. Leave them out.")
        return images_to_train_on(
            path,
            size=plan.size,
            split=plan.split,
            errors=plan.errors,
            stream=plan.stream if plan.cache is None else True,
            place=_place(path, plan),
            watch=watch,
        )
    if not plan.target and path.exists():
        raise ValueError("the target column is not given. Pass it with --target COLUMN.")
    if plan.text.of_files and path.exists() and kind_of(path) not in DELIMITERS:
        raise ValueError(f"{NOT_TEXT}, but {str(path)!r} is neither. Leave them out.")
    left_out = len(",".join(plan.drop).split(",")) if plan.drop else 0
    too_large = path.is_file() and not fits(path, left_out)
    place = _place(path, plan) if plan.cache or (too_large if plan.stream is None else plan.stream) else None
    with full_memory(path, memory_of_text(path, left_out) if path.is_file() and place is None else None):
        return rows_to_train_on(
            path,
            plan.target,
            task=plan.task,
            drop=plan.drop,
            categories=plan.categories,
            split=plan.split,
            text=plan.text,
            dtype="float32" if plan.dtype == "float32" else "float64",
            place=place,
            watch=watch,
        )


def _place(path: Path, plan: Plan) -> Place:
    """The place of data that do not fit into the memory."""
    return Place(plan.scratch or path.absolute().parent) if plan.cache is None else Place(plan.cache, keeps=True)


def network_for(examples: Examples, plan: Plan) -> Network:
    """A network for these examples: dense layers for tables, convolutions for images."""
    inputs = examples.inputs
    outputs = len(inputs.classes or inputs.targets)
    if isinstance(inputs, Images):
        filters = (16, 32, 64) if plan.hidden is None else plan.hidden
        if not filters:
            raise ValueError("--hidden '' is a linear model, which is for tables: leave it out for images.")
        if inputs.size < (least := 2 ** (len(filters) + 1)):
            raise ValueError(
                f"--size {inputs.size} is too small for {len(filters)} convolutions, as each halves it. Use "
                f"--size {least} or more, or fewer convolutions, such as --hidden 16."
            )
        return cnn(outputs, filters, activation=plan.activation)
    dropout = (DROPOUT if _decay(examples) else 0.0) if plan.dropout is None else plan.dropout
    return mlp(outputs, plan.dense_sizes, activation=plan.activation, dropout=dropout)


def optimizer_for(examples: Examples, plan: Plan) -> Minimiser:
    """The optimizer of the plan; else Adam, for the networks of tables with the weight decay that suits them."""
    lr: dict[str, Any] = {} if plan.lr is None else {"lr": plan.lr}
    if plan.optimizer is not None:
        return OPTIMIZERS[plan.optimizer](**lr)
    if isinstance(examples.inputs, Rows) and not plan.dense_sizes:  # so few weights learn little by heart
        return Adam(LINEAR_LR if plan.lr is None else plan.lr)
    decay = _decay(examples)
    return AdamW(**lr, weight_decay=decay) if decay else Adam(**lr)


def _decay(examples: Examples) -> float:
    """The weight decay of a table; none for values of which there are many rows, and for images."""
    inputs = examples.inputs
    if not isinstance(inputs, Rows):
        return 0.0
    if len(examples.train) < FEW * inputs.input_shape[0]:
        return FEW_DECAY
    return DECAY if inputs.classes else 0.0


def model_for(path: Path, examples: Examples, plan: Plan, be: Backend) -> Model:
    """The untrained network; its metadata describe its inputs, and the data."""
    inputs, count = examples.inputs, len(examples.train)
    shape = tuple(examples.X.shape[1:])
    model = network_for(examples, plan).init(shape, seed=plan.seed, backend=be, dtype=plan.dtype)
    model.metadata = {
        "input": inputs.to_json(),
        "data": {
            "name": path.name,
            "examples": len(examples.X),
            "trained on": count,
            "held out": len(examples.held_out),
            **({"test": len(examples.test)} if len(examples.test) else {}),
        },
    }
    if plan.folds:
        model.metadata[FOLDS] = plan.folds
    if inputs.classes:
        counts = np.bincount(examples.y[examples.train], minlength=len(inputs.classes))
        model.metadata["class counts"] = counts.tolist()
        model.metadata |= {"class weights": plan.class_weight} if plan.class_weight else {}
    return model


def train(
    model: Model,
    examples: Examples,
    plan: Plan,
    out: Path | None = None,
    callbacks: Sequence[Any] = (),
    *,
    scores_to_note: dict[str, Any] | None = None,
) -> Trained:
    """Train; the model with its scores replaces the file `out` in the end, and not before.

    Until then the newest complete epoch is in a file beside it, `unfinished_file(out)`. The scores that the file notes
    are those of the held-out examples, or of the training examples, or `scores_to_note`.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C; the last finished epoch is in the file beside.
    """
    be = backend_of(model.theta)
    if plan.scheduler is not None and plan.cache is None and isinstance(examples.X, Source):
        raise ValueError(
            "the data are in a file that no other process can open (--stream), but the workers of --scheduler "
            "need its rows: pass --no-stream if they fit into the memory, or --cache FOLDER, where all machines find "
            "it."
        )
    if plan.class_weight and not examples.inputs.classes:
        raise ValueError("--class-weight is about classes, and the target is values: leave it out.")
    held_out = len(examples.held_out) > 0
    stop = stopping(plan, held_out=held_out, epochs=epochs_of(plan, examples))
    before = file_to_resume(out) if plan.resume and out is not None else None
    if before is not None:
        refuse_to_resume(before, model, stops=stop is not None)
    X, y, weights = examples.X, _target(be, examples, plan), _weights(be, examples, plan)
    X = X if isinstance(X, Source) else be.asarray(X, dtype=plan.dtype)

    def part(rows: np.ndarray) -> tuple[Any, ...]:
        return tuple(_rows_of(each, rows, be) for each in (X, y, weights) if each is not None)

    kept, held = part(examples.train), part(examples.held_out)
    ended, epochs_before = Ended(), epochs_if_ended(out, before)
    model.fit(
        *kept[:2],
        loss="cross_entropy" if examples.inputs.classes else "mse",
        optimizer=optimizer_for(examples, plan),
        epochs=epochs_of(plan, examples),
        batch_size=batch_size_of(plan, examples),
        validation=held if held_out else None,
        metrics=["accuracy"] if examples.inputs.classes else ["r2"],
        callbacks=[*([stop] if stop else []), ended, *callbacks],
        sample_weight=kept[2] if weights is not None else None,
        seed=plan.seed,
        progress=False,
        checkpoint=Checkpoint(unfinished_file(out), every=plan.checkpoint_every) if out is not None else None,
        resume=before,
        grains=plan.grains,
        cluster=plan.scheduler,
    )
    rows = examples.held_out if held_out else examples.train
    outputs, truth = outputs_of(model, (held if held_out else kept)[0]), examples.y[rows]
    scores = _scored(model, examples.inputs, outputs, truth)
    model.metadata["scores"] = scores.to_json() | {"of": "held-out examples" if held_out else "the training examples"}
    tested = None
    if len(examples.test):
        tested = _scored(model, examples.inputs, outputs_of(model, part(examples.test)[0]), examples.y[examples.test])
        model.metadata["test scores"] = tested.to_json()
    if scores_to_note is not None:
        model.metadata["scores"] = scores_to_note
    model.metadata["trained"] = origin_now()._asdict()
    idle = len(model.history["epoch"]) == epochs_before
    finish(out, model.metadata, idle=idle)
    best = stop.best_epoch if stop else None
    return Trained(model, examples.inputs, examples, scores, held_out, ended.reason, best, outputs, truth, tested, idle)


def _scored(model: Model, inputs: Inputs, outputs: np.ndarray, y: np.ndarray) -> Scores:
    tally = tally_for(inputs, model.metadata)
    tally.add(outputs, y)
    return tally.scores()


def _weights(be: Backend, examples: Examples, plan: Plan) -> Any:
    """A weight for each example, by which all classes count alike and the mean is 1; None if all are 1."""
    if plan.class_weight is None:
        return None
    counts = np.bincount(examples.y[examples.train], minlength=len(examples.inputs.classes))
    return be.asarray(balanced_weights(counts)[examples.y], dtype=plan.dtype)


def _rows_of(X: Any, rows: np.ndarray, be: Backend) -> Any:
    """These examples alone; those of a source are read when they are needed."""
    if isinstance(X, Source):
        return Placed(X, be, kept=rows)
    return X[:0, ...] if len(rows) == 0 else be.xp.take(X, be.asarray(rows), axis=0)


def batch_size_of(plan: Plan, examples: Examples) -> int | None:
    """The examples of a step; None for all of them."""
    if not stepwise(plan.optimizer or "adam"):
        return None
    return plan.batch_size or (32 if len(examples.train) < MANY else 256)


def epochs_of(plan: Plan, examples: Examples) -> int:
    """How often each example is seen at most; of a small table oftener, for an epoch has few steps there."""
    if plan.epochs is not None:
        return plan.epochs
    if isinstance(examples.inputs, Images):
        return EPOCHS
    steps = -(-len(examples.train) // (batch_size_of(plan, examples) or len(examples.train)))
    return min(max(EPOCHS, STEPS // steps), 10 * EPOCHS)


def _target(be: Backend, examples: Examples, plan: Plan) -> Any:
    return be.asarray(examples.y) if examples.inputs.classes else be.asarray(examples.y, dtype=plan.dtype)
