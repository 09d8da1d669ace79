"""A trained network and data: loaded, its outputs, what they say, and how good they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnarray import kernels
from nnarray.apps.workflow.inputs import (
    IMAGES,
    Inputs,
    Part,
    Rows,
    Unknown,
    inputs_of,
)
from nnarray.apps.workflow.model_files import (
    has_ended,
)
from nnarray.apps.workflow.scores import ClassTally, Scores, Tally, ValueTally, balanced_weights
from nnarray.backends import Backend, backend_of, dtype_name
from nnarray.distributed import cluster
from nnarray.model import Model
from nnarray.network import load as load_model
from nnarray.tables.oddities import Oddities
from nnarray.tables.write import write_table

log = logging.getLogger("nnarray")


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
