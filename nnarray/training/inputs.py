"""Inputs of a model: arrays, sources, or a mapping of them, checked once, where they enter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

from nnarray import kernels
from nnarray.backends import as_data, backend_of, dtype_name, flag_of, is_traced, same_place, without_record
from nnarray.caller import warn
from nnarray.checks import refuse_narrowed, refuse_outside, refuse_overflow
from nnarray.datasets.sources import Placed, Source, as_source
from nnarray.datasets.streams import Stream, as_stream
from nnarray.kernels.compilation import quiet
from nnarray.layers.kinds import REAL, Spec, arrays_in
from nnarray.names import converted, shown
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Shape

FINITE_REMEDY = "Remove or repair these entries, or pass check_finite=False."


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

    def only(self, indices: Array) -> InMemory:
        """Only these examples, in this order."""
        return InMemory(pick(self.x, indices))


@dataclass(frozen=True)
class Named(Source):
    """Several inputs by name, with corresponding rows."""

    inputs: dict[str, Any]

    @property
    def shape(self) -> Shape:
        """The number of examples; the other properties are those of each input."""
        return (len(next(iter(self.inputs.values()))),)

    def rows(self, indices: Any) -> dict[str, Any]:
        """The examples at `indices`, by name."""
        return {name: each.rows(indices) for name, each in self.inputs.items()}

    def only(self, indices: Array) -> Named:
        """Only these examples, in this order."""
        return Named({name: each.only(indices) for name, each in self.inputs.items()})


Inputs: TypeAlias = InMemory | Placed | Named


class Block(NamedTuple):
    """Rows that follow one another, from one on whose number is on the device."""

    first: Array
    length: int


def in_a_batch(rows: Array, size: int | None) -> Any:
    """The rows of a batch as `pick` takes them: these, or a block of `size` rows if there is only its first one."""
    if rows.ndim:
        return rows
    assert size is not None
    return Block(rows, size)


def pick(x: Any, rows: Any) -> Any:
    """The examples of these rows, of each input: all for None, a slice, a block, or indices on the device."""
    if rows is None:
        return x
    if isinstance(x, Mapping):
        return {name: pick(each, rows) for name, each in x.items()}
    if isinstance(rows, Block):
        return kernels.block(x, rows.first, count=rows.length)
    return x[rows, ...] if isinstance(rows, slice) else same_place(x=x).take(x, rows, axis=0)


def placed(model: Trainee, x: Any) -> Any:
    """Sources and mapped files become sources on the model's device; arrays are not changed."""
    if isinstance(x, InMemory | Placed | Named):
        return x
    if isinstance(x, Mapping):
        return {name: placed(model, each) for name, each in x.items()}
    source = as_source(x)
    return x if source is None else Placed(source, backend_of(model.theta))


def whole(model: Trainee, x: Any) -> Any:
    """All of a source or mapped file as an array on the model's device; an array is not changed."""
    moved = placed(model, x)
    return moved.rows(None) if isinstance(moved, Source) else moved


def by_name(given: Any, wanted: Mapping[str, Any], name: str) -> list[tuple[str, Any, Any, str]]:
    """Each input with its name, its spec, and its name in errors.

    Raises
    ------
    TypeError, ValueError
        If they are not passed by name, or one is missing or unknown.
    """
    example = ", ".join(f"{each!r}: ..." for each in wanted)
    if not isinstance(given, Mapping):
        raise TypeError(f"the network takes inputs by name; got {shown(given)}. Pass {name}={{{example}}}.")
    missing, unknown = [n for n in wanted if n not in given], [n for n in given if n not in wanted]
    if missing or unknown:
        raise ValueError(f"{name} does not fit: missing {missing}, unknown {unknown}. Pass {name}={{{example}}}.")
    return [(each, given[each], wanted[each], f"{name}[{each!r}]") for each in wanted]


def check_inputs(model: Trainee, X: Any, name: str = "X", *, of_y: Shape = ()) -> Any:
    """`X`, checked to have the model's library, device and input shape, with real numbers in the model's dtype.

    `of_y` is the shape of the labels, if there are any: it helps to find the fault.

    Raises
    ------
    TypeError
        If it is not an array, or has another library or another kind of numbers.
    ValueError
        If it is on another device or has another shape.
    """
    if isinstance(model.inputs, Spec):
        return _checked(model, X, model.inputs, name, of_y)
    checked = _all(X, model.inputs, name, lambda x, spec, at: _checked(model, x, spec, at, of_y))
    _aligned(checked, name)
    return checked


def check_positions(model: Trainee, X: Any, name: str, batch: int) -> Any:
    """`X`, checked as by `check_inputs`, but with any number of positions above 0: the axis after the batch.

    Raises
    ------
    TypeError, ValueError
        As `check_inputs`; or if there is no position, or another number of sequences than `batch`.
    """
    checked = _all(X, model.inputs, name, lambda x, spec, at: _checked_part(model, x, spec, at))
    if not isinstance(model.inputs, Spec):
        _aligned(checked, name)
    given = {tuple(x.shape[:2]) for x in arrays_in(checked)}
    if len(given) > 1:
        raise ValueError(f"all inputs must have the same number of positions; got {sorted(given)}. Make them equal.")
    rows = given.pop()[0]
    if rows != batch:
        raise ValueError(
            f"the cache is for {batch} sequence{'s' * (batch != 1)}; got {rows} in {name}. Make one for as many: "
            f"model.new_cache({rows})."
        )
    return checked


def _checked_part(model: Trainee, X: Any, spec: Spec, name: str) -> Array:
    """One input, (batch, t, ...), where the network may have been made for another t."""
    shape = tuple(getattr(X, "shape", ()))
    if len(shape) == len(spec.shape) and len(shape) > 0:
        raise ValueError(
            f"{name} must have shape (batch, t, ...), a part of each sequence; got {shape}. For a single sequence, "
            f"use {name}[None, ...]."
        )
    if shape[1:2] == (0,):
        raise ValueError(f"{name} must have at least one position; got shape {shape}. Pass the first token at least.")
    return _checked(model, X, spec._replace(shape=(*shape[1:2], *spec.shape[1:])), name, ())


def _all(given: Any, wanted: Any, name: str, check: Callable[[Any, Spec, str], Any]) -> Any:
    """The result of `check` for each input."""
    if isinstance(wanted, Spec):
        return check(given, wanted, name)
    return {each: _all(x, spec, called, check) for each, x, spec, called in by_name(given, wanted, name)}


def _aligned(inputs: Mapping[str, Any], name: str) -> None:
    """Refuse inputs by name with different numbers of examples."""
    lengths = dict(_lengths(inputs, name))
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{length} in {called}" for called, length in lengths.items())
        raise ValueError(f"all inputs must have the same number of rows; got {each}. Make them equal.")


def _lengths(inputs: Any, name: str) -> Iterator[tuple[str, int]]:
    if isinstance(inputs, Mapping):
        for each, x in inputs.items():
            yield from _lengths(x, f"{name}[{each!r}]")
    else:
        yield name, inputs.shape[0]


def _checked(model: Trainee, X: Any, spec: Spec, name: str, of_y: Shape) -> Array:
    if isinstance(X, Mapping):
        raise TypeError(
            f"the network takes one array; got {name}, a mapping of {', '.join(map(shown, X))}. Pass one of its "
            f"arrays, or begin the network with nn.Inputs."
        )
    X = _array(X, name, model, spec)
    xp = same_place(model=model.theta, **{name: X})
    refuse_shape(spec.shape, tuple(X.shape), name, of_y)
    if spec.kind.name == "real":
        return X if X.dtype == model.theta.dtype else xp.astype(X, model.theta.dtype)
    wanted, remedy = ("bool", f"{name} != 0")
    if spec.kind.name == "integer":
        wanted, remedy = (
            "integral",
            f"{converted(name)}, if all are integers",
        )
    if not xp.isdtype(X.dtype, wanted):
        raise TypeError(f"{name} must hold {spec.kind}; got dtype {dtype_name(X.dtype)}. Convert it first: {remedy}.")
    return X


def _array(X: Any, name: str, model: Trainee, spec: Spec) -> Array:
    """`X`, an array of numbers; batches are refused with what takes them."""
    if not hasattr(type(X), "shape") and as_stream(X) is not None:  # of the type: some arrays refuse to say theirs
        raise TypeError(
            f"{name} must be an array; got batches, {shown(X)}. model.fit and model.evaluate take them; else pass "
            f"the arrays of each batch: [model.predict(X) for X, y in batches]."
        )
    if isinstance(X, Real) and spec.shape == (1,):
        raise TypeError(
            f"{name} must be an array, shape (N, 1); got the number {X}. For one example of one feature, write "
            f"nn.backend({flag_of(model.theta)!r}).asarray([[{X}]])."
        )
    return as_data(X, name, model.theta)


def refuse_shape(wanted: Shape, shape: Shape, name: str, of_y: Shape = ()) -> None:
    """Refuse examples of a shape that the network does not take, and suggest a remedy."""
    if shape[1:] != wanted or not shape:
        batch = "(batch, " + ", ".join(map(str, wanted)) + ")"
        raise ValueError(
            f"the network expects {batch}, examples of shape {wanted}; "
            f"got {name} of shape {shape}.{_fitting(shape, wanted, of_y, name)}"
        )


def _fitting(shape: Shape, wanted: Shape, of_y: Shape, name: str) -> str:
    """The remedy for inputs of `shape` if a network takes examples of the shape `wanted`."""
    labelled = of_y[:1] == shape[:1] != ()
    if labelled and of_y[1:] == wanted and (*shape[1:], 1) != wanted:
        return " Were X and y swapped?"
    single = " For a single example, use X[None, ...]." if shape == wanted and not labelled else ""
    if len(shape) == len(wanted) > 1 and shape[1:] == wanted[1:]:
        return (
            f"{single} Was the network made by init(X.shape)? Make it with the shape of one example, init(X.shape[1:])."
        )
    if single:
        return single
    if (*shape[1:], 1) == wanted:
        kind, rest = ("feature", ":") if len(wanted) == 1 else ("channel", "...")
        return f" Add an axis for the one {kind} of the examples: X[{rest}, None]."
    if len(shape) == 1 and labelled:
        return " For examples of one feature, use X[:, None], and make the network with init((1,))."
    if len(wanted) == 1 and len(shape) == 2 and shape[0] == wanted[0] and not labelled:
        return " Each row must be an example: use X.T."
    if len(wanted) == 3 and (*shape[2:], *shape[1:2]) == wanted:
        return " Channels come last: X = nn.namespace(X).permute_dims(X, (0, 2, 3, 1))."
    if "[" in name:  # one of several inputs; the others have shapes too
        return ""
    return f" Or make the network for these examples: init({shape[1:]})." if labelled else ""


@quiet  # what overflows is reported by an error
def _searched(model: Trainee, X: Any, spec: Spec, name: str, of_y: Shape) -> Array:
    """As `_checked`; also refuses NaN, infinity, numbers beyond the model's dtype, and integers out of range."""
    x = _checked(model, X, spec, name, of_y)
    if spec.kind.name == "integer":
        refuse_outside(x, name, spec.kind.below)
    elif not is_traced(x):
        refuse_overflow(x, X, name, FINITE_REMEDY)
        if is_bytes(X):
            warn_of_bytes(x, name, model.history.settings)
    return x


def is_bytes(x: Any) -> bool:
    """Whether an array holds integers from 0 to 255, as images from files do."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and dtype_name(dtype) == "uint8"


KINDS = "inputs"
"""The name of the setting in the history that says whether a training saw bytes; it is not there if it saw none."""


def kinds_of(model: Trainee, X: Any) -> dict[str, str]:
    """What the history notes of the inputs of a training: "uint8", or "unknown" before they are read; else nothing."""
    if isinstance(X, Stream):
        return {KINDS: "unknown"}
    found = [_has_bytes(x) for x in arrays_in(placed(model, X))]
    if any(found):
        return {KINDS: "uint8"}
    return {KINDS: "unknown"} if None in found else {}


def _has_bytes(x: Any) -> bool | None:
    """Whether it holds bytes; None of a source that only its own rows would say it of."""
    array = getattr(x.source, "array", None) if isinstance(x, Placed) else x
    return None if array is None else is_bytes(array)


def warn_of_bytes(x: Array, name: str, settings: Mapping[str, Any]) -> None:
    """Warn of numbers from 0 to 255 after a training that saw real numbers. Waits for the device."""
    if not settings or KINDS in settings or 0 in x.shape:
        return
    highest = float(same_place(x=x).max(x))
    if highest > 1.0:
        warn(
            f"{name} has the dtype uint8 and values up to {highest:g}, but the model was trained on real numbers. The "
            f"values are taken as they are. Prepare {name} as for the training, such as {name} / 255."
        )


def inputs_of(model: Trainee, X: Any, name: str = "X", *, check_finite: bool, of_y: Shape = ()) -> Inputs:
    """`X`, arrays or sources, checked as by `check_inputs`; a source part by part.

    With `check_finite`, NaN, infinity, numbers beyond the model's dtype and integers out of range are refused too; for
    this the host waits for the device.
    """
    X = placed(model, X)
    if isinstance(X, InMemory | Named) or (isinstance(X, Placed) and X.checked):
        return X
    return _checked_inputs(model, X, model.inputs, name, check_finite, of_y)


def _checked_inputs(model: Trainee, X: Any, wanted: Any, name: str, check_finite: bool, of_y: Shape) -> Inputs:
    if not isinstance(wanted, Spec):
        each = by_name(X, wanted, name)
        inputs = {n: _checked_inputs(model, x, spec, at, check_finite, of_y) for n, x, spec, at in each}
        _aligned(inputs, name)
        return Named(inputs)
    check = _searched if check_finite else _checked
    if not isinstance(X, Placed):
        return InMemory(check(model, X, wanted, name, of_y))
    refuse_shape(wanted.shape, X.shape, name, of_y)
    parts = X.parts() if check_finite else []
    for part in parts:
        check(model, X.rows(part), wanted, name if len(parts) == 1 else f"{name}[{part.start}:{part.stop}]", of_y)
    return replace(X, dtype=model.theta.dtype if wanted.kind == REAL else None, checked=True)


def entered(model: Trainee, X: Any, name: str, *, check_finite: bool, of_y: Shape) -> Inputs:
    """As `inputs_of`, for training: without a gradient record.

    Without `check_finite`, numbers beyond the model's dtype are still refused.
    """
    inputs = inputs_of(model, X, name, check_finite=check_finite, of_y=of_y)
    return inputs if inputs is X else _without_records(inputs, X, name, check_finite)


def _without_records(inputs: Inputs, given: Any, name: str, check_finite: bool) -> Inputs:
    if isinstance(inputs, Named):
        each = by_name(given, inputs.inputs, name)
        return Named({n: _without_records(x, own, at, check_finite) for n, own, x, at in each})
    if isinstance(inputs, Placed):
        return inputs
    x = without_record(inputs.x)
    if not check_finite and not is_traced(x):
        refuse_narrowed(x, without_record(as_data(given, name)), name)
    return InMemory(x)


def joined_batches(model: Trainee, batches: Stream) -> tuple[Any, ...]:
    """All batches of an epoch as one, on the model's device: X and y, and the weights if they have some."""
    be = backend_of(model.theta)

    def joined(parts: Sequence[Any]) -> Any:
        if isinstance(parts[0], Mapping):
            return {name: joined([part[name] for part in parts]) for name in parts[0]}
        return be.xp.concat([be.asarray(part) for part in parts], axis=0)

    return tuple(map(joined, zip(*batches.epoch(0), strict=True)))


def parts_of(inputs: Inputs) -> list[Any]:
    """Slices of all examples, as many rows at once as are in memory or fit there."""
    if isinstance(inputs, Named):
        return max(map(parts_of, inputs.inputs.values()), key=len)
    return inputs.parts() if isinstance(inputs, Placed) else [None]
