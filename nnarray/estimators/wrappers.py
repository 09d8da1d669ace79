"""Any network of this package as an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

from sklearn.utils.metaestimators import available_if

from nnarray.backends import Backend
from nnarray.checks import integer, real
from nnarray.estimators.base import Estimator, Examples, keep
from nnarray.estimators.stopping import Patience, Record
from nnarray.estimators.tasks import Classifies, Regresses
from nnarray.layers.base import Layer
from nnarray.layers.kinds import REAL, words
from nnarray.losses import Loss
from nnarray.model import Model
from nnarray.models.mlp import mlp
from nnarray.names import shown
from nnarray.network import Network
from nnarray.optimizers import Minimiser, optimizer_named, stepwise
from nnarray.typing import Shape


def _of_real_numbers(network: Network) -> Network:
    """The network, if it takes one array of real numbers, which is all that scikit-learn can pass."""
    if network.takes not in (None, REAL):
        raise TypeError(
            f"an estimator trains networks of one array of real numbers; this one takes {words(network.takes)}. "
            f"Train it with model.fit: network.init(...).fit(X, y)."
        )
    return network


class Wrapped(Estimator):
    """A network of the user, trained by `Model.fit`."""

    network: Network | Callable[[int], Network]
    optimizer: Any
    epochs: int
    batch_size: int | None
    tol: float
    n_iter_no_change: int

    _images = True

    def _network(self, outputs: int, shape: Shape) -> Network:
        made = self.network if isinstance(self.network, Network) else self.network(outputs)
        if not isinstance(made, Network):
            raise TypeError(
                f"network must be an nn.Network, or a function of the number of outputs; got {shown(made)}."
            )
        return _of_real_numbers(made)

    def _outputs_given(self, shape: Shape) -> int | None:
        if isinstance(self.network, Network):
            return _of_real_numbers(self.network).out_shape(shape)[-1]
        if callable(self.network) and not isinstance(self.network, Layer | Model):
            return None
        raise TypeError(
            f"network must be an nn.Network, or a function of the number of outputs; got {shown(self.network)}. "
            "For a model, pass model.network."
        )

    def _epochs(self) -> int:
        return integer(self.epochs, "epochs", 1, usual=10)

    def _batch(self, count: int) -> int | None:
        return None if self.batch_size is None else min(integer(self.batch_size, "batch_size", 1, usual=32), count)

    def _rule(self, examples: Examples) -> Minimiser:
        return optimizer_named(self.optimizer)

    def _watch(self, examples: Examples, rule: Minimiser, score: Any) -> Record:
        if score is None:
            return Record(self, examples.size, rule)
        tol = real(self.tol, "tol", least=0.0, usual=1e-4)
        patience = self.n_iter_no_change
        if patience != math.inf:
            patience = integer(patience, "n_iter_no_change", 1, usual=10)
        return Patience(self, examples.size, rule, tol=tol, patience=patience, score=score)

    def _steps(self) -> bool:
        """Whether there is a `partial_fit`."""
        if not stepwise(self.optimizer):
            raise AttributeError("partial_fit needs an optimizer that works on batches, such as 'adam'.")
        return True


class NetworkClassifier(Classifies, Wrapped):
    """Any network as a classifier for scikit-learn, trained by `Model.fit`.

    Parameters
    ----------
    network : Network, or function of the number of outputs that returns one
        Its outputs are logits, one per class or label; for two classes one is enough.
    loss : str or Loss
        "log_loss", which suits labels of every kind, or a loss of this package.
    optimizer : str or Optimizer
    epochs : int
    batch_size : int or None
        The number of examples per step; None for all.
    shuffle : bool
    random_state : int, RandomState or None
        An integer is used as the seed of `Network.init` and of `Model.fit`.
    early_stopping : bool
        Whether to hold out `validation_fraction` of the examples, stratified by class, to stop when their score has
        not improved by `tol` for `n_iter_no_change` epochs, and to restore the best parameters.
    validation_fraction, tol : float
    n_iter_no_change : int
    class_weight : "balanced", mapping of label to number, or None
    warm_start : bool
        Whether `fit` continues from the present parameters.
    verbose : bool
        Whether to print a line per epoch.
    callbacks : sequence of Callback or function of a Run
    backend : str or Backend, optional
        The backend that computes; that of X if None. A Dask array is collected in this process, as a whole.
    dtype : str, optional
        The dtype of X if None.

    Attributes
    ----------
    classes_ : array, shape (K,)
    model_ : Model
    history_ : History
    loss_, best_loss_ : float
    loss_curve_ : list of float
    validation_scores_, best_validation_score_ : list of float, float
    n_iter_, t_, n_outputs_, n_features_in_ : int
    out_activation_ : str

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.estimators import NetworkClassifier
    >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    >>> network = nn.Network(nn.Dense(16, "gelu"), nn.LayerNorm(), nn.Dense(2))
    >>> classifier = NetworkClassifier(network, optimizer=nn.Adam(0.01), epochs=50, random_state=0)
    >>> classifier.fit(X, y).score(X, y) > 0.95
    True
    """

    def __init__(
        self,
        network: Network | Callable[[int], Network] = mlp,
        *,
        loss: str | Loss = "log_loss",
        optimizer: Any = "adam",
        epochs: int = 50,
        batch_size: int | None = 32,
        shuffle: bool = True,
        random_state: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        class_weight: Any = None,
        warm_start: bool = False,
        verbose: bool = False,
        callbacks: Sequence[Any] = (),
        backend: str | Backend | None = None,
        dtype: object = None,
    ) -> None:
        keep(self, locals())

    @available_if(Wrapped._steps)
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
        After an error or Ctrl-C the parameters are those before the call. Callbacks are not called.
        """
        return self._step_on_classes(X, y, sample_weight, classes)


class NetworkRegressor(Regresses, Wrapped):
    """Any network as a regressor for scikit-learn, trained by `Model.fit`.

    Parameters
    ----------
    network : Network, or function of the number of outputs that returns one
    loss : str or Loss
        As for `MLPRegressor`.
    optimizer, epochs, batch_size, shuffle, random_state, early_stopping, validation_fraction, tol, n_iter_no_change
        As in `NetworkClassifier`, like the following parameters.
    warm_start, verbose, callbacks, backend, dtype

    Attributes
    ----------
    model_, history_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, n_iter_, t_
        As in `NetworkClassifier`, like the other attributes.
    out_activation_ : str

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.estimators import NetworkRegressor
    >>> X, y = nn.datasets.sine(100, noise=0.1, seed=0)
    >>> network = nn.Network(nn.Dense(20, "tanh"), nn.Dense(1))
    >>> curve = NetworkRegressor(network, optimizer=nn.Adam(0.03), epochs=300, random_state=0).fit(X, y[:, 0])
    >>> curve.score(X, y[:, 0]) > 0.9
    True
    """

    def __init__(
        self,
        network: Network | Callable[[int], Network] = mlp,
        *,
        loss: str | Loss = "squared_error",
        optimizer: Any = "adam",
        epochs: int = 50,
        batch_size: int | None = 32,
        shuffle: bool = True,
        random_state: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        verbose: bool = False,
        callbacks: Sequence[Any] = (),
        backend: str | Backend | None = None,
        dtype: object = None,
    ) -> None:
        keep(self, locals())

    @available_if(Wrapped._steps)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over these examples. The optimizer keeps its state between calls, until the next `fit`.

        Parameters
        ----------
        X, y, sample_weight : array
            As for `fit`.

        Notes
        -----
        As `NetworkClassifier.partial_fit`.
        """
        return self._step_on(X, y, sample_weight)
