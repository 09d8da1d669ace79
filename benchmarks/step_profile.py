"""Where the time of a training step on CuPy goes: python benchmarks/step_profile.py --help.

PyTorch's profiler asks NVIDIA's for every kernel of the process, CuPy's included. Where it cannot, what is left is the
time of a step by the host's clock and by the device's.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import gpu
import pages
import typer
from images import PETS
from report import machine, number
from workloads import WORKLOADS, Images

Kernels = list[tuple[str, float, float]]  # name, start and duration in microseconds
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")  # what a trace calls that which occupies the device
NAMED = 12  # kernels in the table
REPEATS = 3


def main(
    workloads: Annotated[str, typer.Option(help="Which trainings, separated by commas.")] = "G1,G2,G3,G6",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Where to write them as tables.")] = None,
) -> None:
    """Profile training steps of nnarray on CuPy."""
    about, found = machine(1, gpu=True), {}
    for name in workloads.split(","):
        found[name] = profiled(name)
        text = "\n\n".join([pages.heading(about), *("\n".join(table(n, each)) for n, each in found.items())]) + "\n"
        if json_file:
            json_file.write_text(json.dumps({"machine": about, "profiles": found}, indent=1) + "\n")
        if markdown_file:
            markdown_file.write_text(text, encoding="utf-8")
    print(text)


def profiled(name: str) -> dict[str, Any]:
    """The times of a step, and its kernels where they can be seen."""
    run, steps, warmed = training(name)
    for _ in range(2):
        warmed()
    return times(run, steps) | summary(traced(run), steps)


def training(name: str) -> tuple[Callable[[], Any], int, Callable[[], Any]]:
    """A call that trains for some epochs, how many steps that are, and a call that prepares all that they need."""
    work = WORKLOADS[name]
    few, many = work.epochs
    if isinstance(work, Images):
        painter = gpu.CupyPainter(work, "float32", 1)
        return lambda: painter.pets(many), many * work.batches, lambda: painter.pets(few)
    trainer = gpu.NnarrayCupy(work, "float32", 1)
    return lambda: trainer.run(many), many * work.batches, lambda: trainer.run(few)


def times(run: Callable[[], Any], steps: int) -> dict[str, Any]:
    """Microseconds of a step by the host's clock and between two events on the device, the start of `fit` included."""
    from cupyx.profiler import benchmark

    found = benchmark(run, n_repeat=REPEATS, n_warmup=0)
    host, device = (1e6 * statistics.median(seconds.ravel()) / steps for seconds in (found.cpu_times, found.gpu_times))
    return {"steps": steps, "host_us": host, "device_us": device}


def traced(run: Callable[[], Any]) -> Kernels:
    """All that occupies the device during a call; nothing where no profiler sees it."""
    try:
        from torch import profiler
    except ImportError:
        return []
    if profiler.ProfilerActivity.CUDA not in profiler.supported_activities():
        return []
    with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as profile:
        run()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(file))
        return kernels_of(json.loads(file.read_text())["traceEvents"])


def kernels_of(events: list[dict[str, Any]]) -> Kernels:
    """Of a trace, what occupies the device, in order."""
    found = ((e["name"], float(e["ts"]), float(e["dur"])) for e in events if e.get("cat") in ON_DEVICE)
    return sorted(found, key=lambda kernel: kernel[1])


def summary(kernels: Kernels, steps: int) -> dict[str, Any]:
    """Launches and microseconds of a step by name, how much of the time the device works, and the gaps between."""
    if not kernels:
        return {"kernels": {}, "unseen": "no profiler here sees the kernels: it takes PyTorch for CUDA"}
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, _, duration in kernels:
        by_name[name].append(duration)
    between = gaps(kernels)
    end = max(start + duration for _, start, duration in kernels)
    span = end - kernels[0][1]
    return {
        "span_us": span / steps,
        "launches": len(kernels) / steps,
        "busy": 1.0 - sum(between) / span,
        "gap_us": {"median": statistics.median(between or [0.0]), "longest": max(between, default=0.0)},
        "kernels": {name: {"launches": len(d) / steps, "us": sum(d) / steps} for name, d in by_name.items()},
    }


def gaps(kernels: Kernels) -> list[float]:
    """Microseconds in which the device waits, from the end of what ran before to the next start."""
    found, end = [], kernels[0][1]
    for _, start, duration in kernels:
        if start > end:
            found.append(start - end)
        end = max(end, start + duration)
    return found


def table(name: str, found: dict[str, Any]) -> Iterator[str]:
    """The profile of one training in Markdown."""
    work = WORKLOADS[name]
    title = PETS if isinstance(work, Images) else work.title
    host, device = number(found["host_us"]), number(found["device_us"])
    yield f"**{name}, a step: {title}.**\n"
    yield f"{host} µs by the host's clock, {device} µs by the device's, the start of `fit` included."
    if not found["kernels"]:
        yield found["unseen"]
        return
    gap = found["gap_us"]
    yield f"{found['launches']:.1f} launches a step; the device works for {found['busy']:.0%} of the time."
    yield f"Gaps: median {number(gap['median'])} µs, longest {number(gap['longest'])} µs.\n"
    total = sum(each["us"] for each in found["kernels"].values())
    longest = sorted(found["kernels"].items(), key=lambda item: -item[1]["us"])
    yield from pages.rows(
        ("kernel", "launches a step", "µs a step", "of the work"),
        (
            (f"`{k[:60]}`", f"{e['launches']:.1f}", number(e["us"]), f"{e['us'] / total:.0%}")
            for k, e in longest[:NAMED]
        ),
    )
    if len(longest) > NAMED:
        yield f"\nAnd {len(longest) - NAMED} more kernels."


if __name__ == "__main__":
    typer.run(main)
