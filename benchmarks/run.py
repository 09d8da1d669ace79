"""Time a training step of nnarray beside its peers and the limit of the machine: python benchmarks/run.py --help."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from runtimes import RUNTIMES
from workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
AGREEMENT = {"float32": 2e-4, "float64": 1e-9}  # how far the mean losses may lie apart, relative


class Worker:
    """A runtime in a process of its own, for thread pools in one process steal each other's cores."""

    def __init__(self, name: str, workload: str, dtype: str, threads: int) -> None:
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        x64 = {"JAX_ENABLE_X64": str(int(dtype == "float64")), "JAX_PLATFORMS": "cpu", "NNARRAY_BACKEND": ""}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name, workload, dtype, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | limits | x64,
        )
        self.missing = self.answer().get("missing", "")

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} stopped: {self.process.stderr.read()[-2000:]}")
        return json.loads(line)

    def run(self, steps: int) -> tuple[float, float]:
        assert self.process.stdin
        print(steps, file=self.process.stdin, flush=True)
        answer = self.answer()
        return answer["seconds"], answer["loss"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(name: str, dtype: str, threads: int, rounds: int) -> dict[str, Any]:
    """Microseconds a step of every runtime: taken in turn, round by round, after a warm-up and a check."""
    work = WORKLOADS[name]
    workers = [Worker(each, name, dtype, threads) for each in RUNTIMES]
    missing = {w.name: w.missing for w in workers if w.missing}
    workers = [w for w in workers if not w.missing]
    try:
        check(workers, work, dtype)
        short, long = work.steps
        times: dict[str, list[float]] = {w.name: [] for w in workers}
        for worker in workers:
            worker.run(short), worker.run(long)
        for _ in range(rounds):
            for worker in workers:
                brief, whole = worker.run(short)[0], worker.run(long)[0]
                times[worker.name].append((whole - brief) / (long - short) * 1e6)
    finally:
        for worker in workers:
            worker.close()
    return {"title": work.title, "dtype": dtype, "missing": missing, "microseconds": times}


def check(workers: list[Worker], work: Workload, dtype: str) -> None:
    """All must have the same mean loss over the first steps, from the same parameters and batches."""
    found = {w.name: w.run(work.steps[0])[1] for w in workers if RUNTIMES[w.name].checked}
    want = found["NumPy by hand"]
    wrong = {n: loss for n, loss in found.items() if not math.isclose(loss, want, rel_tol=AGREEMENT[dtype])}
    if wrong:
        raise SystemExit(f"results differ, nothing was timed: NumPy by hand has {want}, but {wrong}")


def table(name: str, result: dict[str, Any]) -> Table:
    """Medians, quartiles, and the ratios to the best peer and to the products alone."""
    medians = {n: statistics.median(t) for n, t in result["microseconds"].items()}
    peers = {n: m for n, m in medians.items() if not n.startswith(("nnarray", "products"))}
    best, limit = min(peers.values()), medians["products alone"]
    made = Table(title=f"{name}: {result['title']}, {result['dtype']}")
    for column in ("runtime", "us a step", "quartiles", "x best peer", "x products alone"):
        made.add_column(column, justify="left" if column == "runtime" else "right")
    for runtime, median in sorted(medians.items(), key=lambda item: item[1]):
        times = result["microseconds"][runtime]
        low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else (median,) * 3
        spread = f"{low:,.1f} to {high:,.1f}"
        made.add_row(runtime, f"{median:,.1f}", spread, f"{median / best:.2f}", f"{median / limit:.2f}")
    for runtime, reason in result["missing"].items():
        made.add_row(runtime, "not installed", reason[:40], "", "")
    return made


def machine(threads: int) -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    names = ("nnarray", "numpy", "torch", "jax", "scikit-learn")
    return {
        "date": date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main(
    workloads: Annotated[str, typer.Option(help="Which, separated by commas: " + ", ".join(WORKLOADS))] = "W1,W2",
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float32",
    rounds: Annotated[int, typer.Option(help="How often each runtime takes its turn.")] = 7,
    threads: Annotated[int, typer.Option(help="Threads of each runtime.")] = os.cpu_count() or 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
) -> None:
    """Time a training step of nnarray, its peers, and the matrix products alone, in one run."""
    console = Console()
    about = machine(threads)
    console.print(about)
    results = {}
    for name in workloads.split(","):
        results[name] = measure(name, dtype, threads, rounds)
        console.print(table(name, results[name]))
    if json_file:
        json_file.write_text(json.dumps({"machine": about, "results": results}, indent=1))


if __name__ == "__main__":
    typer.run(main)
