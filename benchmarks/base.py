"""What a runtime is: one library at one workload, in a process of its own."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from workloads import REHEARSED, Training, Workload

BUDGET = 0.3  # seconds in which a call is repeated
ATTEMPTS = 3  # how often a difference that noise has made negative is measured again
SHOWN = 256  # how many of a result's numbers are compared


class Runtime:
    """Prepared once; then checks that its results are everyone's, and is timed, case by case."""

    environment: ClassVar[Mapping[str, str]] = {}  # set before the library is imported
    checked = True  # whether its results can be compared with the others'
    xp: Any = np  # whose arrays the products alone are of
    work: Any

    def __init__(self, work: Workload, dtype: str, threads: int) -> None:
        os.environ.update(self.environment)
        self.work, self.dtype, self.threads = work, dtype, threads
        self.prepare()

    def prepare(self) -> None: ...

    def finish(self) -> None:
        """Wait until all has been computed; the host computes at once."""

    def cases(self) -> tuple[str, ...]:
        """Those of the workload that it can do."""
        return self.work.cases

    def check(self, case: str) -> list[list[float]]:
        """Some numbers of each part of the result; also the warm-up."""
        raise NotImplementedError

    def time(self, case: str) -> dict[str, float]:
        """At least "seconds"."""
        raise NotImplementedError


class Trainer(Runtime):
    """Trains for some epochs, always from the same parameters and on the same batches."""

    work: Training

    def prepare(self) -> None:
        self.X, self.y = self.work.data(self.dtype)

    def run(self, epochs: int) -> tuple[float, float]:
        """Seconds, and the mean loss of the steps."""
        raise NotImplementedError

    def cut(self, X: Any, y: Any) -> list[tuple[Any, Any]]:
        """The batches of one epoch."""
        parts = (slice(i * self.work.batch, (i + 1) * self.work.batch) for i in range(self.work.batches))
        return [(X[part], y[part]) for part in parts]

    def check(self, case: str) -> list[list[float]]:
        found = [[self.run(epochs)[1]] for epochs in self.work.epochs]
        return found[:1] if self.work.gpu else found  # there the longer run is so long that rounding grows in it

    def time(self, case: str) -> dict[str, float]:
        return by_difference(lambda epochs: self.run(epochs)[0], self.work.epochs, self.work.batches)


def by_difference(run: Callable[[int], float], epochs: tuple[int, int], batches: int) -> dict[str, float]:
    """Seconds of a step, from the difference of a long and a short run, and of what comes before the steps.

    A long run that was not longer than the short one says only that the machine was busy: both run again.
    """
    short, long = epochs
    for _ in range(ATTEMPTS):
        brief, whole = run(short), run(long)
        if whole > brief or REHEARSED:  # the times of a rehearsal say nothing
            epoch = (whole - brief) / (long - short)
            return {"seconds": epoch / batches, "start": brief - short * epoch}
    raise RuntimeError(f"{long} epochs took no longer than {short} in {ATTEMPTS} attempts: the machine is too busy")


def by_repetition(call: Callable[[], Any], budget: float = BUDGET) -> dict[str, float]:
    """The median of as many calls as fit into the budget, three at least; the result must be there on return."""
    seconds: list[float] = []
    end = time.perf_counter() + budget
    while len(seconds) < 3 or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return {"seconds": statistics.median(seconds)}


def resident(what: str) -> float:
    """Mebibytes of this process in memory, now ("VmRSS") or at the most so far ("VmHWM"); only Linux tells."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), float("nan"))


def forget_peak() -> None:
    """The peak of resident memory begins again."""
    where = Path("/proc/self/clear_refs")
    if where.exists():
        where.write_text("5")


def sample(*results: Any) -> list[list[float]]:
    """Numbers from all over each of some arrays, at the same random places for everyone."""
    flat = [np.asarray(each, dtype="float64").ravel() for each in results]
    return [each[np.random.default_rng(0).integers(0, each.size, SHOWN)].tolist() for each in flat]
