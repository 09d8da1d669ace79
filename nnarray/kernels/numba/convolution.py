"""Convolutions compiled by Numba: products of a few rows that stay in registers, of windows read where they lie.

One way sums over the windows directly, the other is Winograd's for 3 x 3 windows that move one place at a time. Both
compute in float32, add the bias and apply ReLU as they write, and let go of Python's lock, so that `threads` can share
the work.
"""

from __future__ import annotations

import math
import threading
from functools import cached_property
from typing import Any

import numpy as np

from nnarray.kernels.numba.channels import sums
from nnarray.kernels.numba.functions import piece
from nnarray.kernels.numba.memory import empty, flat, summed
from nnarray.kernels.numba.vectors import (
    LANES,
    PANEL,
    ROWS,
    added_product,
    backward,
    compiled,
    filters_backward,
    filters_forward,
    forward,
    inputs,
    product,
)
from nnarray.kernels.numpy import winograd
from nnarray.kernels.numpy.winograd import POINTS, TILE, WIDE
from nnarray.kernels.standard.windows import Window
from nnarray.kernels.threads import shared

# --- Sums over the windows -------------------------------------------------------------------------------------------

CHUNK = 32  # groups of rows between which a panel of filters stays in the cache


@compiled
def _direct(
    x: Any, filters: Any, bias: Any, least: Any, y: Any, at: int, step: int,
    sizes: Any, stride: Any, reach: Any, groups: Any, panels: Any,
) -> None:  # fmt: skip
    """Places of y, `step` entries apart, from padded x; sizes are height, width, channels, positions and filters."""
    height, width, channels, down, across, units = sizes
    taps, depth = reach[0], reach[1] * channels
    parts = -(-across // ROWS)
    whole = -(-units // PANEL)
    edge = np.empty(ROWS * PANEL, dtype=np.float32)
    sides = np.empty(parts + 1, dtype=np.int64)  # of the parts of a line: a division for each takes as long as ten sums
    for part in range(parts + 1):
        sides[part] = part * across // parts
    for chunk in range(groups[0], groups[1], CHUNK):
        first = chunk // parts
        for panel in range(panels[0], panels[1]):
            begin = panel * PANEL
            line, part, image, below = first, chunk - first * parts, first // down, first % down
            for _ in range(chunk, min(chunk + CHUNK, groups[1])):
                left, right = sides[part], sides[part + 1]
                seen = ((image * height + below * stride[0]) * width + left * stride[1]) * channels
                out = at + (line * across + left) * step + begin
                part += 1
                if part == parts:
                    line, part, below = line + 1, 0, below + 1
                    if below == down:
                        image, below = image + 1, 0
                if begin + PANEL <= units:
                    product(
                        right - left, x, seen, stride[1] * channels, width * channels, 1,
                        filters, begin * depth, whole * PANEL * depth, PANEL,
                        y, out, step, taps, depth, bias, begin, least,
                    )  # fmt: skip
                else:
                    product(
                        right - left, x, seen, stride[1] * channels, width * channels, 1,
                        filters, begin * depth, whole * PANEL * depth, PANEL,
                        edge, 0, PANEL, taps, depth, bias, begin, least,
                    )  # fmt: skip
                    for r in range(right - left):
                        for k in range(units - begin):
                            y[out + r * step + k] = edge[r * PANEL + k]


# --- Winograd --------------------------------------------------------------------------------------------------------


@compiled
def _transformed(weight: Any, full: int, filled: int, u: Any) -> None:
    """U <- G w G^T in panels of columns, from a weight of shape (3, 3, channels, filters), both filled up."""
    middle = np.empty(POINTS * WIDE * LANES, dtype=np.float32)
    for c in range(full):
        for k in range(0, filled, LANES):
            for j in range(WIDE):
                start = (j * full + c) * filled + k
                filters_forward(weight, start, WIDE * full * filled, middle, j * LANES, WIDE * LANES)
            to = (k // PANEL * full + c) * PANEL + k % PANEL
            for i in range(POINTS):
                filters_forward(middle, i * WIDE * LANES, LANES, u, to + i * POINTS * full * filled, full * filled)


@compiled
def _turned_back(sums: Any, full: int, filled: int, dw: Any) -> None:
    """dW <- G^T S G of sums of shape (36, channels, filters), both filled up."""
    middle = np.empty(POINTS * WIDE * LANES, dtype=np.float32)
    for at in range(0, full * filled, LANES):
        for j in range(POINTS):
            start = j * full * filled + at
            filters_backward(sums, start, POINTS * full * filled, middle, j * LANES, POINTS * LANES)
        for i in range(WIDE):
            filters_backward(middle, i * POINTS * LANES, LANES, dw, i * WIDE * full * filled + at, full * filled)


@piece
def _spread(
    source: Any, at: int, row: int, step: int, channels: int, middle: Any, v: Any, to: int, stride: int
) -> None:
    """B^T d B of one tile of inputs, all channels."""
    for k in range(0, channels, LANES):
        for j in range(POINTS):
            inputs(source, at + j * step + k, row, middle, j * LANES, POINTS * LANES)
        for i in range(POINTS):
            inputs(middle, i * POINTS * LANES, LANES, v, to + i * POINTS * stride + k, stride)


@piece
def _tiles_of_inputs(
    x: Any, sizes: Any, sides: Any, first: int, count: int, patch: Any, middle: Any, v: Any, room: int
) -> None:
    """V, shape (36, room, channels filled up), of `count` tiles from the first one on."""
    height, width, channels, full, down, across = sizes
    for t in range(count):
        n, tile = (first + t) // (down * across), (first + t) % (down * across)
        top, left = tile // across * TILE - sides[0], tile % across * TILE - sides[1]
        to, stride = t * full, room * full
        start = ((n * height + top) * width + left) * channels
        if channels == full and top >= 0 and left >= 0 and top + POINTS <= height and left + POINTS <= width:
            _spread(x, start, width * channels, channels, full, middle, v, to, stride)
            continue
        patch[:] = np.float32(0)
        for i in range(max(-top, 0), min(POINTS, height - top)):
            for j in range(max(-left, 0), min(POINTS, width - left)):
                offset, cell = start + (i * width + j) * channels, (i * POINTS + j) * full
                for k in range(channels):
                    patch[cell + k] = x[offset + k]
        _spread(patch, 0, POINTS * full, full, full, middle, v, to, stride)


@piece
def _cut(memory: Any, room: int, full: int, filled: int) -> Any:
    """V and M of `room` tiles, one patch of inputs, lanes of it, and one tile of outputs."""
    v = room * full * POINTS * POINTS
    m = v + room * filled * POINTS * POINTS
    patch = m + full * POINTS * POINTS
    middle = patch + LANES * POINTS * POINTS
    return (
        memory[:v],
        memory[v:m],
        memory[m:patch],
        memory[patch:middle],
        memory[middle : middle + filled * TILE * TILE],
    )


@compiled
def _winograd(
    x: Any, filters: Any, bias: Any, least: Any, y: Any, at: int, step: int,
    sizes: Any, sides: Any, tiles: Any, panels: Any, room: int, memory: Any,
) -> bool:  # fmt: skip
    """Some tiles and panels of y, `step` entries apart; sizes are height, width, channels, positions and filters.

    Returns whether all are finite: nan and infinity spread over a tile, and have to be computed by windows.
    """
    height, width, channels, down, across, units = sizes
    full, filled = -(-channels // LANES) * LANES, -(-units // PANEL) * PANEL
    tiles_down, tiles_across = -(-down // TILE), -(-across // TILE)
    v, m, patch, middle, tile = _cut(memory, room, full, filled)
    nothing, endless, zero = np.zeros(PANEL, np.float32), np.float32(-np.inf), np.float32(0)
    spoilt, low, high = zero, panels[0] * PANEL, panels[1] * PANEL
    blocks, every = -(-(tiles[1] - tiles[0]) // room), tiles[1] - tiles[0]
    for block in range(blocks):
        first = tiles[0] + block * every // blocks
        count = tiles[0] + (block + 1) * every // blocks - first
        _tiles_of_inputs(
            x, (height, width, channels, full, tiles_down, tiles_across), sides, first, count, patch, middle, v, room
        )
        parts = -(-count // ROWS)
        for point in range(POINTS * POINTS):
            for panel in range(low, high, PANEL):
                for part in range(parts):
                    begin, end = part * count // parts, (part + 1) * count // parts
                    product(
                        end - begin, v, (point * room + begin) * full, full, 0, 1,
                        filters, (point * filled + panel) * full, 0, PANEL,
                        m, (point * room + begin) * filled + panel, filled, 1, full, nothing, 0, endless,
                    )  # fmt: skip
        for t in range(count):
            offset, stride = t * filled, room * filled
            for k in range(low, high, LANES):
                for j in range(POINTS):
                    forward(m, offset + j * stride + k, POINTS * stride, middle, j * LANES, POINTS * LANES)
                for i in range(TILE):
                    forward(middle, i * POINTS * LANES, LANES, tile, i * TILE * filled + k, filled)
            n, where = (first + t) // (tiles_down * tiles_across), (first + t) % (tiles_down * tiles_across)
            top, left = where // tiles_across * TILE, where % tiles_across * TILE
            for i in range(min(TILE, down - top)):
                for j in range(min(TILE, across - left)):
                    out, cell = at + ((n * down + top + i) * across + left + j) * step, (i * TILE + j) * filled
                    for k in range(low, min(high, units)):
                        total = tile[cell + k] + bias[k]
                        spoilt += total * zero
                        y[out + k] = least if total < least else total
    return spoilt == zero


@compiled
def _winograd_pullback(
    x: Any, dy: Any, sizes: Any, sides: Any, tiles: Any, room: int, sums: Any, memory: Any
) -> None:  # fmt: skip
    """Add to sums, shape (36, channels, filters), both filled up, what the tiles give."""
    height, width, channels, down, across, units = sizes
    full, filled = -(-channels // LANES) * LANES, -(-units // PANEL) * PANEL
    tiles_down, tiles_across = -(-down // TILE), -(-across // TILE)
    v, d, patch, middle, tile = _cut(memory, room, full, filled)
    endless = np.float32(-np.inf)
    parts = -(-full // ROWS)
    for first in range(tiles[0], tiles[1], room):
        count = min(room, tiles[1] - first)
        _tiles_of_inputs(
            x, (height, width, channels, full, tiles_down, tiles_across), sides, first, count, patch, middle, v, room
        )
        for t in range(count):
            n, where = (first + t) // (tiles_down * tiles_across), (first + t) % (tiles_down * tiles_across)
            top, left = where // tiles_across * TILE, where % tiles_across * TILE
            tile[:] = np.float32(0)
            for i in range(min(TILE, down - top)):
                for j in range(min(TILE, across - left)):
                    offset, cell = ((n * down + top + i) * across + left + j) * units, (i * TILE + j) * filled
                    for k in range(units):
                        tile[cell + k] = dy[offset + k]
            for k in range(0, filled, LANES):
                for j in range(TILE):
                    backward(tile, j * filled + k, TILE * filled, middle, j * LANES, TILE * LANES)
                for i in range(POINTS):
                    to = (i * POINTS * room + t) * filled + k
                    backward(middle, i * TILE * LANES, LANES, d, to, room * filled)
        for point in range(POINTS * POINTS):
            for panel in range(0, filled, PANEL):
                for part in range(parts):
                    begin, end = part * full // parts, (part + 1) * full // parts
                    added_product(
                        end - begin, v, point * room * full + begin, 1, 0, full,
                        d, point * room * filled + panel, 0, filled,
                        sums, (point * full + begin) * filled + panel, filled, 1, count, patch, 0, endless,
                    )  # fmt: skip


# --- Gradients of the filters, summed over the windows ---------------------------------------------------------------


@compiled
def _direct_pullback(x: Any, dy: Any, sizes: Any, stride: Any, reach: Any, images: Any, sums: Any) -> None:
    """Add to sums, shape (taps down, taps across x channels, filters filled up), what padded images x give."""
    height, width, channels, down, across, filled = sizes
    depth = reach[1] * channels
    parts = -(-depth // ROWS)
    nothing, endless = np.zeros(PANEL, np.float32), np.float32(-np.inf)
    for n in range(images[0], images[1]):
        for i in range(reach[0]):
            seen = (n * height + i) * width * channels
            for panel in range(0, filled, PANEL):
                for part in range(parts):
                    begin, end = part * depth // parts, (part + 1) * depth // parts
                    added_product(
                        end - begin, x, seen + begin, 1, stride[0] * width * channels, stride[1] * channels,
                        dy, n * down * across * filled + panel, across * filled, filled,
                        sums, (i * depth + begin) * filled + panel, filled, down, across, nothing, 0, endless,
                    )  # fmt: skip


# --- As they are called ----------------------------------------------------------------------------------------------

ROOM = 3 * ROWS  # tiles that are in the cache at once
ROOM_BACK = 48
FEW = 48  # tiles below which it does not pay to transform filters for one call
FEW_KEPT, MANY_FILTERS = 16, 32_768  # and below which many transformed filters take longer to read than they save
TILES_PAY_FROM = 11  # half the harmonic mean of channels and filters from which tiles pay: measured
MANY_ENTRIES = 100_000  # of a thread's part that is copied at least
LARGE = 1_500_000  # multiply-adds of a thread's part at least: some 30 us


_kept = threading.local()


def _memory(channels: int, units: int, room: int) -> Any:
    """Scratch for some tiles, which each thread keeps: a megabyte that is fresh each time costs as much as its use."""
    full, filled = _filled_up(channels, LANES), _filled_up(units, PANEL)
    size = POINTS * POINTS * (room * (full + filled) + full + LANES) + TILE * TILE * filled
    if getattr(_kept, "size", 0) < size:
        _kept.memory, _kept.size = np.empty(size, dtype=np.float32), size
    return _kept.memory


def padded(x: Any, padding: Any) -> Any:
    """The images with a border of zeros."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    n, height, width, channels = x.shape
    framed = empty((n, top + height + bottom, left + width + right, channels))

    def some(start: int, stop: int) -> None:
        each = framed[start:stop]
        for border in (each[:, :top], each[:, top + height :], each[:, :, :left], each[:, :, left + width :]):
            border[...] = 0.0
        each[:, top : top + height, left : left + width] = x[start:stop]

    shared(some, n, MANY_ENTRIES // (height * width * channels) + 1)
    return framed


def takes(x: Any, weight: Any, window: Window, groups: int) -> bool:
    """Whether a convolution can be computed here; where inputs and filters do not fit, others say so."""
    fits = x.dtype == np.float32 and x.size > 0 and x.shape[-1] == weight.shape[2]
    return fits and takes_filters(weight, window, groups)


def takes_filters(weight: Any, window: Window, groups: int) -> bool:
    """Whether convolutions with these filters can be computed here."""
    return weight.dtype == np.float32 and groups == 1 and window.dilation == (1, 1) and weight.size > 0


def takes_input_back(window: Window) -> bool:
    """Whether the gradient of a convolution's inputs can be computed here."""
    return winograd.fits(window) and all(0 <= each <= 2 for side in window.padding for each in side)


def _pays(channels: int, units: int) -> bool:
    """Whether Winograd's tiles save more products than they cost sums."""
    return channels >= LANES and channels * units >= TILES_PAY_FROM * (channels + units)


class Convolution:
    """y <- max(W * x + b, least), channels last, with filters in the order in which they are read.

    Parameters
    ----------
    weight : array, shape (down, across, channels, filters)
    bias : array, shape (filters,), or None
    window : Window
    least : float
        0 for ReLU; minus infinity for no activation.
    kept : bool
        Whether this is called often, so that it pays to transform filters for few images too.
    """

    def __init__(self, weight: Any, bias: Any, window: Window, *, least: float = -np.inf, kept: bool = False) -> None:
        self.weight, self.window, self.least = weight, window, np.float32(least)
        self.channels, self.units = weight.shape[2:]
        self.bias = np.zeros(_filled_up(self.units, PANEL), dtype=np.float32)
        if bias is not None:
            self.bias[: self.units] = bias
        few = FEW if not kept else FEW_KEPT if self.channels * self.units > MANY_FILTERS else 1
        self.least_tiles = few if winograd.fits(window) and _pays(self.channels, self.units) else np.inf

    @cached_property
    def panels(self) -> Any:
        """The filters in panels of columns, the last one filled up with zeros."""
        down, across = self.window.size
        filled = np.zeros((down, across * self.channels, self.bias.size), dtype=np.float32)
        filled[:, :, : self.units] = self.weight.reshape(down, across * self.channels, self.units)
        return _in_panels(filled)

    @cached_property
    def transformed(self) -> Any:
        """G w G^T in panels, channels and columns filled up with zeros."""
        full, filled = _filled_up(self.channels, LANES), self.bias.size
        weight = np.zeros((WIDE, WIDE, full, filled), dtype=np.float32)
        weight[:, :, : self.channels, : self.units] = self.weight
        u = np.empty(POINTS * POINTS * full * filled, dtype=np.float32)
        _transformed(weight.reshape(-1), full, filled, u)
        return u

    def __call__(self, x: Any, y: Any = None, first: int = 0) -> Any:
        """The outputs; written into the channels of y from the first one on, if y is given."""
        output_size = self.window.output_size(x.shape[1:3])
        if y is None:
            y = empty((x.shape[0], *output_size, self.units))
        if x.shape[3] != self.channels or y.shape[:3] != (x.shape[0], *output_size):  # loops would read beyond them
            raise ValueError(
                f"filters for {self.channels} channels, and outputs of shape {y.shape}, do not fit inputs of shape "
                f"{x.shape}."
            )
        if not y.size:
            return y
        tiles = x.shape[0] * math.prod(winograd.tiles_of(output_size))
        if tiles < self.least_tiles or not self._by_tiles(x, y, first):
            self._by_windows(x, y, first)
        return y

    def _by_tiles(self, x: Any, y: Any, first: int) -> bool:
        """Whether that can be done: nan and infinity would spread over their tiles."""
        sizes, sides = (*x.shape[1:], *y.shape[1:3], self.units), (self.window.padding[0][0], self.window.padding[1][0])
        begin = (flat(x), self.transformed, self.bias, self.least, y.reshape(-1), first, y.shape[3], sizes, sides)

        finite: list[bool] = []

        tiles, panels = x.shape[0] * math.prod(winograd.tiles_of(y.shape[1:3])), self.bias.size // PANEL
        work = POINTS * POINTS * self.channels * self.units * tiles

        def some_tiles(start: int, stop: int) -> None:
            finite.append(_winograd(*begin, (start, stop), (0, panels), ROOM, _memory(self.channels, self.units, ROOM)))

        def some_filters(start: int, stop: int) -> None:
            finite.append(_winograd(*begin, (0, tiles), (start, stop), ROOM, _memory(self.channels, self.units, ROOM)))

        if tiles >= 2 * ROOM or panels == 1:
            shared(some_tiles, tiles, max(LARGE * tiles // work, ROWS))
        else:
            shared(some_filters, panels, LARGE * panels // work)
        return all(finite)

    def _by_windows(self, x: Any, y: Any, first: int) -> None:
        n, (down, across), window = x.shape[0], y.shape[1:3], self.window
        framed, step = padded(x, window.padding), y.shape[3]
        height, width = framed.shape[1:3]
        if window == Window((1, 1)):  # all positions lie in one row
            height, width, n, down, across = 1, n * down * across, 1, 1, n * down * across
        sizes = height, width, self.channels, down, across, self.units
        begin = (flat(framed), self.panels, self.bias, self.least, y.reshape(-1), first, step, sizes)
        begin = (*begin, window.stride, window.size)
        groups, panels = n * down * -(-across // ROWS), self.bias.size // PANEL
        work = ROWS * PANEL * self.channels * math.prod(window.size)

        def some_positions(start: int, stop: int) -> None:
            _direct(*begin, (start, stop), (0, panels))

        def some_filters(start: int, stop: int) -> None:
            _direct(*begin, (0, groups), (start, stop))

        if groups >= 2 * CHUNK or panels == 1:
            shared(some_positions, groups, LARGE // (work * panels) + 1)
        else:
            shared(some_filters, panels, LARGE // (work * groups) + 1)


def _filled_up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _in_panels(matrices: Any) -> Any:
    """(some, rows, columns) as (some, panels, rows, columns of a panel), flat."""
    some, rows, columns = matrices.shape
    return np.ascontiguousarray(matrices.reshape(some, rows, columns // PANEL, PANEL).transpose(0, 2, 1, 3)).reshape(-1)


def input_gradient(dy: Any, weight: Any, window: Window) -> Any:
    """dx of windows that Winograd's way takes: the convolution of dy with turned filters."""
    turned = np.ascontiguousarray(weight[::-1, ::-1].transpose(0, 1, 3, 2))
    (top, bottom), (left, right) = window.padding
    return Convolution(turned, None, window._replace(padding=((2 - top, 2 - bottom), (2 - left, 2 - right))))(dy)


def bias_gradient(dy: Any) -> Any:
    """db: the sum over all output positions."""
    rows = np.ascontiguousarray(dy).reshape(-1, dy.shape[-1])
    return sums(rows, rows)[0].astype(dy.dtype)


def weight_gradient(dy: Any, x: Any, window: Window) -> Any:
    """dW: by tiles where that pays, and does not spread nan or infinity; else by windows."""
    if winograd.fits(window) and _pays(x.shape[3], dy.shape[3]):
        gradient = _gradient_by_tiles(dy, x, window)
        if math.isfinite(gradient.sum()):
            return gradient
    return _gradient_by_windows(dy, x, window)


def _gradient_by_tiles(dy: Any, x: Any, window: Window) -> Any:
    (n, *_, channels), units = x.shape, dy.shape[3]
    full, filled = _filled_up(channels, LANES), _filled_up(units, PANEL)
    sizes, sides = (*x.shape[1:], *dy.shape[1:]), (window.padding[0][0], window.padding[1][0])

    def some(start: int, stop: int) -> Any:
        sums = np.zeros(POINTS * POINTS * full * filled, dtype=np.float32)
        memory = _memory(channels, units, ROOM_BACK)
        _winograd_pullback(flat(x), flat(dy), sizes, sides, (start, stop), ROOM_BACK, sums, memory)
        return sums

    tiles = n * math.prod(winograd.tiles_of(dy.shape[1:3]))
    total = summed(some, tiles, max(LARGE // (POINTS * POINTS * channels * units), ROOM_BACK))
    gradient = np.empty((WIDE, WIDE, full, filled), dtype=np.float32)
    _turned_back(total, full, filled, gradient.reshape(-1))
    return np.ascontiguousarray(gradient[:, :, :channels, :units])


def _gradient_by_windows(dy: Any, x: Any, window: Window) -> Any:
    (n, *_, channels), (down, across, units) = x.shape, dy.shape[1:]
    (rows, columns), filled = window.size, _filled_up(units, PANEL)
    seen, padded_dy = flat(around := padded(x, window.padding)), dy
    if filled > units:
        padded_dy = np.zeros((n, down, across, filled), dtype=np.float32)
        padded_dy[..., :units] = dy
    sizes = (*around.shape[1:], down, across, filled)

    def some(start: int, stop: int) -> Any:
        sums = np.zeros(rows * columns * channels * filled, dtype=np.float32)
        _direct_pullback(seen, flat(padded_dy), sizes, window.stride, window.size, (start, stop), sums)
        return sums

    total = summed(some, n, LARGE // (down * across * rows * columns * channels * units) + 1)
    return np.ascontiguousarray(total.reshape(rows, columns, channels, filled)[..., :units])
