"""Time a training step of nnarray beside its peers and the limit of the machine: python benchmarks/run.py --help."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
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
REFERENCE, LIMIT = "NumPy by hand", "products alone"
PAUSE = 0.1  # seconds in which the threads of the runtime before stop waiting for work


class Worker:
    """A runtime in a process of its own, for thread pools in one process steal each other's cores."""

    def __init__(self, name: str, workload: str, dtype: str, threads: int) -> None:
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        choices = {"JAX_ENABLE_X64": str(int(dtype == "float64")), "JAX_PLATFORMS": "cpu", "NNARRAY_BACKEND": ""}
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (a pipe that nobody reads would fill up)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name, workload, dtype, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | limits | choices,
        )
        self.about = self.answer()

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"{self.name} stopped: {self.errors.read()[-2000:]}")
        return json.loads(line)

    def run(self, epochs: int) -> tuple[float, float]:
        """Seconds, and the mean loss of the steps."""
        print(epochs, file=self.process.stdin, flush=True)
        answer = self.answer()
        return answer["seconds"], answer["loss"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


def measure(name: str, dtype: str, threads: int, repeats: int) -> dict[str, Any]:
    """Times of every runtime: taken in turn, round by round, after a check, which is also the warm-up."""
    work, workers = WORKLOADS[name], []
    try:
        for each in RUNTIMES:
            workers.append(Worker(each, name, dtype, threads))
        missing = {w.name: w.about["missing"] for w in workers if "missing" in w.about}
        there = [w for w in workers if w.name not in missing]
        losses = check(there, work, dtype)
        rounds = [{w.name: timed(w, work) for w in there} for _ in range(repeats)]
    finally:
        for worker in workers:
            worker.close()
    return {
        "title": work.title,
        "dtype": dtype,
        "missing": missing,
        "mean_losses": losses,
        "unchecked": [w.name for w in there if not w.about["checked"]],
        "step_microseconds": {w.name: [each[w.name][0] for each in rounds] for w in there},
        "start_milliseconds": {w.name: [each[w.name][1] for each in rounds] for w in there},
    }


def timed(worker: Worker, work: Workload) -> tuple[float, float]:
    """Microseconds a step, by the difference of a long and a short run, and milliseconds of what comes before."""
    time.sleep(PAUSE)
    short, long = work.epochs
    brief, whole = worker.run(short)[0], worker.run(long)[0]
    epoch = (whole - brief) / (long - short)
    return epoch / work.batches * 1e6, (brief - short * epoch) * 1e3


def check(workers: list[Worker], work: Workload, dtype: str) -> dict[str, float]:
    """The mean losses of a short and a long run; all must be the same, from the same parameters and batches."""
    found = {w.name: [w.run(epochs)[1] for epochs in work.epochs] for w in workers}
    checked = {w.name: found[w.name] for w in workers if w.about["checked"]}
    for name, losses in checked.items():
        for loss, want in zip(losses, checked[REFERENCE], strict=True):
            if not math.isclose(loss, want, rel_tol=AGREEMENT[dtype]):
                raise SystemExit(f"nothing was timed: the mean loss of {name} is {loss}, of {REFERENCE} {want}.")
    return {name: losses[0] for name, losses in checked.items()}


def table(name: str, result: dict[str, Any]) -> Table:
    """Medians, quartiles, and the ratios to the best peer and to the products alone."""
    steps, starts = result["step_microseconds"], result["start_milliseconds"]
    medians = {n: statistics.median(t) for n, t in steps.items()}
    best = min(m for n, m in medians.items() if not n.startswith("nnarray") and n != LIMIT)
    made = Table(title=f"{name}: {result['title']}, {result['dtype']}")
    for column in ("runtime", "us a step", "quartiles", "x best peer", "x products", "start, ms"):
        made.add_column(column, justify="left" if column == "runtime" else "right")
    for runtime, median in sorted(medians.items(), key=lambda item: item[1]):
        low, _, high = statistics.quantiles(steps[runtime], n=4, method="inclusive")
        mark = " *" if runtime in result["unchecked"] and runtime != LIMIT else ""
        made.add_row(
            runtime + mark,
            f"{median:,.1f}",
            f"{low:,.1f} to {high:,.1f}",
            f"{median / best:.2f}",
            f"{median / medians[LIMIT]:.2f}",
            f"{max(statistics.median(starts[runtime]), 0):,.0f}",
        )
    for runtime, reason in result["missing"].items():
        made.add_row(runtime, "not installed", reason[:40])
    if any(n != LIMIT for n in result["unchecked"]):
        made.caption = "* not the same network: its loss is not compared"
    return made


def machine(threads: int) -> dict[str, Any]:
    """What the figures are taken on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    names = ("nnarray", "numpy", "torch", "jax", "scikit-learn")
    return {
        "date": date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main(
    workloads: Annotated[str, typer.Option(help="Which, separated by commas.")] = ",".join(WORKLOADS),
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    repeats: Annotated[int, typer.Option(min=2, help="How often each runtime takes its turn.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = os.cpu_count() or 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
) -> None:
    """Time a training step of nnarray, its peers, and the matrix products alone, in one run."""
    names = workloads.split(",")
    if not set(names) <= set(WORKLOADS):
        raise typer.BadParameter(f"workloads are {', '.join(WORKLOADS)}; got {workloads}.")
    if dtype not in AGREEMENT:
        raise typer.BadParameter(f"dtype must be one of {', '.join(AGREEMENT)}; got {dtype}.")
    console = Console() if sys.stdout.isatty() else Console(width=120)
    about, results = machine(threads), {}
    console.print(about)
    for name in names:
        results[name] = measure(name, dtype, threads, repeats)
        console.print(table(name, results[name]))
    if json_file:
        json_file.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
