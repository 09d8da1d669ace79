"""Functions that move entries, and leave them as they are."""

from __future__ import annotations

from typing import Any

from nnarray.onnx.writing.elementwise import common, dtype_of
from nnarray.onnx.writing.operations import Operation, Value
from nnarray.onnx.writing.sizes import Size
from nnarray.onnx.writing.table import row
from nnarray.onnx.writing.writer import Unwritable, Writer

LAST = 2**63 - 1


def argument(op: Operation, place: int, name: str, usual: Any = None) -> Any:
    """An argument that is given by its place or by its name."""
    return op.arguments[place] if len(op.arguments) > place else op.settings.get(name, usual)


def shape_of(op: Operation) -> Any:
    """The shape of the first result."""
    (first, *_) = op.results
    assert first is not None
    return first.shape


@row("reshape", "expand_dims", "squeeze")
def reshape(w: Writer, op: Operation) -> str:
    """The shape of the result."""
    x = op.arguments[0]
    return w.reshaped(w.tensor(x), shape_of(op), x.shape)


@row("permute_dims")
def permute_dims(w: Writer, op: Operation) -> str:
    """One operator."""
    axes = argument(op, 1, "axes")
    return w.permuted(op.arguments[0], [axis % len(axes) for axis in axes])


@row("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(w: Writer, op: Operation) -> str:
    """The last two axes change places."""
    count = len(shape_of(op))
    return w.permuted(op.arguments[0], [*range(count - 2), count - 1, count - 2])


@row("moveaxis")
def moveaxis(w: Writer, op: Operation) -> str:
    """As an order of all axes."""
    count = len(shape_of(op))
    froms, tos = ([n % count for n in (each if isinstance(each, tuple) else (each,))] for each in op.arguments[1:3])
    order = [axis for axis in range(count) if axis not in froms]
    for to, start in sorted(zip(tos, froms, strict=True)):
        order.insert(to, start)
    return w.permuted(op.arguments[0], order)


@row("broadcast_to")
def broadcast_to(w: Writer, op: Operation) -> str:
    """The shape of the result."""
    return w.add("Expand", w.tensor(op.arguments[0]), w.vector(shape_of(op)))


@row("broadcast_arrays")
def broadcast_arrays(w: Writer, op: Operation) -> list[str]:
    """Each in the shape of the results."""
    return [w.add("Expand", w.tensor(each), w.vector(shape_of(op))) for each in op.arguments]


@row("meshgrid")
def meshgrid(w: Writer, op: Operation) -> list[str]:
    """Each vector along its own axis, in the shape of the results; with "xy", the first two axes change places."""
    count, shape = len(op.arguments), shape_of(op)
    swaps = op.settings.get("indexing", "xy") == "xy" and count > 1
    names: list[str] = []
    for i, each in enumerate(op.arguments):
        axis = 1 - i if swaps and i < 2 else i
        own = [shape[axis] if j == axis else 1 for j in range(count)]
        names.append(w.add("Expand", w.reshaped(w.tensor(each), own), w.vector(shape)))
    return names


@row("concat")
def concat(w: Writer, op: Operation) -> str:
    """Along an axis; flat if there is none."""
    arrays, axis = op.arguments[0], argument(op, 1, "axis", 0)
    dtype = common(w, *arrays)
    names = [w.tensor(each, dtype) for each in arrays]
    if axis is None:
        names, axis = [w.add("Reshape", name, w.integers([-1])) for name in names], 0
    return w.add("Concat", *names, axis=int(axis))


@row("stack")
def stack(w: Writer, op: Operation) -> str:
    """Each array with a new axis, along which they are joined."""
    arrays, axis = op.arguments[0], argument(op, 1, "axis", 0)
    dtype, place = common(w, *arrays), w.integers([int(axis)])
    return w.add("Concat", *(w.add("Unsqueeze", w.tensor(each, dtype), place) for each in arrays), axis=int(axis))


@row("unstack")
def unstack(w: Writer, op: Operation) -> list[str]:
    """The parts along an axis."""
    x, axis = op.arguments[0], int(argument(op, 1, "axis", 0))
    name = w.tensor(x)
    return [w.add("Gather", name, w.constant(w.xp.asarray(i)), axis=axis) for i in range(len(op.results))]


@row("flip")
def flip(w: Writer, op: Operation) -> str:
    """Steps of -1 along the axes."""
    count, axis = len(shape_of(op)), argument(op, 1, "axis")
    axes = list(range(count)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    ones = [1] * len(axes)
    given = [[-n for n in ones], [-LAST] * len(axes), axes, [-n for n in ones]]
    return w.add("Slice", w.tensor(op.arguments[0]), *map(w.integers, given))


@row("diff")
def diff(w: Writer, op: Operation) -> str:
    """Each entry less the one before, as often as n says."""
    if any(op.settings.get(name) is not None for name in ("prepend", "append")):
        raise Unwritable("diff with prepend or append cannot be written; use xp.concat before")
    y, axis = w.tensor(op.arguments[0]), w.integers([int(op.settings.get("axis", -1))])
    for _ in range(int(op.settings.get("n", 1))):
        later, earlier = ([w.integers([n]) for n in ends] for ends in ((1, LAST), (0, -1)))
        y = w.add("Sub", w.add("Slice", y, *later, axis), w.add("Slice", y, *earlier, axis))
    return y


@row("roll")
def roll(w: Writer, op: Operation) -> str:
    """The last entries along an axis, and then the first ones."""
    x, shift, axis = op.arguments[0], argument(op, 1, "shift"), argument(op, 2, "axis")
    if axis is None:
        raise Unwritable("roll without an axis cannot be written; give axis=")
    y = w.tensor(x)
    pairs = zip(*(each if isinstance(each, tuple) else (each,) for each in (shift, axis)), strict=True)
    for by, along in pairs:
        size = x.shape[along]
        if isinstance(size, Size):
            raise Unwritable("roll along an axis of any size cannot be written")
        at = -by % size if size else 0
        parts = [w.add("Slice", y, *(w.integers([n]) for n in pair), w.integers([along])) for pair in _cut(at)]
        y = w.add("Concat", *parts, axis=along)
    return y


def _cut(at: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (at, LAST), (0, at)


@row("tile")
def tile(w: Writer, op: Operation) -> str:
    """As many repetitions as axes."""
    x, times = op.arguments[0], tuple(argument(op, 1, "repetitions"))
    count = len(shape_of(op))
    name = w.reshaped(w.tensor(x), (*[1] * (count - len(x.shape)), *x.shape)) if count > len(x.shape) else w.tensor(x)
    return w.add("Tile", name, w.vector((*[1] * (count - len(times)), *times)))


@row("tril", "triu")
def triangle(w: Writer, op: Operation) -> str:
    """The entries on one side of a diagonal."""
    k = w.constant(w.xp.asarray(int(op.settings.get("k", 0))))
    return w.add("Trilu", w.tensor(op.arguments[0]), k, upper=int(op.name == "triu"))


@row("zeros_like", "ones_like", "full_like", "empty_like")
def filled(w: Writer, op: Operation) -> str:
    """One number in the shape of the result."""
    number = {"zeros_like": 0, "ones_like": 1, "empty_like": 0}.get(op.name)
    number = argument(op, 1, "fill_value") if number is None else number
    return w.add("Expand", w.tensor(number, dtype_of(op)), w.vector(shape_of(op)))


@row("full")
def full(w: Writer, op: Operation) -> str:
    """A number of the graph, in the shape of the result."""
    number = argument(op, 1, "fill_value")
    assert isinstance(number, Value)
    return w.add("Expand", w.tensor(number, dtype_of(op)), w.vector(shape_of(op)))
