"""Peak memory of a training step, forward and gradient, beside PyTorch's for the same network and batch.

Each measurement is a process of its own, which steps once to warm up; then the peak of its resident memory (VmHWM,
Linux) during one more step is compared with what was resident before the first. Run: python benchmarks/memory.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from base import forget_peak, resident
from images import pets_network

CASES = {"googlenet": ("GoogLeNet, 224x224", 8, 224), "pets": ("3 convolutions, 64x64", 128, 64)}
RUNTIMES = ("nnarray, NumPy", "PyTorch", "PyTorch, channels last")


def examples(case: str) -> tuple[np.ndarray, np.ndarray]:
    _, batch, size = CASES[case]
    return np.random.default_rng(0).random((batch, size, size, 3)).astype("float32"), np.arange(batch) % 2


def step_of_nnarray(case: str) -> Callable[[], Any]:
    import nnarray as nn

    X, y = examples(case)
    net = nn.models.googlenet() if case == "googlenet" else nn.models.cnn(2)
    model = net.init(X.shape[1:], dtype="float32")
    return lambda: nn.training_step(model, X, y, key=nn.Key(0))


def step_of_torch(case: str, *, channels_last: bool) -> Callable[[], Any]:
    import torch

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.torch_networks import GoogLeNet

    network = (GoogLeNet() if case == "googlenet" else pets_network()).train()
    X, y = (torch.from_numpy(a) for a in examples(case))
    first = X.permute(0, 3, 1, 2)
    first = first if channels_last else first.contiguous()
    network = network.to(memory_format=torch.channels_last) if channels_last else network

    def step() -> None:
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(first), y).backward()

    return step


def measure(runtime: str, case: str) -> None:
    """Print mebibytes and seconds of the second step."""
    last = runtime.endswith("last")
    step = step_of_nnarray(case) if "nnarray" in runtime else step_of_torch(case, channels_last=last)
    before = resident("VmRSS")
    step()
    forget_peak()
    started = time.perf_counter()
    step()
    print(f"{resident('VmHWM') - before:.0f} {time.perf_counter() - started:.2f}")


def main() -> None:
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
        return
    print("| network | batch | runtime | peak, MiB | x PyTorch | s a step |\n| --- | ---: | --- | ---: | ---: | ---: |")
    for case, (title, batch, _) in CASES.items():
        command = [sys.executable, __file__]
        found = {
            runtime: [float(n) for n in subprocess.check_output([*command, runtime, case], text=True).split()]
            for runtime in RUNTIMES
        }
        for runtime, (peak, seconds) in found.items():
            ratio = peak / found["PyTorch"][0]
            print(f"| {title} | {batch} | {runtime} | {peak:.0f} | {ratio:.2f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
