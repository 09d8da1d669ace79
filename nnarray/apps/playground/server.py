"""The web server of the playground: for this machine alone, with a token, from the standard library."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nnarray.apps.playground.handler import KINDS, Handler
from nnarray.apps.playground.limits import ADDRESS, Limits, Refused
from nnarray.apps.playground.room import Room
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings

log = logging.getLogger("nnarray")

PAGE = Path(__file__).parent / "page"


class Server(ThreadingHTTPServer):
    """The server.

    Parameters
    ----------
    make : function of Settings or None
        A new session.
    port : int
        0 for one that is free.
    exit_on_close : bool
        Whether it ends when the last session has closed.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        make: Callable[[Settings | None], Session],
        *,
        port: int = 0,
        exit_on_close: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.make, self.exit_on_close, self.limits = make, exit_on_close, limits or Limits()
        self.token = secrets.token_urlsafe(24)
        self.rooms: dict[str, Room] = {}
        self._lock, self._connections = threading.Lock(), 0
        self._empty_since: float | None = None
        self.coming: dict[socket.socket, float] = {}  # connections whose request is being read, and since when
        self.files = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*") if path.suffix in KINDS}
        super().__init__((ADDRESS, port), Handler)

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{ADDRESS}:{self.port}/?token={self.token}"

    # --- Sessions ---------------------------------------------------------------------------------------------------

    def open_room(self, settings: Settings | None) -> tuple[str, Room]:
        """A new session.

        Raises
        ------
        Refused
            If there are too many.
        """
        with self._lock:
            self._close_abandoned()
            if len(self.rooms) >= self.limits.sessions:
                raise Refused(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"there are {len(self.rooms)} sessions, as many as are allowed; close another tab.",
                )
            name = secrets.token_urlsafe(12)
            room = Room(
                self.make(settings),
                pause_after=self.limits.pause_after,
                close_after=self.limits.close_after,
                on_close=lambda: self._forget(name),
            )
            self.rooms[name] = room
            self._empty_since = None
            return name, room

    def _close_abandoned(self) -> None:
        """If there are too many, close the session whose page has been gone longest, as after a crash."""
        name, room = max(self.rooms.items(), key=lambda each: each[1].alone, default=("", None))
        if room and len(self.rooms) >= self.limits.sessions and room.alone > self.limits.pause_after:
            del self.rooms[name]
            room.close()

    def _forget(self, name: str) -> None:
        with self._lock:
            self.rooms.pop(name, None)
            if not self.rooms:
                self._empty_since = time.monotonic()

    def service_actions(self) -> None:
        """Called about twice a second: end slow requests; end with the last session, if that is wanted."""
        for connection, since in [*self.coming.items()]:
            if time.monotonic() - since > self.limits.request:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        since = self._empty_since
        if self.exit_on_close and since is not None and time.monotonic() - since > self.limits.exit_after:
            self._empty_since = None
            threading.Thread(target=self.shutdown, daemon=True).start()

    def server_close(self) -> None:
        """End all sessions, and stop listening."""
        with self._lock:
            rooms = [*self.rooms.values()]
        for room in rooms:
            room.close()
        for room in rooms:
            room.join(2.0)
        super().server_close()

    # --- Connections ------------------------------------------------------------------------------------------------

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread of its own, if there are not too many."""
        with self._lock:
            full = self._connections >= self.limits.connections
            self._connections += not full
        if full:
            _turn_away(request, f"there are {self.limits.connections} connections, as many as are allowed; try again.")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            with self._lock:
                self._connections -= 1
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection, and count it out."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no error; others go to the log."""
        log.debug("a connection of the playground ended early", exc_info=True)


def _turn_away(request: socket.socket, reason: str) -> None:
    """Refuse a connection before it is read."""
    body = json.dumps({"error": reason}).encode()
    head = f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with suppress(OSError):
        request.settimeout(0.5)
        request.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
