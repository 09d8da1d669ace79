"""Training on a Dask cluster of this machine: python benchmarks/cluster.py --help.

`speed` compares one worker with several, `vector` the sum of a vector over two workers with PyTorch's gloo, and
`losses` trains while workers are killed or stopped, or the client is, and looks at every bit.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import typer
from dask.distributed import Client, LocalCluster

import nnarray as nn
from nnarray.distributed import training
from nnarray.distributed.member import Member
from nnarray.distributed.messages import TRAININGS, install
from nnarray.training.state import TrainingState

app = typer.Typer(help="Training on a Dask cluster of this machine.")
MEGABYTE = 2**20


@contextmanager
def processes(workers: int) -> Iterator[Client]:
    """Processes of one thread each."""
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as local,
        Client(local) as client,
    ):
        yield client


# --- More workers ---------------------------------------------------------------------------------------------------


@app.command()
def speed(
    workers: Annotated[str, typer.Option(help="How many, separated by commas.")] = "1,2",
    hidden: Annotated[int, typer.Option(min=1, help="Units of each of two layers.")] = 1024,
    batch: Annotated[int, typer.Option(min=2, help="Examples of a batch.")] = 4096,
    steps: Annotated[int, typer.Option(min=1, help="Of an epoch.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="How often each takes its turn.")] = 3,
) -> None:
    """Seconds of an epoch with one worker and with more."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((batch * steps, 784), dtype=np.float32)
    y = rng.integers(0, 10, batch * steps)
    seconds: dict[int, list[float]] = {}
    for _ in range(rounds):
        for count in map(int, workers.split(",")):
            with processes(count) as client:
                model = nn.Network(nn.Dense(hidden, "relu"), nn.Dense(hidden, "relu"), nn.Dense(10)).init(
                    (784,), seed=0, dtype="float32"
                )
                history = model.fit(X, y, batch_size=batch, epochs=3, cluster=client, progress=False)
                times = history["seconds"]  # the first epoch has the start in it
                seconds.setdefault(count, []).append((times[2] - times[0]) / 2)
    best = {count: min(each) for count, each in seconds.items()}
    for count, each in seconds.items():
        ratio = best[min(best)] / best[count]
        epochs = ", ".join(f"{s:.2f}" for s in each)
        print(f"{count} workers: {1e3 * best[count] / steps:.0f} ms a step, {ratio:.2f} x ({epochs} s an epoch)")


# --- The sum of a vector --------------------------------------------------------------------------------------------


@app.command()
def vector(
    sizes: Annotated[str, typer.Option(help="Megabytes, separated by commas.")] = "1,10,100",
    rounds: Annotated[int, typer.Option(min=1, help="How often each takes its turn.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Sums in a turn.")] = 5,
) -> None:
    """Milliseconds of a sum over two workers, and of PyTorch's gloo beside it."""
    for size in map(int, sizes.split(",")):
        numbers, ours, theirs = size * MEGABYTE // 4, list[float](), list[float]()
        with processes(2) as client:
            client.run(install)
            for turn in range(rounds):
                found = client.run(exchanged, sorted(client.nthreads()), numbers, repeats, f"{size} {turn}")
                ours += max(found.values(), key=statistics.median)
                theirs += gloo(numbers, repeats)
        mine, other = (1e3 * statistics.median(each) for each in (ours, theirs))
        print(f"{size} MB: {mine:.1f} ms, gloo {other:.1f} ms: {mine / other:.2f} x")


async def exchanged(members: list[str], numbers: int, repeats: int, name: str, dask_worker: Any) -> list[float]:
    """Seconds of each sum, at one of two workers."""
    own = Member(dask_worker, name)
    dask_worker.__dict__[TRAININGS][name] = own
    own.members, own.attempt = members, 1
    me, x = members.index(dask_worker.address), np.ones(numbers - 2, np.float32)
    nodes, seconds = {(4 * me, 4 * me + 4): np.ones(numbers, np.float32)}, []
    for step in range(repeats + 1):
        own.trainer = SimpleNamespace(at=TrainingState(x, x[:0], {}, step))  # type: ignore[assignment]
        begun = time.perf_counter()
        total, _ = await own._all_summed(nodes, [], 8)
        seconds.append(time.perf_counter() - begun)
        assert total[0] == total[-1] == 2.0
    return seconds[1:]


def gloo(numbers: int, repeats: int) -> list[float]:
    """The same by two processes of PyTorch's."""
    spawn = multiprocessing.get_context("spawn")
    found = spawn.Queue()
    with tempfile.TemporaryDirectory() as folder:
        pair = [spawn.Process(target=_gloo, args=(i, folder, numbers, repeats, found)) for i in range(2)]
        for each in pair:
            each.start()
        times = [found.get() for _ in pair]
        for each in pair:
            each.join()
    return max(times, key=statistics.median)


def _gloo(rank: int, folder: str, numbers: int, repeats: int, found: Any) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seconds = []
    for _ in range(repeats + 1):
        x = torch.ones(numbers)
        distributed.barrier()
        begun = time.perf_counter()
        distributed.all_reduce(x)
        seconds.append(time.perf_counter() - begun)
    found.put(seconds[1:])
    distributed.destroy_process_group()


# --- Losses ---------------------------------------------------------------------------------------------------------


@app.command()
def losses(
    kind: Annotated[str, typer.Argument(help="kill or stop a worker, or kill the client, which is resumed.")],
    count: Annotated[int, typer.Option(min=1, help="How many losses in mid-training.")] = 10,
    workers: Annotated[int, typer.Option(min=2, help="Of the cluster.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the moments and the victims.")] = 0,
) -> None:
    """Train while one is lost at a random moment; the exit status tells whether all bits were right."""
    want, rng, wrong, inside, longest = trained(None), random.Random(seed), 0, 0, 0.0
    watch = Recoveries()
    while inside < count:  # now and then Dask does not start a worker again
        with processes(workers) as client, suppress(TimeoutError):
            trained(client)  # workers have imported all that they need
            while inside < count:
                begun = time.monotonic()
                got, was_inside = CASES[kind](client, rng)
                longest = max(longest, time.monotonic() - begun)
                inside += was_inside
                wrong += got != want
                client.wait_for_workers(workers, timeout=20)
    print(f"{kind}: {inside} in mid-training, {wrong} with other bits, the longest took {longest:.1f} s")
    if watch.seconds:
        middle, most = statistics.median(watch.seconds), max(watch.seconds)
        print(f"from the notice of a loss to the next finished steps: {middle:.2f} s, at most {most:.2f} s")
    raise typer.Exit(int(wrong > 0))


class Recoveries(logging.Handler):
    """How long it takes from the notice that a worker left to the end of the next steps."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seconds: list[float] = []
        self.since: float | None = None
        run = training.Team.run

        def timed(*given: Any) -> Any:
            report = run(*given)
            if self.since is not None:
                self.seconds.append(time.monotonic() - self.since)
                self.since = None
            return report

        training.Team.run = timed  # type: ignore[method-assign]
        logging.getLogger("nnarray").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Begin to count, at the first of several."""
        if "left the training" in record.getMessage() and self.since is None:
            self.since = time.monotonic()


def trained(client: Any, **settings: Any) -> str:
    """A checksum of what a training comes to."""
    X, y = nn.datasets.moons(2_003, noise=0.1, seed=0)
    layers = nn.Dense(64, "relu"), nn.Dropout(0.2), nn.Dense(32, "tanh"), nn.BatchNorm(), nn.Dense(2)
    model = nn.Network(*layers).init((2,), seed=0, dtype="float32")
    settings = {"optimizer": nn.Adam(0.01), "validation": 0.2, "progress": False} | settings
    model.fit(X, y, batch_size=64, epochs=6, grains=8, cluster=client, **settings)
    digest = hashlib.sha256(model.theta.tobytes() + model.state.tobytes())
    columns = {name: each for name, each in model.history.columns.items() if name != "seconds"}
    digest.update(repr(columns).encode())
    return digest.hexdigest()


def with_a_worker_lost(number: int) -> Callable[[Client, random.Random], tuple[str, bool]]:
    """A training in which a worker gets a signal."""

    def case(client: Client, rng: random.Random) -> tuple[str, bool]:
        victim, delay, ended, harmed = _worker(client, rng), rng.uniform(0.1, 1.5), [], []

        def harm() -> None:
            time.sleep(delay)
            harmed.extend([] if ended else [True])
            os.kill(victim, number)

        thread = threading.Thread(target=harm)
        thread.start()
        got = trained(client)
        ended.append(True)
        thread.join()
        if number == signal.SIGSTOP:
            os.kill(victim, signal.SIGCONT)
        return got, bool(harmed)

    return case


def _worker(client: Client, rng: random.Random) -> int:
    """One of the processes; the scheduler may still name one that is gone."""
    while True:
        with suppress(OSError):
            return rng.choice(sorted(client.run(os.getpid).values()))


def with_the_client_lost(client: Client, rng: random.Random) -> tuple[str, bool]:
    """A training whose process is killed, and which another one goes on with."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.safetensors"
        call = [sys.executable, __file__, "resumed", client.scheduler.address, str(file)]
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL)
        while not file.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.0))
        process.kill()
        inside = process.wait() != 0
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip(), inside


@app.command(hidden=True)
def resumed(address: str, file: str) -> None:
    """Train, or go on."""
    print(trained(address, checkpoint=file, resume=True))


CASES: dict[str, Any] = {
    "kill": with_a_worker_lost(signal.SIGKILL),
    "stop": with_a_worker_lost(signal.SIGSTOP),
    "client": with_the_client_lost,
}

if __name__ == "__main__":
    app()
