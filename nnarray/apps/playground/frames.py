"""Frames: what is seen of a training at one moment, as far as it is watched."""

from __future__ import annotations

import time
from typing import Any

from nnarray.apps.playground import views
from nnarray.apps.playground.built import shown_paths
from nnarray.apps.playground.checking import finite
from nnarray.apps.playground.lab import Lab
from nnarray.apps.playground.views import Watch
from nnarray.apps.playground.words import LATELY, Sight, remarks
from nnarray.functional.hooks import Passage
from nnarray.kernels.compilation import quiet
from nnarray.typing import Array

MOST_SEEN, MOST_SHOWN = 4000, 2000
"""The largest numbers of rows of scores that are kept, and of points of a curve in one event."""


class Frames:
    """Makes the frames of one session, and keeps the curve of its scores.

    Attributes
    ----------
    watch : Watch
        What frames hold.
    diverged : bool
        Whether the training ended so.
    chosen : int
        The image that the units show.
    is_stale : bool
        Whether something has changed since the last frame.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab, self.watch, self.language, self.diverged = lab, Watch(), "en", False
        self._number, self.chosen = 0, 0
        self._points: dict[int, Array] = {}
        self._passages: dict[str, Passage] = {}
        self._gradients: dict[str, float] = {}
        self.begin()

    def begin(self) -> None:
        """Forget the curve, after a reset."""
        self.seen: list[list[float | None]] = []
        self._sent, self._sent_rows, self._at = 0, 0, (-1, -1)
        self.diverged = False
        self.begin_speed()

    def begin_speed(self) -> None:
        """Measure the speed from now on."""
        self._since, self._steps, self._speed = time.perf_counter(), self.lab.step, 0.0

    def changed(self, *, new_data: bool) -> None:
        """Take other settings into account."""
        self.diverged = False
        self._at = (-1, -1)
        if new_data:
            self._points, self.chosen = {}, 0

    @property
    def is_stale(self) -> bool:
        """Whether the network has changed since the last frame."""
        return self._at != (self.lab.step, self.lab.batch[0])

    @quiet
    def frame(self, *, running: bool, full: bool = True) -> dict[str, Any]:
        """What is seen now; if not all of it is wanted, the predictions alone, which are the cheapest."""
        lab, (batch, batches) = self.lab, self.lab.batch
        self._number += 1
        made: dict[str, Any] = {
            "type": "frame",
            "number": self._number,
            "epoch": lab.epoch,
            "batch": batch,
            "batches": batches,
            "step": lab.step,
            "running": running,
            "preparing": running and not lab.is_prepared,
            "lr": finite(lab.rate),
            "speed": self._measured(),
            **self._predictions(),
        }
        if full:
            made |= {**self._scores(), **self._of_network()}
            made["words"] = [each.event(self.language) for each in remarks(self._sight())]
        self._at = (lab.step, batch)
        return made

    def curve(self) -> dict[str, Any]:
        """The whole curve, thinned."""
        rows = -(-len(self.seen) // MOST_SHOWN) or 1
        _, every, losses = self.lab.losses.thinned(0, MOST_SHOWN)
        self._sent, self._sent_rows = self.lab.epoch, len(self.seen)
        return {
            "type": "curve",
            "epochs": [1 + every * k for k in range(len(losses))],
            "loss": [*map(finite, losses)],
            "seen": self.seen[::rows],
        }

    # --- Parts ------------------------------------------------------------------------------------------------------

    def _scores(self) -> dict[str, Any]:
        """How good the network is, and the curves."""
        losses, rights = views.scores(self.lab.model, self.lab.examples, self.lab.loss)
        self._note(losses, rights)
        return {"loss": _both(losses), "accuracy": _both(rights), "curve": self._fresh()}

    def _note(self, losses: dict[str, float], rights: dict[str, float]) -> None:
        """Add a row to the curve of the scores; a long one keeps every other row."""
        parts = (losses.get("train"), losses.get("test"), rights.get("train"), rights.get("test"))
        row = [float(self.lab.epoch), *(None if each is None else finite(each) for each in parts)]
        if self.seen and self.seen[-1][0] == row[0]:
            self.seen.pop()
            self._sent_rows = min(self._sent_rows, len(self.seen))
        self.seen.append(row)
        if len(self.seen) > MOST_SEEN:
            self.seen = self.seen[::2]
            self._sent_rows = len(self.seen) - 1

    def _fresh(self) -> dict[str, Any]:
        """The part of the curve since the last frame."""
        begin, every, losses = self.lab.losses.thinned(self._sent, MOST_SHOWN)
        made = {
            "from": begin,
            "every": every,
            "loss": [*map(finite, losses)],
            "seen": self.seen[self._sent_rows :],
        }
        self._sent, self._sent_rows = self.lab.epoch, len(self.seen)
        return made

    def _predictions(self) -> dict[str, Any]:
        """The predictions over the plane, or of the images that are shown."""
        lab, size = self.lab, self.watch.grid
        return {"grid": views.grid_of(lab.model, lab.examples, self._plane(size), size)} if size else {}

    def _of_network(self) -> dict[str, Any]:
        """The units and the numbers of the network."""
        lab, watch, made = self.lab, self.watch, dict[str, Any]()
        names = shown_paths(lab.settings.network)
        if watch.units:
            shape, points = (watch.units,) * lab.examples.inputs, self._plane(watch.units)
            if lab.examples.are_images:
                shape, points = (), points[self.chosen : self.chosen + 1, ...]
            made["units"] = views.maps_of(lab.model, names, points, shape)
        if watch.weights:
            made["weights"] = views.weights_of(lab.model, names)
        passages: dict[str, Passage] = {}
        step = views.step_on_sample(lab.model, lab.examples, lab.loss, passages)
        self._passages, self._gradients = passages, views.gradients_of(lab.model, step.gradient, names)
        if watch.gradients:
            norms = self._gradients.items()
            made["gradients"] = [{"layer": name, "norm": finite(norm)} for name, norm in norms]
        if watch.histograms:
            made["histograms"] = [*self._histograms(names, lab.model.wiring.params.views(step.gradient))]
        return made

    def _histograms(self, names: dict[str, str], gradients: dict[str, Array]) -> list[dict[str, Any]]:
        weights = self.lab.model.params
        return [
            views.histogram(name, of, x)
            for name, path in names.items()
            for of, x in (
                ("weights", weights[f"{name}.weight"]),
                ("gradients", gradients[f"{name}.weight"]),
                ("outputs", self._passages[path].y),
            )
        ]

    def _plane(self, size: int) -> Array:
        """The points of the plane, made once."""
        if size not in self._points:
            self._points = {**self._points, size: views.plane(self.lab.examples, size)}
        return self._points[size]

    def _measured(self) -> float:
        """Steps a second, over the last second."""
        now, steps = time.perf_counter(), self.lab.step
        if now - self._since >= 0.5:
            self._speed = max(steps - self._steps, 0) / (now - self._since)
            self._since, self._steps = now, steps
        return round(self._speed, 1)

    def _sight(self) -> Sight:
        lab = self.lab
        return Sight(
            settings=lab.settings,
            task=lab.examples.task,
            epoch=lab.epoch,
            losses=lab.losses[-LATELY:],
            first_loss=lab.losses.points[0] if lab.epoch else 0.0,
            seen=self.seen,
            gradients=self._gradients,
            passages=self._passages,
            diverged=self.diverged,
        )


def _both(parts: dict[str, float]) -> dict[str, float | None]:
    """The number of the training examples, and that of the test, if there are any."""
    return {part: finite(parts[part]) if part in parts else None for part in ("train", "test")}
