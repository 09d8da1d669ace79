"""One playground: messages in, events and frames out. It needs no server, and could run in a worker of a browser."""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnarray.apps.playground import answers
from nnarray.apps.playground.catalog import POINTS, catalog
from nnarray.apps.playground.checking import Wrong, at, number, one_of, several, whole
from nnarray.apps.playground.frames import Frames
from nnarray.apps.playground.lab import Lab
from nnarray.apps.playground.models import Start
from nnarray.apps.playground.points import FEWEST, Given, is_enough
from nnarray.apps.playground.script import script_of
from nnarray.apps.playground.settings import SEED, Settings, point
from nnarray.apps.playground.tables import table_of
from nnarray.apps.playground.views import Watch
from nnarray.apps.playground.words import LANGUAGES
from nnarray.backends import Backend
from nnarray.backends import backend as backend_called
from nnarray.training.context import DivergenceError

PROTOCOL = 1
OFTEN = 5.0
"""A frame begins only after this many times the time that one takes: so 0.8 of the time is left for the training."""
EARLY = 0.9
"""The part of the time from one full frame to the next after which one is due, as frames come at some times alone."""
PATIENCE = 5.0
"""Seconds after which a step of many epochs ends early."""

Event = dict[str, Any]


class Session:
    """A playground; PROTOCOL.md describes its messages and events.

    Parameters
    ----------
    settings : Settings, optional
    backend : str or Backend
    given : Given, optional
        The user's own arrays.
    start : Start, optional
        The user's own model, to begin with.
    version : str
        That of the package, for the page.

    Examples
    --------
    >>> from nnarray.apps.playground.session import Session
    >>> session = Session()
    >>> [event["type"] for event in session.open()]
    ['hello', 'settings', 'data', 'frame']
    >>> session.handle({"type": "step", "epochs": 2})[0]["epoch"]
    2
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        backend: str | Backend = "auto",
        given: Given | None = None,
        start: Start | None = None,
        version: str = "",
    ) -> None:
        be = backend if isinstance(backend, Backend) else backend_called(backend)
        self.lab = Lab(settings or Settings(), be, given, start)
        self.frames = Frames(self.lab)
        self.language, self.version, self.running = "en", version, False
        self._due, self._full_at, self._trained_at, self._cost = 0.0, 0.0, 0.0, 0.0
        self._sketch: list[Any] | None = None
        self._owes_frame = False

    # --- Messages ---------------------------------------------------------------------------------------------------

    def open(self) -> list[Event]:
        """What a page gets first."""
        return [self._hello(), self._settings(), self._data(), self.frame()]

    def handle(self, message: Any) -> list[Event]:
        """The events that answer a message; a message that is refused changes nothing, and its answer says why."""
        try:
            if not isinstance(message, Mapping):
                raise Wrong("must be an object.", "message")
            kind = one_of(HANDLERS, "type of a message")(message.get("type"))
            return HANDLERS[kind](self, message)
        except Wrong as wrong:
            return [_refused(wrong)]
        except DivergenceError as error:
            return [self._diverged(error), self.frame()]

    def file(self, name: str, content: bytes) -> list[Event]:
        """The events that answer a file that was sent."""
        try:
            table = table_of(name, content)
        except Wrong as wrong:
            return [_refused(wrong)]
        self.lab.take_table(table)
        chosen = table.choice()
        if chosen is None:
            return [table.event]
        change = {"data": {"kind": "table", **chosen}}
        return [table.event, *self.handle({"type": "set", "settings": change})]

    def _set(self, message: Mapping[str, Any]) -> list[Event]:
        change = message.get("settings")
        settings = self.lab.settings.changed(change)
        ends_sketch = self._sketch is not None and isinstance(change, Mapping) and "data" in change
        return self._change(settings, shows_data=ends_sketch)

    def _restore(self, message: Mapping[str, Any]) -> list[Event]:
        if "link" in message:
            return self._change(Settings.from_link(message["link"]))
        return self._change(Settings.of(message.get("settings")))

    def _change(self, settings: Settings, *, shows_data: bool = False) -> list[Event]:
        new_data = self.lab.change(settings)
        self.frames.changed(new_data=new_data)
        if not (new_data or shows_data):
            return [self._settings(), self.frame()]
        self._sketch = None
        return [self._settings(), self._data(), self.frame()]

    def _run(self, message: Mapping[str, Any]) -> list[Event]:
        if self._sketch is not None:
            raise Wrong(f"must be at least {FEWEST}, of two classes or more; draw some, or choose data.", "data.points")
        self.running = self.lab.epoch < self.lab.settings.training.epochs
        if not self.running:
            return [self._state("epochs")]
        self.frames.diverged = False
        self.frames.begin_speed()
        return [{**self._state(), "preparing": not self.lab.is_prepared}]

    def _pause(self, message: Mapping[str, Any]) -> list[Event]:
        self.running = False
        return [self._state(), self.frame()]

    def _step(self, message: Mapping[str, Any]) -> list[Event]:
        end = time.perf_counter() + PATIENCE
        for _ in range(at("epochs", whole(1, 1000), message.get("epochs", 1))):
            if self.lab.epoch >= self.lab.settings.training.epochs or time.perf_counter() > end:
                break
            self.lab.train_epoch()
        return [self.frame()]

    def _batch(self, message: Mapping[str, Any]) -> list[Event]:
        self.running = False
        self.lab.train_batches(at("count", whole(1, 5000), message.get("count", 1)))
        return [self.frame()]

    def _reset(self, message: Mapping[str, Any]) -> list[Event]:
        settings = self.lab.settings
        if "seed" in message:
            settings = settings.changed({"network": {"seed": at("seed", SEED, message["seed"])}})
        self.lab.reset(settings)
        self.frames.begin()
        return [self._settings(), self.frame()]

    def _weight(self, message: Mapping[str, Any]) -> list[Event]:
        index = at("index", several(whole(0, 10_000), 2, 1), message.get("index"))
        value = at("value", number(-1000.0, 1000.0), message.get("value"))
        self.lab.set_weight(str(message.get("name")), index, value)
        return [self.frame()]

    def _watch(self, message: Mapping[str, Any]) -> list[Event]:
        self.frames.watch = Watch.of(message, self.frames.watch)
        return [self.frame()]

    def _choose(self, message: Mapping[str, Any]) -> list[Event]:
        """Look at another image of the sheet."""
        if not self.lab.examples.are_images:
            raise Wrong("is for images; choose such data first.", "type")
        most = self.lab.examples.sheet[0].shape[0] - 1
        self.frames.chosen = at("image", whole(0, most), message.get("image"))
        return [self.frame()]

    def _probe(self, message: Mapping[str, Any]) -> list[Event]:
        return [answers.probe(self.lab, message.get("at"))]

    def _preview(self, message: Mapping[str, Any]) -> list[Event]:
        return [answers.previews(self.lab, at("n", whole(4, 200), message.get("n", 60)))]

    def _explain(self, message: Mapping[str, Any]) -> list[Event]:
        return [answers.explanation(self.lab, message)]

    def _draw(self, message: Mapping[str, Any]) -> list[Event]:
        """Add points; the first few wait until there are enough of two classes."""
        before = self.lab.settings.data
        points = at("points", several(point, POINTS, 1), message.get("points"))
        if self._sketch is not None:
            drawn = [*self._sketch, *points]
        else:
            drawn = [*(before.points if before.kind == "drawn" else ()), *points]
        if not is_enough(drawn):
            self._sketch = drawn
            return [self._sketched()]
        return self._change(self.lab.settings.changed({"data": {"kind": "drawn", "points": drawn}}))

    def _erase(self, message: Mapping[str, Any]) -> list[Event]:
        """Begin with an empty plane; the training waits until there are enough points again."""
        self._sketch, self.running = [], False
        return [self._state(), self._sketched()]

    def _take(self, message: Mapping[str, Any]) -> list[Event]:
        what = at("what", one_of(TAKEN, "thing to take"), message.get("what"))
        name, media, write = TAKEN[what]
        return [{"type": "taken", "what": what, "name": name, "media": media, **write(self.lab)}]

    def _language(self, message: Mapping[str, Any]) -> list[Event]:
        self.language = self.frames.language = at("to", one_of(LANGUAGES, "language"), message.get("to"))
        return [self._hello(), self.frame()]

    def _again(self, message: Mapping[str, Any]) -> list[Event]:
        sketch = [] if self._sketch is None else [self._sketched()]
        return [self._hello(), self._settings(), self._data(), self.frames.curve(), *sketch, self.frame()]

    @property
    def is_busy(self) -> bool:
        """Whether `advance` has something to do: it trains, or shows how the training ended."""
        return self.running or self._owes_frame

    # --- Training ---------------------------------------------------------------------------------------------------

    def advance(self, seconds: float, *, watched: bool = True) -> Event | None:
        """Train for about this long, or until a frame is due. Returns it if it is watched, or what ended it."""
        begin = time.perf_counter()
        end = min(begin + seconds, self._due) if watched and self._due > begin else begin + seconds
        if self._owes_frame:
            return self.frame()
        try:
            while self.running:
                if self.lab.epoch >= self.lab.settings.training.epochs:
                    self.running, self._owes_frame = False, True
                    return self._state("epochs")
                if not self._is_in_time(end):
                    break
                self.lab.train_epoch()
                self._trained_at = time.perf_counter()
                if self._trained_at >= end:
                    break
        except DivergenceError as error:
            self._owes_frame = True
            return self._diverged(error)
        now, often = time.perf_counter(), self.frames.watch.full
        is_due = watched and self.frames.is_stale and now >= self._due
        return self.frame(full=often is None or now - self._full_at >= EARLY / often) if is_due else None

    def _is_in_time(self, end: float) -> bool:
        """Whether the next epoch begins before this time, at the pace that is wanted; waits for it."""
        pace = self.frames.watch.pace
        if pace is None:
            return True
        now = time.perf_counter()
        begin = max(self._trained_at + 1.0 / pace, now)
        time.sleep(max(min(begin, end) - now, 0.0))
        return begin <= end

    def frame(self, *, full: bool = True) -> Event:
        """What is seen now."""
        begun, self._owes_frame = time.perf_counter(), False
        made = self.frames.frame(running=self.running, full=full)
        self._cost += 0.2 * (time.perf_counter() - begun - self._cost)
        self._full_at = begun if full else self._full_at
        # Counted from when the last one was due, not from when it came: else each slice of training adds to the wait.
        self._due = max(self._due + max(1.0 / self.frames.watch.fps, OFTEN * self._cost), begun)
        return made

    # --- Events -----------------------------------------------------------------------------------------------------

    def _hello(self) -> Event:
        return {
            "type": "hello",
            "protocol": PROTOCOL,
            "version": self.version,
            "language": self.language,
            "languages": [*LANGUAGES],
            "backend": self.lab.be.name,
            "catalog": catalog(),
            "texts": LANGUAGES[self.language].LABELS,
        }

    def _settings(self) -> Event:
        return {"type": "settings", "settings": self.lab.settings.tree}

    def _sketched(self) -> Event:
        return {"type": "sketch", "points": [list(each) for each in self._sketch or []]}

    def _data(self) -> Event:
        return answers.data(self.lab.examples)

    def _state(self, reason: str = "") -> Event:
        state: Event = {"type": "state", "running": self.running}
        if not reason:
            return state
        text = LANGUAGES[self.language].LABELS["epochs"].format(epochs=self.lab.settings.training.epochs)
        return {**state, "reason": reason, "text": text}

    def _diverged(self, error: DivergenceError) -> Event:
        self.running = False
        self.frames.diverged = True
        return {"type": "state", "running": False, "reason": "diverged", "text": str(error)}


def _refused(wrong: Wrong) -> Event:
    return {"type": "refused", "reason": str(wrong), "at": wrong.at}


HANDLERS: dict[str, Callable[[Session, Mapping[str, Any]], list[Event]]] = {
    "set": Session._set,
    "restore": Session._restore,
    "run": Session._run,
    "pause": Session._pause,
    "step": Session._step,
    "batch": Session._batch,
    "reset": Session._reset,
    "weight": Session._weight,
    "watch": Session._watch,
    "choose": Session._choose,
    "probe": Session._probe,
    "preview": Session._preview,
    "explain": Session._explain,
    "draw": Session._draw,
    "erase": Session._erase,
    "take": Session._take,
    "language": Session._language,
    "hello": Session._again,
}


def _model_file(lab: Lab) -> Event:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "playground.safetensors")
        lab.model.save(path)
        return {"data": base64.b64encode(path.read_bytes()).decode()}


TAKEN: dict[str, tuple[str, str, Callable[[Lab], Event]]] = {
    "python": ("playground.py", "text/x-python", lambda lab: {"text": script_of(lab.record, lab.be.name)}),
    "model": ("playground.safetensors", "application/octet-stream", _model_file),
    "settings": ("playground.json", "application/json", lambda lab: {"text": lab.settings.json}),
    "link": ("link", "text/plain", lambda lab: {"text": f"#{lab.settings.link}"}),
}
