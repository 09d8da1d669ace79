"""What was measured, in the Markdown of the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from measure import Result
from report import OURS, extra_columns, notes, number, quartiles, ratios
from workloads import WORKLOADS


def page(about: dict[str, Any], results: dict[str, dict[str, Result]], missed: Iterable[str] = ()) -> str:
    """The machine, a table for each case, and the cases that were not reached."""
    tables = ["\n".join(table(name, result)) for name, cases in results.items() for result in cases.values()]
    return "\n\n".join([heading(about), *tables, *unreached(missed)]) + "\n"


def unreached(missed: Iterable[str]) -> list[str]:
    return [f"Not reached: {each}." for each in missed]


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
    columns = extra_columns(WORKLOADS[name], result)
    yield from rows(
        ("runtime", unit, "quartiles", "× best peer", *(title.replace("x ", "× ") for title in columns)),
        (
            (
                f"**{runtime}**" if runtime.startswith(OURS) else runtime,
                number(scale * statistics.median(seconds)),
                " to ".join(number(scale * each) for each in quartiles(seconds)),
                f"{ratio:.2f}",
                *(each(statistics.median(seconds)) for each in columns.values()),
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
