"""Runtimes whose every measurement is a fresh process: from its start to a first result, and with its own memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import training
from base import Runtime
from start import PROCESSES, Process
from workloads import Growth, Start, Workload

METHODS = {"import": "load", "first prediction of a saved model": "predict", "fit of one epoch": "fit"}
GROWN = ("products alone", "nnarray, NumPy", "nnarray, NumPy + Numba", "PyTorch fused optimizer")

# Installed packages have their bytecode; a checkout has to be let write it, or each start compiles its sources.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def fresh(script: str, *arguments: str) -> tuple[Any, float]:
    """The first line that the process prints, and the seconds from its start until then."""
    begun = time.perf_counter()
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT) as process:
        line = process.stdout.readline()
        seconds = time.perf_counter() - begun
    if process.returncode or not line:
        raise RuntimeError(f"{script} {' '.join(arguments)} stopped with status {process.returncode}")
    return json.loads(line), seconds


class Starter(Runtime):
    """Times what `start.py` does."""

    work: Start
    environment: Mapping[str, str]

    def __init__(self, name: str, work: Workload, dtype: str, threads: int) -> None:
        self.name, self.process = name, PROCESSES[name]()
        self.environment = self.process.environment
        super().__init__(work, dtype, threads)

    def prepare(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.process.save(self.folder.name, self.work.params(self.dtype))
        self.process.load()  # so that a missing library is reported as such

    def cases(self) -> tuple[str, ...]:
        kind = type(self.process)
        return tuple(case for case, method in METHODS.items() if getattr(kind, method) is not getattr(Process, method))

    def check(self, case: str) -> list[list[float]]:
        numbers, _ = fresh("start.py", self.name, METHODS[case], self.folder.name)
        return [numbers] if numbers else []

    def time(self, case: str) -> dict[str, float]:
        return {"seconds": fresh("start.py", self.name, METHODS[case], self.folder.name)[1]}


class Grower(Runtime):
    """Times what `growth.py` does."""

    checked = False  # the same code as in the other workloads of training
    work: Growth

    def __init__(self, name: str, work: Workload, dtype: str, threads: int) -> None:
        self.name = name
        super().__init__(work, dtype, threads)

    def prepare(self) -> None:
        first = self.work.step("batch 1")
        training.RUNTIMES[self.name](first, self.dtype, self.threads)  # so that a missing library is reported as such

    def check(self, case: str) -> list[list[float]]:
        return []

    def time(self, case: str) -> dict[str, float]:
        return fresh("growth.py", self.name, case, self.dtype, str(self.threads))[0]


STARTERS = {name: partial(Starter, name) for name in PROCESSES}
GROWERS = {name: partial(Grower, name) for name in GROWN}
