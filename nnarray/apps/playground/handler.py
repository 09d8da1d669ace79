"""The requests of one connection: who may ask, what is asked for, what is refused, and what is sent."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from nnarray.apps.playground.checking import Wrong, from_json, object_of
from nnarray.apps.playground.limits import ADDRESS, HEADER, Refused
from nnarray.apps.playground.room import Closed, Room
from nnarray.apps.playground.settings import Settings
from nnarray.names import memory

if TYPE_CHECKING:
    from nnarray.apps.playground.server import Server

log = logging.getLogger("nnarray")

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
SAFE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self' http://localhost:* http://127.0.0.1:*"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
NO_PAGE = b"<!doctype html><meta charset=utf-8><title>nnarray playground</title><p>This copy of nnarray has no page."


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nnarray", ""
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def setup(self) -> None:
        """Limit the time of a request, before its first byte is read."""
        super().setup()
        self.connection.settimeout(self.server.limits.idle)

    def handle_one_request(self) -> None:
        """A request, which must come within some time."""
        self.server.coming[self.connection] = time.monotonic()
        try:
            super().handle_one_request()
        finally:
            self._has_come()

    def _has_come(self) -> None:
        self.server.coming.pop(self.connection, None)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to the log of the package, without their tokens."""
        log.debug("playground: %s", self.path.partition("?")[0] if hasattr(self, "path") else "")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses is one line, too."""
        status = HTTPStatus(code)
        self._refuse(Refused(status, f"the request is refused: {status.phrase}."))

    def do_GET(self) -> None:
        """The page, or the events of a session."""
        self._has_come()
        self._answer(self._get)

    def do_POST(self) -> None:
        """Messages and files."""
        self._answer(self._post)

    def _answer(self, work: Callable[[list[str], dict[str, str]], None]) -> None:
        """Do the work; what is refused is one line, and ends the connection."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, max_num_fields=8).items()}
        try:
            self._check_origin()
            work([part for part in parts.path.split("/") if part], query)
        except Refused as refused:
            self._refuse(refused)
        except Closed:
            self._refuse(Refused(HTTPStatus.NOT_FOUND, "this session has ended; reload the page."))
        except (BrokenPipeError, ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            log.exception("the playground failed")
            self._refuse(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "the playground failed; its log says why."))

    # --- What is asked for ------------------------------------------------------------------------------------------

    def _get(self, path: list[str], query: dict[str, str]) -> None:
        match path:
            case []:
                self._file("index.html")
            case ["page", *names]:
                self._file("/".join(names))
            case ["session", name, "events"]:
                self._check_token(query)
                self._events(self._room(name))
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "there is no such page.")

    def _post(self, path: list[str], query: dict[str, str]) -> None:
        self._check_token(query)
        match path:
            case ["open"]:
                self._open(self._json())
            case ["session", name, "message"]:
                message, room = self._json(), self._room(name)
                self._send({"events": room.ask(lambda session: session.handle(message))})
            case ["session", name, "file"]:
                content, room = self._body(self.server.limits.file), self._room(name)
                self._send({"events": room.ask(lambda session: session.file(query.get("name", ""), content))})
            case ["session", name, "close"]:
                self._body(self.server.limits.message)
                self._room(name).close()
                self._send({"events": []})
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "there is no such page.")

    def _open(self, wanted: Any) -> None:
        events: list[Any] = []
        settings: Settings | None = None
        try:
            link = object_of(wanted, ["link"]).get("link")
            settings = Settings.from_link(link) if link else None
            name, room = self.server.open_room(settings)
        except Wrong as wrong:  # a damaged link, or data that are not here: begin with the usual settings
            events = [{"type": "refused", "reason": str(wrong), "at": wrong.at}]
            name, room = self.server.open_room(None)
        self._send({"session": name, "events": [*events, *room.ask(lambda session: session.open())]})

    def _events(self, room: Room) -> None:
        """Server-sent events, until one side leaves."""
        if not room.enter():
            raise Refused(HTTPStatus.CONFLICT, "this session has a reader already; open another tab.")
        try:
            self.send_response(HTTPStatus.OK)
            self._head({"Content-Type": "text/event-stream", "Connection": "close"})
            self.close_connection = True
            while True:
                event = room.next_event(1.0)  # then a comment, so that a page that has gone is noticed
                self.wfile.write(b":\n\n" if event is None else f"data: {_text(event)}\n\n".encode())
                self.wfile.flush()
        except (Closed, OSError):
            pass
        finally:
            room.leave()

    def _file(self, name: str) -> None:
        """A file of the page, if it is in the list of the start: no name is used as a path."""
        path = self.server.files.get(name)
        if path is None and name != "index.html":
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such page.")
        content = NO_PAGE if path is None else path.read_bytes()
        self.send_response(HTTPStatus.OK)
        kind = KINDS[".html" if path is None else path.suffix]
        self._head({"Content-Type": kind, "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _room(self, name: str) -> Room:
        room = self.server.rooms.get(name)
        if room is None:
            raise Refused(HTTPStatus.NOT_FOUND, "this session has ended; reload the page.")
        return room

    # --- What is refused --------------------------------------------------------------------------------------------

    def _check_origin(self) -> None:
        """Refuse requests of other pages, and names of this machine that others may have made up."""
        hosts = {f"{name}:{self.server.port}" for name in (ADDRESS, "localhost")}
        if self.headers.get("Host") not in hosts:
            raise Refused(HTTPStatus.FORBIDDEN, f"open the playground at {ADDRESS}:{self.server.port}.")
        origin = self.headers.get("Origin")
        foreign = origin is not None and origin not in {f"http://{host}" for host in hosts}
        if foreign or (self.command == "POST" and self.headers.get("Sec-Fetch-Site", "none") == "cross-site"):
            raise Refused(HTTPStatus.FORBIDDEN, "another page may not use the playground.")

    def _check_token(self, query: dict[str, str]) -> None:
        given = self.headers.get(HEADER) or query.get("token", "")
        if not compare_digest(given.encode("utf-8", "replace"), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "the token is missing or wrong; open the address that was printed.")

    def _body(self, most: int) -> bytes:
        """The body, if it is not too large."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 15:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "a request needs the length of its body.")
        if int(length) > most:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has {memory(int(length))}; {memory(most)} at most are taken.",
            )
        body = self.rfile.read(int(length))
        self._has_come()
        if len(body) < int(length):
            raise ConnectionError
        return body

    def _json(self) -> Any:
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.BAD_REQUEST, "a message must be application/json.")
        try:
            return from_json(self._body(self.server.limits.message))
        except Wrong as wrong:
            raise Refused(HTTPStatus.BAD_REQUEST, str(wrong)) from None

    def _refuse(self, refused: Refused) -> None:
        """The one line; the rest of the request is read for a moment, so that the line arrives."""
        self.close_connection = True
        with suppress(OSError):
            self._send({"error": refused.reason}, refused.status)
            self.connection.shutdown(socket.SHUT_WR)
            end = time.monotonic() + 5.0
            self.connection.settimeout(0.5)
            while time.monotonic() < end and self.connection.recv(65_536):
                pass

    # --- What is sent -----------------------------------------------------------------------------------------------

    def _send(self, answer: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        content = _text(answer).encode()
        self.send_response(status)
        closing = {"Connection": "close"} if self.close_connection else {}
        self._head({"Content-Type": "application/json", "Content-Length": str(len(content)), **closing})
        self.wfile.write(content)

    def _head(self, headers: dict[str, str]) -> None:
        for name, value in (headers | SAFE).items():
            self.send_header(name, value)
        self.end_headers()


def _text(answer: Any) -> str:
    return json.dumps(answer, separators=(",", ":"), allow_nan=False)
