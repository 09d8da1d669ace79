"""Dense layers in a row at inference, in float32, compiled by Numba: rows go through all layers in one call.

No thread waits for another one between the layers: each takes rows of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnarray.kernels.functions import FUNCTIONS, Function
from nnarray.kernels.numba.memory import flat
from nnarray.kernels.numba.rows import packed, times
from nnarray.kernels.numba.vectors import PANEL, compiled
from nnarray.kernels.threads import shared

Layers = Sequence[tuple[Any, Any, Function]]  # weight, bias or None, and the function after them

LARGE_WEIGHTS = 2**21  # from which NumPy's threads read them for one row: they come from memory, not from the cache
TOGETHER = 96  # rows whose numbers stay in the cache from layer to layer
LARGE = 1_500_000  # multiply-adds of a thread's part at least: some 30 us


@compiled
def _pack(weight: Any, fan_in: int, units: int, panels: Any) -> None:
    packed(weight, 0, fan_in, units, units, 1, panels)


@compiled
def _forward(x: Any, rows: Any, sizes: Any, panels: Any, biases: Any, floors: Any, y: Any, memory: Any) -> None:
    """y <- the outputs for some rows of x; the memory is for the inputs and the outputs of a layer."""
    layers, room, units = floors.size, memory.size // 2, sizes[floors.size]
    for first in range(rows[0], rows[1], TOGETHER):
        count = min(TOGETHER, rows[1] - first)
        h, at, width, weight, bias = x, first * sizes[0], sizes[0], 0, 0
        for i in range(layers):
            fan_in, filled = sizes[i], -(-sizes[i + 1] // PANEL) * PANEL
            out = memory[:room] if i % 2 == 0 else memory[room:]
            times(
                h, at, width, 1, count, fan_in, panels[weight:], PANEL, fan_in * PANEL, filled,
                out, 0, filled, biases[bias:], floors[i],
            )  # fmt: skip
            h, at, width, weight, bias = out, 0, filled, weight + fan_in * filled, bias + filled
        for n in range(count):
            for k in range(units):
                y[(first + n) * units + k] = h[n * width + k]


class Dense:
    """f(... f(x W + b) ...), where each f is the identity or a floor, with weights in the order of the products."""

    def __init__(self, layers: Layers) -> None:
        weights = [weight for weight, _, _ in layers]
        self.sizes = np.asarray([weights[0].shape[0], *(weight.shape[1] for weight in weights)])
        filled = -(-self.sizes[1:] // PANEL) * PANEL
        self.panels = np.empty(int((self.sizes[:-1] * filled).sum()), np.float32)
        self.biases = np.zeros(int(filled.sum()), np.float32)
        places, begin = np.cumsum([0, *(self.sizes[:-1] * filled)]), np.cumsum([0, *filled])
        for i, (weight, bias, _) in enumerate(layers):
            _pack(flat(weight), weight.shape[0], weight.shape[1], self.panels[places[i] :])
            if bias is not None:
                self.biases[begin[i] : begin[i] + bias.size] = bias
        floors = [-np.inf if function.floor is None else function.floor for _, _, function in layers]
        self.floors = np.asarray(floors, dtype=np.float32)
        self.widest, self.units = int(filled.max()), int(self.sizes[-1])
        self.few = 2 if self.panels.size >= LARGE_WEIGHTS else 1
        self.least = LARGE // int((self.sizes[:-1] * self.sizes[1:]).sum()) + 1  # rows of a thread's part

    def takes(self, x: Any) -> bool:
        """Whether these are as many rows as are faster here; where they do not fit, NumPy says so."""
        return x.ndim == 2 and len(x) >= self.few and x.dtype == np.float32 and x.shape[1] == self.sizes[0]

    def __call__(self, x: Any) -> Any:
        """The outputs, shape (rows, units of the last layer)."""
        y, entries = np.empty((len(x), self.units), np.float32), flat(x)
        fixed = self.sizes, self.panels, self.biases, self.floors, y.reshape(-1)

        def some(start: int, stop: int) -> None:
            memory = np.empty(2 * min(stop - start, TOGETHER) * self.widest, np.float32)
            _forward(entries, (start, stop), *fixed, memory)

        if len(x) < 2 * self.least:
            some(0, len(x))
        else:
            shared(some, len(x), self.least)
        return y


def takes(weight: Any, function: Function) -> bool:
    """Whether such a layer can be computed here."""
    has_floor = function.floor is not None or function is FUNCTIONS["identity"]
    return weight.dtype == np.float32 and weight.size > 0 and has_floor
