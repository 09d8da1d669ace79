"""Multilayer perceptrons with scikit-learn's interface, computed by the networks of this package."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Self

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if

from nnarray.backends import Backend
from nnarray.caller import warn
from nnarray.checks import integer, real, refuse_text, switch
from nnarray.estimators.base import Estimator, Examples, keep
from nnarray.estimators.stopping import Adaptive, Flat, InverseScaling, Patience, Rate, Record
from nnarray.estimators.tasks import Classifies, Regresses
from nnarray.layers import Activation, Dense, Dropout, Layer
from nnarray.layers.activations import kept_activation
from nnarray.layers.initializers import Uniform
from nnarray.losses import Loss
from nnarray.names import canonical, named, shown
from nnarray.network import Network
from nnarray.optimizers import ALSO, LBFGS, OPTIMIZERS, Minimiser, stepwise
from nnarray.schedules import Schedule
from nnarray.typing import Shape

THEIRS = ("identity", "logistic", "tanh", "relu")  # activations with scikit-learn's initial weights
SETTINGS = {  # settings of solvers, next to the learning rate and the weight decay
    "adam": ("beta1", "beta2", "epsilon"),
    "adamw": ("beta1", "beta2", "epsilon"),
    "rmsprop": ("epsilon",),
    "adagrad": ("epsilon",),
    "sgd": ("momentum", "nesterov"),
}
RATES = {name: name for name in ("constant", "invscaling", "adaptive")}


class Perceptron(Estimator):
    """Dense layers in a row, with scikit-learn's settings.

    Attributes
    ----------
    coefs_, intercepts_ : list of array
        Weights and biases of each layer: read-only views of `model_`.
    n_layers_ : int
        The number of layers, including the inputs.
    """

    hidden_layer_sizes: Any
    activation: str | Activation
    solver: Any
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    tol: float
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: float

    @property
    def coefs_(self) -> list[Any]:
        """The weights of each layer, shape (fan_in, units)."""
        return self._parts("weight")

    @property
    def intercepts_(self) -> list[Any]:
        """The biases of each layer, shape (units,)."""
        return self._parts("bias")

    @property
    def n_layers_(self) -> int:
        """The number of layers, including the inputs."""
        return len(self.coefs_) + 1

    def _parts(self, name: str) -> list[Any]:
        if not hasattr(self, "model_"):
            raise AttributeError(f"{type(self).__name__} has no parameters before fit.")
        return [value for key, value in self.model_.params.items() if key.endswith(name)]

    # --- Settings of this package ----------------------------------------------------------------------

    def _sizes(self) -> list[int]:
        setting = self.hidden_layer_sizes
        refuse_text(setting, "hidden_layer_sizes")
        sizes: list[Any] = list(setting) if isinstance(setting, Iterable) else [setting]
        return [integer(units, "each of hidden_layer_sizes", 1, usual=100) for units in sizes]

    def _network(self, outputs: int, shape: Shape) -> Network:
        layers: list[Layer] = []
        fan_in = shape[0]
        for units in self._sizes():
            layers.append(self._dense(fan_in, units, self.activation))
            layers += [Dropout(self.dropout)] if self.dropout else []
            fan_in = units
        return Network(*layers, self._dense(fan_in, outputs, "identity"))

    def _dense(self, fan_in: int, units: int, activation: str | Activation) -> Dense:
        """A dense layer. With scikit-learn's activations, initial values are as there; otherwise as in this package."""
        hidden = kept_activation(self.activation)
        if hidden not in THEIRS:
            return Dense(units, activation)
        bound = math.sqrt((2.0 if hidden == "logistic" else 6.0) / (fan_in + units))
        start = Uniform(-bound, bound)
        return Dense(units, activation, init=start, bias_init=start)

    def _epochs(self) -> int:
        return integer(self.max_iter, "max_iter", 1, usual=200)

    def _batch(self, count: int) -> int:
        if isinstance(self.batch_size, str):
            named(self.batch_size, {"auto": 200}, "batch_size")
            return min(200, count)
        return min(integer(self.batch_size, "batch_size", 1, usual=200), count)

    def _rule(self, examples: Examples) -> Minimiser:
        """The solver. alpha applies once per step, for any batch size, so the weight decay is alpha / batch size."""
        if isinstance(self.solver, Minimiser):
            return self.solver
        name = canonical(self.solver, OPTIMIZERS, "solver", ALSO)
        alpha = real(self.alpha, "alpha", least=0.0, usual=1e-4)
        tol = real(self.tol, "tol", least=0.0, usual=1e-4)
        if name == "lbfgs":
            most = integer(self.max_fun, "max_fun", 1, usual=15_000)
            decay = alpha / (examples.size * examples.weight)
            return LBFGS(tolerance=tol, weight_decay=decay, evaluations=most)
        decay = alpha / (self._batch(examples.size) * examples.weight)
        return self._stochastic(name, alpha, decay, examples.size)

    def _stochastic(self, name: str, alpha: float, decay: float, count: int) -> Minimiser:
        lr = real(self.learning_rate_init, "learning_rate_init", least=0.0, usual=1e-3)
        momentum = real(self.momentum, "momentum", least=0.0, below=1.0, usual=0.9)
        settings = {
            "lr": self._schedule(lr, count) if name == "sgd" else lr,
            "beta1": real(self.beta_1, "beta_1", least=0.0, below=1.0, usual=0.9),
            "beta2": real(self.beta_2, "beta_2", least=0.0, below=1.0, usual=0.999),
            "epsilon": self.epsilon,
            "momentum": momentum,
            "nesterov": switch(self.nesterovs_momentum, "nesterovs_momentum") and momentum > 0,
            "weight_decay": alpha if OPTIMIZERS[name].decoupled else decay,
        }
        taken = ("lr", "weight_decay", *SETTINGS.get(name, ()))
        return OPTIMIZERS[name](**{each: settings[each] for each in taken})

    def _schedule(self, lr: float, count: int) -> float | Schedule:
        kind = named(self.learning_rate, RATES, "learning_rate")
        if kind == "adaptive":
            return Adaptive(Rate(lr))
        power = real(self.power_t, "power_t", least=0.0, usual=0.5)
        return InverseScaling(lr, power, count, self.t_) if kind == "invscaling" else lr

    def _watch(self, examples: Examples, rule: Minimiser, score: Any) -> Record:
        if not rule.stepwise:
            return Flat(self, examples.size, rule)
        if not isinstance(self.batch_size, str) and self.batch_size > examples.size:
            warn(
                f"batch_size={self.batch_size} is larger than the {examples.size} examples; all examples are used.",
                UserWarning,
            )
        patience, lr = self.n_iter_no_change, getattr(rule, "lr", None)
        if patience != math.inf:
            patience = integer(patience, "n_iter_no_change", 1, usual=10)
        return Patience(
            self,
            examples.size,
            rule,
            tol=real(self.tol, "tol", least=0.0, usual=1e-4),
            patience=patience,
            score=score,
            rate=lr.current if isinstance(lr, Adaptive) else None,
        )

    def _train(self, examples: Examples, loss: Loss, rule: Minimiser, watch: Record) -> None:
        super()._train(examples, loss, rule, watch)
        if not watch.stopped:
            warn(
                f"Maximum iterations (max_iter={self.max_iter}) reached and the optimization hasn't converged yet. "
                f"{self._of_unusual_targets(examples)}Increase max_iter, or standardise X.",
                ConvergenceWarning,
            )

    def _steps(self) -> bool:
        """Whether there is a `partial_fit`."""
        if not stepwise(self.solver):
            raise AttributeError(
                "partial_fit needs a solver that works on batches, such as 'adam'; 'lbfgs' takes all data."
            )
        return True


class MLPClassifier(Classifies, Perceptron):
    """A multilayer perceptron for classification: scikit-learn's `MLPClassifier`, on the array library of X.

    The parameters of scikit-learn have the same names, order, defaults and meaning. Those from `loss` on are
    additional.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, or int
        The numbers of units of the hidden layers.
    activation : str or Activation
        "identity", "logistic", "tanh", "relu" as there, or any other of this package, such as "gelu".
    solver : str or Optimizer
        "adam", "sgd" or "lbfgs" as there, the name of another optimizer, or an optimizer such as `nn.Adam(1e-3)`. An
        optimizer keeps its own learning rate, momentum, betas and weight decay, and `alpha` is not used.
    alpha : float
        alpha / 2 times the sum of all squared weights, divided by the number of examples in the batch, is added to
        the loss of a batch. For "adamw" it is the decoupled weight decay.
    batch_size : int or "auto"
        The number of examples per step; "auto" is 200, or all if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}
        For "sgd": lr; or lr / (t + 1)^power_t, with t the number of examples seen at the start of the epoch; or lr,
        divided by 5 whenever there is no more improvement.
    learning_rate_init, power_t : float
    max_iter : int
        The largest number of epochs, or of iterations of "lbfgs".
    shuffle : bool
    random_state : int, RandomState or None
        An integer is used as the seed of this package. It gives the same numbers on every library, but other numbers
        than in scikit-learn.
    tol : float
        The smallest change of the loss or of the validation score that counts as an improvement. "lbfgs" stops when
        the largest entry of the gradient is below it.
    verbose : bool
        Whether to print a line per epoch.
    warm_start : bool
        Whether `fit` continues from the present parameters.
    momentum : float
    nesterovs_momentum : bool
    early_stopping : bool
        Whether to hold out `validation_fraction` of the examples, stratified by class, to stop when their score has
        not improved for `n_iter_no_change` epochs, and to restore the best parameters. The score is the accuracy, as in
        scikit-learn; with `class_weight` it counts the classes by their weights. A warning says if it was never better
        than that of a constant, as it happens where a class is rare.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Settings of "adam"; epsilon is added to the corrected square root, as in the paper.
    n_iter_no_change : int or inf
        The number of epochs in a row without improvement by `tol` that are accepted. The next one stops the training.
    max_fun : int
        The largest number of evaluations of loss and gradient by "lbfgs".
    loss : str or Loss
        "log_loss", which suits labels of every kind, or a loss such as `nn.losses.CrossEntropy(label_smoothing=0.1)`. A
        loss of your own gets the outputs before the softmax, and a target of 0 and 1 of the same shape.
    dropout : float
        The rate after each hidden layer in training.
    class_weight : "balanced", mapping of label to number, or None
    callbacks : sequence of Callback or function of a Run
        Called after each epoch, when the estimator has recorded it.
    backend : str or Backend, optional
        The backend that computes, such as "cupy". Data are moved to it, and predictions back to the device of X. The
        backend of X if None.
    dtype : str, optional
        "float32", "float64", ...; the dtype of X if None, or float64 for NumPy integers.

    Attributes
    ----------
    classes_ : array, shape (K,)
    model_ : Model
    history_ : History
    coefs_, intercepts_ : list of array
    loss_, best_loss_ : float
    loss_curve_ : list of float
    validation_scores_, best_validation_score_ : list of float, float
    n_iter_, t_, n_layers_, n_outputs_, n_features_in_ : int
    feature_names_in_ : array of text
        Only if X is a data frame.
    out_activation_ : str
        "softmax"; "logistic" for two classes (one output) and for several labels.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors. Nature 323.
    .. [2] Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks. AISTATS.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.estimators import MLPClassifier
    >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    >>> classifier = MLPClassifier((20,), learning_rate_init=0.05, tol=1e-3, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.95
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        activation: str | Activation = "relu",
        *,
        solver: str | Minimiser = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: str | Loss = "log_loss",
        dropout: float = 0.0,
        class_weight: Any = None,
        callbacks: Sequence[Any] = (),
        backend: str | Backend | None = None,
        dtype: object = None,
    ) -> None:
        keep(self, locals())

    @available_if(Perceptron._steps)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """One epoch over these examples. The optimizer keeps its state between calls, until the next `fit`.

        Parameters
        ----------
        X, y, sample_weight : array
            As for `fit`.
        classes : array, shape (K,)
            All classes that will occur; needed in the first call.

        Notes
        -----
        After an error or Ctrl-C the parameters are those before the call. Callbacks and the stopping rule are not used;
        "adaptive" keeps its first learning rate.
        """
        return self._step_on_classes(X, y, sample_weight, classes)


class MLPRegressor(Regresses, Perceptron):
    """A multilayer perceptron for regression: scikit-learn's `MLPRegressor`, on the array library of X.

    Parameters
    ----------
    loss : str or Loss
        "squared_error", half the squared error summed over the outputs; "poisson", half the Poisson deviance of the
        exponentials of the outputs; "mse", "mae", "huber"; or a loss such as `nn.losses.Huber(0.5)`.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
        As in `MLPClassifier`, like the following parameters.
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun
    dropout, callbacks, backend, dtype

    Attributes
    ----------
    model_, history_, coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_
        As in `MLPClassifier`, like the other attributes.
    out_activation_ : str
        "identity", or "exp" for "poisson".

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors. Nature 323.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.estimators import MLPRegressor
    >>> X, y = nn.datasets.sine(100, noise=0.1, seed=0)
    >>> curve = MLPRegressor(hidden_layer_sizes=(20,), activation="tanh", solver="lbfgs", max_iter=1000, random_state=0)
    >>> curve.fit(X, y[:, 0]).score(X, y[:, 0]) > 0.9
    True
    """

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Sequence[int] | int = (100,),
        activation: str | Activation = "relu",
        *,
        solver: str | Minimiser = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        callbacks: Sequence[Any] = (),
        backend: str | Backend | None = None,
        dtype: object = None,
    ) -> None:
        keep(self, locals())

    def _objective(self, answers: Any, outputs: int | None) -> tuple[Loss, int]:
        if re.fullmatch(r"[(\[]?\d+[\d,\s]*[)\]]?", str(self.loss)):  # sizes, given by position as to a classifier
            sizes = tuple(map(int, re.findall(r"\d+", str(self.loss))))
            raise TypeError(
                f"loss is the first argument of {type(self).__name__}, and must be a name or a Loss; got "
                f"{shown(self.loss)}. Write hidden_layer_sizes={sizes}."
            )
        return super()._objective(answers, outputs)

    @available_if(Perceptron._steps)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over these examples. The optimizer keeps its state between calls, until the next `fit`.

        Parameters
        ----------
        X, y, sample_weight : array
            As for `fit`.

        Notes
        -----
        As `MLPClassifier.partial_fit`.
        """
        return self._step_on(X, y, sample_weight)
