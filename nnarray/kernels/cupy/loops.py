"""The body of a loop, recorded as a CUDA graph: all that a turn launches is launched by one call.

A graph reads and writes the same memory at each launch. So what goes from turn to turn stays in arrays of the loop's
own; what each turn reads of its own lies in tables, a row a turn, and the graph counts the turns itself. What the body
computes in between comes from a pool that nobody else takes memory from.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray.backends.cupy_products import Recorder, recorded_by
from nnarray.kernels.cupy.sources import Code
from nnarray.kernels.loops import NotRecorded, Turns

cp: Any = cupy

READ = Code("raw T table, raw int32 turn, int64 size", "T row", "row = table[turn[0] * size + i];")
WRITTEN = Code("T row, raw int32 turn, int64 size", "raw T table", "table[turn[0] * size + i] = row;")
CODES = {"row_read": READ, "row_written": WRITTEN}
_LAUNCH = {name: cp.ElementwiseKernel(*code, f"nnarray_{name}") for name, code in CODES.items()}


class Loop:
    """As `kernels.loops.Loop`, on the device of the carry."""

    by_parameter = False
    exact = True
    single = None

    def __init__(
        self,
        turns: Turns,
        carry: Sequence[Any],
        tables: Sequence[Any],
        fixed: Any,
        length: int,
        key: Hashable | None,
    ) -> None:
        def body(carry: Sequence[Any], row: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
            inside, around = turns.begin(carry, fixed)
            inside, outputs = turns.turn(inside, row, around)
            return turns.end(inside), outputs

        self.body: Any = body
        self.length = length
        self.stream, self.pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()  # others may launch meanwhile
        self.recorder = Recorder(self.stream)
        self.turn = cp.zeros((), dtype=cp.int32)
        self.carry = [x.copy() for x in carry]
        self.tables = [cp.empty((length, *x.shape[1:]), dtype=x.dtype) for x in tables]
        self.outputs: list[Any] = []
        wanted = self._computed(carry, tables)  # before it is recorded: every kernel is compiled then
        self.graph: Any = self._recorded()
        if not all(map(_same, wanted, self._launched(carry, tables))):
            raise NotRecorded("what was recorded gives other bits than what it was recorded from")

    def load(self, carry: Sequence[Any], tables: Sequence[Any]) -> None:
        """Go on from this carry; turn i reads row i of these tables."""
        self.taken = 0
        _copy(carry, self.carry)
        _copy(tables, [own[: len(new)] for own, new in zip(self.tables, tables, strict=True)])
        self.turn.fill(0)

    def launch(self, most: int) -> int:
        """Take the next turn, in the current stream."""
        self.graph.launch()
        self.taken += 1
        return 1

    def results(self, count: int) -> list[Any]:
        """Copies of the outputs of the first turns since `load`."""
        return [each[:count].copy() for each in self.outputs]

    def release(self) -> None:
        """Free the memory that a turn computes in, and let go of what refers to the loop itself."""
        self.graph = self.body = None
        self.carry, self.tables, self.outputs = [], [], []
        self.recorder.release()
        self.pool.free_all_blocks()

    def _computed(self, carry: Sequence[Any], tables: Sequence[Any]) -> list[Any]:
        """The carry and the outputs after a turn for each row, by the body itself."""
        carry, turns = [x.copy() for x in carry], list[Any]()
        with self._own_memory():
            for row in zip(*tables, strict=True):
                after, outputs = self.body(carry, [x.copy() for x in row])
                turns.append([x.copy() for x in outputs])
                _check_alike(carry, after)
                _copy(after, carry)
        self.outputs = [cp.empty((self.length, *x.shape), dtype=x.dtype) for x in turns[0]]
        return [*carry, *(cp.stack(each) for each in zip(*turns, strict=True))]

    def _launched(self, carry: Sequence[Any], tables: Sequence[Any]) -> list[Any]:
        """The same by the graph."""
        self.load(carry, tables)
        for _ in tables[0]:
            self.launch(1)
        return [*self.carry, *(each[: len(tables[0])] for each in self.outputs)]

    def _recorded(self) -> Any:
        """The graph of a turn.

        Raises
        ------
        NotRecorded
            If CUDA or CuPy refuses something while the stream is captured.
        """
        with self._own_memory():
            self.stream.begin_capture()
            try:
                self._turn()
            except BaseException as error:
                with suppress(RuntimeError):
                    self.stream.end_capture()
                if isinstance(error, (RuntimeError, TypeError, ValueError)):
                    raise NotRecorded(f"{type(error).__name__}: {error}") from error
                raise
            return self.stream.end_capture()

    def _turn(self) -> None:
        """Read the rows, compute, write what is carried on and the outputs, and count."""
        rows: list[Any] = [cp.empty(table.shape[1:], dtype=table.dtype) for table in self.tables]
        for table, row in zip(self.tables, rows, strict=True):
            _LAUNCH["row_read"](table, self.turn, row.size, row)
        carry, outputs = self.body(self.carry, rows)
        row: Any
        for row, table in zip(outputs, self.outputs, strict=True):
            _LAUNCH["row_written"](row, self.turn, row.size, table)
        _copy(carry, self.carry)
        self.turn += 1

    @contextmanager
    def _own_memory(self) -> Generator[None]:
        """Launches go to the stream that is recorded, after what was launched so far and before what comes."""
        around = cp.cuda.get_current_stream()
        self.stream.wait_event(around.record())
        try:
            with self.stream, cp.cuda.using_allocator(self.pool.malloc), recorded_by(self.recorder):
                yield
        finally:
            around.wait_event(self.stream.record())


def _check_alike(before: Sequence[Any], after: Sequence[Any]) -> None:
    """A turn writes into the arrays that it began with: it cannot leave others."""
    for x, y in zip(before, after, strict=True):
        if x.shape != y.shape or not cp.can_cast(y.dtype, x.dtype, "same_kind"):
            raise NotRecorded(f"it turns {x.dtype} of shape {x.shape} into {y.dtype} of shape {y.shape}")


def _copy(new: Sequence[Any], own: Sequence[Any]) -> None:
    """Write `new` into `own`, but for what is there already; nothing is overwritten before it is read."""
    pairs = [(x, y) for x, y in zip(new, own, strict=True) if x is not y and x.size]
    for x, y in [(x.copy() if any(cp.may_share_memory(x, each) for each in own) else x, y) for x, y in pairs]:
        cp.copyto(y, x)


def _same(a: Any, b: Any) -> bool:
    return bool(cp.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
