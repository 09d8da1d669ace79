"""Layers at inference, prepared for NumPy: functions of the inputs alone, which write over what they have made.

A stage is called as stage(x), or as stage(x, y, first) to write its outputs into the channels of y from the first one
on, and returns where they are. It keeps nothing between calls, so that threads may share it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from nnarray import kernels
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.functions import Function
from nnarray.kernels.numpy import winograd
from nnarray.kernels.numpy.elementwise import in_place
from nnarray.kernels.numpy.images import is_tiled
from nnarray.kernels.standard.windows import Window

Value = Callable[[Any], Any]


class Stage(Protocol):
    """A function of the inputs, whose outputs may have a place already."""

    def __call__(self, x: Any, y: Any = None, first: int = 0) -> Any:
        """The outputs for the inputs x, shape (n, ...); with y, they are written into its channels from `first` on."""
        ...


def any_layer(outputs: Value) -> Stage:
    """What a layer computes itself."""

    def stage(x: Any, y: Any = None, first: int = 0) -> Any:
        return _placed(outputs(x), y, first)

    return stage


def row(stages: Sequence[Stage], *, compiled: bool = False) -> Stage:
    """One after the other; with `compiled`, few rows of dense layers in one loop, if Numba is there."""
    if compiled:
        stages = list(_in_loops(stages))
    if not stages:
        return any_layer(lambda x: x)
    *before, last = stages

    def stage(x: Any, y: Any = None, first: int = 0) -> Any:
        for each in before:
            x = each(x)
        return last(x, y, first)

    return stage


def side_by_side(stages: Sequence[Stage], shapes: Sequence[tuple[int, ...]]) -> Stage:
    """Each into its own channels of one array; the shapes are those of their outputs for one example."""
    ends = [sum(shape[-1] for shape in shapes[: i + 1]) for i in range(len(shapes))]
    starts, whole = [0, *ends[:-1]], (*shapes[0][:-1], ends[-1])

    def stage(x: Any, y: Any = None, first: int = 0) -> Any:
        y = np.empty((x.shape[0], *whole), dtype=x.dtype) if y is None else y
        for each, start in zip(stages, starts, strict=True):
            each(x, y, first + start)
        return y

    return stage


def residual(change: Stage, shortcut: Stage | None, value: Value) -> Stage:
    """f(s(x) + c(x))."""

    def stage(x: Any, y: Any = None, first: int = 0) -> Any:
        return _placed(value((x if shortcut is None else shortcut(x)) + change(x)), y, first)

    return stage


def dense(weight: Any, bias: Any, function: Function, *, in_image_network: bool) -> Stage:
    """f(x W + b).

    Among compiled convolutions it is one of them: after a product of NumPy's, its threads would hold on to the cores.
    """
    if in_image_network and numba_pieces() and weight.dtype == np.float32:
        units = weight.shape[1]
        pointwise = convolution(weight[None, None], bias, Window((1, 1)), 1, function)
        return any_layer(lambda x: pointwise(x.reshape(1, 1, -1, x.shape[-1])).reshape(*x.shape[:-1], units))
    return _Dense(weight, bias, function)


def affine(weight: Any, bias: Any, room: list[Any]) -> Value:
    """x -> x W + b, for x of any number of axes; weights that few rows are multiplied with are laid out once."""
    loops = numba_pieces("products")
    kept = loops.Kept(weight, bias, room) if loops and loops.lays_out(weight) else None

    def outputs(x: Any) -> Any:
        return kept(x) if kept is not None and kept.takes(x) else kernels.affine(x, weight, bias)

    return outputs


class _Dense:
    """As `dense`, by a product of NumPy's."""

    def __init__(self, weight: Any, bias: Any, function: Function) -> None:
        self.layer = weight, bias, function
        self.value = in_place(function, weight.dtype)

    def __call__(self, x: Any, y: Any = None, first: int = 0) -> Any:
        weight, bias, _ = self.layer
        z = np.dot(x, weight) if x.ndim == 2 else np.matmul(x, weight)
        return _placed(_finished(z, bias, self.value), y, first)


def _in_loops(stages: Sequence[Stage]) -> Iterator[Stage]:
    """The stages, with dense layers that follow one another as one."""
    loops = numba_pieces("dense")

    def is_taken(stage: Stage) -> bool:
        return bool(loops) and isinstance(stage, _Dense) and loops.takes(stage.layer[0], stage.layer[2])

    for taken, group in itertools.groupby(stages, is_taken):
        some: list[Any] = list(group)
        if taken:
            yield _few_or_many(loops.Dense([each.layer for each in some]), row(some))
        else:
            yield from some


def _few_or_many(few: Any, many: Stage) -> Stage:
    """The compiled loop for as many rows as it takes."""

    def stage(x: Any, y: Any = None, first: int = 0) -> Any:
        return _placed(few(x), y, first) if few.takes(x) else many(x, y, first)

    return stage


def convolution(weight: Any, bias: Any, window: Window, groups: int, function: Function) -> Stage:
    """f(W * x + b), with filters that are transformed or laid out once."""
    loops, value = numba_pieces("convolution"), in_place(function, weight.dtype)
    if loops and loops.takes_filters(weight, window, groups):
        if function.floor is not None:
            return loops.Convolution(weight, bias, window, least=function.floor, kept=True)
        plain = loops.Convolution(weight, bias, window, kept=True)
        return any_layer(lambda x: value(plain(x)))
    transformed: list[Any] = []

    def outputs(x: Any) -> Any:
        z = np.empty((x.shape[0], *window.output_size(x.shape[1:3]), weight.shape[3]), dtype=x.dtype)
        if is_tiled(x, z, window, groups, kept=True):
            if not transformed:
                transformed.append(winograd.transformed(weight))
            if winograd.convolution(x, transformed[0], window, z):
                return _finished(z, bias, value)
        return _finished(kernels.convolution(x, weight, None, window=window, groups=groups), bias, value)

    return any_layer(outputs)


def max_pool(window: Window) -> Stage:
    """The largest entry of each window."""
    loops = numba_pieces("pooling")

    def stage(x: Any, y: Any = None, first: int = 0) -> Any:
        if loops and loops.takes_pool(x, window):
            return loops.max_pool(x, window, y, first)
        return _placed(kernels.max_pool(x, window=window), y, first)

    return stage


def _finished(z: Any, bias: Any, value: Value) -> Any:
    """f(z + b), written over z."""
    return value(z if bias is None else np.add(z, bias, out=z))


def _placed(z: Any, y: Any, first: int) -> Any:
    """z; or y with z in its channels from the first one on."""
    if y is None:
        return z
    y[..., first : first + z.shape[-1]] = z
    return y
