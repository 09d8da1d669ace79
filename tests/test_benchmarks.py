"""The benchmarks are scripts beside the package: each finds what it imports, and the smallest workload runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.conftest import ON_CPU
from tests.processes import run, run_python

FOLDER = Path(__file__).parent.parent / "benchmarks"
FILES = sorted(path.stem for path in FOLDER.glob("*.py"))
RUN = """
from runtimes import runtimes_of
from workloads import WORKLOADS
work = WORKLOADS["W1"]
runtime = runtimes_of(work)["nnarray, NumPy"](work, "float32", 1)
print(len(runtime.check(runtime.cases()[0])) > 0, sorted(runtime.time(runtime.cases()[0])))
"""

DIFFERENCE = """
from base import ATTEMPTS, by_difference
long_runs = iter([0.9, 1.0, 3.0])  # noise has made the first two no longer than a short run
found = by_difference(lambda epochs: 1.0 if epochs == 1 else next(long_runs), (1, 3), batches=4)
assert found == {"seconds": 0.25, "start": 0.0}, found
try:
    by_difference(lambda epochs: 1.0, (1, 3), batches=4)
except RuntimeError as error:
    assert "the machine is too busy" in str(error)
else:
    raise AssertionError("a difference of 0 is no time of a step")
"""

ON_CUPY = """
from dataclasses import replace
from gpu import NnarrayCupy
from workloads import WORKLOADS
runtime = NnarrayCupy(replace(WORKLOADS["G1"], epochs=(1, 2)), "float32", 1)
print(len(runtime.check("")) == 1, sorted(runtime.time("")))
"""
PROFILE = """
import step_profile
from step_profile import kernels_of, page, profiled, summary, table
events = [("product", 0, 2), ("relu", 3, 1), ("product", 3.5, 2.5), ("relu", 10, 1)]  # the second two overlap
trace = [{"cat": "kernel", "name": name, "ts": start, "dur": duration} for name, start, duration in events]
found = summary(kernels_of([{"cat": "cpu_op", "name": "no kernel"}, *trace[::-1]]), steps=2)
assert (found["launches"], found["span_us"], found["gap_us"]["longest"]) == (2.0, 5.5, 4.0), found
assert found["busy"] == 6 / 11 and found["kernels"]["product"] == {"launches": 1.0, "us": 2.25}, found
assert "| `product` | 1.0 | 2.25 | 69% |" in list(table("G1", found | {"host_us": 6.0, "failed": {}}))
def no_events(run, steps):
    raise RuntimeError("no events")
step_profile.events = no_events
step_profile.training = lambda name: (lambda: None, 2, lambda: None)
found = {"G1": profiled("G1")}
step_profile.training = lambda name: 1 / 0
found["G2"] = profiled("G2")
text = page({"date": "", "processor": "", "python": "", "versions": {}}, found, ["G3"])
assert "by the host's clock" in text and "Failed: the device's events: RuntimeError: no events" in text, text
assert "Failed: the training: ZeroDivisionError" in text and "Not reached: G3." in text, text
"""
PAGE = """
import time
from measure import Allowance
from pages import page
from run import unreached
allowance = Allowance(time.monotonic() + 90.0, 3)
assert 29 < allowance.share() - time.monotonic() <= 30 and 44 < allowance.share() - time.monotonic() <= 45
result = {"title": "moons", "case": "", "dtype": "float32", "unchecked": [], "left_out": {}}
result |= {"missing": {"JAX scan": "No module named 'jax'"}}
result |= {"seconds": {"PyTorch eager": [4e-6, 4e-6], "nnarray, CuPy": [2e-6, 2e-6]}}
about = {"date": "2030-01-02", "gpu": "A GPU", "driver": "1.2", "python": "3.11", "versions": {"numpy": "2.4"}}
result["seconds"]["products alone"] = [1e-6, 1e-6]
text = page(about, {"G1": {"": result}, "G4": {}}, unreached({"G1": {"": result}, "G4": {"batch 1": result}}))
assert text.startswith("2030-01-02, A GPU, driver 1.2; Python 3.11, numpy 2.4."), text
assert "| **nnarray, CuPy** | 2.00 | 2.00 to 2.00 | 0.50 | 2.00 | 0.01 |" in text, text
assert "missing: JAX scan: No module" in text, text
assert "Not reached: G4, batch 64.\\n\\nNot reached: G4, batch 4096." in text, text
"""
FAILURE = """
from worker import short
def fails(message):
    assert False, message
for message, reason in (("", "AssertionError: in fails, "), ("too far", "AssertionError: too far")):
    try:
        fails(message)
    except AssertionError as error:
        assert short(error).startswith(reason), short(error)
"""
PARTS = """
import zipfile
from pathlib import Path
import on_gpu
folder = Path(sys.argv[1])
for name in ("small", "numpy"):
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
with on_gpu.packages(folder) as there:  # numpy is installed: its wheel must not hide it
    assert [each.name for each in Path(there).iterdir()] == ["small.py"]
assert not Path(there).exists()
for part, places in on_gpu.CHECKS.items():
    assert all((on_gpu.ROOT / place).exists() for place in places), part
"""
ENDED = """
import os, time
from pathlib import Path
import on_gpu
file, seen = Path(sys.argv[1]) / "grandchild", []
stays = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(99)"
child = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {stays!r}])"
child += f"; open({str(file)!r}, 'w').write(str(p.pid)); {stays}"
on_gpu.GRACE, on_gpu.EVERY = 0.2, 0.5
status = on_gpu.ended([sys.executable, "-c", child], 5.0, os.environ, meanwhile=lambda: seen.append(1))
assert status == on_gpu.LATE and 3 < len(seen) < 12, (status, seen)
state = Path(f"/proc/{file.read_text()}/stat")
for _ in range(100):  # if nobody has waited for it yet, it is a zombie
    if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
        break
    time.sleep(0.05)
else:
    raise AssertionError("the grandchild runs on")
assert on_gpu.ended([sys.executable, "-c", "raise SystemExit(3)"], 60.0, os.environ) == 3
"""
TESTS = """
import os, signal, warnings
def test_passes(): warnings.warn("later versions will do otherwise", FutureWarning)
def test_theirs(): warnings.warn_explicit("theirs", UserWarning, "there.py", 1, module="torch.cuda")
def test_fails(): assert 1 == 2, "off by one"
def test_ours(): warnings.warn("ours")
def test_kills(): os.kill(os.getpid(), signal.SIGKILL)
def test_last(): pass
"""
OUTCOMES = """
import os, subprocess
from pathlib import Path
import on_gpu
folder = Path(sys.argv[1])
log, tests = folder / "log.jsonl", "test_some.py::test_"
words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.outcomes", "-c", os.devnull]
words += ["-o", "filterwarnings=error", f"--rootdir={folder}", str(folder / "test_some.py"), *sys.argv[2:]]
subprocess.run(words, env=os.environ | {"NNARRAY_OUTCOMES": str(log)}, cwd=on_gpu.ROOT)
found = on_gpu.outcomes(log)
failed = found["failed"]
assert "off by one" in failed[tests + "fails"] and "UserWarning: ours" in failed[tests + "ours"], failed
if sys.argv[2:]:  # another worker goes on
    assert "crashed" in failed[tests + "kills"] and found["passed"] == {"no backend": 3}, found
else:
    assert found["unfinished"] == [tests + "kills"] and found["not_reached"] == [tests + "last"], found
    assert found["passed"] == {"no backend": 2} and len(failed) == 2, found
    page = on_gpu.checked_page(on_gpu.machine(), {"part": "rest", "seconds": 1, "status": 1} | found)
    assert "| no backend | 2 |" in page and "- test_some.py: 1 not reached" in page and "off by one" in page, page
log.write_text(log.read_text() + '{"half a')
assert on_gpu.outcomes(log) == found
assert on_gpu.outcomes(folder / "none")["failed"]
"""


pytestmark = pytest.mark.skipif(not FILES, reason="the benchmarks are not part of what is installed")


def run_there(code: str, *words: str) -> str:
    """What a piece of Python prints that imports from the benchmarks."""
    return run_python(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\nsys.argv = ['', *{words!r}]\n{code}").stdout


def test_a_time_that_noise_made_negative_is_measured_again() -> None:
    run_there(DIFFERENCE)


@pytest.mark.parametrize("code", [PROFILE, PAGE, FAILURE, PARTS], ids=["profile", "page", "failure", "parts"])
def test_results_on_a_gpu_are_written_for_programs_and_for_the_docs(code: str, tmp_path: Path) -> None:
    run_there(code, str(tmp_path))


@pytest.mark.skipif(not Path("/proc").exists(), reason="it looks for a process in /proc")
def test_nothing_stays_of_a_part_that_is_ended(tmp_path: Path) -> None:
    run_there(ENDED, str(tmp_path))


@pytest.mark.parametrize("processes", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_each_outcome_is_written_as_the_test_ends(processes: tuple[str, ...], tmp_path: Path) -> None:
    if processes:
        pytest.importorskip("xdist")
    (tmp_path / "test_some.py").write_text(TESTS)
    run_there(OUTCOMES, str(tmp_path), *processes)


@pytest.mark.parametrize("flag", ["cupy"])
def test_the_smallest_workload_of_a_gpu_runs(flag: str) -> None:
    assert run_there(ON_CUPY) == "True ['seconds', 'start']\n"


@pytest.mark.skipif(not ON_CPU, reason="it rehearses without a GPU, on CuPy built for the host")
@pytest.mark.parametrize("part", ["small", "profile"])
def test_a_part_is_rehearsed_without_a_gpu_and_what_fails_in_it_is_named(part: str, tmp_path: Path) -> None:
    for library in ("torch", "jax"):  # they would take most of the time
        (tmp_path / library).mkdir()
        (tmp_path / library / "__init__.py").write_text("raise ImportError('it is hidden')")
    words = ("bench", part, "--rehearse", "--out", str(tmp_path), "--limit", "200")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run(sys.executable, str(FOLDER / "on_gpu.py"), *words, check=False, env=os.environ | {"PYTHONPATH": path})
    found = json.loads((tmp_path / f"bench-{part}.json").read_text())
    text = (tmp_path / f"bench-{part}.md").read_text()
    assert "A REHEARSAL WITHOUT A GPU" in text, done
    assert not found["not_reached"], done
    if part == "small":
        measured = [result for cases in found["results"].values() for result in cases.values()]
        ours = {"nnarray, CuPy", "nnarray, CuPy, graph", "products alone"}
        assert [set(each["seconds"]) for each in measured] == [ours] * 2, done
        assert text.count("missing: PyTorch eager: it is hidden") == 2
        assert done.returncode == 0, done
    else:
        assert [*found["profiles"]] == ["G1", "G2", "G3", "G6"]
        assert all(each["host_us"] > 0 for each in found["profiles"].values())
        assert text.count("Failed: the kernels: ") == text.count("Failed: the device's events: ") == 4
        assert done.returncode == 1, done


@pytest.mark.parametrize("code", [f"import {', '.join(FILES)}", RUN], ids=["imports", "smallest workload"])
def test_benchmarks_start(code: str) -> None:
    for needed in ("torch", "jax", "sklearn"):
        pytest.importorskip(needed)
    run_there(code)
