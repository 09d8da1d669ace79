"""Time nnarray beside its peers and the limit of the machine: python benchmarks/run.py --help."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from measure import Allowance, measure
from pages import page
from report import machine, tables
from rich.console import Console
from workloads import TOLERANCE, WORKLOADS


def main(
    workloads: Annotated[str, typer.Option(help="Which, separated by commas; all that there are in the dtype.")] = "",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    repeats: Annotated[int, typer.Option(min=2, help="How often each runtime takes its turn.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = os.cpu_count() or 1,
    gpu: Annotated[bool, typer.Option("--gpu", help="The workloads on a GPU instead of those on the CPU.")] = False,
    seconds: Annotated[
        float, typer.Option(help="How long all may take; by itself, until all are measured.")
    ] = math.inf,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Where to write them as tables.")] = None,
) -> None:
    """Time nnarray, its peers, and the matrix products alone, in one run; the exit status tells whether all agreed."""
    if dtype not in TOLERANCE:
        raise typer.BadParameter(f"dtype must be one of {', '.join(TOLERANCE)}; got {dtype}.")
    names = chosen(workloads, dtype, gpu=gpu)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    about, results = machine(threads, gpu=gpu), {name: {} for name in names}
    console.print(about)

    def write() -> None:
        """Before the first case and after each: an interrupted run leaves what was measured, and names the rest."""
        missed = unreached(results)
        if json_file:
            everything = {"machine": about, "results": results, "not_reached": missed}
            json_file.write_text(json.dumps(everything, indent=1) + "\n")
        if markdown_file:
            markdown_file.write_text(page(about, results, missed), encoding="utf-8")

    write()
    allowance = Allowance(time.monotonic() + seconds, len(unreached(results)))
    for name, cases in results.items():
        for case, result in measure(name, dtype, threads, repeats, allowance):
            cases[case] = result
            write()
        for each in tables(name, cases):
            console.print(each)
    raise typer.Exit(int(disagreed(results)))


def unreached(results: dict[str, Any]) -> list[str]:
    """The cases that have no result."""
    return [
        ", ".join(filter(None, (n, c))) for n, cases in results.items() for c in WORKLOADS[n].cases if c not in cases
    ]


def chosen(workloads: str, dtype: str, *, gpu: bool) -> list[str]:
    """The names that were asked for, or all that there are in this dtype on that kind of device."""
    able = [name for name, work in WORKLOADS.items() if dtype in work.dtypes and work.gpu == gpu]
    names = workloads.split(",") if workloads else able
    if not set(names) <= set(able):
        raise typer.BadParameter(f"workloads in {dtype} are {', '.join(able)}; got {workloads}.")
    return names


def disagreed(results: dict[str, Any]) -> bool:
    """Whether a runtime that is there was left out."""
    return any(result["left_out"] for cases in results.values() for result in cases.values())


if __name__ == "__main__":
    typer.run(main)
