"""A pipeline as an ONNX file, compared with the pipeline before it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from nnarray.apps.workflow import using
from nnarray.apps.workflow.exporting import columns, dates, examples
from nnarray.apps.workflow.inputs import Images, Inputs, Part, Rows, Unknown
from nnarray.backends import dtype_name, host_backend
from nnarray.model import Model
from nnarray.onnx.writing.answers import labelled, labels_of, values
from nnarray.onnx.writing.around import Port, Shell, around, inside
from nnarray.onnx.writing.checking import CLOSE
from nnarray.onnx.writing.comparing import Answers, refuse_other_answers
from nnarray.onnx.writing.file import contents, source_of
from nnarray.onnx.writing.writer import Writer
from nnarray.tables.dates import DateColumn
from nnarray.tables.targets import ValueTarget

IMAGE = "image"


def bytes_of(model: Model, inputs: Inputs, batch: int | None, unknown: Unknown, *, is_checked: bool) -> bytes:
    """The bytes of a file from raw columns, or from images, to answers.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    ValueError
        If a column cannot be prepared in a file, or the file computes something else than the pipeline.
    """
    host = model.of_values().to(host_backend())
    dtype = dtype_name(host.theta.dtype)
    shell = _of_rows(inputs, dtype, unknown) if isinstance(inputs, Rows) else _of_images(inputs, dtype)
    network = contents(source_of(host, {}), batch, is_checked=False)
    data = around(network, shell, _notes(inputs), batch)
    if is_checked:
        refuse_other_answers(data, _cases(host, inputs, unknown, batch), "nnarray predict")
    return data


def _notes(inputs: Inputs) -> dict[str, str]:
    notes = {"classes": inputs.classes} if inputs.classes else {"targets": inputs.targets}
    return {name: json.dumps(each, ensure_ascii=False) for name, each in notes.items()}


def _of_rows(inputs: Rows, dtype: str, unknown: Unknown) -> Shell:
    preparation = inputs.preparation
    columns.refuse_hashed(preparation.columns)
    ports = columns.ports(preparation.columns)

    def before(w: Writer) -> str:
        return columns.prepared(w, preparation, inputs.text, dtype, unknown)

    def after(w: Writer, outputs: str) -> Mapping[Port, str]:
        target: Any = preparation.target
        if isinstance(target, ValueTarget):
            return values(w, outputs, target.means, target.scales, dtype, ports)
        return labelled(w, outputs, labels_of(inputs.labels), dtype, ports)

    dated = any(isinstance(column, DateColumn) for column in preparation.columns)
    return Shell(ports, before, after, dates.OPSET if dated else 18)


def _of_images(inputs: Images, dtype: str) -> Shell:
    ports = [Port(IMAGE, "uint8", inputs.input_shape)]

    def before(w: Writer) -> str:
        exact = w.xp.float64 if dtype == "float64" else w.xp.float32
        parts = w.add("Div", w.cast(inside(IMAGE), exact), w.number(255.0, exact))
        return parts if dtype in ("float32", "float64") else w.cast(parts, w.xp.dtype(dtype))

    return Shell(ports, before, lambda w, outputs: labelled(w, outputs, labels_of(inputs.labels), dtype, ports))


# --- The comparison --------------------------------------------------------------------------------------------------


def _cases(
    model: Model, inputs: Inputs, unknown: Unknown, batch: int | None
) -> Iterator[tuple[dict[str, Any], Answers]]:
    """Made inputs of the file, and the answers of the pipeline: for a single example, and for several."""
    made, parts = _made(inputs, unknown, batch or 1)
    dtype = dtype_name(model.theta.dtype)
    X = np.concatenate([np.asarray(part.X) for part in parts])
    count = len(next(iter(made.values())))
    ends = [1, count] if batch is None else range(batch, count + 1, batch)[: examples.LEAST]
    for start, end in pairwise([0, *ends]):
        outputs = using.outputs_of(model, X[start:end])
        yield {name: each[start:end] for name, each in made.items()}, _answers(inputs, outputs, dtype)


def _made(inputs: Inputs, unknown: Unknown, least: int) -> tuple[dict[str, Any], Iterator[Part]]:
    host = host_backend()
    if isinstance(inputs, Images):
        pixels = examples.images(inputs.input_shape, least)
        return {IMAGE: pixels}, inputs.parts_of(list(pixels), host, "float64")
    made = examples.rows(inputs.preparation.columns, inputs.text, unknown=unknown == "ignore", least=least)
    table = examples.table_of_rows(made, inputs.preparation.columns, inputs.text)
    parts = inputs.parts_of([table], host, "float64", unknown=unknown)
    return {name: each[:, None] for name, each in made.items()}, parts


def _answers(inputs: Inputs, outputs: np.ndarray, dtype: str) -> Answers:
    """What `nnarray predict` writes for outputs of the network."""
    first, *others = using.answers(inputs, outputs, dtype).values()
    largest = float(np.abs(outputs).max())
    if inputs.classes:
        return Answers(np.stack(others, axis=1), CLOSE[dtype] * max(1.0, largest), first)
    assert isinstance(inputs, Rows)
    target: Any = inputs.preparation.target
    values = np.stack([first, *others], axis=1)
    rounding = 4 * np.finfo(values.dtype).eps * np.abs(values)
    return Answers(values, CLOSE[dtype] * largest * np.asarray(target.scales) + rounding)
