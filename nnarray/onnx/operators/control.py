"""Graphs inside of operators: branches, loops, and scans; sequences and optional values."""

from __future__ import annotations

from typing import Any

from nnarray.backends import host_backend
from nnarray.layers.tensors import Tensor
from nnarray.onnx.operators.common import Call, axis_of, room, space, whole
from nnarray.onnx.operators.shapes import parts_of
from nnarray.onnx.operators.table import operator


def _truth(x: Any) -> bool:
    return bool(x.reshape(-1)[0]) if x.ndim else bool(x)


@operator("If", reads=(0,), dynamic=True)
def branch(condition: Any, *, then_branch: Any, else_branch: Any) -> Any:
    """One of two graphs."""
    return tuple(then_branch() if _truth(condition) else else_branch())


@operator("Loop", reads=(0, 1), dynamic=True)
def loop(call: Call, count: Any, condition: Any, *carried: Any, body: Any) -> Any:
    """A graph again and again, with what it carries from one turn to the next, and the outputs of all turns."""
    state, outputs, turn = list(carried), list[list[Any]](), 0
    goes_on = condition is None or _truth(condition)
    most = None if count is None else whole(count)[0]
    while goes_on and (most is None or turn < most):
        after, *rest = body(*counters(turn), *state)
        state, own = rest[: len(carried)], rest[len(carried) :]
        outputs = [[*old, new] for old, new in zip(outputs or [[] for _ in own], own, strict=True)]
        goes_on, turn = _truth(call.read(after)), turn + 1
    if not outputs:
        outputs = [[] for _ in range(call.outputs - len(carried))]
    return *state, *(_stacked(call, each) for each in outputs)


def counters(turn: int) -> tuple[Any, Any]:
    """The number of a turn, and that it goes on, on the host: they are read as numbers in most graphs."""
    host = host_backend()
    return host.xp.asarray(turn, dtype=host.xp.int64), host.xp.asarray(True)


def _stacked(call: Call, parts: list[Any]) -> Any:
    if not parts:
        return call.full((0,), 0.0, call.dtype("float32"))
    return space(*parts).stack(parts, axis=0)


@operator("Scan", 9)
def scan(
    call: Call,
    *arrays: Any,
    body: Any,
    num_scan_inputs: int,
    scan_input_axes: Any = None,
    scan_input_directions: Any = None,
    scan_output_axes: Any = None,
    scan_output_directions: Any = None,
) -> Any:
    """A graph for each part along an axis of some arrays, with what it carries from one part to the next."""
    if not 1 <= num_scan_inputs <= len(arrays):
        raise ValueError(
            f"num_scan_inputs must be from 1 to the number of inputs, {len(arrays)}; got {num_scan_inputs}"
        )
    first = len(arrays) - num_scan_inputs
    state, scanned = list(arrays[:first]), arrays[first:]
    axes = scan_input_axes or (0,) * num_scan_inputs
    turns = scan_input_directions or (0,) * num_scan_inputs
    parts = [_parts(x, axis_of(axis, x.ndim), turn) for x, axis, turn in zip(scanned, axes, turns, strict=True)]
    outputs: list[list[Any]] = [[] for _ in range(call.outputs - first)]
    for each in zip(*parts, strict=True):
        found = body(*state, *each)
        state = list(found[:first])
        for own, new in zip(outputs, found[first:], strict=True):
            own.append(new)
    ends = scan_output_axes or (0,) * len(outputs)
    turns = scan_output_directions or (0,) * len(outputs)
    if not all(outputs):
        raise ValueError("an axis of length 0 has no parts to compute with")
    stacked = [
        space(*own).stack(own[::-1] if turn else own, axis=axis if axis >= 0 else axis + own[0].ndim + 1)
        for own, axis, turn in zip(outputs, ends, turns, strict=True)
    ]
    return *state, *stacked


@operator("Scan", 8)
def scan_of_batches(
    call: Call, lengths: Any, *arrays: Any, body: Any, num_scan_inputs: int, directions: Any = None
) -> Any:
    """As the later version, for each example of a batch."""
    if lengths is not None:
        raise ValueError("Scan of version 8 with lengths of sequences is not supported; export it with version 9")
    many = [
        scan(
            call,
            *(x[i, ...] for x in arrays),
            body=body,
            num_scan_inputs=num_scan_inputs,
            scan_input_directions=directions,
        )
        for i in range(arrays[0].shape[0])
    ]
    return tuple(space(*each).stack(list(each), axis=0) for each in zip(*many, strict=True))


def _parts(x: Any, axis: int, turn: int) -> list[Any]:
    key = (slice(None),) * axis
    places = range(x.shape[axis])
    return [x[(*key, i, ...)] for i in (reversed(places) if turn else places)]


# --- Sequences: tuples of arrays --------------------------------------------------------------------------------------


@operator("SequenceEmpty", 11)
def sequence_empty(*, dtype: int = 1) -> Any:
    """No arrays."""
    return ((),)


@operator("SequenceConstruct", 11)
def sequence_construct(*arrays: Any) -> Any:
    """Arrays as a sequence."""
    return (arrays,)


def _position(position: Any, size: int, *, end: bool = False) -> int:
    at = whole(position)[0]
    if not -size <= at < size + end:
        raise ValueError(f"position {at} is not in a sequence of {size} arrays")
    return at + size if at < 0 else at


@operator("SequenceAt", 11, reads=(1,))
def sequence_at(sequence: Any, position: Any) -> Any:
    """One array of a sequence."""
    return sequence[_position(position, len(sequence))]


@operator("SequenceInsert", 11, reads=(2,))
def sequence_insert(sequence: Any, array: Any, position: Any = None) -> Any:
    """A sequence with one more array."""
    at = len(sequence) if position is None else _position(position, len(sequence), end=True)
    return ((*sequence[:at], array, *sequence[at:]),)


@operator("SequenceErase", 11, reads=(1,))
def sequence_erase(sequence: Any, position: Any = None) -> Any:
    """A sequence without one of its arrays."""
    at = len(sequence) - 1 if position is None else _position(position, len(sequence))
    return ((*sequence[:at], *sequence[at + 1 :]),)


@operator("SequenceLength", 11)
def sequence_length(call: Call, sequence: Any) -> Any:
    """The number of arrays."""
    return call.array(len(sequence), "int64")


@operator("SplitToSequence", 11, reads=(1,))
def split_to_sequence(x: Any, sizes: Any = None, *, axis: int = 0, keepdims: int = 1) -> Any:
    """The parts of an array as a sequence."""
    axis = axis_of(axis, x.ndim)
    if sizes is None:
        parts = parts_of(x, (1,) * x.shape[axis], axis)
        return (tuple(space(x).squeeze(each, axis=axis) for each in parts) if not keepdims else parts,)
    if sizes.ndim == 0:
        size, (each,) = x.shape[axis], whole(sizes)
        given = tuple(min(each, size - start) for start in range(0, size, max(each, 1)))
    else:
        given = whole(sizes)
    return (parts_of(x, given, axis),)


@operator("ConcatFromSequence", 11)
def concat_from_sequence(sequence: Any, *, axis: int, new_axis: int = 0) -> Any:
    """The arrays of a sequence, one after the other."""
    xp = space(*sequence)
    if new_axis:
        return xp.stack(list(sequence), axis=axis_of(axis, sequence[0].ndim + 1))
    return xp.concat(list(sequence), axis=axis_of(axis, sequence[0].ndim))


@operator("SequenceMap", 17)
def sequence_map(sequence: Any, *others: Any, body: Any) -> Any:
    """A graph for each array of a sequence."""
    found = [body(each, *(o[i] if isinstance(o, tuple) else o for o in others)) for i, each in enumerate(sequence)]
    return tuple(tuple(each) for each in zip(*found, strict=True))


@operator("Optional", 15)
def optional(value: Any = None, *, type: Any = None) -> Any:
    """A value, or none."""
    return (value,)


@operator("OptionalHasElement", 15)
def optional_has_element(call: Call, value: Any = None) -> Any:
    """Whether there is a value."""
    return call.array(value is not None, "bool")


@operator("OptionalGetElement", 15)
def optional_get_element(value: Any) -> Any:
    """The value."""
    if value is None:
        raise ValueError("there is no value to take")
    return (value,)


__all__ = ["Tensor", "room"]
