"""A web service under load: requests a second a core, how long they take, 10,000 bad ones, and an end amid requests.

`python benchmarks/serve.py` trains a small model, starts `nnarray serve` for it, and prints a line for each part.
Seconds of a core are the server's own, as the kernel counts them: other programs on the machine change them little,
while the latency is that of the machine as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROW = {"length": 5.0, "width": 2.0, "colour": "red", "age": None}
NNARRAY = (sys.executable, "-m", "nnarray")
TICKS = os.sysconf("SC_CLK_TCK")


class Connection:
    """One connection to the server, kept from request to request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: Any = None

    async def ask(self, body: bytes, kind: str = "application/json", head: str = "") -> tuple[int, bytes]:
        """The status and the body of the answer to a POST; a connection that was closed is opened anew."""
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = head or f"Content-Type: {kind}\r\nContent-Length: {len(body)}"
        self.writer.write(f"POST /predict HTTP/1.1\r\nHost: here\r\n{head}\r\n\r\n".encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer, re.I)
        text = await self.reader.readexactly(int(length[1])) if length else b""
        if b"connection: close" in answer.lower():
            self.close()
        return int(answer.split(b" ", 2)[1]), text

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class Server:
    """`nnarray serve` in a process of its own, with one thread for products; or another command that says its port."""

    def __init__(self, model: Path, port: int = 0, words: tuple[str, ...] = ()) -> None:
        words = words or (*NNARRAY, "serve", str(model), "--port", str(port), "--backend", "numpy")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.port = int(re.search(r":(\d+);", self.process.stdout.readline())[1])  # type: ignore[index]

    @property
    def cpu(self) -> float:
        """Seconds of a core that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


EMPTY = """
import socket, uvicorn
async def app(scope, receive, send):
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})
listening = socket.create_server(("127.0.0.1", 0))
listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(f"at :{listening.getsockname()[1]};", flush=True)
config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75)
uvicorn.Server(config).run(sockets=[listening])
"""
"""An application that does nothing: what the server, the client and the machine take for themselves."""


def trained(folder: Path) -> Path:
    """A network for four columns and three classes, with two hidden layers of 64."""
    draws = random.Random(0)
    with open(folder / "flowers.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*ROW, "species"])
        for _ in range(1000):
            k = draws.randrange(3)
            numbers = round(k + draws.gauss(5, 0.4), 2), round(2 * k + draws.gauss(0, 0.5), 2)
            table.writerow([*numbers, ["red", "blue", "white"][k], draws.choice(["", 1, 2]), "abc"[k]])
    out = folder / "flowers.safetensors"
    words = ("train", str(folder / "flowers.csv"), "--target", "species", "--epochs", "5", "--out", str(out))
    subprocess.run([*NNARRAY, *words, "--backend", "numpy"], check=True, stdout=subprocess.DEVNULL)
    return out


async def side_by_side(port: int, clients: int, work: Callable[[Connection], Awaitable[None]]) -> None:
    connections = [Connection(port) for _ in range(clients)]
    try:
        await asyncio.gather(*map(work, connections))
    finally:
        for connection in connections:
            connection.close()


# --- Load ------------------------------------------------------------------------------------------------------------


async def load(server: Server, clients: int, seconds: float, rows: int) -> str:
    """So many clients, each of which asks again as soon as it has its answer."""
    body, times = json.dumps([ROW] * rows).encode(), []
    deadline = time.perf_counter() + seconds

    async def ask(connection: Connection) -> None:
        while (begun := time.perf_counter()) < deadline:
            status, _ = await connection.ask(body)
            assert status == 200
            times.append(time.perf_counter() - begun)

    begun, before = time.perf_counter(), server.cpu
    await side_by_side(server.port, clients, ask)
    took, cpu = time.perf_counter() - begun, server.cpu - before
    times.sort()
    middle, late = (1e3 * times[int(q * (len(times) - 1))] for q in (0.5, 0.99))
    return (
        f"{clients:3} clients, {rows:3} rows a request: {len(times) / took:6.0f} requests/s, {len(times) / cpu:6.0f} a "
        f"second of a core; half within {middle:.1f} ms, 99 % within {late:.1f} ms"
    )


async def paced(server: Server, rate: float, seconds: float) -> str:
    """So many requests a second, each begun at its time, whether others are answered or not."""
    body, times = json.dumps([ROW]).encode(), []
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(50):  # fewer than the server lets wait
        free.put_nowait(Connection(server.port))

    async def ask(due: float) -> None:
        connection = await free.get()
        status, _ = await connection.ask(body)
        assert status == 200
        times.append(time.perf_counter() - due)
        free.put_nowait(connection)

    begun, tasks = time.perf_counter(), []
    for i in range(int(rate * seconds)):
        due = begun + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*tasks)
    while not free.empty():
        free.get_nowait().close()
    times.sort()
    middle, late = (1e3 * times[int(q * (len(times) - 1))] for q in (0.5, 0.99))
    return f"{rate:.0f} requests/s: half within {middle:.1f} ms, 99 % within {late:.1f} ms, {len(times)} answered"


# --- Bad requests ----------------------------------------------------------------------------------------------------


def bad(draws: random.Random) -> tuple[bytes, str, str]:
    """The body, the media type and the head of a request that cannot be answered with predictions."""
    rows = [dict(ROW) for _ in range(draws.randrange(1, 5))]
    wrong: Any = draws.choice(["x", [], {}, 10**400, "9" * 500, {"a": [1]}])
    changed = dict(ROW) | {draws.choice(["length", "width", "age"]): wrong}
    text, table = "application/json", "text/csv"
    chosen = draws.randrange(14)
    if chosen == 0:
        return draws.randbytes(draws.randrange(1, 3000)), draws.choice([text, table]), ""
    if chosen == 1:
        return json.dumps([changed]).encode(), text, ""
    if chosen == 2:
        depth = draws.randrange(1_000, 100_000)
        return b"[" * depth + b"]" * draws.choice([0, depth]), text, ""
    if chosen == 3:
        return json.dumps([{name: ROW[name] for name in draws.sample(sorted(ROW), 2)}]).encode(), text, ""
    if chosen == 4:
        return json.dumps([*rows, {**ROW, "colour": "pink"}]).encode(), text, ""
    if chosen == 5:
        return json.dumps([*rows, draws.choice([1, None, "x", []])]).encode(), text, ""
    if chosen == 6:
        return json.dumps([ROW] * 10_001).encode(), text, ""
    if chosen == 7:
        return b"", text, "Content-Type: application/json\r\nContent-Length: 99999999999\r\nConnection: close"
    if chosen == 8:
        return json.dumps(rows).encode()[: draws.randrange(1, 40)], text, ""
    if chosen == 9:
        return b'[{"length": NaN, "width": 1, "colour": "red", "age": Infinity}]', text, ""
    if chosen == 10:
        return b"length,width\n1,2\n1,2,3\n", table, ""
    if chosen == 11:
        return b"length,width,colour,age\n" + b"1,x,red,\n" * draws.randrange(1, 50), table, ""
    if chosen == 12:
        return json.dumps({name: [1] * draws.randrange(2, 9) for name in ROW} | {"age": [1]}).encode(), text, ""
    return json.dumps(rows).encode(), draws.choice(["", "text/plain", "image/png", "x" * 200]), ""


async def bad_requests(server: Server, count: int) -> str:
    """Each is refused by a status of 4xx; the memory is looked at after a fifth of them, and in the end."""
    draws, statuses, left = random.Random(1), Counter[int](), [count]
    early = 0.0

    async def ask(connection: Connection) -> None:
        nonlocal early
        while left[0] > 0:
            left[0] -= 1
            if left[0] == 4 * count // 5:
                early = server.memory
            status, answer = await connection.ask(*bad(draws))
            assert 400 <= status < 500, (status, answer[:500])
            assert "error" in json.loads(answer), answer
            statuses[status] += 1

    await side_by_side(server.port, 8, ask)
    assert (await Connection(server.port).ask(json.dumps([ROW]).encode()))[0] == 200
    found = ", ".join(f"{n} x {status}" for status, n in sorted(statuses.items()))
    return f"{count} bad requests: {found}; {early:.0f} MiB after a fifth of them, {server.memory:.0f} MiB after all"


# --- Ends ------------------------------------------------------------------------------------------------------------


async def ended(model: Path, number: int, rounds: int) -> str:
    """A signal amid requests, and another server at the same port; every answer that begins is whole."""
    answered, lost, codes = 0, 0, Counter[int]()
    wanted: bytes = b""
    port = 0
    for _ in range(rounds):
        server = Server(model, port)
        port = server.port

        async def ask(connection: Connection, server: Server = server) -> None:
            nonlocal answered, lost, wanted
            while server.process.poll() is None:
                try:
                    status, answer = await connection.ask(json.dumps([ROW] * 20).encode())
                except (OSError, asyncio.IncompleteReadError) as error:
                    lost += bool(getattr(error, "partial", b""))
                    connection.close()
                    await asyncio.sleep(0.01)
                    continue
                wanted = wanted or answer
                assert (status, answer) == (200, wanted)
                answered += 1

        loop = asyncio.get_running_loop()
        clients = asyncio.create_task(side_by_side(port, 8, ask))
        await asyncio.sleep(1.0)
        codes[await loop.run_in_executor(None, server.end, number)] += 1
        await clients
    name = signal.Signals(number).name
    found = ", ".join(f"{n} x {code}" for code, n in codes.items())
    return f"{rounds} ends by {name} amid requests: exit codes {found}; {answered} whole answers, {lost} torn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--bad", type=int, default=10_000, help="bad requests")
    parser.add_argument("--rounds", type=int, default=5, help="ends by each signal")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = trained(Path(folder))
        server, empty = Server(model), Server(model, words=(sys.executable, "-c", EMPTY))
        try:
            for _ in range(2):  # in turns, because other programs on the machine change
                for name, each in (("service", server), ("empty application", empty)):
                    print(f"{name}, {asyncio.run(paced(each, 200.0, options.seconds))}", flush=True)
            for clients, rows in ((1, 1), (8, 1), (32, 1), (8, 100)):
                print(asyncio.run(load(server, clients, options.seconds, rows)), flush=True)
            print(asyncio.run(bad_requests(server, options.bad)), flush=True)
            print("exit code after SIGTERM:", server.end(), flush=True)
        finally:
            server.process.kill()
            empty.process.kill()
        for number in (signal.SIGTERM, signal.SIGKILL):
            print(asyncio.run(ended(model, number, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
