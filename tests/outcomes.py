"""Each test's outcome in a line of its own, as it ends: NNARRAY_OUTCOMES=file python -m pytest -p tests.outcomes.

A session that is killed has then told what passed, what failed and why, what was running, and what was not reached.
Warnings of other libraries, whose versions may be others than ours, are no errors in it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

OTHERS = "cupy|cupyx|cupy_backends|torch|jax|jaxlib|numba|numpy|array_api_compat|array_api_strict|pandas|polars"
TOLERATED = (
    *(f"default::{kind}" for kind in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")),
    rf"default:::({OTHERS})(\.|$)",
)
LONGEST = 4000  # characters of what a failure says: its end, which tells most


def pytest_configure(config: pytest.Config) -> None:
    for each in TOLERATED:
        config.addinivalue_line("filterwarnings", each)
    if not hasattr(config, "workerinput"):  # the process that has all reports
        config.pluginmanager.register(Outcomes(Path(os.environ["NNARRAY_OUTCOMES"])))


class Outcomes:
    """Writes a line for each thing that happens."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")
        self.known = False

    def write(self, **line: Any) -> None:
        print(json.dumps(line), file=self.file, flush=True)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.collected(ids)

    def collected(self, tests: list[str]) -> None:
        """Once, whichever process tells it first."""
        if tests and not self.known:
            self.write(tests=tests)
            self.known = True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.write(test=report.nodeid, outcome="failed", said=report.longreprtext[-LONGEST:])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.write(begun=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        crash = getattr(report.longrepr, "reprcrash", None)
        self.write(
            test=report.nodeid,
            outcome=report.outcome,
            backend=dict(report.user_properties).get("backend", "no backend"),
            seconds=round(report.duration, 3),
            **(
                {"why": crash.message if crash else "", "said": report.longreprtext[-LONGEST:]} if report.failed else {}
            ),
        )
