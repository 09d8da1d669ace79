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

ON_CUPY = """
from dataclasses import replace
from gpu import NnarrayCupy
from workloads import WORKLOADS
runtime = NnarrayCupy(replace(WORKLOADS["G1"], epochs=(1, 2)), "float32", 1)
print(len(runtime.check("")) == 2, sorted(runtime.time("")))
"""
PROFILE = """
from step_profile import kernels_of, summary, table
events = [("product", 0, 2), ("relu", 3, 1), ("product", 3.5, 2.5), ("relu", 10, 1)]  # the second two overlap
trace = [{"cat": "kernel", "name": name, "ts": start, "dur": duration} for name, start, duration in events]
found = summary(kernels_of([{"cat": "cpu_op", "name": "no kernel"}, *trace[::-1]]), steps=2)
assert (found["launches"], found["span_us"], found["gap_us"]["longest"]) == (2.0, 5.5, 4.0), found
assert found["busy"] == 6 / 11 and found["kernels"]["product"] == {"launches": 1.0, "us": 2.25}, found
assert "| `product` | 1.0 | 2.25 | 69% |" in list(table("G1", found | {"host_us": 6.0, "device_us": 5.5}))
assert "no profiler" in "".join(table("G1", summary([], 2) | {"host_us": 6.0, "device_us": 5.5}))
"""
PAGE = """
from pages import page
result = {"title": "moons", "case": "", "dtype": "float32", "unchecked": [], "left_out": {}}
result |= {"missing": {"JAX scan": "No module named 'jax'"}}
result |= {"seconds": {"PyTorch eager": [4e-6, 4e-6], "nnarray, CuPy": [2e-6, 2e-6]}}
about = {"date": "2030-01-02", "gpu": "A GPU", "driver": "1.2", "python": "3.11", "versions": {"numpy": "2.4"}}
text = page(about, {"G1": {"": result}})
assert text.startswith("2030-01-02, A GPU, driver 1.2; Python 3.11, numpy 2.4."), text
assert "| **nnarray, CuPy** | 2.00 | 2.00 to 2.00 | 0.50 |" in text and "missing: JAX scan: No module" in text, text
"""
FAILURE = """
from worker import _short
def fails(message):
    assert False, message
for message, reason in (("", "AssertionError: in fails, "), ("too far", "AssertionError: too far")):
    try:
        fails(message)
    except AssertionError as error:
        assert _short(error).startswith(reason), _short(error)
"""
PARTS = """
import os, zipfile
from pathlib import Path
import on_gpu
folder = Path(sys.argv[1])
with zipfile.ZipFile(folder / "small-1-py3-none-any.whl", "w") as wheel:
    wheel.writestr("small.py", "")
assert (on_gpu.unpacked(folder, folder / "packages") / "small.py").exists()
assert on_gpu.ended([sys.executable, "-c", "import time; time.sleep(99)"], 0.5, os.environ)[1] < 60
log = folder / "log.xml"
on_cupy = '<properties><property name="backend" value="cupy"/></properties>'
log.write_text(f'<s><testcase classname="a" name="b">{on_cupy}</testcase><testcase name="c"><skipped/></testcase>'
               '<testcase classname="a" name="d"><failure message="off by one"/></testcase></s>')
assert on_gpu.outcomes(log) == {"passed": {"cupy": 1}, "skipped": 1, "failed": {"a::d": "off by one"}}
assert on_gpu.outcomes(folder / "none.xml")["failed"]
for part, places in on_gpu.CHECKS.items():
    assert all((on_gpu.ROOT / place).exists() for place in places), part
"""


@pytest.mark.skipif(not FILES, reason="the benchmarks are not part of what is installed")
@pytest.mark.parametrize("code", [PROFILE, PAGE, FAILURE, PARTS], ids=["profile", "page", "failure", "parts"])
def test_results_on_a_gpu_are_written_for_programs_and_for_the_docs(code: str, tmp_path: Path) -> None:
    run_python(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\nsys.argv = ['', {str(tmp_path)!r}]\n{code}")


@pytest.mark.skipif(not FILES, reason="the benchmarks are not part of what is installed")
@pytest.mark.parametrize("flag", ["cupy"])
def test_the_smallest_workload_of_a_gpu_runs(flag: str) -> None:
    done = run_python(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n{ON_CUPY}")
    assert done.stdout == "True ['seconds', 'start']\n"


@pytest.mark.skipif(not FILES, reason="the benchmarks are not part of what is installed")
@pytest.mark.parametrize("code", [f"import {', '.join(FILES)}", RUN], ids=["imports", "smallest workload"])
def test_benchmarks_start(code: str) -> None:
    for needed in ("torch", "jax", "sklearn"):
        pytest.importorskip(needed)
    run_python(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n{code}")
