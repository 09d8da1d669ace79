"""`nnarray bench`: is a GPU faster on this machine?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnarray.checks import integer, real
from nnarray.cli.app import app
from nnarray.cli.console import bar, integers, output, show_facts, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from nnarray.apps.bench import Case, Timing

DOUBTFUL = (
    "Some of these times vary, or beat the limit, by more than a factor of 2: other programs seem to be running. "
    "Measure again without them."
)


@app.command(
    short_help="Is a GPU faster on this machine? Times backends and network sizes.",
    epilog=(
        "\b\nExamples:\n  nnarray bench\n  nnarray bench --backends numpy,torch:cuda:0 --sizes 256,1024,4096\n"
        "  nnarray bench --json > bench.json"
    ),
)
def bench(
    wanted: Annotated[
        str | None,
        typer.Option("--backends", help="Backends, such as numpy,torch; default: all that can compute."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", help="Widths of the layers; default: 16,64,256,1024, and 2048 with a GPU."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Examples a step.")] = 128,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, float64, float16 or bfloat16.")] = "float32",
    seconds: Annotated[float, typer.Option("--seconds", help="Approximate time for each backend and size.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Time forward propagation and training on the usable backends, and show from which size a GPU is faster."""
    integer(batch_size, "--batch-size", 1, usual=128)
    real(seconds, "--seconds", least=0.0, usual=1.0)
    widths = None if sizes is None else sorted(set(integers(sizes, "--sizes")))
    flags = None if wanted is None else _flags(wanted)
    from nnarray.apps.bench import default_widths, devices, measure, verdict

    measured = devices(flags)
    cases: list[Case] = []
    widths = widths or default_widths(measured)
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with bar(len(widths) * len(measured), *columns) as update:
        for case in measure(measured, widths, batch_size=batch_size, dtype=dtype, seconds=seconds):
            cases.append(case)
            update(advance=1)
    if as_json:
        settings = {"batch_size": batch_size, "dtype": dtype, "seconds": seconds}
        results = {"cases": [_for_machines(case) for case in cases], "verdict": verdict(cases)}
        typer.echo(json.dumps(settings | results, indent=2))
        return
    _show(output(), cases, batch_size, dtype, verdict(cases))


def _flags(text: str) -> list[str]:
    flags = [flag.strip() for flag in text.split(",")]
    if not all(flags):
        raise ValueError(f"--backends must be names separated by commas, such as numpy,torch; got {text!r}.")
    return flags


# --- Output --------------------------------------------------------------------------------------------


def _for_machines(case: Case) -> dict[str, Any]:
    timings = {"forward": case.forward, "training": case.training}
    rates = {kind: asdict(t) | {"gflops": t.gflops, "share": t.fraction} if t else None for kind, t in timings.items()}
    return asdict(case) | rates


def _show(console: Console, cases: Sequence[Case], batch: int, dtype: str, sentences: Sequence[str]) -> None:
    devices = {case.backend: case.device for case in cases}
    facts = {
        "network": f"n-n-n-10, relu, {dtype}; batches of {batch}; a step of Adam",
        "devices": ", ".join(f"{name} on {device}" for name, device in devices.items()),
        "limit": "fraction of the speed of the matrix products alone on the same backend",
    }
    show_facts(console, facts)
    # Names of columns may occur twice, so all but the backend's are flush right.
    names = ["n", "backend", "forward", "GFLOP/s", "limit", "step", "GFLOP/s", "limit"]
    rows = [[str(case.width), case.backend, *_cells(case.forward), *_cells(case.training)] for case in cases]
    show_table(console, names, rows, right=[name for name in names if name != "backend"])
    console.print()
    for case in cases:
        if case.failure:  # not in the table, as it is too long for a column
            console.print(f"{case.backend} at {case.width}: {' '.join(case.failure.split())}", soft_wrap=True)
    if any(timing and timing.doubtful for case in cases for timing in (case.forward, case.training)):
        console.print(DOUBTFUL)
    for sentence in sentences:
        console.print(sentence)


def _cells(timing: Timing | None) -> list[str]:
    if timing is None:
        return ["failed", "", ""]
    return [written(timing.seconds), f"{timing.gflops:.3g}", f"{timing.fraction:.0%}"]


def written(seconds: float) -> str:
    """A time in a suitable unit: "1.23 ms"."""
    unit, name = next(((u, n) for u, n in ((1.0, "s"), (1e-3, "ms")) if seconds >= 0.9995 * u), (1e-6, "us"))
    return f"{seconds / unit:#.3g}".removesuffix(".") + f" {name}"
