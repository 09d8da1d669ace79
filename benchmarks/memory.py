"""Peak memory of a training step, forward and gradient, beside PyTorch's for the same network and batch.

Each measurement is a process of its own. A step on two examples loads what is loaded once: libraries and compiled code.
A step on the batch follows. The peak of the resident memory (VmHWM, Linux) during one more is compared with
what was resident before both. Run: python benchmarks/memory.py
"""

from __future__ import annotations

import ctypes
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
ENGINES = {"nnarray, NumPy": "numpy", "nnarray, NumPy + Numba": "numba"}
RUNTIMES = (*ENGINES, "PyTorch", "PyTorch, channels last")
FEW = 2  # examples of the step that loads everything


def examples(case: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    size = CASES[case][2]
    return np.random.default_rng(0).random((batch, size, size, 3)).astype("float32"), np.arange(batch) % 2


def step_of_nnarray(case: str, batch: int, engine: str) -> Callable[[], Any]:
    import nnarray as nn

    X, y = examples(case, batch)
    net = nn.models.googlenet() if case == "googlenet" else nn.models.cnn(2)
    model = net.init(X.shape[1:], dtype="float32", engine=engine)
    return lambda: nn.training_step(model, X, y, key=nn.Key(0))


def step_of_torch(case: str, batch: int, *, channels_last: bool) -> Callable[[], Any]:
    import torch

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.torch_networks import GoogLeNet

    network = (GoogLeNet() if case == "googlenet" else pets_network()).train()
    X, y = (torch.from_numpy(a) for a in examples(case, batch))
    first = X.permute(0, 3, 1, 2)
    first = first if channels_last else first.contiguous()
    network = network.to(memory_format=torch.channels_last) if channels_last else network

    def step() -> None:
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(first), y).backward()

    return step


def step_of(runtime: str, case: str, batch: int) -> Callable[[], Any]:
    if runtime in ENGINES:
        return step_of_nnarray(case, batch, ENGINES[runtime])
    return step_of_torch(case, batch, channels_last=runtime.endswith("last"))


def measure(runtime: str, case: str) -> None:
    """Print mebibytes of the last step and of what is loaded once, and seconds of the last step."""
    few = step_of(runtime, case, FEW)
    begun = resident("VmRSS")
    few()
    del few
    ctypes.CDLL(None).malloc_trim(0)  # what the C library keeps of it would count for neither
    step = step_of(runtime, case, CASES[case][1])
    before = resident("VmRSS")
    step()
    forget_peak()
    started = time.perf_counter()
    step()
    print(f"{resident('VmHWM') - before:.0f} {before - begun:.0f} {time.perf_counter() - started:.2f}")


def main() -> None:
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
        return
    print("| network | batch | runtime | peak, MiB | x PyTorch | loaded once, MiB | s a step |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for case, (title, batch, _) in CASES.items():
        command = [sys.executable, __file__]
        found = {
            runtime: [float(n) for n in subprocess.check_output([*command, runtime, case], text=True).split()]
            for runtime in RUNTIMES
        }
        for runtime, (peak, loaded, seconds) in found.items():
            ratio = peak / found["PyTorch"][0]
            print(f"| {title} | {batch} | {runtime} | {peak:.0f} | {ratio:.2f} | {loaded:.0f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
