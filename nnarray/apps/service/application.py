"""The web service as an ASGI application: rows or an image in, predictions out."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from nnarray.apps.service.batches import Batcher, outputs_on_host
from nnarray.apps.service.bodies import Bodies
from nnarray.apps.service.counts import Counts
from nnarray.apps.service.heads import head_of
from nnarray.apps.service.payloads import CSV, JSON, WRITERS, Refused, kinds_for, prepared
from nnarray.apps.workflow.model_files import has_ended, origin_of
from nnarray.apps.workflow.pipeline import Pipeline
from nnarray.checks import integer
from nnarray.tables.oddities import FAR, MISSING, UNKNOWN, Oddities
from nnarray.version import __version__

log = logging.getLogger("nnarray")

SMALL = 4_096  # bytes of a body, and
FEW = 64  # rows of an answer, that cost a millisecond or two
ROWS_WITH = {UNKNOWN: "Unknown-Rows", MISSING: "Missing-Rows", FAR: "Far-Rows"}
"""The headers of an answer that count the rows with odd entries, by their kind."""

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What a service takes at most.

    Parameters
    ----------
    rows, bytes : int
        Of one request.
    waiting : int
        Requests that are accepted and not yet answered; further ones are asked to come back.
    seconds : float
        In which the body of a request must have come.
    """

    rows: int = 10_000
    bytes: int = 4_000_000
    waiting: int = 64
    seconds: float = 30.0

    def __post_init__(self) -> None:
        integer(self.rows, "--max-rows", 1, usual=10_000)
        integer(self.bytes, "--max-bytes", 1, usual=4_000_000)
        integer(self.waiting, "--max-waiting", 1, usual=64)


def application(
    pipeline: Pipeline,
    name: str,
    limits: Limits,
    ready: Callable[[], object] = lambda: None,
    *,
    sha256: str = "",
) -> Starlette:
    """The service of one pipeline, under the name of its file and its digest; `ready` is called when it answers.

    Everything is loaded and computed once here, so that no request waits for it, and an error shows before the start.
    """
    return _Service(pipeline, name, limits, ready, sha256).application()


class _Service:
    """Answers the requests; what it counts is changed by the event loop alone."""

    def __init__(self, pipeline: Pipeline, name: str, limits: Limits, ready: Callable[[], object], sha256: str) -> None:
        self.pipeline, self.name, self.limits, self.ready, self.sha256 = pipeline, name, limits, ready, sha256
        self.origin = origin_of(pipeline.model.metadata)
        self.counts = Counts({"model": name, "sha256": sha256, "trained": self.origin.ended})
        self._warm_up()
        self.bodies = Bodies(limits.bytes, limits.seconds)
        self.batcher = Batcher(pipeline.model, self.counts.computed)
        self.readers = ThreadPoolExecutor(1, thread_name_prefix="nnarray-bodies")

    def application(self) -> Starlette:
        routes = [
            Route("/", self.about),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/predict", self.predict, methods=["POST"]),
        ]
        faults: Any = {HTTPException: self._http_fault, Exception: _own_fault}
        service = Starlette(routes=routes, lifespan=self.lifespan, exception_handlers=faults)
        service.router.redirect_slashes = False  # clients send no body a second time
        service.state.bodies = self.bodies  # for the server, which knows when it ends
        return service

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """The batches are computed as long as requests are answered."""
        running = asyncio.create_task(self.batcher.run())
        self.ready()
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    def _warm_up(self) -> None:
        """Read a row without entries, so that no request waits for what is imported at the first one."""
        if self.pipeline.columns:
            row = dict.fromkeys(column.name for column in self.pipeline.columns)
            X = prepared(self.pipeline, json.dumps([row]).encode(), JSON, most=1)
            answers = self.pipeline.answers(outputs_on_host(self.pipeline.model, X))
            for write in WRITERS.values():
                write(answers)

    async def about(self, _: Request) -> Response:
        """What the model is."""
        facts: dict[str, Any] = {"model": self.name, "sha256": self.sha256, "trained": self.origin.to_json()}
        facts["training ended"] = has_ended(self.pipeline.model.metadata)
        facts["nnarray"] = __version__
        facts["targets"] = list(self.pipeline.targets)
        facts["classes"] = list(self.pipeline.classes)
        facts["columns"] = [column._asdict() for column in self.pipeline.columns]
        facts["accepts"] = list(kinds_for(self.pipeline))
        facts["limits"] = {"rows": self.limits.rows, "bytes": self.limits.bytes}
        return JSONResponse(facts)

    async def health(self, _: Request) -> Response:
        """Whether requests are answered."""
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        """The counts."""
        return PlainTextResponse(self.counts.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def predict(self, request: Request) -> Response:
        """The predictions for the rows, or the image, in the body."""
        begun = time.perf_counter()
        answer = await self._answer(request)
        self.counts.answered(answer.status_code, time.perf_counter() - begun)
        return answer

    async def _answer(self, request: Request) -> Response:
        if self.counts.waiting >= self.limits.waiting:
            busy = Refused(503, "too many requests wait for an answer; try again.", **{"Retry-After": "1"})
            return _refusal(busy, request)
        self.counts.waiting += 1
        try:
            return await self._predictions(request)
        except Refused as refused:
            return _refusal(refused, request)
        except ClientDisconnect:
            return _refusal(Refused(400, "the client has gone before the body had come."), request)
        except Exception:
            self.counts.answered(500, 0.0)
            raise
        finally:
            self.counts.waiting -= 1

    async def _predictions(self, request: Request) -> Response:
        head = head_of(self.pipeline, request.headers, request.query_params)
        body = await self.bodies.read(request)
        oddities = Oddities()
        how = {"unknown": head.unknown, "charset": head.charset, "most": self.limits.rows, "oddities": oddities}
        read = partial(prepared, self.pipeline, body, head.kind, **how)  # type: ignore[arg-type]
        X = await self._aside(read, small=head.kind in (JSON, CSV) and len(body) <= SMALL)
        outputs = await self.batcher.outputs(X) if len(X) else outputs_on_host(self.pipeline.model, X)
        answers = self.pipeline.answers(outputs)
        written = await self._aside(partial(WRITERS[head.answer], answers), small=len(X) <= FEW)
        self.counts.odd_rows.update(oddities.rows)
        counted = {ROWS_WITH[kind]: str(n) for kind, n in oddities.rows.items()}
        if head.unknown == "ignore":
            counted.setdefault(ROWS_WITH[UNKNOWN], "0")
        return Response(written, media_type=head.answer, headers=counted)

    async def _http_fault(self, _: Request, error: Any) -> Response:
        """No such page, or no such method."""
        self.counts.requests[error.status_code] += 1
        return JSONResponse({"error": f"{error.detail}: {PAGES}"}, error.status_code, headers=error.headers)

    async def _aside(self, work: Callable[[], T], *, small: bool) -> T:
        """Do it in a thread, so that others are answered meanwhile; at once, if that takes no longer than the way."""
        return work() if small else await asyncio.get_running_loop().run_in_executor(self.readers, work)


PAGES = "there are POST /predict and GET /, /health and /metrics."


def _refusal(refused: Refused, request: Request) -> Response:
    client = request.client and f"{request.client.host}:{request.client.port}"  # as in the line of the request
    log.debug("refused, %d: %s (%s)", refused.status, refused.reason, client)
    return JSONResponse({"error": refused.reason}, refused.status, headers=refused.headers)


async def _own_fault(_: Request, __: Exception) -> Response:
    """A fault of the service; the server writes it to its log."""
    return JSONResponse({"error": "the service failed; its log says why."}, 500)
