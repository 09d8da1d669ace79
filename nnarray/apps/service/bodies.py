"""The bodies of requests as they come: not too large, not too slowly, and not after the service has to end."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from nnarray.apps.service.payloads import Refused
from nnarray.names import memory


class Bodies:
    """Reads bodies of at most so many bytes, each within so many seconds. All of it runs in the event loop's thread."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._coming: set[asyncio.Timeout] = set()
        self._end: float | None = None
        """When all are given up, on the clock of the event loop."""

    def end_within(self, seconds: float) -> None:
        """Give up all that have not come in so many seconds from now."""
        self._end = asyncio.get_running_loop().time() + seconds
        for limit in self._coming:
            limit.reschedule(min(self._end, limit.when() or self._end))

    async def read(self, request: Request) -> bytes:
        """The body of a request.

        Raises
        ------
        Refused
            If it is too large (413), comes too slowly (408), or the service ends before it has come (503).
        """
        latest = asyncio.get_running_loop().time() + self.seconds
        try:
            async with asyncio.timeout_at(latest if self._end is None else min(latest, self._end)) as limit:
                self._coming.add(limit)
                try:
                    return await self._within_size(request)
                finally:
                    self._coming.discard(limit)
        except TimeoutError:
            if self._end is not None:
                raise Refused(503, "the service ends, and the body has not come; send the request again.") from None
            raise Refused(408, f"the body has not come within {self.seconds:g} s; send it faster.") from None

    async def _within_size(self, request: Request) -> bytes:
        too_large = Refused(413, f"a request may have {memory(self.most)} at most; send fewer rows at once.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self.most:
            raise too_large
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.most:
                raise too_large
        return bytes(body)
