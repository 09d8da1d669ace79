"""Where the playground listens, what it takes at most, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from nnarray.apps.playground.tables import MOST_BYTES

ADDRESS = "127.0.0.1"
HEADER = "X-Playground-Token"


@dataclass(frozen=True)
class Limits:
    """What a server takes at most.

    Parameters
    ----------
    message, file : int
        Bytes of a body.
    sessions, connections : int
    idle : float
        Seconds that a connection may wait for the rest of a request.
    request : float
        Seconds in which a request must have come as a whole, however steadily its bytes drip.
    pause_after, close_after : float
        Seconds without a reader after which a session is paused, and closed.
    exit_after : float
        Seconds without a session after which a server ends that is to end with the last one.
    """

    message: int = 65_536
    file: int = MOST_BYTES
    sessions: int = 8
    connections: int = 32
    idle: float = 10.0
    request: float = 15.0
    pause_after: float = 10.0
    close_after: float = 600.0
    exit_after: float = 3.0


class Refused(Exception):
    """A request that is refused: its status, and one line."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason
