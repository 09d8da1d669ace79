"""Measuring: a process for each runtime, the same results from all, and then turns, round by round."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes import runtimes_of
from workloads import WORKLOADS, Workload

PAUSE = 0.1  # seconds in which the threads of the runtime before stop waiting for work
LONGEST = 300.0  # seconds for an answer, compiling included; or half of what its case has left, if that is less
SPENT = 6.0  # seconds after which a slow runtime takes no further turn at a case; two it has at least
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Result = dict[str, Any]


@dataclass
class Allowance:
    """When all must have been measured, and how many cases share the time until then."""

    end: float  # of `time.monotonic`
    cases: int

    def share(self) -> float:
        """When the next case must end; what it leaves is for those after it."""
        now, shares = time.monotonic(), self.cases
        self.cases -= 1
        return now + (self.end - now) / shares


class Worker:
    """A runtime in a process of its own, for thread pools in one process steal each other's cores."""

    def __init__(self, name: str, workload: str, dtype: str, threads: int) -> None:
        choices = {"JAX_ENABLE_X64": str(int(dtype == "float64")), "JAX_PLATFORMS": "cpu", "NNARRAY_BACKEND": ""}
        self.name, self.end = name, math.inf
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (a pipe that nobody reads would fill up)
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), name, workload, dtype, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | dict.fromkeys(LIMITS, str(threads)) | choices,
        )

    def answer(self) -> dict[str, Any]:
        """The next line; of a process that died, or was ended because it took too long, what it said last."""
        seconds = min(LONGEST, max(0.5 * (self.end - time.monotonic()), 0.1))
        clock, begun = threading.Timer(seconds, self.process.kill), time.monotonic()
        clock.start()
        line = self.process.stdout.readline()
        clock.cancel()
        if line:
            return json.loads(line)
        if time.monotonic() - begun > seconds:
            return {"failed": f"it gave no answer within {seconds:.0f} seconds"}
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        return {"failed": said[-1] if said else f"stopped with status {self.process.wait()}"}

    def ask(self, do: str, case: str) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):  # it died; the answer says of what
            print(json.dumps({"do": do, "case": case}), file=self.process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


def measure(name: str, dtype: str, threads: int, repeats: int, allowance: Allowance) -> Iterator[tuple[str, Result]]:
    """What all runtimes make of a workload, case by case, as each has been measured."""
    work = WORKLOADS[name]
    workers = [Worker(each, name, dtype, threads) for each in runtimes_of(work)]
    try:
        hurry(workers, allowance.share())
        about = {w.name: w.answer() for w in workers}
        common = {
            "title": work.title,
            "dtype": dtype,
            "missing": {n: a.get("missing", a.get("failed")) for n, a in about.items() if "cases" not in a},
            "unchecked": [n for n, a in about.items() if not a.get("checked", True)],
        }
        for i, case in enumerate(work.cases):
            if i:
                hurry(workers, allowance.share())
            unwritten = {
                n: "not written for this case" for n, a in about.items() if case not in a.get("cases", (case,))
            }
            able = [w for w in workers if case in about[w.name].get("cases", ())]
            said = common | {"missing": common["missing"] | unwritten}
            yield case, compare(work, case, able, said, repeats)
    finally:
        for worker in workers:
            worker.close()


def hurry(workers: list[Worker], end: float) -> None:
    """The next case must be measured by then."""
    for worker in workers:
        worker.end = end


def compare(work: Workload, case: str, workers: list[Worker], common: Result, repeats: int) -> Result:
    """Times of every runtime that gives the same results, after a check, which is also the warm-up."""
    numbers, left_out = check(workers, case, work.tolerance(common["dtype"]), common["unchecked"])
    there = [w for w in workers if w.name not in left_out]
    turns = take_turns(there, case, left_out, min(repeats, work.most_turns or repeats))
    parts = dict.fromkeys(part for answers in turns.values() for part in answers[0])  # "seconds", and for some more
    return common | {
        "case": case,
        "left_out": left_out,
        "results": {n: [part[:4] for part in found] for n, found in numbers.items()},
        **{part: {n: [each[part] for each in answers] for n, answers in turns.items()} for part in parts},
    }


def take_turns(
    workers: list[Worker], case: str, left_out: dict[str, str], most: int
) -> dict[str, list[dict[str, Any]]]:
    """The answers of each turn, round by round; who fails is left out."""
    turns: dict[str, list[dict[str, Any]]] = {w.name: [] for w in workers}
    spent = dict.fromkeys(turns, 0.0)
    for turn in range(most):
        for worker in workers:
            if worker.name in left_out or (turn > 1 and spent[worker.name] > SPENT) or time.monotonic() > worker.end:
                continue
            time.sleep(PAUSE)
            begun = time.perf_counter()
            answer = worker.ask("time", case)
            spent[worker.name] += time.perf_counter() - begun
            if "failed" in answer:
                left_out[worker.name] = answer["failed"]
            else:
                turns[worker.name].append(answer)
    left_out |= {n: "the time was up before its turn" for n, answers in turns.items() if not (answers or n in left_out)}
    return {name: answers for name, answers in turns.items() if name not in left_out}


def check(
    workers: list[Worker], case: str, tolerance: float, unchecked: list[str]
) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """Numbers of all results, and who is left out: those that fail, or differ from the first that is checked."""
    answers = {w.name: w.ask("check", case) for w in workers}
    left_out = {n: a["failed"] for n, a in answers.items() if "failed" in a}
    found = {n: a["numbers"] for n, a in answers.items() if n not in left_out and n not in unchecked}
    reference = next(iter(found), "")
    for name, numbers in found.items():
        far = max(map(distance, numbers, found[reference]), default=0.0)
        if far > tolerance:
            left_out[name] = f"its results lie {far:.1e} from those of {reference}"
    return found, left_out


def distance(numbers: list[float], wanted: list[float]) -> float:
    """The largest difference, relative to the largest number."""
    if len(numbers) != len(wanted):
        return float("inf")
    differences = [abs(a - b) for a, b in zip(numbers, wanted, strict=True)]
    if any(math.isnan(d) for d in differences):
        return float("inf")
    return max(differences) / (max(map(abs, wanted)) or 1.0)
