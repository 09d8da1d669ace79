"""In the place of the package `cudnn`: the calls that we make of it, computed by NumPy in float64.

It knows tensors by their dimensions and strides alone, as cuDNN does, and reads and writes the memory it is pointed to.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

DTYPES = {"HALF": "float16", "FLOAT": "float32", "DOUBLE": "float64"}


class Unsupported(RuntimeError):
    """As cuDNN raises where it has no plan."""


class Tensor:
    def __init__(self, dim: Any = None, stride: Any = None, data_type: str = "") -> None:
        self.dim, self.stride, self.data_type = dim, stride, data_type

    def set_output(self, is_output: bool) -> Tensor:
        assert is_output
        return self

    def set_dim(self, dim: list[int]) -> Tensor:
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> Tensor:
        self.stride = stride
        return self

    def set_data_type(self, data_type: str) -> Tensor:
        self.data_type = data_type
        return self

    def at(self, pointer: int) -> np.ndarray:
        """Its numbers, (first, channels, height, width); they can be written to."""
        assert type(pointer) is int
        assert pointer % 16 == 0
        dtype = np.dtype(DTYPES[self.data_type])
        memory = (ctypes.c_byte * (math.prod(self.dim) * dtype.itemsize)).from_address(pointer)
        strides = [dtype.itemsize * step for step in self.stride]
        return np.lib.stride_tricks.as_strided(np.frombuffer(memory, dtype), self.dim, strides)


class Graph:
    """Of one operation."""

    def __init__(self, library: Any, handle: Any, **kinds: str) -> None:
        assert handle in library.handles
        self.library, self.handle, self.kinds, self.steps = library, handle, kinds, []
        self.notes: list[str] = []

    def tensor(self, *, name: str, dim: list[int], stride: list[int], data_type: str) -> Tensor:
        return Tensor(dim, stride, data_type)

    def conv_fprop(self, *, image: Tensor, weight: Tensor, **settings: Any) -> Tensor:
        return self._operation("fprop", (image, weight), settings)

    def conv_dgrad(self, *, loss: Tensor, filter: Tensor, **settings: Any) -> Tensor:
        return self._operation("dgrad", (loss, filter), settings)

    def conv_wgrad(self, *, image: Tensor, loss: Tensor, **settings: Any) -> Tensor:
        return self._operation("wgrad", (image, loss), settings)

    def _operation(self, name: str, operands: tuple[Tensor, Tensor], settings: dict[str, Any]) -> Tensor:
        self.name, self.operands, self.settings, self.result = name, operands, settings, Tensor()
        assert settings["compute_data_type"] == ("DOUBLE" if operands[0].data_type == "DOUBLE" else "FLOAT")
        return self.result

    def validate(self) -> None:
        self.steps.append("validate")

    def build_operation_graph(self) -> None:
        self.steps.append("build_operation_graph")

    def create_execution_plans(self, modes: list[str]) -> None:
        self.steps.append("create_execution_plans")

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        assert self.steps[-1] == "create_execution_plans"
        self.notes = notes

    def check_support(self) -> None:
        self.steps.append("check_support")
        if self.operands[0].data_type in self.library.unsupported:
            raise Unsupported("no plan for this graph")

    def build_plans(self) -> None:
        self.steps.append("build_plans")
        self.library.built.append(self)

    def get_workspace_size(self) -> int:
        return 0

    def execute(self, pointers: dict[Tensor, int], workspace: int, *, handle: Any) -> None:
        assert self.steps[-1] == "build_plans"
        assert handle is self.handle
        arrays = [tensor.at(pointers[tensor]) for tensor in (*self.operands, self.result)]
        a, b = (each.astype(float) for each in arrays[:2])
        arrays[2][...] = self.library.spoilt(CONVOLUTIONS[self.name](a, b, self.result.dim, self.settings))
        self.library.executed.append(self.name)


def library() -> Any:
    """A new one; `spoilt` may change its results, and `unsupported` names data types for which there is no plan."""
    made: Any = SimpleNamespace(handles=[], built=[], executed=[], unsupported=set(), spoilt=lambda x: x)
    made.data_type = SimpleNamespace(HALF="HALF", FLOAT="FLOAT", DOUBLE="DOUBLE")
    made.heur_mode = SimpleNamespace(A="A", FALLBACK="FALLBACK")
    notes = ("TENSOR_CORE", "DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION", "NONDETERMINISTIC")
    made.numerical_note = SimpleNamespace(**{note: note for note in notes})
    made.pygraph = lambda **settings: Graph(made, **settings)
    made.set_stream = lambda handle, stream: handle.append(stream)

    def create_handle() -> Any:
        made.handles.append([])
        return made.handles[-1]

    made.create_handle = create_handle
    return made


def _taps(filters: list[int], outputs: Any, settings: dict[str, Any]) -> Any:
    """Each tap of a window, and where the padded image is that it meets."""
    for tap in itertools.product(*map(range, filters[2:])):
        starts = [t * d for t, d in zip(tap, settings["dilation"], strict=True)]
        where = [
            slice(start, start + step * (n - 1) + 1, step)
            for start, step, n in zip(starts, settings["stride"], outputs[2:], strict=True)
        ]
        yield tap, (slice(None), slice(None), *where)


def _border(settings: dict[str, Any]) -> list[tuple[int, int]]:
    return [(0, 0), (0, 0), *zip(settings["pre_padding"], settings["post_padding"], strict=True)]


def _parts(channels: int, each: int, filters: int) -> list[tuple[slice, slice]]:
    """The channels and the filters of each group."""
    groups = channels // each
    many = filters // groups
    return [(slice(g * each, (g + 1) * each), slice(g * many, (g + 1) * many)) for g in range(groups)]


def fprop(x: Any, w: Any, dim: list[int], settings: dict[str, Any]) -> Any:
    padded, y = np.pad(x, _border(settings)), np.zeros(dim)
    for (u, v), where in _taps(w.shape, dim, settings):
        for c, k in _parts(x.shape[1], w.shape[1], w.shape[0]):
            y[:, k] += np.einsum("ncpq,kc->nkpq", padded[where][:, c], w[k, :, u, v])
    return y


def dgrad(dy: Any, w: Any, dim: list[int], settings: dict[str, Any]) -> Any:
    border = _border(settings)
    padded = np.zeros([n + before + after for n, (before, after) in zip(dim, border, strict=True)])
    for (u, v), where in _taps(w.shape, dy.shape, settings):
        for c, k in _parts(dim[1], w.shape[1], w.shape[0]):
            padded[where][:, c] += np.einsum("nkpq,kc->ncpq", dy[:, k], w[k, :, u, v])
    return padded[tuple(slice(before, before + n) for n, (before, _) in zip(dim, border, strict=True))]


def wgrad(x: Any, dy: Any, dim: list[int], settings: dict[str, Any]) -> Any:
    padded, dw = np.pad(x, _border(settings)), np.zeros(dim)
    for (u, v), where in _taps(dim, dy.shape, settings):
        for c, k in _parts(x.shape[1], dim[1], dim[0]):
            dw[k, :, u, v] = np.einsum("ncpq,nkpq->kc", padded[where][:, c], dy[:, k])
    return dw


CONVOLUTIONS: dict[str, Callable[..., Any]] = {"fprop": fprop, "dgrad": dgrad, "wgrad": wgrad}
