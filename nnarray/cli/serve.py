"""`nnarray serve`: a trained network as a web service."""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nnarray
from nnarray.apps.workflow.model_files import origin_of
from nnarray.backends import backend as backend_called
from nnarray.checks import real
from nnarray.cli.app import app, though_nobody_reads
from nnarray.cli.console import Flag
from nnarray.cli.logs import LogFile, Verbose, logged
from nnarray.cli.predict import DType, ModelFile
from nnarray.persistence.archive import sha256_of
from nnarray.training.context import TERMINATING

if TYPE_CHECKING:
    import uvicorn

    from nnarray.apps.workflow.pipeline import Pipeline

log = logging.getLogger("nnarray")

LOCAL = ("127.0.0.1", "::1", "localhost")
KEPT = 75  # seconds of an idle connection: longer than proxies keep theirs, which would else send into a closing one
OPEN = "others can reach this address, without encryption or a password; put it behind a proxy"


@app.command(
    short_help="A trained network as a web service.",
    epilog=(
        "\b\nExamples:\n  nnarray serve flowers.safetensors\n"
        '  curl -H "Content-Type: application/json" http://127.0.0.1:8000/predict \\\n'
        '       -d \'[{"length": 5.1, "colour": "red"}]\''
    ),
)
def serve(
    ctx: typer.Context,
    model: ModelFile,
    host: Annotated[str, typer.Option("--host", help="The address to listen at; 0.0.0.0: all of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", help="0: one that is free.")] = 8000,
    backend: Flag = "auto",
    dtype: DType = None,
    max_rows: Annotated[int, typer.Option("--max-rows", help="Of one request.")] = 10_000,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="Of one request.")] = 4_000_000,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", help="Requests that wait for an answer; others are to come back.")
    ] = 64,
    stop_seconds: Annotated[
        float, typer.Option("--stop-seconds", help="In which the service ends, also if clients or answers are slow.")
    ] = 5.0,
    workers: Annotated[int, typer.Option("--workers", hidden=True)] = 1,
    log_file: LogFile = None,
    verbose: Verbose = False,
) -> None:
    """Answer requests of HTTP with the predictions of a network, until Ctrl-C or SIGTERM.

    POST /predict takes JSON or CSV, or an image; GET / says what the model is, /health whether it answers, /metrics
    what it has done. There is neither encryption nor a password: for others than this machine, put it behind a proxy.
    A service is one process: to use several cores, start several, each with its own --port, behind a proxy.
    """
    if workers != 1:
        raise ValueError(
            f"--workers {workers}: a service is one process. Start several, each with its own --port, behind a proxy; "
            f"the page on nnarray serve shows one for nginx."
        )
    real(stop_seconds, "--stop-seconds", least=0.1, usual=5.0)
    uvicorn, service = _libraries()
    ctx.with_resource(logged(log_file, verbose, also="uvicorn"))
    limits = service.Limits(max_rows, max_bytes, max_waiting)
    pipeline, digest = _loaded(model, backend, dtype)
    origin = origin_of(pipeline.model.metadata)
    listening = ctx.with_resource(closing(_listening(host, port)))

    def ready() -> None:
        with though_nobody_reads():
            typer.echo(f"{model.name} answers at {_url(listening)}; Ctrl-C ends it")
        log.info("nnarray %s serves %s at %s: %r", nnarray.__version__, model, _url(listening), pipeline)
        log.info("the file has the sha256 %s, its training ended: %s", digest, origin.text)
        if host not in LOCAL:
            typer.echo(f"nnarray: {OPEN}", err=True)

    in_log = log_file is not None or verbose
    requests, probes = logging.getLogger("uvicorn.access"), _is_no_probe
    requests.addFilter(probes)
    ctx.call_on_close(partial(requests.removeFilter, probes))
    answering = service.application(pipeline, model.name, limits, ready, sha256=digest)
    config = uvicorn.Config(
        answering,
        log_config=None,
        log_level="info" if in_log else "warning",
        access_log=in_log,
        server_header=False,
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=stop_seconds,
        ws="none",
    )
    server = uvicorn.Server(config)
    _before_shutdown(server, partial(answering.state.bodies.end_within, stop_seconds / 2))
    _run(server, listening)


def _is_no_probe(record: logging.LogRecord) -> bool:
    """Whether a line is of another request than the probes, which come every few seconds and are answered."""
    args = record.args if isinstance(record.args, tuple) and len(record.args) == 5 else ("", "", "", "", 0)
    return not (args[2] in ("/health", "/metrics") and args[4] == 200)


def _loaded(model: Path, backend: str, dtype: str | None) -> tuple[Pipeline, str]:
    """The pipeline in a file, and the digest of that file, also if a training replaces it meanwhile."""
    from nnarray.apps.workflow.pipeline import load_pipeline

    while True:
        before = sha256_of(model)
        pipeline = load_pipeline(model, backend=backend_called(backend), dtype=dtype)
        if sha256_of(model) == before:
            return pipeline, before


def _before_shutdown(server: uvicorn.Server, step: Callable[[], object]) -> None:
    """Let the server take this step in its event loop, before it waits for the requests that it has accepted."""
    shutdown = server.shutdown

    async def after(sockets: list[socket.socket] | None = None) -> None:
        step()
        await shutdown(sockets)

    server.shutdown = after


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until a signal ends it."""
    gc.collect()
    gc.freeze()  # what is loaded stays: to search it for garbage would stop all answers for 0.1 s
    with _ending(server):
        server.run(sockets=[listening])
    if not server.started:
        raise RuntimeError("the service has not started; the lines above say why.")


def _libraries() -> tuple[Any, Any]:
    """uvicorn, and the service that Starlette answers for."""
    try:
        import uvicorn

        from nnarray.apps.service import application
    except ModuleNotFoundError as error:
        raise ImportError(f"a web service needs {error.name}; pip install 'nnarray[serve]'.") from error
    return uvicorn, application


def _listening(host: str, port: int) -> socket.socket:
    """A socket at which clients can already wait."""
    if not 0 <= port < 65_536:
        raise ValueError(f"--port must be from 0 to 65535; got {port}.")
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Connections inherit it. asyncio sets it only where a socket names its protocol, and without it the body of an
        # answer waits 40 ms for the client to confirm the header.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0].lower()  # without the address, named before it
        raise OSError(f"{host}:{port} cannot be listened at: {reason}; choose another --port or --host.") from error


def _url(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def _ending(server: uvicorn.Server) -> Generator[None]:
    """A signal lets the server answer what it has accepted, and end well; uvicorn raises it again in the end."""

    def end(number: int, frame: object) -> None:
        server.should_exit = True

    numbers = [n for n in (signal.SIGINT, *TERMINATING) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
