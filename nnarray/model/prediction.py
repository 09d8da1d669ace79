"""What a model computes at inference: outputs, with pullbacks for libraries that record gradients, and answers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from nnarray import kernels
from nnarray.backends import (
    has_record,
    is_lazy,
    is_traced,
    memory_errors,
    namespace,
    same_place,
    stands_in,
    without_record,
)
from nnarray.checks import integer, switch
from nnarray.engines import Predictor, prepared
from nnarray.functional.propagation import Wiring, forward, input_gradient, pullback
from nnarray.kernels import engines
from nnarray.kernels.loops import read
from nnarray.layers.kinds import REAL, Spec, arrays_in
from nnarray.recording import Traced, is_real, stripped, trees
from nnarray.training.inputs import check_inputs, inputs_of
from nnarray.typing import Array, Tree

if TYPE_CHECKING:  # what only some methods need, they import
    from nnarray.training.evaluation import Evaluation, Evaluator

Nested = Callable[[], Tree]
"""The parameters of a model, nested like its layers."""


class Prepared:
    """What is made once of the vectors of a model: views of the parameters, and what engines prepare."""

    def __init__(self, wiring: Wiring, theta: Array, state: Array, shape: Any) -> None:
        self._given = wiring, theta, state, shape
        self._tree: Tree | None = None
        self._stages: dict[str, Predictor | None] = {}

    def takes(self, X: Any) -> bool:
        """Whether a quick check shows that the model takes X. It may miss some; a stage has one device only."""
        _, theta, _, shape = self._given
        return type(X) is type(theta) and X.dtype == theta.dtype and X.ndim > 0 and X.shape[1:] == shape

    def stage(self, engine: str) -> Predictor | None:
        """The predictor that the engine prepares; None if the layers are as fast."""
        if engine not in self._stages:
            self._stages[engine] = prepared(*self._given, engine=engine)
        return self._stages[engine]

    def tree(self) -> Tree:
        """The parameters, nested like the layers."""
        if self._tree is not None:
            return self._tree
        wiring, theta, *_ = self._given
        tree = wiring.params.tree(without_record(theta))
        if not is_traced(theta):
            self._tree = tree  # inside jax.jit the views belong to the function being compiled
        return tree


def computed(model: Any, X: Any, engine: str, nested: Nested) -> Array:
    """The outputs of the layers for X, where each library can differentiate them."""
    if model.is_recorded(X):
        theta, state, x = recorded(model, X)
        return forward(model.wiring, model.wiring.params.tree(theta), state, x)
    wiring, state, given = model.wiring, model.state, check_inputs(model, X)

    def outputs(x: Any, theta: Array) -> Array:
        tree = nested() if theta is model.theta else wiring.params.tree(theta)
        return forward(wiring, tree, state, x)

    with engines.computing(engine):
        if is_differentiable(model, given):
            return kernels.recorded(given, _learned(model), outputs, partial(pullback, wiring, state))
        return kernels.recorded(
            model.theta[:0],
            _learned(model),
            lambda _, theta: outputs(given, theta),
            lambda dy, _, theta, wanted: pullback(wiring, state, dy, given, theta, (False, wanted[1])),
        )


def recorded(model: Any, X: Any) -> tuple[Array, Array, Any]:
    """theta, the state and the checked X, from which the definitions of all kernels can be recorded."""
    check_inputs(model.of_values(), trees.mapped(stripped, X))
    as_constant = next(x.space.as_constant for x in (model.theta, *arrays_in(X)) if isinstance(x, Traced))
    theta, state = as_constant(model.theta), as_constant(model.state)
    if model.frozen:
        kept = stripped(theta)
        theta = namespace(theta).where(model.wiring.params.frozen(model.frozen, kept), kept, theta)
    x = trees.mapped(lambda x: namespace(x).astype(x, theta.dtype, copy=False) if is_real(x) else x, X)
    return theta, state, trees.mapped(as_constant, x)


def _learned(model: Any) -> Array:
    """theta, where frozen entries have the derivative 0 if the library records or differentiates."""
    theta = model.theta
    if not model.frozen or not (has_record(theta) or stands_in(theta)):
        return theta
    return kernels.held(theta, model.wiring.params.frozen(model.frozen, theta))


def is_differentiable(model: Any, X: Any) -> bool:
    """Whether X is one array of real numbers; refuses gradient records of other inputs, which would be lost.

    Raises
    ------
    ValueError
        If there is such a record.
    """
    if isinstance(model.inputs, Spec) and model.inputs.kind == REAL:
        return True
    if any(map(has_record, arrays_in(X))):
        raise ValueError("an array in X has a gradient record, but only one array of real numbers gets a gradient.")
    return False


def predicted(
    model: Any, X: Any, compute: Callable[[Any, str], Array], *, batch_size: int | None, check_finite: bool, engine: str
) -> Array:
    """The outputs for X; described in `Model.predict`. `compute` computes those of a batch."""
    if batch_size is not None:
        batch_size = integer(batch_size, "batch_size", 1, usual=1024)
    if is_lazy(X):
        return _cluster().predicted(model, X, batch_size=batch_size, check_finite=check_finite, engine=engine)
    if model.is_recorded(X):
        inputs_of(model.of_values(), trees.mapped(stripped, X), check_finite=check_finite)
        return compute(X, engine)
    inputs = inputs_of(model, X, check_finite=check_finite)
    count = len(inputs)
    size = min(batch_size or count, count)
    remedy = f"Compute the outputs in smaller batches, with a batch_size below {size}."
    with memory_errors(model.theta, lambda _: remedy):
        if size == count:
            return compute(inputs.rows(None), engine)
        starts = range(0, count, size)
        parts = [compute(inputs.rows(slice(first, min(first + size, count))), engine) for first in starts]
        return same_place(theta=model.theta).concat(parts, axis=0)


def answered(outputs: Any, to_answer: Callable[[Any], Any], *, labels: bool) -> Any:
    """What is made of outputs, of a Dask array block by block; `labels` are integers, and lack the last axis."""
    return _cluster().answered(outputs, to_answer, labels=labels) if is_lazy(outputs) else to_answer(outputs)


def classes(model: Any, outputs: Callable[[], Any], *, is_lazy: bool, names: bool) -> Any:
    """The class of each example, from its outputs; described in `Model.predict_class`.

    Raises
    ------
    ValueError
        If there are no classes, or no names of classes that are wanted.
    """
    from nnarray.training.answers import class_names, to_classes

    to_answer, known = to_classes(model), class_names(model) if switch(names, "names") else ()
    if names and (is_lazy or len(model.output_shape) != 1):
        raise ValueError("names=True needs arrays in memory and one class per example: leave out names.")
    labels = answered(outputs(), to_answer, labels=True)
    return [known[int(label)] for label in read(labels)] if names else labels


def evaluated(model: Any, asked: Evaluator, X: Any, y: Any, sample_weight: Any) -> Evaluation:
    """The loss and the metrics on examples; described in `Model.evaluate`."""
    from nnarray.datasets.streams import as_stream
    from nnarray.training.masked import ends_with_mask

    if not any(map(is_lazy, (X, y, sample_weight))):
        return asked.of_examples(X if y is not None else as_stream(X) or X, y, sample_weight)
    way = _cluster()
    y, weights = way.computed(model, y), way.computed(model, sample_weight)
    if not is_lazy(X) or ends_with_mask(model):  # masks of outputs stay on the workers
        return asked.of_examples(way.computed(model, X), y, weights)
    outputs = way.predicted(model, X, batch_size=asked.batch_size, check_finite=True, engine=asked.engine)
    return asked.of_outputs(way.computed(model, outputs), y, weights)


def gradient_of_input(model: Any, X: Any, classes: Any, engine: str, nested: Nested) -> Array:
    """The gradient of one output of each example; described in `Model.input_gradient`."""
    from nnarray.training.answers import chosen_outputs

    X = check_inputs(model, X)
    if not is_differentiable(model, X):
        raise TypeError("input_gradient needs a network that takes one array of real numbers.")
    if len(model.output_shape) != 1:
        raise ValueError(f"input_gradient needs outputs of shape (N, classes); got {(None, *model.output_shape)}.")
    chosen = chosen_outputs(model, X, classes)
    with engines.computing(engine):
        return input_gradient(model.wiring, nested(), model.state, without_record(X), chosen)


def _cluster() -> Any:
    """What computes collections of blocks; it needs an optional package."""
    return importlib.import_module("nnarray.distributed.prediction")
