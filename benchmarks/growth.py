"""A fresh process that trains one network: `python growth.py RUNTIME CASE DTYPE THREADS` prints time and memory."""

from __future__ import annotations

import json
import statistics
import sys
import time

import training
from base import forget_peak, resident
from workloads import WORKLOADS

SECONDS, ROUNDS = 1.5, 3


def main() -> None:
    name, case, dtype, threads = sys.argv[1:]
    growth, kind = WORKLOADS["W7"], training.RUNTIMES[name]
    kind(growth.step("width 16"), dtype, int(threads)).run(1)  # so that libraries are loaded and loops compiled
    runtime = kind(growth.step(case), dtype, int(threads))
    before = resident("VmRSS")
    forget_peak()
    runtime.run(1)
    peak = resident("VmHWM") - before
    found: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(found) < ROUNDS and (not found or time.perf_counter() < end):
        found.append(runtime.time("")["seconds"])
    print(json.dumps({"seconds": statistics.median(found), "peak_mib": peak}), flush=True)


if __name__ == "__main__":
    main()
