"""The gradient of a loss by backpropagation, for training loops of your own."""

from __future__ import annotations

import warnings
from typing import Any

from nnarray import kernels
from nnarray.arguments import explained
from nnarray.backends import has_record, without_record
from nnarray.functional.propagation import Step, loss_and_gradient
from nnarray.kernels import engines
from nnarray.losses import refuse_records
from nnarray.model import Model
from nnarray.names import shown
from nnarray.random import Key
from nnarray.training.automatic import decided, loss_or_auto
from nnarray.training.data import prepare
from nnarray.training.trainee import refuse_other
from nnarray.typing import Array, Inputs


@explained
def value_and_grad(
    model: Model,
    X: Inputs,
    y: Array,
    loss: Any = "auto",
    *,
    sample_weight: Array | None = None,
    training_mode: bool = False,
    key: Key | None = None,
) -> tuple[Array, Array]:
    """The loss of the model on the given examples, and its gradient with respect to theta, by backpropagation.

    Parameters
    ----------
    model : Model
    X : array, shape (N, ...)
    y : array
        As for `Model.fit`.
    loss : str or Loss
    sample_weight : array, shape (N,), optional
    training_mode : bool
        Whether layers behave as in training, for example dropout. Layers that draw at random then need `key`.
    key : Key, optional

    Returns
    -------
    loss : array, shape ()
    gradient : array, shape of `model.theta`

    Raises
    ------
    TypeError, ValueError
        As `Model.fit`.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors. Nature 323.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
    >>> value, gradient = nn.value_and_grad(model, X, y, loss="cross_entropy")
    >>> gradient.shape == model.theta.shape
    True
    """
    if training_mode and model.state.shape[0]:
        warnings.warn(
            "value_and_grad returns no new state, so running statistics do not change. In a training loop of your own, "
            "use nn.training_step and set model.state.",
            stacklevel=3,
        )
    step = _propagated(model, X, y, loss, sample_weight, training=training_mode, key=key)
    return step.loss, step.gradient


@explained
def training_step(
    model: Model,
    X: Inputs,
    y: Array,
    loss: Any = "auto",
    *,
    sample_weight: Array | None = None,
    key: Key | None = None,
    step: Any = 0,
) -> Step:
    """The training loss, its gradient by backpropagation, and the new state. The model does not change.

    Layers behave as in `Model.fit`: dropout is active, and batch normalisation uses the statistics of the batch.

    Parameters
    ----------
    model : Model
    X : array, shape (N, ...)
    y : array
        As for `Model.fit`.
    loss : str or Loss
    sample_weight : array, shape (N,), optional
    key : Key, optional
        Needed if a layer draws at random.
    step : int or array of an integer, shape ()
        The number of the step. Each step has its own draws.

    Returns
    -------
    Step
        With `loss`, `gradient`, `outputs` and `state`.

    Raises
    ------
    TypeError, ValueError
        As `Model.fit`.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    >>> model = nn.Network(nn.Dense(5), nn.BatchNorm(), nn.Activation("tanh"), nn.Dense(2)).init((2,), seed=0)
    >>> optimizer = nn.Adam(0.05)
    >>> slots = optimizer.slots(model.theta)
    >>> for step in range(100):
    ...     found = nn.training_step(model, X, y)
    ...     model.theta, slots = optimizer.step(model, found.gradient, slots, step)
    ...     model.state = found.state
    >>> float(nn.metrics.accuracy(model(X), y)) > 0.9
    True
    """
    return _propagated(model, X, y, loss, sample_weight, training=True, key=key, step=step)


def _propagated(
    model: Model, X: Inputs, y: Array, loss: Any, weights: Any, *, training: bool, key: Key | None, step: Any = 0
) -> Step:
    refuse_other(model, "nn.value_and_grad(model, X, y)")
    if key is not None and not isinstance(key, Key):
        raise TypeError(f"key must be an nn.Key; got {shown(key)}. Make one from a seed: key=nn.Key(0).")
    chosen = loss_or_auto(loss)
    refuse_records(y=y, sample_weight=weights)
    _, chosen = decided(chosen, model, X, y)
    differentiable = model.is_differentiable(X)
    data = prepare(model, X, y, weights, chosen, check_finite=False)
    with engines.computing(model.engine):
        result = loss_and_gradient(
            model.wiring,
            without_record(model.theta),
            model.state,
            data.x,
            data.target,
            data.weights,
            chosen,
            training=training,
            key=key,
            step=step,
            input_gradient=differentiable and has_record(X),
        )
    inputs: list[Any] = [X] if differentiable else []
    gradients = [result.input_gradient] if differentiable else []
    value = kernels.linked(result.loss, [*inputs, model.theta], [*gradients, result.gradient])
    return result._replace(loss=value)
