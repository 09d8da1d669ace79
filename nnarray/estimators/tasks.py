"""Classification and regression: the meaning of y, and the predictions from the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score

from nnarray import kernels
from nnarray.backends import Backend, dtype_name, host_backend, namespace
from nnarray.caller import warn
from nnarray.estimators.base import Estimator, Examples
from nnarray.estimators.inputs import backend_of_data, checked_targets, holds_numbers, is_host
from nnarray.estimators.labels import MULTILABEL, class_weights, classes_of, kind_of, named_labels, numbered
from nnarray.estimators.objectives import classification_loss, regression_loss
from nnarray.estimators.scores import accuracy, r2
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import Loss
from nnarray.names import shown
from nnarray.onnx.writing.answers import labelled, labels_of, listed, of_one_output, several_labels, value_port
from nnarray.onnx.writing.around import After, Port
from nnarray.onnx.writing.checking import CLOSE, SMALLEST
from nnarray.onnx.writing.comparing import Answers
from nnarray.onnx.writing.writer import Writer
from nnarray.typing import Array

LARGE = 30.0  # targets beyond it are far from what a network gives at its start


def largest(x: Array) -> float:
    """The largest size of an entry."""
    return float(namespace(x).max(namespace(x).abs(x)))


class Classifies(ClassifierMixin, Estimator):
    """Labels of any kind: two classes, more classes, or several labels per example (a column of 0 and 1 for each).

    Attributes
    ----------
    classes_ : array, shape (K,)
        The sorted classes; on the device of X if they are numbers, on the host if they are text.
    """

    class_weight: Any
    classes_: Any
    _kind: str

    _numeric = False

    def _answers(self, y: Any, *, fresh: bool, classes: Any = None) -> Any:
        kind = kind_of(y)
        if fresh:
            self._kind = kind
            among = (
                y
                if classes is None or kind == MULTILABEL
                else checked_targets(classes, backend_of_data(y), numeric=False)
            )
            self.classes_ = classes_of(among, kind)
        elif kind != self._kind or (kind == MULTILABEL and y.shape[1] != self.classes_.shape[0]):
            raise ValueError(
                f"y has {kind} labels of shape {tuple(y.shape)}, but the estimator was fitted to {self._kind} labels "
                f"of {self.classes_.shape[0]} classes."
            )
        return y if kind == MULTILABEL else numbered(y, self.classes_)

    def _refuse_fewer_classes(self, answers: Any) -> None:
        present, count = namespace(answers).unique_values(answers).shape[0], self.classes_.shape[0]
        if self._kind != MULTILABEL and present != count:
            raise ValueError(
                f"warm_start can only be used where `y` has the same classes as in the previous fit: it has {present} "
                f"of the {count}, {shown(self.classes_)}. Use partial_fit, or fit with warm_start=False."
            )

    def _step_on_classes(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Self:
        """`partial_fit`, whose first call names all classes."""
        first = not self.__sklearn_is_fitted__()
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: all labels that will occur.")
        if not first and classes is not None:
            named = classes_of(checked_targets(classes, backend_of_data(self.classes_), numeric=False), "multiclass")
            if named.shape != self.classes_.shape or not bool(namespace(named).all(named == self.classes_)):
                raise ValueError(
                    f"classes={shown(classes)} differ from those of the first call, {shown(self.classes_)}."
                )
        return self._step_on(X, y, sample_weight, classes)

    def _objective(self, answers: Any, outputs: int | None) -> tuple[Loss, int]:
        many = self._kind == MULTILABEL
        loss, wanted = classification_loss(self.loss, multilabel=many, classes=self.classes_.shape[0], outputs=outputs)
        self.out_activation_ = loss.out_activation if loss.is_of_classes else "softmax"
        return loss, wanted

    def _target(self, answers: Array, loss: Loss, like: Array) -> Array:
        xp = namespace(answers)
        if self._kind == MULTILABEL:
            return xp.astype(answers, like.dtype)
        if loss.out_activation == "softmax":
            return answers
        if self.n_outputs_ == 1:
            return xp.astype(answers, like.dtype)[:, None]
        return kernels.one_hot(answers, self.n_outputs_, like=like)

    def _weighted(self, weights: Array | None, answers: Array, like: Array) -> Array | None:
        if self.class_weight is None:
            return weights
        if self._kind == MULTILABEL:
            raise ValueError("class_weight is for one class per example; y has several labels. Use sample_weight.")
        each = class_weights(self.class_weight, answers, self.classes_, weights, like)
        return each if weights is None else each * weights

    def _report_constant(self, held: Examples, answers: Array) -> None:
        if self._kind == MULTILABEL or self._sole or self.best_validation_score_ is None:
            return
        xp = namespace(answers)
        hot = kernels.one_hot(answers, self.classes_.shape[0], like=at_least_float32(self.model_.theta))
        masses = xp.sum(hot if held.weights is None else hot * held.weights[:, None], axis=0)
        common = float(xp.max(masses) / xp.sum(masses))
        if self.best_validation_score_ <= common + 1e-6:
            others = held.size - int(xp.sum(xp.astype(answers == xp.argmax(masses), answers.dtype)))
            warn(
                f"early stopping found no epoch with a better validation score than that of always predicting the most "
                f"common class ({common:.3g}); {others} of the {held.size} held-out examples are of other classes. "
                f"Pass class_weight='balanced', by which the score counts all classes alike (probabilities are then "
                f"those of equally frequent classes), a larger validation_fraction, or early_stopping=False.",
                ConvergenceWarning,
            )

    def _groups(self, answers: Array) -> Array | None:
        return None if self._kind == MULTILABEL else answers

    @property
    def _sole(self) -> bool:
        """Whether there is only one class, which then has probability 1."""
        return self._kind != MULTILABEL and self.classes_.shape[0] == 1

    def _chosen(self, outputs: Array) -> Array:
        """The class number, or 0 and 1 for each label."""
        xp = namespace(outputs)
        if self._kind == MULTILABEL:
            return xp.astype(outputs > 0, self._integer(xp))
        if self._sole:
            return xp.zeros_like(outputs[:, 0], dtype=self._integer(xp))
        if self.n_outputs_ == 1:
            return xp.astype(outputs[:, 0] > 0, self._integer(xp))
        return xp.argmax(outputs, axis=1)

    @staticmethod
    def _integer(xp: Any) -> Any:
        return xp.__array_namespace_info__().default_dtypes()["integral"]

    def _grade(self, outputs: Array, answers: Array, weights: Array | None) -> float:
        return accuracy(self._chosen(outputs), answers, weights)

    def predict(self, X: Any) -> Any:
        """The most likely class of each example, or 0 and 1 for each of several labels.

        Numbers are on the device of X; labels that are text are on the host.
        """
        outputs, be = self._outputs(X, "predict")
        chosen = self._chosen(outputs)
        return be.asarray(chosen) if self._kind == MULTILABEL else named_labels(chosen, self.classes_, be)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, shape (N, K), in the order of `classes_`; on the device of X."""
        outputs, be = self._outputs(X, "predict_proba")
        return be.asarray(self._probabilities(outputs))

    def _probabilities(self, outputs: Array) -> Array:
        xp = namespace(outputs)
        if self._sole:
            return xp.ones_like(outputs[:, :1])
        if self.out_activation_ == "softmax":
            return kernels.softmax(outputs)
        p = kernels.logistic(outputs)
        return p if self._kind == MULTILABEL else xp.concat([kernels.logistic(-outputs), p], axis=1)

    def predict_log_proba(self, X: Any) -> Any:
        """The natural logarithm of `predict_proba`, finite even if the probability underflows."""
        outputs, be = self._outputs(X, "predict_log_proba")
        xp = namespace(outputs)
        if self._sole:
            return be.asarray(xp.zeros_like(outputs[:, :1]))
        if self.out_activation_ == "softmax":
            return be.asarray(kernels.log_softmax(outputs))
        p = -kernels.softplus(-outputs)
        return be.asarray(p if self._kind == MULTILABEL else xp.concat([-kernels.softplus(outputs), p], axis=1))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The fraction of examples with the right class, or with all of their labels right."""
        predicted = self.predict(X)
        be = backend_of_data(predicted)
        if is_host(be):
            return float(accuracy_score(y, predicted, sample_weight=sample_weight))
        weights = None if sample_weight is None else be.asarray(sample_weight)
        return accuracy(predicted, checked_targets(y, be, numeric=True), weights)

    def _answering(self, dtype: str, inputs: Sequence[Port]) -> After:
        labels = labels_of(self.classes_)

        def after(w: Writer, outputs: str) -> Mapping[Port, str]:
            if self._kind == MULTILABEL:
                return several_labels(w, outputs, len(labels), dtype, inputs)
            if self._sole:
                outputs = w.add("ReduceSum", outputs, w.integers([1]), keepdims=1)
            elif self.out_activation_ != "softmax":
                outputs = of_one_output(w, outputs)
            return labelled(w, outputs, labels, dtype, inputs)

        return after

    def _right(self, outputs: Array) -> Answers:
        chosen = self._chosen(outputs)
        labels = chosen if self._kind == MULTILABEL else named_labels(chosen, self.classes_, host_backend())
        p = at_least_float32(self._probabilities(outputs))
        return Answers(p, CLOSE[dtype_name(outputs.dtype)] * max(1.0, largest(outputs)), labels)

    def _notes(self) -> dict[str, Any]:
        return super()._notes() | {"classes": listed(labels_of(self.classes_))}

    def __sklearn_array_api_convert__(self, converter: Any) -> Any:
        new = super().__sklearn_array_api_convert__(converter)
        if holds_numbers(self.classes_):
            new.classes_ = converter(self.classes_)
        return new

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class Regresses(RegressorMixin, Estimator):
    """Numbers: one target, or several."""

    _values = True

    def _answers(self, y: Any, *, fresh: bool, classes: Any = None) -> Any:
        return y[:, None] if y.ndim == 1 else y

    def _objective(self, answers: Any, outputs: int | None) -> tuple[Loss, int]:
        loss = regression_loss(self.loss)
        if loss.is_of_classes:
            raise ValueError(f"{loss.label} is for classes; use a classifier, or loss='squared_error'.")
        self.out_activation_ = loss.out_activation
        if outputs not in (None, answers.shape[-1]):
            raise ValueError(
                f"the network has {outputs} outputs, but y has {answers.shape[-1]}. Change the last layer, or pass a "
                f"function of the number of outputs as network."
            )
        return loss, answers.shape[-1]

    def _target(self, answers: Array, loss: Loss, like: Array) -> Array:
        return answers

    def _of_unusual_targets(self, examples: Examples) -> str:
        y = at_least_float32(examples.target)
        largest = float(namespace(y).max(namespace(y).abs(y)))
        if largest <= LARGE or self.out_activation_ == "exp":
            return ""
        return (
            f"y has values up to {largest:.3g}: standardise y, with TransformedTargetRegressor(estimator, "
            f"transformer=StandardScaler()) of scikit-learn. If that is not enough: "
        )

    def _predicted(self, outputs: Array) -> Array:
        return namespace(outputs).exp(outputs) if self.out_activation_ == "exp" else outputs

    def _answering(self, dtype: str, inputs: Sequence[Port]) -> After:
        port = value_port(self.n_outputs_, dtype, inputs)

        def after(w: Writer, outputs: str) -> Mapping[Port, str]:
            y = w.add("Exp", outputs) if self.out_activation_ == "exp" else outputs
            return {port: w.cast(y, w.xp.dtype(port.dtype))}

        return after

    def _right(self, outputs: Array) -> Answers:
        values = at_least_float32(self._predicted(outputs))
        size = largest(values) if self.out_activation_ == "exp" else 1.0
        return Answers(values, CLOSE[dtype_name(outputs.dtype)] * max(SMALLEST, largest(outputs)) * size)

    def _grade(self, outputs: Array, answers: Array, weights: Array | None) -> float:
        return r2(self._predicted(outputs), answers, weights)

    def predict(self, X: Any) -> Any:
        """The predicted values, shape (N,) or (N, outputs); on the device of X."""
        outputs, be = self._outputs(X, "predict")
        predicted = self._predicted(outputs)
        return be.asarray(predicted[:, 0] if predicted.shape[1:] == (1,) else predicted)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2: 1 is perfect; 0 is that of predicting the mean."""
        predicted = self.predict(X)
        be: Backend = backend_of_data(predicted)
        if is_host(be):
            return float(r2_score(y, predicted, sample_weight=sample_weight))
        weights = None if sample_weight is None else be.asarray(sample_weight)
        return r2(predicted, checked_targets(y, be, numeric=True), weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
