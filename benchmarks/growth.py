"""A fresh process that trains one network: `python growth.py RUNTIME CASE DTYPE THREADS` prints time and memory."""

from __future__ import annotations

import json
import statistics
import sys
import time

import training
from base import forget_peak, resident
from workloads import WORKLOADS

SECONDS, ROUNDS = 2.0, 3


def main() -> None:
    name, case, dtype, threads = sys.argv[1:]
    runtime = training.RUNTIMES[name](WORKLOADS["W7"].step(case), dtype, int(threads))
    before = resident("VmRSS")
    runtime.run(1)
    forget_peak()
    found: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(found) < ROUNDS and (not found or time.perf_counter() < end):
        found.append(runtime.time("")["seconds"])
    print(json.dumps({"seconds": statistics.median(found), "peak_mib": resident("VmHWM") - before}), flush=True)


if __name__ == "__main__":
    main()
