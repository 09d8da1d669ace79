"""What is written: nodes in order and constants by name, before they become a message."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nnarray.backends import dtype_name, host_backend
from nnarray.onnx.writing.operations import Value
from nnarray.onnx.writing.sizes import BATCH, Repeated, Size, Terms

CODES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
}
"""The numbers of the dtypes in a file."""
SMALL = 64
"""Constants of so many entries are compared by their numbers."""


OUTPUT = "outputs"
"""The name of the output, unless the model has another one."""


class Made(NamedTuple):
    """A node: an operator with the names of its inputs and outputs."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class Unwritable(Exception):
    """What an operation does has no place in a file; the text says why."""


class Writer:
    """The nodes and constants so far. Rows of the table add to it.

    Parameters
    ----------
    parameters : mapping of str to array
        By name; constants that are the same array, or its transpose, have its name.
    inputs : sequence of str
        The names of the inputs. The first axis of the first one counts the examples.
    places : mapping of str to (str, int)
        Of other sizes by name, an input and its axis that has it.
    output : str
        The name of the output. It gets underscores if it is that of an input or a parameter.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        inputs: Sequence[str],
        places: Mapping[str, tuple[str, int]] | None = None,
        output: str = OUTPUT,
    ) -> None:
        self.nodes: list[Made] = []
        self.constants: dict[str, Any] = {}
        self.values: dict[int, str] = {}
        self.places = {BATCH: (inputs[0], 0), **(places or {})}
        self._seen: dict[Size, tuple[str, int]] = {}
        self.opset = 18
        self._inputs, self._parameters = frozenset(inputs), parameters
        self._reserved = self._inputs | {*parameters}
        self.output = self.free(output)
        self._reserved |= {self.output}
        self._names = {id(each): self._own(name) for name, each in parameters.items()}
        self._taken: dict[Any, str] = {}
        self._alive: list[Any] = []
        self._host = host_backend()
        self.xp = self._host.xp

    # --- Nodes ---------------------------------------------------------------------------------------------------

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        return self.add_many(op, 1, *inputs, **attributes)[0]

    def add_many(self, op: str, count: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """A node with several outputs."""
        stem = self.free(f"{op}_{len(self.nodes)}")
        outputs = tuple(stem if i == 0 else self.free(f"{stem}_{i}") for i in range(count))
        given = {name: each for name, each in attributes.items() if each is not None}
        self.nodes.append(Made(op, inputs, outputs, given))
        return outputs

    def free(self, name: str) -> str:
        """The name, or with underscores if it is that of an input or a parameter."""
        return self.free(f"{name}_") if name in self._reserved or name in self.constants else name

    def _own(self, name: str) -> str:
        """The name of a parameter in the file: with underscores if it is that of an input."""
        return self.free(name) if name in self._inputs else name

    def cast(self, name: str, dtype: Any) -> str:
        """The array in another dtype."""
        return self.add("Cast", name, to=code(dtype))

    # --- Inputs of nodes -----------------------------------------------------------------------------------------

    def tensor(self, x: Any, dtype: Any = None) -> str:
        """The name of an argument: an array of the graph, a constant, or a number, which needs a dtype."""
        if isinstance(x, Value):
            name = self.values[x.number]
            return name if dtype is None or x.dtype == dtype else self.cast(name, dtype)
        if isinstance(x, Repeated):
            part = self.part(x, dtype)
            return self.add("Expand", part, self.vector(x.shape)) if x.is_spread else part
        if isinstance(x, Size):
            return self.cast(self.add("Squeeze", self._sized(x)), dtype or self.xp.int64)
        parameter = self._rearranged(x) if dtype is None or getattr(x, "dtype", None) == dtype else None
        return self.constant(self._converted(x, dtype), x) if parameter is None else parameter

    def part(self, x: Repeated, dtype: Any = None) -> str:
        """A constant with one entry along the axes where all are the same."""
        if self._is_triangle(x):
            every = self.add("Expand", self.constant(self.xp.ones((1, 1), dtype=x.dtype)), self.vector(x.shape))
            return self.add("Trilu", every, upper=0)
        name = self.constant(self._converted(x.part, dtype), x.part)
        if not x.cut:
            return name
        ends = self.vector([x.shape[axis] for axis in x.cut])
        return self.add("Slice", name, self.integers([0] * len(x.cut)), ends, self.integers(x.cut))

    def _is_triangle(self, x: Repeated) -> bool:
        """Whether it says which positions come earlier, in a square of any size."""
        xp, square = self.xp, len(x.shape) == len(x.cut) == 2 and x.shape[0] == x.shape[1]
        return square and xp.isdtype(x.dtype, "bool") and bool(xp.all(x.part == xp.tril(xp.ones_like(x.part))))

    def has(self, value: Value, name: str) -> None:
        """Note the name of an array of the graph, and where its sizes can be read."""
        self.values[value.number] = name
        for axis, n in enumerate(value.shape):
            if isinstance(n, Size):
                self._seen.setdefault(n, (name, axis))

    def is_parameter(self, x: Any) -> bool:
        """Whether an array is a parameter, maybe in another shape or order."""
        return id(x) in self._names or self._source(x) is not None

    def _rearranged(self, x: Any) -> str | None:
        """A parameter in another shape, or with its axes in another order, is not written twice: it keeps its name."""
        found = self._source(x)
        return None if found is None else self._moved(*found, x.shape)

    def _source(self, x: Any) -> tuple[Any, tuple[int, ...]] | None:
        """The parameter that an array has the numbers of, and the order of its axes."""
        if getattr(x, "ndim", 0) < 1 or id(x) in self._names or self._is_uniform(x):
            return None
        for each in self._parameters.values():
            perm = rearrangement(self.xp, each, x) if each.dtype == x.dtype else None
            if perm is not None:
                return each, perm
        return None

    def _is_uniform(self, x: Any) -> bool:
        """Whether a small array has the same number everywhere, which it may share with a parameter by chance."""
        return math.prod(x.shape) <= SMALL and bool(self.xp.all(x == x[(0,) * x.ndim])) if 0 not in x.shape else True

    def _moved(self, parameter: Any, perm: tuple[int, ...], shape: Sequence[int]) -> str:
        name, narrow = self.constant(parameter), without_ones(parameter.shape)
        if narrow != parameter.shape:
            name = self.add("Reshape", name, self.integers(narrow))
        if perm != tuple(range(len(perm))):
            name = self.add("Transpose", name, perm=list(perm))
        turned = tuple(narrow[axis] for axis in perm)
        return name if turned == tuple(shape) else self.add("Reshape", name, self.integers(shape))

    def _converted(self, x: Any, dtype: Any) -> Any:
        if not hasattr(x, "dtype"):
            return self.xp.asarray(x, dtype=dtype)
        return x if dtype is None or x.dtype == dtype else self.xp.astype(x, dtype)

    def constant(self, array: Any, origin: Any = None) -> str:
        """A constant. It has the name of a parameter if its origin is one; equal numbers have one constant."""
        named = self._names.get(id(origin)) or self._names.get(id(array))
        numbers = repr(array.tolist()) if math.prod(array.shape) <= SMALL else id(array)
        key = named, dtype_name(array.dtype), tuple(array.shape), array.strides if named else numbers
        if key not in self._taken:
            self._alive.append(array)  # so that no other array gets its identity
            name = named or ""
            if named is None or named in self.constants:
                name = self.free(f"{named or 'constant'}.{len(self.constants)}")
            self.constants[name] = array
            self._taken[key] = name
        return self._taken[key]

    def permuted(self, x: Any, axes: Sequence[int]) -> str:
        """The array with its axes in another order; a constant is written in that order."""
        if isinstance(x, Value):
            return self.add("Transpose", self.values[x.number], perm=list(axes))
        if isinstance(x, Repeated):
            return self.add("Transpose", self.tensor(x), perm=list(axes))
        turned = self.xp.permute_dims(x, tuple(axes))
        parameter = None if id(x) in self._names else self._rearranged(turned)
        return self.constant(turned, x) if parameter is None else parameter

    def number(self, x: float, dtype: Any) -> str:
        """A constant without axes."""
        return self.constant(self.xp.asarray(x, dtype=dtype))

    def integers(self, parts: Sequence[int]) -> str:
        """A constant vector of int64."""
        return self.constant(self.xp.asarray(list(parts), dtype=self.xp.int64))

    def vector(self, parts: Sequence[int | Size]) -> str:
        """A vector of int64: a shape, or other sizes."""
        if not any(isinstance(each, Size) for each in parts):
            return self.integers([int(each) for each in parts])  # pyright: ignore[reportArgumentType]
        pieces = [self._sized(each) if isinstance(each, Size) else self.integers([each]) for each in parts]
        return pieces[0] if len(pieces) == 1 else self.add("Concat", *pieces, axis=0)

    def _sized(self, size: Size) -> str:
        """A vector of one size."""
        if size not in self._taken:
            self._taken[size] = self._read(self._place(size)) if size.terms is None else self._computed(size.terms)
        return self._taken[size]

    def _place(self, size: Size) -> tuple[str, int]:
        if size not in self._seen:
            raise Unwritable("a size is no formula of those of the inputs, and is asked for before an array has it")
        return self._seen[size]

    def _read(self, place: tuple[str, int]) -> str:
        name, axis = place
        key = "size", name, axis
        if key not in self._taken:
            self._taken[key] = self.add("Shape", name, start=axis, end=axis + 1)
        return self._taken[key]

    def _computed(self, terms: Terms) -> str:
        total: str | None = None
        for names, factor in terms.items():
            factors = [*map(self._read, (self.places[each] for each in names))]
            factors += [self.integers([int(factor)])] if factor != 1 or not factors else []
            term = factors[0]
            for each in factors[1:]:
                term = self.add("Mul", term, each)
            total = term if total is None else self.add("Add", total, term)
        return self.integers([0]) if total is None else total

    def reshaped(self, name: str, shape: Sequence[int | Size], before: Sequence[int | Size] = ()) -> str:
        """The array in another shape. `before` is the one that it has: what stays may be left to the operator."""
        growing = [i for i, n in enumerate(shape) if isinstance(n, Size)]
        if growing and 0 not in shape:
            same = [i for i in growing if i < len(before) and before[i] == shape[i]]
            open_ones = [i for i in growing if i not in same]
            if len(growing) == 1 or len(open_ones) == 1:
                same = [] if len(growing) == 1 else same
                shape = [0 if i in same else -1 if i in growing else n for i, n in enumerate(shape)]
            elif not open_ones:
                shape = [0 if i in same else n for i, n in enumerate(shape)]
        return self.add("Reshape", name, self.vector(shape), allowzero=1 if 0 in shape and not growing else None)


def without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without the axes of one position."""
    return tuple(n for n in shape if n != 1)


def rearrangement(xp: Any, x: Any, y: Any) -> tuple[int, ...] | None:
    """The order of the axes of `x` in `y`, both without axes of one position; None if `y` has other numbers."""
    narrow, wanted = without_ones(x.shape), without_ones(y.shape)
    if sorted(narrow) != sorted(wanted):
        return None
    x, y = xp.reshape(x, narrow), xp.reshape(y, wanted)
    for perm in itertools.permutations(range(len(narrow))):
        if tuple(narrow[axis] for axis in perm) == wanted and bool(xp.all(xp.permute_dims(x, perm) == y)):
            return perm
    return None


def code(dtype: Any) -> int:
    """The number of a dtype in a file.

    Raises
    ------
    Unwritable
        If files have none for it.
    """
    name = dtype_name(dtype)
    if name not in CODES:
        raise Unwritable(f"numbers of dtype {name} cannot be written")
    return CODES[name]
