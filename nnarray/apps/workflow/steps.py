"""The steps of the commands: training a network on a file, and predictions for other files.

Nothing here prints. The resulting model is complete: its metadata describe the preparation of its data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from nnarray import kernels
from nnarray.apps.workflow.inputs import (
    IMAGES,
    Examples,
    Images,
    Inputs,
    Part,
    Rows,
    Unknown,
    Watch,
    images_to_train_on,
    inputs_of,
    rows_to_train_on,
)
from nnarray.apps.workflow.model_files import (
    FOLDS,
    epochs_if_ended,
    file_to_resume,
    finish,
    has_ended,
    origin_now,
    refuse_to_resume,
    unfinished_file,
)
from nnarray.apps.workflow.scores import ClassTally, Scores, Tally, ValueTally, balanced_weights
from nnarray.apps.workflow.splits import Split
from nnarray.apps.workflow.stopping import Ended, stopping
from nnarray.backends import Backend, backend_of, dtype_name
from nnarray.checks import integer, real
from nnarray.datasets.sources import Placed, Source
from nnarray.distributed import cluster
from nnarray.model import Model
from nnarray.models import cnn, mlp
from nnarray.names import canonical, named
from nnarray.network import Network
from nnarray.network import load as load_model
from nnarray.optimizers import ALSO, OPTIMIZERS, Adam, AdamW, Minimiser, stepwise
from nnarray.persistence.kept import Place
from nnarray.tables.endings import DELIMITERS, kind_of
from nnarray.tables.mapped import fits
from nnarray.tables.memory import full_memory, memory_of_text
from nnarray.tables.oddities import Oddities
from nnarray.tables.text_format import USUAL, TextFormat
from nnarray.tables.write import write_table
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


# --- Using it --------------------------------------------------------------------------------------------------------


def load(path: Path, be: Backend, dtype: str | None = None) -> tuple[Model, Inputs]:
    """A model and its inputs; in the dtype of the file if `dtype` is None."""
    model, name = load_model(path, backend=be, dtype=dtype), repr(str(path))
    inputs = inputs_of(model.metadata, name)
    if not has_ended(model.metadata):
        epochs = len(model.history.columns.get("epoch", []))
        log.warning(
            "%s is the file of a training that has not ended: epoch %d. Continue it with --resume.", name, epochs
        )
    shapes = inputs.input_shape, (len(inputs.classes or inputs.targets),)
    if (model.input_shape, model.output_shape) != shapes:
        raise ValueError(
            f"{name} cannot be used: its description of the data needs a network from {shapes[0]} to {shapes[1]}, but "
            f"its network is from {model.input_shape} to {model.output_shape}. Train it again."
        )
    return model, inputs


def weights_of(model: Model, y: np.ndarray) -> np.ndarray | None:
    """The weight of each example by its class, shape (n,), as in the training; None if the training had no weights.

    Older files do not name the weights, but note that there were some.
    """
    counts = model.metadata.get("class counts")
    if counts is None or not ("class weights" in model.metadata or model.history.settings.get("weighted")):
        return None
    return balanced_weights(counts)[y]


def outputs_of(model: Model, X: Any) -> np.ndarray:
    """Log-probabilities or standardised values on the host, float64."""
    be = backend_of(model.theta)
    if not X.shape[0]:
        return np.zeros((0, *model.output_shape))
    outputs = model.predict(X, batch_size=IMAGES if len(model.input_shape) > 1 else 4096)
    if "class counts" in model.metadata:
        outputs = kernels.log_softmax(outputs)
    return be.to_numpy(outputs).astype(np.float64)


def predict(
    model: Model,
    inputs: Inputs,
    data: Path,
    *,
    unknown: Unknown = "error",
    errors: str = "raise",
    scheduler: str | None = None,
    keep: Sequence[str] = (),
    oddities: Oddities | None = None,
) -> Iterator[dict[str, Any]]:
    """The predictions for the data, part by part in their order: columns by name.

    The columns `keep` of the table come first. For classes "prediction" and the probabilities "p_<class>", for values
    the targets, as "predicted NAME" if NAME is kept; for images "file" first. `oddities` counts the rows that
    have entries unlike those of the training. With the address of a Dask scheduler, its workers compute the
    predictions; the data are read here.
    """
    be, dtype = backend_of(model.theta), model.theta.dtype
    parts = inputs.parts(data, be, dtype, labelled=False, unknown=unknown, errors=errors, keep=keep)
    for part, outputs in _with_outputs(model, parts, scheduler):
        if oddities is not None:
            oddities.add(part.X.shape[0], part.odd)
        first: dict[str, Any] = dict(part.kept or {}) if part.names is None else {"file": part.names}
        made = answers(inputs, outputs, dtype_name(dtype)).items()
        yield first | {f"predicted {name}" if name in first else name: column for name, column in made}


def answers(inputs: Inputs, outputs: np.ndarray, dtype: str) -> dict[str, Any]:
    """The predictions of `outputs_of` by column: "prediction" and "p_<class>" for each class, or the targets."""
    digits = np.float64 if dtype == "float64" else np.float32  # no more than there are
    if inputs.classes:
        probabilities = {f"p_{name}": np.exp(outputs[:, k]).astype(digits) for k, name in enumerate(inputs.classes)}
        return {"prediction": inputs.labels[outputs.argmax(axis=1)]} | probabilities
    assert isinstance(inputs, Rows)
    values = inputs.values(outputs).astype(digits)
    return {name: values[:, j] for j, name in enumerate(inputs.targets)}


def _with_outputs(model: Model, parts: Iterator[Part], scheduler: str | None) -> Iterator[tuple[Part, np.ndarray]]:
    """Each part with its outputs, computed here or on a cluster."""
    if scheduler is None:
        yield from ((part, outputs_of(model, part.X)) for part in parts)
        return
    with cluster.connected(scheduler) as client:
        yield from cluster.in_order(client, _outputs_of_part, model, parts)


def _outputs_of_part(model: Model, part: Part) -> np.ndarray:
    return outputs_of(model, part.X)


def predict_to_file(parts: Iterator[dict[str, Any]], out: Path) -> int:
    """Write predictions to a table, as a whole or not at all; how many there were."""
    count = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal count
        for part in parts:
            count += len(next(iter(part.values())))
            yield part

    write_table(out, counted())
    return count


def evaluate(
    model: Model,
    inputs: Inputs,
    data: Path,
    *,
    unknown: Unknown = "error",
    errors: str = "raise",
    oddities: Oddities | None = None,
) -> Scores:
    """How good the model is on data whose target is known, read part by part; `oddities` as for `predict`."""
    be, dtype, tally = backend_of(model.theta), model.theta.dtype, tally_for(inputs, model.metadata)
    for part in inputs.parts(data, be, dtype, labelled=True, unknown=unknown, errors=errors):
        if oddities is not None:
            oddities.add(part.X.shape[0], part.odd)
        if part.y is not None and len(part.y):
            tally.add(outputs_of(model, part.X), part.y)
    return tally.scores()


def tally_for(inputs: Inputs, metadata: dict[str, Any]) -> Tally:
    """The tally that adds up the scores of a task."""
    if inputs.classes:
        counts = metadata.get("class counts")
        if (
            not isinstance(counts, list)
            or len(counts) != len(inputs.classes)
            or not all(isinstance(n, int) for n in counts)
        ):
            raise ValueError("the model's description of its classes is not valid; train it again.")
        return ClassTally(
            inputs.classes, [max(n, 0) for n in counts] if any(n > 0 for n in counts) else [1] * len(counts)
        )
    assert isinstance(inputs, Rows)
    target: Any = inputs.preparation.target
    return ValueTally(target.names, target.means, target.scales)
