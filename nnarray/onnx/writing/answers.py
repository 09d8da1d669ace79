"""What follows the outputs of a network in a file: labels with their probabilities, or values in their unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnarray.backends import dtype_name, host_backend
from nnarray.onnx.writing.around import TEXT, Port, texts
from nnarray.onnx.writing.formulas import Real, real
from nnarray.onnx.writing.writer import Writer

LABEL, PROBABILITIES, VALUE = "label", "probabilities", "value"


def free_of(name: str, inputs: Sequence[Port]) -> str:
    """The name of an output; "predicted NAME" where an input has it."""
    taken = {port.name for port in inputs}
    while name in taken:
        name = f"predicted {name}"
    return name


def precise(dtype: str) -> str:
    """The dtype of probabilities and values: float64 of such a model, else float32."""
    return "float64" if dtype == "float64" else "float32"


def labels_of(classes: Any) -> Any:
    """The classes as a list of texts, or as an array of numbers on the host."""
    return classes.tolist() if str(classes.dtype).startswith(("<U", "object")) else host_backend().asarray(classes)


def listed(labels: Any) -> list[Any]:
    """Labels as JSON has them."""
    return labels if isinstance(labels, list) else labels.tolist()


def labelled(w: Writer, outputs: str, labels: Any, dtype: str, inputs: Sequence[Port]) -> Mapping[Port, str]:
    """The most likely label of each example, and the probability of each class, of logits of shape (N, K).

    `labels` is a list of texts, or an array. Where a probability is nan, as for infinite inputs, no label is right: the
    computation fails there, as an index that does not exist is asked for.
    """
    p = w.add("Softmax", w.cast(outputs, w.xp.dtype(precise(dtype))), axis=1)
    return {
        Port(free_of(LABEL, inputs), kind_of(labels)): label_of(w, p, labels),
        Port(free_of(PROBABILITIES, inputs), precise(dtype), (len(labels),)): p,
    }


def of_one_output(w: Writer, outputs: str) -> str:
    """The logits of two classes, shape (N, 2), of the logit of the second one, shape (N, 1)."""
    return w.add("Concat", w.add("Sub", outputs, outputs), outputs, axis=1)


def several_labels(w: Writer, outputs: str, count: int, dtype: str, inputs: Sequence[Port]) -> Mapping[Port, str]:
    """0 and 1 for each of several labels, int64, and the probability of each, of logits of shape (N, K)."""
    p = w.add("Sigmoid", w.cast(outputs, w.xp.dtype(precise(dtype))))
    chosen = w.cast(w.add("Greater", outputs, w.number(0.0, w.xp.dtype(dtype))), w.xp.int64)
    return {
        Port(free_of(LABEL, inputs), "int64", (count,)): chosen,
        Port(free_of(PROBABILITIES, inputs), precise(dtype), (count,)): p,
    }


def kind_of(labels: Any) -> str:
    """The dtype of labels: "text" of a list, else that of the array."""
    return TEXT if isinstance(labels, list) else dtype_name(labels.dtype)


def label_of(w: Writer, p: str, labels: Any) -> str:
    """The label of the largest probability of each row."""
    best = w.add("ArgMax", p, axis=1, keepdims=0)
    unknown = w.add("IsNaN", w.add("ReduceSum", p, w.integers([1]), keepdims=0))
    index = w.add("Where", unknown, w.number(len(labels), w.xp.int64), best)
    return w.add("Gather", texts(w, labels) if isinstance(labels, list) else w.constant(labels), index, axis=0)


def value_port(count: int, dtype: str, inputs: Sequence[Port] = ()) -> Port:
    """The output of values, shape (N, count)."""
    return Port(free_of(VALUE, inputs), precise(dtype), (count,))


def values(
    w: Writer, outputs: str, means: Sequence[float], scales: Sequence[float], dtype: str, inputs: Sequence[Port]
) -> Mapping[Port, str]:
    """mean + scale * z of standardised values, shape (N, t), computed in float64."""
    scale, mean = (w.constant(w.xp.asarray(list(each), dtype=w.xp.float64)) for each in (scales, means))
    y = real(w, outputs) * Real(w, scale) + Real(w, mean)
    port = value_port(len(means), dtype, inputs)
    return {port: w.cast(y.name, w.xp.dtype(port.dtype))}
