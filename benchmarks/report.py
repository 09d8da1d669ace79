"""What was measured, as tables."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from measure import Result
from rich.markup import escape
from rich.table import Table
from workloads import REHEARSED, WORKLOADS, Growth, Training, Workload

OURS = "nnarray"
LIBRARIES = (
    "nnarray",
    "numpy",
    "numba",
    "torch",
    "jax",
    "keras",
    "autograd",
    "tinygrad",
    "scikit-learn",
    "onnxruntime",
    "onnx",
)
ON_GPU = ("nnarray", "numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "triton", "jax")
GPU = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def machine(threads: int, *, gpu: bool = False) -> dict[str, Any]:
    """What the figures are taken on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "date": date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in (ON_GPU if gpu else LIBRARIES)},
        **(_gpu() if gpu else {}),
    }


def _gpu() -> dict[str, str]:
    """The first GPU and its driver, as the driver's own program names them."""
    if REHEARSED:
        return {"gpu": "A REHEARSAL WITHOUT A GPU, whose times say nothing", "driver": "none"}
    try:
        said = subprocess.run(GPU, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return {"gpu": "a GPU that nvidia-smi does not name", "driver": "unknown"}
    name, _, driver = said.splitlines()[0].rpartition(", ")
    return {"gpu": name, "driver": driver}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def tables(name: str, results: dict[str, Result]) -> Iterable[Table]:
    """Of a workload: one a case, or of growth one a quantity."""
    if isinstance(WORKLOADS[name], Growth):
        return growth(name, results)
    return [table(name, result) for result in results.values()]


def table(name: str, result: Result) -> Table:
    """Medians, quartiles, and the ratios to the best peer and to the products alone."""
    work = WORKLOADS[name]
    limit, (unit, scale) = work.limit, work.unit(result["case"])
    times = {n: [scale * s for s in seconds] for n, seconds in result.get("seconds", {}).items()}
    medians = {n: statistics.median(t) for n, t in times.items()}
    best = best_peer(medians, limit)
    columns, starts = extra_columns(work, result), result.get("start", {})
    starred = [n for n in result["unchecked"] if n in medians and n != limit]
    made = Table(title=", ".join(filter(None, (f"{name}: {result['title']}", result["case"], result["dtype"]))))
    for column in ("runtime", unit, "quartiles", "x best peer", *columns):
        made.add_column(column, justify="left" if column == "runtime" else "right")
    if starts:
        made.add_column("start, ms", justify="right")
    for runtime, median in sorted(medians.items(), key=lambda item: item[1]):
        low, high = quartiles(times[runtime])
        mark = " *" if runtime in starred else ""
        made.add_row(
            runtime + mark,
            number(median),
            f"{number(low)} to {number(high)}",
            f"{median / best:.2f}",
            *(each(median / scale) for each in columns.values()),
            *([f"{max(statistics.median(starts[runtime]), 0) * 1e3:,.0f}"] if starts else []),
        )
    made.caption = "\n".join([*map(escape, notes(result))] + ["* its results cannot be compared"] * bool(starred))
    return made


def extra_columns(work: Workload, result: Result) -> dict[str, Callable[[float], str]]:
    """What some tables show of a time in seconds: its ratio to the limit, and on a GPU how much is multiplied in it."""
    columns: dict[str, Callable[[float], str]] = {}
    if alone := result.get("seconds", {}).get(work.limit):
        columns[f"x {work.limit}"] = lambda seconds: f"{seconds / statistics.median(alone):.2f}"
    if work.gpu and isinstance(work, Training):
        columns["TFLOP/s"] = lambda seconds: number(2e-12 * work.multiply_adds / seconds)
    return columns


def best_peer(medians: dict[str, float], limit: str) -> float:
    """The shortest time of a peer, NaN without any."""
    return min((m for n, m in medians.items() if m > 0 and not n.startswith(OURS) and n != limit), default=float("nan"))


def ratios(name: str, result: Result) -> Iterator[tuple[str, list[float], float]]:
    """Each runtime with its seconds and the ratio of their median to the best peer's, the fastest first."""
    medians = {n: statistics.median(seconds) for n, seconds in result.get("seconds", {}).items()}
    best = best_peer(medians, WORKLOADS[name].limit)
    for runtime, median in sorted(medians.items(), key=lambda item: item[1]):
        yield runtime, result["seconds"][runtime], median / best


def notes(result: Result) -> list[str]:
    """Who is not in the table, and why."""
    said = [f"missing: {runtime}: {reason}" for runtime, reason in result["missing"].items()]
    said += [f"left out: {runtime}: {reason}" for runtime, reason in result["left_out"].items()]
    return said


def growth(name: str, results: dict[str, Result]) -> Iterator[Table]:
    """Time, peak of memory and cost of a multiply-add: a line a size, a column a runtime."""
    work, first = WORKLOADS[name], next(iter(results.values()))
    runtimes = list(dict.fromkeys(n for result in results.values() for n in result.get("seconds", {})))
    parts: tuple[tuple[str, str, Callable[[Training], float]], ...] = (
        ("us a step", "seconds", lambda step: 1e6),
        ("peak of memory above that before the first step, MiB", "peak_mib", lambda step: 1.0),
        ("ps a multiply-add", "seconds", lambda step: 1e12 / step.multiply_adds),
    )
    for title, part, scale in parts:
        made = Table("size", title=f"{name}: {first['title']}, {first['dtype']}: {title}")
        for runtime in runtimes:
            made.add_column(runtime, justify="right")
        for case, result in results.items():
            factor, found = scale(work.step(case)), result.get(part, {})
            made.add_row(case, *(number(factor * statistics.median(found[n])) if n in found else "-" for n in runtimes))
        made.caption = "\n".join(dict.fromkeys(escape(note) for result in results.values() for note in notes(result)))
        yield made


def quartiles(times: list[float]) -> tuple[float, float]:
    if len(times) < 2:
        return times[0], times[0]
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, high


def number(x: float) -> str:
    """Three digits at least."""
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.{1 if abs(x) >= 10 else 2}f}"
