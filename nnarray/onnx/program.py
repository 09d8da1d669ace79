"""A graph with its numbers, on one backend: a function of its inputs by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from nnarray.arguments import explained
from nnarray.backends import Backend, backend, dtype_name, host_backend, library_of, namespace
from nnarray.onnx.graph import Value
from nnarray.onnx.operators.common import Place
from nnarray.onnx.plan import Memory, Plan, host_names
from nnarray.onnx.reading.file import Content, read_file
from nnarray.onnx.steps import DEVICE, HOST, Known
from nnarray.onnx.weights import main_float


class Program:
    """A graph of an ONNX file, to compute all its outputs from inputs of any shapes that it takes.

    `nn.load_onnx` makes a model of one output, which can be trained. This is for graphs with several outputs, with
    states that are passed from call to call, or with inputs that have no batch axis.

    Attributes
    ----------
    inputs, outputs : tuple of Value
        Their names, dtypes, and shapes, where a name stands for any size.
    metadata : mapping of str to str
        The notes in the file.

    Examples
    --------
    >>> import nnarray as nn
    >>> program = nn.onnx.read("voice.onnx", backend="torch")  # doctest: +SKIP
    >>> found = program({"input": x, "state": state, "sr": 16000})  # doctest: +SKIP
    >>> found["output"]  # doctest: +SKIP
    """

    def __init__(self, content: Content, be: Backend) -> None:
        graph = content.graph
        self.graph, self.versions, self.metadata = graph, content.versions, content.notes
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._on_host = host_names(graph, content.versions)
        main = main_float(graph)
        self._place = Place(be, main, main)
        given = {value.name: Known(HOST if value.name in self._on_host else DEVICE) for value in graph.inputs}
        self._plan = Plan(graph, content.versions, given)
        self._memory = Memory()

    def __call__(self, inputs: Mapping[str, Any] | None = None, **named: Any) -> dict[str, Any]:
        """All outputs by name, from the inputs by name: arrays of the program's backend, of NumPy's, or numbers.

        Raises
        ------
        TypeError, ValueError
            If an input is missing, unknown, or does not fit; the message names it, or the operator.
        """
        given = {**(inputs or {}), **named}
        names = [value.name for value in self.inputs]
        missing, unknown = [n for n in names if n not in given], [n for n in given if n not in names]
        if missing or unknown:
            raise ValueError(f"the inputs do not fit: missing {missing}, unknown {unknown}. Pass {', '.join(names)}.")
        values = {value.name: self._entered(value, given[value.name]) for value in self.inputs}
        shapes = tuple(_shape_of(values[name]) for name in names)
        found = self._plan.run(self._place, values, self._memory, shapes)
        return {value.name: each for value, each in zip(self.outputs, found, strict=True)}

    def _entered(self, value: Value, x: Any) -> Any:
        if x is None or (isinstance(x, (list, tuple)) and value.dtype == ""):
            return x if x is None else tuple(self._entered(value, each) for each in x)
        be = host_backend() if value.name in self._on_host else self._place.backend
        if library_of(x) is None:
            x = host_backend().asarray(x)
        x = be.asarray(x)
        if value.shape is not None:
            self._check_shape(value, tuple(x.shape))
        if value.dtype and dtype_name(x.dtype) != value.dtype:
            x = self._in_dtype(value, x, be)
        return x

    @staticmethod
    def _check_shape(value: Value, shape: tuple[int, ...]) -> None:
        wanted = value.shape or ()
        if len(shape) != len(wanted) or any(isinstance(n, int) and n != m for n, m in zip(wanted, shape, strict=False)):
            raise ValueError(f"the input {value.name!r} has the shape {_written(value)}; got one of shape {shape}.")

    @staticmethod
    def _in_dtype(value: Value, x: Any, be: Backend) -> Any:
        xp = namespace(x)
        own = "real floating" if value.dtype.startswith("float") else "bool" if value.dtype == "bool" else "integral"
        if not (xp.isdtype(x.dtype, own) or (own == "real floating" and xp.isdtype(x.dtype, "integral"))):
            raise TypeError(
                f"the input {value.name!r} has the dtype {value.dtype}; got {dtype_name(x.dtype)}. Convert it first."
            )
        try:
            wanted = be.dtype(value.dtype)
        except ValueError:
            return x  # the nearest that the device has
        return x if dtype_name(wanted) in be.library.weak else xp.astype(x, wanted)


def _shape_of(x: Any) -> Any:
    if x is None:
        return None
    return tuple(map(_shape_of, x)) if isinstance(x, tuple) else tuple(x.shape)


def _written(value: Value) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in value.shape or ()) + ")"


@explained
def read(path: str | os.PathLike[str], *, backend: str | Backend | None = None) -> Program:
    """The graph of an ONNX file as a function of its inputs, on a backend.

    Nothing in the file is executed. Every name and size in it is checked before memory is allocated.

    Parameters
    ----------
    path : path
    backend : str or Backend, optional
        Where it computes.

    Returns
    -------
    Program

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or cannot be read.
    ImportError
        If the package `onnx` is not installed.
    ValueError
        If the file is damaged, or has operators that are not known: all are named, with where they stand.
    """
    return Program(read_file(path), _backend(backend))


_backend = backend
