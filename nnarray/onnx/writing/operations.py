"""The graph of a computation: its operations in order, for those who write it down in another form."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container
from typing import Any, NamedTuple

from nnarray import kernels
from nnarray.backends import namespace, on_device
from nnarray.recording.tape import ORDER
from nnarray.recording.traced import ALSO, Traced, refused, set_operators, stripped
from nnarray.recording.trees import in_the_form_of, leaves, mapped
from nnarray.typing import DType, Namespace, Shape


class Value(NamedTuple):
    """An array of a graph: an input, or the result of an operation."""

    number: int
    shape: Shape
    dtype: DType


class Operation(NamedTuple):
    """A function of the array API standard, or a kernel that is kept whole, with what it was called with.

    Attributes
    ----------
    name : str
        Such as "matmul" or "linalg.inv"; operators have the name of their function. `x[key]` is "getitem" of x and
        key, and `x[key] = value` is "put_at" of x, key and value.
    arguments : tuple
        A `Value` for each array of the graph, also within lists and tuples. Everything else is constant.
    settings : dict
        Arguments by name, in the same form.
    results : tuple of Value
        Or None in the place of something that a kernel did not compute, or that is no array.
    """

    name: str
    arguments: tuple[Any, ...]
    settings: dict[str, Any]
    results: tuple[Value | None, ...]


class Graph(NamedTuple):
    """The operations of a function in order, each after those whose results it reads.

    Attributes
    ----------
    inputs : tree of Value
        In the form of the arguments of the function.
    operations : list of Operation
    outputs : tree
        What the function returned, with a `Value` for each array that depends on the inputs, others as they are.
    """

    inputs: tuple[Any, ...]
    operations: list[Operation]
    outputs: Any


def graph_of(function: Callable[..., Any], *arguments: Any, kept: Container[str] = ()) -> Graph:
    """The operations that a function computes from these arguments.

    Parameters
    ----------
    function : callable
        It is written in the array API standard, such as the forward pass of a layer or a model.
    *arguments : arrays, or dicts, lists or tuples of arrays
        An example of the inputs: all shapes in the graph follow from theirs.
    kept : container of str
        The names of kernels (`kernels.TABLE`) that are to be one operation each. Others appear by their definitions.

    Raises
    ------
    TypeError
        If a number is taken out of an array, or decides on a branch, for the graph would hold for these inputs only.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.onnx.writing.operations import graph_of
    >>> X = nn.backend("numpy").asarray([[1.0, 2.0]])
    >>> graph = graph_of(lambda x: nn.namespace(x).exp(2.0 * x) + 1.0, X)
    >>> [each.name for each in graph.operations]
    ['multiply', 'exp', 'add']
    >>> graph.operations[0].arguments
    (2.0, Value(number=0, shape=(1, 2), dtype=dtype('float64')))
    """
    notes = _Notes(kept)
    made = _noted_class(namespace(leaves(arguments)[0]))
    given = mapped(lambda x: made(x, notes, notes.new()), arguments)
    outputs = function(*given)
    return Graph(mapped(_value, given), notes.operations, mapped(_value, outputs))


class _Notes:
    """The operations so far. To an array it is what a tape is to one that is differentiated."""

    def __init__(self, kept: Container[str]) -> None:
        self.order = next(ORDER)
        self.kept = kept
        self.operations: list[Operation] = []
        self.count = 0

    def new(self) -> int:
        self.count += 1
        return self.count - 1


class _Noted(Traced):
    """An array whose operations are noted; without notes it is a constant."""

    __slots__ = ()
    differentiates = False

    def __bool__(self) -> bool:
        if self.tape is None:
            return bool(self.value)
        raise TypeError(
            "a branch by the value of an array would hold for this input only, but a graph is for all inputs. Write it "
            "with xp.where(condition, x1, x2)."
        )

    def __format__(self, form: str) -> str:
        """A text without the numbers, which could be read back: they are those of this input only."""
        return format(self.value, form) if self.tape is None else f"array of shape {self.shape}"

    @classmethod
    def _named(cls, function: Any) -> Any:
        name: str = function.__name__.strip("_")
        return getattr(cls.space, ALSO.get(name, name), None) or refused(name)

    @classmethod
    def version_of(cls, kernel: Callable[..., Any], name: str) -> Callable[..., Any]:
        """A kernel as one operation, if it is to be kept; else its definition."""
        whole = _noting(cls.space, name, kernel)

        def version(*arguments: Any, **settings: Any) -> Any:
            notes = _notes_in((arguments, settings))
            return (whole if notes is not None and name in notes.kept else kernel)(*arguments, **settings)

        return version


class _Space:
    """The namespace of noted arrays, or a part of it such as `linalg`: each function is made when it is asked for."""

    traced: type[_Noted]

    def __init__(self, plain: Namespace, prefix: str = "") -> None:
        self.plain, self.prefix = plain, prefix
        self.getitem = _noting(self, "getitem", lambda x, key: x[key])
        self.put_at = _noting(self, "put_at", kernels.put)
        self.to_device = _noting(self, "to_device", on_device)

    def is_real(self, dtype: DType) -> bool:
        return self.plain.isdtype(dtype, "real floating")

    def as_constant(self, y: Any) -> Any:
        return mapped(lambda x: self.traced(x) if hasattr(x, "shape") and not isinstance(x, Traced) else x, y)

    def __getattr__(self, name: str) -> Any:
        thing = getattr(self.plain, name)
        if name in ("fft", "linalg"):
            thing = _Space(thing, f"{name}.")
            thing.traced = self.traced
        elif callable(thing) and not isinstance(thing, type) and not name.startswith("_"):
            thing = _noting(self, self.prefix + name, thing)
        setattr(self, name, thing)
        return thing


@functools.cache
def _noted_class(plain: Namespace) -> type[_Noted]:
    space = _Space(plain)
    space.traced = type("NotedArray", (_Noted,), {"__slots__": ()})
    set_operators(space.traced, space)
    return space.traced


def _noting(space: Any, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """A function that notes each call with an array that depends on the inputs; other results are constants."""

    def function(*arguments: Any, **settings: Any) -> Any:
        notes = _notes_in((arguments, settings))
        y = plain(*_each(stripped, arguments), **_each(stripped, settings))
        if notes is None or not any(hasattr(part, "shape") for part in (y if isinstance(y, (list, tuple)) else (y,))):
            return space.as_constant(y)
        if arguments and isinstance(arguments[0], Traced) and y is arguments[0].value:
            return arguments[0]  # as `astype` to the dtype that it has
        made = mapped(lambda part: space.traced(part, notes, notes.new()) if hasattr(part, "shape") else part, y)
        parts = made if isinstance(made, (list, tuple)) else (made,)
        results = [part if isinstance(part, Traced) else None for part in parts]
        notes.operations.append(
            Operation(name, _each(_value, arguments), _each(_value, settings), tuple(map(_value, results)))
        )
        return made

    return function


def _notes_in(tree: Any) -> _Notes | None:
    """The notes of the arrays among these arguments, within lists, tuples and dicts too."""
    if isinstance(tree, Traced):
        return tree.tape  # pyright: ignore[reportReturnType]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return None
    return next((notes for part in tree if (notes := _notes_in(part)) is not None), None)


def _each(function: Callable[[Any], Any], tree: Any) -> Any:
    """The function of each part that is no list, tuple or dict. Unlike in `mapped`, None is a part."""
    if isinstance(tree, dict):
        return {name: _each(function, part) for name, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return in_the_form_of(tree, [_each(function, part) for part in tree])
    return function(tree)


def _value(x: Any) -> Any:
    """The `Value` of an array that depends on the inputs; the value of a constant; anything else as it is."""
    if not isinstance(x, Traced):
        return x
    return x.value if x.tape is None else Value(x.slot, x.shape, x.dtype)
