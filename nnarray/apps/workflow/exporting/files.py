"""A pipeline as an ONNX file, compared with the pipeline before it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nnarray.apps.workflow import steps
from nnarray.apps.workflow.exporting import columns, dates, examples
from nnarray.apps.workflow.inputs import Images, Inputs, Part, Rows
from nnarray.backends import dtype_name, host_backend
from nnarray.model import Model
from nnarray.onnx.writing.answers import labelled, values
from nnarray.onnx.writing.around import Port, Shell, around, inside
from nnarray.onnx.writing.checking import CLOSE, REMEDY, runner
from nnarray.onnx.writing.file import contents, source_of
from nnarray.onnx.writing.writer import Writer
from nnarray.tables.dates import DateColumn
from nnarray.tables.targets import ValueTarget

IMAGE = "image"


class Pair(NamedTuple):
    """A network on the host, and its inputs."""

    model: Model
    inputs: Inputs


def bytes_of(model: Model, inputs: Inputs, batch: int | None, *, is_checked: bool) -> bytes:
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
    shell = _of_rows(inputs, dtype) if isinstance(inputs, Rows) else _of_images(inputs, dtype)
    network = contents(source_of(host, {}), batch, is_checked=False)
    data = around(network, shell, _notes(inputs), batch)
    if is_checked:
        _compare(data, Pair(host, inputs), dtype, batch)
    return data


def _notes(inputs: Inputs) -> dict[str, str]:
    notes = {"classes": inputs.classes} if inputs.classes else {"targets": inputs.targets}
    return {name: json.dumps(each, ensure_ascii=False) for name, each in notes.items()}


def _labels(inputs: Inputs) -> Any:
    """A list of texts, or an array of integers or truth values."""
    return inputs.labels.tolist() if inputs.labels.dtype.kind in "UO" else host_backend().asarray(inputs.labels)


def _of_rows(inputs: Rows, dtype: str) -> Shell:
    preparation, words = inputs.preparation, inputs.text.words if inputs.text.missing else ()
    columns.refuse_hashed(preparation.columns)
    ports = columns.ports(preparation.columns)

    def before(w: Writer) -> str:
        return columns.prepared(w, preparation, [word for word in words if word], dtype)

    def after(w: Writer, outputs: str) -> Mapping[Port, str]:
        target: Any = preparation.target
        if isinstance(target, ValueTarget):
            return values(w, outputs, target.means, target.scales, dtype, ports)
        return labelled(w, outputs, _labels(inputs), dtype, ports)

    dated = any(isinstance(column, DateColumn) for column in preparation.columns)
    return Shell(ports, before, after, dates.OPSET if dated else 18)


def _of_images(inputs: Images, dtype: str) -> Shell:
    ports = [Port(IMAGE, "uint8", inputs.input_shape)]

    def before(w: Writer) -> str:
        exact = w.xp.float64 if dtype == "float64" else w.xp.float32
        parts = w.add("Div", w.cast(inside(IMAGE), exact), w.number(255.0, exact))
        return parts if dtype in ("float32", "float64") else w.cast(parts, w.xp.dtype(dtype))

    return Shell(ports, before, lambda w, outputs: labelled(w, outputs, _labels(inputs), dtype, ports))


# --- The comparison --------------------------------------------------------------------------------------------------


def _compare(data: bytes, pair: Pair, dtype: str, batch: int | None) -> None:
    """Refuse a file that does not answer as the pipeline does, on made examples."""
    run, by = runner(data)
    for feed, outputs in _examples(pair, batch):
        try:
            found = run(feed)
        except Exception as error:
            raise ValueError(f"the file was not written: {by} cannot compute it ({error}). {REMEDY}") from error
        how = _difference(found, pair.inputs, outputs, dtype)
        if how:
            raise ValueError(f"the file was not written: as {by} computes it, {how}. {REMEDY}")


def _examples(pair: Pair, batch: int | None) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Inputs of the file, and what the network of the pipeline gives for them: a single example, and several."""
    made, parts = _made(pair.inputs)
    (part,) = parts
    count = len(next(iter(made.values())))
    ends = [1, count] if batch is None else range(batch, count + 1, batch)
    for start, end in pairwise([0, *ends]):
        yield {name: each[start:end] for name, each in made.items()}, steps.outputs_of(pair.model, part.X[start:end])


def _made(inputs: Inputs) -> tuple[dict[str, Any], Iterator[Part]]:
    host = host_backend()
    if isinstance(inputs, Images):
        pixels = examples.images(inputs.input_shape)
        return {IMAGE: pixels}, inputs.parts_of(list(pixels), host, "float64")
    made = examples.rows(inputs.preparation.columns)
    table = examples.table_of_rows(made)
    return {name: each[:, None] for name, each in made.items()}, inputs.parts_of(
        [table], host, "float64", unknown="ignore"
    )


def _difference(found: list[Any], inputs: Inputs, outputs: np.ndarray, dtype: str) -> str:
    """How answers differ from those of the pipeline by more than rounding; "" if they do not."""
    close = CLOSE[dtype]
    answers = list(steps.answers(inputs, outputs, dtype).values())
    if not inputs.classes:
        return _values_differ(found[0], np.stack(answers, axis=1), inputs, outputs, close)
    label, p = found
    wanted, probabilities = answers[0], np.stack(answers[1:], axis=1)
    far = np.abs(p - probabilities).max()
    allowed = close * max(1.0, float(np.abs(outputs).max()))
    if not far <= allowed:
        return f"a probability differs by {far:.2g} from that of nnarray predict"
    first, second = np.sort(probabilities, axis=1)[:, -2:].T[::-1]
    clear = (first - second) > 2 * allowed
    if (label[clear] != wanted[clear]).any() or label.dtype.kind not in ("O", wanted.dtype.kind):
        return f"the labels are {label[:5].tolist()}, and not {wanted[:5].tolist()} as those of nnarray predict"
    return ""


def _values_differ(found: Any, wanted: np.ndarray, inputs: Inputs, z: np.ndarray, close: float) -> str:
    assert isinstance(inputs, Rows)
    target: Any = inputs.preparation.target
    rounding = 4 * np.finfo(wanted.dtype).eps * np.abs(wanted)
    allowed = close * np.abs(z).max() * np.asarray(target.scales) + rounding
    if found.shape == wanted.shape and found.dtype == wanted.dtype and (np.abs(found - wanted) <= allowed).all():
        return ""
    return f"the values are {found[:2].tolist()}, and not {wanted[:2].tolist()} as those of nnarray predict"
