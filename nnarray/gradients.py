"""The gradient of a loss by backpropagation, for training loops of your own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, overload

from nnarray import kernels
from nnarray.arguments import explained
from nnarray.backends import has_record, namespace, without_record
from nnarray.caller import warn
from nnarray.functional.freezing import frozen_in
from nnarray.functional.propagation import Step, loss_and_gradient
from nnarray.kernels import engines
from nnarray.losses import refuse_records
from nnarray.model import Model
from nnarray.names import shown
from nnarray.random import Key
from nnarray.recording import Traced, stripped, transforms
from nnarray.recording.trees import mapped
from nnarray.training.automatic import decided, loss_or_auto
from nnarray.training.data import prepare
from nnarray.training.faults import naming_both
from nnarray.training.trainee import refuse_other
from nnarray.typing import Array, Inputs


@overload
def value_and_grad(
    model: Model,
    X: Inputs,
    y: Array,
    loss: Any = "auto",
    *,
    sample_weight: Array | None = None,
    training_mode: bool = False,
    key: Key | None = None,
) -> tuple[Array, Array]: ...


@overload
def value_and_grad(
    model: Callable[..., Any], *, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]: ...


@explained
def value_and_grad(
    model: Any,
    X: Any = None,
    y: Any = None,
    loss: Any = "auto",
    *,
    sample_weight: Array | None = None,
    training_mode: bool = False,
    key: Key | None = None,
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
) -> Any:
    """The loss of the model on the given examples, and its gradient with respect to theta, by backpropagation.

    Given a function f instead of a model, and nothing else but `argnums` and `has_aux`, it returns a function of the
    same arguments as f, which returns the value of f and its gradient; see `grad`.

    Parameters
    ----------
    model : Model or callable
    X : array, shape (N, ...)
    y : array
        As for `Model.fit`.
    loss : str or Loss
        "auto" is the loss that the model was trained with, `model.loss`; if it has none, it follows from y.
    sample_weight : array, shape (N,), optional
    training_mode : bool
        Whether layers behave as in training, for example dropout. Layers that draw at random then need `key`.
    key : Key, optional
    argnums, has_aux
        For a function, as in `grad`.

    Returns
    -------
    loss : array, shape ()
    gradient : array, shape of `model.theta`
        For a function: callable, (x, ...) -> (value, gradient), or ((value, results), gradient) with `has_aux`.
        It is 0 for parameters that are frozen (`model.freeze`), so that no optimizer moves them.

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
    >>> value, gradient = nn.value_and_grad(lambda x: nn.namespace(x).sum(x * x))(X)
    >>> bool((gradient == 2.0 * X).all())
    True
    """
    if not isinstance(model, Model):
        if X is None and y is None:
            return transforms.value_and_gradient(model, argnums, has_aux=has_aux)
        if inspect.isroutine(model):
            raise TypeError(
                "value_and_grad of a function returns a function, to which the arguments belong: "
                "nn.value_and_grad(f)(x). Other arguments to differentiate are argnums=."
            )
    if X is None or y is None:
        raise TypeError(
            f"value_and_grad is missing the argument {'X' if X is None else 'y'}. Write value_and_grad(model, X, y)."
        )
    if training_mode and model.state.shape[0]:
        warn(
            "value_and_grad returns no new state, so running statistics do not change. In a training loop of your own, "
            "use nn.training_step and set model.state.",
            UserWarning,
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
        "auto" is the loss that the model was trained with, `model.loss`; if it has none, it follows from y.
    sample_weight : array, shape (N,), optional
    key : Key, optional
        Needed if a layer draws at random.
    step : int or array of an integer, shape ()
        The number of the step. Each step has its own draws.

    Returns
    -------
    Step
        With `loss`, `gradient`, `outputs` and `state`. The gradient is 0 for frozen parameters.

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
    y, weights = stripped(y), stripped(weights)
    differentiable = model.is_differentiable(X)
    values, x_values = model.of_values(), mapped(stripped, X) if model.is_recorded(X) else X
    with naming_both(values, x_values, y, chosen, check_finite=False):
        _, chosen = decided(chosen, values, x_values, y)
        data = prepare(values, x_values, y, weights, chosen, check_finite=False)
    theta, state, x = model.recorded(X) if model.is_recorded(X) else (model.theta, model.state, data.x)
    frozen = model.wiring.params.frozen(model.frozen, values.theta)
    with engines.computing(model.engine):
        result = loss_and_gradient(
            frozen_in(model.wiring, model.frozen) if training else model.wiring,
            kernels.held(without_record(theta), frozen),
            state,
            x,
            data.target,
            data.weights,
            chosen,
            training=training,
            key=key,
            step=step,
            input_gradient=differentiable and (has_record(X) or isinstance(X, Traced)),
        )
    if frozen is not None:
        result = result._replace(gradient=namespace(result.gradient).where(frozen, 0.0, result.gradient))
    inputs: list[Any] = [X] if differentiable else []
    gradients = [result.input_gradient] if differentiable else []
    value = kernels.linked(result.loss, [*inputs, model.theta], [*gradients, result.gradient])
    return result._replace(loss=value)
