"""Sharing short work between threads, for tasks of a fraction of a millisecond, about as long as waking a thread.

It is for functions that release Python's lock: compiled loops, and NumPy's on large arrays.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

from nnarray.kernels.compilation import cores, numba_pieces

Work = Callable[[int, int], None]


def shared(work: Work, count: int, least: int) -> None:
    """work(start, stop) over parts of range(count); parts have at least `least` entries, if possible.

    Threads that already work for another caller are not waited for.
    """
    together(lambda rank, size: work(rank * count // size, (rank + 1) * count // size), count // max(least, 1))


def together(work: Work, most: int) -> None:
    """work(rank, size) at the same time in each of `size` threads, at most `most`, of which this one is the first."""
    parts = max(min(_threads(), most), 1)
    if parts == 1:
        work(0, 1)
        return
    team: list[_Helper] = []
    errors: list[BaseException | None] = []
    try:
        for helper in _team(os.getpid(), numba_pieces()):
            if len(team) < parts - 1 and helper.free.acquire(blocking=False):
                team.append(helper)
        size = len(team) + 1
        for rank, helper in enumerate(team, start=1):
            helper.begin(work, rank, size)
        try:
            work(0, size)
        except Exception as error:  # wait for the others first
            errors.append(error)
        errors += [helper.end() for helper in team]
    except BaseException:  # Ctrl-C: the progress of the threads is unknown, so new ones replace them
        _team.cache_clear()
        for helper in team:
            helper.leave()
        raise
    for error in filter(None, errors):
        raise error


@functools.cache
def _team(process: int, loops: Any) -> list[_Helper]:
    """The threads in addition to the calling one, which wait in compiled loops if allowed; a fork has no threads."""
    team = [_Helper(loops, name=f"nnarray-{i}", daemon=True) for i in range(_threads() - 1)]
    for helper in team:
        helper.start()
    return team


@functools.cache
def _threads() -> int:
    """The number of threads: that of the cores, or that set for NumPy's products."""
    limits = [os.environ.get(name, "") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")]
    return min([cores(), *(max(int(each), 1) for each in limits if each.isdigit())])


class _Helper(threading.Thread):
    """A thread that computes one part after the other."""

    def __init__(self, loops: Any, **options: Any) -> None:
        super().__init__(**options)
        self.free = threading.Lock()
        self.asked, self.done = _Bell(loops), _Bell(loops)
        self.task: tuple[Work, int, int] | None = None
        self.error: BaseException | None = None
        self.leaving = False

    def begin(self, work: Work, start: int, stop: int) -> None:
        """Start a part; `free` has been acquired."""
        self.task, self.error = (work, start, stop), None
        self.asked.ring()

    def end(self) -> BaseException | None:
        """Wait for it; returns its error, if there is one."""
        self.done.wait()
        error, self.task, self.error = self.error, None, None
        self.free.release()
        return error

    def leave(self) -> None:
        """Stop after the current part."""
        self.leaving = True
        self.asked.ring()

    def run(self) -> None:
        while True:
            self.asked.wait()
            if self.leaving:
                return
            try:
                assert self.task is not None
                work, start, stop = self.task
                work(start, stop)
            except BaseException as error:
                self.error = error
            self.done.ring()


class _Bell:
    """A counter that one thread increments and another waits for: first spinning, then asleep."""

    def __init__(self, loops: Any) -> None:
        self.loops, self.count, self.seen = loops, np.zeros(1, dtype=np.int64), 0
        self.asleep, self.waking = False, SimpleQueue[None]()

    def ring(self) -> None:
        self.count[0] += 1
        if self.asleep:
            self.waking.put(None)

    def wait(self) -> None:
        if self.loops is None or not self.loops.has_changed(self.count, self.seen, MOMENT):
            self.asleep = True
            while self.count[0] == self.seen:
                self.waking.get()  # may be left from an earlier signal
            self.asleep = False
        self.seen += 1


MOMENT = 400  # spins, each of which yields to other threads: about 0.1 ms
