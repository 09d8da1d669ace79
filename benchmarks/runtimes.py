"""Who is timed at which kind of workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import forward
import fresh
import gpu
import images
import training
from base import Runtime
from workloads import Forward, Growth, Images, Start, Training, Workload

Maker = Callable[[Workload, str, int], Runtime]
RUNTIMES: dict[type[Workload], Mapping[str, Maker]] = {
    Training: training.RUNTIMES,
    Forward: forward.RUNTIMES,
    Images: images.RUNTIMES,
    Start: fresh.STARTERS,
    Growth: fresh.GROWERS,
}


ON_GPU: dict[type[Workload], Mapping[str, Maker]] = {
    Training: gpu.TRAINERS,
    Forward: gpu.PREDICTORS,
    Images: gpu.PAINTERS,
}


def runtimes_of(work: Workload) -> Mapping[str, Maker]:
    """By name. The results of the first that is checked are what the others' are compared with."""
    return (ON_GPU if work.gpu else RUNTIMES)[type(work)]
