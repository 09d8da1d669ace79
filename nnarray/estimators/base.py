"""The base of the four estimators: training a model on examples, and predictions with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy as shallow
from dataclasses import fields, replace
from functools import lru_cache
from inspect import signature
from numbers import Integral
from typing import Any, NamedTuple, Self

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from nnarray.backends import Backend, backend, backend_of, dtype_name, namespace
from nnarray.checks import real, switch
from nnarray.estimators.exporting import Exports
from nnarray.estimators.inputs import backend_of_data, checked_inputs, checked_targets, moved, same_backend
from nnarray.estimators.partial_fit import PartialFit
from nnarray.estimators.scores import split
from nnarray.estimators.stopping import InverseScaling, Record
from nnarray.gradients import value_and_grad
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import Loss
from nnarray.model import Model
from nnarray.names import shown
from nnarray.network import Network
from nnarray.optimizers import Minimiser, Optimizer
from nnarray.random import Key
from nnarray.training.callbacks import EarlyStopping, as_callbacks
from nnarray.training.data import prepare
from nnarray.training.history import History
from nnarray.training.inputs import pick
from nnarray.training.state import TrainingState
from nnarray.typing import Array, Shape

AT_ONCE = 1024  # the smallest number of examples per batch of a prediction


def keep(estimator: Any, arguments: dict[str, Any]) -> None:
    """Keep the arguments of a constructor unchanged, as scikit-learn requires."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def refuse_other_switches(estimator: Any) -> None:
    """Refuse settings that are neither True nor False where these are the choice: "False" would count as true."""
    for name in _switches(type(estimator)):
        value = getattr(estimator, name)
        if name != "verbose" or not isinstance(value, Integral):  # as in scikit-learn, any integer
            switch(value, name)


@lru_cache(maxsize=64)
def _switches(kind: type) -> tuple[str, ...]:
    """The settings of a class of estimators whose default is True or False."""
    settings = signature(kind).parameters.values()
    return tuple(each.name for each in settings if isinstance(each.default, bool))


class Examples(NamedTuple):
    """Examples on the device of the model: inputs, the target in the form of the loss, and weights."""

    x: Array
    target: Array
    weights: Array | None

    def of(self, rows: Array) -> Examples:
        """The examples of these rows."""
        return Examples(*(None if each is None else pick(each, rows) for each in self))  # type: ignore[arg-type]

    @property
    def size(self) -> int:
        """The number of examples."""
        return self.x.shape[0]

    @property
    def weight(self) -> float:
        """The mean of the weights."""
        return 1.0 if self.weights is None else float(namespace(self.weights).mean(self.weights))


class Estimator(Exports, BaseEstimator):
    """Trains a network on examples, keeps it as `model_`, and predicts with it; subclasses define the settings.

    Attributes
    ----------
    model_ : Model
        The trained network; its library, device and dtype are those of the computations.
    history_ : History
        The history of the last `fit`, one row per epoch.
    loss_, best_loss_ : float
        The loss of the last epoch, and the lowest one; None with early stopping, which uses the score.
    loss_curve_ : list of float
        The loss of each epoch, including the L2 penalty; `warm_start` and `partial_fit` append to it.
    validation_scores_, best_validation_score_ : list of float, float
        The scores with early stopping, else None.
    n_iter_ : int
        The number of epochs of the last `fit`.
    t_ : int
        The number of examples seen in training, where each pass counts.
    n_outputs_ : int
    out_activation_ : str
    """

    # Settings that all have.
    loss: Any
    warm_start: bool
    shuffle: bool
    random_state: Any
    early_stopping: bool
    validation_fraction: float
    verbose: Any
    callbacks: Sequence[Any]
    backend: str | Backend | None
    dtype: object

    # What they learn.
    model_: Model
    history_: History
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    t_: int
    n_outputs_: int
    out_activation_: str
    _memory: TrainingState | None = None
    _going: PartialFit | None = None

    # --- Defined by subclasses -----------------------------------------------------------------------------------

    _images = False  # whether an example may have more than one axis
    _numeric = True  # whether y has numbers
    _values = False  # whether y has numbers that the network computes with

    def _network(self, outputs: int, shape: Shape) -> Network:
        """The network for examples of this shape."""
        raise NotImplementedError

    def _outputs_given(self, shape: Shape) -> int | None:
        """The number of outputs, if the network determines it."""
        return None

    def _rule(self, examples: Examples) -> Minimiser:
        """The optimizer."""
        raise NotImplementedError

    def _batch(self, count: int) -> int | None:
        """The number of examples per step."""
        raise NotImplementedError

    def _epochs(self) -> int:
        raise NotImplementedError

    def _watch(self, examples: Examples, rule: Minimiser, score: Any) -> Record:
        """The callback that records the epochs and stops the training."""
        raise NotImplementedError

    def _answers(self, y: Any, *, fresh: bool, classes: Any = None) -> Any:
        """The checked y as numbers, on its own device; learns the classes if `fresh`."""
        raise NotImplementedError

    def _refuse_fewer_classes(self, answers: Any) -> None:
        """Check the classes: `fit` with `warm_start` needs all of them, as in scikit-learn; `partial_fit` does not."""

    def _objective(self, answers: Any, outputs: int | None) -> tuple[Loss, int]:
        """The loss, and the number of outputs that it needs."""
        raise NotImplementedError

    def _target(self, answers: Array, loss: Loss, like: Array) -> Array:
        """The targets in the form that the loss needs."""
        raise NotImplementedError

    def _weighted(self, weights: Array | None, answers: Array, like: Array) -> Array | None:
        """The total weight of each example."""
        return weights

    def _grade(self, outputs: Array, answers: Array, weights: Array | None) -> float:
        """The score of some outputs."""
        raise NotImplementedError

    def _report_constant(self, held: Examples, answers: Array) -> None:
        """Warn if early stopping found nothing that is better than a constant."""

    def _of_unusual_targets(self, examples: Examples) -> str:
        """That the targets need another scale, for a warning; empty if not."""
        return ""

    def _groups(self, answers: Array) -> Array | None:
        """The classes for a stratified split."""
        return None

    # --- Fitting ---------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on the examples, from new parameters unless `warm_start` is True.

        Parameters
        ----------
        X : array, sparse matrix or data frame, shape (N, features)
            The examples, of any library. The computations use its library and device, unless `backend` is set.
        y : array, shape (N,) or (N, outputs)
        sample_weight : array, shape (N,), optional
            The weights of the examples; an example with weight 2 counts as two.

        Raises
        ------
        ValueError, TypeError
            If the examples or the settings do not fit; the message says which and how to fix it.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite.
        KeyboardInterrupt
            On Ctrl-C; the estimator keeps the parameters of the last finished step.
        """
        refuse_other_switches(self)
        fresh = not (self.warm_start and self.__sklearn_is_fitted__())
        examples, answers, loss = self._enter(X, y, sample_weight, "fit", fresh=fresh)
        self._memory = self._going = None
        rule, score, held = self._rule(examples), None, (examples, answers)
        if self.early_stopping and rule.stepwise:
            kept, out = self._split(answers, examples)
            held = examples.of(out), pick(answers, out)
            score = self._validation(*held)
            examples = examples.of(kept)
            rule = self._rule(examples)
        self._keep_records()
        watch = self._watch(examples, rule, score)
        self._train(examples, loss, rule, watch)
        if score is not None and watch.stopped:
            self._report_constant(*held)
        if not self.n_iter_:  # L-BFGS started at its end
            value, _ = value_and_grad(self.model_, examples.x, examples.target, loss, sample_weight=examples.weights)
            self.loss_ = float(value) + watch.penalty(self.model_)
        return self

    def _enter(
        self, X: Any, y: Any, sample_weight: Any, method: str, *, fresh: bool, classes: Any = None
    ) -> tuple[Examples, Array, Loss]:
        """Check the examples on their own device, move them to the model's, and make a model if there is none."""
        data_backend = backend_of_data(X)
        if not fresh:
            self._refuse_other_backend()
            self._model_backend(data_backend, method)
        x = checked_inputs(self, X, reset=fresh, images=self._images)
        y = checked_targets(y, data_backend, numeric=self._numeric)
        if isinstance(sample_weight, Mapping):
            raise TypeError(
                "sample_weight must be an array, one number per example; got dict. Set class_weight instead."
            )
        check_consistent_length(x, y, sample_weight)
        answers = self._answers(y, fresh=fresh, classes=classes)
        if not fresh and method == "fit":
            self._refuse_fewer_classes(answers)
        loss, outputs = self._objective(answers, self._outputs_given(x.shape[1:]))
        network = self._network(outputs, x.shape[1:])
        if fresh:
            self._begin(network, x, data_backend if self.backend is None else backend(self.backend))
        elif network != self.model_.network:
            raise ValueError(
                f"the network of the present settings differs from the fitted one: "
                f"{_difference(network, self.model_.network)}. Set them back, or fit with warm_start=False to begin "
                f"with a new one."
            )
        self.n_outputs_ = outputs
        model_backend = self._model_backend(data_backend, method)
        like = self.model_.theta
        x = moved(x, model_backend, like.dtype, "X")
        answers = moved(answers, model_backend, like.dtype if self._values else None, "y")
        weights = self._checked_weights(sample_weight, x.shape[0], model_backend, like)
        weighted = self._weighted(weights, answers, like)
        if weighted is not weights:
            _refuse_weights(weighted, "class_weight times sample_weight")
        return Examples(x, self._target(answers, loss, like), weighted), answers, loss

    def _begin(self, network: Network, x: Array, be: Backend) -> None:
        """Make a new model, and reset the learned attributes."""
        dtype = self.dtype or be.asarray(x[:1, ...]).dtype
        self.model_ = network.init(x.shape[1:], seed=self._seed(), backend=be, dtype=dtype)
        self.t_, self.n_iter_, self.loss_curve_ = 0, 0, []
        self.best_loss_ = self.validation_scores_ = self.best_validation_score_ = None

    def _keep_records(self) -> None:
        """The records of the loss, or with early stopping of the score: continued, or new if the setting changed."""
        if not self.early_stopping:
            self.validation_scores_ = self.best_validation_score_ = None
            self.best_loss_ = math.inf if self.best_loss_ is None else self.best_loss_
        elif self.validation_scores_ is None:
            self.best_loss_, self.validation_scores_, self.best_validation_score_ = None, [], -math.inf

    def _refuse_other_backend(self) -> None:
        """Refuse a `backend` or `dtype` that differs from the fitted model's, which is never moved."""
        be = backend_of(self.model_.theta)
        if self.backend is not None and not same_backend(be, backend(self.backend)):
            setting, fitted = f"backend={self.backend!r}", be.name
        elif self.dtype is not None and be.dtype(self.dtype) != self.model_.theta.dtype:
            setting, fitted = f"dtype={self.dtype!r}", dtype_name(self.model_.theta.dtype)
        else:
            return
        raise ValueError(
            f"{setting} differs from that of the fitted model, {fitted}. Restore it, or set warm_start=False to "
            f"begin with a new model."
        )

    def _model_backend(self, data_backend: Backend, method: str) -> Backend:
        """The backend of the model. Data of another backend are refused, unless `backend` is set, which moves them."""
        if not self.__sklearn_is_fitted__():
            return data_backend
        be = backend_of(self.model_.theta)
        if self.backend is None and not same_backend(be, data_backend):
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace and the same device as "
                f"those passed to fit(): the model is on {be.name}, X on {data_backend.name}. Move X with "
                f"nn.backend(...).asarray(X), or set backend=, to which all data are then moved."
            )
        return be

    def _checked_weights(self, weights: Any, count: int, be: Backend, like: Array) -> Array | None:
        if weights is None:
            return None
        weights = be.asarray(weights)
        if weights.shape != (count,):
            raise ValueError(f"sample_weight must have shape ({count},), one per example; got {tuple(weights.shape)}.")
        weights = be.xp.astype(weights, at_least_float32(like).dtype)
        _refuse_weights(weights, "sample_weight")
        return weights

    def _seed(self) -> int:
        """The seed: `random_state` itself if it is an integer, else drawn from it."""
        if isinstance(self.random_state, Integral) and not isinstance(self.random_state, bool):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _split(self, answers: Array, examples: Examples) -> tuple[Array, Array]:
        fraction = real(self.validation_fraction, "validation_fraction", least=0.0, below=1.0, usual=0.1)
        part = math.ceil(fraction * examples.size)
        if not 2 <= part < examples.size:
            raise ValueError(
                f"The validation set or the training set is too small: validation_fraction={fraction:g} of "
                f"{examples.size} examples holds out {part}. Change the fraction, or set early_stopping=False."
            )
        key = Key(self._seed()).fold("validation")
        kept, out = split(examples.size, part, self._groups(answers), key, examples.x)
        for rows, what in ((out, "holds out"), (kept, "trains on")):
            if examples.weights is not None and not float(namespace(rows).sum(pick(examples.weights, rows))) > 0:
                raise ValueError(
                    f"all {rows.shape[0]} of {examples.size} examples that early stopping {what} have weight 0. "
                    f"Leave out the examples of weight 0, or set early_stopping=False."
                )
        return kept, out

    def _validation(self, held: Examples, answers: Array) -> Any:
        """The score of a model on the held-out examples."""

        def score(model: Model) -> float:
            outputs = model.predict(held.x, batch_size=self._at_once(), check_finite=False)
            return self._grade(outputs, answers, held.weights)

        return score

    def _train(self, examples: Examples, loss: Loss, rule: Minimiser, watch: Record) -> None:
        """Train. If it is interrupted, the estimator keeps the parameters learned so far."""
        self.n_iter_ = 0
        callbacks = as_callbacks(self.callbacks)
        for each in callbacks:
            if isinstance(each, EarlyStopping) and each.monitor not in ("loss", "lr"):
                raise ValueError(
                    f"EarlyStopping monitors {each.monitor!r}, but the history of an estimator has no such column. "
                    f"Set early_stopping=True, or monitor 'loss'."
                )
        try:
            self.model_.fit(
                examples.x,
                examples.target,
                loss=loss,
                optimizer=rule,
                epochs=self._epochs(),
                batch_size=self._batch(examples.size) if rule.stepwise else None,
                callbacks=[watch, *callbacks],
                sample_weight=examples.weights,
                shuffle=self.shuffle,
                seed=(self._seed() + self.t_) % 2**64,
                progress=False,
                check_finite=False,
            )
        finally:
            self.history_ = self.model_.history
        watch.end(self.model_)

    def _step_on(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """One epoch, for `partial_fit`. The optimizer keeps its state from earlier calls; an error undoes the epoch."""
        refuse_other_switches(self)
        if self.early_stopping:
            raise ValueError(
                "partial_fit does not support early_stopping=True: it holds out no examples. Set early_stopping=False."
            )
        fresh = not self.__sklearn_is_fitted__()
        examples, _, loss = self._enter(X, y, sample_weight, "partial_fit", fresh=fresh, classes=classes)
        rule = self._rule(examples)
        assert isinstance(rule, Optimizer)  # others have no partial_fit
        if isinstance(rule.lr, InverseScaling):  # it counts examples; calls may have any number of them
            rule = replace(rule, lr=rule.lr(0))
        self._keep_records()
        record, model, batch = Record(self, examples.size, rule), self.model_, self._batch(examples.size)
        data = prepare(model, examples.x, examples.target, examples.weights, loss, check_finite=False)
        going = self._going
        if going is None or not going.suits(model, loss, rule, shuffle=self.shuffle):
            going = PartialFit(
                model,
                data,
                loss,
                rule,
                batch_size=batch or examples.size,
                shuffle=self.shuffle,
                seed=self._seed(),
                before=self._memory,
            )
        self._going = None  # an error or Ctrl-C leaves it incomplete
        value, self._memory = going.run(data, rule, batch or examples.size, self.loss_curve_)
        self._going = going
        record.write(model, value, 1)
        record.remember(self.loss_)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickle and copy, without objects prepared for this process."""
        state: Any = super().__getstate__()
        return state | {"_going": None}

    # --- Predicting ------------------------------------------------------------------------------------------------

    def _at_once(self) -> int:
        return max(self._batch(AT_ONCE) or AT_ONCE, AT_ONCE)

    def _outputs(self, X: Any, method: str) -> tuple[Array, Backend]:
        """The network's outputs on the model's device, and the backend of X."""
        check_is_fitted(self)
        data_backend = backend_of_data(X)
        model_backend = self._model_backend(data_backend, method)
        x = checked_inputs(self, X, reset=False, images=self._images)
        x = moved(x, model_backend, self.model_.theta.dtype, "X")
        return self.model_.predict(x, batch_size=self._at_once(), check_finite=False), data_backend

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = self._images
        return tags

    def __sklearn_array_api_convert__(self, converter: Any) -> Self:
        """A copy with its arrays on another device, for scikit-learn's `move_estimator_to`."""
        new = shallow(self)
        model = self.model_
        theta, state = (converter(each) for each in (model.theta, model.state))
        new.model_ = Model(model.network, model.input_shape, theta, state, wiring=model.wiring)
        new._memory = new._going = None
        return new


def _difference(new: Any, old: Any) -> str:
    """The first setting in which two networks differ."""
    if len(new.layers) != len(old.layers):
        return f"{len(new.layers)} layers against {len(old.layers)}"
    index, pair = next(
        (i, pair) for i, pair in enumerate(zip(new.layers, old.layers, strict=True)) if pair[0] != pair[1]
    )
    if type(pair[0]) is not type(pair[1]):
        return f"layer {index} is {type(pair[0]).__name__} against {type(pair[1]).__name__}"
    name = next(f.name for f in fields(pair[0]) if getattr(pair[0], f.name) != getattr(pair[1], f.name))
    now, before = (shown(getattr(layer, name)) for layer in pair)
    return (
        f"{now} against {before} units in layer {index}"
        if name == "units"
        else f"{name} {now} against {before} in layer {index}"
    )


def _refuse_weights(weights: Array | None, name: str) -> None:
    if weights is None:
        return
    xp = namespace(weights)
    if not bool(xp.all(weights >= 0)) or not 0 < float(xp.sum(weights)) < math.inf:
        raise ValueError(
            f"{name} must be finite and not negative, and at least one must be above zero. An example with weight zero "
            f"is left out."
        )
