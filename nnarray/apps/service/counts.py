"""What a service has done so far, in the text that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nnarray.tables.oddities import SAID

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})  # in a label


@dataclass
class Counts:
    """Requests by status, how long they took, and rows. All of it is changed by one thread, the event loop's."""

    model: Mapping[str, str] = field(default_factory=dict[str, str])
    """What says which model answers: labels of a metric."""
    requests: Counter[int] = field(default_factory=Counter[int])
    durations: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """How many requests took so long: up to each of the bounds, and longer."""
    seconds: float = 0.0
    rows: int = 0
    odd_rows: Counter[str] = field(default_factory=Counter[str])
    """Rows with entries that the training has met none like, by the kind of these."""
    computations: int = 0
    waiting: int = 0

    def answered(self, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests[status] += 1
        self.durations[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def computed(self, rows: int) -> None:
        """Count rows that were computed together."""
        self.rows += rows
        self.computations += 1

    def text(self) -> str:
        """In Prometheus' text format 0.0.4."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head(
            "model_info", "gauge", "Which model answers: its file, the digest of that, when it was trained."
        )
        yield f"nnarray_model_info{{{_labels(self.model)}}} 1"
        yield from _head(
            "requests_total", "counter", "Requests for predictions, and of other pages that there are not, by status."
        )
        yield from (f'nnarray_requests_total{{code="{code}"}} {n}' for code, n in sorted(self.requests.items()))
        yield from _head("rows_total", "counter", "Rows, or images, that were predicted.")
        yield f"nnarray_rows_total {self.rows}"
        for kind, said in SAID.items():
            yield from _head(f"{kind}_rows_total", "counter", f"Rows that {said}.")
            yield f"nnarray_{kind}_rows_total {self.odd_rows[kind]}"
        yield from _head("computations_total", "counter", "Computations; each may be of several requests.")
        yield f"nnarray_computations_total {self.computations}"
        yield from _head("waiting_requests", "gauge", "Requests that are accepted and not yet answered.")
        yield f"nnarray_waiting_requests {self.waiting}"
        yield from _head("request_seconds", "histogram", "From the head of a request to its answer.")
        total = 0
        for bound, n in zip((*BOUNDS, "+Inf"), self.durations, strict=True):
            total += n
            yield f'nnarray_request_seconds_bucket{{le="{bound}"}} {total}'
        yield f"nnarray_request_seconds_sum {self.seconds:.6f}"
        yield f"nnarray_request_seconds_count {total}"


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP nnarray_{name} {what}", f"# TYPE nnarray_{name} {kind}"


def _labels(values: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(ESCAPED)}"' for name, value in values.items())
