"""Examples on their way into a model: checked once, where they enter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple, Protocol

from nnarray import random
from nnarray.backends import as_data, backend_of, device_of, is_traced, same_place, without_record
from nnarray.checks import real, refuse_narrowed, refuse_overflow
from nnarray.datasets.sources import Placed, Source, as_source
from nnarray.functional.propagation import Wiring
from nnarray.kernels.compilation import quiet
from nnarray.layers.base import Layer
from nnarray.layers.containers import heads_in, last_activation
from nnarray.losses import Loss, combined_weights
from nnarray.random import Key
from nnarray.training.callbacks import History
from nnarray.typing import Array, Shape

FINITE_REMEDY = "Remove or repair these entries, or pass check_finite=False."


class Trainee(Protocol):
    """What training needs of a model."""

    wiring: Wiring
    frozen: frozenset[str]
    history: History
    metadata: dict[str, Any]

    @property
    def theta(self) -> Array:
        """All parameters as one vector, shape (p,)."""
        ...

    @property
    def state(self) -> Array:
        """What layers keep from step to step, such as running averages, as one vector."""
        ...

    @property
    def input_shape(self) -> Shape:
        """The shape of one example, without the batch axis."""
        ...

    @property
    def output_shape(self) -> Shape:
        """The shape of the outputs for one example, without the batch axis."""
        ...

    def predict(
        self, X: Array | Source, *, batch_size: int | None = None, check_finite: bool = True, engine: str | None = None
    ) -> Array:
        """The outputs for the examples X, shape (N, ...)."""
        ...

    def snapshot(self) -> tuple[Array, Array]:
        """Copies of the parameters and of the state, for `restore`."""
        ...

    def restore(self, kept: tuple[Array, Array]) -> None:
        """Take back the parameters and the state that `snapshot` gave."""


@dataclass(frozen=True)
class InMemory(Source):
    """The rows of one array; None is all of them, the array itself."""

    x: Array

    @property
    def shape(self) -> Shape:
        """The shape of the array."""
        return self.x.shape

    def rows(self, indices: Any) -> Array:
        """The examples at `indices`."""
        return pick(self.x, indices)


class Data(NamedTuple):
    """Examples as a step reads them: inputs in the model's dtype, the target as the loss prepared it."""

    inputs: InMemory | Placed
    target: Array
    weights: Array | None
    y: Array

    @property
    def examples(self) -> int:
        """How many there are."""
        return len(self.inputs)

    @property
    def x(self) -> Array:
        """All inputs in one array, for what takes all of them at once: those of a file are read now."""
        return self.inputs.rows(None)

    def batch(self, rows: Any) -> tuple[Array, Array, Array | None]:
        """The inputs, the target and the weights of these rows."""
        weights = None if self.weights is None else pick(self.weights, rows)
        return self.inputs.rows(rows), pick(self.target, rows), weights


def check_inputs(model: Trainee, X: Any, name: str = "X", *, of_y: Shape = ()) -> Array:
    """`X` in the model's dtype, if it has the model's library, device and input shape.

    `of_y` is the shape of the labels, if there are any: what is wrong shows in both.

    Raises
    ------
    TypeError
        If it is no array, of another library, or not made of real numbers.
    ValueError
        If it is on another device or has another shape.
    """
    X = as_data(X, name)
    xp = same_place(model=model.theta, **{name: X})
    _refuse_shape(model, tuple(X.shape), name, of_y)
    return X if X.dtype == model.theta.dtype else xp.astype(X, model.theta.dtype)


def _refuse_shape(model: Trainee, shape: Shape, name: str, of_y: Shape) -> None:
    if shape[1:] != model.input_shape or not shape:
        batch = "(batch, " + ", ".join(map(str, model.input_shape)) + ")"
        raise ValueError(
            f"the network expects {batch}, examples of shape {model.input_shape}; "
            f"got {name} of shape {shape}.{_fitting(shape, model.input_shape, of_y)}"
        )


def _fitting(shape: Shape, wanted: Shape, of_y: Shape) -> str:
    """What makes inputs of `shape` fit to a network for examples of the shape `wanted`."""
    labelled = of_y[:1] == shape[:1] != ()
    if labelled and of_y[1:] == wanted:
        return " Have X and y changed places?"
    single = " For a single example, use X[None, ...]." if shape == wanted and not labelled else ""
    if len(shape) == len(wanted) > 1 and shape[1:] == wanted[1:]:
        return f"{single} Was the network made by init(X.shape)? Make it by init(X.shape[1:]), for one example."
    if single:
        return single
    if (*shape[1:], 1) == wanted:
        return f" Give examples an axis for their one {'feature' if len(wanted) == 1 else 'channel'}: X[..., None]."
    if len(shape) == 1 and labelled:
        return " For examples of one feature, use X[:, None], and make the network by init((1,))."
    if len(wanted) == 1 and len(shape) == 2 and shape[0] == wanted[0] and not labelled:
        return " Each row must be an example: use X.T."
    if len(wanted) == 3 and (*shape[2:], *shape[1:2]) == wanted:
        return " Channels come last: use xp.permute_dims(X, (0, 2, 3, 1)), where xp = nn.namespace(X)."
    return f" Or make the network for these: init({shape[1:]})." if labelled else ""


@quiet  # what overflows is reported by an error
def finite_inputs(model: Trainee, X: Any, name: str = "X", *, of_y: Shape = ()) -> Array:
    """As `check_inputs`; refuses NaN, infinity, and what the model's dtype cannot hold. Waits for the device."""
    x = check_inputs(model, X, name, of_y=of_y)
    if not is_traced(x):
        refuse_overflow(x, X, name, FINITE_REMEDY)
    return x


def placed(model: Trainee, given: Any) -> Any:
    """A source, or a mapped file, as one that gives its rows where the model is; an array as it is."""
    if isinstance(given, InMemory | Placed):
        return given
    source = as_source(given)
    return given if source is None else Placed(source, backend_of(model.theta))


def whole(model: Trainee, given: Any) -> Any:
    """All of a source, or of a mapped file, where the model is; an array as it is."""
    there = placed(model, given)
    return there.rows(None) if isinstance(there, Source) else there


def inputs_of(model: Trainee, X: Any, name: str = "X", *, check_finite: bool, of_y: Shape = ()) -> InMemory | Placed:
    """`X`, an array or a source, checked as by `finite_inputs` or `check_inputs`: a source part by part."""
    X = placed(model, X)
    if isinstance(X, InMemory):
        return X
    if not isinstance(X, Placed):
        return InMemory((finite_inputs if check_finite else check_inputs)(model, X, name, of_y=of_y))
    _refuse_shape(model, X.shape, name, of_y)
    parts = X.parts() if check_finite else []
    for part in parts:
        finite_inputs(model, X.rows(part), name if len(parts) == 1 else f"{name}[{part.start}:{part.stop}]")
    return replace(X, dtype=model.theta.dtype)


def in_parts(inputs: InMemory | Placed) -> Iterator[Array]:
    """All examples, as many at once as are in memory anyway, or fit there."""
    return map(inputs.rows, inputs.parts() if isinstance(inputs, Placed) else [None])


@quiet  # what overflows is reported by an error
def prepare(
    model: Trainee,
    X: Any,
    y: Any,
    weights: Any,
    loss: Loss,
    *,
    check_finite: bool = True,
    names: str = "X y sample_weight",
) -> Data:
    """Check the examples once, where they enter, and bring them into the form that a step reads: without a record."""
    x_name, y_name, w_name = names.split()
    _refuse_probabilities(model.wiring.network, loss)
    y = without_record(as_data(whole(model, y), y_name))
    inputs = inputs_of(model, X, x_name, check_finite=check_finite, of_y=tuple(y.shape))
    if isinstance(inputs, InMemory):
        inputs = _in_memory(inputs.x, X, x_name, check_finite)
    weights = None if weights is None else without_record(_as_weights(whole(model, weights), w_name))
    place = inputs.x if isinstance(inputs, InMemory) else model.theta
    xp = same_place(**{x_name: place, y_name: y, w_name: weights})
    if len(inputs) == 0:
        raise ValueError(f"{x_name} holds no examples: its shape is {tuple(X.shape)}. At least one is needed.")
    _refuse_other_length(inputs.shape, x_name, y, y_name)
    target, own = loss.prepare(y, (len(inputs), *model.output_shape), place.dtype)
    return Data(inputs, target, combined_weights(xp, own, weights, len(inputs), place.dtype, w_name), y)


def _in_memory(x: Array, given: Any, name: str, check_finite: bool) -> InMemory:
    """Without a record; what `check_finite` has not looked at is refused if the model's dtype cannot hold it."""
    x = without_record(x)
    if not check_finite and not is_traced(x):
        refuse_narrowed(x, without_record(as_data(given, name)), name)
    return InMemory(x)


def _as_weights(weights: Any, name: str) -> Array:
    if isinstance(weights, Mapping):
        raise TypeError(
            f"{name} must be an array, one number an example; got {type(weights).__name__}. Classes are weighted by "
            f"the loss: loss=nn.losses.CrossEntropy(class_weights=(1.0, 9.0))."
        )
    return as_data(weights, name)


def _refuse_probabilities(network: Layer, loss: Loss) -> None:
    """A loss that takes logits must not be given what an activation has made of them."""
    spoiled = [last for last in map(last_activation, (network, *heads_in(network))) if last in loss.not_after]
    if spoiled:
        raise ValueError(
            f"the network ends in {spoiled[0]!r}, and {loss.label} takes logits: it applies its own. Leave out the "
            f"last activation. {loss.answer}"
        )


def _refuse_other_length(shape: Shape, name: str, other: Array, other_name: str) -> None:
    count = shape[0]
    if other.ndim > 0 and other.shape[0] == count:
        return
    hint = ""
    if len(shape) > 2 and count == 1 and shape[1:2] == other.shape[:1]:
        inner = tuple(shape[2:])
        hint = f" Its second axis has that length: pass {name}[0, ...], and make the network by init({inner})."
    raise ValueError(
        f"{name} has {count} examples and {other_name} has shape {tuple(other.shape)}; make their lengths equal.{hint}"
    )


def pick(x: Array, rows: Any) -> Array:
    """The examples of these rows: all for None, a slice, or indices on the device."""
    if rows is None:
        return x
    return x[rows, ...] if isinstance(rows, slice) else same_place(x=x).take(x, rows, axis=0)


def validation_split(X: Any, y: Any, weights: Any, validation: Any, key: Key) -> tuple[Any, Any, Any, Any]:
    """A fraction becomes a random part of the examples; X is an array, or `Placed`."""
    if not isinstance(validation, Real):
        return X, y, weights, validation
    fraction = real(validation, "validation", least=0.0, below=1.0, usual=0.2)
    read, y = isinstance(X, Placed), as_data(y, "y")
    X = X if read else as_data(X, "X")
    weights = None if weights is None else _as_weights(weights, "sample_weight")
    xp = same_place(X=None if read else X, y=y, sample_weight=weights)
    if not X.shape:
        raise ValueError(
            "X must have an axis of examples, (batch, ...); got shape (). For one example, use X[None, ...]."
        )
    count = X.shape[0]
    for name, other in (("y", y), ("sample_weight", weights)):
        if other is not None:  # a row that is not there might be made up by the library that picks it
            _refuse_other_length(tuple(X.shape), "X", other, name)
    part = round(fraction * count)
    if not 0 < part < count:
        raise ValueError(
            f"validation={validation!r} of {count} examples leaves {part} to validate and {count - part} to train. "
            f"Give more examples, or another fraction."
        )
    order = random.permutation(key.fold("validation"), count, xp=xp, device=device_of(y))
    held, kept = order[:part], order[part:]
    X_held, X_kept = (X.only(rows) if isinstance(X, Placed) else pick(X, rows) for rows in (held, kept))
    held_out = (X_held, pick(y, held)) + (() if weights is None else (pick(weights, held),))
    return X_kept, pick(y, kept), None if weights is None else pick(weights, kept), held_out
