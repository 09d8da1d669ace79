"""A plan of decoding, compiled by Numba: a table of operations, which some threads go through side by side.

One call computes a token. The threads share the weights of each product, and meet after each operation. Weights are
read in the order in which they lie in memory, so that a token takes little more than reading them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

from nnarray.kernels.decoding import Heads, Unplanned
from nnarray.kernels.functions import Function
from nnarray.kernels.numba.functions import called, exp, loop_of_program, piece
from nnarray.kernels.numba.memory import empty
from nnarray.kernels.numba.vectors import compiled
from nnarray.kernels.numba.waiting import APART, all_arrived
from nnarray.kernels.threads import together

LOOK_UP, POSITION, PRODUCT, FINISH, SCORES, APPLY, ADD, MULTIPLY, NORM, ATTEND = range(10)
WIDTH = 16  # of a row of the table: the operation, its units, who takes them and who waits, and arrays and sizes
BLOCKS = 8  # of rows of weights, whose sums are added in order: the result does not depend on the number of threads
CHUNK = 256  # outputs of a unit
SMALL = 1024  # outputs that one thread computes alone: some in a row, before the others are waited for
PART = 2**17  # weights of a thread's part at least
THREADS = 64
BYTES = 4
LOWEST = np.float32(-3e38)
MOST = 8  # sequences, beyond which the products of the layers are faster


@intrinsic
def _at(typing: Any, address: Any) -> Any:
    """Numbers in memory."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(types.int64), code


@piece
def _row(address: int, index: int, size: int) -> Any:
    """A row of a matrix."""
    return carray(_at(address + BYTES * index * size), (size,))  # pyright: ignore[reportCallIssue]


@piece
def _looked_up(a: Any, tokens: Any, units: Any) -> None:
    """x <- the vectors of tokens. table, count, x, size"""
    for n in range(units[0], units[1]):
        x, token = _row(a[2], n, a[3]), tokens[n]
        if 0 <= token < a[1]:
            x[:] = _row(a[0], token, a[3])
        else:
            x[:] = np.float32(np.nan)


@piece
def _at_position(a: Any, position: int, units: Any) -> None:
    """y <- x + the vector of the position. x, table, y, size"""
    for n in range(units[0], units[1]):
        x, y, vector = _row(a[0], n, a[3]), _row(a[2], n, a[3]), _row(a[1], position, a[3])
        for j in range(y.size):
            y[j] = x[j] + vector[j]


@piece
def _sums(a: Any, units: Any) -> None:
    """Sums of a block of rows of weights, by x. x, weight, sums, rows of x, inner, columns"""
    rows, inner, columns = a[3], a[4], a[5]
    for block in range(units[0], units[1]):
        for n in range(rows):
            _row(a[2], block * rows + n, columns)[:] = np.float32(0)
        for k in range(block * inner // BLOCKS, (block + 1) * inner // BLOCKS):
            vector = _row(a[1], k, columns)
            for n in range(rows):
                factor, total = _row(a[0], n, inner)[k], _row(a[2], block * rows + n, columns)
                for j in range(columns):
                    total[j] += factor * vector[j]


@piece
def _finished(a: Any, units: Any) -> None:
    """y <- bias + the sums of all blocks. sums, bias, y, rows, columns"""
    rows, columns = a[3], a[4]
    for unit in range(units[0], units[1]):
        start, stop = unit * CHUNK, min((unit + 1) * CHUNK, columns)
        for n in range(rows):
            y, first = _row(a[2], n, columns)[start:stop], _row(a[0], n, columns)[start:stop]
            y[:] = first
            for block in range(1, BLOCKS):
                part = _row(a[0], block * rows + n, columns)[start:stop]
                for j in range(y.size):
                    y[j] += part[j]
            if a[1]:
                bias = _row(a[1], 0, columns)[start:stop]
                for j in range(y.size):
                    y[j] += bias[j]


@piece
def _scores(a: Any, units: Any) -> None:
    """y <- bias + the products of x with vectors. x, vectors, bias, y, rows of x, inner, columns"""
    inner, columns = a[5], a[6]
    for unit in range(units[0], units[1]):
        for j in range(unit * CHUNK, min((unit + 1) * CHUNK, columns)):
            vector = _row(a[1], j, inner)
            for n in range(a[4]):
                x, total = _row(a[0], n, inner), np.float32(0)
                for k in range(inner):
                    total += x[k] * vector[k]
                _row(a[3], n, columns)[j] = total + _row(a[2], 0, columns)[j] if a[2] else total


@piece
def _applied(a: Any, units: Any) -> None:
    """y <- f(x). x, y, size, the address of the loop"""
    x, y = _row(a[0], 0, a[2]), _row(a[1], 0, a[2])
    for unit in range(units[0], units[1]):
        start, stop = unit * CHUNK, min((unit + 1) * CHUNK, a[2])
        called(a[3], x[start:stop], x[start:stop], y[start:stop], 1, stop - start)


@piece
def _joined(a: Any, units: Any, factors: bool) -> None:
    """z <- x + y, or x y. x, y, z, size"""
    x, y, z = _row(a[0], 0, a[3]), _row(a[1], 0, a[3]), _row(a[2], 0, a[3])
    for j in range(units[0] * CHUNK, min(units[1] * CHUNK, a[3])):
        z[j] = x[j] * y[j] if factors else x[j] + y[j]


@piece
def _normalised(a: Any, units: Any) -> None:
    """y <- weight (x - mean) / sqrt(variance + epsilon) + bias. x, weight, bias, y, size, epsilon, centred"""
    size = a[4]
    weight, epsilon = _row(a[1], 0, size), _row(a[5], 0, 1)[0]
    for n in range(units[0], units[1]):
        x, y = _row(a[0], n, size), _row(a[3], n, size)
        mean, squares = np.float32(0), 0.0  # in double precision no square overflows
        if a[6]:
            for k in range(size):
                mean += x[k]
            mean /= np.float32(size)
        for k in range(size):
            d = np.float64(x[k] - mean)
            squares += d * d
        inverse = np.float32(1.0 / np.sqrt(squares / size + epsilon))
        for k in range(size):
            y[k] = (x[k] - mean) * inverse * weight[k]
        if a[2]:
            bias = _row(a[2], 0, size)
            for k in range(size):
                y[k] += bias[k]


@piece
def _turned(x: Any, cosine: int, sine: int, position: int, y: Any) -> None:
    """y <- x, rotated by the angles of the position."""
    half = x.size // 2
    if cosine == 0:
        y[:] = x
        return
    c, s = _row(cosine, position, half), _row(sine, position, half)
    for k in range(half):
        one, other = x[k], x[half + k]
        y[k], y[half + k] = one * c[k] - other * s[k], other * c[k] + one * s[k]


@piece
def _attended(a: Any, position: int, units: Any) -> None:
    """y <- the mean of the values. z, keys, values, cosine, sine, memory, y, heads, groups, size, length"""
    heads, groups, size, length = a[7], a[8], a[9], a[10]
    each, scale = heads // groups, np.float32(1.0 / math.sqrt(size))
    for unit in range(units[0], units[1]):
        n, g = unit // groups, unit % groups
        z, y = _row(a[0], n, (heads + 2 * groups) * size), _row(a[6], n, heads * size)
        memory = _row(a[5], unit, length + size)
        query, scores = memory[:size], memory[size : size + position + 1]
        keys, values = (heads + g) * size, (heads + groups + g) * size
        _turned(z[keys : keys + size], a[3], a[4], position, _row(a[1], unit * length + position, size))
        _row(a[2], unit * length + position, size)[:] = z[values : values + size]
        for h in range(g * each, (g + 1) * each):
            _turned(z[h * size : (h + 1) * size], a[3], a[4], position, query)
            mean, largest, total, every = y[h * size : (h + 1) * size], LOWEST, np.float32(0), np.float32(0)
            for t in range(position + 1):
                key, score = _row(a[1], unit * length + t, size), np.float32(0)
                for k in range(size):
                    score += query[k] * key[k]
                scores[t] = score * scale
            for t in range(position + 1):
                largest = max(largest, scores[t])
                every += scores[t]
            for t in range(position + 1):
                scores[t] = exp(scores[t] - largest)
            for t in range(position + 1):
                total += scores[t]
            mean[:] = np.float32(0) if every == every else np.float32(np.nan)
            for t in range(position + 1):
                factor, value = scores[t] / total, _row(a[2], unit * length + t, size)
                for k in range(size):
                    mean[k] += factor * value[k]


@compiled
def _run(table: Any, tokens: Any, position: int, turn: int, rank: int, size: int, marks: Any) -> None:
    """One thread's part of all operations; `turn` is the number of those before, in all calls."""
    for i in range(table.shape[0]):
        operation, count, a = table[i, 0], table[i, 1], table[i, 4:]
        units = rank * count // size, (rank + 1) * count // size
        if table[i, 2]:
            units = 0, count if rank == 0 else 0
        if operation == PRODUCT:
            _sums(a, units)
        elif operation == FINISH:
            _finished(a, units)
        elif operation == NORM:
            _normalised(a, units)
        elif operation == ATTEND:
            _attended(a, position, units)
        elif operation == APPLY:
            _applied(a, units)
        elif operation == ADD:
            _joined(a, units, False)
        elif operation == MULTIPLY:
            _joined(a, units, True)
        elif operation == SCORES:
            _scores(a, units)
        elif operation == LOOK_UP:
            _looked_up(a, tokens, units)
        elif operation == POSITION:
            _at_position(a, position, units)
        if size > 1 and table[i, 3] and not all_arrived(turn + i + 1, rank, size, marks):
            return


def takes(batch: int, dtype: Any) -> bool:
    """Whether there are loops for numbers of this dtype, and so few sequences that they are faster."""
    return dtype == np.float32 and batch <= MOST


class Plan:
    """As `nnarray.kernels.decoding.Plan` says: each operation is a row of addresses and sizes."""

    def __init__(self, batch: int) -> None:
        self.batch, self.rows, self.kept, self.weights = batch, list[list[int]](), list[Any](), 0
        self.table, self.tokens = None, np.zeros(batch, np.int64)
        self.marks, self.turn = np.zeros((THREADS + 1) * APART, np.int64), 0

    def _add(self, operation: int, units: int, *operands: Any, alone: bool = False) -> None:
        """An operation; arrays are kept as long as the plan, because it knows their addresses only."""
        self.kept += [each for each in operands if isinstance(each, np.ndarray)]
        numbers = [_address(each) for each in operands]
        if self.rows:
            self.rows[-1][3] = int(not (alone and self.rows[-1][2]))
        self.rows.append([operation, units, int(alone), 1, *numbers, *[0] * (WIDTH - 4 - len(numbers))])

    def _new(self, size: int) -> Any:
        return empty((self.batch, size))

    def looked_up(self, table: Any) -> Any:
        """The vectors of the tokens; NaN where there is none."""
        x = self._new(table.shape[1])
        self._add(LOOK_UP, self.batch, _plain(table), table.shape[0], x, table.shape[1], alone=True)
        return x

    def at_position(self, x: Any, table: Any) -> Any:
        """X + the vector of the position."""
        y = self._new(x.shape[1])
        self._add(POSITION, self.batch, x, _plain(table), y, x.shape[1], alone=True)
        return y

    def product(self, x: Any, weight: Any, bias: Any) -> Any:
        """X weight + bias."""
        inner, columns = weight.shape
        self.weights += weight.size
        y = self._new(columns)
        if weight.T.flags.c_contiguous:
            self._add(SCORES, -(-columns // CHUNK), x, _plain(weight.T), bias, y, self.batch, inner, columns)
            return y
        sums = empty((BLOCKS, self.batch, columns))
        self._add(PRODUCT, BLOCKS, x, _plain(weight), sums, self.batch, inner, columns)
        self._add(FINISH, -(-columns // CHUNK), sums, bias, y, self.batch, columns, alone=y.size <= SMALL)
        return y

    def applied(self, x: Any, function: Function) -> Any:
        """f(x)."""
        program = function.value_program(x.dtype) if function.elementwise else None
        if program is None:
            raise Unplanned
        if not program.operations:
            return x
        y, loop = np.empty_like(x), loop_of_program(program, x.dtype)
        self.kept.append(loop)
        self._add(APPLY, -(-x.size // CHUNK), x, y, x.size, loop.address)
        return y

    def joined(self, parts: list[Any], join: str) -> Any:
        """The sum of the parts, or their product."""
        if join == "concat":
            raise Unplanned
        total, *others = parts
        for each in others:
            x, total = total, np.empty_like(total)
            operation, alone = MULTIPLY if join == "multiply" else ADD, x.size <= SMALL
            self._add(operation, -(-x.size // CHUNK), x, each, total, x.size, alone=alone)
        return total

    def normalised(self, x: Any, weight: Any, bias: Any, epsilon: float, *, centred: bool) -> Any:
        """Weight (x - mean) / sqrt(variance + epsilon) + bias; the mean is 0 if not `centred`."""
        y, number = np.empty_like(x), np.full(1, epsilon, np.float32)
        self._add(NORM, self.batch, x, weight, bias, y, x.shape[1], number, int(centred), alone=True)
        return y

    def attended(self, z: Any, sizes: Heads, cache: dict[str, Any], rotation: Any) -> Any:
        """The means of the values, for z with queries, keys and values, which are written into the cache."""
        heads, groups, size = sizes
        keys, values = _plain(cache["keys"]), _plain(cache["values"])
        length, y = keys.shape[2], self._new(heads * size)
        memory, units = empty((self.batch * groups, length + size)), self.batch * groups
        cosine, sine = (None, None) if rotation is None else map(_plain, rotation)
        self._add(ATTEND, units, z, keys, values, cosine, sine, memory, y, heads, groups, size, length)
        return y

    def run(self, tokens: Any, position: int) -> None:
        """All operations, for tokens of shape (batch,)."""
        table: Any = np.asarray(self.rows, np.int64) if self.table is None else self.table
        self.table, self.tokens[:] = table, tokens.reshape(-1)
        tokens, marks, turn = self.tokens, self.marks, self.turn
        try:
            together(
                lambda rank, size: _run(table, tokens, position, turn, rank, size, marks),
                min(self.weights // PART + 1, THREADS),
            )
        except BaseException:
            marks[0] = 1  # nobody waits for one that does not come
            raise
        self.turn += len(table)


def _plain(x: Any) -> Any:
    """Refuse what does not lie in a row."""
    if x.dtype != np.float32 or not (x.flags.c_contiguous and x.flags.aligned):
        raise Unplanned
    return x


def _address(x: Any) -> int:
    return 0 if x is None else x.__array_interface__["data"][0] if isinstance(x, np.ndarray) else int(x)
