"""Where the time of a training step on CuPy goes: python benchmarks/step_profile.py --help.

PyTorch's profiler asks NVIDIA's for every kernel of the process, CuPy's included. Where it cannot, what is left is the
time of a step by the host's clock and by the device's.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import gpu
import pages
import typer
from report import machine, number
from worker import short
from workloads import REHEARSED, WORKLOADS, Images

Kernels = list[tuple[str, float, float]]  # name, start and duration in microseconds
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")  # what a trace calls that which occupies the device
NAMED = 12  # kernels in the table
REPEATS = 3
STEPS = 4 if REHEARSED else 500  # of a profile, about


def main(
    workloads: Annotated[str, typer.Option(help="Which trainings, separated by commas.")] = "G1,G2,G3,G6",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Where to write them as tables.")] = None,
) -> None:
    """Profile training steps of nnarray on CuPy; the exit status tells whether all could be seen."""
    about, names, found = machine(1, gpu=True), workloads.split(","), {}

    def write() -> None:
        """Before each profile and after the last, so that an interrupted one leaves what was found, and is named."""
        missed = [name for name in names if name not in found]
        if json_file:
            everything = {"machine": about, "profiles": found, "not_reached": missed}
            json_file.write_text(json.dumps(everything, indent=1) + "\n")
        if markdown_file:
            markdown_file.write_text(page(about, found, missed), encoding="utf-8")

    for name in names:
        write()
        found[name] = profiled(name)
        print("\n".join(table(name, found[name])), flush=True)
    write()
    raise typer.Exit(int(any(each["failed"] for each in found.values())))


def profiled(name: str) -> dict[str, Any]:
    """The times of a step, and its kernels where they can be seen; of what fails, the reason."""
    found: dict[str, Any] = {"failed": {}}
    try:
        run, steps, warmed = training(name)
        for _ in range(2):
            warmed()
    except Exception as error:
        return {"failed": {"the training": short(error)}}
    for what, measured in (("the host's clock", clock), ("the device's events", events), ("the kernels", kernels)):
        try:
            found |= measured(run, steps)
        except Exception as error:  # the other figures stay
            found["failed"][what] = short(error)
    return found | {"steps": steps}


def training(name: str) -> tuple[Callable[[], Any], int, Callable[[], Any]]:
    """A call that trains for some epochs, how many steps that are, and a call that prepares all that they need."""
    work = WORKLOADS[name]
    few = work.epochs[0]
    many = max(few, STEPS // work.batches)
    if isinstance(work, Images):
        (case,) = work.cases
        painter = gpu.CupyPainter(work, "float32", 1)
        return lambda: painter.train(case, many), many * work.batches, lambda: painter.train(case, few)
    trainer = gpu.NnarrayCupy(work, "float32", 1)
    return lambda: trainer.run(many), many * work.batches, lambda: trainer.run(few)


def clock(run: Callable[[], Any], steps: int) -> dict[str, Any]:
    """Microseconds of a step by the host's clock, until the device has ended; the start of `fit` included."""
    return {"host_us": median(lambda: seconds(run), steps)}


def seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def events(run: Callable[[], Any], steps: int) -> dict[str, Any]:
    """The same between two events on the device."""
    from cupyx.profiler import benchmark

    return {"device_us": median(lambda: float(benchmark(run, n_repeat=1, n_warmup=0).gpu_times.max()), steps)}


def median(measured: Callable[[], float], steps: int) -> float:
    """Microseconds of one step, the median of some measurements in seconds."""
    return 1e6 * statistics.median(measured() for _ in range(REPEATS)) / steps


def kernels(run: Callable[[], Any], steps: int) -> dict[str, Any]:
    """A summary of all that occupies the device during a call; without figures where no profiler sees it."""
    from torch import profiler

    if profiler.ProfilerActivity.CUDA not in profiler.supported_activities():
        raise ImportError("no profiler here sees the kernels: it takes PyTorch for CUDA")
    with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as profile:
        run()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(file))
        return summary(kernels_of(json.loads(file.read_text())["traceEvents"]), steps)


def kernels_of(events: list[dict[str, Any]]) -> Kernels:
    """Of a trace, what occupies the device, in order."""
    found = ((e["name"], float(e["ts"]), float(e["dur"])) for e in events if e.get("cat") in ON_DEVICE)
    return sorted(found, key=lambda kernel: kernel[1])


def summary(seen: Kernels, steps: int) -> dict[str, Any]:
    """Launches and microseconds of a step by name, how much of the time the device works, and the gaps between."""
    if not seen:
        raise RuntimeError("the profiler saw no kernel")
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, _, duration in seen:
        by_name[name].append(duration)
    between = gaps(seen)
    end = max(start + duration for _, start, duration in seen)
    span = end - seen[0][1]
    return {
        "span_us": span / steps,
        "launches": len(seen) / steps,
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


def page(about: dict[str, Any], found: dict[str, Any], missed: list[str]) -> str:
    """All profiles in Markdown, and which were not reached."""
    parts = ["\n".join(table(name, each)) for name, each in found.items()]
    return "\n\n".join([pages.heading(about), *parts, *pages.unreached(missed)]) + "\n"


def table(name: str, found: dict[str, Any]) -> Iterator[str]:
    """The profile of one training in Markdown."""
    work = WORKLOADS[name]
    title = work.cases[0] if isinstance(work, Images) else work.title
    yield f"**{name}, a step: {title}.**\n"
    for part, whose in (("host_us", "host's"), ("device_us", "device's")):
        if part in found:
            yield f"{number(found[part])} µs by the {whose} clock, the start of `fit` included."
    yield from (f"\nFailed: {what}: {reason}" for what, reason in found["failed"].items())
    if "kernels" not in found:
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
