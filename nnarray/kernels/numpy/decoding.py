"""A plan of decoding by NumPy's calls, which write into memory that is there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from nnarray.kernels.compilation import quiet
from nnarray.kernels.decoding import Heads, Unplanned
from nnarray.kernels.functions import Function
from nnarray.kernels.threads import shared

PART = 2**18  # weights of a thread's part at least


class Plan:
    """As `nnarray.kernels.decoding.Plan` says: each operation is a call with its arrays."""

    def __init__(self, batch: int, dtype: Any) -> None:
        self.batch, self.dtype = batch, dtype
        self.calls = list[tuple[Callable[..., Any], tuple[Any, ...]]]()
        self.tokens, self.position = np.zeros(batch, np.int64), 0

    def _new(self, size: int) -> Any:
        return np.empty((self.batch, size), self.dtype)

    def looked_up(self, table: Any) -> Any:
        """The vectors of the tokens; NaN where there is none."""
        x = self._new(table.shape[1])

        def call() -> None:
            table.take(self.tokens, axis=0, out=x, mode="clip")
            x[(self.tokens < 0) | (self.tokens >= len(table))] = np.nan

        self.calls.append((call, ()))
        return x

    def at_position(self, x: Any, table: Any) -> Any:
        """X + the vector of the position."""
        y = np.empty_like(x)
        self.calls.append((lambda: np.add(x, table[self.position], out=y), ()))
        return y

    def product(self, x: Any, weight: Any, bias: Any) -> Any:
        """X weight + bias."""
        y = self._new(weight.shape[1])
        if self.batch == 1 and weight.T.flags.c_contiguous:
            self.calls.append((_scores, (x[0], weight.T, y[0])))  # NumPy's product reads them at half of the speed
        elif self.batch == 1:
            self.calls.append((np.dot, (x[0], weight, y[0])))
        else:
            self.calls.append((np.matmul, (x, weight, y)))
        if bias is not None:
            self.calls.append((np.add, (y, bias, y)))
        return y

    def applied(self, x: Any, function: Function) -> Any:
        """f(x)."""
        if function.elementwise and not function.value_program(x.dtype).operations:
            return x
        y, value = np.empty_like(x), cast(Callable[[Any], Any], function.value)
        self.calls.append((lambda: np.copyto(y, value(x)), ()))
        return y

    def joined(self, parts: list[Any], join: str) -> Any:
        """The sum of the parts, or their product."""
        total, *others = parts
        if join == "concat":
            raise Unplanned
        for each in others:
            x, total = total, np.empty_like(total)
            self.calls.append((np.multiply if join == "multiply" else np.add, (x, each, total)))
        return total

    def normalised(self, x: Any, weight: Any, bias: Any, epsilon: float, *, centred: bool) -> Any:
        """Weight (x - mean) / sqrt(variance + epsilon) + bias; the mean is 0 if not `centred`."""
        y, squares = np.empty_like(x), np.empty(x.shape)  # in double precision no square of float32 overflows

        def call() -> None:
            z = np.subtract(x, x.mean(axis=1, keepdims=True), out=y) if centred else x
            variance = np.multiply(z, z, out=squares, dtype=squares.dtype).mean(axis=1, keepdims=True)
            np.multiply(z, 1.0 / np.sqrt(variance + epsilon), out=y)
            np.multiply(y, weight, out=y)
            if bias is not None:
                np.add(y, bias, out=y)

        self.calls.append((call, ()))
        return y

    def attended(self, z: Any, sizes: Heads, cache: dict[str, Any], rotation: Any) -> Any:
        """The means of the values, for z with queries, keys and values, which are written into the cache."""
        heads, groups, size = sizes
        keys, values, y = cache["keys"], cache["values"], self._new(heads * size)
        ends, means = [heads * size, (heads + groups) * size], y.reshape(self.batch, groups, -1, size)
        parts = z[:, : ends[0]], z[:, ends[0] : ends[1]], z[:, ends[1] :]
        q, k, v = (part.reshape(self.batch, -1, size) for part in parts)
        scale = self.dtype.type(1.0 / math.sqrt(size))

        def call() -> None:
            at = self.position
            keys[:, :, at], values[:, :, at] = _turned(k, rotation, at), v
            queries = (_turned(q, rotation, at) * scale).reshape(means.shape)
            scores = np.matmul(queries, keys[:, :, : at + 1].swapaxes(2, 3))
            np.exp(np.subtract(scores, scores.max(axis=3, keepdims=True), out=scores), out=scores)
            scores /= scores.sum(axis=3, keepdims=True)
            np.matmul(scores, values[:, :, : at + 1], out=means)

        self.calls.append((call, ()))
        return y

    @quiet
    def run(self, tokens: Any, position: int) -> None:
        """All operations, for tokens of shape (batch, 1)."""
        self.tokens[:], self.position = tokens.reshape(-1), position
        for call, operands in self.calls:
            call(*operands)


def _scores(x: Any, vectors: Any, y: Any) -> None:
    """The products of x with vectors: threads share them."""
    shared(
        lambda start, stop: np.vecdot(vectors[start:stop], x, out=y[start:stop]),
        len(vectors),
        PART // len(x) + 1,
    )


def _turned(x: Any, rotation: Any, position: int) -> Any:
    """X, rotated by the angles of the position."""
    if rotation is None:
        return x
    cosine, sine = (each[position] for each in rotation)
    one, other = np.split(x, 2, axis=-1)
    return np.concatenate([one * cosine - other * sine, other * cosine + one * sine], axis=-1)
