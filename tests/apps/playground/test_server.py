"""The server of the playground: what it answers, what it refuses, and that it bounds everything."""

from __future__ import annotations

import json
import resource
import select
import selectors
import socket
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from typing import Any

import pytest

import nnarray as nn
from nnarray.apps.playground.limits import HEADER, Limits
from nnarray.apps.playground.server import Server
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings

SMALL = {"data": {"n": 40}, "network": {"layers": [{"units": 4}]}}
WAIT = 20.0


def make(settings: Settings | None) -> Session:
    return Session(settings or Settings().changed(SMALL), backend="numpy")


@contextmanager
def serving(limits: Limits | None = None, *, exit_on_close: bool = False) -> Generator[Server]:
    server = Server(make, limits=limits, exit_on_close=exit_on_close)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(WAIT)


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    with serving(Limits(sessions=30)) as running:
        yield running


def request(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    token: bool = True,
    kind: str = "application/json",
) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": kind, **({HEADER: server.token} if token else {}), **(headers or {})}
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=WAIT)) as connection:
        connection.request(method, path, None if body is None else content, sent)
        answer = connection.getresponse()
        text = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text.decode()


def opened(server: Server) -> str:
    status, answer = request(server, "POST", "/open", {})
    assert status == 200, answer
    assert [event["type"] for event in answer["events"]] == ["hello", "settings", "data", "frame"]
    return str(answer["session"])


def send(server: Server, session: str, message: dict[str, Any]) -> list[dict[str, Any]]:
    status, answer = request(server, "POST", f"/session/{session}/message", message)
    assert status == 200, answer
    return list(answer["events"])


@contextmanager
def reading(server: Server, session: str) -> Generator[Any]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=WAIT)) as connection:
        connection.request("GET", f"/session/{session}/events?token={server.token}")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers.get_content_type() == "text/event-stream"
        yield answer


def next_event(answer: Any) -> dict[str, Any]:
    while True:
        line = answer.readline()
        assert line
        if line.startswith(b"data: "):
            return dict(json.loads(line[6:]))


# --- What it answers -------------------------------------------------------------------------------------------------


def test_the_page_is_there_without_a_token_and_has_no_data(server: Server) -> None:
    status, text = request(server, "GET", "/", token=False)
    assert status == 200
    assert "<title>" in text
    assert server.token not in text


def test_a_training_is_run_and_read(server: Server) -> None:
    session = opened(server)
    with reading(server, session) as answer:
        assert send(server, session, {"type": "run"})[0]["running"]
        frames = [next_event(answer) for _ in range(4)]
        assert [frame["type"] for frame in frames] == ["frame"] * 4
        epochs = [frame["epoch"] for frame in frames]
        assert epochs == sorted(set(epochs))
        begins = [frame["curve"]["from"] for frame in frames[1:]]
        assert begins == epochs[:-1]  # nothing is lost, and nothing comes twice
        assert not send(server, session, {"type": "pause"})[0]["running"]
    send(server, session, {"type": "step"})


def test_a_link_opens_its_settings_and_a_damaged_one_the_usual_ones(server: Server) -> None:
    link = Settings().changed({"data": {"kind": "xor"}}).link
    _, answer = request(server, "POST", "/open", {"link": f"#{link}"})
    assert answer["events"][1]["settings"]["data"]["kind"] == "xor"
    _, answer = request(server, "POST", "/open", {"link": "#s=damaged"})
    assert [event["type"] for event in answer["events"]][:3] == ["refused", "hello", "settings"]
    table = Settings().changed({"data": {"kind": "table"}}).link
    _, answer = request(server, "POST", "/open", {"link": table})
    assert "drop a CSV or NPY file" in answer["events"][0]["reason"]


def test_a_file_is_sent(server: Server) -> None:
    session = opened(server)
    rows = "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(30)).encode()
    path = f"/session/{session}/file?name=table.csv"
    status, answer = request(server, "POST", path, b"u,v,kind\n" + rows, kind="application/octet-stream")
    assert status == 200
    assert [event["type"] for event in answer["events"]] == ["table", "settings", "data", "frame"]
    path = f"/session/{session}/file?name=..%2F..%2Fetc%2Fpasswd"
    _, answer = request(server, "POST", path, rows, kind="application/octet-stream")
    assert "without folders" in answer["events"][0]["reason"]


def test_a_message_that_is_refused_is_no_error_of_http(server: Server) -> None:
    (event,) = send(server, opened(server), {"type": "set", "settings": {"data": {"formula": '__import__("os")'}}})[:1]
    assert event["type"] == "settings"  # not used by these data
    change = {"data": {"kind": "formula", "formula": '__import__("os")'}}
    (event,) = send(server, opened(server), {"type": "set", "settings": change})
    assert (event["type"], event["at"]) == ("refused", "data.formula")


def test_a_closed_session_is_gone(server: Server) -> None:
    session = opened(server)
    assert request(server, "POST", f"/session/{session}/close?token={server.token}", b"", token=False)[0] == 200
    end = time.monotonic() + WAIT
    while session in server.rooms and time.monotonic() < end:
        time.sleep(0.01)
    status, answer = request(server, "POST", f"/session/{session}/message", {"type": "run"})
    assert (status, answer["error"]) == (404, "this session has ended; reload the page.")


def test_a_training_that_diverges_sends_why_and_its_last_frame(server: Server) -> None:
    session = opened(server)
    change = {"data": {"kind": "sine"}, "training": {"optimizer": "sgd", "options": {"lr": 1e5}}}
    send(server, session, {"type": "set", "settings": change})
    with reading(server, session) as answer:
        send(server, session, {"type": "run"})
        events = [next_event(answer)]
        while events[-1]["type"] != "state":
            events.append(next_event(answer))
        assert events[-1]["reason"] == "diverged"
        assert next_event(answer)["words"][0]["key"] == "diverged"


def test_an_own_fault_is_one_line_and_stands_in_the_log(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = opened(server)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "handle", lambda *_: 1 // 0)
        status, answer = request(server, "POST", f"/session/{session}/message", {"type": "run"})
    assert (status, answer["error"]) == (500, "the playground failed; its log says why.")
    assert "ZeroDivisionError" in caplog.text
    assert send(server, session, {"type": "step"})[0]["epoch"] == 1


def test_a_session_that_ends_lets_its_reader_go(server: Server) -> None:
    session = opened(server)
    with reading(server, session) as answer:
        request(server, "POST", f"/session/{session}/close", b"")
        while answer.readline():
            pass
    assert session not in server.rooms


# --- What it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "token", "reason"),
    [
        ({}, False, "the token is missing or wrong"),
        ({HEADER: "x"}, False, "the token is missing or wrong"),
        ({"Origin": "http://example.com"}, True, "another page may not use the playground"),
        ({"Origin": "null"}, True, "another page may not use the playground"),
        ({"Origin": "http://127.0.0.1:1"}, True, "another page may not use the playground"),
        ({"Sec-Fetch-Site": "cross-site"}, True, "another page may not use the playground"),
        ({"Host": "example.com"}, True, "open the playground at 127.0.0.1"),
        ({"Host": "127.0.0.1"}, True, "open the playground at 127.0.0.1"),
    ],
)
def test_others_are_refused(server: Server, headers: dict[str, str], token: bool, reason: str) -> None:
    rooms = len(server.rooms)
    status, answer = request(server, "POST", "/open", {}, headers=headers, token=token)
    assert status == 403
    assert reason in answer["error"]
    assert len(server.rooms) == rooms


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status", "reason"),
    [
        ("GET", "/page/..%2F..%2Fserver.py", None, "", 404, "no such page"),
        ("GET", "/page/../server.py", None, "", 404, "no such page"),
        ("GET", "/page//etc/passwd", None, "", 404, "no such page"),
        ("GET", "/session/x/events", None, "", 404, "this session has ended"),
        ("POST", "/session/x/message", {"type": "run"}, "application/json", 404, "this session has ended"),
        ("POST", "/nothing", {}, "application/json", 404, "no such page"),
        ("POST", "/open", b"{", "application/json", 400, "is not JSON"),
        ("POST", "/open", b"[" * 60_000, "application/json", 400, "is not JSON"),
        ("POST", "/open", b'{"link": NaN}', "application/json", 400, "which is not a number"),
        ("POST", "/open", {}, "text/plain", 400, "must be application/json"),
        ("POST", "/open", b" " * 65_537, "application/json", 413, "64.0 KiB at most are taken"),
        ("POST", "/open", None, "application/json", 411, "needs the length of its body"),
    ],
)
def test_what_is_wrong_is_refused_with_one_line(
    server: Server, method: str, path: str, body: Any, kind: str, status: int, reason: str
) -> None:
    headers = {"Transfer-Encoding": "chunked"} if method == "POST" and body is None else {}
    code, answer = request(server, method, path, body, headers=headers, kind=kind)
    assert code == status
    assert reason in answer["error"]
    assert "\n" not in answer["error"]


def test_an_upload_of_100_mb_is_refused_before_it_is_read(server: Server) -> None:
    session = opened(server)
    content = bytes(100 * 2**20)
    path = f"/session/{session}/file?name=big.csv"
    status, answer = request(server, "POST", path, content, kind="application/octet-stream")
    assert (status, answer["error"]) == (413, "the body has 100.0 MiB; 8.0 MiB at most are taken.")
    assert send(server, session, {"type": "step"})[0]["epoch"] == 1


def test_a_session_has_one_reader(server: Server) -> None:
    session = opened(server)
    with reading(server, session):
        status, answer = request(server, "GET", f"/session/{session}/events")
        assert (status, answer["error"]) == (409, "this session has a reader already; open another tab.")


def test_sessions_are_bounded() -> None:
    with serving(Limits(sessions=2)) as server:
        first, _ = opened(server), opened(server)
        status, answer = request(server, "POST", "/open", {})
        assert status == 429
        assert "there are 2 sessions, as many as are allowed; close another tab" in answer["error"]
        assert send(server, first, {"type": "step"})[0]["epoch"] == 1


def test_a_session_whose_page_has_gone_gives_its_place_to_another() -> None:
    with serving(Limits(sessions=2, pause_after=0.2)) as server:
        left, read = opened(server), opened(server)
        with reading(server, read):
            time.sleep(0.3)
            opened(server)
            assert left not in server.rooms
            assert read in server.rooms
            assert request(server, "POST", "/open", {})[0] == 429  # the third one waits for its reader


@pytest.fixture
def many_files() -> None:
    """As many open files as 1,000 connections need, at both ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096 and (hard == resource.RLIM_INFINITY or hard >= 4096):
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))


@pytest.mark.usefixtures("many_files")
def test_1000_connections_are_turned_away_and_nothing_is_lost() -> None:
    with serving() as server:
        session = opened(server)
        held: list[socket.socket] = []
        turned_away = 0
        try:
            for _ in range(1000):
                held.append(socket.create_connection(("127.0.0.1", server.port), WAIT))
            end = time.monotonic() + WAIT
            while server._connections > server.limits.connections and time.monotonic() < end:
                time.sleep(0.01)
            with selectors.DefaultSelector() as answered:  # all at once: those that are held get no answer
                for each in held:
                    answered.register(each, selectors.EVENT_READ)
                while turned_away < 900 and time.monotonic() < end:
                    for key, _ in answered.select(timeout=0.2):
                        answered.unregister(key.fileobj)
                        with suppress(OSError):
                            turned_away += key.fileobj.recv(100).startswith(b"HTTP/1.1 429")
        finally:
            for each in held:
                each.close()
        assert turned_away >= 900
        end = time.monotonic() + WAIT
        status = 429
        while status == 429 and time.monotonic() < end:
            status, answer = request(server, "POST", f"/session/{session}/message", {"type": "step"})
        assert status == 200
        assert answer["events"][0]["epoch"] == 1


# --- Its end ---------------------------------------------------------------------------------------------------------


def test_a_session_without_a_reader_is_paused_and_then_closed() -> None:
    with serving(Limits(pause_after=0.3, close_after=1.0)) as server:
        session = opened(server)
        room = server.rooms[session]
        send(server, session, {"type": "run"})
        end = time.monotonic() + WAIT
        while room.session.running and time.monotonic() < end:
            time.sleep(0.02)
        assert not room.session.running
        while server.rooms and time.monotonic() < end:
            time.sleep(0.02)
        assert not server.rooms


def test_it_ends_with_the_last_page_if_that_is_wanted() -> None:
    server = Server(make, limits=Limits(exit_after=0.2), exit_on_close=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        assert thread.is_alive()
        request(server, "POST", f"/session/{opened(server)}/close", b"")
        thread.join(WAIT)
        assert not thread.is_alive()
    finally:
        server.shutdown()
        server.server_close()


# --- From Python -----------------------------------------------------------------------------------------------------


def test_playground_with_own_arrays() -> None:
    X, y = nn.datasets.blobs(60, classes=3)
    page = nn.playground((X, y), browser=False)
    try:
        assert page.url in page._repr_html_()
        _, answer = request(page.server, "POST", "/open", {})
        assert answer["events"][2]["classes"] == ["0", "1", "2"]
        assert answer["events"][2]["train"]["shape"] == [45, 3]
    finally:
        page.close()


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (3, TypeError, "takes two arrays"),
        (([[1.0, 2.0, 3.0]] * 9, [0, 1, 0] * 3), ValueError, "shows one or two inputs"),
        (([[1.0]] * 9, [0, 1]), ValueError, "make their lengths equal"),
        (([[1.0]] * 3, [0, 1, 0]), ValueError, "at least 4 examples; got 3"),
        (([[float("nan")]] * 5, [0, 1, 0, 1, 0]), ValueError, "X contains NaN or infinity"),
        (([[1.0]] * 5, [0.0, 1.0, 0.0, float("inf"), 0.0]), ValueError, "y contains NaN or infinity"),
        (([[1.0]] * 5, [0, 1, 0, 99, 0]), ValueError, "label 99 is out of range"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(data: Any, error: type[Exception], reason: str) -> None:
    be = nn.backend("numpy")
    arrays = tuple(map(be.asarray, data)) if isinstance(data, tuple) else data
    with pytest.raises(error, match=reason):
        nn.playground(arrays, browser=False)


def test_a_port_in_use_is_refused(server: Server) -> None:
    with pytest.raises(OSError, match=f"port {server.port} cannot be listened at: .*; choose another one"):
        nn.playground(port=server.port, browser=False)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("TRACE", "/", {}, 501),
        ("PUT", "/open", {}, 501),
        ("GET", f"/?{'a' * 70_000}", {}, 414),
        ("GET", "/", {f"x{i}": "1" for i in range(200)}, 431),
    ],
)
def test_what_the_standard_library_refuses_is_one_line(
    server: Server, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    found, answer = request(server, method, path, headers=headers)
    assert found == status
    assert answer["error"].startswith("the request is refused")
    assert request(server, "GET", "/")[0] == 200


def test_a_request_that_drips_is_ended() -> None:
    with serving(Limits(request=1.0)) as server, closing(socket.create_connection(("127.0.0.1", server.port))) as slow:
        slow.settimeout(WAIT)
        ended = time.monotonic() + WAIT
        with suppress(ConnectionError):
            while time.monotonic() < ended and not select.select([slow], [], [], 0.1)[0]:
                slow.sendall(b"G")
        assert time.monotonic() < ended
        assert request(server, "GET", "/")[0] == 200
