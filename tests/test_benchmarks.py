"""The benchmarks are scripts beside the package: each finds what it imports, and the smallest workload runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import run_python

FOLDER = Path(__file__).parent.parent / "benchmarks"
FILES = sorted(path.stem for path in FOLDER.glob("*.py"))
RUN = """
from runtimes import runtimes_of
from workloads import WORKLOADS
work = WORKLOADS["W1"]
runtime = runtimes_of(work)["nnarray, NumPy"](work, "float32", 1)
print(len(runtime.check(runtime.cases()[0])) > 0, sorted(runtime.time(runtime.cases()[0])))
"""


@pytest.mark.skipif(not FILES, reason="the benchmarks are not part of what is installed")
@pytest.mark.parametrize("code", [f"import {', '.join(FILES)}", RUN], ids=["imports", "smallest workload"])
def test_benchmarks_start(code: str) -> None:
    for needed in ("torch", "jax", "sklearn"):
        pytest.importorskip(needed)
    run_python(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n{code}")
