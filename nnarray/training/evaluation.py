"""How good a model is on examples: its loss and metrics, with a table of the classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from nnarray.backends import as_data, is_traced, same_place
from nnarray.checks import integer
from nnarray.datasets.streams import Stream
from nnarray.kernels.loops import read
from nnarray.layers.kinds import arrays_in
from nnarray.losses import Loss, checked, loss_named
from nnarray.metrics import Measure, confusion_matrix, measured, metrics_named
from nnarray.training.answers import checked_names, class_names, counted, is_of_single_labels, known_loss, measures
from nnarray.training.data import Data, prepare
from nnarray.training.inputs import inputs_of, placed, whole
from nnarray.training.masked import outputs_of
from nnarray.training.streamed import Streamed
from nnarray.training.trainee import Trainee
from nnarray.training.uncounted import counts_nothing
from nnarray.typing import Array

AUTO = "auto"
BATCH = 1024
FEW_CLASSES = 50  # of which all pairs are counted
COUNTED = 2**16  # labels that are counted at once


class Answers(NamedTuple):
    """Outputs beside what they are compared with."""

    outputs: Array
    target: Array
    """As the loss prepared it."""
    weights: Array | None
    y: Array
    """As it was given."""
    sample_weight: Array | None
    """Likewise; None if each example counts once."""


def scored(loss: Loss, metrics: Mapping[str, Measure], answers: Answers) -> dict[str, float]:
    """The loss over all answers, and each metric; nan if no target counts. Waits for the device."""
    value = float(loss.of_prepared(answers.outputs, answers.target, answers.weights)[0])
    if answers.weights is not None and counts_nothing(loss, [answers.weights]):
        value = math.nan
    return {"loss": value} | {
        name: measured(name, metric, answers.outputs, answers.y, answers.sample_weight)
        for name, metric in metrics.items()
    }


@dataclass(frozen=True, repr=False)
class Evaluation(Mapping[str, float]):
    """What `Model.evaluate` found: a mapping of "loss" and the metrics to numbers; printed, it is a table.

    Attributes
    ----------
    scores : dict of str to float
    examples : int
    classes : tuple of str
        Their names; none where values are predicted, or there are more than 50.
    confusion : tuple of tuples of int
        How many examples of each class (row) were predicted to be of each (column).

    Examples
    --------
    >>> from nnarray.training.evaluation import Evaluation
    >>> result = Evaluation({"loss": 0.5, "accuracy": 0.75}, 4, ("cat", "dog"), ((2, 0), (1, 1)))
    >>> result["accuracy"]
    0.75
    >>> print(result)
    examples     4
    loss       0.5
    accuracy  0.75
    <BLANKLINE>
    class  examples  precision  recall     f1
    cat           2      0.667       1    0.8
    dog           2          1     0.5  0.667
    <BLANKLINE>
    true  predicted cat  predicted dog
    cat               2              0
    dog               1              1
    """

    scores: dict[str, float]
    examples: int
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = field(default=())

    def __getitem__(self, name: str) -> float:
        if name not in self.scores:
            raise KeyError(f"the evaluation has no {name!r}; it has {', '.join(self.scores)}.")
        return self.scores[name]

    if not TYPE_CHECKING:  # a type checker would accept every attribute

        def __getattr__(self, name: str) -> NoReturn:
            scores = self.__dict__.get("scores", {})
            how = f"Evaluation is a mapping: result[{name!r}]." if name in scores else f"It has {', '.join(scores)}."
            raise AttributeError(f"Evaluation has no {name!r}. {how}", name=name, obj=self)

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def by_class(self) -> dict[str, dict[str, float]]:
        """Of each class, by name: examples, precision, recall and f1; a ratio is 0 where there is nothing to divide by.

        >>> from nnarray.training.evaluation import Evaluation
        >>> Evaluation({}, 4, ("cat", "dog"), ((2, 0), (1, 1))).by_class["dog"]["recall"]
        0.5
        """
        columns = [sum(column) for column in zip(*self.confusion, strict=True)]
        rows = zip(self.classes, self.confusion, columns, strict=True)
        return {name: _of_class(row[k], sum(row), predicted) for k, (name, row, predicted) in enumerate(rows)}

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(f'{name} {x:.6g}' for name, x in self.items())}; {self.examples} examples)"

    def __str__(self) -> str:
        parts: list[list[tuple[str, ...]]] = [
            [("examples", str(self.examples)), *((name, f"{x:.4g}") for name, x in self.items())]
        ]
        if self.confusion:
            each = [(name, *(f"{x:.3g}" for x in row.values())) for name, row in self.by_class.items()]
            parts.append([("class", "examples", "precision", "recall", "f1"), *each])
            heads = ("true", *(f"predicted {name}" for name in self.classes))
            if len(self.classes) <= 10:
                rows = zip(self.classes, self.confusion, strict=True)
                parts.append([heads, *((name, *map(str, row)) for name, row in rows)])
        return "\n\n".join(map(_aligned, parts))


def _of_class(hits: int, true: int, predicted: int) -> dict[str, float]:
    return {
        "examples": true,
        "precision": hits / max(predicted, 1),
        "recall": hits / max(true, 1),
        "f1": 2 * hits / max(true + predicted, 1),
    }


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines: the first column to the left, numbers to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = ([row[0].ljust(first), *(x.rjust(n) for x, n in zip(row[1:], others, strict=True))] for row in rows)
    return "\n".join("  ".join(line) for line in lines)


@dataclass(frozen=True)
class Evaluator:
    """What is asked of a model about examples, checked once: the loss, the metrics, the names of the classes."""

    model: Trainee
    loss: Loss
    metrics: dict[str, Measure]
    classes: tuple[str, ...]
    batch_size: int | None
    engine: str
    automatic: bool = False
    """Whether the metrics follow from the loss."""

    @classmethod
    def of(
        cls, model: Trainee, *, loss: Any, metrics: Any, classes: Any, batch_size: int | None, engine: str
    ) -> Evaluator:
        """The loss is the model's own if None; metrics that are "auto" follow from it."""
        chosen = known_loss(model, "evaluate") if loss is None else loss_named(loss)
        single = is_of_single_labels(chosen, model.output_shape)
        automatic = isinstance(metrics, str) and metrics == AUTO
        if automatic:
            metrics = "accuracy" if chosen.is_of_classes else "r2"
        return cls(
            model,
            chosen,
            measures(metrics_named(metrics), chosen, model.output_shape),
            _names(model, classes) if single else (),
            None if batch_size is None else integer(batch_size, "batch_size", 1, usual=BATCH),
            engine,
            automatic,
        )

    def of_examples(self, X: Any, y: Any, weights: Any) -> Evaluation:
        """Of arrays or sources, which are looked at as in `fit`; or of a stream, which has y in its batches."""
        if any(map(is_traced, (*arrays_in(X), self.model.theta))):
            raise ValueError("evaluate cannot run inside jax.jit: it looks at values. Call it outside.")
        if isinstance(X, Stream):
            if y is not None or weights is not None:
                raise TypeError("a stream has y, and sample_weight, in its batches: leave them out, evaluate(stream).")
            return self._result(_joined([*self._of_batches(X)]))
        given = placed(self.model, X), whole(self.model, self._needed(y)), whole(self.model, weights)
        return self._result(self._answers(prepare(self.model, *given, self.loss)))

    def of_outputs(self, outputs: Array, y: Any, weights: Array | None) -> Evaluation:
        """Of outputs that are computed already."""
        y = as_data(self._needed(y), "y", self.model.theta)
        if y.ndim == 0 or y.shape[0] != outputs.shape[0]:
            raise ValueError(
                f"X has {outputs.shape[0]} examples, but y has shape {tuple(y.shape)}; make their lengths equal."
            )
        counts = None if weights is None else as_data(weights, "sample_weight")
        return self._result(Answers(*checked(self.loss, outputs, y, counts), y, counts))

    @staticmethod
    def _needed(y: Any) -> Any:
        if y is None:
            raise TypeError("evaluate needs y, the labels or the values that belong to X.")
        return y

    def _of_batches(self, stream: Stream) -> Iterator[Answers]:
        data = Streamed(self.model, stream, self.loss, check_finite=True)
        for batch in data.epoch(0):
            x, target, weights = data.batch(batch)
            inputs = inputs_of(self.model, x, check_finite=False)
            with batch.naming():
                yield self._answers(Data(inputs, target, weights, *data.labels(data.kept)))

    def _answers(self, data: Data) -> Answers:
        outputs = outputs_of(self.model, data, self.loss, batch_size=self.batch_size, engine=self.engine)
        return Answers(outputs, data.target, data.weights, data.y, data.sample_weight)

    def outputs(self, X: Any, *, check_finite: bool = False) -> Array:
        """Of the model."""
        return self.model.predict(X, batch_size=self.batch_size, check_finite=check_finite, engine=self.engine)

    def _result(self, answers: Answers) -> Evaluation:
        alike = tuple(answers.y.shape) == tuple(answers.outputs.shape)
        metrics = {} if self.automatic and not self.loss.is_of_classes and not alike else self.metrics  # r2 needs alike
        scores, count = scored(self.loss, metrics, answers), answers.outputs.shape[0]
        if not self.classes or len(self.classes) > FEW_CLASSES:
            return Evaluation(scores, count)
        outputs, y, _ = counted(self.loss, answers.outputs, answers.y, None)
        if 0 in y.shape:  # the loss ignores all
            return Evaluation(scores, count)
        return Evaluation(scores, count, self.classes, _confusion(outputs, y, len(self.classes)))


def _names(model: Trainee, classes: Any) -> tuple[str, ...]:
    """The names of the classes: those that are given, those that the model has noted, or their numbers."""
    count = max(model.output_shape[-1], 2)
    if classes is not None:
        return checked_names(classes, count, "classes")
    return class_names(model) if "classes" in model.metadata else tuple(map(str, range(count)))


def _joined(parts: list[Answers]) -> Answers:
    xp = same_place(outputs=parts[0].outputs)
    columns = zip(*parts, strict=True)
    return Answers(*(None if column[0] is None else xp.concat(column, axis=0) for column in columns))  # type: ignore[arg-type]


def _confusion(outputs: Array, y: Array, classes: int) -> tuple[tuple[int, ...], ...]:
    """The confusion matrix, counted part by part, so that it takes little memory and stays exact."""
    count, positions = outputs.shape[0], 1
    for axis in outputs.shape[1:-1]:
        positions *= axis
    size = max(COUNTED // max(positions, 1), 1)
    parts = (slice(start, min(start + size, count)) for start in range(0, count, size))
    total = sum(confusion_matrix(outputs[part, ...], y[part, ...], threshold=0.0) for part in parts)
    xp = same_place(total=total)
    flat = read(xp.reshape(total, (-1,)))
    return tuple(tuple(int(x) for x in flat[k * classes : (k + 1) * classes]) for k in range(classes))
