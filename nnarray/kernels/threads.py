"""Work that threads share, where it is done in a fraction of a millisecond and waking a thread would take as long.

For functions that let go of Python's lock: compiled loops, and NumPy's on large arrays.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

from nnarray.kernels.compilation import cores, numba_pieces

Work = Callable[[int, int], None]


def shared(work: Work, count: int, least: int) -> None:
    """work(start, stop) over parts of range(count); no part holds fewer than `least`, if that can be.

    Whoever is at work for another thread already is not waited for.
    """
    parts = max(min(_threads(), count // max(least, 1)), 1)
    team: list[_Helper] = []
    errors: list[BaseException | None] = []
    try:
        for helper in _team(os.getpid(), numba_pieces()) if parts > 1 else ():
            if len(team) < parts - 1 and helper.free.acquire(blocking=False):
                team.append(helper)
        first, *others = itertools.pairwise(part * count // (len(team) + 1) for part in range(len(team) + 2))
        for helper, each in zip(team, others, strict=True):
            helper.begin(work, *each)
        try:
            work(*first)
        except Exception as error:  # the others are waited for first
            errors.append(error)
        errors += [helper.end() for helper in team]
    except BaseException:  # Ctrl-C: nobody knows how far each one is, so that others take their places
        _team.cache_clear()
        for helper in team:
            helper.leave()
        raise
    for error in filter(None, errors):
        raise error


@functools.cache
def _team(process: int, loops: Any) -> list[_Helper]:
    """The threads beside the calling one, which wait by compiled loops if they may; a fork has none of its parent's."""
    team = [_Helper(loops, name=f"nnarray-{i}", daemon=True) for i in range(_threads() - 1)]
    for helper in team:
        helper.start()
    return team


@functools.cache
def _threads() -> int:
    """How many threads share the work: as many as there are cores, or as many as are set for NumPy's products."""
    limits = [os.environ.get(name, "") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")]
    return min([cores(), *(max(int(each), 1) for each in limits if each.isdigit())])


class _Helper(threading.Thread):
    """A thread that does one part after the other."""

    def __init__(self, loops: Any, **options: Any) -> None:
        super().__init__(**options)
        self.free = threading.Lock()
        self.asked, self.done = _Bell(loops), _Bell(loops)
        self.task: tuple[Work, int, int] | None = None
        self.error: BaseException | None = None
        self.leaving = False

    def begin(self, work: Work, start: int, stop: int) -> None:
        """Have a part done; `free` has been acquired."""
        self.task, self.error = (work, start, stop), None
        self.asked.ring()

    def end(self) -> BaseException | None:
        """Wait for it; what went wrong, if anything did."""
        self.done.wait()
        error, self.task, self.error = self.error, None, None
        self.free.release()
        return error

    def leave(self) -> None:
        """Stop, after what is under way."""
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
    """A number that one thread counts up and another one waits for: awake for a moment, and then asleep."""

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
                self.waking.get()  # may be left from a ring that was heard awake
            self.asleep = False
        self.seen += 1


MOMENT = 400  # looks at the number, each of which lets others go first: some 0.1 ms
