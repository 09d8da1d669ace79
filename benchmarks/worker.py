"""One runtime in a process of its own: reads how many epochs to run, a line each, and answers seconds and mean loss."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    name, workload, dtype, threads = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not mix with the answers
    if hasattr(os, "sched_setaffinity"):  # before any library counts the cores: XLA has no other setting
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])

    from runtimes import RUNTIMES
    from workloads import WORKLOADS

    try:
        runtime = RUNTIMES[name](WORKLOADS[workload], dtype, int(threads))
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"ready": True, "checked": runtime.checked}), file=answers, flush=True)
    for line in sys.stdin:
        seconds, loss = runtime.run(int(line))
        print(json.dumps({"seconds": seconds, "loss": loss}), file=answers, flush=True)


if __name__ == "__main__":
    main()
