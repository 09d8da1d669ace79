"""Who is timed at which kind of workload."""

from __future__ import annotations

import forward
import training
from base import Runtime
from workloads import Forward, Training, Workload

RUNTIMES: dict[type[Workload], dict[str, type[Runtime]]] = {
    Training: training.RUNTIMES,
    Forward: forward.RUNTIMES,
}


def runtimes_of(work: Workload) -> dict[str, type[Runtime]]:
    """By name. The results of the first that is checked are what the others' are compared with."""
    return RUNTIMES[type(work)]
