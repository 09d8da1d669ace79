"""A session with a thread of its own: messages are answered between two slices of training."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from nnarray.apps.playground.session import Event, Session

log = logging.getLogger("nnarray")

SLICE = 0.01
"""Seconds of training between two looks at the messages."""
ANSWER = 60.0
"""Seconds for which a message waits for its answer."""


class Closed(RuntimeError):
    """The session has ended."""


class Room:
    """Trains a session as long as it runs, and answers what is asked, all in one thread.

    Parameters
    ----------
    session : Session
    pause_after, close_after : float
        Seconds without a reader of its events after which it is paused, and then closed.
    on_close : function
        Called at the end, in its thread.
    """

    def __init__(
        self, session: Session, *, pause_after: float, close_after: float, on_close: Callable[[], object]
    ) -> None:
        self.session, self._on_close = session, on_close
        self._pause_after, self._close_after = pause_after, close_after
        self._jobs: queue.SimpleQueue[tuple[Callable[[Session], Any], Future[Any]]] = queue.SimpleQueue()
        self._events: queue.Queue[Event] = queue.Queue(1)  # one: the next frame is made when this one is taken
        self._reader, self._lock = False, threading.Lock()
        self._left = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nnarray-playground", daemon=True)
        self._thread.start()

    # --- From other threads -----------------------------------------------------------------------------------------

    def ask(self, what: Callable[[Session], Any]) -> Any:
        """What a function of the session returns, called between two slices of training.

        Raises
        ------
        Closed
            If the session has ended.
        """
        answer: Future[Any] = Future()
        if self._closed.is_set():
            raise Closed
        self._jobs.put((what, answer))
        try:
            return answer.result(ANSWER)
        except TimeoutError:
            raise Closed from None

    def enter(self) -> bool:
        """Become the reader of the events; False if there is one."""
        with self._lock:
            if self._reader or self._closed.is_set():
                return False
            self._reader = True
            return True

    def leave(self) -> None:
        """Stop reading."""
        with self._lock:
            self._reader, self._left = False, time.monotonic()

    @property
    def alone(self) -> float:
        """The seconds since somebody read its events; 0 while somebody does."""
        return 0.0 if self._reader else time.monotonic() - self._left

    def next_event(self, seconds: float) -> Event | None:
        """The next event; None if there is none for so long.

        Raises
        ------
        Closed
            If the session has ended.
        """
        try:
            return self._events.get(True, seconds)
        except queue.Empty:
            if self._closed.is_set():
                raise Closed from None
            return None

    def close(self) -> None:
        """End the session."""
        self._closed.set()
        self._jobs.put((lambda session: None, Future()))  # wakes its thread

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(seconds)

    # --- In its own thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._turn()
        except Exception:
            log.exception("a session of the playground failed")
        finally:
            self._closed.set()
            self._refuse_waiting()
            self._on_close()

    def _turn(self) -> None:
        """Answer what has come; else train a little, or wait."""
        try:
            what, answer = self._jobs.get(True, 0.0001 if self.session.is_busy else 0.5)
        except queue.Empty:
            self._look_after()
            if self.session.is_busy:
                self._train()
            return
        try:
            answer.set_result(what(self.session))
        except Exception as error:  # it belongs to the one who asked
            answer.set_exception(error)

    def _train(self) -> None:
        event = self.session.advance(SLICE, watched=self._reader and self._events.empty())
        if event is not None:
            self._put(event)

    def _put(self, event: Event) -> None:
        """An event for the reader; one that ends the training is never lost."""
        while not self._closed.is_set():
            try:
                self._events.put(event, timeout=0.1)
                return
            except queue.Full:
                if not self._reader:
                    self._events.get_nowait()

    def _look_after(self) -> None:
        """Pause or close a session that nobody reads."""
        if self.alone > self._close_after:
            self._closed.set()
        elif self.alone > self._pause_after and self.session.running:
            self.session.handle({"type": "pause"})

    def _refuse_waiting(self) -> None:
        while True:
            try:
                _, answer = self._jobs.get_nowait()
            except queue.Empty:
                return
            answer.set_exception(Closed())
