"""What was measured, in the Markdown of the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from measure import Result
from report import OURS, notes, number, quartiles, ratios
from workloads import WORKLOADS


def page(about: dict[str, Any], results: dict[str, dict[str, Result]]) -> str:
    """The machine, and a table for each case."""
    tables = ["\n".join(table(name, result)) for name, cases in results.items() for result in cases.values()]
    return "\n\n".join([heading(about), *tables]) + "\n"


def heading(about: dict[str, Any]) -> str:
    """When and on what: the device, the driver and the versions."""
    device = f"{about['gpu']}, driver {about['driver']}" if about.get("gpu") else about["processor"]
    versions = [f"{name} {version}" for name, version in about["versions"].items() if version != "not installed"]
    return f"{about['date']}, {device}; Python {about['python']}, {', '.join(versions)}."


def table(name: str, result: Result) -> Iterator[str]:
    """Medians, quartiles and the ratio to the best peer; below, who is not in it and why."""
    unit, scale = WORKLOADS[name].unit(result["case"])
    unit = unit.replace("us ", "µs ")
    yield f"**{', '.join(filter(None, (f'{name}: ' + result['title'], result['case'], result['dtype'])))}.**\n"
    yield from rows(
        ("runtime", unit, "quartiles", "× best peer"),
        (
            (
                f"**{runtime}**" if runtime.startswith(OURS) else runtime,
                number(scale * statistics.median(seconds)),
                " to ".join(number(scale * each) for each in quartiles(seconds)),
                f"{ratio:.2f}",
            )
            for runtime, seconds, ratio in ratios(name, result)
        ),
    )
    yield from (f"\n{note}" for note in notes(result))


def rows(columns: Iterable[str], lines: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table: the first column to the left, numbers to the right."""
    columns = tuple(columns)
    yield f"| {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * (len(columns) - 1)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"
