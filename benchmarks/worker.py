"""One runtime in a process of its own: reads requests ({"do": "time", "case": ...}), and answers each in a line."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any


def main() -> None:
    name, workload, dtype, threads = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not mix with the answers
    if hasattr(os, "sched_setaffinity"):  # before any library counts the cores: XLA has no other setting
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])

    def tell(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        from runtimes import runtimes_of
        from workloads import WORKLOADS

        work = WORKLOADS[workload]
        runtime = runtimes_of(work)[name](work, dtype, int(threads))
    except Exception as error:
        tell({"missing": short(error)})
        return
    tell({"cases": runtime.cases(), "checked": runtime.checked})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "check":
                tell({"numbers": runtime.check(request["case"])})
            else:
                tell(runtime.time(request["case"]))
        except Exception as error:
            tell({"failed": short(error)})


def short(error: Exception) -> str:
    """Its kind and message, or the line that raised it where it says nothing; all of it goes to the error stream."""
    traceback.print_exception(error)
    said = str(error).strip().splitlines() or [_raised_at(error)]
    return said[0] if isinstance(error, ImportError) else f"{type(error).__name__}: {said[0]}"


def _raised_at(error: Exception) -> str:
    """The last line of Python that ran, as an assertion inside of a library has no message."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"in {last.name}, {os.path.basename(last.filename)} line {last.lineno}: {last.line}"


if __name__ == "__main__":
    main()
